/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The index of generations: a golden file, floors that rise and go, what each kind of damage does,
 * the order of images and changes, another master key, and what it costs for many secrets.
 */
#include <time.h>

#include "expect.h"
#include "folder.h"
#include "patience.h"
#include "secret/value_index.h"

#define NAME "index"

enum { AT_VERSION = 8, AT_FLAGS = 12, AT_MASTER_KEY_ID = 16, AT_COUNT = 56, GOLDEN_SIZE = 140 };
enum { MANY = 100000, MANY_MS = 50 };

/* Made with Python's hmac as docs/sealed-format.md says: master key 00..1f, counter 5, anchor
 * of repeated bytes 77. */
static const char golden_hex[] =
    "5643494e4445583100010001000000007be082a037bcf7ee1f4df688ab6932d8000000000000000577777777"
    "7777777777777777777777770000000200112233445566778899aabbccddeeff0000000000000007ffffffff"
    "ffffffffffffffffffffffff000001000000000078aba9c144129952aae8fe1e4be59817c6b7f4e4e7c16b11"
    "79582ef7e85cdd01";

static const struct uuid first = {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa,
                                   0xbb, 0xcc, 0xdd, 0xee, 0xff}};
static const struct uuid last = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff}};

static const struct uuid anchor = {{0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77,
                                    0x77, 0x77, 0x77, 0x77, 0x77, 0x77}};

struct fixture {
    struct folder folder;
    char *path;
    struct master_key *master;
    uint8_t golden[GOLDEN_SIZE];
};

static struct master_key *
new_key(uint8_t start)
{
    uint8_t raw[MASTER_KEY_SIZE];

    for (size_t i = 0; i < sizeof(raw); i++)
        raw[i] = (uint8_t)(start + i);
    return master_key_new(secret_buf_take_bytes(raw, sizeof(raw), NULL), NULL);
}

static void
set_up(struct fixture *test, gconstpointer unused)
{
    folder_init(&test->folder);
    test->path = folder_path(&test->folder, NAME);
    test->master = new_key(0);
    for (size_t i = 0; i < GOLDEN_SIZE; i++)
        test->golden[i] = (uint8_t)(g_ascii_xdigit_value(golden_hex[2 * i]) * 16 +
                                    g_ascii_xdigit_value(golden_hex[2 * i + 1]));
}

static void
tear_down(struct fixture *test, gconstpointer unused)
{
    master_key_free(test->master);
    g_free(test->path);
    folder_clear(&test->folder);
}

static struct value_index *
open_index(const struct fixture *test, bool is_expected, enum value_index_state expected)
{
    const struct value_index_params params = {test->path, test->master, NULL, is_expected};
    enum value_index_state state;
    struct value_index *index = value_index_open(&params, &state);

    g_assert_cmpint(state, ==, expected);
    g_assert_true(
        (expected == VALUE_INDEX_MISSING || expected == VALUE_INDEX_DAMAGED) ==
        (value_index_problem(index) && strstr(value_index_problem(index), "it is begun")));
    return index;
}

static void
flush(struct value_index *index)
{
    g_autoptr(GError) error = NULL;

    value_index_flush(index, &error);
    g_assert_no_error(error);
    g_assert_false(value_index_is_dirty(index));
}

static struct value_index_image *
take_image(struct value_index *index)
{
    g_autoptr(GError) error = NULL;
    struct value_index_image *image = value_index_take_image(index, &error);

    g_assert_no_error(error);
    return image;
}

static void
write_image(struct value_index *index, struct value_index_image *image)
{
    g_autoptr(GError) error = NULL;

    value_index_image_write(image, &error);
    g_assert_no_error(error);
    value_index_end_image(index, image, true);
}

static void
expect_floor(const struct value_index *index, const struct uuid *uuid, uint64_t floor)
{
    g_assert_cmpuint(value_index_floor(index, uuid), ==, floor);
}

static void
test_golden_file_opens(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = NULL;

    folder_put(&test->folder, NAME, test->golden, GOLDEN_SIZE);
    index = open_index(test, true, VALUE_INDEX_GOOD);
    expect_floor(index, &first, 7);
    expect_floor(index, &last, (uint64_t)1 << 40);
    g_assert_cmpuint(value_index_counter(index), ==, 5);
    g_assert_cmpuint(value_index_written_counter(index), ==, 5);
    g_assert_true(uuid_equal(value_index_anchor(index), &anchor));
    g_assert_null(value_index_problem(index));
    g_assert_false(value_index_is_dirty(index));
}

static void
test_golden_file_is_written(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);
    g_autoptr(GBytes) golden = g_bytes_new(test->golden, GOLDEN_SIZE);

    g_assert_true(value_index_is_dirty(index));
    value_index_raise(index, &last, (uint64_t)1 << 40);
    value_index_raise(index, &first, 7);
    value_index_set_anchor(index, &anchor, 5);
    g_assert_cmpuint(value_index_written_counter(index), ==, 0);
    flush(index);
    folder_expect(&test->folder, NAME, golden);
    g_assert_cmpuint(value_index_written_counter(index), ==, 5);
    g_assert_cmpuint(folder_count(&test->folder), ==, 1);
}

