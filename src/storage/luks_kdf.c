/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: luks_kdf.h.
 */
#include "storage/luks_kdf.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "util/error.h"
#include "util/file.h"

enum {
    ROUNDS_MIN = 1000, /* of libcryptsetup, QEMU and NIST SP 800-132 */
    /* One key is tried for so long; the default of cryptsetup and of qemu-img. */
    TRY_MS = 2000,
    MEASURE_ROUNDS = 100 * 1000,
    MEASURE_ROUNDS_MAX = 6400 * 1000,
    MEASURE_NS_MIN = 150 * 1000 * 1000,
    SCRATCH_BYTES = 4 * 1024 * 1024,
    SCRATCH_KEY_BYTES = 64,
    /* RFC 9106 section 4, second recommended option: never below */
    ARGON2_MEMORY_MIN_KIB = 64 * 1024,
    ARGON2_PASSES_MIN = 4,
    ARGON2_LANES_MAX = 4,
    KIB = 1024,
    NS_PER_MS = 1000 * 1000,
};
static const uint64_t ns_per_s = 1000 * 1000 * 1000;

static GMutex turn;

static bool
has_argon2(struct crypt_device *crypt)
{
    const char *type = crypt_get_type(crypt);
    int count = g_strcmp0(type, CRYPT_LUKS2) == 0 ? crypt_keyslot_max(type) : 0;

    for (int i = 0; i < count; i++) {
        struct crypt_pbkdf_type pbkdf = {NULL};
        crypt_keyslot_info status = crypt_keyslot_status(crypt, i);

        if ((status == CRYPT_SLOT_ACTIVE || status == CRYPT_SLOT_ACTIVE_LAST) &&
            crypt_keyslot_get_pbkdf(crypt, i, &pbkdf) >= 0 && pbkdf.max_memory_kb > 0)
            return true;
    }
    return false;
}

GMutexLocker *
luks_kdf_take_turn(const struct luks_context *context, bool is_argon2)
{
    return is_argon2 || has_argon2(context->crypt) ? g_mutex_locker_new(&turn) : NULL;
}

static uint64_t
thread_time_ns(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * ns_per_s + (uint64_t)now.tv_nsec;
}

static int
set_pbkdf2(struct crypt_device *crypt, const char *hash, unsigned int rounds)
{
    const struct crypt_pbkdf_type pbkdf = {
        .type = CRYPT_KDF_PBKDF2,
        .hash = hash,
        .iterations = rounds,
        .flags = CRYPT_PBKDF_NO_BENCHMARK,
    };

    return crypt_set_pbkdf_type(crypt, &pbkdf);
}

/* Adds a keyslot of `rounds` to a header in memory: *ret_ns of this thread's time. */
static bool
time_keyslot(const struct luks_context *scratch, const char *hash, unsigned int rounds,
             uint64_t *ret_ns)
{
    static const char password[] = "only for measuring";
    uint64_t start;
    int keyslot;

    if (set_pbkdf2(scratch->crypt, hash, rounds) < 0)
        return false;
    start = thread_time_ns();
    keyslot = crypt_keyslot_add_by_volume_key(scratch->crypt, CRYPT_ANY_SLOT, NULL, 0, password,
                                              sizeof(password) - 1);
    if (keyslot < 0)
        return false;
    *ret_ns = thread_time_ns() - start;
    return crypt_keyslot_destroy(scratch->crypt, keyslot) >= 0;
}

/* Rounds of PBKDF2 (for a key of a default volume key's length, which libcryptsetup takes too) that
 * a key is tried in TRY_MS; 0 if they can't be measured. */
