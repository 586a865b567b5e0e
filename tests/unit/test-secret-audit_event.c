/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a line of the audit says of an event.
 */
#include "conf/audit_line.h"
#include "expect.h"
#include "secret/audit_event.h"
#include "secret/store.h"

static struct uuid
uuid_of(unsigned int number)
{
    g_autofree char *text = g_strdup_printf("00000000-0000-4000-8000-%012u", number);
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

static char *
members_for(const struct uuid *guests, size_t guest_count, const char *reason)
{
    struct uuid secret = uuid_of(1);
    g_autoptr(GError) error = NULL;
    char *members = audit_event_members(
        &(struct audit_event){
            .event = "erase",
            .secret = &secret,
            .guests = guests,
            .guest_count = guest_count,
            .reason = reason,
            .generation = 3,
        },
        &error);

    g_assert_no_error(error);
    g_assert_true(audit_line_are_members(members));
    return members;
}

static void
expect_part(const char *members, const char *part)
{
    if (!strstr(members, part))
        g_error("'%s' does not hold '%s'", members, part);
}

static void
test_an_event_has_all_members(void)
{
    struct uuid guest = uuid_of(2);
    g_autofree char *members = members_for(&guest, 1, "guest 'web1' was undefined");

    g_assert_true(g_regex_match_simple("^\"time\":\"20..-..-..T..:..:..Z\",", members, 0, 0));
    expect_part(members, ",\"event\":\"erase\",\"secret\":\"00000000-0000-4000-8000-000000000001\","
                         "\"guest\":\"00000000-0000-4000-8000-000000000002\","
                         "\"reason\":\"guest 'web1' was undefined\",\"generation\":3,\"id\":\"");
}

/* Copies on disk are as many as somebody puts there. */
static void
test_more_guests_than_can_own_a_secret_are_refused(void)
{
    g_autofree struct uuid *guests = g_new0(struct uuid, STORE_OWNERS_MAX + 1);
    struct uuid secret = uuid_of(1);
    g_autoptr(GError) error = NULL;
    const struct audit_event event = {
        .event = "undefine",
        .secret = &secret,
        .guests = guests,
        .guest_count = STORE_OWNERS_MAX + 1,
        .reason = "",
    };

    g_assert_null(audit_event_members(&event, &error));
    g_assert_true(error_is(error, ERROR_OPERATION_INVALID));
}

static void
test_each_event_has_an_id_of_its_own(void)
{
    g_autofree char *first = members_for(NULL, 0, "");
    g_autofree char *second = members_for(NULL, 0, "");
    char first_id[UUID_TEXT_SIZE];
    char second_id[UUID_TEXT_SIZE];

    audit_line_find_id(first, first_id);
    audit_line_find_id(second, second_id);
    g_assert_cmpstr(first_id, !=, second_id);
}

static void
test_no_guest_is_null_and_several_are_a_list(void)
{
    struct uuid guests[] = {uuid_of(2), uuid_of(3)};
    g_autofree char *none = members_for(NULL, 0, "");
    g_autofree char *both = members_for(guests, 2, "");

    expect_part(none, ",\"guest\":null,");
    expect_part(both, ",\"guests\":[\"00000000-0000-4000-8000-000000000002\","
                      "\"00000000-0000-4000-8000-000000000003\"],");
}

static void
test_a_reason_can_not_forge_members(void)
{
    g_autofree char *members = members_for(NULL, 0, "x\",\"event\":\"none\"\n}");

    expect_part(members, "\"reason\":\"x\\\",\\\"event\\\":\\\"none\\\"\\u000a}\",\"generation\"");
}

/* With all owners that a secret can have, and a reason of escapes. */
static void
test_the_largest_event_fits(void)
{
    g_autofree struct uuid *guests = g_new0(struct uuid, STORE_OWNERS_MAX);
    g_autofree char *reason = g_strnfill(2 * AUDIT_REASON_MAX, '\n');
    g_autofree char *members = members_for(guests, STORE_OWNERS_MAX, reason);

    g_assert_cmpuint(strlen(members), <=, AUDIT_MEMBERS_MAX);
}

#define ADD(name) g_test_add_func("/secret/audit_event/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(an_event_has_all_members);
    ADD(more_guests_than_can_own_a_secret_are_refused);
    ADD(each_event_has_an_id_of_its_own);
    ADD(no_guest_is_null_and_several_are_a_list);
    ADD(a_reason_can_not_forge_members);
    ADD(the_largest_event_fits);
    return g_test_run();
}
