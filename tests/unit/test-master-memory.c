/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the use of a master key's slots leaves behind in memory: no key, nor a part of one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/hkdf.h"
#include "master/recovery_text.h"
#include "secret/libvirt_cipher.h"
#include "slots_fixture.h"
#include "util/base64.h"
#include "util/file.h"

enum {
    KEY_LEN = 32,
    PART_LEN = 12, /* of the key's middle: free() writes into a block's beginning */
    REGION_MAX = 256 * 1024 * 1024, /* larger ones are a sanitizer's own */
};

/* The key is computed, so that the program itself holds no copy. */
static uint8_t
key_byte(size_t i)
{
    return (uint8_t)(0xa7 ^ (i * 41));
}

static struct secret_buf *
new_key(void)
{
    struct secret_buf *key = secret_buf_new(KEY_LEN, NULL);

    for (size_t i = 0; i < KEY_LEN; i++)
        secret_buf_writable(key)[i] = key_byte(i);
    return key;
}

static guint
count_in(const uint8_t *bytes, size_t len)
{
    const size_t skipped = (KEY_LEN - PART_LEN) / 2;
    const uint8_t *end = bytes + len;
    const uint8_t *at = bytes;
    guint copies = 0;

    while ((at = memchr(at, key_byte(skipped), (size_t)(end - at))) != NULL &&
           end - at >= PART_LEN) {
        size_t same = 0;

        while (same < PART_LEN && at[same] == key_byte(skipped + same))
            same++;
        copies += same == PART_LEN;
        at++;
    }
    return copies;
}

/* In this process's memory that can be written; key memory may be hidden. */
static guint
count_copies(void)
{
    g_autofree uint8_t *bytes = g_malloc(REGION_MAX);
    g_auto(file_fd) memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    guint copies = 0;

    while (fgets(line, sizeof(line), maps)) {
        unsigned long start;
        unsigned long end;
        char rights[5];
        ssize_t got;

        if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 || rights[1] != 'w' ||
            end - start > REGION_MAX || ((uintptr_t)bytes >= start && (uintptr_t)bytes < end))
            continue;
        got = pread(memory, bytes, end - start, (off_t)start);
        if (got > 0)
            copies += count_in(bytes, (size_t)got);
        explicit_bzero(bytes, got > 0 ? (size_t)got : 0);
    }
    fclose(maps);
    return copies;
}

static void
expect_none_left(void)
{
    g_assert_cmpuint(count_copies(), ==, 0);
}

/* That there are none is worth something if one is found. */
static void
test_a_copy_is_found(void)
{
    g_autoptr(secret_buf_t) key = new_key();
    uint8_t *copy = g_memdup2(secret_buf_bytes(key), KEY_LEN);

    g_assert_cmpuint(count_copies(), >=, 1);
    explicit_bzero(copy, KEY_LEN);
    g_free(copy);
}

static void
test_a_derivation_leaves_nothing(void)
{
    struct secret_buf *key = new_key();
    g_autoptr(secret_buf_t) derived = hkdf_derive("salt", 4, key, "a purpose", NULL);

    g_assert_nonnull(derived);
    secret_buf_free(key);
    expect_none_left();
}

static void
test_a_recovery_passphrase_leaves_nothing(void)
{
    struct secret_buf *key = new_key();
    struct secret_buf *text = recovery_text_format(key, NULL);
    struct secret_buf *again = recovery_text_parse(text, NULL);

    g_assert_true(secret_buf_equal(again, key));
    secret_buf_free(key);
    secret_buf_free(text);
    secret_buf_free(again);
    expect_none_left();
}

static void
test_a_slot_leaves_nothing_of_its_key(void)
{
    g_autoptr(master_key_t) master = slots_fixture_other_master(3);
    struct secret_buf *key = new_key();
    g_autoptr(slot_t) slot = slot_new(SLOT_RECOVERY, NULL, NULL);
    g_autoptr(master_key_t) again = NULL;

    g_assert_true(slot_wrap(slot, key, master, NULL));
    again = slot_unwrap(slot, key, master_key_id(master), NULL);
    g_assert_nonnull(again);
    secret_buf_free(key);
    expect_none_left();
}

static void
test_a_master_key_leaves_nothing(void)
{
    g_autoptr(secret_buf_t) slot_key = slots_fixture_bytes(5, SLOT_KEY_SIZE);
    struct master_key *master = master_key_new(new_key(), NULL);
    struct master_key *again;
    g_autoptr(slots_t) slots = slots_new(master);
    g_autoptr(slot_t) slot = slot_new(SLOT_RECOVERY, NULL, NULL);
    g_autoptr(GBytes) bytes = NULL;

    g_assert_true(slot_wrap(slot, slot_key, master, NULL));
    again = slot_unwrap(slot, slot_key, master_key_id(master), NULL);
    bytes = slots_format(slots, again, NULL);
    g_assert_nonnull(bytes);
    master_key_free(master);
    master_key_free(again);
    expect_none_left();
}

static struct secret_buf *
decrypt_by_libvirts_cipher(const struct secret_buf *key, const struct secret_buf *value)
{
    g_autoptr(GBytes) text = libvirt_cipher_encrypt(key, value, NULL);
    g_autoptr(secret_buf_t) encoded = NULL;
    g_autoptr(secret_buf_t) data = NULL;
    unsigned int padding;

    g_assert_nonnull(text);
    encoded = secret_buf_new_from(g_bytes_get_data(text, NULL), g_bytes_get_size(text), NULL);
    data = base64_decode_secret(encoded, NULL);
    return libvirt_cipher_decrypt(key, data, &padding, NULL);
}

static void
test_libvirts_cipher_leaves_nothing(void)
{
    g_autoptr(secret_buf_t) other = slots_fixture_bytes(7, LIBVIRT_CIPHER_KEY_SIZE);
    struct secret_buf *key = new_key();
    struct secret_buf *as_key = decrypt_by_libvirts_cipher(key, other);
    struct secret_buf *as_value = decrypt_by_libvirts_cipher(other, key);

    g_assert_true(secret_buf_equal(as_key, other));
    g_assert_true(secret_buf_equal(as_value, key));
    secret_buf_free(key);
    secret_buf_free(as_key);
    secret_buf_free(as_value);
    expect_none_left();
}

#define ADD(name) g_test_add_func("/master/memory/" #name, test_##name)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_copy_is_found);
    ADD(a_derivation_leaves_nothing);
    ADD(a_recovery_passphrase_leaves_nothing);
    ADD(a_slot_leaves_nothing_of_its_key);
    ADD(a_master_key_leaves_nothing);
    ADD(libvirts_cipher_leaves_nothing);
    return g_test_run();
}
