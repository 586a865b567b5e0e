/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a program that makes and changes slots of a master key step by step, for the crash tests.
 *
 *   slots-steps ROOT STEP ...
 *
 * The slots are in ROOT/master.slots: a key file ROOT/key, and a recovery slot. A STEP is "make",
 * "add" and "remove" (a slot with the key file ROOT/second), "rotate" (a new master key in all
 * slots), "forget" (the master key of before) or "open", which does what a start does. Each step
 * but make begins as a start does.
 *
 * Before a step changes anything it is told what the state will be, "will ID COUNT PREVIOUS"; what
 * became of it is "done" or "error TEXT", both after the monotonic clock's nanoseconds; "open"
 * tells "is ID COUNT PREVIOUS".
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "master/recovery_text.h"
#include "master/unlock.h"
#include "util/error.h"

enum { RECOVERY_BYTE = 0x5a };

struct program {
    struct unlock_context context;
    char *slots_path;
    char *key_path;
    char *second_path;
    struct secret_buf *recovery;
    struct slots *slots;       /* of the last start */
    struct master_key *master; /* likewise */
};

static void
print_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%lld%09ld ", (long long)now.tv_sec, now.tv_nsec);
}

static void
report(const GError *error)
{
    print_time();
    printf("%s%s\n", error ? "error " : "done", error ? error->message : "");
    fflush(stdout);
}

static void
print_id(const uint8_t *id)
{
    for (size_t i = 0; i < MASTER_KEY_ID_SIZE; i++)
        printf("%02x", id[i]);
}

static void
print_state(const char *word, const struct slots *slots)
{
    print_time();
    printf("%s ", word);
    print_id(slots->master_key_id);
    printf(" %u ", slots->slots->len);
    if (slots->has_previous)
        print_id(slots->previous_id);
    else
        printf("-");
    printf("\n");
    fflush(stdout);
}

/* ---- a start ---- */

static bool
check_recovery(const struct program *program, GError **error)
{
    g_autoptr(master_key_t) opened =
        unlock_any(&program->context, program->slots, program->recovery, NULL, error);

    return opened != NULL;
}

static bool
check_previous(const struct program *program, GError **error)
{
    g_autoptr(master_key_t) previous = NULL;

    if (!program->slots->has_previous)
        return true;
    previous = slots_open_previous(program->slots, program->master, error);
    return previous != NULL;
}

static bool
start(struct program *program, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;

    g_clear_pointer(&program->slots, slots_free);
    g_clear_pointer(&program->master, master_key_free);
    program->slots = slots_read(program->slots_path, &bytes, error);
    if (!program->slots)
        return false;
    program->master = unlock_any(&program->context, program->slots, NULL, NULL, error);
    if (!program->master || !slots_authenticate(g_bytes_get_data(bytes, NULL),
                                                g_bytes_get_size(bytes), program->master, error))
        return false;
    unlock_settle(&program->context, program->slots);
    return check_recovery(program, error) && check_previous(program, error);
}

/* ---- steps ---- */

static bool
add_key_file(struct program *program, struct slots *slots, const char *path,
             const struct master_key *master, GError **error)
{
    struct slot *slot = slot_new(SLOT_KEY_FILE, NULL, error);

    g_assert_true(fields_set(slot->fields, "path", path, NULL));
    return unlock_add_slot(&program->context, slots, slot, NULL, master, error);
}

static bool
put(struct program *program, struct slots *slots, const struct master_key *master, GError **error)
{
    if (!slots_write(program->slots_path, slots, master, error))
        return false;
    unlock_settle(&program->context, slots);
    return true;
}

static bool
step_make(struct program *program, GError **error)
{
    g_autoptr(master_key_t) master = master_key_new_random(error);
    g_autoptr(slots_t) slots = slots_new(master);

    if (!add_key_file(program, slots, program->key_path, master, error) ||
        !unlock_add_slot(&program->context, slots, slot_new(SLOT_RECOVERY, "paper", NULL),
                         program->recovery, master, error))
        return false;
    print_state("will", slots);
    return put(program, slots, master, error);
}

static bool
step_add(struct program *program, GError **error)
{
    g_autoptr(slots_t) slots = slots_copy(program->slots);

    if (!add_key_file(program, slots, program->second_path, program->master, error))
        return false;
    print_state("will", slots);
    return put(program, slots, program->master, error);
}

static bool
step_remove(struct program *program, GError **error)
{
    g_autoptr(slots_t) slots = slots_copy(program->slots);
    g_autoptr(slot_t) last = slot_copy(slots->slots->pdata[slots->slots->len - 1]);

    if (last->method != SLOT_KEY_FILE || slots->slots->len < 2) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET, "there is no second key file");
        return false;
    }
    slots_remove(slots, &last->id);
    print_state("will", slots);
    if (!put(program, slots, program->master, error))
        return false;
    unlock_settle_removed(&program->context, last);
    return true;
}

static bool
step_rotate(struct program *program, GError **error)
{
    g_autoptr(master_key_t) master = master_key_new_random(error);
    g_autoptr(slots_t) slots = slots_new(master);

    slots->sequence = program->slots->sequence;
    for (guint i = 0; i < program->slots->slots->len; i++) {
        const struct slot *old = program->slots->slots->pdata[i];

        if (!unlock_renew_slot(&program->context, slots, old,
                               old->method == SLOT_RECOVERY ? program->recovery : NULL, master,
                               error))
            return false;
    }
    if (!slots_set_previous(slots, master, program->master, error))
        return false;
    print_state("will", slots);
    return put(program, slots, master, error);
}

static bool
step_forget(struct program *program, GError **error)
{
    g_autoptr(slots_t) slots = slots_copy(program->slots);

    slots->has_previous = false;
    print_state("will", slots);
    return put(program, slots, program->master, error);
}

static bool
step_open(struct program *program, GError **error)
{
    print_state("is", program->slots);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(struct program *program, GError **error);
} steps[] = {
    {"make", step_make},     {"add", step_add},       {"remove", step_remove},
    {"rotate", step_rotate}, {"forget", step_forget}, {"open", step_open},
};

static void
run_step(struct program *program, const char *name)
{
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (strcmp(steps[i].name, name) != 0)
            continue;
        if (steps[i].run == step_make || start(program, &error))
            steps[i].run(program, &error);
        report(error);
        return;
    }
    g_error("'%s' is no step", name);
}

int
main(int argc, char **argv)
{
    g_autoptr(secret_buf_t) bits = secret_buf_new(RECOVERY_SIZE, NULL);
    struct program program = {0};

    if (argc < 2)
        return 2;
    memset(secret_buf_writable(bits), RECOVERY_BYTE, RECOVERY_SIZE);
    program.recovery = recovery_text_format(bits, NULL);
    program.slots_path = g_build_filename(argv[1], "master.slots", NULL);
    program.key_path = g_build_filename(argv[1], "key", NULL);
    program.second_path = g_build_filename(argv[1], "second", NULL);
    for (int i = 2; i < argc; i++)
        run_step(&program, argv[i]);
    slots_free(program.slots);
    master_key_free(program.master);
    secret_buf_free(program.recovery);
    g_free(program.slots_path);
    g_free(program.key_path);
    g_free(program.second_path);
    return 0;
}