static void
test_a_floor_only_rises(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);

    expect_floor(index, &first, 0);
    value_index_raise(index, &first, 7);
    value_index_raise(index, &first, 3);
    expect_floor(index, &first, 7);
    flush(index);
    value_index_raise(index, &first, 7);
    g_assert_false(value_index_is_dirty(index));
    value_index_raise(index, &first, 8);
    expect_floor(index, &first, 8);
    g_assert_true(value_index_is_dirty(index));
}

/* The file on disk refuses what is below the floor of the secret that is gone. */
static void
test_a_removed_floor_counts_until_a_file_without_it_is_there(struct fixture *test,
                                                             gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);

    value_index_raise(index, &first, 7);
    flush(index);
    value_index_remove(index, &first);
    expect_floor(index, &first, 7);
    flush(index);
    expect_floor(index, &first, 0);
}

static void
test_a_floor_that_comes_back_meanwhile_stays(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);
    struct value_index_image *image;

    value_index_raise(index, &first, 7);
    flush(index);
    value_index_remove(index, &first);
    image = take_image(index);
    value_index_raise(index, &first, 8);
    write_image(index, image);
    expect_floor(index, &first, 8);
    g_assert_true(value_index_is_dirty(index));
}

/* Nothing is known of the file then. */
static void
test_an_image_that_failed_takes_no_floor_away(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);

    value_index_raise(index, &first, 7);
    flush(index);
    value_index_remove(index, &first);
    value_index_end_image(index, take_image(index), false);
    expect_floor(index, &first, 7);
    g_assert_true(value_index_is_dirty(index));
}

static void
test_a_write_that_fails_says_so_and_leaves_the_file(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) before = NULL;

    flush(index);
    before = folder_get(&test->folder, NAME);
    g_assert_cmpint(mkdirat(test->folder.fd, NAME ".new", 0700), ==, 0);
    value_index_raise(index, &first, 7);
    g_assert_false(value_index_flush(index, &error));
    expect_error_part(error, ERROR_SYSTEM, ERROR_FROM_NONE, "cannot write the file index: ");
    folder_expect(&test->folder, NAME, before);
    g_assert_true(value_index_is_dirty(index));
}

static bool
is_first(const struct uuid *uuid, void *opaque)
{
    return uuid_equal(uuid, &first);
}

static void
test_pruning_removes_what_is_not_kept(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);

    value_index_raise(index, &first, 7);
    value_index_raise(index, &last, 9);
    value_index_prune(index, is_first, NULL);
    flush(index);
    expect_floor(index, &first, 7);
    expect_floor(index, &last, 0);
}

/* Nothing of it counts, it is kept, and the one that takes its place says what happened until that
 * is accepted. */
static void
expect_damaged(struct fixture *test, const uint8_t *bytes, size_t len, const char *part)
{
    g_autoptr(GBytes) damaged = g_bytes_new(bytes, len);
    g_autoptr(value_index_t) index = NULL;
    g_autoptr(value_index_t) second = NULL;
    g_autoptr(value_index_t) third = NULL;

    folder_put(&test->folder, NAME, bytes, len);
    index = open_index(test, true, VALUE_INDEX_DAMAGED);
    if (!strstr(value_index_problem(index), part))
        g_error("'%s' does not hold '%s'", value_index_problem(index), part);
    expect_floor(index, &first, 0);
    expect_floor(index, &last, 0);
    folder_expect(&test->folder, NAME, damaged);
    value_index_raise(index, &first, 7);
    flush(index);
    folder_expect(&test->folder, NAME ".damaged.1", damaged);
    g_assert_cmpint(unlinkat(test->folder.fd, NAME ".damaged.1", 0), ==, 0);

    second = open_index(test, true, VALUE_INDEX_GOOD);
    expect_floor(second, &first, 7);
    g_assert_nonnull(strstr(value_index_problem(second), "at an earlier start"));
    value_index_accept(second);
    g_assert_null(value_index_problem(second));
    flush(second);
    third = open_index(test, true, VALUE_INDEX_GOOD);
    g_assert_null(value_index_problem(third));
}

static void
test_every_changed_byte_is_noticed(struct fixture *test, gconstpointer unused)
{
    for (size_t i = 0; i < GOLDEN_SIZE; i++) {
        uint8_t bytes[GOLDEN_SIZE];

        memcpy(bytes, test->golden, GOLDEN_SIZE);
        bytes[i] ^= 1;
        expect_damaged(test, bytes, GOLDEN_SIZE,
                       i < AT_VERSION              ? " is damaged;"
                       : i < AT_FLAGS              ? " is in a format that this program does not"
                       : i < AT_MASTER_KEY_ID      ? " is damaged or was tampered with;"
                       : i < AT_MASTER_KEY_ID + 16 ? " was made with another master key;"
                       : i < AT_COUNT              ? " is damaged or was tampered with;"
                       : i < AT_COUNT + 4          ? " is damaged;"
                                                   : " is damaged or was tampered with;");
    }
}

