/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: what the connector reads in the XML of volumes and pools as text. It decides whom to ask
 * and copies one element; to understand XML is virtcryptd's and libvirt's business. So each answer
 * errs on the side of asking virtcryptd.
 */
#pragma once

#include <stdbool.h>

/* Whether the volume may be meant to be encrypted. */
bool storage_xml_may_encrypt(const char *xml);

/* The text of the first <name>, or NULL; the caller frees it. */
char *storage_xml_get_name(const char *xml);

/* The type of the first <format>, of XML that libvirt made, or NULL; the caller frees it. */
char *storage_xml_get_format(const char *xml);

/* Whether a pool of that XML (made by libvirt) can have volumes of virtcrypt. */
bool storage_xml_is_pool_of_ours(const char *xml);

/* `theirs` (a volume's XML that libvirt made) with the <encryption> of `ours` in the place of its
 * own; the caller frees it. */
char *storage_xml_put_encryption(const char *theirs, const char *ours);
