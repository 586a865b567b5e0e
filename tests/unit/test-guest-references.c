/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a guest refers to: by its XML, by the records of volumes, by backing files on disk; and when
 * that is not all.
 */
#include "reference_fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/file.h"

struct answer {
    GPtrArray *references;
    bool is_partial;
};

static void
answer_clear(struct answer *answer)
{
    g_clear_pointer(&answer->references, g_ptr_array_unref);
}

typedef struct answer answer_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(answer_t, answer_clear)

static int
compare_uuids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static struct answer
try_all(struct guest_fixture *test, char **xmls, size_t count, GError **error)
{
    struct guest_seen seen = {.name = (char *)"web1", .uuid = guest_uuid_of(GUEST_UUID)};
    struct answer answer = {0};

    g_array_sort(test->with_value, compare_uuids);
    seen.xmls = g_ptr_array_new();
    for (size_t i = 0; i < count; i++)
        g_ptr_array_add(seen.xmls, xmls[i]);
    answer.references =
        guest_references_of(&test->service, &seen, test->with_value, &answer.is_partial, error);
    g_ptr_array_unref(seen.xmls);
    return answer;
}

/* Of a guest with these devices. */
static struct answer
look(struct guest_fixture *test, const char *devices)
{
    g_autofree char *xml = guest_xml(devices);
    g_autoptr(GError) error = NULL;
    struct answer answer = try_all(test, &xml, 1, &error);

    g_assert_no_error(error);
    return answer;
}

static struct answer
look_at_disk(struct guest_fixture *test, const char *path, const char *format, const char *more)
{
    g_autofree char *disk = guest_disk(path, format, more);

    return look(test, disk);
}

static void
expect(const struct answer *answer, guint index, const struct uuid *secret, const char *volume,
       bool is_generated, bool has_value)
{
    const struct guest_reference *reference;

    g_assert_cmpuint(index, <, answer->references->len);
    reference = answer->references->pdata[index];
    g_assert_true(uuid_equal(&reference->secret, secret));
    g_assert_cmpstr(reference->volume, ==, volume);
    g_assert_cmpint(reference->is_generated, ==, is_generated);
    g_assert_cmpint(reference->has_value, ==, has_value);
}

static void
test_the_key_of_a_volume_is_found_by_its_path(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a.qcow2", "qcow2");
    g_autofree char *path = guest_image(test, "a.qcow2");
    g_auto(answer_t) answer = look_at_disk(test, path, "qcow2", "");

    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, path, true, true);
    g_assert_false(answer.is_partial);
}

static void
test_xml_and_record_are_one_reference(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a.raw", "raw");
    g_autofree char *path = guest_image(test, "a.raw");
    g_autofree char *encryption = guest_encryption(&secret);
    g_auto(answer_t) answer = look_at_disk(test, path, "raw", encryption);

    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, path, true, true);
}

static void
test_a_volume_is_found_by_pool_and_name(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a.qcow2", "qcow2");
    g_autofree char *path = guest_image(test, "a.qcow2");
    g_auto(answer_t) answer =
        look(test, "<disk type='volume'><driver type='qcow2'/><source pool='images' "
                   "volume='a.qcow2'/><target dev='vda'/></disk>");

    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, path, true, true);
    g_assert_false(answer.is_partial);
}

static void
test_a_volume_is_found_behind_a_link(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a.raw", "raw");
    g_autofree char *path = guest_image(test, "a.raw");
    g_autofree char *link = folder_path(&test->host.root, "link");
    g_auto(answer_t) answer = {0};

    g_assert_cmpint(symlink(path, link), ==, 0);
    answer = look_at_disk(test, link, "raw", "");
    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, path, true, true);
}

static void
test_a_secret_of_the_administrators_is_told_apart(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_uuid_of(GUEST_SECRET);
    g_autofree char *path = guest_make_image(test, "own.qcow2", NULL, NULL);
    g_autofree char *encryption = guest_encryption(&secret);
    g_auto(answer_t) answer = look_at_disk(test, path, "qcow2", encryption);

    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, path, false, false);
}

static void
test_a_dm_crypt_volume_needs_no_secret_in_the_xml(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_uuid_of(GUEST_SECRET);
    g_auto(answer_t) answer = {0};

    g_array_append_val(test->with_value, secret);
    guest_put_dm_crypt(test, "d", GUEST_SECRET, "luks2");
    answer = look(test, "<disk type='block'><driver type='raw'/>"
                        "<source dev='/dev/virtcrypt/images/d'/><target dev='vda'/></disk>");
    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, "/dev/virtcrypt/images/d", true, true);
    g_assert_false(answer.is_partial);
}

static void
test_backing_files_are_followed_on_disk(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "base.qcow2", "qcow2");
    g_autofree char *base = guest_image(test, "base.qcow2");
    G_GNUC_UNUSED g_autofree char *middle = guest_make_image(test, "middle", base, "qcow2");
    g_autofree char *top = guest_make_image(test, "top", "middle", "qcow2"); /* relative */
    g_auto(answer_t) answer = look_at_disk(test, top, "qcow2", "");

    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, base, true, true);
    g_assert_false(answer.is_partial);
}

