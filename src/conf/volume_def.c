/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the life of a volume's definition, and which names there may be.
 */
#include "conf/volume_def.h"

#include <string.h>

#include "conf/xml_text.h"
#include "util/error.h"

void
volume_def_free(struct volume_def *def)
{
    if (!def)
        return;
    g_free(def->name);
    g_free(def->path);
    g_free(def->format);
    g_free(def->permissions.label);
    g_free(def->compat);
    encryption_free(def->encryption);
    g_free(def->backing_path);
    g_free(def->backing_format);
    encryption_free(def->backing_encryption);
    g_free(def);
}

/* Of UTF-8 text; what XML cannot hold counts, too. */
static bool
has_control_character(const char *text)
{
    if (!xml_can_hold(text))
        return true;
    for (; *text; text = g_utf8_next_char(text)) {
        if (g_unichar_iscntrl(g_utf8_get_char(text)))
            return true;
    }
    return false;
}

G_STATIC_ASSERT(VOLUME_NAME_MAX == 200); /* as the text says */

static const char *
find_fault(const char *name)
{
    if (!*name)
        return "is empty";
    if (strlen(name) > VOLUME_NAME_MAX)
        return "has more than 200 bytes";
    if (strchr(name, '/'))
        return "cannot contain '/'";
    if (g_str_equal(name, ".") || g_str_equal(name, ".."))
        return "is that of a folder";
    if (!g_utf8_validate(name, -1, NULL))
        return "is not UTF-8";
    if (has_control_character(name))
        return "contains a control character";
    return NULL;
}

bool
volume_def_check_name(const char *what, const char *name, GError **error)
{
    const char *fault = find_fault(name);
    g_autofree char *shown = NULL;

    if (!fault)
        return true;
    shown = g_utf8_make_valid(name, -1);
    error_set(error, ERROR_FROM_STORAGE, ERROR_XML, "the %s name '%s' %s; choose another one", what,
              shown, fault);
    return false;
}
