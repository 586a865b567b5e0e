/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records of guests: what is written is read back exactly, and nothing unknown is acted on.
 */
#include <string.h>

#include "conf/guest_record.h"
#include "expect.h"

#define GUEST     "0bd8f1a4-1111-4222-8333-444455556666"
#define OPERATION "0bd8f1a4-1111-4222-8333-777788889999"
#define SECRET    "d9a3c9a0-1111-4222-8333-444455556666"
#define OTHER     "e1b7d0c2-1111-4222-8333-444455556666"

#define KEYS                                                                                       \
    "  <keys>\n"                                                                                   \
    "    <key>\n"                                                                                  \
    "      <secret>" SECRET "</secret>\n"                                                          \
    "      <origin>generated</origin>\n"                                                           \
    "      <state>bound</state>\n"                                                                 \
    "      <volume>/i/web1.qcow2</volume>\n"                                                       \
    "      <place>ef53:1234</place>\n"                                                             \
    "      <remoteCopy>no</remoteCopy>\n"                                                          \
    "    </key>\n"                                                                                 \
    "    <key>\n"                                                                                  \
    "      <secret>" OTHER "</secret>\n"                                                           \
    "      <origin>sent</origin>\n"                                                                \
    "      <state>waiting</state>\n"                                                               \
    "      <since>1767229200</since>\n"                                                            \
    "      <reason>guest &apos;web1&apos; no longer refers to it</reason>\n"                       \
    "      <remoteCopy>yes</remoteCopy>\n"                                                         \
    "    </key>\n"                                                                                 \
    "  </keys>\n"

static const char present[] = "<guestRecord version='1'>\n"
                              "  <uuid>" GUEST "</uuid>\n"
                              "  <name>web1</name>\n"
                              "  <uri>qemu:///system</uri>\n"
                              "  <state>present</state>\n"
                              "  <since>1767225600</since>\n" KEYS "</guestRecord>\n";

static const char leaving[] = "<guestRecord version='1'>\n"
                              "  <uuid>" GUEST "</uuid>\n"
                              "  <name>a &amp; \u20ac\t&lt;b&gt;</name>\n"
                              "  <uri>qemu:///system</uri>\n"
                              "  <state>leaving</state>\n"
                              "  <since>9223372036854775807</since>\n"
                              "  <operation>" OPERATION "</operation>\n"
                              "  <peer>qemu+ssh://there/system</peer>\n" KEYS "</guestRecord>\n";

/* An operation that has ended, and no keys. */
static const char ended[] = "<guestRecord version='1'>\n"
                            "  <uuid>" GUEST "</uuid>\n"
                            "  <name>web1</name>\n"
                            "  <state>migrated</state>\n"
                            "  <since>0</since>\n"
                            "  <operation>" OPERATION "</operation>\n"
                            "  <keys>\n"
                            "  </keys>\n"
                            "</guestRecord>\n";

static struct guest_record *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct guest_record *record = guest_record_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    return record;
}

static struct uuid
to_uuid(const char *text)
{
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

/* `xml` with `from` replaced by `to` is refused. */
static void
expect_refused_in(const char *record_xml, const char *from, const char *to, enum error_code code,
                  const char *detail)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) xml = g_string_new(record_xml);
    g_autoptr(guest_record_t) record = NULL;

    g_assert_cmpuint(g_string_replace(xml, from, to, 1), ==, 1);
    record = guest_record_parse(xml->str, xml->len, &error);
    g_assert_null(record);
    expect_error(error, code, ERROR_FROM_STORAGE, detail);
}

static void
expect_refused(const char *from, const char *to, const char *detail)
{
    expect_refused_in(present, from, to, ERROR_XML, detail);
}

