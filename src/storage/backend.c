/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: which backend belongs to which kind of volume.
 */
#include "storage/backend.h"

static const struct backend *const backends[] = {
    [VOLUME_KIND_QCOW2] = &backend_qcow2,
    [VOLUME_KIND_RAW] = &backend_raw,
    [VOLUME_KIND_DM_CRYPT] = &backend_dm_crypt,
};
G_STATIC_ASSERT(G_N_ELEMENTS(backends) == VOLUME_KIND_LAST);

const struct backend *
backend_find(enum volume_kind kind)
{
    return (unsigned int)kind < VOLUME_KIND_LAST ? backends[kind] : NULL;
}
