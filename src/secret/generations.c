/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the bytes of the file, and its replacement: the new contents are flushed and exchanged with
 * the old ones (COMMIT POINT), and those overwritten before they go. What is in memory changes
 * after that.
 */
#include "secret/generations.h"

#include <string.h>

#include "master/aead.h"
#include "secret/sealed.h"
#include "util/big_endian.h"
#include "util/error.h"
#include "util/file_place.h"

enum { FORMAT_VERSION = 1, FORMAT_ALGORITHM = 1, FLAG_LEGACY = 1, FLAG_RESEAL = 2 };
enum { ENTRIES_MAX = 2, NUMBER_SIZE = 8 };

/* Where each field starts. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_ALGORITHM = 10,
    AT_FLAGS = 12,
    AT_COUNT = 14,
    AT_MASTER_KEY_ID = 16,
    AT_NUMBERS = AT_MASTER_KEY_ID + MASTER_KEY_ID_SIZE,
};

enum {
    SIZE_MAX_FILE = AT_NUMBERS + ENTRIES_MAX * (NUMBER_SIZE + MASTER_KEY_SIZE) + AEAD_NONCE_SIZE +
                    AEAD_TAG_SIZE,
};

static const uint8_t format_magic[8] = {'V', 'C', 'G', 'E', 'N', 'K', 'E', 'Y'};

struct generation {
    uint64_t number;
    struct secret_buf *bytes; /* what `key` is made of */
    struct master_key *key;
};

struct generations {
    char *path;
    const struct master_key *master;
    struct secret_buf *wrapping_key;
    uint64_t flags;     /* as in the file */
    unsigned int count; /* 1 or 2; the last one is current */
    struct generation entries[ENTRIES_MAX];
};

static void
clear_generation(struct generation *generation)
{
    g_clear_pointer(&generation->bytes, secret_buf_free);
    g_clear_pointer(&generation->key, master_key_free);
}

void
generations_free(struct generations *generations)
{
    if (!generations)
        return;
    for (unsigned int i = 0; i < generations->count; i++)
        clear_generation(&generations->entries[i]);
    secret_buf_free(generations->wrapping_key);
    g_free(generations->path);
    g_free(generations);
}

static struct generations *
new_empty(const char *path, const struct master_key *master, GError **error)
{
    g_autoptr(generations_t) generations = g_new0(struct generations, 1);

    generations->path = g_strdup(path);
    generations->master = master;
    generations->wrapping_key = master_key_derive_generations(master, error);
    return generations->wrapping_key ? g_steal_pointer(&generations) : NULL;
}

/* Takes the bytes of a key. */
static bool
add_generation(struct generations *generations, uint64_t number, struct secret_buf *take_bytes,
               GError **error)
{
    struct generation *generation = &generations->entries[generations->count];
    struct secret_buf *copy;

    if (!take_bytes)
        return false;
    g_assert(generations->count < ENTRIES_MAX);
    generation->number = number;
    generation->bytes = take_bytes;
    copy = secret_buf_new_from(secret_buf_bytes(take_bytes), secret_buf_len(take_bytes), error);
    generation->key = copy ? master_key_new(copy, error) : NULL;
    if (!generation->key) {
        clear_generation(generation);
        return false;
    }
    generations->count++;
    return true;
}

/* ---- the bytes ---- */

static size_t
size_of(unsigned int count)
{
    return AT_NUMBERS + count * (NUMBER_SIZE + MASTER_KEY_SIZE) + AEAD_NONCE_SIZE + AEAD_TAG_SIZE;
}

/* What is between the numbers and the end, for a file of `count`. */
static size_t
nonce_at(unsigned int count)
{
    return AT_NUMBERS + (size_t)count * NUMBER_SIZE;
}

/* The keys from `first` on, one behind the other. */
static struct secret_buf *
join_keys(const struct generations *generations, unsigned int first, GError **error)
{
    unsigned int count = generations->count - first;
    struct secret_buf *joined = secret_buf_new((size_t)count * MASTER_KEY_SIZE, error);

    for (unsigned int i = 0; joined && i < count; i++)
        memcpy(secret_buf_writable(joined) + (size_t)i * MASTER_KEY_SIZE,
               secret_buf_bytes(generations->entries[first + i].bytes), MASTER_KEY_SIZE);
    return joined;
}

