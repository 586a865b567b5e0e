/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the bytes of the file and what is in memory of it. An image copies the entries, so that
 * sorting, the tag and the disk take another thread's time. Nothing in it is secret: it is
 * authenticated, not encrypted.
 */
#include "secret/value_index.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/big_endian.h"
#include "util/error.h"
#include "util/file_place.h"
#include "util/log.h"
#include "util/secret_buf.h"

enum { FORMAT_VERSION = 1, FORMAT_ALGORITHM = 1, FLAG_BEGUN_ANEW = 1 };
enum { FILE_MODE = 0600, ASIDE_MAX = 1000 };

/* Where each field starts. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_ALGORITHM = 10,
    AT_FLAGS = 12,
    AT_MASTER_KEY_ID = 16,
    AT_COUNTER = 32,
    AT_ANCHOR = 40,
    AT_COUNT = 56,
    AT_ENTRIES = 60,
    ENTRY_SIZE = 24,
    AT_GENERATION = 16, /* in an entry, behind the uuid */
    TAG_SIZE = 32,
    SIZE_MIN = AT_ENTRIES + TAG_SIZE,
};

static const uint8_t format_magic[8] = {'V', 'C', 'I', 'N', 'D', 'E', 'X', '1'};

struct entry {
    struct uuid uuid;
    uint64_t generation;
    bool is_removed; /* counts until the file without it is durable */
};

struct value_index {
    char *path;
    const struct master_key *master;
    GHashTable *entries; /* set of struct entry, by its uuid */
    uint64_t counter;
    struct uuid anchor; /* zeros: none */
    uint64_t written_counter;
    char *problem;
    bool must_put_aside; /* what has the file's name is not ours */
    uint64_t version;    /* grows with each change */
    uint64_t written_version;
};

struct value_index_image {
    char *path;
    struct secret_buf *key;
    uint8_t master_key_id[MASTER_KEY_ID_SIZE];
    GArray *entries; /* of struct entry, in no order */
    GArray *removed; /* the others */
    uint64_t counter;
    struct uuid anchor;
    bool is_begun_anew;
    bool must_put_aside;
    uint64_t version;
};

/* ---- entries ---- */

static struct entry *
find(const struct value_index *index, const struct uuid *uuid)
{
    /* The uuid is an entry's first member. */
    return g_hash_table_lookup(index->entries, uuid);
}

static struct entry *
add(struct value_index *index, const struct uuid *uuid, uint64_t generation)
{
    struct entry *entry = g_new0(struct entry, 1);

    entry->uuid = *uuid;
    entry->generation = generation;
    g_hash_table_add(index->entries, entry);
    return entry;
}

uint64_t
value_index_floor(const struct value_index *index, const struct uuid *uuid)
{
    const struct entry *entry = find(index, uuid);

    return entry ? entry->generation : 0;
}

void
value_index_raise(struct value_index *index, const struct uuid *uuid, uint64_t generation)
{
    struct entry *entry = find(index, uuid);

    if (!entry && g_hash_table_size(index->entries) >= VALUE_INDEX_ENTRIES_MAX)
        return;
    if (!entry)
        entry = add(index, uuid, 0);
    else if (entry->generation >= generation && !entry->is_removed)
        return;
    entry->generation = MAX(entry->generation, generation);
    entry->is_removed = false;
    index->version++;
}

void
value_index_remove(struct value_index *index, const struct uuid *uuid)
{
    struct entry *entry = find(index, uuid);

    if (!entry || entry->is_removed)
        return;
    entry->is_removed = true;
    index->version++;
}

void
value_index_prune(struct value_index *index, value_index_func keeps, void *opaque)
{
    GHashTableIter iter;
    void *key;

    g_hash_table_iter_init(&iter, index->entries);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        struct entry *entry = key;

        if (entry->is_removed || keeps(&entry->uuid, opaque))
            continue;
        entry->is_removed = true;
        index->version++;
    }
}

bool
value_index_is_dirty(const struct value_index *index)
{
    return index->version != index->written_version;
}

uint64_t
value_index_counter(const struct value_index *index)
{
    return index->counter;
}

