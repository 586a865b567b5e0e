/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Keys and tokens of LUKS headers, of ours and of those that others made, hostile ones included.
 */
#include <sys/stat.h>

#include "luks_fixture.h"
#include "util/big_endian.h"

static void
put_bytes(const struct luks_fixture *fixture, off_t at, const void *bytes, size_t len)
{
    int fd = openat(fixture->folder.fd, "container", O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, bytes, len, at), ==, (ssize_t)len);
    close(fd);
}

static void
test_headers_of_cryptsetup_are_opened(struct luks_fixture *fixture, gconstpointer options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) wrong = NULL;

    g_assert_true(luks_fixture_run(NULL, "cryptsetup luksFormat -q %s %s %s", (const char *)options,
                                   fixture->path, fixture->key_path));
    luks_check_key(&fixture->place, fixture->key, &error);
    g_assert_no_error(error);
    g_assert_false(luks_check_key(&fixture->place, fixture->other, &wrong));
    expect_error_part(wrong, ERROR_AUTH_FAILED, ERROR_FROM_STORAGE, "the key does not open '");
    g_assert_nonnull(strstr(wrong->message, fixture->path));
}

static void
test_a_detached_header_of_cryptsetup_is_opened(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *header = folder_path(&fixture->folder, "header");
    const struct luks_place place = {.device = fixture->path, .header_path = header};
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_fixture_make_file(fixture, "header", 16 * 1024 * 1024);
    g_assert_true(luks_fixture_run(NULL,
                                   "cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 "
                                   "--pbkdf-force-iterations 1000 --header %s %s %s",
                                   header, fixture->path, fixture->key_path));
    luks_check_key(&place, fixture->key, &error);
    g_assert_no_error(error);
    luks_probe(&place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpint(info.type, ==, LUKS_2);
    g_assert_cmpuint(info.payload_offset, ==, 0);
}

static void
test_a_second_key_opens_and_the_first_can_go(struct luks_fixture *fixture, gconstpointer type)
{
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, (enum luks_type)GPOINTER_TO_INT(type));
    luks_add_key(&fixture->place, fixture->key, fixture->other, LUKS_KDF_FULL_ENTROPY, &error);
    g_assert_no_error(error);
    luks_probe(&fixture->place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(info.keyslots, ==, 2);
    luks_remove_key(&fixture->place, fixture->key, &error);
    g_assert_no_error(error);
    luks_check_key(&fixture->place, fixture->other, &error);
    g_assert_no_error(error);
    g_assert_false(luks_check_key(&fixture->place, fixture->key, &error));
    g_assert_true(error_is(error, ERROR_AUTH_FAILED));
}

/* Whoever may write to a pool's folder must not lead us to another file. */
static void
test_a_link_is_not_followed(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *link = folder_path(&fixture->folder, "link");
    const struct luks_place place = {.device = link};
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, LUKS_1);
    g_assert_cmpint(symlink(fixture->path, link), ==, 0);
    g_assert_false(luks_check_key(&place, fixture->key, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE, "is a symbolic link");
    g_clear_error(&error);
    g_assert_false(luks_erase(&place, &error));
    luks_check_key(&fixture->place, fixture->key, NULL);
    luks_probe(&fixture->place, &info, NULL);
    g_assert_cmpuint(info.keyslots, ==, 1);
}

/* LUKS2 On-Disk Format: the first copy of the header has 16 KiB, and its checksum at 448. */
static void
put_segment_cipher(const struct luks_fixture *fixture, const char *from, const char *to)
{
    enum { LEN = 16 * 1024, CHECKSUM_AT = 448, CHECKSUM_LEN = 32, CHECKSUM_ROOM = 64 };
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree char *head = NULL;
    gsize len, checksum_len = CHECKSUM_LEN;
    char *segments, *cipher;

    g_assert_true(g_file_get_contents(fixture->path, &head, &len, NULL));
    g_assert_cmpuint(len, >, LEN);
    segments = memmem(head, LEN, "\"segments\"", strlen("\"segments\""));
    g_assert_nonnull(segments);
    cipher = strstr(segments, from);
    g_assert_nonnull(cipher);
    g_assert_cmpuint(strlen(from), ==, strlen(to));
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result) within a text */
    memcpy(cipher, to, strlen(to));
    memset(head + CHECKSUM_AT, 0, CHECKSUM_ROOM);
    g_checksum_update(checksum, (const guchar *)head, LEN);
    g_checksum_get_digest(checksum, (guint8 *)head + CHECKSUM_AT, &checksum_len);
    put_bytes(fixture, 0, head, LEN);
    /* The second copy is not to win. */
    memset(head, 0, LEN);
    put_bytes(fixture, LEN, head, LEN);
}

