/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The file of guests that wait for the unlock: what is written is read, and nothing else.
 */
#include <errno.h>
#include <string.h>

#include "expect.h"
#include "folder.h"
#include "guest/autostart_note.h"
#include "util/uuid.h"

#define A "11111111-1111-4111-8111-111111111111"
#define B "22222222-2222-4222-8222-222222222222"

static struct folder folder;
static char *path;

static GArray *
guests_of(const char *const *texts)
{
    GArray *guests = g_array_new(FALSE, FALSE, sizeof(struct uuid));

    for (; *texts; texts++) {
        struct uuid uuid;

        g_assert_true(uuid_parse(*texts, &uuid));
        g_array_append_val(guests, uuid);
    }
    return guests;
}

static void
expect_guests(const char *const *texts)
{
    g_autoptr(GArray) wanted = guests_of(texts);
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) found = guest_autostart_note_read(path, &error);

    g_assert_no_error(error);
    g_assert_cmpmem(found->data, found->len * sizeof(struct uuid), wanted->data,
                    wanted->len * sizeof(struct uuid));
}

static void
test_what_is_written_is_read(void)
{
    static const char *const both[] = {A, B, NULL};
    static const char *const nobody[] = {NULL};
    g_autoptr(GArray) guests = guests_of(both);
    g_autoptr(GArray) none = guests_of(nobody);

    g_assert_true(guest_autostart_note_write(path, guests, NULL));
    expect_guests(both);
    g_assert_true(guest_autostart_note_write(path, none, NULL));
    expect_guests(nobody);
}

static void
test_no_file_is_told_from_a_damaged_one(void)
{
    static const char *const damaged[] = {
        "",
        "virtcrypt autostart 2\n",
        "virtcrypt autostart 1\nweb1\n",
        "virtcrypt autostart 1\n" A " " B "\n",
        "virtcrypt autostart 1\n\n" A "\n",
    };
    g_autofree char *missing = folder_path(&folder, "no/such/file");
    g_autoptr(GError) error = NULL;

    g_assert_null(guest_autostart_note_read(missing, &error));
    g_assert_cmpint(error_get_errno(error), ==, ENOENT);
    for (size_t i = 0; i < G_N_ELEMENTS(damaged); i++) {
        g_autoptr(GError) other = NULL;

        folder_put_text(&folder, "autostart", damaged[i]);
        g_assert_null(guest_autostart_note_read(path, &other));
        expect_error_part(other, ERROR_INTERNAL, ERROR_FROM_DOMAIN, "is damaged");
    }
}

static void
test_one_without_a_last_line_break_is_read(void)
{
    static const char *const one[] = {A, NULL};

    folder_put_text(&folder, "autostart", "virtcrypt autostart 1\n" A);
    expect_guests(one);
}

#define ADD(name) g_test_add_func("/guest/autostart_note/" #name, test_##name)

int
main(int argc, char **argv)
{
    int result;

    g_test_init(&argc, &argv, NULL);
    folder_init(&folder);
    path = folder_path(&folder, "autostart");
    ADD(what_is_written_is_read);
    ADD(no_file_is_told_from_a_damaged_one);
    ADD(one_without_a_last_line_break_is_read);
    result = g_test_run();
    g_free(path);
    folder_clear(&folder);
    return result;
}
