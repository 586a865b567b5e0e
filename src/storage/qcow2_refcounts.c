/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: qcow2_refcounts.h. The new clusters lie in a row: those asked for, then refcount blocks
 * that were missing, then the table if the old one is too small. They count themselves too.
 */
#include "storage/qcow2_refcounts.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum {
    TABLE_MAX = 8 * 1024 * 1024, /* bytes, QEMU's own limit */
    TABLE_ENTRY = 8,
    COUNT_ENTRY = 2,
};

/* What is to be taken: clusters by their numbers. */
struct plan {
    uint64_t first;        /* asked for */
    uint64_t first_block;  /* new refcount blocks */
    uint64_t n_blocks;     /* so many */
    uint64_t first_table;  /* the new table */
    uint64_t n_table;      /* so many; 0: the old one is large enough */
    uint64_t end;          /* one past the last */
    uint64_t old_entries;  /* of the table */
    uint64_t need_entries; /* of the table */
};

static uint64_t
cluster_size(const struct qcow2_refcounts *counts)
{
    return (uint64_t)1 << counts->cluster_bits;
}

static uint64_t
counts_of_block(const struct qcow2_refcounts *counts)
{
    return cluster_size(counts) / COUNT_ENTRY;
}

static bool
read_at(const struct qcow2_refcounts *counts, void *bytes, size_t len, uint64_t offset,
        GError **error)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got =
            pread(counts->fd, (uint8_t *)bytes + done, len - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            error_set_errno(error, ERROR_FROM_STORAGE, got == 0 ? EIO : errno,
                            "cannot read the refcounts of %s", counts->path);
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static bool
write_at(const struct qcow2_refcounts *counts, const void *bytes, size_t len, uint64_t offset,
         GError **error)
{
    if (file_write_all_at(counts->fd, bytes, len, (off_t)offset))
        return true;
    error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot write the refcounts of %s",
                    counts->path);
    return false;
}

/* Blocks that are to be made so that clusters first..end-1 can be counted. */
static uint64_t
count_missing(const struct qcow2_refcounts *counts, const struct plan *plan, const uint64_t *table)
{
    uint64_t last = (plan->end - 1) / counts_of_block(counts);
    uint64_t missing = 0;

    for (uint64_t i = plan->first / counts_of_block(counts); i <= last; i++)
        missing += i >= plan->old_entries || table[i] == 0;
    return missing;
}

/* Blocks and table need clusters that must be counted as well: again until nothing is added. */
static bool
make_plan(const struct qcow2_refcounts *counts, uint64_t count, const uint64_t *table,
          struct plan *plan, GError **error)
{
    uint64_t before;
    struct stat info;

    if (fstat(counts->fd, &info) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot examine %s", counts->path);
        return false;
    }
    plan->first = ((uint64_t)info.st_size + cluster_size(counts) - 1) >> counts->cluster_bits;
    plan->first_block = plan->first + count;
    plan->end = plan->first_block;
    do {
        before = plan->end;
        plan->n_blocks = count_missing(counts, plan, table);
        plan->need_entries = (plan->end - 1) / counts_of_block(counts) + 1;
        if (plan->need_entries > plan->old_entries)
            plan->n_table = (plan->need_entries * TABLE_ENTRY + cluster_size(counts) - 1) >>
                            counts->cluster_bits;
        plan->first_table = plan->first_block + plan->n_blocks;
        plan->end = plan->first_table + plan->n_table;
    } while (plan->end != before);
    if (plan->n_table << counts->cluster_bits <= TABLE_MAX)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "%s is too large for its cluster size", counts->path);
    return false;
}

/* Sets the counts of clusters first..end-1, which lie in one block, to `value`. */
static bool
set_counts(const struct qcow2_refcounts *counts, uint64_t block, uint64_t first, uint64_t end,
           uint16_t value, GError **error)
{
    size_t len = (size_t)(end - first) * COUNT_ENTRY;
    uint64_t offset = block + first % counts_of_block(counts) * COUNT_ENTRY;
    g_autofree uint16_t *entries = g_malloc(len);

    if (!read_at(counts, entries, len, offset, error))
        return false;
    for (uint64_t i = 0; i < end - first; i++) {
        if ((entries[i] == 0) != (value == 1)) {
            error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                      "the refcounts of %s are wrong; see qemu-img check", counts->path);
            return false;
        }
        entries[i] = GUINT16_TO_BE(value);
    }
    return write_at(counts, entries, len, offset, error);
}

static bool
set_all_counts(const struct qcow2_refcounts *counts, const uint64_t *table, uint64_t first,
               uint64_t end, uint16_t value, GError **error)
{
    while (first < end) {
        uint64_t index = first / counts_of_block(counts);
        uint64_t stop = MIN(end, (index + 1) * counts_of_block(counts));

        if (!set_counts(counts, table[index], first, stop, value, error))
            return false;
        first = stop;
    }
    return true;
}

/* Names the new blocks in the table, in memory. */
static void
add_blocks(const struct qcow2_refcounts *counts, const struct plan *plan, uint64_t *table)
{
    uint64_t next = plan->first_block;

    for (uint64_t i = plan->first / counts_of_block(counts); i < plan->need_entries; i++) {
        if (table[i] == 0)
            table[i] = next++ << counts->cluster_bits;
    }
}

static bool
write_table(const struct qcow2_refcounts *counts, uint64_t *table, uint64_t offset, size_t len,
            GError **error)
{
    for (size_t i = 0; i < len / TABLE_ENTRY; i++)
        table[i] = GUINT64_TO_BE(table[i]);
    return write_at(counts, table, len, offset, error);
}

static bool
carry_out(struct qcow2_refcounts *counts, const struct plan *plan, uint64_t *table, GError **error)
{
    uint64_t old_first = counts->table_offset >> counts->cluster_bits;
    uint64_t old_end = old_first + counts->table_clusters;

    add_blocks(counts, plan, table);
    if (ftruncate(counts->fd, (off_t)(plan->end << counts->cluster_bits)) < 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "cannot make room in %s", counts->path);
        return false;
    }
    if (!set_all_counts(counts, table, plan->first, plan->end, 1, error))
        return false;
    if (plan->n_table > 0) {
        if (!set_all_counts(counts, table, old_first, old_end, 0, error))
            return false;
        counts->table_offset = plan->first_table << counts->cluster_bits;
        counts->table_clusters = (uint32_t)plan->n_table;
    }
    return write_table(counts, table, counts->table_offset,
                       (size_t)counts->table_clusters << counts->cluster_bits, error);
}

bool
qcow2_refcounts_append(struct qcow2_refcounts *counts, uint64_t count, uint64_t *ret_offset,
                       GError **error)
{
    size_t old_len = (size_t)counts->table_clusters << counts->cluster_bits;
    g_autofree uint64_t *table = NULL;
    struct plan plan = {.old_entries = old_len / TABLE_ENTRY};

    if (old_len > TABLE_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
                  "the refcount table of %s is larger than any that QEMU makes", counts->path);
        return false;
    }
    /* Zero entries behind the old ones: no block there yet. */
    table = g_malloc0(TABLE_MAX);
    if (!read_at(counts, table, old_len, counts->table_offset, error))
        return false;
    for (uint64_t i = 0; i < plan.old_entries; i++)
        table[i] = GUINT64_FROM_BE(table[i]);
    if (!make_plan(counts, count, table, &plan, error) || !carry_out(counts, &plan, table, error))
        return false;
    *ret_offset = plan.first << counts->cluster_bits;
    return true;
}
