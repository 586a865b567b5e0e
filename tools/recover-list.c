/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: virtcrypt-recover's list and verify.
 */
#include <stdio.h>

#include "secret/owners.h"
#include "tools/output.h"
#include "tools/recover-commands.h"

/* ---- list ---- */

/* One line, as text. */
struct row {
    char *uuid;
    char *usage;
    char *guests; /* that own it, by blanks */
    char *generation;
    const char *value;
    const char *problem; /* or NULL */
};

static void
row_free(void *opaque)
{
    struct row *row = opaque;

    g_free(row->uuid);
    g_free(row->usage);
    g_free(row->guests);
    g_free(row->generation);
    g_free(row);
}

static char *
join_guests(const struct offline_secret *secret)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char guest[UUID_TEXT_SIZE];

    for (guint i = 0; i < owners_count(secret->owners); i++)
        g_string_append_printf(text, "%s%s", i > 0 ? " " : "",
                               uuid_format(owners_at(secret->owners, i), guest));
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static struct row *
row_new(const struct recover *recover, const struct offline_secret *secret)
{
    struct row *row = g_new0(struct row, 1);
    char uuid[UUID_TEXT_SIZE];

    row->uuid = g_strdup(uuid_format(&secret->entry.uuid, uuid));
    row->usage = g_strdup(secret->def ? secret->def->usage_id : NULL);
    row->guests = join_guests(secret);
    row->generation = g_strdup_printf("%" G_GUINT64_FORMAT, secret->reading.value.generation);
    row->value = recover_value_state(recover, secret);
    row->problem = secret->problem ? secret->problem : offline_store_find_loss(secret);
    return row;
}

static void
append_row(GString *json, const void *entry)
{
    const struct row *row = entry;
    const struct output_member members[] = {
        {"uuid", row->uuid},     {"usage", row->usage},           {"value", row->value},
        {"guests", row->guests}, {"generation", row->generation}, {"problem", row->problem},
    };

    output_append_json_object(json, members, G_N_ELEMENTS(members));
}

static void
print_rows(const GPtrArray *rows)
{
    static const char *const heads[] = {"UUID", "Usage", "Value"};
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(heads); i++)
        g_ptr_array_add(cells, g_strdup(heads[i]));
    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = rows->pdata[i];

        g_ptr_array_add(cells, g_strdup(row->uuid));
        g_ptr_array_add(cells, g_strdup(row->usage ? row->usage : "-"));
        g_ptr_array_add(cells, g_strdup(row->value));
    }
    output_table(cells, G_N_ELEMENTS(heads), false);
}

bool
recover_list(struct recover *recover, const struct command_args *args)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(row_free);
    const GPtrArray *problems;

    if (!recover_open(recover, args, true))
        return false;
    problems = offline_store_problems(recover->store);
    for (guint i = 0; i < problems->len; i++)
        output_warning(problems->pdata[i]);
    if (problems->len > 0)
        recover->status = RECOVER_LOSSES;
    for (guint i = 0; i < offline_store_count(recover->store); i++) {
        struct row *row = row_new(recover, offline_store_at(recover->store, i));

        g_ptr_array_add(rows, row);
        if (row->problem)
            recover->status = RECOVER_LOSSES;
    }
    if (command_has(args, "json")) {
        output_json_array(rows, append_row);
        return true;
    }
    print_rows(rows);
    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = rows->pdata[i];

        if (row->problem)
            output_note("%s: %s", row->uuid, row->problem);
    }
    return true;
}

/* ---- verify ---- */

struct finding {
    char *file;
    char *problem;
};

static void
finding_free(void *opaque)
{
    struct finding *finding = opaque;

    g_free(finding->file);
    g_free(finding->problem);
    g_free(finding);
}

static void
add_finding(GPtrArray *findings, const char *file, const char *problem)
{
    struct finding *finding = g_new(struct finding, 1);

    *finding = (struct finding){g_strdup(file), g_strdup(problem)};
    g_ptr_array_add(findings, finding);
}

static void
verify_secret(GPtrArray *findings, const struct offline_secret *secret)
{
    const struct service_reading *reading = &secret->reading;
    char uuid[UUID_TEXT_SIZE];
    char guest[UUID_TEXT_SIZE];

    uuid_format(&secret->entry.uuid, uuid);
    if (secret->problem)
        add_finding(findings, uuid, secret->problem);
    else if (offline_store_find_loss(secret))
        add_finding(findings, uuid, offline_store_find_loss(secret));
    for (guint i = 0; reading->problems && i < reading->problems->len; i++)
        add_finding(findings, uuid, reading->problems->pdata[i]);
    for (guint i = 0; i < owners_count(reading->stale); i++) {
        g_autofree char *file =
            g_strdup_printf("%s/%s.key", uuid_format(owners_at(reading->stale, i), guest), uuid);

        add_finding(findings, file,
                    "it is older than another copy: the daemon writes it anew at its next start");
    }
    if (secret->entry.has_base64)
        add_finding(findings, uuid,
                    "a value in libvirt's clear format is beside it: the daemon takes it over at "
                    "its next start");
}

static void
append_finding(GString *json, const void *entry)
{
    const struct finding *finding = entry;
    const struct output_member members[] = {
        {"file", finding->file},
        {"problem", finding->problem},
    };

    output_append_json_object(json, members, G_N_ELEMENTS(members));
}

bool
recover_verify(struct recover *recover, const struct command_args *args)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(finding_free);
    const GPtrArray *problems;

    if (!recover_open(recover, args, false))
        return false;
    problems = offline_store_problems(recover->store);
    for (guint i = 0; i < problems->len; i++)
        add_finding(findings, NULL, problems->pdata[i]);
    for (guint i = 0; i < offline_store_count(recover->store); i++)
        verify_secret(findings, offline_store_at(recover->store, i));
    if (findings->len > 0)
        recover->status = RECOVER_LOSSES;
    if (command_has(args, "json")) {
        output_json_array(findings, append_finding);
        return true;
    }
    for (guint i = 0; i < findings->len; i++) {
        const struct finding *finding = findings->pdata[i];

        printf("%s%s%s\n", finding->file ? finding->file : "", finding->file ? ": " : "",
               finding->problem);
    }
    printf("%u secrets, %u problems\n", offline_store_count(recover->store), findings->len);
    return true;
}
