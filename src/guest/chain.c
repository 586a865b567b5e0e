/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: chain.h.
 */
#include "guest/chain.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/qcow2_header.h"
#include "util/file.h"

/* Whoever may define guests, or write images, names the path: to open some devices is to do
 * something (a watchdog resets the host later), so what it is is looked at before it is opened. */
static int
open_image(const char *path)
{
    g_auto(file_fd) found = open(path, O_PATH | O_CLOEXEC);
    g_autofree char *again = g_strdup_printf("/proc/self/fd/%d", found);
    struct stat info;

    if (found < 0 || fstat(found, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISBLK(info.st_mode)))
        return -1;
    return open(again, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool
read_header(const char *path, struct qcow2_header *ret_header)
{
    g_auto(file_fd) fd = open_image(path);

    return fd >= 0 && qcow2_header_read(fd, path, ret_header, NULL);
}

/* As QEMU takes the name: relative to the image, "file:" before it, or "PROTOCOL:...". */
static enum guest_chain
resolve(const char *image, const char *name, char **ret_path)
{
    g_autofree char *folder = g_path_get_dirname(image);
    const char *colon = strchr(name, ':');
    const char *slash = strchr(name, '/');
    bool is_file = g_str_has_prefix(name, "file:");

    if (!is_file && colon && (!slash || colon < slash))
        /* "json:{...}" may well name a file. */
        return g_str_has_prefix(name, "json:") ? GUEST_CHAIN_UNKNOWN : GUEST_CHAIN_END;
    *ret_path = g_canonicalize_filename(is_file ? name + strlen("file:") : name, folder);
    return GUEST_CHAIN_NEXT;
}

enum guest_chain
guest_chain_next(const char *image, char **ret_path, char **ret_format)
{
    g_auto(qcow2_header_t) header = {0};
    enum guest_chain answer;

    if (!read_header(image, &header))
        return GUEST_CHAIN_UNKNOWN;
    if (!header.backing_path)
        return GUEST_CHAIN_END;
    answer = resolve(image, header.backing_path, ret_path);
    if (answer == GUEST_CHAIN_NEXT)
        *ret_format = g_steal_pointer(&header.backing_format);
    return answer;
}