/* The file with the generations from `first` on. */
static GBytes *
format(const struct generations *generations, unsigned int first, uint64_t flags, GError **error)
{
    unsigned int count = generations->count - first;
    size_t len = size_of(count);
    g_autofree uint8_t *bytes = g_malloc0(len);
    uint8_t *nonce = bytes + nonce_at(count);
    g_autoptr(secret_buf_t) joined = join_keys(generations, first, error);
    struct aead_params params = {generations->wrapping_key, nonce, bytes, nonce_at(count)};

    if (!joined)
        return NULL;
    memcpy(bytes + AT_MAGIC, format_magic, sizeof(format_magic));
    big_endian_put(bytes + AT_VERSION, FORMAT_VERSION, 2);
    big_endian_put(bytes + AT_ALGORITHM, FORMAT_ALGORITHM, 2);
    big_endian_put(bytes + AT_FLAGS, flags, 2);
    big_endian_put(bytes + AT_COUNT, count, 2);
    memcpy(bytes + AT_MASTER_KEY_ID, master_key_id(generations->master), MASTER_KEY_ID_SIZE);
    for (unsigned int i = 0; i < count; i++)
        big_endian_put(bytes + AT_NUMBERS + (size_t)i * NUMBER_SIZE,
                       generations->entries[first + i].number, NUMBER_SIZE);
    if (!aead_make_nonce(nonce, error) ||
        !aead_encrypt(&params, secret_buf_bytes(joined), secret_buf_len(joined),
                      nonce + AEAD_NONCE_SIZE, error))
        return NULL;
    return g_bytes_new_take(g_steal_pointer(&bytes), len);
}

static bool
refuse(GError **error, const char *path, const char *reason)
{
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the key-encryption generations (%s) %s", path, reason);
    return false;
}

#define REMEDY "put a good copy of the file back"

/* Is it a whole file of this format, under this master key? */
static bool
check_shape(const struct generations *generations, const uint8_t *bytes, size_t len, GError **error)
{
    const char *path = generations->path;
    uint64_t count;

    if (len < AT_NUMBERS || memcmp(bytes, format_magic, sizeof(format_magic)) != 0)
        return refuse(error, path, "are damaged; " REMEDY);
    if (big_endian_get(bytes + AT_VERSION, 2) != FORMAT_VERSION ||
        big_endian_get(bytes + AT_ALGORITHM, 2) != FORMAT_ALGORITHM)
        return refuse(error, path,
                      "are in a format that this program does not know; use the newer virtcrypt "
                      "that wrote the file");
    if (memcmp(bytes + AT_MASTER_KEY_ID, master_key_id(generations->master), MASTER_KEY_ID_SIZE) !=
        0)
        return refuse(error, path,
                      "were made with another master key than the present one; put that master key "
                      "back, or the file that goes with this one");
    count = big_endian_get(bytes + AT_COUNT, 2);
    if (count < 1 || count > ENTRIES_MAX || len != size_of((unsigned int)count))
        return refuse(error, path, "are damaged; " REMEDY);
    return true;
}

/* Takes the keys out of what was decrypted. */
static bool
take_keys(struct generations *generations, const uint8_t *bytes, const struct secret_buf *joined,
          GError **error)
{
    unsigned int count = (unsigned int)(secret_buf_len(joined) / MASTER_KEY_SIZE);

    for (unsigned int i = 0; i < count; i++) {
        struct secret_buf *key = secret_buf_new_from(
            secret_buf_bytes(joined) + (size_t)i * MASTER_KEY_SIZE, MASTER_KEY_SIZE, error);

        if (!add_generation(generations,
                            big_endian_get(bytes + AT_NUMBERS + (size_t)i * NUMBER_SIZE, 8), key,
                            error))
            return false;
    }
    generations->flags = big_endian_get(bytes + AT_FLAGS, 2) & (FLAG_LEGACY | FLAG_RESEAL);
    return true;
}

