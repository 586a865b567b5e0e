/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which of libvirt's calls of the hook mean something.
 */
#include <glib.h>

#include "tools/hook_calls.h"

static void
test_only_three_calls_mean_something(void)
{
    static const struct {
        const char *operation;
        const char *suboperation;
        enum hook_action action;
    } calls[] = {
        {"prepare", "begin", HOOK_PREPARE}, {"reconnect", "begin", HOOK_RECONNECT},
        {"release", "end", HOOK_RELEASE},   {"start", "begin", HOOK_NOTHING},
        {"started", "begin", HOOK_NOTHING}, {"stopped", "end", HOOK_NOTHING},
        {"migrate", "begin", HOOK_NOTHING}, {"restore", "begin", HOOK_NOTHING},
        {"attach", "begin", HOOK_NOTHING},  {"prepare", "end", HOOK_NOTHING},
        {"release", "begin", HOOK_NOTHING}, {"", "", HOOK_NOTHING},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
        g_assert_cmpint(hook_calls_find(calls[i].operation, calls[i].suboperation), ==,
                        calls[i].action);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tools/hook_calls/test_only_three_calls_mean_something",
                    test_only_three_calls_mean_something);
    return g_test_run();
}
