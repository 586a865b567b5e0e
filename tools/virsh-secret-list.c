/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: secret-list. virtcrypt-secretd gives lists of any length a page at a time, with what is
 * known of each secret; libvirt's daemons have one call for at most 16384.
 */
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/remote_secret_client.h"
#include "rpc/protocol/virtcrypt_secret_client.h"
#include "tools/output.h"
#include "tools/virsh-secret-commands.h"
#include "util/error.h"
#include "util/uuid.h"

/* Of virConnectListAllSecrets; both of a pair are the same as none. */
enum {
    LIST_EPHEMERAL = 1,
    LIST_NO_EPHEMERAL = 2,
    LIST_PRIVATE = 4,
    LIST_NO_PRIVATE = 8,
};

enum known { IS_UNKNOWN, IS_FALSE, IS_TRUE };

struct row {
    struct uuid uuid;
    int32_t usage_type;
    char *usage_id;
    enum known ephemeral;
    enum known private;
    enum known has_value;
};

static void
row_clear(void *opaque)
{
    struct row *row = opaque;

    g_free(row->usage_id);
}

static GArray *
rows_new(void)
{
    GArray *rows = g_array_new(FALSE, FALSE, sizeof(struct row));

    g_array_set_clear_func(rows, row_clear);
    return rows;
}

/* Takes the secret's usage id. */
static struct row *
add_row(GArray *rows, struct remote_nonnull_secret *secret)
{
    struct row row = {
        .usage_type = secret->usageType,
        .usage_id = g_steal_pointer(&secret->usageID),
    };

    memcpy(row.uuid.bytes, secret->uuid, sizeof(row.uuid.bytes));
    secret->usageID = g_strdup("");
    g_array_append_val(rows, row);
    return &g_array_index(rows, struct row, rows->len - 1);
}

static enum known
known(bool value)
{
    return value ? IS_TRUE : IS_FALSE;
}

/* The uuid of the last row, or NULL. */
static uint8_t *
last_uuid(const GArray *rows)
{
    return rows->len ? g_array_index(rows, struct row, rows->len - 1).uuid.bytes : NULL;
}

/* One page. A server whose pages do not go forward would be asked for ever. */
static bool
add_page(struct session *session, GArray *rows, uint32_t flags, bool *ret_more, GError **error)
{
    uint8_t after[sizeof(((struct uuid *)NULL)->bytes)] = {0};
    const struct virtcrypt_secret_list_secrets_args call = {
        .after = rows->len ? memcpy(after, last_uuid(rows), sizeof(after)) : NULL,
        .max = VIRTCRYPT_SECRET_PAGE_MAX,
        .flags = flags,
    };
    struct virtcrypt_secret_list_secrets_ret page = {0};
    bool is_forward = true;

    if (!virtcrypt_secret_list_secrets_call(session->client, &call, &page, error))
        return false;
    for (uint32_t i = 0; i < page.secrets_len && is_forward; i++) {
        struct virtcrypt_secret_listed *listed = &page.secrets[i];
        const uint8_t *last = last_uuid(rows);
        struct row *row;

        is_forward = !last || memcmp(last, listed->secret.uuid, sizeof(after)) < 0;
        row = add_row(rows, &listed->secret);
        row->ephemeral = known(listed->ephemeral);
        row->private = known(listed->private);
        row->has_value = known(listed->has_value);
    }
    is_forward = is_forward && (page.secrets_len > 0 || !page.more);
    *ret_more = page.more;
    virtcrypt_secret_list_secrets_ret_clear(&page);
    if (!is_forward)
        error_set(error, ERROR_FROM_RPC, ERROR_RPC, "the server's list of secrets is out of order");
    return is_forward;
}

static GArray *
get_pages(struct session *session, uint32_t flags, GError **error)
{
    g_autoptr(GArray) rows = rows_new();
    bool more = true;

    while (more) {
        if (!add_page(session, rows, flags, &more, error))
            return NULL;
    }
    return g_steal_pointer(&rows);
}

static GArray *
get_all_at_once(struct session *session, uint32_t flags, GError **error)
{
    const struct remote_connect_list_all_secrets_args call = {.need_results = 1, .flags = flags};
    struct remote_connect_list_all_secrets_ret list = {0};
    GArray *rows;

    if (!remote_connect_list_all_secrets_call(session->client, &call, &list, error))
        return NULL;
    rows = rows_new();
    for (uint32_t i = 0; i < list.secrets_len; i++)
        add_row(rows, &list.secrets[i]);
    remote_connect_list_all_secrets_ret_clear(&list);
    return rows;
}

