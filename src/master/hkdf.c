/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of GnuTLS for it.
 */
#include "master/hkdf.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "master/crypto_error.h"

static gnutls_datum_t
datum(const void *bytes, size_t len)
{
    return (gnutls_datum_t){.data = (void *)bytes, .size = (unsigned int)len};
}

struct secret_buf *
hkdf_extract(const void *salt, size_t salt_len, const struct secret_buf *input, GError **error)
{
    g_autoptr(secret_buf_t) extracted = secret_buf_new(HKDF_SIZE, error);
    gnutls_datum_t input_datum = datum(secret_buf_bytes(input), secret_buf_len(input));
    gnutls_datum_t salt_datum = datum(salt, salt_len);

    if (!extracted ||
        !crypto_error_check(gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &input_datum, &salt_datum,
                                                secret_buf_writable(extracted)),
                            "derive a key", error))
        return NULL;
    return g_steal_pointer(&extracted);
}

struct secret_buf *
hkdf_expand(const struct secret_buf *extracted, const void *info, size_t info_len, size_t len,
            GError **error)
{
    g_autoptr(secret_buf_t) expanded = secret_buf_new(len, error);
    gnutls_datum_t extracted_datum = datum(secret_buf_bytes(extracted), secret_buf_len(extracted));
    gnutls_datum_t info_datum = datum(info, info_len);

    if (!expanded ||
        !crypto_error_check(gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &extracted_datum, &info_datum,
                                               secret_buf_writable(expanded), len),
                            "derive a key", error))
        return NULL;
    return g_steal_pointer(&expanded);
}

struct secret_buf *
hkdf_derive(const void *salt, size_t salt_len, const struct secret_buf *input, const char *purpose,
            GError **error)
{
    g_autoptr(secret_buf_t) extracted = hkdf_extract(salt, salt_len, input, error);

    return extracted ? hkdf_expand(extracted, purpose, strlen(purpose), HKDF_SIZE, error) : NULL;
}
