/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: luks_context.h.
 */
#include "storage/luks_context.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/luks_limits.h"
#include "util/error.h"
#include "util/file.h"

static GMutex lock;
static const char own_files[] = "/proc/self/fd/";

GMutex *
luks_context_get_lock(void)
{
    return &lock;
}

static void
keep_complaint(int level, const char *message, void *opaque)
{
    struct luks_context *context = opaque;
    g_autoptr(GString) text = NULL;
    size_t len;

    if (level != CRYPT_LOG_ERROR)
        return;
    text = g_string_new(message);
    for (unsigned int i = 0; i < context->n_files; i++) {
        g_autofree char *name = g_strdup_printf("%s%d", own_files, context->files[i]);

        g_string_replace(text, name, context->path, 0);
    }
    g_strlcpy(context->complaint, text->str, sizeof(context->complaint));
    len = strlen(context->complaint);
    while (len > 0 && (context->complaint[len - 1] == '\n' || context->complaint[len - 1] == '.'))
        context->complaint[--len] = '\0';
}

/* What libcryptsetup says outside of any context: every such call's result is looked at. */
static void
drop_message(int level, const char *message, void *opaque)
{
}

/* Names of devices are links by nature; so are those of our own descriptors. */
static bool
may_be_link(const char *path)
{
    return g_str_has_prefix(path, "/dev/") || g_str_has_prefix(path, own_files);
}

int
luks_context_open_file(const char *path, int flags, GError **error)
{
    int no_follow = may_be_link(path) ? 0 : O_NOFOLLOW;
    /* O_NONBLOCK: a fifo is not waited for. */
    g_auto(file_fd) fd = open(path, flags | no_follow | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat info;
    int opened;

    if (fd < 0 || fstat(fd, &info) < 0) {
        int errnum = errno;

        if (errnum == ENOENT)
            error_set(error, ERROR_FROM_STORAGE, ERROR_NO_STORAGE_VOL, "there is no '%s'", path);
        else if (errnum == ELOOP)
            error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                      "'%s' is a symbolic link, which is not followed: name what it leads to",
                      path);
        else
            error_set_errno(error, ERROR_FROM_STORAGE, errnum, "cannot open '%s'", path);
        return -1;
    }
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "'%s' is neither a file nor a block device", path);
        return -1;
    }
    opened = fd;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) not to be closed: it was given out */
    fd = -1;
    return opened;
}

bool
luks_context_flush(const char *path, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(path, O_RDONLY, error);

    if (fd < 0)
        return false;
    if (fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot flush '%s'", path);
    return false;
}

/* Held: the lock. */
static void
set_up_process(struct crypt_device *crypt)
{
    static bool is_done;
    const struct crypt_pbkdf_type pbkdf = {
        .type = CRYPT_KDF_PBKDF2,
        .hash = "sha256",
        .iterations = 1000,
        .flags = CRYPT_PBKDF_NO_BENCHMARK,
    };

    if (is_done)
        return;
    /* No plug-in is loaded for a token that a header names. */
    crypt_token_external_disable();
    crypt_set_log_callback(NULL, drop_message, NULL);
    /* Makes libcryptsetup start its crypto backend, which it does for the process, unlocked. */
    crypt_set_pbkdf_type(crypt, &pbkdf);
    is_done = true;
}

void
luks_context_take(struct luks_context *context, struct crypt_device *crypt)
{
    context->crypt = crypt;
    set_up_process(crypt);
    crypt_set_log_callback(crypt, keep_complaint, context);
}

/* What libcryptsetup is to open: a file by our descriptor, since whoever may write to its folder
 * could put another in its place meanwhile; a device by its name. NULL with an error. */
static char *
pin(struct luks_context *context, const char *path, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(path, O_RDONLY, error);
    struct stat info;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || g_str_has_prefix(path, own_files))
        return g_strdup(path);
    context->files[context->n_files++] = fd;
    return g_strdup_printf("%s%d", own_files, g_steal_fd(&fd));
}

bool
luks_context_init(struct luks_context *context, const struct luks_place *place, GError **error)
{
    g_autofree char *header = NULL;
    g_autofree char *device = NULL;
    g_autoptr(GMutexLocker) locker = NULL;
    struct crypt_device *crypt = NULL;
    int result;

    memset(context, 0, sizeof(*context));
    context->path = place->header_path ? place->header_path : place->device;
    header = pin(context, context->path, error);
    device = header && place->header_path ? pin(context, place->device, error) : NULL;
    if (!header || (place->header_path && !device))
        return false;
    /* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores) held to the end of the scope */
    locker = g_mutex_locker_new(&lock);
    result = device ? crypt_init_data_device(&crypt, header, device) : crypt_init(&crypt, header);
    if (result < 0) {
        luks_context_set_error(context, result, "preparing encryption", error);
        return false;
    }
    luks_context_take(context, crypt);
    return true;
}

bool
luks_context_load(struct luks_context *context, const struct luks_place *place, GError **error)
{
    int result;

    if (!luks_context_init(context, place, error))
        return false;
    result = crypt_load(context->crypt, CRYPT_LUKS, NULL);
    if (result >= 0)
        return luks_limits_check(context, error);
    if (result == -EINVAL)
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_INVALID,
                  "'%s' has no LUKS header that can be read%s%s", context->path,
                  context->complaint[0] ? ": " : "", context->complaint);
    else
        luks_context_set_error(context, result, "reading the LUKS header", error);
    return false;
}

void
luks_context_clear(struct luks_context *context)
{
    if (context->crypt) {
        g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&lock);

        crypt_free(context->crypt);
    }
    context->crypt = NULL;
    while (context->n_files > 0)
        close(context->files[--context->n_files]);
}

bool
luks_context_is_luks2(const struct luks_context *context)
{
    return g_strcmp0(crypt_get_type(context->crypt), CRYPT_LUKS2) == 0;
}

GMutexLocker *
luks_context_lock_keyslots(const struct luks_context *context)
{
    return g_strcmp0(crypt_get_cipher(context->crypt), "aes") == 0 ? NULL
                                                                   : g_mutex_locker_new(&lock);
}

static enum error_code
code_of(int result)
{
    switch (-result) {
    case ENOMEM:
        return ERROR_NO_MEMORY;
    case EBUSY:
        return ERROR_RESOURCE_BUSY;
    case ENOTSUP:
        return ERROR_CONFIG_UNSUPPORTED;
    default:
        return ERROR_OPERATION_FAILED;
    }
}

void
luks_context_set_error(const struct luks_context *context, int result, const char *doing,
                       GError **error)
{
    error_set(error, ERROR_FROM_STORAGE, code_of(result), "%s on '%s' failed: %s", doing,
              context->path,
              context->complaint[0] ? context->complaint : g_strerror(result < 0 ? -result : EIO));
}
