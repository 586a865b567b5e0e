/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Records of the journal from hostile bytes: what is read as a change is one that may be committed,
 * and makes the same bytes again; what is refused leaves nothing behind.
 */
#include <string.h>

#include "secret/store_change.h"
#include "target.h"

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static const struct store_change nothing;
    g_auto(store_change_t) change = nothing;
    g_autoptr(GBytes) record = NULL;
    gsize record_len = 0;
    const void *bytes;

    if (!store_change_parse(input, len, &change)) {
        check(!change.xml && !change.key && !change.owners && !change.audit);
        return 0;
    }
    check(store_change_check(&change, NULL));
    record = store_change_format(&change);
    bytes = g_bytes_get_data(record, &record_len);
    check(record_len == len && memcmp(bytes, input, len) == 0);
    check(store_change_record_size(&change) == len);
    return 0;
}
