/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what tests of both sides of a migration share.
 */
#pragma once

#include "guest_service_fixture.h"

static inline void
migration_end_well(struct guest_fixture *test, const struct uuid *migration, bool has_moved,
                   struct guest_migrate_end *ret_end)
{
    g_autoptr(GError) error = NULL;

    fake_libvirt_emit(GUEST_LIBVIRT_CONNECTED, NULL);
    guest_service_migrate_end(test->service, &test->guest, migration, has_moved, ret_end, &error);
    g_assert_no_error(error);
}

static inline void
migration_end_refused(struct guest_fixture *test, const struct uuid *migration, bool has_moved,
                      const char *part)
{
    struct guest_migrate_end end;
    g_autoptr(GError) error = NULL;

    g_assert_false(
        guest_service_migrate_end(test->service, &test->guest, migration, has_moved, &end, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_DOMAIN, part);
}

/* As if that time had gone by. */
static inline void
migration_make_older(struct guest_fixture *test, int64_t seconds)
{
    g_autoptr(guest_record_t) record = guest_fixture_record(test);
    g_autofree char *text = NULL;

    record->since -= seconds;
    text = guest_record_format(record);
    guest_fixture_stop(test);
    folder_put_text(&test->records, GUEST_UUID ".xml", text);
    guest_fixture_start(test);
}
