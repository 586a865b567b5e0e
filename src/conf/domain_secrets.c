/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: finding the secrets of a domain (https://libvirt.org/formatdomain.html), of its snapshots
 * and checkpoints. libvirt has checked the rest, and what has no secret is not looked at: an
 * encryption that we do not know has a secret like any other.
 */
#include "conf/domain_secrets.h"

#include "conf/domain_disks_xml.h"
#include "conf/xml_document.h"
#include "util/error.h"

/* Where a secret is named. */
struct spot {
    struct domain_secrets *found;
    const char *place; /* "disk vda" */
};

static void
free_secret(void *data)
{
    struct domain_secret *secret = data;

    g_free(secret->place);
    g_free(secret->usage);
    g_free(secret->volume);
    g_free(secret);
}

static void
free_source(void *data)
{
    disk_source_free(data);
}

void
domain_secrets_free(struct domain_secrets *secrets)
{
    if (!secrets)
        return;
    g_free(secrets->name);
    g_ptr_array_unref(secrets->secrets);
    g_ptr_array_unref(secrets->sources);
    g_ptr_array_unref(secrets->places);
    g_free(secrets);
}

/* ---- one secret ---- */

static bool
set_uuid(struct domain_secret *secret, const char *text, GError **error)
{
    secret->has_uuid = text && uuid_parse(text, &secret->uuid);
    if (secret->has_uuid)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_XML, "%s: the secret '%s' is no UUID", secret->place,
              text ? text : "");
    return false;
}

static struct domain_secret *
add_secret(const struct spot *spot, const char *volume)
{
    struct domain_secret *secret = g_new0(struct domain_secret, 1);

    secret->place = g_strdup(spot->place);
    secret->volume = g_strdup(volume);
    g_ptr_array_add(spot->found->secrets, secret);
    return secret;
}

/* <secret type='...' uuid='...'/> or usage='...'. */
static bool
read_secret(const xmlNode *node, struct domain_secret *secret, GError **error)
{
    g_autofree char *uuid = xml_get_attribute(node, "uuid");

    if (uuid)
        return set_uuid(secret, uuid, error);
    secret->usage = xml_get_attribute(node, "usage");
    if (secret->usage)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_XML, "%s: a <secret> has neither uuid nor usage",
              secret->place);
    return false;
}

/* Any number: engine='librbd' has one for each layer. */
static bool
add_encryption(const struct spot *spot, const xmlNode *encryption, const char *volume,
               GError **error)
{
    const xmlNode *node = encryption ? xml_find_element(encryption->children, "secret") : NULL;

    for (; node; node = xml_find_element(node->next, "secret")) {
        struct domain_secret *secret = add_secret(spot, volume);

        secret->usage_type = SECRET_USAGE_VOLUME;
        secret->is_encryption = true;
        if (!read_secret(node, secret, error))
            return false;
    }
    return true;
}

/* As the secret's type says; without one, as the protocol does. */
static enum secret_usage_type
find_usage_type(const xmlNode *node, const xmlNode *source)
{
    g_autofree char *type = xml_get_attribute(node, "type");
    g_autofree char *protocol = xml_get_attribute(source, "protocol");

    if (g_strcmp0(type, secret_usage_type_name(SECRET_USAGE_ISCSI)) == 0 ||
        (!type && g_strcmp0(protocol, "iscsi") == 0))
        return SECRET_USAGE_ISCSI;
    return SECRET_USAGE_CEPH;
}

/* `source`: the <source> that is opened with it. */
static bool
add_auth(const struct spot *spot, const xmlNode *auth, const xmlNode *source, GError **error)
{
    const xmlNode *node = auth ? xml_find_element(auth->children, "secret") : NULL;
    struct domain_secret *secret;

    if (!node)
        return true;
    secret = add_secret(spot, NULL);
    secret->usage_type = find_usage_type(node, source);
    return read_secret(node, secret, error);
}

/* ---- disks ---- */

char *
domain_secrets_name_volume(const struct disk_source *source)
{
    if (source->type == DISK_SOURCE_OTHER)
        return NULL;
    return source->type == DISK_SOURCE_VOLUME
               ? g_strdup_printf("%s/%s", source->pool, source->volume)
               : g_strdup(source->path);
}

static bool
add_source(const xmlNode *node, char *format, void *opaque, GError **error)
{
    const struct spot *spot = opaque;
    struct disk_source *source = disk_source_parse(node, format);
    g_autofree char *volume = source ? domain_secrets_name_volume(source) : NULL;

    if (source) {
        g_ptr_array_add(spot->found->sources, source);
        g_ptr_array_add(spot->found->places, g_strdup(spot->place));
    }
    return add_encryption(spot, disk_source_find(node, "encryption"), volume, error) &&
           add_auth(spot, disk_source_find(node, "auth"),
                    xml_find_element(node->children, "source"), error);
}

