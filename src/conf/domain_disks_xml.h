/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the elements of a domain's XML that name what a disk opens. Inside src/conf only.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#include "conf/domain_disks.h"

/* `node` is <disk>, <backingStore>, <mirror> or <dataStore>; `format` is taken. */
typedef bool (*disk_source_func)(const xmlNode *node, char *format, void *opaque, GError **error);

/* Calls `func` for all that the element `disk` (of a domain or a snapshot) opens, in the order of
 * struct domain_disk. False when `func` gives false. */
bool disk_source_visit(const xmlNode *disk, disk_source_func func, void *opaque, GError **error);

/* What `node` names, with `format` (taken), without its encryption. NULL: a drive without a
 * medium. */
struct disk_source *disk_source_parse(const xmlNode *node, char *format);

/* The child `name` of the <source> of `node`, or of `node` itself, where that of a disk may stand
 * too; or NULL. */
xmlNode *disk_source_find(const xmlNode *node, const char *name);

void disk_source_free(struct disk_source *source);

typedef struct disk_source disk_source_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(disk_source_t, disk_source_free)
