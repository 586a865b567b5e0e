/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the command that replaces the master key. Each slot of a person needs its passphrase, since
 * only that can wrap the new key, and a recovery slot a new one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_master_client.h"
#include "tools/master_input.h"
#include "tools/master_slots.h"
#include "tools/output.h"
#include "tools/virsh-master-commands.h"

/* What the call is made of; arrays have room for every slot. */
struct rotation {
    bool has_new_recovery;
    struct virtcrypt_master_answer answers[VIRTCRYPT_MASTER_SLOTS_MAX];
    uint32_t answers_len;
    uint8_t remove[VIRTCRYPT_MASTER_SLOTS_MAX][REMOTE_UUID_LEN];
    uint32_t remove_len;
};

static void
rotation_clear(struct rotation *rotation)
{
    for (uint32_t i = 0; i < rotation->answers_len; i++)
        secret_buf_free(rotation->answers[i].passphrase);
}

typedef struct rotation rotation_t; /* for g_auto only */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(rotation_t, rotation_clear)

static bool
is_removed(const struct rotation *rotation, const struct virtcrypt_master_slot *slot)
{
    for (uint32_t i = 0; i < rotation->remove_len; i++) {
        if (memcmp(rotation->remove[i], slot->id, REMOTE_UUID_LEN) == 0)
            return true;
    }
    return false;
}

static bool
collect_removed(const struct command_args *args, const struct virtcrypt_master_status_ret *status,
                struct rotation *rotation)
{
    g_autoptr(GError) error = NULL;
    char *const *names = NULL;
    size_t count = 0;

    if (!command_get_texts(args, "remove-slot", &names, &count, &error))
        return output_gerror(error);
    for (size_t i = 0; i < count; i++) {
        const struct virtcrypt_master_slot *slot = master_slots_find(status, names[i]);

        if (!slot)
            return false;
        if (!is_removed(rotation, slot))
            memcpy(rotation->remove[rotation->remove_len++], slot->id, REMOTE_UUID_LEN);
    }
    if (rotation->remove_len == status->slots_len)
        return output_error("the new master key would have no slot; keep one, or add it first");
    return true;
}

static struct secret_buf *
read_answer(const struct master_input *input, const struct virtcrypt_master_slot *slot,
            GError **error)
{
    g_autofree char *description = master_slots_describe(slot);
    g_autofree char *prompt = g_strdup_printf("Passphrase of the %s", description);

    if (strcmp(slot->method, "recovery") != 0)
        return master_input_read(input, prompt, NULL, error);
    printf("A new passphrase for the %s:\n", description);
    return master_input_make_recovery(input, error);
}

static bool
collect_answers(const struct master_input *input, const struct virtcrypt_master_status_ret *status,
                struct rotation *rotation, GError **error)
{
    for (uint32_t i = 0; i < status->slots_len && i < VIRTCRYPT_MASTER_SLOTS_MAX; i++) {
        const struct virtcrypt_master_slot *slot = &status->slots[i];
        struct virtcrypt_master_answer *answer = &rotation->answers[rotation->answers_len];

        if (!slot->needs_person || is_removed(rotation, slot))
            continue;
        memcpy(answer->slot, slot->id, sizeof(answer->slot));
        answer->passphrase = read_answer(input, slot, error);
        if (!answer->passphrase)
            return false;
        rotation->answers_len++;
        rotation->has_new_recovery |= strcmp(slot->method, "recovery") == 0;
    }
    return true;
}

static void
print_result(struct session *session)
{
    g_auto(master_status_t) status = {0};

    if (session->is_quiet)
        return;
    printf("The master key was replaced; values are moved to it now, see 'virtcrypt master "
           "status'\n");
    if (!master_slots_get(session, &status))
        return;
    printf("It has these slots:\n\n");
    master_slots_print(&status, false);
}

bool
virsh_master_rotate(struct session *session, const struct command_args *args)
{
    g_auto(rotation_t) rotation = {0};
    g_auto(master_status_t) status = {0};
    g_autoptr(GError) error = NULL;
    struct virtcrypt_master_rotate_args call = {.reseal = command_has(args, "reseal")};
    struct master_input input;

    if (!master_input_init(&input, args, &error))
        return output_gerror(error);
    if (!master_slots_get(session, &status))
        return false;
    if (status.locked)
        return output_error("the master key is locked; run 'virtcrypt master unlock' first");
    if (!collect_removed(args, &status, &rotation))
        return false;
    if (!collect_answers(&input, &status, &rotation, &error))
        return output_failure(error, "Failed to rotate the master key");
    if (!session_keep(session))
        return false;
    call.answers = rotation.answers;
    call.answers_len = rotation.answers_len;
    call.remove = rotation.remove;
    call.remove_len = rotation.remove_len;
    if (!virtcrypt_master_rotate_call(session->client, &call, &error)) {
        /* An answer that got lost may have been a good one. */
        if (rotation.has_new_recovery)
            output_warning("keep the old recovery passphrase and the new one until 'virtcrypt "
                           "master test-slot' has said which of them counts");
        return output_failure(error, "Failed to rotate the master key");
    }
    print_result(session);
    return true;
}
