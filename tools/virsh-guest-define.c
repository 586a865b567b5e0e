/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guest-define and guest-create: a guest and its keys in one call. Keys come from files, the
 * terminal or standard input, and go in secret memory to virtcryptd.
 */
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_guest_client.h"
#include "tools/key_input.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"
#include "tools/xml_file.h"
#include "util/error.h"

G_STATIC_ASSERT((int)COMMAND_REPEATS_MAX <= (int)VIRTCRYPT_GUEST_KEYS_MAX);

static void
key_clear(void *opaque)
{
    struct virtcrypt_guest_key *key = opaque;

    secret_buf_free(key->key);
}

static struct secret_buf *
read_key(const struct key_word *word, GError **error)
{
    g_autofree char *prompt = g_strdup_printf("Enter key of the volume %s:", word->volume);

    if (!word->path)
        return secret_buf_new(0, error);
    return key_input_read(word->path, prompt, "Enter key again:", error);
}

/* The keys as they are sent, array of struct virtcrypt_guest_key; texts are those of `words`.
 * Errors are printed. */
static GArray *
read_keys(const GPtrArray *words)
{
    g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(struct virtcrypt_guest_key));

    g_array_set_clear_func(keys, key_clear);
    for (guint i = 0; i < words->len; i++) {
        const struct key_word *word = g_ptr_array_index(words, i);
        g_autoptr(GError) error = NULL;
        struct virtcrypt_guest_key key = {
            .volume = word->volume,
            .mechanism = (char *)(word->path ? "passphrase" : "generate"),
            .key = read_key(word, &error),
        };

        if (!key.key) {
            output_failure(error, "Failed to read the key of the volume '%s'", word->volume);
            return NULL;
        }
        g_array_append_val(keys, key);
    }
    return g_steal_pointer(&keys);
}

struct definition {
    const char *verb; /* "defined", "created" */
    const char *failure;
    bool (*call)(struct rpc_client *client, const struct virtcrypt_guest_define_args *args,
                 struct virtcrypt_guest_define_ret *ret, GError **error);
    uint32_t flags;
};

static void
print_defined(const struct virtcrypt_guest_define_ret *defined, const char *verb, const char *path)
{
    printf("Domain '%s' %s from %s\n", defined->guest.name, verb, path);
    for (uint32_t i = 0; i < defined->keys_len; i++) {
        const struct virtcrypt_guest_stored_key *key = &defined->keys[i];
        struct uuid secret;
        char text[UUID_TEXT_SIZE];

        memcpy(secret.bytes, key->secret, sizeof(secret.bytes));
        printf("Key of %s %s as secret %s\n", key->volume,
               key->is_generated ? "generated" : "stored", uuid_format(&secret, text));
    }
}

static bool
send_definition(struct session *session, const struct command_args *args,
                const struct definition *definition)
{
    struct virtcrypt_guest_define_args call = {.flags = definition->flags};
    struct virtcrypt_guest_define_ret defined = {0};
    g_autoptr(GPtrArray) words = NULL;
    g_autoptr(GArray) keys = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = NULL;
    char *const *texts = NULL;
    char *path = NULL;
    size_t count = 0;

    if (!command_get_text(args, "file", &path, &error) ||
        !command_get_texts(args, "key", &texts, &count, &error))
        return output_gerror(error);
    words = key_input_parse_words(texts, count, &error);
    xml = words ? xml_file_read(path, &error) : NULL;
    if (!xml)
        return output_gerror(error);
    keys = read_keys(words);
    if (!keys)
        return false;
    call.xml = xml;
    call.keys = (struct virtcrypt_guest_key *)(void *)keys->data;
    call.keys_len = keys->len;
    if (!definition->call(session->client, &call, &defined, &error))
        return output_failure(error, "%s %s", definition->failure, path);
    if (!session->is_quiet)
        print_defined(&defined, definition->verb, path);
    virtcrypt_guest_define_ret_clear(&defined);
    return true;
}

bool
virsh_guest_define(struct session *session, const struct command_args *args)
{
    const struct definition definition = {
        .verb = "defined",
        .failure = "Failed to define domain from",
        .call = virtcrypt_guest_define_call,
        .flags = command_has(args, "validate") ? VIR_DOMAIN_DEFINE_VALIDATE : 0,
    };

    return send_definition(session, args, &definition);
}

bool
virsh_guest_create(struct session *session, const struct command_args *args)
{
    struct definition definition = {
        .verb = "created",
        .failure = "Failed to create domain from",
        .call = virtcrypt_guest_create_call,
    };

    if (command_has(args, "validate"))
        definition.flags |= VIR_DOMAIN_START_VALIDATE;
    if (command_has(args, "paused"))
        definition.flags |= VIR_DOMAIN_START_PAUSED;
    return send_definition(session, args, &definition);
}
