/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lines of the audit from hostile bytes: one that is read follows the chain that it names, and no
 * other. Any text becomes members that a line can have.
 */
#include <string.h>

#include "conf/audit_line.h"
#include "target.h"

#define ID "00000000-0000-4000-8000-000000000001"

static void
check_line(const char *text, size_t len)
{
    struct audit_line line;
    struct audit_line_chain chain = {0};
    bool is_line = audit_line_parse(text, len, &line);

    if (is_line) {
        chain.next_seq = line.seq;
        memcpy(chain.prev, line.prev, sizeof(chain.prev));
    }
    check(audit_line_verify(&chain, text, len, NULL) == is_line);
    check(!audit_line_verify(&chain, text, len, NULL));
}

static void
check_text(const char *text)
{
    g_autoptr(GString) members = g_string_new("\"id\":\"" ID "\",\"reason\":");
    g_autofree char *line = NULL;
    struct audit_line_chain chain;
    struct audit_line parsed;

    audit_line_append_string(members, text);
    if (members->len > AUDIT_MEMBERS_MAX)
        return;
    check(audit_line_are_members(members->str));
    audit_line_chain_init(&chain);
    line = audit_line_format(&chain, members->str);
    check(audit_line_parse(line, strlen(line), &parsed) && strcmp(parsed.id, ID) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    g_autofree char *text = g_strndup((const char *)input, len);

    check_line((const char *)input, len);
    check_text(text);
    return 0;
}
