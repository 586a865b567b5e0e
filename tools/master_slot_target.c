/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: master_slot_target.h.
 */
#include "tools/master_slot_target.h"

#include "tools/output.h"

bool
master_slot_target_begin(struct master_slot_target *target, struct session *session,
                         const struct command_args *args)
{
    g_autoptr(GError) error = NULL;
    char *name = NULL;

    if (!master_input_init(&target->input, args, &error) ||
        !command_get_text(args, "slot", &name, &error))
        return output_gerror(error);
    if (!master_slots_get(session, &target->status))
        return false;
    target->slot = master_slots_find(&target->status, name);
    if (!target->slot)
        return false;
    target->description = master_slots_describe(target->slot);
    return true;
}

void
master_slot_target_clear(struct master_slot_target *target)
{
    virtcrypt_master_status_ret_clear(&target->status);
    g_free(target->description);
}