static void
test_a_file_that_was_cut_is_noticed(struct fixture *test, gconstpointer unused)
{
    for (size_t len = 0; len < GOLDEN_SIZE; len++)
        expect_damaged(test, test->golden, len, " is damaged;");
}

static void
test_a_missing_file_that_was_expected_is_told(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, true, VALUE_INDEX_MISSING);
    g_autoptr(value_index_t) again = NULL;

    g_assert_nonnull(strstr(value_index_problem(index), "is missing; it is begun anew"));
    flush(index);
    again = open_index(test, true, VALUE_INDEX_GOOD);
    g_assert_nonnull(value_index_problem(again));
}

static void
test_a_folder_in_its_place_is_put_aside(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = NULL;

    g_assert_cmpint(mkdirat(test->folder.fd, NAME, 0700), ==, 0);
    index = open_index(test, false, VALUE_INDEX_DAMAGED);
    g_assert_nonnull(strstr(value_index_problem(index), " can't be read ("));
    flush(index);
    g_assert_cmpuint(folder_count(&test->folder), ==, 2);
}

static void
test_another_master_key_takes_it_over(struct fixture *test, gconstpointer unused)
{
    g_autoptr(master_key_t) next = new_key(1);
    const struct value_index_params both = {test->path, next, test->master, true};
    const struct value_index_params alone = {test->path, next, NULL, true};
    enum value_index_state state;
    g_autoptr(value_index_t) index = NULL;
    g_autoptr(value_index_t) moved = NULL;
    g_autoptr(value_index_t) reopened = NULL;
    g_autoptr(GError) error = NULL;

    folder_put(&test->folder, NAME, test->golden, GOLDEN_SIZE);
    index = value_index_open(&both, &state);
    g_assert_cmpint(state, ==, VALUE_INDEX_GOOD);
    g_assert_true(value_index_is_dirty(index));
    flush(index);
    moved = value_index_open(&alone, &state);
    g_assert_cmpint(state, ==, VALUE_INDEX_GOOD);
    expect_floor(moved, &first, 7);
    value_index_rekey(moved, test->master, &error);
    g_assert_no_error(error);
    reopened = open_index(test, true, VALUE_INDEX_GOOD);
    expect_floor(reopened, &first, 7);
}

/* Of the processor: other programs run beside the tests. */
static gint64
used_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (gint64)now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

static void
expect_below(const char *what, gint64 began, unsigned int limit_ms)
{
    double ms = (double)(used_us() - began) / 1000;

    g_test_message("%s: %.1f ms", what, ms);
    g_assert_cmpfloat(ms, <, patient_ms(limit_ms));
}

static struct uuid
uuid_of_number(uint32_t number)
{
    const uint32_t words[4] = {g_str_hash("x") * (number + 1), number, number, number};
    struct uuid uuid;

    memcpy(uuid.bytes, words, sizeof(words));
    return uuid;
}

static void
test_many_secrets_cost_little(struct fixture *test, gconstpointer unused)
{
    g_autoptr(value_index_t) index = open_index(test, false, VALUE_INDEX_NEW);
    g_autoptr(value_index_t) again = NULL;
    g_autoptr(GError) error = NULL;
    struct value_index_image *image;
    gint64 began;

    for (uint32_t i = 0; i < MANY; i++) {
        const struct uuid uuid = uuid_of_number(i);

        value_index_raise(index, &uuid, i + 1);
    }
    began = used_us();
    image = take_image(index);
    expect_below("taking the image of 100 000", began, MANY_MS);
    began = used_us();
    value_index_image_write(image, &error);
    g_assert_no_error(error);
    expect_below("writing it", began, 2 * MANY_MS);
    value_index_end_image(index, image, true);
    began = used_us();
    again = open_index(test, true, VALUE_INDEX_GOOD);
    expect_below("opening it", began, 2 * MANY_MS);
    for (uint32_t i = 0; i < MANY; i++) {
        const struct uuid uuid = uuid_of_number(i);

        expect_floor(again, &uuid, i + 1);
    }
}

#define CASE(name)                                                                                 \
    g_test_add("/secret/value_index/" #name, struct fixture, NULL, set_up, test_##name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    CASE(golden_file_opens);
    CASE(golden_file_is_written);
    CASE(a_floor_only_rises);
    CASE(a_removed_floor_counts_until_a_file_without_it_is_there);
    CASE(a_floor_that_comes_back_meanwhile_stays);
    CASE(an_image_that_failed_takes_no_floor_away);
    CASE(a_write_that_fails_says_so_and_leaves_the_file);
    CASE(pruning_removes_what_is_not_kept);
    CASE(every_changed_byte_is_noticed);
    CASE(a_file_that_was_cut_is_noticed);
    CASE(a_missing_file_that_was_expected_is_told);
    CASE(a_folder_in_its_place_is_put_aside);
    CASE(another_master_key_takes_it_over);
    CASE(many_secrets_cost_little);
    return g_test_run();
}