static unsigned int
measure_pbkdf2(const char *hash)
{
    g_auto(file_fd) fd = memfd_create("luks-scratch", MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    const struct luks_place place = {.device = path};
    g_auto(luks_context_t) scratch = {NULL};
    struct crypt_params_luks1 params = {.hash = hash};
    uint64_t base_ns;
    uint64_t ns;

    if (fd < 0 || ftruncate(fd, SCRATCH_BYTES) < 0 || !luks_context_init(&scratch, &place, NULL) ||
        set_pbkdf2(scratch.crypt, hash, ROUNDS_MIN) < 0 ||
        crypt_format(scratch.crypt, CRYPT_LUKS1, "aes", "xts-plain64", NULL, NULL,
                     SCRATCH_KEY_BYTES, &params) < 0 ||
        !time_keyslot(&scratch, hash, ROUNDS_MIN, &base_ns))
        return 0;
    for (unsigned int rounds = MEASURE_ROUNDS; rounds <= MEASURE_ROUNDS_MAX; rounds *= 4) {
        if (!time_keyslot(&scratch, hash, rounds, &ns))
            return 0;
        if (ns > base_ns + MEASURE_NS_MIN)
            return (unsigned int)MIN((double)(rounds - ROUNDS_MIN) * TRY_MS * NS_PER_MS /
                                         (double)(ns - base_ns),
                                     (double)G_MAXINT32);
    }
    return 0;
}

/* The same by GnuTLS, with which QEMU makes its keyslots: on processors with instructions for SHA
 * it does twice as many rounds as the library under libcryptsetup, and so would who tries keys. 0
 * as well for a hash that it does not have. */
static unsigned int
measure_gnutls(const char *hash)
{
    static unsigned char password[] = "only for measuring";
    static unsigned char salt[] = "and not secret";
    const gnutls_datum_t password_datum = {password, sizeof(password) - 1};
    const gnutls_datum_t salt_datum = {salt, sizeof(salt) - 1};
    gnutls_mac_algorithm_t mac = gnutls_mac_get_id(hash);
    unsigned char derived[SCRATCH_KEY_BYTES]; /* of no secret */

    for (unsigned int rounds = MEASURE_ROUNDS; mac != 0 && rounds <= MEASURE_ROUNDS_MAX;
         rounds *= 4) {
        uint64_t start = thread_time_ns();
        uint64_t ns;

        if (gnutls_pbkdf2(mac, &password_datum, &salt_datum, rounds, derived, sizeof(derived)) < 0)
            return 0;
        ns = thread_time_ns() - start;
        if (ns > MEASURE_NS_MIN)
            return (unsigned int)MIN((double)rounds * TRY_MS * NS_PER_MS / (double)ns,
                                     (double)G_MAXINT32);
    }
    return 0;
}

static int
choose_pbkdf2(struct crypt_device *crypt, const char *hash)
{
    /* Whatever disturbs a measurement makes it smaller: the larger of two. */
    unsigned int once = measure_gnutls(hash);
    unsigned int again = measure_gnutls(hash);
    unsigned int rounds = MAX(once, again);

    if (rounds == 0)
        rounds = measure_pbkdf2(hash);
    /* Not measurable: libcryptsetup's measurement decides. */
    return rounds == 0 ? crypt_set_pbkdf_type(crypt, crypt_get_pbkdf_default(CRYPT_LUKS1))
                       : set_pbkdf2(crypt, hash, MAX(rounds, ROUNDS_MIN));
}

/* As libcryptsetup measures it, but not below the floor, however busy the machine is. */
static int
choose_argon2(struct crypt_device *crypt)
{
    const struct crypt_pbkdf_type *standard = crypt_get_pbkdf_default(CRYPT_LUKS2);
    static const char text[] = "only for measuring.............";
    struct crypt_pbkdf_type pbkdf;
    uint64_t memory_kib = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / KIB;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (!standard || strcmp(standard->type, CRYPT_KDF_PBKDF2) == 0) /* FIPS */
        return choose_pbkdf2(crypt, "sha256");
    pbkdf = *standard;
    pbkdf.max_memory_kb = (uint32_t)MIN(pbkdf.max_memory_kb, memory_kib / 2);
    pbkdf.parallel_threads = (uint32_t)CLAMP(processors, 1, ARGON2_LANES_MAX);
    if (crypt_benchmark_pbkdf(crypt, &pbkdf, text, sizeof(text) - 1, text, sizeof(text) - 1,
                              SCRATCH_KEY_BYTES, NULL, NULL) < 0)
        pbkdf.iterations = pbkdf.max_memory_kb = 0;
    pbkdf.iterations = MAX(pbkdf.iterations, ARGON2_PASSES_MIN);
    pbkdf.max_memory_kb = MAX(pbkdf.max_memory_kb, ARGON2_MEMORY_MIN_KIB);
    pbkdf.time_ms = 0;
    pbkdf.flags = CRYPT_PBKDF_NO_BENCHMARK;
    return crypt_set_pbkdf_type(crypt, &pbkdf);
}

bool
luks_kdf_choose(const struct luks_context *context, enum luks_type type, enum luks_kdf kdf,
                const char *hash, GError **error)
{
    struct crypt_device *crypt = context->crypt;
    int result;

    if (kdf == LUKS_KDF_FULL_ENTROPY)
        result = set_pbkdf2(crypt, hash, ROUNDS_MIN);
    else
        result = type == LUKS_2 ? choose_argon2(crypt) : choose_pbkdf2(crypt, hash);
    if (result >= 0)
        return true;
    luks_context_set_error(context, result, "choosing the cost of a keyslot", error);
    return false;
}
