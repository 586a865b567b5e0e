/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the secret commands, and those for definitions: secret-define, secret-dumpxml,
 * secret-undefine.
 */
#include "tools/virsh-secret.h"

#include <stdio.h>
#include <string.h>

#include "rpc/protocol/remote_secret_client.h"
#include "tools/output.h"
#include "tools/virsh-secret-commands.h"
#include "tools/xml_file.h"
#include "tools/xpath.h"
#include "util/error.h"
#include "util/uuid.h"

enum { DEFINE_VALIDATE = 1 };

void
virsh_secret_clear(struct remote_nonnull_secret *secret)
{
    remote_nonnull_secret_clear(secret);
}

bool
virsh_secret_lookup(struct session *session, const struct command_args *args,
                    struct remote_nonnull_secret *ret_secret)
{
    struct remote_secret_lookup_by_uuid_args call = {0};
    struct remote_secret_lookup_by_uuid_ret found = {0};
    g_autoptr(GError) error = NULL;
    struct uuid uuid;
    char *text = NULL;

    if (!command_get_text(args, "secret", &text, &error))
        return output_gerror(error);
    if (!uuid_parse(text, &uuid)) {
        error_set_remote(&error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                         "uuidstr in virSecretLookupByUUIDString must be a valid UUID");
        return output_failure(error, "failed to get secret '%s'", text);
    }
    memcpy(call.uuid, uuid.bytes, sizeof(call.uuid));
    if (!remote_secret_lookup_by_uuid_call(session->client, &call, &found, &error))
        return output_failure(error, "failed to get secret '%s'", text);
    *ret_secret = found.secret;
    return true;
}

static bool
run_define(struct session *session, const struct command_args *args)
{
    struct remote_secret_define_xml_args call = {
        .flags = command_has(args, "validate") ? DEFINE_VALIDATE : 0,
    };
    struct remote_secret_define_xml_ret defined = {0};
    g_auto(remote_nonnull_secret_t) secret = {0};
    g_autofree char *xml = NULL;
    g_autoptr(GError) error = NULL;
    char text[UUID_TEXT_SIZE];
    char *path = NULL;
    struct uuid uuid;

    if (!command_get_text(args, "file", &path, &error))
        return output_gerror(error);
    xml = xml_file_read(path, &error);
    if (!xml)
        return output_gerror(error);
    call.xml = xml;
    if (!remote_secret_define_xml_call(session->client, &call, &defined, &error))
        return output_failure(error, "Failed to set attributes from %s", path);
    secret = defined.secret;
    memcpy(uuid.bytes, secret.uuid, sizeof(uuid.bytes));
    if (!session->is_quiet)
        printf("Secret %s created\n", uuid_format(&uuid, text));
    return true;
}

static bool
print_xml(const char *xml, const char *expression, bool wrap)
{
    g_autofree char *picked = NULL;
    g_autoptr(GError) error = NULL;

    if (expression) {
        picked = xpath_pick(xml, expression, wrap, &error);
        if (!picked)
            return output_gerror(error);
    }
    printf("%s", picked ? picked : xml);
    return true;
}

static bool
run_dumpxml(struct session *session, const struct command_args *args)
{
    g_auto(remote_nonnull_secret_t) secret = {0};
    struct remote_secret_get_xml_desc_args call = {0};
    struct remote_secret_get_xml_desc_ret description = {0};
    g_autoptr(GError) error = NULL;
    char *expression = NULL;
    bool is_printed;

    if (!command_get_text(args, "xpath", &expression, &error))
        return output_gerror(error);
    if (!virsh_secret_lookup(session, args, &secret))
        return false;
    call.secret = secret;
    if (!remote_secret_get_xml_desc_call(session->client, &call, &description, &error))
        return output_gerror(error);
    is_printed = print_xml(description.xml, expression, command_has(args, "wrap"));
    remote_secret_get_xml_desc_ret_clear(&description);
    return is_printed;
}

