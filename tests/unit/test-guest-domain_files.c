/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libvirt's own definitions as the second witness: every uuid in them counts.
 */
#include "guest/domain_files.h"

#include "expect.h"
#include "folder.h"
#include "util/uuid.h"

#define UUID_1 "11111111-1111-4111-8111-111111111111"
#define UUID_2 "22222222-2222-4222-8222-222222222222"

static bool
has(GHashTable *uuids, const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return g_hash_table_contains(uuids, &uuid);
}

static void
test_no_folder_is_no_definition(struct folder *folder, gconstpointer unused)
{
    g_autofree char *nowhere = folder_path(folder, "nowhere");
    g_autoptr(GError) error = NULL;
    g_autoptr(GHashTable) uuids = guest_domain_files_read(nowhere, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(g_hash_table_size(uuids), ==, 0);
}

static void
test_uuids_are_found_in_what_libvirt_could_not_load(struct folder *folder, gconstpointer unused)
{
    g_autoptr(GHashTable) uuids = NULL;
    g_autoptr(GError) error = NULL;

    folder_put_text(folder, "a.xml", "<domain>\n <uuid>" UUID_1 "</uuid><broken");
    folder_put_text(folder, "b.xml", "<uuid>not one</uuid><uuid>");
    folder_put_text(folder, "c.txt", "<uuid>" UUID_2 "</uuid>");
    uuids = guest_domain_files_read(folder->path, &error);
    g_assert_no_error(error);
    g_assert_true(has(uuids, UUID_1));
    g_assert_false(has(uuids, UUID_2));
}

static void
test_a_definition_that_cannot_be_read_is_an_error(struct folder *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(mkdirat(folder->fd, "a.xml", 0700), ==, 0);
    g_assert_null(guest_domain_files_read(folder->path, &error));
    g_assert_nonnull(strstr(error->message, folder->path));
}

static void
set_up(struct folder *folder, gconstpointer unused)
{
    folder_init(folder);
}

static void
tear_down(struct folder *folder, gconstpointer unused)
{
    folder_clear(folder);
}

#define ADD(function)                                                                              \
    g_test_add("/guest/domain_files/" #function, struct folder, NULL, set_up, test_##function,     \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(no_folder_is_no_definition);
    ADD(uuids_are_found_in_what_libvirt_could_not_load);
    ADD(a_definition_that_cannot_be_read_is_an_error);
    return g_test_run();
}
