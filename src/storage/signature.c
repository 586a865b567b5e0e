/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: signature.h.
 */
#include "storage/signature.h"

#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "storage/luks_context.h"
#include "util/error.h"
#include "util/file.h"

enum { WIPES_MAX = 64 }; /* one device can hold several, each in several copies */

typedef struct blkid_struct_probe probe_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(probe_t, blkid_free_probe)

/* What looks at `fd`; NULL with an error. */
static probe_t *
open_probe(const char *path, int fd, GError **error)
{
    g_autoptr(probe_t) probe = blkid_new_probe();

    errno = 0;
    if (!probe || blkid_probe_set_device(probe, fd, 0, 0) != 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno ? errno : EIO,
                        "cannot look for signatures on '%s'", path);
        return NULL;
    }
    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                 BLKID_SUBLKS_LABEL | BLKID_SUBLKS_MAGIC |
                                                 BLKID_SUBLKS_BADCSUM);
    blkid_probe_enable_partitions(probe, 1);
    blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
    return g_steal_pointer(&probe);
}

static const char *
find_value(probe_t *probe, const char *name)
{
    const char *value = NULL;

    return blkid_probe_lookup_value(probe, name, &value, NULL) == 0 ? value : NULL;
}

/* "an ext4 file system 'home'" */
static char *
describe(probe_t *probe)
{
    const char *table = find_value(probe, "PTTYPE");
    const char *type = find_value(probe, "TYPE");
    const char *usage = find_value(probe, "USAGE");
    const char *label = find_value(probe, "LABEL");
    const char *what = g_strcmp0(usage, "filesystem") == 0 ? "file system"
                       : g_strcmp0(usage, "raid") == 0     ? "RAID or volume group member"
                       : g_strcmp0(usage, "crypto") == 0   ? "encrypted container"
                                                           : "signature";
    g_autofree char *escaped = label ? g_strescape(label, NULL) : NULL;

    if (table)
        return g_strdup_printf("a partition table of type '%s'", table);
    return g_strdup_printf("%s '%s'%s%s%s", what, type ? type : "unknown",
                           escaped ? " called '" : "", escaped ? escaped : "", escaped ? "'" : "");
}

bool
signature_check_none(const char *path, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(path, O_RDONLY, error);
    g_autoptr(probe_t) probe = fd >= 0 ? open_probe(path, fd, error) : NULL;
    g_autofree char *what = NULL;
    const char *offset;
    int result;

    if (!probe)
        return false;
    errno = 0;
    result = blkid_do_probe(probe);
    if (result == 1)
        return true;
    if (result < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno ? errno : EIO,
                        "cannot look for signatures on '%s'", path);
        return false;
    }
    what = describe(probe);
    offset = find_value(probe, "SBMAGIC_OFFSET");
    if (!offset)
        offset = find_value(probe, "PTMAGIC_OFFSET");
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "'%s' holds data already: %s, at byte %s. To lose them, create the volume with "
              "--force",
              path, what, offset ? offset : "0");
    return false;
}

bool
signature_wipe(const char *path, GError **error)
{
    g_auto(file_fd) fd = luks_context_open_file(path, O_RDWR, error);
    g_autoptr(probe_t) probe = fd >= 0 ? open_probe(path, fd, error) : NULL;
    int result = 0;

    if (!probe)
        return false;
    errno = 0;
    for (unsigned int i = 0; i < WIPES_MAX && result == 0; i++) {
        result = blkid_do_probe(probe);
        if (result == 0 && blkid_do_wipe(probe, 0) != 0)
            result = -1;
    }
    if (result == 1 && fsync(fd) == 0)
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno ? errno : EIO,
                    "cannot remove the signatures of '%s'", path);
    return false;
}