uint64_t
value_index_written_counter(const struct value_index *index)
{
    return index->written_counter;
}

const struct uuid *
value_index_anchor(const struct value_index *index)
{
    return &index->anchor;
}

void
value_index_set_anchor(struct value_index *index, const struct uuid *anchor, uint64_t counter)
{
    if (index->counter == counter && uuid_equal(&index->anchor, anchor))
        return;
    index->counter = counter;
    index->anchor = *anchor;
    index->version++;
}

const char *
value_index_problem(const struct value_index *index)
{
    return index->problem;
}

void
value_index_accept(struct value_index *index)
{
    if (!index->problem)
        return;
    g_clear_pointer(&index->problem, g_free);
    index->version++;
}

/* ---- the bytes ---- */

static bool
make_tag(const struct secret_buf *key, const uint8_t *bytes, size_t len, uint8_t tag[TAG_SIZE])
{
    return gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret_buf_bytes(key), secret_buf_len(key), bytes,
                            len, tag) == 0;
}

static int
compare_entries(gconstpointer a, gconstpointer b)
{
    const struct entry *left = a;
    const struct entry *right = b;

    return uuid_compare(&left->uuid, &right->uuid);
}

static GBytes *
format(struct value_index_image *image, GError **error)
{
    size_t len = SIZE_MIN + (size_t)image->entries->len * ENTRY_SIZE;
    g_autofree uint8_t *bytes = g_malloc0(len);
    uint8_t *to = bytes + AT_ENTRIES;

    g_array_sort(image->entries, compare_entries);
    memcpy(bytes + AT_MAGIC, format_magic, sizeof(format_magic));
    big_endian_put(bytes + AT_VERSION, FORMAT_VERSION, 2);
    big_endian_put(bytes + AT_ALGORITHM, FORMAT_ALGORITHM, 2);
    big_endian_put(bytes + AT_FLAGS, image->is_begun_anew ? FLAG_BEGUN_ANEW : 0, 4);
    memcpy(bytes + AT_MASTER_KEY_ID, image->master_key_id, MASTER_KEY_ID_SIZE);
    big_endian_put(bytes + AT_COUNTER, image->counter, 8);
    memcpy(bytes + AT_ANCHOR, image->anchor.bytes, sizeof(image->anchor.bytes));
    big_endian_put(bytes + AT_COUNT, image->entries->len, 4);
    for (guint i = 0; i < image->entries->len; i++, to += ENTRY_SIZE) {
        const struct entry *entry = &g_array_index(image->entries, struct entry, i);

        memcpy(to, entry->uuid.bytes, sizeof(entry->uuid.bytes));
        big_endian_put(to + AT_GENERATION, entry->generation, 8);
    }
    if (!make_tag(image->key, bytes, len - TAG_SIZE, to)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INTERNAL,
                  "cannot authenticate the index of generations (%s)", image->path);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&bytes), len);
}

/* NULL, or what is wrong with the bytes. Nothing but lengths and names is looked at. */
static const char *
check_shape(const uint8_t *bytes, size_t len)
{
    uint64_t count;

    if (len < SIZE_MIN || memcmp(bytes, format_magic, sizeof(format_magic)) != 0)
        return "is damaged";
    if (big_endian_get(bytes + AT_VERSION, 2) != FORMAT_VERSION ||
        big_endian_get(bytes + AT_ALGORITHM, 2) != FORMAT_ALGORITHM)
        return "is in a format that this program does not know";
    count = big_endian_get(bytes + AT_COUNT, 4);
    if (count > VALUE_INDEX_ENTRIES_MAX || len != SIZE_MIN + count * ENTRY_SIZE)
        return "is damaged";
    return NULL;
}

/* The one of the two that the file names, or NULL. */
static const struct master_key *
find_master(const struct value_index_params *params, const uint8_t *id)
{
    const struct master_key *keys[] = {params->master, params->previous};

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i] && memcmp(master_key_id(keys[i]), id, MASTER_KEY_ID_SIZE) == 0)
            return keys[i];
    }
    return NULL;
}

