/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the records of guests, on disk (one file each, replaced whole and flushed) and in memory.
 * Thread-safe; what is given out is a copy. A file that can't be read is logged, kept, and its
 * guest is *unreadable*: nothing of it is erased or changed until it is mended.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/guest_record.h"

struct guest_records;

struct guest_records *guest_records_new(const char *dir, GError **error);
void guest_records_free(struct guest_records *records);

/* A copy; NULL without an error if there is none; unreadable: ERROR_OPERATION_FAILED. */
struct guest_record *guest_records_get(struct guest_records *records, const struct uuid *guest,
                                       GError **error);
/* Copies, in the order of uuids; without those that are unreadable. */
GPtrArray *guest_records_list(struct guest_records *records);
/* Whether the file of any guest can't be read: who owns what is not fully known then. */
bool guest_records_has_unreadable(struct guest_records *records);
/* Whether a guest has that secret for another volume than `path`, too, which may be there, or for
 * what is not known. */
bool guest_records_need_elsewhere(struct guest_records *records, const struct uuid *secret,
                                  const char *path);

/* Durable when true: the commit point of every change. */
bool guest_records_put(struct guest_records *records, const struct guest_record *record,
                       GError **error);
/* Many of them, of different guests, in little more time than one takes. Of GError *, one for each,
 * NULL for those that are durable now. */
GPtrArray *guest_records_put_all(struct guest_records *records, const GPtrArray *changed);
bool guest_records_remove(struct guest_records *records, const struct uuid *guest, GError **error);

typedef struct guest_records guest_records_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_records_t, guest_records_free)
