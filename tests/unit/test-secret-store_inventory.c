/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is on disk, secret by secret: in which order, and whose the copies are. (Definitions are
 * read in the tests of the service and of recovery.)
 */
#include <string.h>

#include "secret/owners.h"
#include "secret/store_inventory.h"

static struct uuid
uuid_of(char c)
{
    struct uuid uuid;

    memset(uuid.bytes, c == '0' ? 0 : c, sizeof(uuid.bytes));
    return uuid;
}

/* A character for each secret that has files. */
static GArray *
entries_of(const char *secrets)
{
    GArray *entries = g_array_new(FALSE, TRUE, sizeof(struct store_entry));

    for (; *secrets; secrets++) {
        struct store_entry entry = {.uuid = uuid_of(*secrets), .has_xml = true};

        g_array_append_val(entries, entry);
    }
    return entries;
}

/* Two characters for each copy: secret and guest; '0' is the uuid of zeros. */
static GArray *
owned_of(const char *copies)
{
    GArray *owned = g_array_new(FALSE, TRUE, sizeof(struct store_owned));

    for (; *copies; copies += 2) {
        struct store_owned copy = {uuid_of(copies[0]), uuid_of(copies[1])};

        g_array_append_val(owned, copy);
    }
    return owned;
}

/* "a" for a secret's files, "(a)" if there are none, then its guests. */
static void
write_down(const struct store_entry *entry, GArray *take_owners, void *opaque)
{
    GString *text = opaque;
    g_autoptr(owners_t) owners = take_owners;

    g_string_append_printf(text, entry->has_xml ? " %c" : " (%c)", entry->uuid.bytes[0]);
    for (guint i = 0; i < owners_count(owners); i++)
        g_string_append_c(text, (char)owners_at(owners, i)->bytes[0]);
}

static void
expect(const char *secrets, const char *copies, const char *expected)
{
    g_autoptr(GArray) entries = entries_of(secrets);
    g_autoptr(GArray) owned = owned_of(copies);
    g_autoptr(GString) text = g_string_new(NULL);

    store_inventory_foreach(entries, owned, write_down, text);
    g_assert_cmpstr(text->str, ==, expected);
}

static void
test_an_empty_store_has_nothing(void)
{
    expect("", "", "");
}

static void
test_secrets_without_guests_come_in_order(void)
{
    expect("abc", "", " a b c");
}

static void
test_each_secret_has_its_own_guests(void)
{
    expect("abc", "aXaYcZ", " aXY b cZ");
}

static void
test_copies_without_a_secrets_files_come_in_their_place(void)
{
    expect("bd", "aXbXcYcZeX", " (a)X bX (c)YZ d (e)X");
}

static void
test_a_copy_for_the_guest_of_zeros_is_nobodys(void)
{
    expect("a", "a0aXb0", " aX (b)");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secret/store_inventory/an_empty_store_has_nothing",
                    test_an_empty_store_has_nothing);
    g_test_add_func("/secret/store_inventory/secrets_without_guests_come_in_order",
                    test_secrets_without_guests_come_in_order);
    g_test_add_func("/secret/store_inventory/each_secret_has_its_own_guests",
                    test_each_secret_has_its_own_guests);
    g_test_add_func("/secret/store_inventory/copies_without_a_secrets_files_come_in_their_place",
                    test_copies_without_a_secrets_files_come_in_their_place);
    g_test_add_func("/secret/store_inventory/a_copy_for_the_guest_of_zeros_is_nobodys",
                    test_a_copy_for_the_guest_of_zeros_is_nobodys);
    return g_test_run();
}
