/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: virsh-key.h: which keys belong to which guests, and changing that by hand.
 */
#include "tools/virsh-key.h"

#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_guest_client.h"
#include "tools/guest_pages.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"

/* What a reader has to know beside the state: when it is erased, or why it is held. */
static char *
note_of(const struct virtcrypt_guest_key_entry *key)
{
    char *erase_at = output_format_time(key->erase_at);

    return erase_at ? erase_at : g_strdup(key->reason ? key->reason : "-");
}

static void
print_keys(const GPtrArray *keys, bool is_quiet)
{
    static const char *const heads[] = {"Secret", "Guest", "Volume",
                                        "Origin", "State", "Erased at, or held because"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
        g_ptr_array_add(cells, g_strdup(heads[i]));
    for (guint i = 0; i < keys->len; i++) {
        const struct virtcrypt_guest_key_entry *key = g_ptr_array_index(keys, i);

        g_ptr_array_add(cells, output_format_uuid(key->secret));
        g_ptr_array_add(cells, g_strdup(key->guest_name));
        g_ptr_array_add(cells, g_strdup(key->volume ? key->volume : "-"));
        g_ptr_array_add(cells, g_strdup(key->origin));
        g_ptr_array_add(cells, g_strdup(key->state));
        g_ptr_array_add(cells, note_of(key));
    }
    output_table(cells, G_N_ELEMENTS(heads), is_quiet);
}

static void
append_key(GString *json, const void *entry)
{
    const struct virtcrypt_guest_key_entry *key = entry;
    g_autofree char *secret = output_format_uuid(key->secret);
    g_autofree char *guest = output_format_uuid(key->guest);
    g_autofree char *erase_at = output_format_time(key->erase_at);
    const struct output_member members[] = {
        {"secret", secret},      {"guest", guest},        {"guest-name", key->guest_name},
        {"volume", key->volume}, {"origin", key->origin}, {"state", key->state},
        {"erase-at", erase_at},  {"reason", key->reason},
    };

    output_append_json_object(json, members, G_N_ELEMENTS(members));
}

static bool
run_list(struct session *session, const struct command_args *args)
{
    struct virtcrypt_guest_list_keys_args filter = {.is_orphaned = command_has(args, "orphaned")};
    g_auto(virsh_guest_t) guest = {0};
    g_autoptr(GPtrArray) keys = NULL;
    g_autoptr(GError) error = NULL;
    bool has_guest;

    if (!command_get_text(args, "volume", &filter.volume, &error))
        return output_gerror(error);
    if (!virsh_guest_get(session, args, "guest", &has_guest, &guest))
        return false;
    filter.guest = has_guest ? guest.uuid.bytes : NULL;
    keys = guest_pages_get_keys(session->client, &filter, &error);
    if (!keys)
        return output_failure(error, "Failed to list keys");
    if (command_has(args, "json"))
        output_json_array(keys, append_key);
    else
        print_keys(keys, session->is_quiet);
    return true;
}

struct binding {
    struct virtcrypt_guest_bind_args call;
    char *secret; /* as it was named */
    struct virsh_guest guest;
};

static void
binding_clear(struct binding *binding)
{
    virsh_guest_clear(&binding->guest);
}

typedef struct binding binding_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(binding_t, binding_clear)

static bool
find_binding(struct session *session, const struct command_args *args, struct binding *ret_binding)
{
    g_autoptr(GError) error = NULL;
    struct uuid secret;
    bool has_guest;

    if (!command_get_text(args, "secret", &ret_binding->secret, &error))
        return output_gerror(error);
    if (!virsh_guest_find_secret(session, ret_binding->secret, &secret) ||
        !virsh_guest_get(session, args, "guest", &has_guest, &ret_binding->guest))
        return false;
    memcpy(ret_binding->call.secret, secret.bytes, sizeof(ret_binding->call.secret));
    memcpy(ret_binding->call.guest, ret_binding->guest.uuid.bytes, sizeof(ret_binding->call.guest));
    return true;
}

static bool
run_bind(struct session *session, const struct command_args *args)
{
    g_auto(binding_t) binding = {0};
    g_autoptr(GError) error = NULL;

    if (!find_binding(session, args, &binding))
        return false;
    if (!virtcrypt_guest_bind_call(session->client, &binding.call, &error))
        return output_failure(error, "Failed to bind secret %s", binding.secret);
    if (!session->is_quiet)
        printf("Secret %s bound to domain '%s'\n", binding.secret, binding.guest.name);
    return true;
}

static bool
run_unbind(struct session *session, const struct command_args *args)
{
    g_auto(binding_t) binding = {0};
    g_autoptr(GError) error = NULL;

    if (!find_binding(session, args, &binding))
        return false;
    if (!virtcrypt_guest_unbind_call(session->client, &binding.call, &error))
        return output_failure(error, "Failed to unbind secret %s", binding.secret);
    if (!session->is_quiet)
        printf("Secret %s unbound from domain '%s'\n", binding.secret, binding.guest.name);
    return true;
}

static bool
run_erase(struct session *session, const struct command_args *args)
{
    struct virtcrypt_guest_erase_args call = {0};
    g_autoptr(GError) error = NULL;
    struct uuid secret;
    char *text = NULL;

    if (!command_get_text(args, "secret", &text, &error))
        return output_gerror(error);
    if (!virsh_guest_find_secret(session, text, &secret))
        return false;
    memcpy(call.secret, secret.bytes, sizeof(call.secret));
    if (!virtcrypt_guest_erase_call(session->client, &call, &error))
        return output_failure(error, "Failed to erase secret %s", text);
    if (!session->is_quiet)
        printf("Secret %s erased\n", text);
    return true;
}

#define OPTION_SECRET                                                                              \
    {                                                                                              \
        "secret", OPTION_TEXT, OPTION_REQUIRED, "secret UUID, or its usage id"                     \
    }

static const struct command commands[] = {
    {
        .name = "key-bind",
        .summary = "give a secret to a guest",
        .description =
            "Seal a copy of the secret's value for the guest, which owns it from then on.",
        .daemon = URI_VIRTCRYPTD,
        .run = run_bind,
        .options =
            {
                OPTION_SECRET,
                {"guest", OPTION_TEXT, OPTION_REQUIRED, "domain name, id or uuid"},
            },
    },
    {
        .name = "key-erase",
        .summary = "erase a secret and all copies of its value",
        .description =
            "Erase the secret's definition and all sealed copies of its value. It is refused\n"
            "    while a guest that is there uses it.",
        .daemon = URI_VIRTCRYPTD,
        .run = run_erase,
        .options = {OPTION_SECRET},
    },
    {
        .name = "key-list",
        .summary = "list keys that belong to guests",
        .description = "List which keys belong to which guests, and those that are held.",
        .daemon = URI_VIRTCRYPTD,
        .run = run_list,
        .options =
            {
                {"guest", OPTION_TEXT, OPTION_NAMED_ONLY, "only those of that domain"},
                {"volume", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "only those of that volume: a path, or POOL/VOLUME"},
                {"orphaned", OPTION_FLAG, 0, "only those whose guest is gone"},
                {"json", OPTION_FLAG, 0, "print the list as JSON"},
            },
    },
    {
        .name = "key-unbind",
        .summary = "take a secret from a guest",
        .description =
            "Take the guest's copy of the secret's value away. A secret whose last owner goes\n"
            "    keeps its value and belongs to no guest.",
        .daemon = URI_VIRTCRYPTD,
        .run = run_unbind,
        .options =
            {
                OPTION_SECRET,
                {"guest", OPTION_TEXT, OPTION_REQUIRED, "domain name, id or uuid"},
            },
    },
};

const struct command_group key_commands = {
    .title = "Key",
    .keyword = "key",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
