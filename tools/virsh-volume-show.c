/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: vol-info, vol-list, vol-dumpxml, vol-path.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/output.h"
#include "tools/size.h"
#include "tools/virsh-volume-commands.h"
#include "tools/volume_pages.h"
#include "tools/volume_spec.h"
#include "tools/xpath.h"
#include "util/uuid.h"

static const char *
type_name(int32_t type)
{
    static const char *const names[] = {"file", "block"}; /* of virStorageVolType */

    return type >= 0 && (size_t)type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}

static bool
get_info(struct session *session, const struct virtcrypt_volume_entry *volume,
         struct virtcrypt_volume_get_info_ret *ret_info, GError **error)
{
    const struct virtcrypt_volume_ref_args call = {
        .volume = {.pool = volume->pool, .name = volume->name},
    };

    return virtcrypt_volume_get_info_call(session->client, &call, ret_info, error);
}

/* NULL without a secret. */
static char *
secret_text(const struct virtcrypt_volume_entry *volume)
{
    char text[UUID_TEXT_SIZE];
    struct uuid uuid;

    if (!volume->secret)
        return NULL;
    memcpy(uuid.bytes, volume->secret, sizeof(uuid.bytes));
    return g_strdup(uuid_format(&uuid, text));
}

static void
append_number(GString *json, const char *name, uint64_t number)
{
    g_string_append_printf(json, ", \"%s\": %" PRIu64, name, number);
}

static void
append_text(GString *json, const char *name, const char *text)
{
    g_string_append_printf(json, "%s\"%s\": ", json->str[json->len - 1] == '{' ? "" : ", ", name);
    output_append_json(json, text);
}

/* `info` may be NULL. */
static void
append_volume(GString *json, const struct virtcrypt_volume_entry *volume,
              const struct virtcrypt_volume_get_info_ret *info)
{
    g_autofree char *secret = secret_text(volume);

    g_string_append_c(json, '{');
    append_text(json, "pool", volume->pool);
    append_text(json, "name", volume->name);
    append_text(json, "path", volume->path);
    append_text(json, "encryption", volume_spec_kind_name(volume->kind));
    append_text(json, "secret", secret);
    g_string_append_printf(json, ", \"secret-is-generated\": %s, \"is-open\": %s",
                           volume->secret_is_generated ? "true" : "false",
                           volume->is_open ? "true" : "false");
    append_text(json, "users", volume->users);
    append_text(json, "state", volume->state);
    if (info) {
        append_text(json, "type", type_name(info->type));
        append_number(json, "capacity", info->capacity);
        append_number(json, "allocation", info->allocation);
        append_number(json, "physical", info->physical);
    }
    g_string_append_c(json, '}');
}

static void
print_size(const char *label, uint64_t bytes, bool in_bytes)
{
    const char *unit;
    double scaled = size_scale(bytes, &unit);

    if (in_bytes)
        printf("%-15s %" PRIu64 " bytes\n", label, bytes);
    else
        printf("%-15s %.2f %s\n", label, scaled, unit);
}

/* Four lines as virsh has them, then ours. */
static void
print_info(const struct command_args *args, const struct virtcrypt_volume_entry *volume,
           const struct virtcrypt_volume_get_info_ret *info)
{
    g_autofree char *secret = secret_text(volume);
    bool in_bytes = command_has(args, "bytes");
    bool is_physical = command_has(args, "physical");

    printf("%-15s %s\n", "Name:", volume->name);
    printf("%-15s %s\n", "Type:", type_name(info->type));
    print_size("Capacity:", info->capacity, in_bytes);
    print_size(is_physical ? "Physical:" : "Allocation:",
               is_physical ? info->physical : info->allocation, in_bytes);
    printf("%-15s %s\n", "Pool:", volume->pool);
    printf("%-15s %s\n", "Path:", volume->path);
    printf("%-15s %s\n", "Encryption:", volume_spec_kind_name(volume->kind));
    if (secret)
        printf("%-15s %s%s\n", "Secret:", secret,
               volume->secret_is_generated ? " (generated)" : "");
    if (volume->kind == VOLUME_SPEC_DM_CRYPT)
        printf("%-15s %s\n", "Open:", volume->is_open ? "yes" : "no");
    if (volume->users)
        printf("%-15s %s\n", "Used by:", volume->users);
    if (volume->state)
        printf("%-15s %s\n", "State:", volume->state);
}

bool
virsh_volume_info(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    struct virtcrypt_volume_get_info_ret info = {0};
    g_autoptr(GError) error = NULL;

    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    if (!get_info(session, &volume, &info, &error))
        return output_gerror(error);
    if (command_has(args, "json")) {
        g_autoptr(GString) json = g_string_new(NULL);

        append_volume(json, &volume, &info);
        printf("%s\n", json->str);
    } else {
        print_info(args, &volume, &info);
    }
    return true;
}

/* Columns, in their order; which ones are there depends on what was asked for. */
struct column {
    const char *head;
    bool is_wanted;
};

enum {
    COLUMN_POOL,
    COLUMN_NAME,
    COLUMN_PATH,
    COLUMN_TYPE,
    COLUMN_CAPACITY,
    COLUMN_ALLOCATION,
    COLUMN_ENCRYPTION,
    COLUMN_OPEN,
    COLUMN_STATE,
    COLUMN_COUNT
};

static char *
size_text(uint64_t bytes)
{
    const char *unit;
    double scaled = size_scale(bytes, &unit);

    return g_strdup_printf("%.2f %s", scaled, unit);
}

/* The state of one that is used says by whom. */
static char *
state_text(const struct virtcrypt_volume_entry *volume)
{
    if (volume->state)
        return g_strdup(volume->state);
    return volume->users ? g_strconcat("used by ", volume->users, NULL) : g_strdup("-");
}

