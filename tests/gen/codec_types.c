/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the list of programs whose codecs are tested.
 */
#include "codec_types.h"

#include <string.h>

#include "rpc/protocol/remote_connection.h"
#include "rpc/protocol/remote_secret.h"
#include "rpc/protocol/remote_types.h"
#include "rpc/protocol/virtcrypt_guest.h"
#include "rpc/protocol/virtcrypt_master.h"
#include "rpc/protocol/virtcrypt_secret.h"
#include "rpc/protocol/virtcrypt_store.h"
#include "rpc/protocol/virtcrypt_volume.h"
#include "sample.h"

enum { TYPES_MAX = 200 };

static const struct rpc_program *const programs[] = {
    &remote_connection_program, &remote_secret_program,    &virtcrypt_guest_program,
    &virtcrypt_master_program,  &virtcrypt_secret_program, &virtcrypt_store_program,
    &virtcrypt_volume_program,  &sample_service_program,   NULL,
};

const struct rpc_program *const *
codec_programs(void)
{
    return programs;
}

static void
add_type(const struct rpc_type **types, const struct rpc_type *type)
{
    size_t i = 0;

    if (!type)
        return;
    while (types[i] && types[i] != type)
        i++;
    g_assert(i < TYPES_MAX);
    types[i] = type;
}

const struct rpc_type *const *
codec_types(void)
{
    static const struct rpc_type *types[TYPES_MAX + 1];

    if (types[0])
        return types;
    add_type(types, &remote_error_type);
    for (size_t i = 0; programs[i]; i++) {
        for (size_t j = 0; j < programs[i]->procedure_count; j++) {
            add_type(types, programs[i]->procedures[j].args);
            add_type(types, programs[i]->procedures[j].ret);
        }
    }
    return types;
}

const struct rpc_type *
codec_type_find(const char *name)
{
    for (const struct rpc_type *const *type = codec_types(); *type; type++) {
        if (g_str_equal((*type)->name, name))
            return *type;
    }
    return NULL;
}

void *
codec_type_decode(const struct rpc_type *type, const void *bytes, size_t len, size_t *ret_left,
                  GError **error)
{
    /* Exactly as long as the message: a sanitizer sees every byte read beyond. */
    g_autofree uint8_t *copy = len > 0 ? g_memdup2(bytes, len) : g_malloc(1);
    struct xdr_reader reader = {.pos = copy, .end = copy + len};
    void *value = g_malloc0(type->size);

    if (!type->decode(&reader, value, error)) {
        g_free(value);
        return NULL;
    }
    if (ret_left)
        *ret_left = (size_t)(reader.end - reader.pos);
    return value;
}

void
codec_type_free(const struct rpc_type *type, void *value)
{
    type->clear(value);
    g_free(value);
}

GBytes *
codec_type_encode(const struct rpc_type *type, const void *value)
{
    size_t size = type->encoded_size(value);
    uint8_t *bytes = g_malloc(size);
    struct xdr_writer writer = {.pos = bytes, .end = bytes + size};

    type->encode(&writer, value);
    g_assert(writer.pos == writer.end);
    return g_bytes_new_take(bytes, size);
}

GBytes *
codec_hex_parse(const char *text)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    int high = -1;

    for (; *text; text++) {
        int digit = g_ascii_xdigit_value(*text);

        if (*text == ' ')
            continue;
        if (digit < 0)
            return NULL;
        if (high < 0) {
            high = digit;
        } else {
            uint8_t byte = (uint8_t)(high << 4 | digit);

            g_byte_array_append(bytes, &byte, 1);
            high = -1;
        }
    }
    return high < 0 ? g_byte_array_free_to_bytes(g_steal_pointer(&bytes)) : NULL;
}

static void
clear_message(void *message)
{
    g_bytes_unref(((struct codec_message *)message)->bytes);
}

GArray *
codec_messages_read(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    GArray *messages = g_array_new(FALSE, FALSE, sizeof(struct codec_message));

    g_array_set_clear_func(messages, clear_message);
    if (!g_file_get_contents(path, &text, NULL, NULL))
        g_error("%s can't be read", path);
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *blank = strchr(*line, ' ');
        struct codec_message message;

        if ((*line)[0] == '\0' || (*line)[0] == '#')
            continue;
        if (blank)
            *blank = '\0';
        message.type = codec_type_find(*line);
        message.bytes = codec_hex_parse(blank ? blank + 1 : "");
        if (!message.type || !message.bytes)
            g_error("%s: a line is not of the form TYPE HEX: %s", path, *line);
        g_array_append_val(messages, message);
    }
    return messages;
}
