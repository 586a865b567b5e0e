/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: volume_spec.h.
 */
#include "tools/volume_spec.h"

#include <stdlib.h>
#include <string.h>

#include "util/error.h"

static const struct {
    const char *name;
    const char *format;     /* of the image */
    const char *encryption; /* attributes of <encryption> */
} kinds[] = {
    [VOLUME_SPEC_QCOW2] = {"qcow2", "qcow2", "format='luks'"},
    [VOLUME_SPEC_RAW] = {"raw", "raw", "format='luks'"},
    [VOLUME_SPEC_DM_CRYPT] = {"dm-crypt", "raw", "format='luks2' engine='dm-crypt'"},
    [VOLUME_SPEC_UNKNOWN] = {"unknown", NULL, "format='luks'"},
};
G_STATIC_ASSERT(G_N_ELEMENTS(kinds) == VOLUME_SPEC_UNKNOWN + 1);

const char *
volume_spec_kind_name(int kind)
{
    bool is_known = kind >= 0 && kind < VOLUME_SPEC_UNKNOWN;

    return kinds[is_known ? kind : VOLUME_SPEC_UNKNOWN].name;
}

bool
volume_spec_find_kind(const char *name, enum volume_spec_kind *ret_kind, GError **error)
{
    for (int i = 0; i < VOLUME_SPEC_UNKNOWN; i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            *ret_kind = (enum volume_spec_kind)i;
            return true;
        }
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "the format '%s' can't be encrypted: qcow2, raw and dm-crypt can", name);
    return false;
}

enum { CIPHER_NAME, CIPHER_BITS, CIPHER_MODE, CIPHER_IVGEN, CIPHER_HASH, CIPHER_PARTS };

/* Its parts, NULL for each that is missing; they are in `words`. */
static void
split_cipher(char **words, const char *parts[CIPHER_PARTS])
{
    guint count = g_strv_length(words);
    char *colon = count > CIPHER_IVGEN ? strchr(words[CIPHER_IVGEN], ':') : NULL;

    for (guint i = 0; i < CIPHER_PARTS; i++)
        parts[i] = i < count ? words[i] : NULL;
    parts[CIPHER_HASH] = NULL;
    if (colon) {
        *colon = '\0';
        parts[CIPHER_HASH] = colon + 1;
    }
}

static bool
is_word(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (!g_ascii_isalnum(*c) && *c != '_')
            return false;
    }
    return *text != '\0';
}

bool
volume_spec_check_cipher(const char *cipher, GError **error)
{
    g_auto(GStrv) words = g_strsplit(cipher, "-", CIPHER_PARTS);
    guint count = g_strv_length(words);
    const char *parts[CIPHER_PARTS];
    bool is_good = count > CIPHER_BITS && count <= CIPHER_HASH;
    unsigned long bits = is_good ? strtoul(words[CIPHER_BITS], NULL, 10) : 0;

    split_cipher(words, parts);
    for (guint i = 0; i < CIPHER_PARTS && is_good; i++)
        is_good = !parts[i] || is_word(parts[i]);
    is_good = is_good && strspn(parts[CIPHER_BITS], "0123456789") == strlen(parts[CIPHER_BITS]) &&
              strlen(parts[CIPHER_BITS]) <= 4 && bits > 0;
    if (!is_good)
        error_set(error, ERROR_FROM_STORAGE, ERROR_INVALID_ARG,
                  "the cipher '%s' is not of the form NAME-BITS-MODE-IVGEN or "
                  "NAME-BITS-MODE-IVGEN:HASH, like aes-256-xts-plain64; what follows BITS may be "
                  "left out",
                  cipher);
    return is_good;
}

static void
append_attribute(GString *xml, const char *name, const char *value)
{
    if (value)
        g_string_append_printf(xml, " %s='%s'", name, value);
}

static void
append_cipher(GString *xml, const char *cipher)
{
    g_auto(GStrv) words = g_strsplit(cipher, "-", CIPHER_PARTS);
    const char *parts[CIPHER_PARTS];

    split_cipher(words, parts);
    g_string_append(xml, "      <cipher");
    append_attribute(xml, "name", parts[CIPHER_NAME]);
    append_attribute(xml, "size", parts[CIPHER_BITS]);
    append_attribute(xml, "mode", parts[CIPHER_MODE]);
    g_string_append(xml, "/>\n");
    if (!parts[CIPHER_IVGEN])
        return;
    g_string_append(xml, "      <ivgen");
    append_attribute(xml, "name", parts[CIPHER_IVGEN]);
    append_attribute(xml, "hash", parts[CIPHER_HASH]);
    g_string_append(xml, "/>\n");
}

static void
append_encryption(GString *xml, const struct volume_spec *spec)
{
    char uuid[UUID_TEXT_SIZE];

    g_string_append_printf(xml, "    <encryption %s", kinds[spec->kind].encryption);
    if (!spec->has_secret && !spec->cipher) {
        g_string_append(xml, "/>\n");
        return;
    }
    g_string_append(xml, ">\n");
    if (spec->has_secret)
        g_string_append_printf(xml, "      <secret type='passphrase' uuid='%s'/>\n",
                               uuid_format(&spec->secret, uuid));
    if (spec->cipher)
        append_cipher(xml, spec->cipher);
    g_string_append(xml, "    </encryption>\n");
}

/* Nothing for NULL. */
static void
append_element(GString *xml, const char *indent, const char *name, const char *text)
{
    g_autofree char *escaped = text ? g_markup_escape_text(text, -1) : NULL;

    if (escaped)
        g_string_append_printf(xml, "%s<%s>%s</%s>\n", indent, name, escaped, name);
}

static void
append_target(GString *xml, const struct volume_spec *spec)
{
    const char *format = kinds[spec->kind].format;

    if (!format && !spec->is_encrypted && !spec->path)
        return;
    g_string_append(xml, "  <target>\n");
    append_element(xml, "    ", "path", spec->path);
    if (format)
        g_string_append_printf(xml, "    <format type='%s'/>\n", format);
    if (spec->is_encrypted)
        append_encryption(xml, spec);
    g_string_append(xml, "  </target>\n");
}

char *
volume_spec_format(const struct volume_spec *spec)
{
    g_autoptr(GString) xml = g_string_new("<volume>\n");

    append_element(xml, "  ", "name", spec->name);
    if (spec->has_capacity)
        g_string_append_printf(xml, "  <capacity>%" G_GUINT64_FORMAT "</capacity>\n",
                               spec->capacity);
    if (spec->has_allocation)
        g_string_append_printf(xml, "  <allocation>%" G_GUINT64_FORMAT "</allocation>\n",
                               spec->allocation);
    append_target(xml, spec);
    if (spec->backing_path) {
        g_autofree char *format =
            spec->backing_format ? g_markup_escape_text(spec->backing_format, -1) : NULL;

        g_string_append(xml, "  <backingStore>\n");
        append_element(xml, "    ", "path", spec->backing_path);
        if (format)
            g_string_append_printf(xml, "    <format type='%s'/>\n", format);
        g_string_append(xml, "  </backingStore>\n");
    }
    g_string_append(xml, "</volume>\n");
    return g_string_free(g_steal_pointer(&xml), FALSE);
}
