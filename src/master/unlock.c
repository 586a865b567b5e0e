/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of methods, and the trying, making and settling of slots, as unlock.h says.
 */
#include "master/unlock.h"

#include <string.h>

#include "master/unlock_methods.h"
#include "util/error.h"
#include "util/log.h"

static const struct unlock_method *const methods[] = {
    &unlock_method_key_file,   &unlock_method_credential, &unlock_method_recovery,
    &unlock_method_passphrase, &unlock_method_tpm2,       &unlock_method_pkcs11,
};

const struct unlock_method *
unlock_method_of(enum slot_method method)
{
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        if (methods[i]->method == method)
            return methods[i];
    }
    return NULL;
}

const struct unlock_method *
unlock_method_named(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    }
    return NULL;
}

static const struct unlock_method *
need_method(enum slot_method method, GError **error)
{
    const struct unlock_method *known = unlock_method_of(method);

    if (!known)
        error_set(error, ERROR_FROM_SECRET, ERROR_CONFIG_UNSUPPORTED,
                  "this program does not know the unlock method %u; use the newer virtcrypt that "
                  "made the slot",
                  (unsigned int)method);
    return known;
}

bool
unlock_check_asked(enum slot_method method, const struct fields *fields, GError **error)
{
    const struct unlock_method *known = need_method(method, error);

    for (size_t i = 0; known && i < fields_count(fields); i++) {
        if (!g_strv_contains(known->asked_fields, fields_name(fields, i))) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "the unlock method '%s' has no parameter '%s'", known->name,
                      fields_name(fields, i));
            return false;
        }
    }
    return known != NULL;
}

/* ---- opening ---- */

struct master_key *
unlock_slot(const struct unlock_context *context, const struct slots *slots,
            const struct slot *slot, const struct secret_buf *secret, GError **error)
{
    const struct unlock_method *method = need_method(slot->method, error);
    g_autoptr(secret_buf_t) slot_key = NULL;

    if (!method)
        return NULL;
    slot_key = method->open(context, slot, secret, error);
    return slot_key ? slots_unwrap(slots, slot, slot_key, error) : NULL;
}

static void
clear_attempt(gpointer data)
{
    g_free(((struct unlock_attempt *)data)->problem);
}

GArray *
unlock_attempts_new(void)
{
    GArray *attempts = g_array_new(FALSE, TRUE, sizeof(struct unlock_attempt));

    g_array_set_clear_func(attempts, clear_attempt);
    return attempts;
}

void
unlock_attempts_add(GArray *attempts, const struct slot *slot, const GError *problem)
{
    const struct unlock_attempt attempt = {slot->id, problem ? error_describe(problem) : NULL};

    g_array_append_val(attempts, attempt);
}

static bool
is_candidate(const struct slot *slot, const struct secret_buf *secret)
{
    const struct unlock_method *method = unlock_method_of(slot->method);

    /* An unknown method is tried with the others, so that its problem is told. */
    return (method && method->needs_person) == (secret != NULL);
}

static void
refuse_all(const GString *problems, const struct secret_buf *secret, GError **error)
{
    if (problems->len > 0)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "no slot unlocks the master key: %s", problems->str);
    else if (secret)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key has no slot for a passphrase");
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the master key has no slot that opens without a person; run 'virtcrypt master "
                  "unlock'");
}

struct master_key *
unlock_any(const struct unlock_context *context, const struct slots *slots,
           const struct secret_buf *secret, GArray *attempts, GError **error)
{
    g_autoptr(GString) problems = g_string_new(NULL);

    for (guint i = 0; i < slots->slots->len; i++) {
        const struct slot *slot = slots->slots->pdata[i];
        g_autofree char *description = slot_describe(slot);
        g_autoptr(GError) problem = NULL;
        g_autoptr(master_key_t) master = NULL;

        if (!is_candidate(slot, secret))
            continue;
        if (context->cancel && g_atomic_int_get(context->cancel) != 0) {
            error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_ABORTED,
                      "unlocking the master key was broken off");
            return NULL;
        }
        master = unlock_slot(context, slots, slot, secret, &problem);
        if (attempts)
            unlock_attempts_add(attempts, slot, problem);
        if (master)
            return g_steal_pointer(&master);
        g_string_append_printf(problems, "%s%s: %s", problems->len > 0 ? "; " : "", description,
                               problem->message);
    }
    refuse_all(problems, secret, error);
    return NULL;
}

