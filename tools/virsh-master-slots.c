/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the commands that change slots of the master key.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_master_client.h"
#include "tools/master_input.h"
#include "tools/master_slot_target.h"
#include "tools/master_slots.h"
#include "tools/output.h"
#include "tools/virsh-master-commands.h"

/* ---- add-slot ---- */

/* What an option is called on the wire, and which method it is for. */
static const struct {
    const char *option;
    const char *method;
    const char *field;
} parameters[] = {
    {"path", "key-file", "path"}, {"credential", "credential", "name"},
    {"pcrs", "tpm2", "pcrs"},     {"bank", "tpm2", "bank"},
    {"uri", "pkcs11", "uri"},
};

/* The fields that `method` is asked for; their texts are borrowed from `args`. */
struct asked {
    struct virtcrypt_master_field fields[G_N_ELEMENTS(parameters) + 1];
    uint32_t count;
};

static bool
refuse_option(const char *option, const char *method)
{
    return output_error("option --%s is not for the method '%s'", option, method);
}

static bool
collect(const struct command_args *args, const char *method, struct asked *ret_asked)
{
    g_autoptr(GError) error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(parameters); i++) {
        char *value = NULL;

        if (!command_get_text(args, parameters[i].option, &value, &error))
            return output_gerror(error);
        if (!value)
            continue;
        if (strcmp(parameters[i].method, method) != 0)
            return refuse_option(parameters[i].option, method);
        ret_asked->fields[ret_asked->count].name = (char *)parameters[i].field;
        ret_asked->fields[ret_asked->count++].value = value;
    }
    if (!command_has(args, "no-counter"))
        return true;
    if (strcmp(method, "tpm2") != 0)
        return refuse_option("no-counter", method);
    ret_asked->fields[ret_asked->count].name = (char *)"counter";
    ret_asked->fields[ret_asked->count++].value = (char *)"none";
    return true;
}

/* *ret_secret is empty for methods that need none. */
static bool
read_new(const struct master_input *input, const char *method, struct secret_buf **ret_secret,
         GError **error)
{
    if (strcmp(method, "passphrase") == 0)
        *ret_secret =
            master_input_read(input, "New passphrase", "Repeat the new passphrase", error);
    else if (strcmp(method, "recovery") == 0)
        *ret_secret = master_input_make_recovery(input, error);
    else
        *ret_secret = secret_buf_new(0, error);
    return *ret_secret != NULL;
}

bool
virsh_master_add_slot(struct session *session, const struct command_args *args)
{
    struct virtcrypt_master_add_slot_args call = {.label = (char *)""};
    g_autoptr(secret_buf_t) secret = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *description = NULL;
    struct virtcrypt_master_add_slot_ret ret = {0};
    struct asked asked = {0};
    struct master_input input;
    char *label = NULL;

    if (!master_input_init(&input, args, &error) ||
        !command_get_text(args, "method", &call.method, &error) ||
        !command_get_text(args, "label", &label, &error))
        return output_gerror(error);
    if (!collect(args, call.method, &asked))
        return false;
    if (!read_new(&input, call.method, &secret, &error))
        return output_failure(error, "Failed to add a %s slot", call.method);
    if (!session_keep(session))
        return false;
    call.label = label ? label : call.label;
    call.fields = asked.fields;
    call.fields_len = asked.count;
    call.passphrase = secret;
    if (!virtcrypt_master_add_slot_call(session->client, &call, &ret, &error))
        return output_failure(error, "Failed to add a %s slot", call.method);
    description = master_slots_describe(&ret.slot);
    if (!session->is_quiet)
        printf("The %s was added, and opens the master key\n", description);
    virtcrypt_master_add_slot_ret_clear(&ret);
    return true;
}

/* ---- remove-slot ---- */

static bool
has_other(const struct virtcrypt_master_status_ret *status,
          const struct virtcrypt_master_slot *removed, bool needs_person)
{
    for (uint32_t i = 0; i < status->slots_len; i++) {
        if (&status->slots[i] != removed && status->slots[i].needs_person == needs_person)
            return true;
    }
    return false;
}

static void
print_rest(struct session *session)
{
    g_auto(master_status_t) status = {0};

    if (session->is_quiet || !master_slots_get(session, &status))
        return;
    printf("What is left:\n\n");
    master_slots_print(&status, false);
}

/* The proof that another slot opens is a person's where no other one opens by itself; else it is
 * empty. */
static bool
read_proof(const struct master_input *input, const struct virtcrypt_master_status_ret *status,
           const struct virtcrypt_master_slot *removed, struct secret_buf **ret_secret,
           GError **error)
{
    if (!master_input_is_given(input) &&
        (has_other(status, removed, false) || !has_other(status, removed, true)))
        *ret_secret = secret_buf_new(0, error);
    else
        *ret_secret = master_input_read(input, "Passphrase of a slot that stays", NULL, error);
    return *ret_secret != NULL;
}

bool
virsh_master_remove_slot(struct session *session, const struct command_args *args)
{
    struct virtcrypt_master_remove_slot_args call = {0};
    g_auto(master_slot_target_t) target = {0};
    g_autoptr(secret_buf_t) secret = NULL;
    g_autoptr(GError) error = NULL;

    if (!master_slot_target_begin(&target, session, args))
        return false;
    if (!read_proof(&target.input, &target.status, target.slot, &secret, &error))
        return output_failure(error, "Failed to remove the %s", target.description);
    if (!session_keep(session))
        return false;
    memcpy(call.slot, target.slot->id, sizeof(call.slot));
    call.passphrase = secret;
    if (!virtcrypt_master_remove_slot_call(session->client, &call, &error)) {
        output_failure(error, "Failed to remove the %s", target.description);
        if (secret_buf_len(secret) == 0 && has_other(&target.status, target.slot, true))
            output_note("the passphrase of another slot does, too: --ask-password or "
                        "--passphrase-fd");
        return false;
    }
    if (!session->is_quiet)
        printf("The %s was removed\n", target.description);
    print_rest(session);
    return true;
}

/* ---- change-passphrase ---- */

bool
virsh_master_change_passphrase(struct session *session, const struct command_args *args)
{
    struct virtcrypt_master_change_passphrase_args call = {0};
    g_auto(master_slot_target_t) target = {0};
    g_autoptr(secret_buf_t) before = NULL;
    g_autoptr(secret_buf_t) after = NULL;
    g_autoptr(GError) error = NULL;

    if (!master_slot_target_begin(&target, session, args))
        return false;
    if (!target.slot->needs_person)
        return output_error("the %s has no passphrase; 'virtcrypt master rotate' renews it",
                            target.description);
    before = master_input_read(&target.input, "Present passphrase", NULL, &error);
    if (!before || !read_new(&target.input, target.slot->method, &after, &error))
        return output_failure(error, "Failed to change the passphrase of the %s",
                              target.description);
    if (!session_keep(session))
        return false;
    memcpy(call.slot, target.slot->id, sizeof(call.slot));
    call.old_passphrase = before;
    call.new_passphrase = after;
    if (!virtcrypt_master_change_passphrase_call(session->client, &call, &error))
        return output_failure(error, "Failed to change the passphrase of the %s",
                              target.description);
    if (!session->is_quiet)
        printf("The passphrase of the %s was changed\n", target.description);
    return true;
}
