/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Secret definitions from hostile text: whatever is taken can be written and read again as the
 * same, the quick reader agrees with the XML parser, and whatever is refused comes with an error.
 */
#include <string.h>

#include "conf/secret_def.h"
#include "conf/secret_def_xml.h"
#include "target.h"
#include "util/error.h"

static void
check_equal(const struct secret_def *a, const struct secret_def *b)
{
    check(uuid_equal(&a->uuid, &b->uuid) && a->is_ephemeral == b->is_ephemeral &&
          a->is_private == b->is_private && a->usage_type == b->usage_type &&
          g_strcmp0(a->description, b->description) == 0 &&
          g_strcmp0(a->usage_id, b->usage_id) == 0);
}

static void
check_definition(const struct secret_def *def)
{
    g_autofree char *text = secret_def_format(def);
    g_autoptr(secret_def_t) quick = secret_def_parse_canonical(text, strlen(text));
    g_autoptr(secret_def_t) slow = secret_def_parse_document(text, strlen(text), false, NULL);
    g_autoptr(secret_def_t) copy = secret_def_copy(def);
    g_autofree char *dumped = secret_def_format_dumpxml(copy);

    check(quick && slow && dumped);
    check_equal(quick, def);
    check_equal(slow, def);
    check((def->usage_id == NULL) == (def->usage_type == SECRET_USAGE_NONE));
    check(!def->description || *def->description);
}

static struct secret_def *
parse(const char *text, size_t len, bool validate)
{
    g_autoptr(GError) error = NULL;
    struct secret_def *def = secret_def_parse(text, len, validate, &error);

    check((def == NULL) == (error != NULL));
    check(!error || g_utf8_validate(error->message, -1, NULL));
    return def;
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    const char *text = (const char *)input;
    g_autoptr(secret_def_t) def = parse(text, len, false);
    g_autoptr(secret_def_t) valid = parse(text, len, true);
    g_autoptr(secret_def_t) quick = secret_def_parse_canonical(text, len);
    g_autoptr(secret_def_t) slow = NULL;

    check(def || !valid);
    check(def || !quick);
    if (def)
        check_definition(def);
    if (quick) {
        slow = secret_def_parse_document(text, len, false, NULL);
        check(slow != NULL);
        check_equal(quick, slow);
    }
    return 0;
}
