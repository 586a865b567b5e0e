/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: putting secrets and a uuid into a domain's XML. The places are found by a scan for tags and
 * proved afterwards: what is read back must be what was meant.
 */
#include "conf/domain_keys.h"

#include <string.h>

#include "conf/encryption_xml.h"
#include "conf/xml_scan.h"
#include "util/error.h"

/* From the depth of the document's element, which is 0. */
enum { DEVICES_DEPTH = 1, DISK_DEPTH = 2, SOURCE_DEPTH = 3 };

/* An element; close.start is NULL for <a/>, open.start if there is none. */
struct element {
    struct xml_span open;
    struct xml_span close;
};

struct places {
    struct element source;
    struct element encryption;
};

struct scan {
    const struct domain_key_place *wanted;
    struct places *places; /* one for each that is wanted */
    size_t count;
    struct element name; /* of the domain */
    bool in_devices;
    bool had_devices;
    bool in_disk;
    bool in_source; /* of the present layer */
    unsigned int disk;
    unsigned int layer;
};

static struct places *
find_places(const struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++) {
        const struct domain_volume *volume = scan->wanted[i].volume;

        if (volume->disk == scan->disk && volume->layer == scan->layer)
            return &scan->places[i];
    }
    return NULL;
}

/* The first of its kind counts. */
static void
note_open(struct element *element, const struct xml_tag *tag)
{
    if (!element->open.start)
        element->open = tag->span;
}

static void
note_close(struct element *element, const struct xml_tag *tag)
{
    if (element->open.start && !element->close.start)
        element->close = tag->span;
}

static void
see(struct element *element, const struct xml_tag *tag)
{
    if (tag->is_closing)
        note_close(element, tag);
    else
        note_open(element, tag);
}

static void
see_source(struct scan *scan, const struct xml_tag *tag)
{
    struct places *places = find_places(scan);

    scan->in_source = !tag->is_closing && !tag->is_empty;
    if (places)
        see(&places->source, tag);
}

static void
see_encryption(struct scan *scan, const struct xml_tag *tag)
{
    struct places *places = find_places(scan);

    if (places)
        see(&places->encryption, tag);
}

/* A layer's elements are one deeper than those of the layer above. */
static void
see_in_disk(struct scan *scan, const struct xml_tag *tag, unsigned int depth)
{
    unsigned int here = SOURCE_DEPTH + scan->layer;

    if (depth == here && xml_scan_is(tag, "source"))
        see_source(scan, tag);
    else if (xml_scan_is(tag, "encryption") &&
             (depth == here + 1 ? scan->in_source : depth == here && scan->layer == 0))
        see_encryption(scan, tag);
    else if (depth == here && xml_scan_is(tag, "backingStore") && !tag->is_closing)
        scan->layer += !tag->is_empty;
    else if (scan->layer > 0 && depth + 1 == here && xml_scan_is(tag, "backingStore"))
        scan->layer--;
}

static void
see_disk(struct scan *scan, const struct xml_tag *tag)
{
    scan->in_disk = !tag->is_closing && !tag->is_empty;
    scan->layer = 0;
    if (!scan->in_disk)
        scan->disk++;
}

static void
see_tag(struct scan *scan, const struct xml_tag *tag, unsigned int depth)
{
    if (depth == DEVICES_DEPTH && xml_scan_is(tag, "devices")) {
        scan->in_devices = !tag->is_closing && !tag->is_empty && !scan->had_devices;
        scan->had_devices = true;
    } else if (depth == DEVICES_DEPTH && xml_scan_is(tag, "name")) {
        see(&scan->name, tag);
    } else if (depth == DISK_DEPTH && scan->in_devices && xml_scan_is(tag, "disk")) {
        see_disk(scan, tag);
    } else if (scan->in_disk) {
        see_in_disk(scan, tag, depth);
    }
}

static void
scan_text(struct scan *scan, const char *xml)
{
    unsigned int depth = 0;
    struct xml_tag tag;

    for (const char *at = xml; xml_scan_next(at, &tag); at = tag.span.end) {
        if (tag.is_closing)
            depth--;
        see_tag(scan, &tag, depth);
        if (!tag.is_closing && !tag.is_empty)
            depth++;
    }
}

/* ---- changes of the text ---- */

struct change {
    struct xml_span replaced;
    char *text;
};

static void
clear_change(void *opaque)
{
    g_free(((struct change *)opaque)->text);
}

/* `child` is what goes into `element`: whole lines, indented by `indent` + 2. */
static struct change
add_child(const char *xml, const struct element *element, const char *name, const char *child)
{
    int indent = MAX(xml_scan_indent(xml, element->open.start), 0);
    const char *at;

    if (element->close.start) {
        at = element->close.start - MAX(xml_scan_indent(xml, element->close.start), 0);
        return (struct change){{at, at}, g_strdup(child)};
    }
    at = element->open.end - strlen("/>");
    while (at[-1] == ' ' || at[-1] == '\t' || at[-1] == '\n' || at[-1] == '\r')
        at--;
    return (struct change){{at, element->open.end},
                           g_strdup_printf(">\n%s%*s</%s>", child, indent, "", name)};
}

