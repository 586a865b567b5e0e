/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the records of our volumes, on disk (one file each, replaced whole and flushed) and in
 * memory. Thread-safe; what is given out is a copy. A file that can't be read is logged, kept, and
 * its volume is *unreadable*: neither used nor made again until it is mended.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "conf/volume_record.h"

struct storage_records;

struct storage_records *storage_records_new(const char *dir, const char *device_dir,
                                            GError **error);
void storage_records_free(struct storage_records *records);

/* A copy, or NULL with ERROR_NO_STORAGE_VOL (or, unreadable, ERROR_OPERATION_FAILED). */
struct volume_record *storage_records_get(struct storage_records *records, const char *pool,
                                          const char *name, GError **error);
/* The volume that `path` is `path`, `device`, the mapping's link or the alias of; symbolic links
 * are followed too. NULL without an error: none. *ret_is_device: `path` is its ciphertext. */
struct volume_record *storage_records_get_by_path(struct storage_records *records, const char *path,
                                                  bool *ret_is_device);
/* The same by the path alone, whatever it leads to. */
struct volume_record *storage_records_get_by_name(struct storage_records *records,
                                                  const char *path);
/* The link of an opened volume, or NULL: it is not opened by us. */
char *storage_records_link(const struct storage_records *records,
                           const struct volume_record *record);
/* Another number after each change. */
int storage_records_version(struct storage_records *records);
/* Copies, in order of pool and name; all pools with NULL. */
GPtrArray *storage_records_list(struct storage_records *records, const char *pool);
/* How many volumes but `except` (or NULL), and but those that are being deleted, use that secret,
 * or may: those whose record can't be read. */
unsigned int storage_records_count_secret(struct storage_records *records, const struct uuid *uuid,
                                          const struct volume_record *except);
/* Where clients look for the opened volume if not by its path: in the pool, beside a container
 * called NAME.crypt. NULL: nowhere. */
char *storage_records_alias(const struct volume_record *record);

/* From any thread, with the records locked, when an operation on a volume has ended: its secret may
 * be another one, or the volume be gone. It must not wait nor call back. */
typedef void (*storage_records_func)(void *opaque);
/* Before any other thread has the records. */
void storage_records_set_watcher(struct storage_records *records, storage_records_func on_change,
                                 void *opaque);

/* Durable when true: the commit point of every change of a volume. */
bool storage_records_put(struct storage_records *records, const struct volume_record *record,
                         GError **error);
bool storage_records_remove(struct storage_records *records, const char *pool, const char *name,
                            GError **error);