static void
test_a_record_is_read_into_its_fields(void)
{
    g_autoptr(guest_record_t) record = parse(present);
    struct uuid guest = to_uuid(GUEST);
    struct uuid secret = to_uuid(SECRET);
    struct uuid other = to_uuid(OTHER);
    const struct guest_key *key = guest_record_find(record, &secret);

    g_assert_true(uuid_equal(&record->uuid, &guest));
    g_assert_cmpstr(record->name, ==, "web1");
    g_assert_cmpstr(record->uri, ==, "qemu:///system");
    g_assert_cmpint(record->state, ==, GUEST_STATE_PRESENT);
    g_assert_cmpint(record->since, ==, 1767225600);
    g_assert_null(record->peer);
    g_assert_cmpuint(record->keys->len, ==, 2);
    g_assert_cmpint(key->origin, ==, GUEST_KEY_GENERATED);
    g_assert_cmpint(key->state, ==, GUEST_KEY_BOUND);
    g_assert_cmpstr(key->volume, ==, "/i/web1.qcow2");
    g_assert_cmpstr(key->place, ==, "ef53:1234");
    g_assert_cmpint(key->since, ==, 0);
    g_assert_null(key->reason);
    g_assert_false(key->has_remote_copy);
    key = guest_record_find(record, &other);
    g_assert_cmpint(key->origin, ==, GUEST_KEY_SENT);
    g_assert_cmpint(key->state, ==, GUEST_KEY_WAITING);
    g_assert_null(key->volume);
    g_assert_cmpint(key->since, ==, 1767229200);
    g_assert_cmpstr(key->reason, ==, "guest 'web1' no longer refers to it");
    g_assert_true(key->has_remote_copy);
}

static void
test_an_operation_is_read_with_its_peer(void)
{
    g_autoptr(guest_record_t) record = parse(leaving);
    struct uuid operation = to_uuid(OPERATION);

    g_assert_cmpint(record->state, ==, GUEST_STATE_LEAVING);
    g_assert_true(uuid_equal(&record->operation, &operation));
    g_assert_cmpstr(record->peer, ==, "qemu+ssh://there/system");
    g_assert_cmpstr(record->name, ==, "a & \u20ac\t<b>");
    g_assert_cmpint(record->since, ==, G_MAXINT64);
}

static void
test_a_record_is_written_as_it_was_read(void)
{
    static const char *const records[] = {present, leaving, ended};

    for (size_t i = 0; i < G_N_ELEMENTS(records); i++) {
        g_autoptr(guest_record_t) record = parse(records[i]);
        g_autoptr(guest_record_t) copy = guest_record_copy(record);
        g_autofree char *text = guest_record_format(copy);

        g_assert_cmpstr(text, ==, records[i]);
    }
}

static void
test_every_word_is_read_back(void)
{
    for (int state = 0; state < GUEST_STATE_LAST; state++) {
        for (int key_state = 0; key_state < GUEST_KEY_STATE_LAST; key_state++) {
            g_autoptr(guest_record_t) record = parse(leaving);
            g_autoptr(guest_record_t) again = NULL;
            g_autofree char *text = NULL;
            struct guest_key *key = record->keys->pdata[0];

            record->state = (enum guest_state)state;
            key->state = (enum guest_key_state)key_state;
            text = guest_record_format(record);
            again = parse(text);
            key = again->keys->pdata[0];
            g_assert_cmpint(again->state, ==, state);
            g_assert_cmpint(key->state, ==, key_state);
        }
    }
}

static void
test_origins_have_names(void)
{
    for (int origin = 0; origin < GUEST_KEY_ORIGIN_LAST; origin++) {
        enum guest_key_origin found = GUEST_KEY_ORIGIN_LAST;
        const char *name = guest_key_origin_name((enum guest_key_origin)origin);

        g_assert_true(guest_key_origin_parse(name, &found));
        g_assert_cmpint(found, ==, origin);
    }
    g_assert_cmpstr(guest_key_origin_name(GUEST_KEY_REFUSED), ==, "refused");
    g_assert_cmpstr(guest_key_origin_name(GUEST_KEY_ORIGIN_LAST), ==, "unknown");
    g_assert_false(guest_key_origin_parse("given", NULL));
}

static void
test_keys_are_taken_found_and_dropped(void)
{
    struct uuid guest = to_uuid(GUEST);
    struct uuid secret = to_uuid(SECRET);
    g_autoptr(guest_record_t) record = guest_record_new(&guest, "g", "u:///");
    struct guest_key *key;

    g_assert_null(guest_record_find(record, &secret));
    key = guest_record_take(record, &secret, GUEST_KEY_SENT);
    g_assert_cmpint(key->state, ==, GUEST_KEY_BOUND);
    g_assert_true(guest_record_take(record, &secret, GUEST_KEY_MANUAL) == key);
    g_assert_cmpint(key->origin, ==, GUEST_KEY_SENT);
    guest_record_drop(record, &secret);
    guest_record_drop(record, &secret);
    g_assert_cmpuint(record->keys->len, ==, 0);
}