static struct change
add_secret(const char *xml, const struct places *places, const struct uuid *secret)
{
    const struct element *parent =
        places->encryption.open.start ? &places->encryption : &places->source;
    const struct encryption encryption = {
        .format = ENCRYPTION_FORMAT_LUKS,
        .secret_by = ENCRYPTION_SECRET_UUID,
        .secret_uuid = *secret,
    };
    int indent = MAX(xml_scan_indent(xml, parent->open.start), 0) + 2;
    g_autoptr(GString) child = g_string_new(NULL);
    char uuid[UUID_TEXT_SIZE];

    if (parent == &places->source) {
        encryption_format(&encryption, (unsigned int)indent, child);
        return add_child(xml, parent, "source", child->str);
    }
    g_string_append_printf(child, "%*s<secret type='passphrase' uuid='%s'/>\n", indent, "",
                           uuid_format(secret, uuid));
    return add_child(xml, parent, "encryption", child->str);
}

static struct change
add_uuid(const char *xml, const struct element *name, const struct uuid *uuid)
{
    int indent = xml_scan_indent(xml, name->open.start);
    char text[UUID_TEXT_SIZE];

    return (struct change){
        {name->close.end, name->close.end},
        g_strdup_printf("%s%*s<uuid>%s</uuid>", indent < 0 ? "" : "\n", MAX(indent, 0), "",
                        uuid_format(uuid, text)),
    };
}

static int
compare_changes(gconstpointer a, gconstpointer b)
{
    const char *first = ((const struct change *)a)->replaced.start;
    const char *second = ((const struct change *)b)->replaced.start;

    return (first > second) - (first < second);
}

static char *
apply(const char *xml, GArray *changes)
{
    GString *result = g_string_new(NULL);
    const char *at = xml;

    g_array_sort(changes, compare_changes);
    for (guint i = 0; i < changes->len; i++) {
        const struct change *change = &g_array_index(changes, struct change, i);

        g_string_append_len(result, at, change->replaced.start - at);
        g_string_append(result, change->text);
        at = change->replaced.end;
    }
    g_string_append(result, at);
    return g_string_free(result, FALSE);
}

/* ---- the proof ---- */

static bool
is_put(const struct domain_keys *keys, const struct domain_key_place *place)
{
    for (guint i = 0; i < keys->volumes->len; i++) {
        const struct domain_volume *volume = keys->volumes->pdata[i];

        if (volume->disk == place->volume->disk && volume->layer == place->volume->layer)
            return volume->encryption && volume->encryption->secret_by == ENCRYPTION_SECRET_UUID &&
                   uuid_equal(&volume->encryption->secret_uuid, &place->secret) &&
                   g_strcmp0(volume->path, place->volume->path) == 0;
    }
    return false;
}

static bool
prove(const char *xml, const struct uuid *uuid, const struct domain_key_place *places, size_t count,
      GError **error)
{
    g_autoptr(domain_keys_t) keys = domain_keys_parse(xml, strlen(xml), NULL);

    if (keys && keys->has_uuid && uuid_equal(&keys->uuid, uuid)) {
        size_t done = 0;

        while (done < count && is_put(keys, &places[done]))
            done++;
        if (done == count)
            return true;
    }
    error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
              "the secrets can't be put into this XML: write <uuid>, and <encryption "
              "format='luks'><secret type='passphrase' uuid='...'/></encryption> in the <source> "
              "of each disk, yourself");
    return false;
}

char *
domain_keys_put(const char *xml, const struct domain_keys *keys, const struct uuid *uuid,
                const struct domain_key_place *places, size_t count, GError **error)
{
    g_autofree struct places *found = g_new0(struct places, count + 1);
    struct scan scan = {.wanted = places, .places = found, .count = count};
    g_autoptr(GArray) changes = g_array_new(FALSE, FALSE, sizeof(struct change));
    g_autofree char *result = NULL;
    struct change change;

    g_array_set_clear_func(changes, clear_change);
    scan_text(&scan, xml);
    if (!keys->has_uuid && scan.name.close.start) {
        change = add_uuid(xml, &scan.name, uuid);
        g_array_append_val(changes, change);
    }
    for (size_t i = 0; i < count; i++) {
        if (!found[i].source.open.start)
            continue;
        change = add_secret(xml, &found[i], &places[i].secret);
        g_array_append_val(changes, change);
    }
    result = apply(xml, changes);
    return prove(result, uuid, places, count, error) ? g_steal_pointer(&result) : NULL;
}