/* One of nobody's volume: a layer on it, made without telling libvirt of its secret. */
static void
test_a_key_that_the_guest_has_for_a_backing_file_is_found(struct guest_fixture *test,
                                                          gconstpointer unused)
{
    struct uuid secret = guest_uuid_of(GUEST_SECRET);
    struct uuid refused = guest_uuid_of(GUEST_UUID);
    struct uuid guest = guest_uuid_of(GUEST_UUID);
    g_autofree char *base = guest_make_image(test, "base.qcow2", NULL, NULL);
    g_autofree char *top = guest_make_image(test, "top", base, "qcow2");
    g_autoptr(guest_record_t) record = guest_record_new(&guest, "web1", NULL);
    g_autofree char *encryption = NULL;
    g_auto(answer_t) answer = {0};

    guest_key_set_volume(guest_record_take(record, &secret, GUEST_KEY_SENT), base);
    guest_key_set_volume(guest_record_take(record, &refused, GUEST_KEY_REFUSED), base);
    g_array_append_val(test->with_value, secret);
    g_assert_true(guest_records_put(test->service.records, record, NULL));
    answer = look_at_disk(test, top, "qcow2", "");
    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, base, false, true);
    answer_clear(&answer);
    encryption = guest_encryption(&refused);
    answer = look_at_disk(test, base, "qcow2", encryption); /* the XML knows better */
    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &refused, base, false, false);
}

static void
test_a_guests_own_bytes_are_not_followed(struct guest_fixture *test, gconstpointer unused)
{
    guest_make_volume(test, "base.qcow2", "qcow2");
    g_autofree char *base = guest_image(test, "base.qcow2");
    g_autofree char *top = guest_make_image(test, "top", base, "qcow2");
    g_auto(answer_t) answer = look_at_disk(test, top, "raw", "");

    g_assert_cmpuint(answer.references->len, ==, 0);
    g_assert_false(answer.is_partial);
}

/* To open some devices is to do something: a watchdog resets the host when it is not fed. */
static void
test_what_is_no_image_is_not_opened(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *fifo = guest_image(test, "fifo");
    g_autofree char *path = guest_make_image(test, "top.qcow2", fifo, "qcow2");
    g_auto(file_fd) watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    g_auto(answer_t) answer = {0};
    char events[1024];

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_cmpint(inotify_add_watch(watch, fifo, IN_OPEN), >=, 0);
    answer = look_at_disk(test, path, "qcow2", "");
    g_assert_true(answer.is_partial);
    g_assert_cmpint(read(watch, events, sizeof(events)), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void
test_a_secret_of_two_volumes_is_told_apart(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_uuid_of(GUEST_SECRET);
    g_autofree char *encryption = guest_encryption(&secret);
    g_autofree char *path = guest_make_image(test, "a.qcow2", NULL, NULL);
    g_autofree char *other = guest_make_image(test, "b.qcow2", NULL, NULL);
    g_autofree char *link = folder_path(&test->host.root, "link");
    g_autofree char *disk = guest_disk(path, "qcow2", encryption);
    g_autofree char *same = guest_disk(link, "qcow2", encryption);
    g_autofree char *second = guest_disk(other, "qcow2", encryption);
    g_autofree char *one = g_strconcat(disk, same, NULL);
    g_autofree char *two = g_strconcat(disk, second, NULL);
    g_auto(answer_t) answer = {0};

    g_assert_cmpint(symlink(path, link), ==, 0);
    answer = look(test, one);
    expect(&answer, 0, &secret, path, false, false);
    g_assert_false(((struct guest_reference *)answer.references->pdata[0])->has_more_volumes);
    answer_clear(&answer);
    answer = look(test, two);
    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, path, false, false);
    g_assert_true(((struct guest_reference *)answer.references->pdata[0])->has_more_volumes);
}

static void
test_a_loop_of_backing_files_ends(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *one = guest_make_image(test, "one", "two", "qcow2");
    G_GNUC_UNUSED g_autofree char *two = guest_make_image(test, "two", "one", "qcow2");
    g_auto(answer_t) answer = look_at_disk(test, one, "qcow2", "");

    g_assert_cmpuint(answer.references->len, ==, 0);
    g_assert_false(answer.is_partial);
}

static void
test_a_chain_that_is_too_long_is_not_all(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *path = guest_make_image(test, "0", NULL, NULL);
    g_auto(answer_t) answer = {0};

    for (unsigned int i = 1; i <= 66; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);
        g_autofree char *backing = g_strdup_printf("%u", i - 1);

        g_free(path);
        path = guest_make_image(test, name, backing, "qcow2");
    }
    answer = look_at_disk(test, path, "qcow2", "");
    g_assert_true(answer.is_partial);
}

