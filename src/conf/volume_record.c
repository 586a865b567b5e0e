/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: reading and writing records (docs/volume-record.md). Reading is strict: a record with
 * something that is not understood was written by another version, and must not be acted on.
 */
#include "conf/volume_record.h"

#include <inttypes.h>
#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/record_xml.h"
#include "conf/volume_def.h"
#include "conf/xml_document.h"
#include "conf/xml_strict.h"
#include "conf/xml_text.h"
#include "util/error.h"

static const char *const kind_names[] = {
    [VOLUME_KIND_QCOW2] = "qcow2",
    [VOLUME_KIND_RAW] = "raw",
    [VOLUME_KIND_DM_CRYPT] = "dm-crypt",
};
G_STATIC_ASSERT(G_N_ELEMENTS(kind_names) == VOLUME_KIND_LAST);

static const char *const state_names[] = {
    [VOLUME_STATE_CREATING] = "creating", [VOLUME_STATE_READY] = "ready",
    [VOLUME_STATE_REKEYING] = "rekeying", [VOLUME_STATE_DELETING] = "deleting",
    [VOLUME_STATE_WIPING] = "wiping",     [VOLUME_STATE_ADOPTING] = "adopting",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == VOLUME_STATE_LAST);

const char *
volume_kind_name(enum volume_kind kind)
{
    return (unsigned int)kind < VOLUME_KIND_LAST ? kind_names[kind] : "unknown";
}

char *
volume_record_format(const struct volume_record *record)
{
    GString *text = g_string_sized_new(1024);
    char uuid[UUID_TEXT_SIZE];

    g_string_append(text, "<volumeRecord version='1'>\n");
    xml_append_element(text, 2, "pool", record->pool);
    xml_append_element(text, 2, "name", record->name);
    xml_append_element(text, 2, "kind", volume_kind_name(record->kind));
    xml_append_element(text, 2, "state", state_names[record->state]);
    xml_append_element(text, 2, "path", record->path);
    xml_append_element(text, 2, "device", record->device);
    xml_append_element(text, 2, "temporary", record->temporary);
    xml_append_element(text, 2, "made", record_xml_yes_no[record->is_made]);
    g_string_append_printf(text, "  <capacity>%" PRIu64 "</capacity>\n", record->capacity);
    encryption_format(record->encryption, 2, text);
    xml_append_element(text, 2, "generated", record_xml_yes_no[record->secret_is_generated]);
    xml_append_element(text, 2, "stored", record_xml_yes_no[record->secret_is_stored]);
    if (record->has_other_secret) {
        xml_append_element(text, 2, "otherSecret", uuid_format(&record->other_secret, uuid));
        xml_append_element(text, 2, "otherMade", record_xml_yes_no[record->other_secret_is_made]);
    }
    g_string_append(text, "</volumeRecord>\n");
    return g_string_free(text, FALSE);
}

static bool
parse_name(const xmlNode *root, const char *element, const char *what, char **ret_name,
           GError **error)
{
    return record_xml_get_text(root, element, ret_name, error) &&
           volume_def_check_name(what, *ret_name, error);
}

static bool
parse_other_secret(const xmlNode *root, struct volume_record *record, GError **error)
{
    record->has_other_secret = xml_find_element(root->children, "otherSecret") != NULL;
    if (!record->has_other_secret && xml_find_element(root->children, "otherMade")) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "the record has <otherMade> without <otherSecret>");
        return false;
    }
    return !record->has_other_secret ||
           (record_xml_get_uuid(root, "otherSecret", &record->other_secret, error) &&
            record_xml_get_yes_no(root, "otherMade", &record->other_secret_is_made, error));
}

static bool
parse_encryption(const xmlNode *root, struct volume_record *record, GError **error)
{
    xmlNode *element = xml_find_element(root->children, "encryption");

    if (!element) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the record has no <encryption>");
        return false;
    }
    record->encryption = encryption_parse(element, error);
    return record->encryption != NULL;
}

