/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a change to a secret as a list of what becomes of each of its files, and how those are
 * named.
 */
#pragma once

#include <glib.h>

#include "secret/store.h"

/* The last two are values in libvirt's own formats. */
enum store_kind { STORE_XML, STORE_KEY, STORE_BASE64, STORE_AES256CBC };

/* Of a name in its folder, and of one with its guest's folder before it. */
enum { STORE_NAME_SIZE = UUID_TEXT_SIZE + 16, STORE_PATH_SIZE = UUID_TEXT_SIZE + STORE_NAME_SIZE };

/* One file of a change; it borrows from that. */
struct store_part {
    const struct uuid *guest; /* whose copy it is; NULL: it is in the folder of secrets */
    enum store_kind kind;
    enum store_action action;
    GBytes *content;
    char name[STORE_NAME_SIZE];
    char new_name[STORE_NAME_SIZE]; /* of staged content */
};

/* The name of a secret's file; `text` has STORE_NAME_SIZE bytes and is returned. */
const char *store_parts_name(const struct uuid *uuid, enum store_kind kind,
                             char text[STORE_NAME_SIZE]);
/* `name` with the guest's folder before it. */
const char *store_parts_path(const struct uuid *guest, const char *name,
                             char text[STORE_PATH_SIZE]);

/* Array of struct store_part, without those that are kept. What is written stands before what is
 * removed: a value is nowhere overwritten before it is whole elsewhere. */
GArray *store_parts_new(const struct store_change *change);
