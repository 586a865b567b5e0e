/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a secret service that rotates its key-encryption generation without delay, for tests.
 */
#pragma once

#include "owned.h"
#include "patience.h"
#include "secret/generations.h"
#include "secret/sealed.h"

enum { ROTATION_BOUND_MS = 20000 };

static inline void
set_up(struct custodian *test, gconstpointer unused)
{
    custodian_init(test);
    test->rotation_delay = 0;
}

static inline void
tear_down(struct custodian *test, gconstpointer unused)
{
    custodian_clear(test);
}

static inline struct secret_generation_status
status_of(const struct custodian *test)
{
    struct secret_generation_status status;

    secret_service_get_generation(test->service, &status);
    return status;
}

static inline bool
has_ended(const struct custodian *test, uint64_t number)
{
    const struct secret_generation_status status = status_of(test);

    return status.number == number && !status.is_rotating;
}

static inline bool
has_problem(const struct custodian *test, uint64_t number)
{
    return status_of(test).problem != NULL;
}

/* What is waited for while the loop runs. */
struct awaited {
    struct custodian *test;
    bool (*is_there)(const struct custodian *test, uint64_t number);
    uint64_t number;
    void (*each_time)(struct custodian *test); /* or NULL */
    gint64 until_us;
};

static inline void
look(void *opaque)
{
    struct awaited *awaited = opaque;

    if (awaited->each_time)
        awaited->each_time(awaited->test);
    g_assert_cmpint(g_get_monotonic_time(), <, awaited->until_us);
    if (awaited->is_there(awaited->test, awaited->number))
        loop_quit(awaited->test->loop);
}

/* A loop has one run: a test restarts before it waits again. */
static inline void
await(struct custodian *test, bool (*is_there)(const struct custodian *test, uint64_t number),
      uint64_t number, void (*each_time)(struct custodian *test))
{
    struct awaited awaited = {test, is_there, number, each_time,
                              g_get_monotonic_time() +
                                  1000 * (gint64)patient_ms(ROTATION_BOUND_MS)};
    struct loop_timer *timer = loop_timer_new(test->loop, 1, look, &awaited);

    loop_run(test->loop);
    loop_timer_free(timer);
    g_assert_true(is_there(test, number));
}

static inline void
await_generation(struct custodian *test, uint64_t number)
{
    await(test, has_ended, number, NULL);
    g_assert_null(status_of(test).problem);
    g_assert_cmpuint(status_of(test).left, ==, 0);
}

/* A new loop and a new daemon. */
static inline void
restart(struct custodian *test)
{
    g_autoptr(GError) error = NULL;

    custodian_close(test);
    loop_free(test->loop);
    test->loop = loop_new(&error);
    g_assert_no_error(error);
    custodian_open(test);
}

/* Two secrets with values. */
static inline void
prepare_two(struct custodian *test)
{
    custodian_open(test);
    define(test, UUID_1 " volume /a private");
    set_value(test, UUID_1, "first");
    define(test, UUID_2 " volume /b");
    set_value(test, UUID_2, "second");
}

static inline GBytes *
back_up(struct custodian *test, const char *name)
{
    GBytes *bytes = folder_get(&test->secrets, name);

    g_assert_nonnull(bytes);
    return bytes;
}

static inline void
put_back(struct custodian *test, const char *name, GBytes *bytes)
{
    folder_put(&test->secrets, name, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}
