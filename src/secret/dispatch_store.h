/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the handlers of the program virtcrypt_store that have files of their own, for its table in
 * dispatch_store.c.
 */
#pragma once

#include "secret/dispatch.h"
