/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: Argon2id (RFC 9106) by libargon2, within bounds: a slot that somebody wrote may ask for
 * anything.
 */
#include <argon2.h>
#include <sys/mman.h>
#include <time.h>

#include "master/argon2_limits.h"
#include "master/unlock_helper.h"
#include "util/error.h"

enum { US_PER_S = 1000 * 1000, NS_PER_US = 1000 };

/* Of this thread and those that the derivation has: there is nothing else in the process. */
static uint64_t
processor_us(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) < 0)
        return 0;
    return (uint64_t)now.tv_sec * US_PER_S + (uint64_t)now.tv_nsec / NS_PER_US;
}

struct cost {
    uint64_t memory_kib;
    uint64_t passes;
    uint64_t lanes;
};

static bool
get_cost(const struct fields *fields, struct cost *cost, GError **error)
{
    if (!fields_get_number(fields, "lanes", 1, ARGON2_LANES_MAX, &cost->lanes, error) ||
        !fields_get_number(fields, "memory-kib", ARGON2_MEMORY_KIB_MIN, ARGON2_MEMORY_KIB_MAX,
                           &cost->memory_kib, error) ||
        !fields_get_number(fields, "passes", 1, ARGON2_PASSES_MAX, &cost->passes, error))
        return false;
    if (cost->memory_kib * cost->passes > ARGON2_WORK_KIB_MAX) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "%" G_GUINT64_FORMAT " passes over %" G_GUINT64_FORMAT " KiB are more work than "
                  "any slot needs: the slot is not one that virtcrypt made",
                  cost->passes, cost->memory_kib);
        return false;
    }
    return true;
}

/* Where mlockall holds all of it, the memory may be more than may be locked. */
static int
derive(const struct cost *cost, const struct secret_buf *secret, GBytes *salt,
       struct secret_buf *to)
{
    int rc = ARGON2_MEMORY_ALLOCATION_ERROR;

    for (unsigned int turn = 0; turn < 2 && rc == ARGON2_MEMORY_ALLOCATION_ERROR; turn++) {
        if (turn > 0 && munlockall() < 0)
            break;
        rc = argon2id_hash_raw((uint32_t)cost->passes, (uint32_t)cost->memory_kib,
                               (uint32_t)cost->lanes, secret_buf_bytes(secret),
                               secret_buf_len(secret), g_bytes_get_data(salt, NULL),
                               g_bytes_get_size(salt), secret_buf_writable(to), secret_buf_len(to));
    }
    return rc;
}

bool
unlock_helper_argon2id(const struct helper_message *request, struct helper_message *answer,
                       GError **error)
{
    const struct secret_buf *secret = unlock_helper_key(request, 1, HELPER_WIRE_KEY_MAX, error);
    g_autoptr(GBytes) salt = NULL;
    g_autoptr(secret_buf_t) derived = NULL;
    struct cost cost;
    uint64_t before;
    int rc;

    if (!secret || !get_cost(request->fields, &cost, error))
        return false;
    salt = fields_get_bytes(request->fields, "salt", ARGON2_SALT_MAX, error);
    derived = salt ? secret_buf_new(UNLOCK_HELPER_KEY_SIZE, error) : NULL;
    if (!derived)
        return false;
    before = processor_us();
    rc = derive(&cost, secret, salt, derived);
    if (rc != ARGON2_OK) {
        error_set(error, ERROR_FROM_SECRET,
                  rc == ARGON2_MEMORY_ALLOCATION_ERROR ? ERROR_NO_MEMORY : ERROR_INVALID_ARG,
                  "cannot derive a key with %" G_GUINT64_FORMAT " KiB of memory: %s",
                  cost.memory_kib, argon2_error_message(rc));
        return false;
    }
    answer->key = g_steal_pointer(&derived);
    return fields_set_number(answer->fields, "cpu-us", processor_us() - before, error);
}
