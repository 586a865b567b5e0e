/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: one question to polkit, for a daemon that is not root any more: polkitd answers about other
 * users' processes to root alone. Who is asked about is the daemon's word; what can be asked about
 * are libvirt's and virtcrypt's own actions.
 */
#include <gio/gio.h>

#include "master/unlock_helper.h"
#include "util/error.h"

/* Of polkit's D-Bus interface. */
#define POLKIT_NAME      "org.freedesktop.PolicyKit1"
#define POLKIT_PATH      "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
enum { POLKIT_ALLOW_INTERACTION = 1 };

static const char *const action_prefixes[] = {"org.libvirt.unix.", "org.virtcrypt."};

struct question {
    const char *action;
    uint64_t pid;
    uint64_t start_time;
    uint64_t uid;
};

static bool
get_question(const struct fields *fields, struct question *question, GError **error)
{
    bool is_ours = false;

    question->action = fields_get(fields, "action");
    for (unsigned int i = 0; question->action && i < G_N_ELEMENTS(action_prefixes); i++)
        is_ours = is_ours || g_str_has_prefix(question->action, action_prefixes[i]);
    if (!is_ours) {
        error_set(error, ERROR_FROM_POLKIT, ERROR_INVALID_ARG,
                  "polkit is asked about actions of libvirt and virtcrypt alone");
        return false;
    }
    return fields_get_number(fields, "pid", 1, G_MAXINT32, &question->pid, error) &&
           fields_get_number(fields, "start-time", 1, G_MAXUINT64, &question->start_time, error) &&
           fields_get_number(fields, "uid", 0, G_MAXUINT32, &question->uid, error);
}

static GVariant *
format_question(const struct question *question)
{
    GVariantBuilder subject;
    GVariantBuilder details;

    g_variant_builder_init(&subject, G_VARIANT_TYPE("a{sv}"));
    g_variant_builder_add(&subject, "{sv}", "pid", g_variant_new_uint32((uint32_t)question->pid));
    g_variant_builder_add(&subject, "{sv}", "start-time",
                          g_variant_new_uint64(question->start_time));
    g_variant_builder_add(&subject, "{sv}", "uid", g_variant_new_int32((int32_t)question->uid));
    g_variant_builder_init(&details, G_VARIANT_TYPE("a{ss}"));
    return g_variant_new("((sa{sv})sa{ss}us)", "unix-process", &subject, question->action, &details,
                         (uint32_t)POLKIT_ALLOW_INTERACTION, "");
}

/* The codes are those that libvirt's clients act on. */
static bool
judge(const struct question *question, GVariant *answer, GError **error)
{
    g_autoptr(GVariant) details = NULL;
    gboolean is_authorized = FALSE;
    gboolean is_challenge = FALSE;
    const char *dismissed = NULL;

    g_variant_get(answer, "((bb@a{ss}))", &is_authorized, &is_challenge, &details);
    if (is_authorized)
        return true;
    if (g_variant_lookup(details, "polkit.dismissed", "&s", &dismissed))
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_CANCELLED,
                  "user cancelled authentication process");
    else if (is_challenge)
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_UNAVAILABLE,
                  "no polkit agent available to authenticate action '%s'", question->action);
    else
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "access denied by policy: action '%s' for user %u", question->action,
                  (unsigned int)question->uid);
    return false;
}

bool
unlock_helper_polkit(const struct helper_message *request, struct helper_message *answer,
                     GError **error)
{
    struct question question;
    g_autoptr(GError) failure = NULL;
    g_autoptr(GDBusConnection) bus = NULL;
    g_autoptr(GVariant) verdict = NULL;

    if (!get_question(request->fields, &question, error))
        return false;
    /* How long may be waited for a person is bounded by alarm(). */
    bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &failure);
    if (bus)
        verdict = g_dbus_connection_call_sync(bus, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                              "CheckAuthorization", format_question(&question),
                                              G_VARIANT_TYPE("((bba{ss}))"), G_DBUS_CALL_FLAGS_NONE,
                                              G_MAXINT, NULL, &failure);
    if (!verdict) {
        error_set(error, ERROR_FROM_POLKIT, ERROR_AUTH_FAILED,
                  "cannot ask polkit about action '%s' for user %u: %s", question.action,
                  (unsigned int)question.uid, failure->message);
        return false;
    }
    return judge(&question, verdict, error);
}
