/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: master_slots.h.
 */
#include "tools/master_slots.h"

#include <inttypes.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_master_client.h"
#include "tools/output.h"
#include "util/error.h"
#include "util/uuid.h"

/* Passphrases cost seconds of processor time each, on purpose, and a rotation needs several. */
enum { CALL_TIMEOUT_MS = 600000 };

enum { PREFIX_MIN = 4, SHOWN_DIGITS = 8 };

bool
master_slots_get(struct session *session, struct virtcrypt_master_status_ret *ret_status)
{
    g_autoptr(GError) error = NULL;

    rpc_client_set_timeout(session->client, CALL_TIMEOUT_MS);
    if (virtcrypt_master_status_call(session->client, ret_status, &error))
        return true;
    /* That is what libvirt's daemons, and older ones of ours, answer to a program that they do not
     * know. */
    if (error_is(error, ERROR_RPC))
        return output_failure(error, "The daemon at %s has no slots of a master key",
                              session_uri(session));
    return output_failure(error, "Failed to get the state of the master key");
}

static bool
fits(const struct virtcrypt_master_slot *slot, const char *name)
{
    g_autofree char *uuid = output_format_uuid(slot->id);

    return (*slot->label && strcmp(slot->label, name) == 0) ||
           (strlen(name) >= PREFIX_MIN && g_ascii_strncasecmp(uuid, name, strlen(name)) == 0);
}

const struct virtcrypt_master_slot *
master_slots_find(const struct virtcrypt_master_status_ret *status, const char *name)
{
    const struct virtcrypt_master_slot *found = NULL;

    for (uint32_t i = 0; i < status->slots_len; i++) {
        if (!fits(&status->slots[i], name))
            continue;
        if (found) {
            output_error("several slots of the master key fit '%s'; give the whole uuid", name);
            return NULL;
        }
        found = &status->slots[i];
    }
    if (!found)
        output_error("no slot of the master key has the label or (the first %d digits at least of) "
                     "the uuid '%s'; see 'virtcrypt master status'",
                     PREFIX_MIN, name);
    return found;
}

char *
master_slots_describe(const struct virtcrypt_master_slot *slot)
{
    g_autofree char *uuid = output_format_uuid(slot->id);

    return g_strdup_printf("%s slot %.*s%s%s%s", slot->method, SHOWN_DIGITS, uuid,
                           *slot->label ? " (" : "", slot->label, *slot->label ? ")" : "");
}

static char *
format_fields(const struct virtcrypt_master_slot *slot)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (uint32_t i = 0; i < slot->fields_len; i++)
        g_string_append_printf(text, "%s%s=%s", i > 0 ? " " : "", slot->fields[i].name,
                               slot->fields[i].value);
    return text->len > 0 ? g_string_free(g_steal_pointer(&text), FALSE) : g_strdup("-");
}

static const char *
format_state(const struct virtcrypt_master_slot *slot)
{
    if (slot->is_opener)
        return "opened it";
    if (slot->problem)
        return "failed";
    return slot->needs_person ? "asks" : "-";
}

void
master_slots_print(const struct virtcrypt_master_status_ret *status, bool is_quiet)
{
    static const char *const heads[] = {"Slot", "Method", "Label", "Made", "State", "Parameters"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
        g_ptr_array_add(cells, g_strdup(heads[i]));
    for (uint32_t i = 0; i < status->slots_len; i++) {
        const struct virtcrypt_master_slot *slot = &status->slots[i];
        char *created = output_format_time((int64_t)slot->created);

        g_ptr_array_add(cells, output_format_uuid(slot->id));
        g_ptr_array_add(cells, g_strdup(slot->method));
        g_ptr_array_add(cells, g_strdup(*slot->label ? slot->label : "-"));
        g_ptr_array_add(cells, created ? created : g_strdup("-"));
        g_ptr_array_add(cells, g_strdup(format_state(slot)));
        g_ptr_array_add(cells, format_fields(slot));
    }
    output_table(cells, G_N_ELEMENTS(heads), is_quiet);
}

static void
append_fields(GString *json, const struct virtcrypt_master_slot *slot)
{
    g_string_append_c(json, '{');
    for (uint32_t i = 0; i < slot->fields_len; i++) {
        g_string_append(json, i > 0 ? ", " : "");
        output_append_json(json, slot->fields[i].name);
        g_string_append(json, ": ");
        output_append_json(json, slot->fields[i].value);
    }
    g_string_append_c(json, '}');
}

static void
append_slot(GString *json, const struct virtcrypt_master_slot *slot)
{
    g_autofree char *uuid = output_format_uuid(slot->id);
    g_autofree char *created = output_format_time((int64_t)slot->created);

    g_string_append(json, "{\"uuid\": ");
    output_append_json(json, uuid);
    g_string_append(json, ", \"method\": ");
    output_append_json(json, slot->method);
    g_string_append(json, ", \"label\": ");
    output_append_json(json, slot->label);
    g_string_append(json, ", \"made\": ");
    output_append_json(json, created);
    g_string_append_printf(json, ", \"needs-person\": %s, \"opened\": %s, \"problem\": ",
                           slot->needs_person ? "true" : "false",
                           slot->is_opener ? "true" : "false");
    output_append_json(json, slot->problem);
    g_string_append(json, ", \"parameters\": ");
    append_fields(json, slot);
    g_string_append_c(json, '}');
}

char *
master_slots_to_json(const struct virtcrypt_master_status_ret *status)
{
    g_autoptr(GString) json = g_string_new(NULL);

    g_string_append_printf(
        json, "{\"locked\": %s, \"locked-reason\": ", status->locked ? "true" : "false");
    output_append_json(json, status->locked_reason);
    g_string_append(json, ", \"key-id\": \"");
    for (uint32_t i = 0; i < status->key_id_len; i++)
        g_string_append_printf(json, "%02x", status->key_id[i]);
    g_string_append_printf(json, "\", \"rotating\": %s, \"left\": %" PRIu64 ", \"problem\": ",
                           status->is_rotating ? "true" : "false", status->left);
    output_append_json(json, status->problem);
    g_string_append(json, ", \"rollback\": ");
    output_append_json(json, status->rollback);
    g_string_append(json, ", \"slots\": [");
    for (uint32_t i = 0; i < status->slots_len; i++) {
        g_string_append(json, i > 0 ? ",\n" : "\n");
        append_slot(json, &status->slots[i]);
    }
    g_string_append(json, status->slots_len > 0 ? "\n]}" : "]}");
    return g_string_free(g_steal_pointer(&json), FALSE);
}
