/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the store's journal as a file in its folder, as store_journal.h says.
 */
#include "secret/store_journal.h"

#include <errno.h>
#include <stdio.h>

#include "secret/store_change.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

enum { DIR_MODE = 0700, JOURNAL_CAPACITY = 2 * 1024 * 1024 };
/* The largest change fits, with its record's head. */
G_STATIC_ASSERT(JOURNAL_CAPACITY > STORE_CHANGE_HEAD_SIZE + STORE_XML_MAX + STORE_KEY_MAX + 4096);

#define JOURNAL_NAME "journal"
/* Damaged journals that are kept. */
enum { DAMAGED_MAX = 100 };

static bool
put_aside(int dir_fd, const char *journal_dir, const GError *reason, GError **error)
{
    for (unsigned int i = 1; i <= DAMAGED_MAX; i++) {
        char name[sizeof(JOURNAL_NAME) + 32];

        g_snprintf(name, sizeof(name), JOURNAL_NAME ".damaged.%u", i);
        if (file_put_aside(dir_fd, JOURNAL_NAME, name)) {
            log_error("%s; it is kept as %s/%s, and changes of the last moments before the "
                      "daemon's end may be missing: check the secrets that were changed then",
                      reason->message, journal_dir, name);
            return file_sync_dir(dir_fd, error);
        }
        if (errno != EEXIST) {
            error_set_errno(error, ERROR_FROM_SECRET, errno,
                            "cannot put the damaged journal in %s aside", journal_dir);
            return false;
        }
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "there are %d damaged journals in %s; remove them", DAMAGED_MAX, journal_dir);
    return false;
}

bool
store_journal_put_aside(const char *journal_dir, const GError *reason, GError **error)
{
    g_auto(file_fd) dir_fd = file_open_dir(journal_dir, false, DIR_MODE, error);

    return dir_fd >= 0 && put_aside(dir_fd, journal_dir, reason, error);
}

struct journal *
store_journal_open(const char *journal_dir, GError **error)
{
    g_auto(file_fd) dir_fd = file_open_dir(journal_dir, true, DIR_MODE, error);
    g_autoptr(GError) failure = NULL;
    struct journal *journal;

    if (dir_fd < 0)
        return NULL;
    journal = journal_open(dir_fd, JOURNAL_NAME, JOURNAL_CAPACITY, &failure);
    if (!journal && error_is(failure, ERROR_INVALID_SECRET)) {
        if (!put_aside(dir_fd, journal_dir, failure, error))
            return NULL;
        return journal_open(dir_fd, JOURNAL_NAME, JOURNAL_CAPACITY, error);
    }
    if (!journal)
        g_propagate_error(error, g_steal_pointer(&failure));
    return journal;
}
