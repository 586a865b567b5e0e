/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: sizes as virsh reads and prints them.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Reads bytes, or a number with a suffix: k, M, G, T, P, E and KiB to EiB are powers of 1024, KB to
 * EB of 1000, b and bytes is 1. NULL with *ret_size, or virsh's reason (freed by the caller; empty
 * where it gives none). */
char *size_parse(const char *text, uint64_t *ret_size);

/* 1536 as 1.50 and "KiB". */
double size_scale(uint64_t bytes, const char **ret_unit);