static bool
run_undefine(struct session *session, const struct command_args *args)
{
    g_auto(remote_nonnull_secret_t) secret = {0};
    struct remote_secret_undefine_args call = {0};
    g_autoptr(GError) error = NULL;
    char *uuid = NULL;

    if (!virsh_secret_lookup(session, args, &secret) ||
        !command_get_text(args, "secret", &uuid, NULL))
        return false;
    call.secret = secret;
    if (!remote_secret_undefine_call(session->client, &call, &error))
        return output_failure(error, "Failed to delete secret %s", uuid);
    if (!session->is_quiet)
        printf("Secret %s deleted\n", uuid);
    return true;
}

#define OPTION_SECRET                                                                              \
    {                                                                                              \
        "secret", OPTION_TEXT, OPTION_REQUIRED, "secret UUID"                                      \
    }

/* In alphabetical order, as virsh's help shows them. */
static const struct command commands[] = {
    {
        .name = "secret-define",
        .summary = "define or modify a secret from an XML file",
        .description = "Define or modify a secret.",
        .run = run_define,
        .options =
            {
                {"file", OPTION_TEXT, OPTION_REQUIRED, "file containing secret attributes in XML"},
                {"validate", OPTION_FLAG, 0, "validate the XML against the schema"},
            },
    },
    {
        .name = "secret-dumpxml",
        .summary = "secret attributes in XML",
        .description = "Output attributes of a secret as an XML dump to stdout.",
        .run = run_dumpxml,
        .options =
            {
                OPTION_SECRET,
                {"xpath", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "xpath expression to filter the XML document"},
                {"wrap", OPTION_FLAG, 0, "wrap xpath results in an common root element"},
            },
    },
    {
        .name = "secret-event",
        .summary = "Secret Events",
        .description = "List event types, or wait for secret events to occur",
        .run = virsh_secret_event,
        .options =
            {
                {"secret", OPTION_TEXT, 0, "filter by secret name or uuid"},
                {"event", OPTION_TEXT, 0, "which event type to wait for"},
                {"loop", OPTION_FLAG, 0, "loop until timeout or interrupt, rather than one-shot"},
                {"timeout", OPTION_NUMBER, 0, "timeout seconds"},
                {"list", OPTION_FLAG, 0, "list valid event types"},
                {"timestamp", OPTION_FLAG, 0, "show timestamp for each printed event"},
            },
    },
    {
        .name = "secret-get-value",
        .summary = "Output a secret value",
        .description = "Output a secret value to stdout.",
        .run = virsh_secret_get_value,
        .options =
            {
                OPTION_SECRET,
                {"plain", OPTION_FLAG, 0, "get value without converting to base64"},
            },
    },
    {
        .name = "secret-list",
        .summary = "list secrets",
        .description = "Returns a list of secrets",
        .run = virsh_secret_list,
        .options =
            {
                {"ephemeral", OPTION_FLAG, 0, "list ephemeral secrets"},
                {"no-ephemeral", OPTION_FLAG, 0, "list non-ephemeral secrets"},
                {"private", OPTION_FLAG, 0, "list private secrets"},
                {"no-private", OPTION_FLAG, 0, "list non-private secrets"},
                {"json", OPTION_FLAG, 0, "print the list as JSON"},
            },
    },
    {
        .name = "secret-set-value",
        .summary = "set a secret value",
        .description = "Set a secret value.",
        .run = virsh_secret_set_value,
        .options =
            {
                OPTION_SECRET,
                {"file", OPTION_TEXT, OPTION_NAMED_ONLY, "read secret from file"},
                {"plain", OPTION_FLAG, 0,
                 "read the secret from file without converting from base64"},
                {"interactive", OPTION_FLAG, 0, "read the secret from the terminal"},
                {"base64", OPTION_TEXT, 0, "base64-encoded secret value"},
                {"generate", OPTION_NUMBER, OPTION_NAMED_ONLY,
                 "set that many random bits, as base64url text (RFC 4648 section 5)"},
            },
    },
    {
        .name = "secret-undefine",
        .summary = "undefine a secret",
        .description = "Undefine a secret.",
        .run = run_undefine,
        .options = {OPTION_SECRET},
    },
};

const struct command_group secret_commands = {
    .title = "Secret",
    .keyword = "secret",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