static const char *
authenticate(const struct value_index_params *params, const uint8_t *bytes, size_t len)
{
    const struct master_key *master = find_master(params, bytes + AT_MASTER_KEY_ID);
    g_autoptr(secret_buf_t) key = master ? master_key_derive_index(master, NULL) : NULL;
    uint8_t tag[TAG_SIZE];

    if (!master)
        return "was made with another master key";
    if (!key || !make_tag(key, bytes, len - TAG_SIZE, tag))
        return "can't be authenticated";
    return secret_bytes_equal(tag, bytes + len - TAG_SIZE, TAG_SIZE)
               ? NULL
               : "is damaged or was tampered with";
}

/* It is authentic. */
static void
take(struct value_index *index, const uint8_t *bytes)
{
    uint64_t count = big_endian_get(bytes + AT_COUNT, 4);
    const uint8_t *at = bytes + AT_ENTRIES;

    for (uint64_t i = 0; i < count; i++, at += ENTRY_SIZE) {
        struct uuid uuid;

        memcpy(uuid.bytes, at, sizeof(uuid.bytes));
        if (!find(index, &uuid))
            add(index, &uuid, big_endian_get(at + AT_GENERATION, 8));
    }
    index->counter = big_endian_get(bytes + AT_COUNTER, 8);
    index->written_counter = index->counter;
    memcpy(index->anchor.bytes, bytes + AT_ANCHOR, sizeof(index->anchor.bytes));
    if (big_endian_get(bytes + AT_FLAGS, 4) & FLAG_BEGUN_ANEW)
        index->problem = g_strdup_printf(
            "the index of generations (%s) was missing or damaged at an earlier start, and was "
            "begun anew: what was put back from an older backup before that is not noticed; look "
            "into it, then say 'virtcrypt store accept'",
            index->path);
}

/* ---- the file ---- */

static GBytes *
read_file(const char *path, GError **error)
{
    g_auto(file_place_t) place = {-1, NULL};
    g_autofree char *new_name = NULL;

    if (!file_place_open(path, false, &place, error))
        return NULL;
    /* What a crash left of an image. */
    new_name = g_strconcat(place.name, ".new", NULL);
    unlinkat(place.dir_fd, new_name, 0);
    return file_read(place.dir_fd, place.name,
                     SIZE_MIN + (size_t)VALUE_INDEX_ENTRIES_MAX * ENTRY_SIZE, error);
}

static void
note_loss(struct value_index *index, const char *what)
{
    index->problem = g_strdup_printf(
        "the index of generations (%s) %s; it is begun anew, and what was put back from an older "
        "backup before that is not noticed: look into it, then say 'virtcrypt store accept'",
        index->path, what);
    index->version++;
}

static enum value_index_state
read_index(struct value_index *index, const struct value_index_params *params)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) content = read_file(params->path, &error);
    gsize len = 0;
    const uint8_t *bytes = content ? g_bytes_get_data(content, &len) : NULL;
    const char *problem = NULL;

    if (!content && error_get_errno(error) == ENOENT) {
        if (params->is_expected)
            note_loss(index, "is missing");
        return params->is_expected ? VALUE_INDEX_MISSING : VALUE_INDEX_NEW;
    }
    if (!content) {
        g_autofree char *what = g_strdup_printf("can't be read (%s)", error->message);

        index->must_put_aside = true;
        note_loss(index, what);
        return VALUE_INDEX_DAMAGED;
    }
    problem = check_shape(bytes, len);
    if (!problem)
        problem = authenticate(params, bytes, len);
    if (problem) {
        index->must_put_aside = true;
        note_loss(index, problem);
        return VALUE_INDEX_DAMAGED;
    }
    take(index, bytes);
    /* What is under the master key of before is to be under this one. */
    if (find_master(params, bytes + AT_MASTER_KEY_ID) != params->master)
        index->version++;
    return VALUE_INDEX_GOOD;
}

struct value_index *
value_index_open(const struct value_index_params *params, enum value_index_state *ret_state)
{
    struct value_index *index = g_new0(struct value_index, 1);

    index->path = g_strdup(params->path);
    index->master = params->master;
    index->entries = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    *ret_state = read_index(index, params);
    if (*ret_state == VALUE_INDEX_NEW)
        index->version++;
    return index;
}

