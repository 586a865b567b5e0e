/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the syntax of libvirt's daemon configuration files (libvirtd.conf, virtsecretd.conf):
 * `key = value` lines with integers, "strings" (also '...' and """...""") and [lists, of, strings],
 * `#` comments. It knows no key.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct conf_file;

enum conf_value_type { CONF_INT, CONF_STRING, CONF_LIST };

struct conf_value {
    const char *key;
    unsigned int line; /* from 1 */
    enum conf_value_type type;
    int64_t number;           /* CONF_INT */
    const char *text;         /* CONF_STRING */
    const char *const *texts; /* CONF_LIST, NULL-terminated */
};

/* Parses `len` bytes; `name` stands in errors ("NAME:LINE: ..."), which have code
 * ERROR_CONF_SYNTAX and domain ERROR_FROM_CONF. A key given twice is an error (libvirt takes the
 * first in silence). */
struct conf_file *conf_file_parse(const char *name, const char *text, size_t len, GError **error);
void conf_file_free(struct conf_file *conf);

const char *conf_file_name(const struct conf_file *conf);
size_t conf_file_count(const struct conf_file *conf);
const struct conf_value *conf_file_value(const struct conf_file *conf, size_t index);

typedef struct conf_file conf_file_t; /* for g_autoptr only */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(conf_file_t, conf_file_free)