static char *
cell_of(int column, const struct virtcrypt_volume_entry *volume,
        const struct virtcrypt_volume_get_info_ret *info)
{
    switch (column) {
    case COLUMN_POOL:
        return g_strdup(volume->pool);
    case COLUMN_NAME:
        return g_strdup(volume->name);
    case COLUMN_PATH:
        return g_strdup(volume->path);
    case COLUMN_TYPE:
        return g_strdup(info ? type_name(info->type) : "-");
    case COLUMN_CAPACITY:
        return info ? size_text(info->capacity) : g_strdup("-");
    case COLUMN_ALLOCATION:
        return info ? size_text(info->allocation) : g_strdup("-");
    case COLUMN_ENCRYPTION:
        return g_strdup(volume_spec_kind_name(volume->kind));
    case COLUMN_OPEN:
        return g_strdup(volume->kind != VOLUME_SPEC_DM_CRYPT ? "-"
                        : volume->is_open                    ? "yes"
                                                             : "no");
    default:
        return state_text(volume);
    }
}

struct listing {
    struct session *session;
    GPtrArray *volumes; /* of struct virtcrypt_volume_entry */
    bool has_details;
    bool has_pools; /* is of all pools */
};

/* One that can't be looked into (its container is gone, say) is listed all the same. */
static bool
find_details(const struct listing *listing, const struct virtcrypt_volume_entry *volume,
             struct virtcrypt_volume_get_info_ret *ret_info)
{
    g_autoptr(GError) error = NULL;

    if (!listing->has_details)
        return false;
    if (get_info(listing->session, volume, ret_info, &error))
        return true;
    output_note("vol %s of pool %s: %s", volume->name, volume->pool, error->message);
    return false;
}

static void
print_table(const struct listing *listing)
{
    bool details = listing->has_details;
    const struct column columns[COLUMN_COUNT] = {
        [COLUMN_POOL] = {"Pool", listing->has_pools},
        [COLUMN_NAME] = {"Name", true},
        [COLUMN_PATH] = {"Path", true},
        [COLUMN_TYPE] = {"Type", details},
        [COLUMN_CAPACITY] = {"Capacity", details},
        [COLUMN_ALLOCATION] = {"Allocation", details},
        [COLUMN_ENCRYPTION] = {"Encryption", details},
        [COLUMN_OPEN] = {"Open", details},
        [COLUMN_STATE] = {"State", details},
    };
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
    guint count = 0;

    for (int i = 0; i < COLUMN_COUNT; i++) {
        if (!columns[i].is_wanted)
            continue;
        g_ptr_array_add(cells, g_strdup(columns[i].head));
        count++;
    }
    for (guint i = 0; i < listing->volumes->len; i++) {
        const struct virtcrypt_volume_entry *volume = g_ptr_array_index(listing->volumes, i);
        struct virtcrypt_volume_get_info_ret info = {0};
        bool has_info = find_details(listing, volume, &info);

        for (int j = 0; j < COLUMN_COUNT; j++) {
            if (columns[j].is_wanted)
                g_ptr_array_add(cells, cell_of(j, volume, has_info ? &info : NULL));
        }
    }
    output_table(cells, count, listing->session->is_quiet);
}

static void
print_json(const struct listing *listing)
{
    g_autoptr(GString) json = g_string_new("[");
    guint count = listing->volumes->len;

    for (guint i = 0; i < count; i++) {
        const struct virtcrypt_volume_entry *volume = g_ptr_array_index(listing->volumes, i);
        struct virtcrypt_volume_get_info_ret info = {0};
        bool has_info = find_details(listing, volume, &info);

        g_string_append(json, i > 0 ? ",\n  " : "\n  ");
        append_volume(json, volume, has_info ? &info : NULL);
    }
    printf("%s%s]\n", json->str, count > 0 ? "\n" : "");
}

bool
virsh_volume_list(struct session *session, const struct command_args *args)
{
    g_autoptr(GPtrArray) volumes = NULL;
    g_autoptr(GError) error = NULL;
    struct listing listing = {.session = session, .has_details = command_has(args, "details")};
    char *pool = NULL;

    if (!command_get_text(args, "pool", &pool, &error))
        return output_gerror(error);
    volumes = volume_pages_get(session->client, pool, &error);
    if (!volumes)
        return output_failure(error, "Failed to list volumes");
    listing.volumes = volumes;
    listing.has_pools = !pool;
    if (command_has(args, "json"))
        print_json(&listing);
    else
        print_table(&listing);
    return true;
}

bool
virsh_volume_dumpxml(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};
    struct virtcrypt_volume_ref_args call = {0};
    struct virtcrypt_volume_get_xml_desc_ret description = {0};
    g_autoptr(GError) error = NULL;
    g_autofree char *picked = NULL;
    g_autofree char *xml = NULL;
    char *expression = NULL;

    if (!command_get_text(args, "xpath", &expression, &error))
        return output_gerror(error);
    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    call.volume = (struct virtcrypt_volume_ref){.pool = volume.pool, .name = volume.name};
    if (!virtcrypt_volume_get_xml_desc_call(session->client, &call, &description, &error))
        return output_gerror(error);
    xml = g_steal_pointer(&description.xml);
    if (expression) {
        picked = xpath_pick(xml, expression, command_has(args, "wrap"), &error);
        if (!picked)
            return output_gerror(error);
    }
    printf("%s", picked ? picked : xml);
    return true;
}

bool
virsh_volume_path(struct session *session, const struct command_args *args)
{
    g_auto(virtcrypt_volume_entry_t) volume = {0};

    if (!virsh_volume_lookup(session, args, &volume))
        return false;
    printf("%s\n", volume.path);
    return true;
}