void
value_index_free(struct value_index *index)
{
    if (!index)
        return;
    g_hash_table_unref(index->entries);
    g_free(index->path);
    g_free(index->problem);
    g_free(index);
}

static void
image_free(struct value_index_image *image)
{
    g_array_unref(image->entries);
    g_array_unref(image->removed);
    secret_buf_free(image->key);
    g_free(image->path);
    g_free(image);
}

struct value_index_image *
value_index_take_image(struct value_index *index, GError **error)
{
    g_autoptr(secret_buf_t) key = master_key_derive_index(index->master, error);
    struct value_index_image *image;
    GHashTableIter iter;
    void *entry;

    if (!key)
        return NULL;
    image = g_new0(struct value_index_image, 1);
    image->path = g_strdup(index->path);
    image->key = g_steal_pointer(&key);
    memcpy(image->master_key_id, master_key_id(index->master), MASTER_KEY_ID_SIZE);
    image->entries =
        g_array_sized_new(FALSE, FALSE, sizeof(struct entry), g_hash_table_size(index->entries));
    image->removed = g_array_new(FALSE, FALSE, sizeof(struct entry));
    g_hash_table_iter_init(&iter, index->entries);
    while (g_hash_table_iter_next(&iter, &entry, NULL))
        g_array_append_vals(((struct entry *)entry)->is_removed ? image->removed : image->entries,
                            entry, 1);
    image->counter = index->counter;
    image->anchor = index->anchor;
    image->is_begun_anew = index->problem != NULL;
    image->must_put_aside = index->must_put_aside;
    image->version = index->version;
    return image;
}

/* Somebody may want to know what became of it. */
static bool
put_aside(const struct file_place *place, GError **error)
{
    const char *name = place->name;

    for (unsigned int i = 1; i <= ASIDE_MAX; i++) {
        g_autofree char *aside = g_strdup_printf("%s.damaged.%u", name, i);

        if (file_put_aside(place->dir_fd, name, aside)) {
            log_warn("%s is no index of generations that can be used; it is kept as %s", name,
                     aside);
            return true;
        }
        if (errno == ENOENT)
            return true;
        if (errno != EEXIST)
            break;
    }
    error_set_errno(error, ERROR_FROM_SECRET, errno, "cannot keep the damaged file %s", name);
    return false;
}

bool
value_index_image_write(struct value_index_image *image, GError **error)
{
    g_autoptr(GBytes) content = format(image, error);
    g_auto(file_place_t) place = {-1, NULL};

    /* COMMIT POINT: its rename. */
    return content && file_place_open(image->path, true, &place, error) &&
           (!image->must_put_aside || put_aside(&place, error)) &&
           file_replace(place.dir_fd, place.name, g_bytes_get_data(content, NULL),
                        g_bytes_get_size(content), FILE_MODE, error);
}

void
value_index_end_image(struct value_index *index, struct value_index_image *take_image,
                      bool is_written)
{
    if (is_written) {
        index->written_version = take_image->version;
        index->written_counter = take_image->counter;
        index->must_put_aside = false;
        for (guint i = 0; i < take_image->removed->len; i++) {
            const struct entry *gone = &g_array_index(take_image->removed, struct entry, i);
            const struct entry *entry = find(index, &gone->uuid);

            /* Unless there is another secret of that uuid by now. */
            if (entry && entry->is_removed && entry->generation == gone->generation)
                g_hash_table_remove(index->entries, &gone->uuid);
        }
    }
    image_free(take_image);
}

bool
value_index_flush(struct value_index *index, GError **error)
{
    struct value_index_image *image = value_index_take_image(index, error);
    bool is_written = image && value_index_image_write(image, error);

    if (image)
        value_index_end_image(index, image, is_written);
    return is_written;
}

bool
value_index_rekey(struct value_index *index, const struct master_key *master, GError **error)
{
    const struct master_key *before = index->master;

    index->master = master;
    if (value_index_flush(index, error))
        return true;
    index->master = before;
    return false;
}
