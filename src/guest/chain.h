/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the backing file that a qcow2 image on disk names. It knows no key and no guest.
 */
#pragma once

#include <glib.h>

enum { GUEST_CHAIN_MAX = 64 }; /* layers that are followed */

enum guest_chain {
    GUEST_CHAIN_END,     /* there is none, or it is on no disk of this host */
    GUEST_CHAIN_NEXT,    /* *ret_path, absolute; *ret_format, or NULL: not said (QEMU: raw) */
    GUEST_CHAIN_UNKNOWN, /* `image` can't be read, is not qcow2, or names it in a way not known */
};

/* Reads the header alone. Only call it for what is said to be qcow2: a guest can write on a raw
 * disk what it likes. */
enum guest_chain guest_chain_next(const char *image, char **ret_path, char **ret_format);
