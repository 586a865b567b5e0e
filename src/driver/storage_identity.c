/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see storage_identity.h. libvirt's system token is not passed on: nothing that virtcryptd
 * does for a client of libvirtd needs it.
 */
#include "driver/storage_identity.h"

#include <glib-object.h>

enum { PARAMS_MAX = 9 };

typedef int (*get_text_func)(struct libvirt_identity *identity, const char **text);

static struct remote_typed_param *
add_param(struct storage_identity *identity, const char *field, int32_t type)
{
    struct remote_typed_param *param = &identity->args.params[identity->args.params_len++];

    param->field = g_strdup(field);
    param->value.type = type;
    return param;
}

static void
add_text(struct storage_identity *identity, GString *mark, const char *field, const char *text)
{
    add_param(identity, field, REMOTE_PARAM_STRING)->value.u.s = g_strdup(text);
    /* With its length, so that no text can look like several. */
    g_string_append_printf(mark, "%s=%zu:%s ", field, strlen(text), text);
}

static void
add_number(struct storage_identity *identity, GString *mark, const char *field, uint64_t number)
{
    add_param(identity, field, REMOTE_PARAM_ULLONG)->value.u.ul = number;
    g_string_append_printf(mark, "%s=%" G_GUINT64_FORMAT " ", field, number);
}

static void
add_texts(struct storage_identity *identity, GString *mark, struct libvirt_identity *theirs)
{
    const struct libvirt_symbols *libvirt = &storage_module_get()->libvirt;
    const struct {
        const char *field;
        get_text_func get;
    } texts[] = {
        {"user-name", libvirt->identity_get_user_name},
        {"group-name", libvirt->identity_get_group_name},
        {"sasl-user-name", libvirt->identity_get_sasl_user_name},
        {"x509-distinguished-name", libvirt->identity_get_x509_name},
        {"selinux-context", libvirt->identity_get_selinux_context},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char *text = NULL;

        if (texts[i].get(theirs, &text) == 1 && text)
            add_text(identity, mark, texts[i].field, text);
    }
}

static void
add_numbers(struct storage_identity *identity, GString *mark, struct libvirt_identity *theirs)
{
    const struct libvirt_symbols *libvirt = &storage_module_get()->libvirt;
    unsigned long long start = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;

    if (libvirt->identity_get_user_id(theirs, &uid) == 1)
        add_number(identity, mark, "unix-user-id", uid);
    if (libvirt->identity_get_group_id(theirs, &gid) == 1)
        add_number(identity, mark, "unix-group-id", gid);
    if (libvirt->identity_get_process_time(theirs, &start) == 1)
        add_number(identity, mark, "process-time", start);
    if (libvirt->identity_get_process_id(theirs, &pid) == 1) {
        add_param(identity, "process-id", REMOTE_PARAM_LLONG)->value.u.l = pid;
        g_string_append_printf(mark, "process-id=%lld", (long long)pid);
    }
}

void
storage_identity_init(struct storage_identity *identity)
{
    struct libvirt_identity *theirs = storage_module_get()->libvirt.identity_get_current();
    GString *mark = NULL;

    *identity = (struct storage_identity){0};
    if (!theirs)
        return;
    mark = g_string_new(NULL);
    identity->args.params = g_new0(struct remote_typed_param, PARAMS_MAX);
    add_texts(identity, mark, theirs);
    add_numbers(identity, mark, theirs);
    identity->mark = g_string_free(mark, FALSE);
    g_object_unref(theirs);
}

void
storage_identity_clear(struct storage_identity *identity)
{
    remote_connect_set_identity_args_clear(&identity->args);
    g_clear_pointer(&identity->mark, g_free);
}
