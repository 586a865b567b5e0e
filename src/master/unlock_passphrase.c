/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "passphrase": Argon2id, with a cost that is measured when the slot is
 * made, so that each guess takes somebody else about as long as it takes this host.
 */
#include <sys/sysinfo.h>
#include <unistd.h>

#include "master/argon2_limits.h"
#include "master/unlock_ask.h"
#include "master/unlock_methods.h"
#include "util/error.h"
#include "util/syscalls.h"

SYSCALLS_DECLARE(unlock_passphrase, "sysinfo");

enum {
    PASSPHRASE_MIN = 8,
    PASSPHRASE_MAX = 4096,
    SALT_SIZE = 32,
    TARGET_US = 2 * 1000 * 1000, /* what cryptsetup chooses, too */
    PASSES_MIN = 4,
    MEMORY_KIB_MIN = 32 * 1024,
    TRIED_MEMORY_KIB = 64 * 1024,
    KIB = 1024,
    /* Somebody waits, and a host that is busy at its start may take some times as long as when the
     * cost was measured: better late than not at all. */
    TIMEOUT_MIN_MS = 60 * 1000,
};

struct cost {
    uint64_t memory_kib;
    uint64_t passes;
    uint64_t lanes;
};

static bool
set_cost(struct fields *fields, const struct cost *cost, GError **error)
{
    return fields_set_number(fields, "memory-kib", cost->memory_kib, error) &&
           fields_set_number(fields, "passes", cost->passes, error) &&
           fields_set_number(fields, "lanes", cost->lanes, error);
}

/* At most a GiB, and half of what this host has: more would not open here under load. */
static uint64_t
largest_memory_kib(void)
{
    struct sysinfo info;
    uint64_t half;

    if (sysinfo(&info) < 0)
        return MEMORY_KIB_MIN;
    half = (uint64_t)info.totalram * info.mem_unit / KIB / 2;
    return CLAMP(half, MEMORY_KIB_MIN, ARGON2_MEMORY_KIB_MAX);
}

/* From the processor time of one pass over some memory: as much memory as the time allows at the
 * fewest passes, and then more passes. */
static void
choose_cost(struct cost *cost, const struct cost *tried, uint64_t tried_us)
{
    uint64_t largest = largest_memory_kib();
    uint64_t budget_us = (uint64_t)TARGET_US * cost->lanes;
    uint64_t work = tried->memory_kib * tried->passes * budget_us / MAX(tried_us, 1);

    work = MIN(work, ARGON2_WORK_KIB_MAX);
    cost->memory_kib = CLAMP(work / PASSES_MIN, MEMORY_KIB_MIN, largest);
    cost->passes = CLAMP(work / cost->memory_kib, PASSES_MIN, ARGON2_PASSES_MAX);
}

static struct unlock_context
patient(const struct unlock_context *context)
{
    struct unlock_context with_time = *context;

    with_time.timeout_ms = MAX(context->timeout_ms, TIMEOUT_MIN_MS);
    return with_time;
}

static bool
measure(const struct unlock_context *context, const struct secret_buf *secret,
        struct fields *fields, struct cost *ret_cost, GError **error)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct cost tried = {
        .memory_kib = MIN(TRIED_MEMORY_KIB, largest_memory_kib()),
        .passes = 1,
        .lanes = (uint64_t)CLAMP(processors, 1, ARGON2_LANES_MAX),
    };
    const struct unlock_context with_time = patient(context);
    g_auto(helper_reply_t) reply = {0};
    uint64_t us;

    if (!set_cost(fields, &tried, error) ||
        !unlock_ask(&with_time, HELPER_ARGON2ID, fields, secret, &reply, error) ||
        !fields_get_number(reply.fields, "cpu-us", 0, G_MAXUINT32, &us, error))
        return false;
    ret_cost->lanes = tried.lanes;
    choose_cost(ret_cost, &tried, us);
    return true;
}

static bool
check_secret(const struct secret_buf *secret, size_t min, GError **error)
{
    size_t len = secret ? secret_buf_len(secret) : 0;

    if (len >= min && len <= PASSPHRASE_MAX)
        return true;
    if (!secret)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG, "the passphrase is needed");
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "a passphrase has %d to %d bytes, and this one has %zu", PASSPHRASE_MIN,
                  PASSPHRASE_MAX, len);
    return false;
}

static struct secret_buf *
passphrase_open(const struct unlock_context *context, const struct slot *slot,
                const struct secret_buf *secret, GError **error)
{
    const struct unlock_context with_time = patient(context);

    if (!check_secret(secret, 1, error))
        return NULL;
    return unlock_ask_key(&with_time, HELPER_ARGON2ID, slot->fields, secret, error);
}

static struct secret_buf *
passphrase_enroll(const struct unlock_context *context, struct slot *slot,
                  const struct secret_buf *secret, GError **error)
{
    g_autoptr(secret_buf_t) salt = NULL;
    struct cost cost;

    if (!check_secret(secret, PASSPHRASE_MIN, error))
        return NULL;
    salt = secret_buf_new_random(SALT_SIZE, error);
    if (!salt ||
        !fields_set_bytes(slot->fields, "salt", secret_buf_bytes(salt), SALT_SIZE, error) ||
        !measure(context, secret, slot->fields, &cost, error) ||
        !set_cost(slot->fields, &cost, error))
        return NULL;
    return passphrase_open(context, slot, secret, error);
}

static const char *const no_fields[] = {NULL};
static const char *const cost_fields[] = {"memory-kib", "passes", "lanes", NULL};

const struct unlock_method unlock_method_passphrase = {
    .method = SLOT_PASSPHRASE,
    .name = "passphrase",
    .needs_person = true,
    .open = passphrase_open,
    .enroll = passphrase_enroll,
    .asked_fields = no_fields,
    .shown_fields = cost_fields,
};
