/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see secret_identity.h.
 */
#include "driver/secret_identity.h"

#include <string.h>

static int
compare_texts(const void *a, const void *b)
{
    return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

static char *
format_param(const virTypedParameter *param)
{
    switch (param->type) {
    case VIR_TYPED_PARAM_STRING:
        return g_strdup_printf("%s=%s", param->field, param->value.s);
    case VIR_TYPED_PARAM_ULLONG:
        return g_strdup_printf("%s=%llu", param->field, param->value.ul);
    case VIR_TYPED_PARAM_LLONG:
        return g_strdup_printf("%s=%lld", param->field, param->value.l);
    default:
        return g_strdup(param->field);
    }
}

/* The order of the parameters varies. */
static char *
mark_of(const virTypedParameter *params, int count)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);

    for (int i = 0; i < count; i++)
        g_ptr_array_add(texts, format_param(&params[i]));
    g_ptr_array_sort(texts, compare_texts);
    for (guint i = 0; i < texts->len; i++) {
        const char *text = g_ptr_array_index(texts, i);

        g_checksum_update(checksum, (const guchar *)text, (gssize)strlen(text) + 1);
    }
    return g_strdup(g_checksum_get_string(checksum));
}

void
secret_identity_init(struct secret_identity *identity, const virTypedParameter *params, int count)
{
    *identity = (struct secret_identity){.count = count, .mark = mark_of(params, count)};
    identity->params = g_new0(virTypedParameter, (gsize)count + 1);
    for (int i = 0; i < count; i++) {
        identity->params[i] = params[i];
        if (params[i].type == VIR_TYPED_PARAM_STRING)
            identity->params[i].value.s = g_strdup(params[i].value.s);
    }
}

void
secret_identity_clear(struct secret_identity *identity)
{
    virTypedParamsFree(identity->params, identity->count);
    g_clear_pointer(&identity->mark, g_free);
    identity->params = NULL;
    identity->count = 0;
}