static GHashTable *
get_uuids(struct session *session, uint32_t flags, GError **error)
{
    g_autoptr(GArray) rows = get_all_at_once(session, flags, error);
    GHashTable *uuids;

    if (!rows)
        return NULL;
    uuids = g_hash_table_new_full(uuid_hash_key, uuid_equal_key, g_free, NULL);
    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = &g_array_index(rows, struct row, i);

        g_hash_table_add(uuids, g_memdup2(&row->uuid, sizeof(row->uuid)));
    }
    return uuids;
}

/* What a list of libvirt's does not say, found by filtered lists. */
static bool
add_attributes(struct session *session, GArray *rows, GError **error)
{
    g_autoptr(GHashTable) ephemeral = get_uuids(session, LIST_EPHEMERAL, error);
    g_autoptr(GHashTable) private = ephemeral ? get_uuids(session, LIST_PRIVATE, error) : NULL;

    if (!ephemeral || !private)
        return false;
    for (guint i = 0; i < rows->len; i++) {
        struct row *row = &g_array_index(rows, struct row, i);

        row->ephemeral = known(g_hash_table_contains(ephemeral, &row->uuid));
        row->private = known(g_hash_table_contains(private, &row->uuid));
    }
    return true;
}

static gint
compare_rows(gconstpointer a, gconstpointer b)
{
    const struct row *left = a;
    const struct row *right = b;

    return memcmp(left->uuid.bytes, right->uuid.bytes, sizeof(left->uuid.bytes));
}

static GArray *
get_rows(struct session *session, uint32_t flags, bool with_attributes, GError **error)
{
    g_autoptr(GError) refusal = NULL;
    g_autoptr(GArray) rows = get_pages(session, flags, &refusal);

    if (rows)
        return g_steal_pointer(&rows);
    /* That is what libvirt's daemons answer to a program that they do not know. */
    if (!error_is(refusal, ERROR_RPC)) {
        g_propagate_error(error, g_steal_pointer(&refusal));
        return NULL;
    }
    rows = get_all_at_once(session, flags, error);
    if (!rows || (with_attributes && !add_attributes(session, rows, error)))
        return NULL;
    g_array_sort(rows, compare_rows);
    return g_steal_pointer(&rows);
}

static const char *
usage_name(int32_t type)
{
    static const char *const names[] = {"none", "volume", "ceph", "iscsi", "tls", "vtpm"};

    return type >= 0 && (size_t)type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}

static void
print_table(const GArray *rows, bool is_quiet)
{
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(cells, g_strdup("UUID"));
    g_ptr_array_add(cells, g_strdup("Usage"));
    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = &g_array_index(rows, struct row, i);
        char text[UUID_TEXT_SIZE];

        g_ptr_array_add(cells, g_strdup(uuid_format(&row->uuid, text)));
        g_ptr_array_add(cells,
                        row->usage_type == 0
                            ? g_strdup("Unused")
                            : g_strdup_printf("%s %s", usage_name(row->usage_type), row->usage_id));
    }
    output_table(cells, 2, is_quiet);
}

static const char *
json_of(enum known value)
{
    static const char *const words[] = {"null", "false", "true"};

    return words[value];
}

static void
print_json(const GArray *rows)
{
    g_autoptr(GString) json = g_string_new("[");

    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = &g_array_index(rows, struct row, i);
        char text[UUID_TEXT_SIZE];

        g_string_append_printf(
            json,
            "%s\n  {\"uuid\": \"%s\", \"usage-type\": \"%s\", \"usage-id\": ", i > 0 ? "," : "",
            uuid_format(&row->uuid, text), usage_name(row->usage_type));
        output_append_json(json, row->usage_type == 0 ? NULL : row->usage_id);
        g_string_append_printf(json, ", \"ephemeral\": %s, \"private\": %s, \"has-value\": %s}",
                               json_of(row->ephemeral), json_of(row->private),
                               json_of(row->has_value));
    }
    printf("%s%s]\n", json->str, rows->len > 0 ? "\n" : "");
}

bool
virsh_secret_list(struct session *session, const struct command_args *args)
{
    static const struct {
        const char *name;
        uint32_t flag;
    } filters[] = {
        {"ephemeral", LIST_EPHEMERAL},
        {"no-ephemeral", LIST_NO_EPHEMERAL},
        {"private", LIST_PRIVATE},
        {"no-private", LIST_NO_PRIVATE},
    };
    bool is_json = command_has(args, "json");
    g_autoptr(GArray) rows = NULL;
    g_autoptr(GError) error = NULL;
    uint32_t flags = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(filters); i++)
        flags |= command_has(args, filters[i].name) ? filters[i].flag : 0;
    rows = get_rows(session, flags, is_json, &error);
    if (!rows)
        return output_failure(error, "Failed to list secrets");
    if (is_json)
        print_json(rows);
    else
        print_table(rows, session->is_quiet);
    return true;
}
