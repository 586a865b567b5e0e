/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: as libvirt_key.h says. libvirt does not look at the key when `encrypt_data` is 0; here it
 * is used all the same, since files may be there from before.
 */
#include "secret/libvirt_key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_file.h"
#include "secret/libvirt_cipher.h"
#include "util/error.h"
#include "util/file.h"

enum { CONF_SIZE_MAX = 1024 * 1024 };

/* The daemon lets itself near the paths alone that it knew at its start. */
static const char closed_path[] =
    " (if secret.conf named it after virtcrypt-secretd was started, restart that)";

/* A wrong key makes N right bytes of padding once in 256^N times, of one file or of several: so
 * many files have to open before the key counts as proven, or so many bytes are right in one. */
enum { PROOF_COUNT = 4, PROOF_PADDING = 4 };

/* Unlike the files of ours, these may be behind links: libvirt follows them. */
static int
open_regular(const char *path, struct stat *ret_info, GError **error)
{
    g_auto(file_fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, ret_info) < 0) {
        error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot open %s", path);
        return -1;
    }
    if (!S_ISREG(ret_info->st_mode)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "%s is not a regular file", path);
        return -1;
    }
    return g_steal_fd(&fd);
}

struct secret_buf *
libvirt_key_read_file(const char *path, GError **error)
{
    struct stat info;
    g_auto(file_fd) fd = open_regular(path, &info, error);

    if (fd < 0)
        return NULL;
    if (info.st_size != LIBVIRT_CIPHER_KEY_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "%s has %lld bytes, and libvirt's key has %d", path, (long long)info.st_size,
                  LIBVIRT_CIPHER_KEY_SIZE);
        return NULL;
    }
    return secret_buf_read_fd(fd, LIBVIRT_CIPHER_KEY_SIZE, error);
}

/* secret.conf; an empty one if there is none. */
static struct conf_file *
read_conf(const char *path, GError **error)
{
    struct stat info;
    g_autoptr(GError) failure = NULL;
    g_auto(file_fd) fd = open_regular(path, &info, &failure);
    g_autofree char *text = NULL;
    size_t len = 0;

    if (fd < 0 && error_get_errno(failure) == ENOENT)
        return conf_file_parse(path, "", 0, error);
    if (fd < 0) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (info.st_size > CONF_SIZE_MAX) {
        error_set(error, ERROR_FROM_CONF, ERROR_CONF_SYNTAX, "%s is longer than %d bytes", path,
                  CONF_SIZE_MAX);
        return NULL;
    }
    text = g_malloc((gsize)info.st_size + 1);
    while (len < (size_t)info.st_size) {
        ssize_t got = read(fd, text + len, (size_t)info.st_size - len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    return conf_file_parse(path, text, len, error);
}

static const struct conf_value *
find_value(const struct conf_file *conf, const char *name, enum conf_value_type type)
{
    for (size_t i = 0; i < conf_file_count(conf); i++) {
        const struct conf_value *value = conf_file_value(conf, i);

        if (strcmp(value->key, name) == 0 && value->type == type)
            return value;
    }
    return NULL;
}

char *
libvirt_key_find_path(const char *conf_path, const char *credentials_dir, GError **error)
{
    g_autoptr(conf_file_t) conf = read_conf(conf_path, error);
    g_autofree char *credential =
        credentials_dir ? g_build_filename(credentials_dir, "secrets-encryption-key", NULL) : NULL;
    const struct conf_value *value;

    if (!conf)
        return NULL;
    value = find_value(conf, "secrets_encryption_key", CONF_STRING);
    if (value)
        return g_strdup(value->text);
    if (credential && access(credential, F_OK) == 0)
        return g_steal_pointer(&credential);
    value = find_value(conf, "encrypt_data", CONF_INT);
    if (value && value->number == 1)
        return g_build_filename(g_get_user_runtime_dir(), "libvirt", "secrets", "encryption-key",
                                NULL);
    return NULL;
}

struct libvirt_key *
libvirt_key_find(const char *conf_path, const char *credentials_dir)
{
    struct libvirt_key *key = g_new0(struct libvirt_key, 1);
    g_autoptr(GError) error = NULL;

    key->source = libvirt_key_find_path(conf_path, credentials_dir, &error);
    if (key->source)
        key->bytes = libvirt_key_read_file(key->source, &error);
    if (!key->bytes && error)
        key->problem = g_strdup_printf("libvirt's key cannot be read: %s%s", error->message,
                                       error_get_errno(error) == EACCES ? closed_path : "");
    else if (!key->bytes)
        key->problem = g_strdup_printf(
            "libvirt's key is not known: name its file by secrets_encryption_key in %s, or pass "
            "the credential secrets-encryption-key (see CREDENTIALS in virtcrypt-secretd(8))",
            conf_path);
    return key;
}

void
libvirt_key_free(struct libvirt_key *key)
{
    if (!key)
        return;
    secret_buf_free(key->bytes);
    g_free(key->problem);
    g_free(key->source);
    g_free(key);
}

void
libvirt_key_weigh(struct libvirt_key *key, size_t opened, size_t failed)
{
    if (opened > 0 && failed > opened)
        key->trust = LIBVIRT_KEY_DOUBTED;
    else if (opened >= PROOF_COUNT && opened > 2 * failed)
        key->trust = LIBVIRT_KEY_PROVEN;
    else
        key->trust = LIBVIRT_KEY_ALONE;
}

void
libvirt_key_vouch(struct libvirt_key *key)
{
    if (key->trust == LIBVIRT_KEY_ALONE)
        key->trust = LIBVIRT_KEY_PROVEN;
}

/* Printable, as passphrases are. Of less than four right bytes of padding the value has 13 bytes or
 * more; so many random ones are text once in 2^18 times or less, and padding comes to that. */
static bool
is_text(const struct secret_buf *value)
{
    const uint8_t *bytes = secret_buf_bytes(value);
    size_t len = secret_buf_len(value);

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return false;
    }
    return g_utf8_validate((const char *)bytes, (gssize)len, NULL);
}

bool
libvirt_key_is_believed(const struct libvirt_key *key, const struct secret_buf *value,
                        unsigned int padding)
{
    return key->trust == LIBVIRT_KEY_PROVEN || padding >= PROOF_PADDING || is_text(value);
}