static void
test_what_can_not_be_read_is_not_all(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *gone = guest_make_image(test, "gone", "missing", "qcow2");
    g_autofree char *json = guest_make_image(test, "json", "json:{\"driver\":\"qcow2\"}", "qcow2");
    g_autofree char *text = guest_image(test, "text");
    g_autofree char *missing = guest_image(test, "missing");
    const struct {
        const char *path;
        const char *format;
        bool is_partial;
    } cases[] = {
        {gone, "qcow2", true},  {json, "qcow2", true}, {text, "qcow2", true},
        {missing, "raw", true}, {text, "raw", false},
    };

    folder_put_text(&test->host.images, "text", "not an image");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(answer_t) answer = look_at_disk(test, cases[i].path, cases[i].format, "");

        g_assert_cmpint(answer.is_partial, ==, cases[i].is_partial);
    }
}

static void
test_a_volume_of_an_unknown_pool_is_not_all(struct guest_fixture *test, gconstpointer unused)
{
    g_auto(answer_t) answer = look(test, "<disk type='volume'><source pool='away' volume='v'/>"
                                         "<target dev='vda'/></disk>");

    g_assert_true(answer.is_partial);
}

static void
test_a_usage_is_resolved(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a.raw", "raw");
    g_autofree char *path = guest_image(test, "a.raw");
    g_autofree char *devices =
        g_strdup_printf("<disk type='network'><source protocol='rbd' name='p/i'><auth "
                        "username='u'><secret type='ceph' usage='%s'/></auth></source><target "
                        "dev='vda'/></disk>",
                        path);
    g_auto(answer_t) answer = look(test, devices);
    g_auto(answer_t) none = look(test, "<disk type='network'><source protocol='rbd' name='p/i'>"
                                       "<auth username='u'><secret type='ceph' usage='nobody'/>"
                                       "</auth></source><target dev='vda'/></disk>");

    g_assert_cmpuint(answer.references->len, ==, 1);
    expect(&answer, 0, &secret, NULL, false, true);
    g_assert_cmpuint(none.references->len, ==, 0);
    g_assert_false(none.is_partial);
}

static void
test_without_the_custodian_nothing_is_known(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *xml = guest_xml("<disk type='network'><source protocol='rbd' name='p/i'>"
                                     "<auth username='u'><secret type='ceph' usage='x'/></auth>"
                                     "</source><target dev='vda'/></disk>");
    g_autoptr(GError) error = NULL;
    g_auto(answer_t) answer = {0};

    test->host.keys.is_away = true;
    answer = try_all(test, &xml, 1, &error);
    g_assert_null(answer.references);
    expect_error(error, ERROR_NO_CONNECT, ERROR_FROM_SECRET,
                 "guest 'web1': disk vda: virtcrypt-secretd does not answer: start it");
}

static void
test_all_of_a_guests_xml_counts(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid now = guest_make_volume(test, "now", "raw");
    struct uuid then = guest_make_volume(test, "then", "qcow2");
    g_autofree char *now_path = guest_image(test, "now");
    g_autofree char *then_path = guest_image(test, "then");
    g_autofree char *disk = guest_disk(now_path, "raw", "");
    g_autofree char *old_disk = guest_disk(then_path, "qcow2", "");
    g_autofree char *old = guest_xml(old_disk);
    char *xmls[] = {
        guest_xml(disk),
        g_strdup_printf("<domainsnapshot><name>s</name>%s</domainsnapshot>", old),
    };
    g_autoptr(GError) error = NULL;
    g_auto(answer_t) answer = try_all(test, xmls, G_N_ELEMENTS(xmls), &error);

    g_assert_no_error(error);
    g_assert_cmpuint(answer.references->len, ==, 2);
    expect(&answer, 0, &now, now_path, true, true);
    expect(&answer, 1, &then, then_path, true, true);
    g_free(xmls[0]);
    g_free(xmls[1]);
}

static void
test_xml_that_is_not_understood_is_an_error(struct guest_fixture *test, gconstpointer unused)
{
    char *xml = (char *)"<domain>";
    g_autoptr(GError) error = NULL;
    g_auto(answer_t) answer = try_all(test, &xml, 1, &error);

    g_assert_null(answer.references);
    g_assert_true(g_str_has_prefix(error->message, "guest 'web1': "));
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/references/" #name, struct guest_fixture, NULL, guest_set_up, test_##name,  \
               guest_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(the_key_of_a_volume_is_found_by_its_path);
    ADD(xml_and_record_are_one_reference);
    ADD(a_volume_is_found_by_pool_and_name);
    ADD(a_volume_is_found_behind_a_link);
    ADD(a_secret_of_the_administrators_is_told_apart);
    ADD(a_dm_crypt_volume_needs_no_secret_in_the_xml);
    ADD(backing_files_are_followed_on_disk);
    ADD(a_key_that_the_guest_has_for_a_backing_file_is_found);
    ADD(a_guests_own_bytes_are_not_followed);
    ADD(what_is_no_image_is_not_opened);
    ADD(a_secret_of_two_volumes_is_told_apart);
    ADD(a_loop_of_backing_files_ends);
    ADD(a_chain_that_is_too_long_is_not_all);
    ADD(what_can_not_be_read_is_not_all);
    ADD(a_volume_of_an_unknown_pool_is_not_all);
    ADD(a_usage_is_resolved);
    ADD(without_the_custodian_nothing_is_known);
    ADD(all_of_a_guests_xml_counts);
    ADD(xml_that_is_not_understood_is_an_error);
    return g_test_run();
}
