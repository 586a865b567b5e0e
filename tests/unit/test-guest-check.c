/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether a guest would start: keys tried on real headers, and nothing changed.
 */
#include "guest/check.h"
#include "reference_fixture.h"
#include "storage/luks.h"

#define WRONG_KEY "not the key"

typedef struct guest_check guest_check_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(guest_check_t, guest_check_free)

static struct guest_check *
check(struct guest_fixture *test, const char *devices)
{
    g_autofree char *xml = guest_xml(devices);
    g_autoptr(GError) error = NULL;
    struct guest_check *answer = guest_check_make(&test->service, "web1", xml, &error);

    g_assert_no_error(error);
    g_assert_cmpstr(answer->name, ==, "web1");
    return answer;
}

static struct guest_check *
check_disk(struct guest_fixture *test, const char *path, const char *format, const char *more)
{
    g_autofree char *disk = guest_disk(path, format, more);

    return check(test, disk);
}

/* `part`: of the message; NULL: there is none. */
static void
expect(const struct guest_check *answer, guint index, const char *place, const char *volume,
       const char *state, const char *part)
{
    const struct guest_check_item *item;

    g_assert_cmpuint(index, <, answer->items->len);
    item = answer->items->pdata[index];
    g_assert_cmpstr(item->state, ==, state);
    g_assert_cmpstr(item->place, ==, place);
    g_assert_cmpstr(item->volume, ==, volume);
    g_assert_cmpint(item->message != NULL, ==, part != NULL);
    g_assert_true(!part || strstr(item->message, part));
}

static void
expect_secret(const struct guest_check *answer, guint index, const struct uuid *secret)
{
    const struct guest_check_item *item = answer->items->pdata[index];

    g_assert_true(item->has_secret && uuid_equal(&item->secret, secret));
}

/* A secret that holds another key. */
static struct uuid
put_other_key(struct guest_fixture *test)
{
    struct uuid uuid = guest_uuid_of(GUEST_SECRET);
    g_autoptr(secret_buf_t) key = secret_buf_new_from(WRONG_KEY, strlen(WRONG_KEY), NULL);
    g_autoptr(GError) error = NULL;

    key_files_put(&test->host.keys, &uuid, "other", "by virtcrypt", key, &error);
    g_assert_no_error(error);
    return uuid;
}

static void
test_a_key_that_opens_its_header_is_right(struct guest_fixture *test, gconstpointer unused)
{
    static const char *const formats[] = {"raw", "qcow2"};

    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        struct uuid secret = guest_make_volume(test, formats[i], formats[i]);
        g_autofree char *path = guest_image(test, formats[i]);
        g_autofree char *encryption = guest_encryption(&secret);
        g_autoptr(GBytes) before = folder_get(&test->host.images, formats[i]);
        g_autoptr(guest_check_t) answer = check_disk(test, path, formats[i], encryption);

        g_assert_true(answer->would_start);
        g_assert_cmpuint(answer->items->len, ==, 1);
        expect(answer, 0, "disk vda", path, "ok", NULL);
        expect_secret(answer, 0, &secret);
        folder_expect(&test->host.images, formats[i], before);
    }
}

static void
test_a_wrong_key_is_told(struct guest_fixture *test, gconstpointer unused)
{
    static const char *const formats[] = {"raw", "qcow2"};
    struct uuid other = put_other_key(test);
    g_autofree char *encryption = guest_encryption(&other);

    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        g_autofree char *path = guest_image(test, formats[i]);
        g_autoptr(guest_check_t) answer = NULL;

        guest_make_volume(test, formats[i], formats[i]);
        answer = check_disk(test, path, formats[i], encryption);
        g_assert_false(answer->would_start);
        g_assert_cmpuint(answer->items->len, ==, 1);
        expect(answer, 0, "disk vda", path, "wrong", path);
    }
}

static void
test_a_key_that_is_not_there_is_missing(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid none = guest_uuid_of(GUEST_SECRET);
    g_autofree char *path = guest_image(test, "a");
    g_autofree char *encryption = guest_encryption(&none);
    g_autoptr(guest_check_t) by_uuid = NULL;
    g_autoptr(guest_check_t) by_usage = NULL;

    guest_make_volume(test, "a", "raw");
    by_uuid = check_disk(test, path, "raw", encryption);
    g_assert_false(by_uuid->would_start);
    expect(by_uuid, 0, "disk vda", path, "missing", GUEST_SECRET);
    expect_secret(by_uuid, 0, &none);
    by_usage = check_disk(test, path, "raw",
                          "<encryption format='luks'><secret type='passphrase' usage='nobody'/>"
                          "</encryption>");
    g_assert_false(by_usage->would_start);
    expect(by_usage, 0, "disk vda", path, "missing", "nobody");
}

static void
test_a_custodian_that_gives_nothing_is_told_apart(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a", "raw");
    g_autofree char *path = guest_image(test, "a");
    g_autofree char *encryption = guest_encryption(&secret);
    g_autoptr(guest_check_t) answer = NULL;

    test->host.keys.is_away = true;
    answer = check_disk(test, path, "raw", encryption);
    g_assert_false(answer->would_start);
    expect(answer, 0, "disk vda", path, "locked", "does not answer");
}

