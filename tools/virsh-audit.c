/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: virsh-audit.h: what was erased, and whether the record of it is whole.
 */
#include "tools/virsh-audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "conf/audit_line.h"
#include "rpc/protocol/virtcrypt_secret_client.h"
#include "tools/audit_text.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"
#include "util/error.h"

/* Which lines are shown; uuids as text, or NULL. */
struct filter {
    char *secret;
    char *guest;
};

static void
filter_clear(struct filter *filter)
{
    g_free(filter->secret);
    g_free(filter->guest);
}

typedef struct filter filter_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(filter_t, filter_clear)

/* Guests are known by name to libvirt and virtcryptd, which are asked for a name alone. */
static bool
find_guest(struct session *session, const char *text, char **ret_uuid)
{
    g_auto(session_t) agent = session_beside(session, URI_VIRTCRYPTD);
    g_auto(virsh_guest_t) guest = {0};

    if (!uuid_parse(text, &guest.uuid) &&
        (!session_connect(&agent) || !virsh_guest_find(&agent, text, &guest)))
        return false;
    *ret_uuid = output_format_uuid(guest.uuid.bytes);
    return true;
}

static bool
get_filter(struct session *session, const struct command_args *args, struct filter *ret_filter)
{
    g_autoptr(GError) error = NULL;
    struct uuid uuid;
    char *secret = NULL;
    char *guest = NULL;

    if (!command_get_text(args, "secret", &secret, &error) ||
        !command_get_text(args, "guest", &guest, &error))
        return output_gerror(error);
    /* A secret that was erased has no usage any more by which it could be found. */
    if (secret && !uuid_parse(secret, &uuid))
        return output_error("the secret '%s' is not named by its UUID", secret);
    ret_filter->secret = secret ? output_format_uuid(uuid.bytes) : NULL;
    return !guest || find_guest(session, guest, &ret_filter->guest);
}

/* The guests that a line is about, with commas between them, or NULL. */
static char *
guests_of(const char *line)
{
    char *one = audit_text_get(line, "guest");

    return one ? one : audit_text_get(line, "guests");
}

static bool
is_wanted(const char *line, const struct filter *filter)
{
    g_autofree char *secret = filter->secret ? audit_text_get(line, "secret") : NULL;
    g_autofree char *guests = filter->guest ? guests_of(line) : NULL;

    return g_strcmp0(secret, filter->secret) == 0 &&
           (!filter->guest || (guests && strstr(guests, filter->guest)));
}

/* Takes the lines of one answer. */
static bool
add_page(struct session *session, GPtrArray *lines, bool *ret_more, GError **error)
{
    const struct virtcrypt_secret_audit_args call = {
        .from = lines->len,
        .max = VIRTCRYPT_SECRET_PAGE_MAX,
    };
    struct virtcrypt_secret_audit_ret page = {0};
    bool is_forward;

    if (!virtcrypt_secret_audit_call(session->client, &call, &page, error))
        return false;
    for (uint32_t i = 0; i < page.lines_len; i++) {
        g_ptr_array_add(lines, page.lines[i]);
        page.lines[i] = g_strdup("");
    }
    is_forward = page.lines_len > 0 || !page.more;
    *ret_more = page.more;
    virtcrypt_secret_audit_ret_clear(&page);
    /* A server whose pages do not go forward would be asked for ever. */
    if (!is_forward)
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the server's audit does not end");
    return is_forward;
}

static GPtrArray *
get_lines(struct session *session, GError **error)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    bool more = true;

    while (more) {
        if (!add_page(session, lines, &more, error))
            return NULL;
    }
    return g_steal_pointer(&lines);
}

static void
print_table(const GPtrArray *lines, bool is_quiet)
{
    static const char *const heads[] = {"Time", "Event", "Secret", "Guest", "Generation", "Reason"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
        g_ptr_array_add(cells, g_strdup(heads[i]));
    for (guint i = 0; i < lines->len; i++) {
        const char *line = g_ptr_array_index(lines, i);
        char *texts[] = {
            audit_text_get(line, "time"),       audit_text_get(line, "event"),
            audit_text_get(line, "secret"),     guests_of(line),
            audit_text_get(line, "generation"), audit_text_get(line, "reason"),
        };

        G_STATIC_ASSERT(G_N_ELEMENTS(texts) == G_N_ELEMENTS(heads));
        for (size_t j = 0; j < G_N_ELEMENTS(texts); j++)
            g_ptr_array_add(cells, texts[j] ? texts[j] : g_strdup("-"));
    }
    output_table(cells, G_N_ELEMENTS(heads), is_quiet);
}

/* A whole line is an object as it stands; of another one nobody knows what it is. */
static void
append_line(GString *json, const void *entry)
{
    const char *text = entry;
    struct audit_line line;

    if (audit_line_parse(text, strlen(text), &line)) {
        g_string_append(json, text);
        return;
    }
    g_string_append(json, "{\"damaged\": ");
    output_append_json(json, text);
    g_string_append_c(json, '}');
}

/* False if a line is broken; the first one is named. */
static bool
verify(const GPtrArray *lines)
{
    struct audit_line_chain chain;

    audit_line_chain_init(&chain);
    for (guint i = 0; i < lines->len; i++) {
        const char *line = g_ptr_array_index(lines, i);
        g_autoptr(GError) error = NULL;

        if (!audit_line_verify(&chain, line, strlen(line), &error))
            return output_failure(error, "The audit is broken at line %u", i + 1);
    }
    return true;
}

bool
virsh_audit(struct session *session, const struct command_args *args)
{
    g_autoptr(GPtrArray) shown = g_ptr_array_new();
    g_auto(filter_t) filter = {0};
    g_autoptr(GPtrArray) lines = NULL;
    g_autoptr(GError) error = NULL;
    bool is_whole;

    if (!get_filter(session, args, &filter))
        return false;
    lines = get_lines(session, &error);
    if (!lines)
        return output_failure(error, "Failed to read the audit");
    for (guint i = 0; i < lines->len; i++) {
        if (is_wanted(g_ptr_array_index(lines, i), &filter))
            g_ptr_array_add(shown, g_ptr_array_index(lines, i));
    }
    if (command_has(args, "json"))
        output_json_array(shown, append_line);
    else
        print_table(shown, session->is_quiet);
    is_whole = !command_has(args, "verify") || verify(lines);
    if (is_whole && command_has(args, "verify") && !command_has(args, "json") && !session->is_quiet)
        printf("\nAll %u records are whole and in their order\n", lines->len);
    return is_whole;
}