static bool
parse(struct generations *generations, const uint8_t *bytes, size_t len, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(secret_buf_t) joined = NULL;
    struct aead_params params;
    unsigned int count;
    bool is_tampered = false;

    if (!check_shape(generations, bytes, len, error))
        return false;
    count = (unsigned int)big_endian_get(bytes + AT_COUNT, 2);
    joined = secret_buf_new((size_t)count * MASTER_KEY_SIZE, error);
    if (!joined)
        return false;
    params = (struct aead_params){generations->wrapping_key, bytes + nonce_at(count), bytes,
                                  nonce_at(count)};
    if (aead_decrypt(&params, bytes + nonce_at(count) + AEAD_NONCE_SIZE, joined, &is_tampered,
                     &failure))
        return take_keys(generations, bytes, joined, error);
    if (is_tampered)
        return refuse(error, generations->path, "are damaged or were tampered with; " REMEDY);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

/* ---- the file ---- */

static bool
write_file(const struct generations *generations, unsigned int first, uint64_t flags,
           GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GBytes) content = format(generations, first, flags, error);

    return content && file_place_open(generations->path, true, &place, error) &&
           file_place_replace_wiping(&place, content, error);
}

bool
generations_exists(const char *path)
{
    return file_may_exist(path);
}

/* Whether the file says that it is under this master key. */
static bool
names(GBytes *content, const struct master_key *master)
{
    const uint8_t *bytes = g_bytes_get_data(content, NULL);

    return g_bytes_get_size(content) >= AT_NUMBERS &&
           memcmp(bytes + AT_MASTER_KEY_ID, master_key_id(master), MASTER_KEY_ID_SIZE) == 0;
}

struct generations *
generations_parse(const char *path, GBytes *content, const struct master_key *master,
                  const struct master_key *previous, GError **error)
{
    const struct master_key *under = previous && names(content, previous) ? previous : master;
    g_autoptr(generations_t) generations = new_empty(path, under, error);

    if (!generations ||
        !parse(generations, g_bytes_get_data(content, NULL), g_bytes_get_size(content), error))
        return NULL;
    return g_steal_pointer(&generations);
}

static GBytes *
read_file(const struct file_place *place, const char *path, GError **error)
{
    GBytes *content = file_read(place->dir_fd, place->name, SIZE_MAX_FILE, error);

    if (!content)
        g_prefix_error(error, "the key-encryption generations (%s): ", path);
    return content;
}

struct generations *
generations_open(const char *path, const struct master_key *master,
                 const struct master_key *previous, GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GBytes) content = NULL;

    /* Values that are sealed under a key which a power cut takes away are lost. */
    if (!file_place_open(path, false, &place, error) || !file_place_finish_replace(&place, error))
        return NULL;
    content = read_file(&place, path, error);
    return content ? generations_parse(path, content, master, previous, error) : NULL;
}

GBytes *
generations_format(const struct generations *generations, GError **error)
{
    return format(generations, 0, generations->flags, error);
}

/* By its head: under another master key, or of a newer program. */
static bool
is_of_others(const struct generations *generations, GBytes *content)
{
    const uint8_t *bytes = g_bytes_get_data(content, NULL);

    return g_bytes_get_size(content) >= AT_NUMBERS &&
           memcmp(bytes, format_magic, sizeof(format_magic)) == 0 &&
           (big_endian_get(bytes + AT_VERSION, 2) != FORMAT_VERSION ||
            big_endian_get(bytes + AT_ALGORITHM, 2) != FORMAT_ALGORITHM ||
            !names(content, generations->master));
}

enum generations_look
generations_look(const struct generations *generations, GError **error)
{
    const char *path = generations->path;
    g_auto(file_place_t) place = {-1, NULL};
    g_autoptr(GError) failure = NULL;
    g_autoptr(GBytes) content = NULL;
    g_autoptr(generations_t) found = NULL;

    if (!generations_exists(path))
        return GENERATIONS_GONE;
    if (file_place_open(path, false, &place, error))
        content = read_file(&place, path, error);
    if (!content)
        return GENERATIONS_OTHERS;
    found = generations_parse(path, content, generations->master, NULL, &failure);
    if (!found) {
        enum generations_look look =
            is_of_others(generations, content) || !error_is(failure, ERROR_INVALID_SECRET)
                ? GENERATIONS_OTHERS
                : GENERATIONS_DAMAGED;

        g_propagate_error(error, g_steal_pointer(&failure));
        return look;
    }
    if (generations_number(found) == generations_number(generations))
        return GENERATIONS_GOOD;
    refuse(error, path,
           "are others than those in use: they were put back from a backup; move the file away "
           "and reload the daemon, which writes the newest");
    return GENERATIONS_OTHERS;
}

