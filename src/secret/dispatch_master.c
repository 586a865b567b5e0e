/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of the program virtcrypt_master. All but the status are for local root (in a
 * session: its user), for itself; what they ask for is done in a thread, and answered afterwards.
 */
#include <string.h>

#include "secret/dispatch.h"
#include "secret/service_master.h"
#include "util/error.h"

static struct uuid
to_uuid(const uint8_t *bytes)
{
    struct uuid uuid;

    memcpy(uuid.bytes, bytes, sizeof(uuid.bytes));
    return uuid;
}

/* What a person typed; NULL: nothing. */
static struct secret_buf *
take_secret(struct secret_buf **from)
{
    if (!*from || secret_buf_len(*from) == 0)
        return NULL;
    return g_steal_pointer(from);
}

/* ---- what a slot is told as ---- */

/* Those of its fields that a person may see. */
static void
describe_fields(const struct slot *slot, struct virtcrypt_master_slot *ret_slot)
{
    const struct unlock_method *method = unlock_method_of(slot->method);
    const char *const *name = method ? method->shown_fields : NULL;

    ret_slot->fields = g_new0(struct virtcrypt_master_field, VIRTCRYPT_MASTER_FIELDS_MAX);
    for (; name && *name && ret_slot->fields_len < VIRTCRYPT_MASTER_FIELDS_MAX; name++) {
        struct virtcrypt_master_field *field = &ret_slot->fields[ret_slot->fields_len];
        const char *value = fields_get(slot->fields, *name);

        if (!value)
            continue;
        field->name = g_strdup(*name);
        field->value = method->show ? method->show(value) : g_strdup(value);
        ret_slot->fields_len++;
    }
}

static void
describe_slot(const struct master_slot_state *state, struct virtcrypt_master_slot *ret_slot)
{
    const struct slot *slot = state->slot;
    const struct unlock_method *method = unlock_method_of(slot->method);

    memcpy(ret_slot->id, slot->id.bytes, sizeof(ret_slot->id));
    ret_slot->method = g_strdup(method ? method->name : "unknown");
    ret_slot->label = g_strdup(slot->label ? slot->label : "");
    ret_slot->created = slot->created;
    ret_slot->needs_person = method && method->needs_person;
    ret_slot->is_opener = state->is_opener;
    ret_slot->problem = g_strdup(state->problem);
    describe_fields(slot, ret_slot);
}

static enum rpc_outcome
status(struct rpc_call *call, void *opaque, struct virtcrypt_master_status_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct master_status status;

    secret_service_get_master(dispatch->service, &status);
    ret->locked = status.locked_reason != NULL;
    ret->locked_reason = g_strdup(status.locked_reason);
    if (status.key_id) {
        ret->key_id_len = MASTER_KEY_ID_SIZE;
        ret->key_id = g_memdup2(status.key_id, MASTER_KEY_ID_SIZE);
    }
    ret->is_rotating = status.is_rotating;
    ret->left = status.left;
    ret->problem = g_strdup(status.slots_problem ? status.slots_problem : status.problem);
    ret->rollback = g_strdup(status.rollback);
    ret->slots_len = MIN(status.slots->len, VIRTCRYPT_MASTER_SLOTS_MAX);
    ret->slots = g_new0(struct virtcrypt_master_slot, ret->slots_len);
    for (uint32_t i = 0; i < ret->slots_len; i++)
        describe_slot(&g_array_index(status.slots, struct master_slot_state, i), &ret->slots[i]);
    master_status_clear(&status);
    return RPC_DONE;
}

/* ---- what is answered later ---- */

static void
on_done(void *opaque, const struct slot *slot, const GError *error)
{
    struct rpc_call *call = opaque;

    if (error)
        rpc_call_fail(call, g_error_copy(error));
    else
        rpc_call_reply(call);
}

static void
on_unlocked(void *opaque, const struct slot *slot, const GError *error)
{
    struct virtcrypt_master_unlock_ret *ret = rpc_call_get_ret(opaque);

    if (!error && slot)
        memcpy(ret->slot, slot->id.bytes, sizeof(ret->slot));
    on_done(opaque, slot, error);
}

static void
on_added(void *opaque, const struct slot *slot, const GError *error)
{
    const struct master_slot_state state = {.slot = slot};
    struct virtcrypt_master_add_slot_ret *ret = rpc_call_get_ret(opaque);

    if (!error)
        describe_slot(&state, &ret->slot);
    on_done(opaque, slot, error);
}

static enum rpc_outcome
unlock(struct rpc_call *call, void *opaque, struct virtcrypt_master_unlock_args *args,
       struct virtcrypt_master_unlock_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    struct uuid slot;

    if (!dispatch_check_local_root(dispatch, call, "unlock the master key", error))
        return RPC_FAILED;
    if (args->slot)
        slot = to_uuid(args->slot);
    secret_service_unlock(dispatch->service, args->slot ? &slot : NULL,
                          take_secret(&args->passphrase), on_unlocked, call);
    return RPC_LATER;
}

