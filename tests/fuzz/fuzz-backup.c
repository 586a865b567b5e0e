/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Backups from hostile bytes: as the content of one, which is told record by record or refused
 * whatever it is cut into; and as a file, which no master key of ours opens.
 */
#include <string.h>

#include "recover/backup_reader.h"
#include "target_file.h"

enum { PART = 7 };

/* ---- as content ---- */

struct told {
    guint secrets;
    guint lost;
    struct uuid last;
};

static bool
tell_secret(void *opaque, const struct backup_secret *secret, GError **error)
{
    struct told *told = opaque;

    check(told->secrets == 0 || uuid_compare(&told->last, &secret->uuid) < 0);
    check(secret->xml && (secret->sealed || secret->guest_count == 0));
    told->last = secret->uuid;
    told->secrets++;
    return true;
}

static bool
tell_lost(void *opaque, const char *text, GError **error)
{
    struct told *told = opaque;

    check(g_utf8_validate(text, -1, NULL));
    told->lost++;
    return true;
}

static const struct backup_records_funcs funcs = {.secret = tell_secret, .lost = tell_lost};

/* Fed in parts of that size; 0: at once. Whether it is whole. */
static bool
feed(const uint8_t *input, size_t len, size_t part, struct told *told)
{
    g_autoptr(backup_records_t) records = backup_records_new(&funcs, told);
    g_autoptr(GError) error = NULL;

    for (size_t at = 0; at < len;) {
        size_t next = part > 0 ? MIN(part, len - at) : len;

        if (!backup_records_feed(records, input + at, next, &error)) {
            check(error && *error->message);
            return false;
        }
        at += next;
    }
    return backup_records_finish(records, NULL);
}

/* Behind bytes that are lost, wherever these are, nothing is refused, and nothing out of order. */
static void
feed_with_gap(const uint8_t *input, size_t len)
{
    struct told told = {0};
    g_autoptr(backup_records_t) records = backup_records_new(&funcs, &told);
    struct backup_tally tally;
    struct uuid begun;
    size_t half = len / 2;

    if (!backup_records_feed(records, input, half, NULL))
        return;
    backup_records_note_gap(records, &begun);
    for (size_t at = half; at < len; at += PART)
        check(backup_records_feed(records, input + at, MIN((size_t)PART, len - at), NULL));
    backup_records_get_tally(records, &tally);
    check(tally.secrets == told.secrets);
}

/* ---- as a file ---- */

static void
open_file(const uint8_t *input, size_t len)
{
    const char *path = target_file_put("backup", input, len);
    g_autoptr(master_key_t) master = master_key_new_random(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(backup_reader_t) reader = NULL;

    reader = backup_reader_open(path, &error);
    if (reader)
        check(!backup_reader_unlock(reader, master, &error));
    check(error && *error->message);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    struct told at_once = {0};
    struct told in_parts = {0};
    bool is_whole = feed(input, len, 0, &at_once);

    check(feed(input, len, PART, &in_parts) == is_whole);
    check(at_once.secrets == in_parts.secrets && at_once.lost == in_parts.lost);
    feed_with_gap(input, len);
    open_file(input, len);
    return 0;
}
