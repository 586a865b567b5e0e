/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Slots and helpers as a daemon uses them, by hand:
 *
 *   unlock-driver run OPERATION [NAME=VALUE...]       one request; its key in hex on stdin
 *   unlock-driver add FILE METHOD [NAME=VALUE...]     a slot; makes the file if there is none; what
 * a person would type on stdin unlock-driver unlock FILE                         by any slot
 *   unlock-driver renew FILE NUMBER                   the slot with that number, 0 for the first
 *   unlock-driver remove FILE NUMBER
 *
 * Prints "NAME=VALUE" lines, "key=HEX" or "id=HEX of the master key"; "slot N METHOD: problem" for
 * what did not open; "error CODE: text" and status 1. $UNLOCK_TIMEOUT_MS bounds each method.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/helper_wire.h"
#include "master/unlock.h"

enum { STDIN_MAX = 8192 };

struct driver {
    struct unlock_context context;
    struct secret_buf *typed; /* NULL: nothing */
};

static int
fail(const GError *error)
{
    printf("error %d: %s\n", error->code, error->message);
    return EXIT_FAILURE;
}

static void
print_hex(const char *name, const uint8_t *bytes, size_t len)
{
    printf("%s=", name);
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

static void
print_fields(const struct fields *fields)
{
    for (size_t i = 0; i < fields_count(fields); i++)
        printf("%s=%s\n", fields_name(fields, i), fields_get(fields, fields_name(fields, i)));
}

static bool
put_words(struct fields *fields, char **words, GError **error)
{
    for (; *words; words++) {
        g_auto(GStrv) parts = g_strsplit(*words, "=", 2);

        if (!parts[0] || !parts[1] || !fields_set(fields, parts[0], parts[1], error))
            return false;
    }
    return true;
}

static struct secret_buf *
parse_hex(const struct secret_buf *text)
{
    size_t len = secret_buf_len(text) / 2;
    struct secret_buf *bytes = secret_buf_new(len, NULL);

    for (size_t i = 0; i < len; i++) {
        const uint8_t *at = secret_buf_bytes(text) + 2 * i;

        secret_buf_writable(bytes)[i] =
            (uint8_t)(g_ascii_xdigit_value((char)at[0]) << 4 | g_ascii_xdigit_value((char)at[1]));
    }
    return bytes;
}

static unsigned int
operation_named(const char *name)
{
    for (unsigned int i = 1; i <= HELPER_OPERATION_MAX; i++) {
        if (strcmp(helper_operation_name(i), name) == 0)
            return i;
    }
    return 0;
}

static int
run(const struct driver *driver, char **words, GError **error)
{
    g_autoptr(fields_t) fields = fields_new();
    g_autoptr(secret_buf_t) key = driver->typed ? parse_hex(driver->typed) : NULL;
    struct helper_request request = {
        .operation = words[0] ? operation_named(words[0]) : 0,
        .fields = fields,
        .key = key,
        .timeout_ms = driver->context.timeout_ms,
    };
    g_auto(helper_reply_t) reply = {0};

    if (request.operation == 0 || !put_words(fields, words + 1, error))
        return EXIT_FAILURE;
    if (!helper_run(driver->context.helper, &request, &reply, error))
        return EXIT_FAILURE;
    print_fields(reply.fields);
    if (reply.key)
        print_hex("key", secret_buf_bytes(reply.key), secret_buf_len(reply.key));
    return EXIT_SUCCESS;
}

/* By a slot that needs nobody, and else by what was typed. */
static struct master_key *
open_master(const struct driver *driver, const struct slots *slots, GError **error)
{
    g_autoptr(GArray) attempts = unlock_attempts_new();
    struct master_key *master = unlock_any(&driver->context, slots, NULL, attempts, NULL);

    for (guint i = 0; i < attempts->len; i++) {
        const struct unlock_attempt *attempt = &g_array_index(attempts, struct unlock_attempt, i);
        const struct slot *slot = slots_find(slots, &attempt->slot);

        printf("slot %u %s: %s\n", i, slot_method_name(slot->method),
               attempt->problem ? attempt->problem : "opened");
    }
    return master ? master : unlock_any(&driver->context, slots, driver->typed, NULL, error);
}

static int
unlock(const struct driver *driver, char **words, GError **error)
{
    g_autoptr(slots_t) slots = slots_read(words[0], NULL, error);
    g_autoptr(master_key_t) master = slots ? open_master(driver, slots, error) : NULL;

    if (!master)
        return EXIT_FAILURE;
    print_hex("id", master_key_id(master), MASTER_KEY_ID_SIZE);
    return EXIT_SUCCESS;
}

static int
add(const struct driver *driver, char **words, GError **error)
{
    const struct unlock_method *method =
        words[0] && words[1] ? unlock_method_named(words[1]) : NULL;
    g_autoptr(slot_t) slot = method ? slot_new(method->method, NULL, error) : NULL;
    g_autoptr(slots_t) slots = NULL;
    g_autoptr(master_key_t) master = NULL;
    struct uuid id;

    if (!slot || !put_words(slot->fields, words + 2, error) ||
        !unlock_check_asked(slot->method, slot->fields, error))
        return EXIT_FAILURE;
    if (slots_exists(words[0])) {
        slots = slots_read(words[0], NULL, error);
        master = slots ? open_master(driver, slots, error) : NULL;
    } else {
        master = master_key_new_random(error);
        slots = master ? slots_new(master) : NULL;
    }
    id = slot->id;
    if (!master ||
        !unlock_add_slot(&driver->context, slots, g_steal_pointer(&slot), driver->typed, master,
                         error) ||
        !slots_write(words[0], slots, master, error))
        return EXIT_FAILURE;
    unlock_settle(&driver->context, slots);
    print_fields(slots_find(slots, &id)->fields);
    print_hex("id", master_key_id(master), MASTER_KEY_ID_SIZE);
    return EXIT_SUCCESS;
}

/* Renews or removes one. */
static int
change(const struct driver *driver, char **words, bool is_removal, GError **error)
{
    g_autoptr(slots_t) slots = words[0] && words[1] ? slots_read(words[0], NULL, error) : NULL;
    g_autoptr(master_key_t) master = slots ? open_master(driver, slots, error) : NULL;
    g_autoptr(slot_t) old = NULL;
    guint number = words[0] && words[1] ? (guint)atoi(words[1]) : 0;

    if (!master || number >= slots->slots->len)
        return EXIT_FAILURE;
    old = slot_copy(g_ptr_array_index(slots->slots, number));
    if (is_removal)
        slots_remove(slots, &old->id);
    else if (!unlock_renew_slot(&driver->context, slots, old, driver->typed, master, error))
        return EXIT_FAILURE;
    if (!slots_write(words[0], slots, master, error))
        return EXIT_FAILURE;
    unlock_settle(&driver->context, slots);
    if (is_removal)
        unlock_settle_removed(&driver->context, old);
    else
        print_fields(slots_find(slots, &old->id)->fields);
    return EXIT_SUCCESS;
}

static int
dispatch(const struct driver *driver, char **words, GError **error)
{
    if (words[0] && words[1]) {
        if (strcmp(words[0], "run") == 0)
            return run(driver, words + 1, error);
        if (strcmp(words[0], "add") == 0)
            return add(driver, words + 1, error);
        if (strcmp(words[0], "unlock") == 0)
            return unlock(driver, words + 1, error);
        if (strcmp(words[0], "renew") == 0 || strcmp(words[0], "remove") == 0)
            return change(driver, words + 1, strcmp(words[0], "remove") == 0, error);
    }
    fprintf(stderr, "see the head of unlock-driver.c\n");
    return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(helper_t) helper = helper_start(helper_default_program(), &error);
    g_autoptr(secret_buf_t) typed =
        helper ? secret_buf_read_fd(STDIN_FILENO, STDIN_MAX, &error) : NULL;
    struct driver driver = {.context = {.helper = helper}};
    const char *timeout_ms = g_getenv("UNLOCK_TIMEOUT_MS");
    int status;

    if (!typed)
        return fail(error);
    driver.context.timeout_ms = timeout_ms ? (unsigned int)atoi(timeout_ms) : 0;
    driver.typed = secret_buf_len(typed) > 0 ? typed : NULL;
    status = dispatch(&driver, argv + 1, &error);
    return error ? fail(error) : status;
}