static void
test_a_volume_that_is_gone_is_unreadable(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = put_other_key(test);
    g_autofree char *path = guest_image(test, "gone");
    g_autofree char *encryption = guest_encryption(&secret);
    g_autoptr(guest_check_t) encrypted = check_disk(test, path, "raw", encryption);
    g_autoptr(guest_check_t) clear = check_disk(test, path, "raw", "");

    g_assert_false(encrypted->would_start);
    expect(encrypted, 0, "disk vda", path, "unreadable", "there is no");
    g_assert_false(clear->would_start);
    expect(clear, 0, "disk vda", path, "unreadable", "there is no");
}

static void
test_a_disk_in_clear_is_told(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = put_other_key(test);
    g_autofree char *path = guest_make_image(test, "clear", NULL, NULL);
    g_autofree char *encryption = guest_encryption(&secret);
    g_autoptr(guest_check_t) meant = check_disk(test, path, "qcow2", "");
    g_autoptr(guest_check_t) wrong = check_disk(test, path, "qcow2", encryption);

    g_assert_true(meant->would_start);
    g_assert_cmpuint(meant->items->len, ==, 1);
    expect(meant, 0, "disk vda", path, "not encrypted", NULL);
    g_assert_false(wrong->would_start);
    expect(wrong, 0, "disk vda", path, "not encrypted", "not encrypted");
}

static void
test_an_encrypted_image_needs_its_secret_in_the_xml(struct guest_fixture *test,
                                                    gconstpointer unused)
{
    g_autofree char *path = guest_image(test, "a");
    g_autoptr(guest_check_t) answer = NULL;

    guest_make_volume(test, "a", "qcow2");
    answer = check_disk(test, path, "qcow2", "");
    g_assert_false(answer->would_start);
    expect(answer, 0, "disk vda", path, "missing", "no <encryption>");
    expect(answer, 1, "disks", NULL, "unchecked", "add <encryption"); /* so says the guard */
}

static void
test_backing_files_are_checked_too(struct guest_fixture *test, gconstpointer unused)
{
    g_autofree char *base = guest_image(test, "base");
    g_autofree char *top = guest_make_image(test, "top", "base", "qcow2");
    g_autoptr(guest_check_t) gone = check_disk(test, top, "qcow2", "");
    g_autoptr(guest_check_t) hidden = NULL;

    g_assert_false(gone->would_start);
    expect(gone, 0, "disk vda", top, "not encrypted", NULL);
    expect(gone, 1, "disk vda", base, "unreadable", "there is no");
    guest_make_volume(test, "base", "qcow2");
    hidden = check_disk(test, top, "qcow2", "");
    g_assert_false(hidden->would_start);
    expect(hidden, 1, "disk vda", base, "missing", "<backingStore>");
}

static void
test_a_backing_file_that_the_xml_names_has_its_own_key(struct guest_fixture *test,
                                                       gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "base", "qcow2");
    g_autofree char *base = guest_image(test, "base");
    g_autofree char *top = guest_make_image(test, "top", "base", "qcow2");
    g_autofree char *encryption = guest_encryption(&secret);
    g_autofree char *devices = g_strdup_printf(
        "<disk type='file'><driver type='qcow2'/><source file='%s'/><backingStore type='file'>"
        "<format type='qcow2'/><source file='%s'>%s</source></backingStore><target dev='vda'/>"
        "</disk>",
        top, base, encryption);
    g_autoptr(guest_check_t) answer = check(test, devices);

    g_assert_true(answer->would_start);
    g_assert_cmpuint(answer->items->len, ==, 2);
    expect(answer, 1, "disk vda", base, "ok", NULL);
}

static void
test_a_volume_of_a_pool_is_checked(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a", "raw");
    g_autofree char *path = guest_image(test, "a");
    g_autofree char *encryption = guest_encryption(&secret);
    g_autofree char *devices =
        g_strdup_printf("<disk type='volume'><driver type='raw'/><source pool='images' "
                        "volume='a'>%s</source><target dev='vda'/></disk>",
                        encryption);
    g_autoptr(guest_check_t) answer = check(test, devices);

    g_assert_true(answer->would_start);
    expect(answer, 0, "disk vda", path, "ok", NULL);
}

#define DM_CRYPT_DISK                                                                              \
    "<disk type='block'><driver type='raw'/><source dev='/dev/virtcrypt/images/d'/>"               \
    "<target dev='vda'/></disk>"

