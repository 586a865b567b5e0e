/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see system_token.h. The lock is libvirt's: fcntl, for writing, on byte 0.
 */
#include "rpc/system_token.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

#define TOKEN_NAME "system.token"

enum {
    FOLDER_MODE = 0700,
    FILE_MODE = 0600,
    RANDOM_SIZE = RPC_SYSTEM_TOKEN_LEN / 2,
    LOCK_TRIES = 100,
    LOCK_PAUSE_US = 100 * 1000,
};

/* Others hold the lock for as long as writing 32 bytes takes; ten seconds are plenty. */
static bool
lock_file(int fd, const char *folder, GError **error)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};

    for (int i = 0; i < LOCK_TRIES; i++) {
        if (fcntl(fd, F_SETLK, &lock) == 0)
            return true;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR)
            break;
        g_usleep(LOCK_PAUSE_US);
    }
    error_set_errno(error, ERROR_FROM_IDENTITY, errno, "cannot lock the file %s/%s", folder,
                    TOKEN_NAME);
    return false;
}

static struct secret_buf *
new_token(GError **error)
{
    static const char digits[] = "0123456789abcdef";
    g_autoptr(secret_buf_t) random = secret_buf_new_random(RANDOM_SIZE, error);
    g_autoptr(secret_buf_t) token = random ? secret_buf_new(RPC_SYSTEM_TOKEN_LEN, error) : NULL;

    if (!token)
        return NULL;
    for (size_t i = 0; i < RANDOM_SIZE; i++) {
        uint8_t byte = secret_buf_bytes(random)[i];

        secret_buf_writable(token)[2 * i] = (uint8_t)digits[byte >> 4];
        secret_buf_writable(token)[2 * i + 1] = (uint8_t)digits[byte & 15];
    }
    return g_steal_pointer(&token);
}

static struct secret_buf *
create_token(int fd, const char *folder, GError **error)
{
    g_autoptr(secret_buf_t) token = new_token(error);

    if (!token)
        return NULL;
    if (fchmod(fd, FILE_MODE) < 0 ||
        !file_write_all(fd, secret_buf_bytes(token), secret_buf_len(token))) {
        error_set_errno(error, ERROR_FROM_IDENTITY, errno, "cannot write the file %s/%s", folder,
                        TOKEN_NAME);
        return NULL;
    }
    return g_steal_pointer(&token);
}

static bool
is_hexadecimal(const struct secret_buf *token)
{
    for (size_t i = 0; i < secret_buf_len(token); i++) {
        if (!g_ascii_isxdigit((char)secret_buf_bytes(token)[i]))
            return false;
    }
    return true;
}

static struct secret_buf *
read_token(int fd, const char *folder, GError **error)
{
    /* One more than it should have, so that a longer one is seen. */
    g_autoptr(secret_buf_t) token = secret_buf_read_fd(fd, RPC_SYSTEM_TOKEN_LEN + 1, NULL);

    if (!token || secret_buf_len(token) != RPC_SYSTEM_TOKEN_LEN || !is_hexadecimal(token)) {
        error_set(error, ERROR_FROM_IDENTITY, ERROR_OPERATION_INVALID,
                  "the file %s/%s does not hold %d hexadecimal characters; stop libvirt's daemons, "
                  "remove it and start them again",
                  folder, TOKEN_NAME, RPC_SYSTEM_TOKEN_LEN);
        return NULL;
    }
    return g_steal_pointer(&token);
}

static bool
check_info(const struct stat *info, const char *folder, GError **error)
{
    if (!S_ISREG(info->st_mode))
        error_set(error, ERROR_FROM_IDENTITY, ERROR_OPERATION_INVALID,
                  "%s/%s is not a regular file; remove it", folder, TOKEN_NAME);
    else if (info->st_uid != 0 && info->st_uid != geteuid())
        error_set(error, ERROR_FROM_IDENTITY, ERROR_OPERATION_INVALID,
                  "the file %s/%s belongs to user %u; stop libvirt's daemons and remove it", folder,
                  TOKEN_NAME, info->st_uid);
    else if (info->st_size > 0 && (info->st_mode & 077))
        error_set(error, ERROR_FROM_IDENTITY, ERROR_OPERATION_INVALID,
                  "the file %s/%s is open to others (mode %04o), who may know the token; stop "
                  "libvirt's daemons and remove it",
                  folder, TOKEN_NAME, info->st_mode & 07777);
    else
        return true;
    return false;
}

struct secret_buf *
rpc_system_token_open(const char *folder, GError **error)
{
    g_auto(file_fd) dir_fd = file_open_dir(folder, true, FOLDER_MODE, error);
    g_auto(file_fd) fd = -1;
    struct stat info;

    if (dir_fd < 0)
        return NULL;
    fd = openat(dir_fd, TOKEN_NAME,
                O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                FILE_MODE);
    if (fd < 0) {
        error_set_errno(error, ERROR_FROM_IDENTITY, errno, "cannot open the file %s/%s", folder,
                        TOKEN_NAME);
        return NULL;
    }
    if (!lock_file(fd, folder, error))
        return NULL;
    if (fstat(fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_IDENTITY, errno, "cannot examine the file %s/%s", folder,
                        TOKEN_NAME);
        return NULL;
    }
    if (!check_info(&info, folder, error))
        return NULL;
    return info.st_size > 0 ? read_token(fd, folder, error) : create_token(fd, folder, error);
}
