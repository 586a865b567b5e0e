/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the use case of taking over libvirt's files with values when somebody asks for it; a start,
 * an unlock and a reload do the same without being asked (service_state.h).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "secret/service.h"

enum secret_import_action {
    SECRET_IMPORT_SEAL, /* the value is sealed, and the file wiped */
    SECRET_IMPORT_WIPE, /* the value was sealed already: the file is wiped */
    SECRET_IMPORT_KEEP, /* it stays as it is */
    SECRET_IMPORT_ACTION_LAST,
};

/* One of libvirt's files. */
struct secret_import_report {
    struct uuid secret;
    char *file; /* its name in the folder of secrets */
    enum secret_import_action action;
    char *problem; /* exactly with SECRET_IMPORT_KEEP: why */
};

/* What is asked for, and where it ended. */
struct secret_import {
    bool is_dry;              /* nothing is changed; the reports say what would be */
    bool trusts_key;          /* libvirt's key is the right one, though nothing shows it */
    const struct uuid *after; /* goes on there, or NULL */
    size_t max;               /* so many secrets at most */

    struct uuid last; /* set by the call, with has_last: the next call's `after` */
    bool has_last;
    bool has_more;
};

/* Array of struct secret_import_report, in the order of files' secrets. Without `after`, and unless
 * it is dry, definitions that appeared on disk are loaded before. Changes under way are finished
 * first. ERROR_OPERATION_INVALID while locked. */
GArray *secret_service_import(struct secret_service *service, struct secret_import *import,
                              GError **error);