static void
test_a_dm_crypt_volume_is_tried_with_the_key_of_its_record(struct guest_fixture *test,
                                                           gconstpointer unused)
{
    struct uuid secret = put_other_key(test);
    g_autoptr(secret_buf_t) key = key_files_get(&test->host.keys, &secret, NULL);
    g_autofree char *device = guest_image(test, "d.crypt");
    const struct luks_place place = {.device = device};
    const struct luks_format_params params = {.type = LUKS_2, .kdf = LUKS_KDF_FULL_ENTROPY};
    g_autoptr(guest_check_t) right = NULL;
    g_autoptr(guest_check_t) wrong = NULL;
    g_autoptr(secret_buf_t) other = secret_buf_new_from("x", 1, NULL);
    g_autoptr(GError) error = NULL;

    folder_put_text(&test->host.images, "d.crypt", "");
    g_assert_cmpint(truncate(device, 32 << 20), ==, 0);
    g_assert_true(luks_format(&place, &params, key, &error));
    guest_put_dm_crypt(test, "d", GUEST_SECRET, "luks2");
    right = check(test, DM_CRYPT_DISK);
    g_assert_true(right->would_start);
    expect(right, 0, "disk vda", "/dev/virtcrypt/images/d", "ok", NULL);
    expect_secret(right, 0, &secret);
    key_files_put(&test->host.keys, &secret, "changed", "by virtcrypt", other, NULL);
    wrong = check(test, DM_CRYPT_DISK);
    g_assert_false(wrong->would_start);
    expect(wrong, 0, "disk vda", "/dev/virtcrypt/images/d", "wrong", device);
}

static void
test_plain_dm_crypt_has_nothing_to_try(struct guest_fixture *test, gconstpointer unused)
{
    g_autoptr(guest_check_t) without = NULL;
    g_autoptr(guest_check_t) with = NULL;

    guest_put_dm_crypt(test, "d", GUEST_SECRET, "plain");
    without = check(test, DM_CRYPT_DISK);
    g_assert_false(without->would_start);
    expect(without, 0, "disk vda", "/dev/virtcrypt/images/d", "missing", GUEST_SECRET);
    put_other_key(test);
    with = check(test, DM_CRYPT_DISK);
    g_assert_true(with->would_start);
    expect(with, 0, "disk vda", "/dev/virtcrypt/images/d", "unchecked", "no header");
}

static void
test_other_secrets_only_have_to_be_there(struct guest_fixture *test, gconstpointer unused)
{
    static const char devices[] =
        "<disk type='network'><source protocol='rbd' name='p/i'><auth username='u'>"
        "<secret type='ceph' uuid='" GUEST_SECRET "'/></auth></source><target dev='vda'/></disk>"
        "<tpm model='tpm-crb'><backend type='emulator'><encryption secret='" GUEST_SECRET "'/>"
        "</backend></tpm>";
    g_autoptr(guest_check_t) without = check(test, devices);
    g_autoptr(guest_check_t) with = NULL;

    g_assert_false(without->would_start);
    g_assert_cmpuint(without->items->len, ==, 2);
    expect(without, 0, "disk vda", NULL, "missing", GUEST_SECRET);
    expect(without, 1, "tpm", NULL, "missing", GUEST_SECRET);
    put_other_key(test);
    with = check(test, devices);
    g_assert_true(with->would_start);
    expect(with, 0, "disk vda", NULL, "unchecked", "the server alone");
    expect(with, 1, "tpm", NULL, "unchecked", "TPM");
}

static void
test_an_empty_drive_is_nothing_to_check(struct guest_fixture *test, gconstpointer unused)
{
    g_autoptr(guest_check_t) answer =
        check(test, "<disk type='file' device='cdrom'><driver name='qemu'/><target dev='sda'/>"
                    "<readonly/></disk>");

    g_assert_true(answer->would_start);
    g_assert_cmpuint(answer->items->len, ==, 0);
}

static void
test_a_guest_that_runs_is_not_disturbed(struct guest_fixture *test, gconstpointer unused)
{
    struct uuid secret = guest_make_volume(test, "a", "raw");
    g_autofree char *path = guest_image(test, "a");
    g_autofree char *encryption = guest_encryption(&secret);
    /* QEMU's locks of an image that a guest writes to. */
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 200};
    g_auto(file_fd) fd = open(path, O_RDWR | O_CLOEXEC);
    g_autoptr(guest_check_t) answer = NULL;

    g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &lock), ==, 0);
    answer = check_disk(test, path, "raw", encryption);
    g_assert_true(answer->would_start);
    expect(answer, 0, "disk vda", path, "ok", NULL);
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/check/" #name, struct guest_fixture, NULL, guest_set_up, test_##name,       \
               guest_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_key_that_opens_its_header_is_right);
    ADD(a_wrong_key_is_told);
    ADD(a_key_that_is_not_there_is_missing);
    ADD(a_custodian_that_gives_nothing_is_told_apart);
    ADD(a_volume_that_is_gone_is_unreadable);
    ADD(a_disk_in_clear_is_told);
    ADD(an_encrypted_image_needs_its_secret_in_the_xml);
    ADD(backing_files_are_checked_too);
    ADD(a_backing_file_that_the_xml_names_has_its_own_key);
    ADD(a_volume_of_a_pool_is_checked);
    ADD(a_dm_crypt_volume_is_tried_with_the_key_of_its_record);
    ADD(plain_dm_crypt_has_nothing_to_try);
    ADD(other_secrets_only_have_to_be_there);
    ADD(an_empty_drive_is_nothing_to_check);
    ADD(a_guest_that_runs_is_not_disturbed);
    return g_test_run();
}
