/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: files with values as libvirt 12.1 and later writes them, made and opened by the program
 * openssl, which shares no code with ours.
 */
#pragma once

#include <string.h>

#include "folder.h"

#define KEY_HEX       "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_KEY_HEX "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define IV_HEX        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"

enum { IV_SIZE = 16 };

static inline GByteArray *
unhex(const char *hex)
{
    GByteArray *bytes = g_byte_array_new();

    for (; *hex; hex += 2) {
        guint8 byte = (guint8)(g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]));

        g_byte_array_append(bytes, &byte, 1);
    }
    return bytes;
}

/* `direction` is "-e" or "-d". */
static inline GByteArray *
run_openssl(const struct folder *folder, const char *direction, const char *key_hex,
            const char *iv_hex, const void *bytes, size_t len)
{
    g_autofree char *in = folder_path(folder, "openssl.in");
    g_autofree char *out = folder_path(folder, "openssl.out");
    const char *argv[] = {"openssl", "enc", "-aes-256-cbc", direction, "-K", key_hex, "-iv", iv_hex,
                          "-in",     in,    "-out",         out,       NULL};
    g_autoptr(GBytes) result = NULL;
    g_autoptr(GError) error = NULL;
    int status = -1;

    folder_put(folder, "openssl.in", bytes, len);
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status,
                 &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    result = folder_get(folder, "openssl.out");
    unlinkat(folder->fd, "openssl.in", 0);
    unlinkat(folder->fd, "openssl.out", 0);
    return g_bytes_unref_to_array(g_steal_pointer(&result));
}

/* The text of UUID.aes256cbc. `scratch` is any folder. */
static inline char *
encrypt_as_libvirt(const struct folder *scratch, const char *key_hex, const void *value, size_t len)
{
    g_autoptr(GByteArray) file = unhex(IV_HEX);
    g_autoptr(GByteArray) rest = run_openssl(scratch, "-e", key_hex, IV_HEX, value, len);

    g_byte_array_append(file, rest->data, rest->len);
    return g_base64_encode(file->data, file->len);
}

static inline GByteArray *
decrypt_as_libvirt(const struct folder *scratch, const char *key_hex, const char *text)
{
    gsize len = 0;
    g_autofree guchar *file = g_base64_decode(text, &len);
    GString *iv = g_string_new(NULL);
    GByteArray *value;

    g_assert_cmpuint(len, >, IV_SIZE);
    for (size_t i = 0; i < IV_SIZE; i++)
        g_string_append_printf(iv, "%02x", file[i]);
    value = run_openssl(scratch, "-d", key_hex, iv->str, file + IV_SIZE, len - IV_SIZE);
    g_string_free(iv, TRUE);
    return value;
}