static bool
add_disks(struct domain_secrets *found, const xmlNode *parent, GError **error)
{
    const xmlNode *disk = parent ? xml_find_element(parent->children, "disk") : NULL;

    for (; disk; disk = xml_find_element(disk->next, "disk")) {
        g_autofree char *target =
            xml_get_attribute(xml_find_element(disk->children, "target"), "dev");
        g_autofree char *name = target ? NULL : xml_get_attribute(disk, "name");
        g_autofree char *place = g_strdup_printf("disk %s", target ? target : name ? name : "?");
        struct spot spot = {found, place};

        if (!disk_source_visit(disk, add_source, &spot, error))
            return false;
    }
    return true;
}

/* ---- other devices ---- */

static bool
add_hostdevs(struct domain_secrets *found, const xmlNode *devices, GError **error)
{
    const xmlNode *node = xml_find_element(devices->children, "hostdev");

    for (unsigned int i = 0; node; node = xml_find_element(node->next, "hostdev"), i++) {
        g_autofree char *place = g_strdup_printf("hostdev %u", i);
        const struct spot spot = {found, place};
        const xmlNode *source = xml_find_element(node->children, "source");

        if (source && !add_auth(&spot, xml_find_element(source->children, "auth"), source, error))
            return false;
    }
    return true;
}

/* <tpm><backend type='emulator'><encryption secret='UUID'/></backend></tpm> */
static bool
add_tpms(struct domain_secrets *found, const xmlNode *devices, GError **error)
{
    static const char place[] = "tpm";
    const struct spot spot = {found, place};
    const xmlNode *node = xml_find_element(devices->children, "tpm");

    for (; node; node = xml_find_element(node->next, "tpm")) {
        const xmlNode *backend = xml_find_element(node->children, "backend");
        const xmlNode *encryption =
            backend ? xml_find_element(backend->children, "encryption") : NULL;
        g_autofree char *uuid = xml_get_attribute(encryption, "secret");
        struct domain_secret *secret;

        if (!encryption)
            continue;
        secret = add_secret(&spot, NULL);
        secret->usage_type = SECRET_USAGE_VTPM;
        secret->is_encryption = true;
        if (!set_uuid(secret, uuid, error))
            return false;
    }
    return true;
}

/* ---- documents ---- */

static bool
take_names(struct domain_secrets *found, const xmlNode *domain, GError **error)
{
    g_autofree char *uuid = xml_get_text(xml_find_element(domain->children, "uuid"));
    g_autofree char *name = xml_get_text(xml_find_element(domain->children, "name"));

    if (!uuid || !uuid_parse(uuid, &found->uuid)) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML, "the domain's XML has no valid <uuid>");
        return false;
    }
    if (name) {
        g_free(found->name);
        found->name = g_steal_pointer(&name);
    }
    return true;
}

static bool
add_domain(struct domain_secrets *found, const xmlNode *domain, GError **error)
{
    const xmlNode *devices = xml_find_element(domain->children, "devices");

    return take_names(found, domain, error) &&
           (!devices || (add_disks(found, devices, error) && add_hostdevs(found, devices, error) &&
                         add_tpms(found, devices, error)));
}

/* A snapshot has the domain as it was, as it would have started then, and disks that were new; a
 * checkpoint the first of these. */
static bool
add_snapshot(struct domain_secrets *found, const xmlNode *root, GError **error)
{
    static const char *const domains[] = {"domain", "inactiveDomain"};

    for (size_t i = 0; i < G_N_ELEMENTS(domains); i++) {
        const xmlNode *domain = xml_find_element(root->children, domains[i]);

        if (domain && !add_domain(found, domain, error))
            return false;
    }
    return add_disks(found, xml_find_element(root->children, "disks"), error);
}

static bool
add_document(struct domain_secrets *found, const xmlNode *root, GError **error)
{
    const char *name = (const char *)root->name;
    const xmlNode *domain = root;

    if (g_str_equal(name, "domainsnapshot") || g_str_equal(name, "domaincheckpoint"))
        return add_snapshot(found, root, error);
    if (g_str_equal(name, "domstatus"))
        domain = xml_find_element(root->children, "domain");
    if (domain && g_str_equal((const char *)domain->name, "domain"))
        return add_domain(found, domain, error);
    error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
              "expecting an element 'domain' (alone or in 'domstatus'), 'domainsnapshot' or "
              "'domaincheckpoint'");
    return false;
}

struct domain_secrets *
domain_secrets_parse(const char *xml, size_t len, GError **error)
{
    g_autoptr(xml_document_t) doc = NULL;
    g_autoptr(domain_secrets_t) found = NULL;

    if (len > DOMAIN_XML_MAX) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_XML,
                  "the definition of the domain has %zu bytes, which is more than %d", len,
                  DOMAIN_XML_MAX);
        return NULL;
    }
    doc = xml_document_parse("(domain_definition)", NULL, xml, len, ERROR_FROM_DOMAIN, error);
    if (!doc)
        return NULL;
    found = g_new0(struct domain_secrets, 1);
    found->secrets = g_ptr_array_new_with_free_func(free_secret);
    found->sources = g_ptr_array_new_with_free_func(free_source);
    found->places = g_ptr_array_new_with_free_func(g_free);
    return add_document(found, xmlDocGetRootElement(doc), error) ? g_steal_pointer(&found) : NULL;
}