/* ---- making ---- */

static void
settle(const struct unlock_context *context, const struct slot *slot, enum unlock_outcome outcome)
{
    const struct unlock_method *method = unlock_method_of(slot->method);
    g_autofree char *description = slot_describe(slot);
    g_autoptr(GError) problem = NULL;

    if (method && method->settle && !method->settle(context, slot, outcome, &problem))
        log_error("%s of the master key: %s%s", description, problem->message,
                  outcome == UNLOCK_REMOVED ? "; what it has elsewhere is left: take that away"
                                            : "");
}

/* Before a slot is enrolled, so that it takes nothing from another, and after, when its fields are
 * what they will be. */
static bool
check_unique(const struct slots *slots, const struct slot *slot, const struct unlock_method *method,
             GError **error)
{
    const char *value =
        method->unique_field ? fields_get(slot->fields, method->unique_field) : NULL;

    for (guint i = 0; value && i < slots->slots->len; i++) {
        const struct slot *other = slots->slots->pdata[i];

        if (other->method == slot->method && !uuid_equal(&other->id, &slot->id) &&
            g_strcmp0(fields_get(other->fields, method->unique_field), value) == 0) {
            g_autofree char *description = slot_describe(other);

            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "the %s of the master key has the same %s, '%s'; name another one, or remove "
                      "that slot first ('virtcrypt master remove-slot')",
                      description, method->unique_field, value);
            return false;
        }
    }
    return true;
}

/* Opens it as a start would. */
static bool
prove(const struct unlock_context *context, const struct slots *slots, const struct slot *slot,
      const struct secret_buf *secret, GError **error)
{
    g_autoptr(master_key_t) opened = unlock_slot(context, slots, slot, secret, error);

    if (opened)
        return true;
    g_prefix_error(error, "the new slot does not open: ");
    return false;
}

static bool
enroll_and_put(const struct unlock_context *context, struct slots *slots, struct slot *take_slot,
               const struct secret_buf *secret, const struct master_key *master, GError **error)
{
    g_autoptr(slot_t) slot = take_slot;
    const struct unlock_method *method = need_method(slot->method, error);
    g_autoptr(secret_buf_t) slot_key = NULL;
    g_autoptr(slots_t) tried = NULL;

    g_assert(master_key_equal_id(master, slots->master_key_id));
    if (!method || !check_unique(slots, slot, method, error))
        return false;
    slot_key = method->enroll(context, slot, secret, error);
    if (!slot_key)
        return false;
    tried = slots_copy(slots);
    if (check_unique(slots, slot, method, error) && slot_wrap(slot, slot_key, master, error) &&
        prove(context, slots, slot, secret, error) && slots_put(tried, slot_copy(slot), error)) {
        GPtrArray *before = slots->slots;

        slots->slots = g_steal_pointer(&tried->slots);
        tried->slots = before;
        return true;
    }
    settle(context, slot, UNLOCK_ABANDONED);
    return false;
}

bool
unlock_add_slot(const struct unlock_context *context, struct slots *slots, struct slot *take_slot,
                const struct secret_buf *secret, const struct master_key *master, GError **error)
{
    return enroll_and_put(context, slots, take_slot, secret, master, error);
}

bool
unlock_renew_slot(const struct unlock_context *context, struct slots *slots, const struct slot *old,
                  const struct secret_buf *secret, const struct master_key *master, GError **error)
{
    struct unlock_context renewing = *context;

    renewing.is_renewing = true;
    return enroll_and_put(&renewing, slots, slot_copy(old), secret, master, error);
}

void
unlock_settle(const struct unlock_context *context, const struct slots *slots)
{
    for (guint i = 0; i < slots->slots->len; i++)
        settle(context, slots->slots->pdata[i], UNLOCK_COUNTS);
}

void
unlock_settle_removed(const struct unlock_context *context, const struct slot *slot)
{
    settle(context, slot, UNLOCK_REMOVED);
}

void
unlock_settle_abandoned(const struct unlock_context *context, const struct slot *slot,
                        bool was_renewed)
{
    struct unlock_context renewing = *context;

    renewing.is_renewing = was_renewed;
    settle(&renewing, slot, UNLOCK_ABANDONED);
}
