/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the commands that open slots of the master key, or lock it.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_master_client.h"
#include "tools/master_input.h"
#include "tools/master_slot_target.h"
#include "tools/master_slots.h"
#include "tools/output.h"
#include "tools/virsh-master-commands.h"

bool
virsh_master_test_slot(struct session *session, const struct command_args *args)
{
    struct virtcrypt_master_test_slot_args call = {0};
    g_auto(master_slot_target_t) target = {0};
    g_autoptr(secret_buf_t) secret = NULL;
    g_autoptr(GError) error = NULL;

    if (!master_slot_target_begin(&target, session, args))
        return false;
    secret = target.slot->needs_person
                 ? master_input_read(&target.input, "Passphrase", NULL, &error)
                 : secret_buf_new(0, &error);
    if (!secret)
        return output_failure(error, "Failed to open the %s", target.description);
    if (!session_keep(session))
        return false;
    memcpy(call.slot, target.slot->id, sizeof(call.slot));
    call.passphrase = secret;
    if (!virtcrypt_master_test_slot_call(session->client, &call, &error))
        return output_failure(error, "Failed to open the %s", target.description);
    if (!session->is_quiet)
        printf("The %s opens the master key\n", target.description);
    return true;
}

/* ---- unlock ---- */

static bool
has_person(const struct virtcrypt_master_status_ret *status)
{
    for (uint32_t i = 0; i < status->slots_len; i++) {
        if (status->slots[i].needs_person)
            return true;
    }
    return false;
}

static void
print_unlocked(const struct session *session, const struct virtcrypt_master_status_ret *status,
               const struct virtcrypt_master_unlock_ret *ret)
{
    g_autofree char *description = NULL;

    for (uint32_t i = 0; i < status->slots_len; i++) {
        if (memcmp(status->slots[i].id, ret->slot, REMOTE_UUID_LEN) == 0)
            description = master_slots_describe(&status->slots[i]);
    }
    if (!session->is_quiet)
        printf("Master key unlocked%s%s\n", description ? " by the " : "",
               description ? description : "");
}

/* `slot` NULL: any. `secret` NULL: those that need no person. */
static bool
call_unlock(struct session *session, const struct virtcrypt_master_status_ret *status,
            const struct virtcrypt_master_slot *slot, struct secret_buf *secret, GError **error)
{
    g_autoptr(secret_buf_t) none = secret ? NULL : secret_buf_new(0, error);
    struct virtcrypt_master_unlock_args call = {
        .slot = slot ? (uint8_t *)slot->id : NULL,
        .passphrase = secret ? secret : none,
    };
    struct virtcrypt_master_unlock_ret ret = {0};

    if (!call.passphrase || !virtcrypt_master_unlock_call(session->client, &call, &ret, error))
        return false;
    print_unlocked(session, status, &ret);
    return true;
}

static bool
unlock_by_person(struct session *session, const struct master_input *input,
                 const struct virtcrypt_master_status_ret *status,
                 const struct virtcrypt_master_slot *slot)
{
    g_autofree char *description = slot ? master_slots_describe(slot) : NULL;
    g_autofree char *prompt =
        g_strdup_printf("Passphrase of the %s", description ? description : "master key");
    g_autoptr(GError) error = NULL;
    g_autoptr(secret_buf_t) secret = master_input_read(input, prompt, NULL, &error);

    if (!secret)
        return output_failure(error, "Failed to unlock the master key");
    return session_keep(session) && (call_unlock(session, status, slot, secret, &error) ||
                                     output_failure(error, "Failed to unlock the master key"));
}

/* Slots that need no person first, unless a passphrase was given. */
static bool
unlock_by_any(struct session *session, const struct master_input *input,
              const struct virtcrypt_master_status_ret *status)
{
    g_autoptr(GError) error = NULL;

    if (master_input_is_given(input))
        return unlock_by_person(session, input, status, NULL);
    if (call_unlock(session, status, NULL, NULL, &error))
        return true;
    if (!has_person(status))
        return output_failure(error, "Failed to unlock the master key");
    output_note("%s", error->message);
    return unlock_by_person(session, input, status, NULL);
}

bool
virsh_master_unlock(struct session *session, const struct command_args *args)
{
    const struct virtcrypt_master_slot *slot = NULL;
    g_auto(master_status_t) status = {0};
    g_autoptr(GError) error = NULL;
    struct master_input input;
    char *name = NULL;

    if (!master_input_init(&input, args, &error) || !command_get_text(args, "slot", &name, &error))
        return output_gerror(error);
    if (!master_slots_get(session, &status))
        return false;
    if (!status.locked) {
        if (!session->is_quiet)
            printf("The master key is unlocked already\n");
        return true;
    }
    if (!name)
        return unlock_by_any(session, &input, &status);
    slot = master_slots_find(&status, name);
    if (!slot)
        return false;
    if (slot->needs_person)
        return unlock_by_person(session, &input, &status, slot);
    return call_unlock(session, &status, slot, NULL, &error) ||
           output_failure(error, "Failed to unlock the master key");
}

bool
virsh_master_lock(struct session *session, const struct command_args *args)
{
    g_autoptr(GError) error = NULL;

    if (!virtcrypt_master_lock_call(session->client, &error))
        return output_failure(error, "Failed to lock the master key");
    if (!session->is_quiet)
        printf("Master key locked; values can be neither read nor set until 'virtcrypt master "
               "unlock'\n");
    return true;
}