static enum rpc_outcome
lock(struct rpc_call *call, void *opaque, GError **error)
{
    struct dispatch *dispatch = opaque;

    if (!dispatch_check_local_root(dispatch, call, "lock the master key", error))
        return RPC_FAILED;
    secret_service_lock(dispatch->service, on_done, call);
    return RPC_LATER;
}

static struct fields *
to_fields(const struct virtcrypt_master_field *from, uint32_t count, GError **error)
{
    g_autoptr(fields_t) fields = fields_new();

    for (uint32_t i = 0; i < count; i++) {
        if (!fields_set(fields, from[i].name, from[i].value, error))
            return NULL;
    }
    return g_steal_pointer(&fields);
}

static char *
list_methods(void)
{
    GString *names = g_string_new(NULL);

    for (unsigned int number = SLOT_KEY_FILE; number <= SLOT_RECOVERY; number++) {
        const struct unlock_method *method = unlock_method_of(number);

        if (method)
            g_string_append_printf(names, "%s%s", names->len > 0 ? ", " : "", method->name);
    }
    return g_string_free(names, FALSE);
}

static enum rpc_outcome
add_slot(struct rpc_call *call, void *opaque, struct virtcrypt_master_add_slot_args *args,
         struct virtcrypt_master_add_slot_ret *ret, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct unlock_method *method = unlock_method_named(args->method);
    struct master_wanted wanted = {.label = args->label};

    if (!dispatch_check_local_root(dispatch, call, "add a slot to the master key", error))
        return RPC_FAILED;
    if (!method) {
        g_autofree char *names = list_methods();

        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "there is no unlock method '%s'; there are: %s", args->method, names);
        return RPC_FAILED;
    }
    wanted.fields = to_fields(args->fields, args->fields_len, error);
    if (!wanted.fields)
        return RPC_FAILED;
    wanted.method = method->method;
    wanted.secret = take_secret(&args->passphrase);
    secret_service_add_slot(dispatch->service, &wanted, on_added, call);
    return RPC_LATER;
}

static enum rpc_outcome
remove_slot(struct rpc_call *call, void *opaque, struct virtcrypt_master_remove_slot_args *args,
            GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid slot = to_uuid(args->slot);

    if (!dispatch_check_local_root(dispatch, call, "remove a slot of the master key", error))
        return RPC_FAILED;
    secret_service_remove_slot(dispatch->service, &slot, take_secret(&args->passphrase), on_done,
                               call);
    return RPC_LATER;
}

static enum rpc_outcome
test_slot(struct rpc_call *call, void *opaque, struct virtcrypt_master_test_slot_args *args,
          GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid slot = to_uuid(args->slot);

    if (!dispatch_check_local_root(dispatch, call, "test a slot of the master key", error))
        return RPC_FAILED;
    secret_service_test_slot(dispatch->service, &slot, take_secret(&args->passphrase), on_done,
                             call);
    return RPC_LATER;
}

static enum rpc_outcome
change_passphrase(struct rpc_call *call, void *opaque,
                  struct virtcrypt_master_change_passphrase_args *args, GError **error)
{
    struct dispatch *dispatch = opaque;
    const struct uuid slot = to_uuid(args->slot);

    if (!dispatch_check_local_root(dispatch, call, "change a passphrase of the master key", error))
        return RPC_FAILED;
    secret_service_change_passphrase(dispatch->service, &slot, take_secret(&args->old_passphrase),
                                     take_secret(&args->new_passphrase), on_done, call);
    return RPC_LATER;
}

static void
clear_answer(void *element)
{
    struct master_answer *answer = element;

    g_clear_pointer(&answer->secret, secret_buf_free);
}

static GArray *
take_answers(struct virtcrypt_master_answer *from, uint32_t count)
{
    GArray *answers = g_array_new(FALSE, FALSE, sizeof(struct master_answer));

    g_array_set_clear_func(answers, clear_answer);
    for (uint32_t i = 0; i < count; i++) {
        const struct master_answer answer = {to_uuid(from[i].slot),
                                             take_secret(&from[i].passphrase)};

        g_array_append_val(answers, answer);
    }
    return answers;
}

static enum rpc_outcome
rotate(struct rpc_call *call, void *opaque, struct virtcrypt_master_rotate_args *args,
       GError **error)
{
    struct dispatch *dispatch = opaque;
    g_autofree struct uuid *remove = g_new(struct uuid, args->remove_len);
    g_autoptr(GArray) answers = NULL;
    struct master_rotation rotation = {args->reseal, NULL, remove, args->remove_len};

    if (!dispatch_check_local_root(dispatch, call, "rotate the master key", error))
        return RPC_FAILED;
    for (uint32_t i = 0; i < args->remove_len; i++)
        remove[i] = to_uuid(args->remove[i]);
    answers = take_answers(args->answers, args->answers_len);
    rotation.answers = answers;
    secret_service_rotate_master(dispatch->service, &rotation, on_done, call);
    return RPC_LATER;
}

const struct virtcrypt_master_handlers dispatch_master_handlers = {
    .status = status,
    .unlock = unlock,
    .lock = lock,
    .add_slot = add_slot,
    .remove_slot = remove_slot,
    .test_slot = test_slot,
    .change_passphrase = change_passphrase,
    .rotate = rotate,
};