static void
test_another_version_is_refused(void)
{
    expect_refused_in(present, "version='1'", "version='2'", ERROR_CONFIG_UNSUPPORTED,
                      "the record has version '2', and this virtcryptd knows version 1 only; use "
                      "the virtcryptd that wrote it, or a newer one");
}

static void
test_what_is_unknown_is_refused_by_name(void)
{
    expect_refused("<state>present", "<foo/><state>present",
                   "unknown element 'foo' in element 'guestRecord'; possible is 'uuid', 'name', "
                   "'uri', 'state', 'since', 'operation', 'peer' or 'keys'");
    expect_refused("<origin>generated", "<foo/><origin>generated",
                   "unknown element 'foo' in element 'key'; possible is 'secret', 'origin', "
                   "'state', 'volume', 'place', 'since', 'reason' or 'remoteCopy'");
    expect_refused("<keys>", "<keys foo='1'>",
                   "unknown attribute 'foo' in element 'keys'; none is possible");
    expect_refused("<key>", "<key foo='1'>",
                   "unknown attribute 'foo' in element 'key'; none is possible");
    expect_refused("<keys>", "<keys><foo/>",
                   "<keys> of the record holds something else than <key>");
    expect_refused("<keys>", "<keys>foo", "<keys> of the record holds something else than <key>");
    expect_refused("<state>present", "<state>asleep",
                   "<state> of the record is 'asleep' and not 'present', 'undefined', 'migrated', "
                   "'defining', 'arriving' or 'leaving'");
    expect_refused("<state>bound", "<state>free",
                   "<state> of the record is 'free' and not 'bound', 'made', 'waiting' or "
                   "'orphaned'");
    expect_refused("<origin>generated", "<origin>found",
                   "<origin> of the record is 'found' and not 'generated', 'sent', 'manual', "
                   "'referenced' or 'refused'");
}

static void
test_what_is_missing_or_malformed_is_refused(void)
{
    expect_refused("<name>web1</name>", "", "the record has no <name>");
    expect_refused("<uuid>" GUEST, "<uuid>x", "<uuid> of the record is 'x', and no UUID");
    expect_refused("<secret>" SECRET, "<secret>x", "<secret> of the record is 'x', and no UUID");
    expect_refused("  <since>1767225600</since>\n", "", "the record has no <since>");
    expect_refused("1767225600", "-1",
                   "<since> of the record is '-1', which is not a number of seconds");
    expect_refused("1767229200", "9223372036854775808",
                   "<since> of the record is '9223372036854775808', which is not a number of "
                   "seconds");
    expect_refused(KEYS, "", "the record has no <keys>");
}

static void
test_what_contradicts_itself_is_refused(void)
{
    expect_refused("<secret>" OTHER, "<secret>" SECRET,
                   "the record has two keys of secret " SECRET);
    expect_refused("<state>bound", "<since>1</since><state>bound",
                   "the record has a key that is 'bound' with <since>");
    expect_refused("<since>1767229200</since>", "", "the record has no <since>");
    expect_refused("<state>present", "<state>defining", "the record has no <operation>");
    expect_refused_in(leaving, "  <peer>qemu+ssh://there/system</peer>\n", "", ERROR_XML,
                      "the record has no <peer>");
}

static void
test_too_much_is_refused_unread(void)
{
    g_autofree char *xml = g_malloc0(GUEST_RECORD_XML_MAX + 1);
    g_autoptr(GError) error = NULL;

    g_assert_null(guest_record_parse(xml, GUEST_RECORD_XML_MAX + 1, &error));
    expect_error(error, ERROR_XML, ERROR_FROM_STORAGE,
                 "the record has 1048577 bytes, which is more than 1048576");
}

#define ADD(name) g_test_add_func("/conf/guest_record/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_record_is_read_into_its_fields);
    ADD(an_operation_is_read_with_its_peer);
    ADD(a_record_is_written_as_it_was_read);
    ADD(every_word_is_read_back);
    ADD(origins_have_names);
    ADD(keys_are_taken_found_and_dropped);
    ADD(another_version_is_refused);
    ADD(what_is_unknown_is_refused_by_name);
    ADD(what_is_missing_or_malformed_is_refused);
    ADD(what_contradicts_itself_is_refused);
    ADD(too_much_is_refused_unread);
    return g_test_run();
}
