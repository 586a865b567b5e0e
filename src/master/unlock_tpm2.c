/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the unlock method "tpm2": a random slot key, sealed by this host's TPM for as long as the
 * chosen PCRs have the values of now. With it comes a counter in the TPM (field "counter", its
 * handle), in which the index of generations is anchored; it lives as long as the slot counts.
 */
#include <string.h>

#include "master/unlock_ask.h"
#include "master/unlock_methods.h"
#include "util/error.h"
#include "util/log.h"

#define PCRS_FIELD      "pcrs"
#define BANK_FIELD      "bank"
#define COUNTER_FIELD   "counter"
#define VALUES_FIELD    "pcr-values"
#define DEFAULT_PCRS    "7"
#define DEFAULT_BANK    "sha256"
#define WITHOUT_COUNTER "none"

enum { VALUES_MAX = 24 * 64 };

static struct secret_buf *
tpm2_open(const struct unlock_context *context, const struct slot *slot,
          const struct secret_buf *secret, GError **error)
{
    return unlock_ask_key(context, HELPER_TPM2_UNSEAL, slot->fields, NULL, error);
}

static bool
set_default(struct fields *fields, const char *name, const char *value, GError **error)
{
    return fields_get(fields, name) || fields_set(fields, name, value, error);
}

/* Firmware that measures nothing leaves zeros: the slot then opens however the host was started. */
static void
warn_of_unused_pcrs(const struct slot *slot)
{
    g_autoptr(GBytes) values = fields_get_bytes(slot->fields, VALUES_FIELD, VALUES_MAX, NULL);
    const uint8_t *bytes = values ? g_bytes_get_data(values, NULL) : NULL;
    size_t len = values ? g_bytes_get_size(values) : 0;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0)
            return;
    }
    log_warn("nothing was measured into the chosen PCRs (%s) of the TPM: such a slot opens however "
             "this host is started",
             fields_get(slot->fields, PCRS_FIELD));
}

static bool
seal(const struct unlock_context *context, struct slot *slot, const struct secret_buf *slot_key,
     GError **error)
{
    static const char *const names[] = {"private",      "public",  VALUES_FIELD,
                                        "primary-type", "primary", NULL};
    g_auto(helper_reply_t) reply = {0};

    if (!unlock_ask(context, HELPER_TPM2_SEAL, slot->fields, slot_key, &reply, error) ||
        !unlock_ask_take_fields(&reply, names, slot->fields, error))
        return false;
    warn_of_unused_pcrs(slot);
    return true;
}

/* A slot without one is worth having: what is missed is that a whole old store is noticed. */
static bool
make_counter(const struct unlock_context *context, struct slot *slot, GError **error)
{
    g_autoptr(fields_t) none = fields_new();
    g_autoptr(GError) problem = NULL;
    g_auto(helper_reply_t) reply = {0};

    if (unlock_ask(context, HELPER_TPM2_NV_DEFINE, none, NULL, &reply, &problem))
        return fields_set(slot->fields, COUNTER_FIELD, fields_get(reply.fields, "handle"), error);
    log_warn("the TPM slot gets no counter, so a store that was put back as a whole from a backup "
             "will not be noticed: %s",
             problem->message);
    return fields_set(slot->fields, COUNTER_FIELD, WITHOUT_COUNTER, error);
}

/* What an operator may ask for is none at all; a handle would be somebody else's. A renewed slot
 * keeps what it has. */
static bool
check_counter(const struct unlock_context *context, const struct slot *slot, GError **error)
{
    const char *counter = fields_get(slot->fields, COUNTER_FIELD);

    if (!counter || context->is_renewing || strcmp(counter, WITHOUT_COUNTER) == 0)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "the parameter '%s' of a tpm2 slot is '%s' or left out", COUNTER_FIELD,
              WITHOUT_COUNTER);
    return false;
}

static struct secret_buf *
tpm2_enroll(const struct unlock_context *context, struct slot *slot,
            const struct secret_buf *secret, GError **error)
{
    g_autoptr(secret_buf_t) slot_key = secret_buf_new_random(SLOT_KEY_SIZE, error);

    if (!slot_key || !check_counter(context, slot, error) ||
        !set_default(slot->fields, PCRS_FIELD, DEFAULT_PCRS, error) ||
        !set_default(slot->fields, BANK_FIELD, DEFAULT_BANK, error) ||
        !seal(context, slot, slot_key, error) ||
        (!fields_get(slot->fields, COUNTER_FIELD) && !make_counter(context, slot, error)))
        return NULL;
    return g_steal_pointer(&slot_key);
}

/* The counter goes with the slot; one that was only to be renewed still has it. */
static bool
tpm2_settle(const struct unlock_context *context, const struct slot *slot,
            enum unlock_outcome outcome, GError **error)
{
    const char *counter = fields_get(slot->fields, COUNTER_FIELD);
    g_autoptr(fields_t) fields = NULL;
    g_auto(helper_reply_t) reply = {0};
    g_autoptr(GError) problem = NULL;

    if (outcome == UNLOCK_COUNTS || (outcome == UNLOCK_ABANDONED && context->is_renewing) ||
        !counter || strcmp(counter, WITHOUT_COUNTER) == 0)
        return true;
    fields = fields_new();
    if (!fields_set(fields, "handle", counter, error))
        return false;
    if (unlock_ask(context, HELPER_TPM2_NV_REMOVE, fields, NULL, &reply, &problem) ||
        error_is(problem, ERROR_NO_SECRET))
        return true;
    g_propagate_prefixed_error(error, g_steal_pointer(&problem),
                               "its counter %s stays in the TPM: ", counter);
    return false;
}

static const char *const asked_fields[] = {PCRS_FIELD, BANK_FIELD, COUNTER_FIELD, NULL};

const struct unlock_method unlock_method_tpm2 = {
    .method = SLOT_TPM2,
    .name = "tpm2",
    .open = tpm2_open,
    .enroll = tpm2_enroll,
    .settle = tpm2_settle,
    .asked_fields = asked_fields,
    .shown_fields = asked_fields,
};
