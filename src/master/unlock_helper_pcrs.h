/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a choice of PCRs: their text ("7", "0,2,7"), their values, and which of them changed.
 */
#pragma once

#include "master/fields.h"
#include "master/unlock_helper_tpm2.h"

enum { UNLOCK_PCRS_MAX = 24 };

struct unlock_pcrs {
    TPML_PCR_SELECTION selection;
    const char *bank; /* "sha256" */
    size_t digest_size;
};

/* From the fields pcrs and bank. */
bool unlock_pcrs_parse(struct unlock_pcrs *pcrs, const struct fields *fields, GError **error);
bool unlock_pcrs_has(const struct unlock_pcrs *pcrs, unsigned int pcr);
/* Their values now, one behind the other. An error names a bank that the TPM does not have. */
GByteArray *unlock_pcrs_read(const struct unlock_pcrs *pcrs, struct unlock_tpm2 *tpm,
                             GError **error);
/* "PCR 7", "PCRs 0, 7": those whose values differ from `before`; all if that can't be told. */
char *unlock_pcrs_describe_changes(const struct unlock_pcrs *pcrs, const GByteArray *now,
                                   GBytes *before);