struct generations *
generations_make(const char *path, const struct master_key *master, bool has_legacy, GError **error)
{
    g_autoptr(generations_t) generations = new_empty(path, master, error);
    uint64_t flags = has_legacy ? FLAG_LEGACY : 0;

    if (!generations ||
        !add_generation(generations, 1, secret_buf_new_random(MASTER_KEY_SIZE, error), error) ||
        !write_file(generations, 0, flags, error))
        return NULL;
    generations->flags = flags;
    return g_steal_pointer(&generations);
}

struct generations *
generations_new_legacy(const struct master_key *master, GError **error)
{
    g_autoptr(generations_t) generations = new_empty("", master, error);

    if (!generations ||
        !add_generation(generations, 1, secret_buf_new_random(MASTER_KEY_SIZE, error), error))
        return NULL;
    generations->flags = FLAG_LEGACY;
    return g_steal_pointer(&generations);
}

/* Adds a generation to the file, which gets these flags, too. */
static bool
write_next(struct generations *generations, uint64_t flags, GError **error)
{
    uint64_t number = generations_number(generations) + 1;

    g_assert(!generations_is_rotating(generations));
    if (!add_generation(generations, number, secret_buf_new_random(MASTER_KEY_SIZE, error), error))
        return false;
    if (write_file(generations, 0, flags, error)) {
        generations->flags = flags;
        return true;
    }
    /* It may be in the file; nothing was sealed under it. */
    clear_generation(&generations->entries[--generations->count]);
    return false;
}

bool
generations_begin(struct generations *generations, GError **error)
{
    return write_next(generations, 0, error);
}

bool
generations_rekey(struct generations *generations, const struct master_key *master, bool reseal,
                  GError **error)
{
    const struct master_key *old_master = generations->master;
    g_autoptr(secret_buf_t) other_key = master_key_derive_generations(master, error);
    struct secret_buf *swapped = generations->wrapping_key;

    if (!other_key)
        return false;
    generations->master = master;
    generations->wrapping_key = g_steal_pointer(&other_key);
    other_key = swapped;
    if (write_next(generations, reseal ? FLAG_RESEAL : 0, error))
        return true;
    /* Whichever of the two is in the file by now: the slots hold both master keys until it ends. */
    generations->master = old_master;
    swapped = generations->wrapping_key;
    generations->wrapping_key = g_steal_pointer(&other_key);
    other_key = swapped;
    return false;
}

bool
generations_finish(struct generations *generations, GError **error)
{
    unsigned int current = generations->count - 1;

    if (!write_file(generations, current, 0, error))
        return false;
    generations->flags = 0;
    if (current == 0)
        return true;
    clear_generation(&generations->entries[0]);
    generations->entries[0] = generations->entries[1];
    generations->entries[1] = (struct generation){0};
    generations->count = 1;
    return true;
}

bool
generations_write(const struct generations *generations, GError **error)
{
    return write_file(generations, 0, generations->flags, error);
}

/* ---- what is known ---- */

static bool
has_legacy(const struct generations *generations)
{
    return generations->flags & FLAG_LEGACY;
}

static bool
has_id(const struct master_key *key, const uint8_t *id)
{
    return memcmp(master_key_id(key), id, MASTER_KEY_ID_SIZE) == 0;
}

bool
generations_is_rotating(const struct generations *generations)
{
    return generations->count > 1 || has_legacy(generations);
}

bool
generations_is_resealing(const struct generations *generations)
{
    return generations->flags & FLAG_RESEAL;
}

bool
generations_is_under(const struct generations *generations, const struct master_key *master)
{
    return has_id(generations->master, master_key_id(master));
}

uint64_t
generations_number(const struct generations *generations)
{
    return generations ? generations->entries[generations->count - 1].number : 0;
}

const struct master_key *
generations_current(const struct generations *generations)
{
    return generations ? generations->entries[generations->count - 1].key : NULL;
}

const struct master_key *
generations_find(const struct generations *generations, const uint8_t *id)
{
    for (unsigned int i = 0; i < generations->count; i++) {
        if (has_id(generations->entries[i].key, id))
            return generations->entries[i].key;
    }
    return has_legacy(generations) && has_id(generations->master, id) ? generations->master : NULL;
}

const struct master_key *
generations_key_of(const struct generations *generations, const void *sealed, size_t len)
{
    const uint8_t *id = sealed_master_key_id(sealed, len);
    const struct master_key *named = id ? generations_find(generations, id) : NULL;

    return named ? named : generations_current(generations);
}