/* What holds for every record. */
static bool
check_record(const struct volume_record *record, GError **error)
{
    const char *fault = NULL;

    if (record->encryption->secret_by != ENCRYPTION_SECRET_UUID)
        fault = "names no secret by its uuid";
    else if (encryption_is_dm_crypt(record->encryption) != (record->kind == VOLUME_KIND_DM_CRYPT))
        fault = "has an engine that is not that of its kind";
    else if (record->state == VOLUME_STATE_REKEYING && !record->has_other_secret)
        fault = "is of a volume being re-keyed and has no <otherSecret>";
    if (!fault)
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the record %s", fault);
    return false;
}

static bool
parse_place(const xmlNode *root, struct volume_record *record, GError **error)
{
    bool has_temporary = xml_find_element(root->children, "temporary") != NULL;

    return record_xml_get_path(root, "path", &record->path, error) &&
           record_xml_get_path(root, "device", &record->device, error) &&
           (!has_temporary || record_xml_get_path(root, "temporary", &record->temporary, error)) &&
           record_xml_get_yes_no(root, "made", &record->is_made, error) &&
           record_xml_get_number(root, "capacity", "a number of bytes", UINT64_MAX,
                                 &record->capacity, error);
}

static struct volume_record *
parse_record(const xmlNode *root, GError **error)
{
    static const char *const children[] = {"pool",        "name",       "kind",      "state",
                                           "path",        "device",     "temporary", "made",
                                           "capacity",    "encryption", "generated", "stored",
                                           "otherSecret", "otherMade",  NULL};
    g_autoptr(volume_record_t) record = g_new0(struct volume_record, 1);
    int kind;
    int state;

    if (!record_xml_check_version(root, error) || !xml_check_children(root, children, error) ||
        !parse_name(root, "pool", "pool", &record->pool, error) ||
        !parse_name(root, "name", "volume", &record->name, error) ||
        !record_xml_get_word(root, "kind", kind_names, VOLUME_KIND_LAST, &kind, error) ||
        !record_xml_get_word(root, "state", state_names, VOLUME_STATE_LAST, &state, error) ||
        !parse_place(root, record, error) || !parse_encryption(root, record, error) ||
        !record_xml_get_yes_no(root, "generated", &record->secret_is_generated, error) ||
        !record_xml_get_yes_no(root, "stored", &record->secret_is_stored, error) ||
        !parse_other_secret(root, record, error))
        return NULL;
    record->kind = (enum volume_kind)kind;
    record->state = (enum volume_state)state;
    return check_record(record, error) ? g_steal_pointer(&record) : NULL;
}

struct volume_record *
volume_record_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = NULL;

    if (len > VOLUME_RECORD_XML_MAX) {
        error_set(error, ERROR_FROM_STORAGE, ERROR_XML,
                  "the record has %zu bytes, which is more than %d", len, VOLUME_RECORD_XML_MAX);
        return NULL;
    }
    doc =
        xml_document_parse("(volume_record)", "volumeRecord", xml, len, ERROR_FROM_STORAGE, error);
    return doc ? parse_record(xmlDocGetRootElement(doc), error) : NULL;
}

struct volume_record *
volume_record_copy(const struct volume_record *record)
{
    struct volume_record *copy = g_new(struct volume_record, 1);

    *copy = *record;
    copy->pool = g_strdup(record->pool);
    copy->name = g_strdup(record->name);
    copy->path = g_strdup(record->path);
    copy->device = g_strdup(record->device);
    copy->temporary = g_strdup(record->temporary);
    copy->encryption = encryption_copy(record->encryption);
    return copy;
}

void
volume_record_free(struct volume_record *record)
{
    if (!record)
        return;
    g_free(record->pool);
    g_free(record->name);
    g_free(record->path);
    g_free(record->device);
    g_free(record->temporary);
    encryption_free(record->encryption);
    g_free(record);
}
