/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: for tests of secrets that guests own: changes of owners that wait for their end, and the
 * files of the guests.
 */
#pragma once

#include "custodian.h"

#define GUEST_1 "a1111111-1111-4111-8111-111111111111"
#define GUEST_2 "a2222222-2222-4222-8222-222222222222"
#define GUEST_3 "a3333333-3333-4333-8333-333333333333"

static inline GError *
try_bind(struct custodian *test, const char *secret, const char *guest)
{
    struct outcome outcome = {0};
    struct uuid uuid = uuid_of(secret);
    struct uuid owner = uuid_of(guest);

    secret_service_bind(test->service, &uuid, &owner, outcome_note, &outcome);
    return end_change(test, &outcome);
}

static inline GError *
try_unbind(struct custodian *test, const char *secret, const char *guest)
{
    struct outcome outcome = {0};
    struct uuid uuid = uuid_of(secret);
    struct uuid owner = uuid_of(guest);

    secret_service_unbind(test->service, &uuid, &owner, "guest 'x' was undefined", outcome_note,
                          &outcome);
    return end_change(test, &outcome);
}

static inline GError *
try_erase(struct custodian *test, const char *secret, const char *guest, const char *reason)
{
    struct outcome outcome = {0};
    struct uuid uuid = uuid_of(secret);
    struct uuid owner;

    if (guest)
        owner = uuid_of(guest);
    secret_service_erase(test->service, &uuid, guest ? &owner : NULL, reason, outcome_note,
                         &outcome);
    return end_change(test, &outcome);
}

/* `guests`: uuids with a space between them, or "". */
static inline GError *
try_put(struct custodian *test, const char *words, const char *value, const char *guests)
{
    g_autofree char *xml = xml_of(words);
    g_auto(GStrv) names = g_strsplit(guests, " ", -1);
    guint count = g_strv_length(names);
    g_autofree struct uuid *owners = g_new(struct uuid, count);
    const struct secret_put put = {
        .def = def_of(xml),
        .value = secret_buf_new_from(value, strlen(value), NULL),
        .owners = owners,
        .owner_count = count,
    };
    struct outcome outcome = {0};

    for (guint i = 0; i < count; i++)
        owners[i] = uuid_of(names[i]);
    secret_service_put(test->service, &put, outcome_note, &outcome);
    return end_change(test, &outcome);
}

static inline void
bind_to(struct custodian *test, const char *secret, const char *guest)
{
    g_autoptr(GError) error = try_bind(test, secret, guest);

    g_assert_no_error(error);
}

static inline void
unbind_from(struct custodian *test, const char *secret, const char *guest)
{
    g_autoptr(GError) error = try_unbind(test, secret, guest);

    g_assert_no_error(error);
}

/* All bindings as "SECRET GUEST\n", of each uuid the first 8 letters. */
static inline void
expect_bindings(struct custodian *test, const char *expected)
{
    g_autoptr(GArray) bindings = secret_service_list_bindings(test->service, NULL, 1000);
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < bindings->len; i++) {
        const struct secret_binding *binding = &g_array_index(bindings, struct secret_binding, i);
        char secret[UUID_TEXT_SIZE];
        char guest[UUID_TEXT_SIZE];

        g_string_append_printf(text, "%.8s %.8s\n", uuid_format(&binding->secret, secret),
                               uuid_format(&binding->guest, guest));
    }
    g_assert_cmpstr(text->str, ==, expected);
}

/* ---- files ---- */

static inline char *
copy_path(const struct custodian *test, const char *guest, const char *secret)
{
    return g_strdup_printf("%s/%s/%s.key", test->guests_dir, guest, secret);
}

static inline bool
has_copy(const struct custodian *test, const char *guest, const char *secret)
{
    g_autofree char *path = copy_path(test, guest, secret);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static inline bool
has_key(const struct custodian *test, const char *secret)
{
    g_autofree char *name = g_strconcat(secret, ".key", NULL);
    g_autofree char *path = folder_path(&test->secrets, name);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static inline GBytes *
get_copy(const struct custodian *test, const char *guest, const char *secret)
{
    g_autofree char *path = copy_path(test, guest, secret);
    char *content = NULL;
    gsize len = 0;

    g_assert_true(g_file_get_contents(path, &content, &len, NULL));
    return g_bytes_new_take(content, len);
}

/* As from a backup. */
static inline void
put_copy(const struct custodian *test, const char *guest, const char *secret, GBytes *content)
{
    g_autofree char *path = copy_path(test, guest, secret);
    g_autofree char *dir = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert_true(g_file_set_contents_full(path, g_bytes_get_data(content, NULL),
                                           (gssize)g_bytes_get_size(content),
                                           G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

static inline void
damage_copy(const struct custodian *test, const char *guest, const char *secret)
{
    g_autoptr(GBytes) content = get_copy(test, guest, secret);
    gsize len = 0;
    char *bytes = g_bytes_unref_to_data(g_steal_pointer(&content), &len);

    bytes[len - 1] ^= 1;
    content = g_bytes_new_take(bytes, len);
    put_copy(test, guest, secret, content);
}

/* The owners' files are all there is of the value, each opens alone. */
static inline void
expect_owned_alone(struct custodian *test, const char *secret, const char *guest, const char *value)
{
    g_autofree char *hidden = g_strconcat(test->guests_dir, ".hidden", NULL);
    g_autoptr(GBytes) copy = get_copy(test, guest, secret);

    g_assert_false(has_key(test, secret));
    custodian_close(test);
    g_assert_cmpint(g_rename(test->guests_dir, hidden), ==, 0);
    put_copy(test, guest, secret, copy);
    custodian_open(test);
    expect_value(test, secret, value);
    custodian_close(test);
    folder_remove_tree(test->guests_dir);
    g_assert_cmpint(g_rename(hidden, test->guests_dir), ==, 0);
    custodian_open(test);
}