/* Whoever can write to the storage needs no key for it. */
static void
test_a_header_that_was_made_to_not_encrypt_is_refused(struct luks_fixture *fixture,
                                                      gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, LUKS_2);
    put_segment_cipher(fixture, "aes-xts-plain64", "cipher_null-ecb");
    g_assert_false(luks_check_key(&fixture->place, fixture->key, &error));
    expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE, "is not encrypted");
}

static void
test_the_last_key_stays(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, LUKS_2);
    g_assert_false(luks_remove_key(&fixture->place, fixture->key, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                      "the key is the last that opens '");
}

static void
test_a_wrong_key_adds_none(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(luks_info_t) info = {0};

    luks_fixture_format(fixture, LUKS_1);
    g_assert_false(
        luks_add_key(&fixture->place, fixture->other, fixture->key, LUKS_KDF_FULL_ENTROPY, &error));
    g_assert_true(error_is(error, ERROR_AUTH_FAILED));
    luks_probe(&fixture->place, &info, NULL);
    g_assert_cmpuint(info.keyslots, ==, 1);
}

static void
test_a_token_says_which_secret_opens(struct luks_fixture *fixture, gconstpointer unused)
{
    struct luks_token token = {.pool = (char *)"pool \"1\"", .volume = (char *)"web/\xc3\xa4"};
    const struct luks_format_params params = {
        .type = LUKS_2, .kdf = LUKS_KDF_FULL_ENTROPY, .token = &token};
    g_auto(luks_info_t) info = {0};
    g_auto(luks_info_t) changed = {0};
    g_autoptr(GError) error = NULL;

    uuid_generate_random(&token.secret, &error);
    luks_format(&fixture->place, &params, fixture->key, &error);
    luks_probe(&fixture->place, &info, &error);
    g_assert_no_error(error);
    g_assert_true(info.has_token);
    g_assert_true(uuid_equal(&info.token.secret, &token.secret));
    g_assert_cmpstr(info.token.pool, ==, token.pool);
    g_assert_cmpstr(info.token.volume, ==, token.volume);

    token.volume = (char *)"other";
    luks_set_token(&fixture->place, &token, &error);
    luks_probe(&fixture->place, &changed, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(changed.token.volume, ==, "other");
    g_assert_true(luks_fixture_run(NULL, "test $(cryptsetup luksDump %s | grep -c virtcrypt) = 1",
                                   fixture->path));
}

static void
test_a_token_of_another_that_makes_no_sense_is_none(struct luks_fixture *fixture,
                                                    gconstpointer json)
{
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_fixture_format(fixture, LUKS_2);
    g_assert_true(luks_fixture_run(NULL, "echo '%s' | cryptsetup token import %s",
                                   (const char *)json, fixture->path));
    luks_probe(&fixture->place, &info, &error);
    g_assert_no_error(error);
    g_assert_false(info.has_token);
}

static void
test_no_header_is_no_error_for_a_probe(struct luks_fixture *fixture, gconstpointer unused)
{
    g_auto(luks_info_t) info = {0};
    g_autoptr(GError) error = NULL;

    luks_probe(&fixture->place, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpint(info.type, ==, LUKS_NONE);
    g_assert_false(luks_check_key(&fixture->place, fixture->key, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                      "has no LUKS header that can be read");
}

static void
test_headers_that_demand_hours_are_refused(struct luks_fixture *fixture, gconstpointer unused)
{
    static const off_t places[] = {164 /* the digest's rounds */, 212 /* keyslot 0's */};
    uint8_t rounds[4];

    big_endian_put(rounds, 0xfffffff0, sizeof(rounds));
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autoptr(GError) error = NULL;

        luks_fixture_format(fixture, LUKS_1);
        put_bytes(fixture, places[i], rounds, sizeof(rounds));
        g_assert_false(luks_check_key(&fixture->place, fixture->key, &error));
        expect_error_part(error, ERROR_CONFIG_UNSUPPORTED, ERROR_FROM_STORAGE,
                          "asks for more work than virtcrypt does");
    }
}

/* Numbers of rounds that are allowed, and take seconds. */
static bool
is_slow(off_t at)
{
    return (at > 160 && at < 168) || (at > 208 && at < 216);
}

/* Each is opened, refused, or found to have another key: without a crash. */
static void
test_damaged_headers_end_in_an_error(struct luks_fixture *fixture, gconstpointer type)
{
    g_autofree char *bytes = NULL;
    gsize len = 0;

    luks_fixture_format(fixture, (enum luks_type)GPOINTER_TO_INT(type));
    g_assert_true(g_file_get_contents(fixture->path, &bytes, &len, NULL));
    for (off_t at = 0; at < 600; at += 7) {
        g_autoptr(GError) error = NULL;
        g_auto(luks_info_t) info = {0};
        uint8_t changed[3] = {0xff, 0x80, (uint8_t)at};

        if (is_slow(at))
            continue;
        put_bytes(fixture, at, changed, sizeof(changed));
        if (!luks_check_key(&fixture->place, fixture->key, &error))
            g_assert_nonnull(error);
        luks_probe(&fixture->place, &info, NULL);
        put_bytes(fixture, 0, bytes, 0x8000);
    }
}

static void
test_what_is_no_file_is_refused_at_once(struct luks_fixture *fixture, gconstpointer unused)
{
    g_autofree char *fifo = folder_path(&fixture->folder, "fifo");
    g_autofree char *none = folder_path(&fixture->folder, "none");
    struct luks_place place = {.device = fifo};
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) missing = NULL;

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_false(luks_check_key(&place, fixture->key, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                      "is neither a file nor a block device");
    place.device = none;
    g_assert_false(luks_check_key(&place, fixture->key, &missing));
    expect_error_part(missing, ERROR_NO_STORAGE_VOL, ERROR_FROM_STORAGE, "there is no '");
}

static gpointer
check_often(gpointer opaque)
{
    const struct luks_fixture *fixture = opaque;

    for (int i = 0; i < 20; i++) {
        g_autoptr(GError) error = NULL;

        luks_check_key(&fixture->place, fixture->key, &error);
        g_assert_no_error(error);
    }
    return NULL;
}

static void
test_threads_open_at_a_time(struct luks_fixture *fixture, gconstpointer unused)
{
    GThread *threads[4];

    luks_fixture_format(fixture, LUKS_1);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("check", check_often, fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, opaque, func)                                                                    \
    g_test_add("/storage/luks/keyslot/" path, struct luks_fixture, opaque, luks_fixture_init,      \
               func, luks_fixture_clear)
    ADD("of-cryptsetup/luks1", "--type luks1 --pbkdf-force-iterations 2000",
        test_headers_of_cryptsetup_are_opened);
    ADD("of-cryptsetup/luks2-argon2id",
        "--type luks2 --pbkdf-force-iterations 4 --pbkdf-memory 1024",
        test_headers_of_cryptsetup_are_opened);
    ADD("of-cryptsetup/luks2-pbkdf2-4k",
        "--type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 4096",
        test_headers_of_cryptsetup_are_opened);
    ADD("of-cryptsetup/detached", NULL, test_a_detached_header_of_cryptsetup_is_opened);
    ADD("add-and-remove/luks1", GINT_TO_POINTER(LUKS_1),
        test_a_second_key_opens_and_the_first_can_go);
    ADD("add-and-remove/luks2", GINT_TO_POINTER(LUKS_2),
        test_a_second_key_opens_and_the_first_can_go);
    ADD("last", NULL, test_the_last_key_stays);
    ADD("link", NULL, test_a_link_is_not_followed);
    ADD("null-cipher", NULL, test_a_header_that_was_made_to_not_encrypt_is_refused);
    ADD("wrong", NULL, test_a_wrong_key_adds_none);
    ADD("token", NULL, test_a_token_says_which_secret_opens);
    ADD("token-nonsense/types",
        "{\"type\":\"virtcrypt\",\"keyslots\":[],\"secret\":7,\"pool\":[],\"volume\":null}",
        test_a_token_of_another_that_makes_no_sense_is_none);
    ADD("token-nonsense/uuid",
        "{\"type\":\"virtcrypt\",\"keyslots\":[],\"secret\":\"x\",\"pool\":\"a\",\"volume\":\"b\"}",
        test_a_token_of_another_that_makes_no_sense_is_none);
    ADD("none", NULL, test_no_header_is_no_error_for_a_probe);
    ADD("hours", NULL, test_headers_that_demand_hours_are_refused);
    ADD("damaged/luks1", GINT_TO_POINTER(LUKS_1), test_damaged_headers_end_in_an_error);
    ADD("damaged/luks2", GINT_TO_POINTER(LUKS_2), test_damaged_headers_end_in_an_error);
    ADD("no-file", NULL, test_what_is_no_file_is_refused_at_once);
    ADD("threads", NULL, test_threads_open_at_a_time);
    return g_test_run();
}
