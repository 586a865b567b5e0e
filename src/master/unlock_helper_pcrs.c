/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unlock_helper_pcrs.h.
 */
#include "master/unlock_helper_pcrs.h"

#include <string.h>

#include "util/error.h"

enum { SELECT_SIZE = UNLOCK_PCRS_MAX / 8 };

static const struct bank {
    const char *name;
    TPM2_ALG_ID algorithm;
    size_t digest_size;
} banks[] = {
    {"sha256", TPM2_ALG_SHA256, TPM2_SHA256_DIGEST_SIZE},
    {"sha384", TPM2_ALG_SHA384, TPM2_SHA384_DIGEST_SIZE},
    {"sha512", TPM2_ALG_SHA512, TPM2_SHA512_DIGEST_SIZE},
};

static const struct bank *
find_bank(const char *name, GError **error)
{
    for (unsigned int i = 0; i < G_N_ELEMENTS(banks); i++) {
        if (g_strcmp0(banks[i].name, name) == 0)
            return &banks[i];
    }
    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
              "the bank of PCRs is sha256, sha384 or sha512, not '%s'", name ? name : "");
    return NULL;
}

bool
unlock_pcrs_parse(struct unlock_pcrs *pcrs, const struct fields *fields, GError **error)
{
    const char *text = fields_get(fields, "pcrs");
    const struct bank *bank = find_bank(fields_get(fields, "bank"), error);
    g_auto(GStrv) words = g_strsplit(text ? text : "", ",", UNLOCK_PCRS_MAX + 1);
    TPMS_PCR_SELECTION *selection = &pcrs->selection.pcrSelections[0];

    if (!bank)
        return false;
    *pcrs = (struct unlock_pcrs){.bank = bank->name, .digest_size = bank->digest_size};
    pcrs->selection.count = 1;
    selection->hash = bank->algorithm;
    selection->sizeofSelect = SELECT_SIZE;
    for (unsigned int i = 0; i == 0 || words[i]; i++) {
        guint64 pcr;

        if (!words[0] ||
            !g_ascii_string_to_unsigned(words[i], 10, 0, UNLOCK_PCRS_MAX - 1, &pcr, NULL)) {
            error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                      "PCRs are numbers from 0 to %d with commas between them, such as '7' or "
                      "'0,2,7'",
                      UNLOCK_PCRS_MAX - 1);
            return false;
        }
        selection->pcrSelect[pcr / 8] |= (BYTE)(1U << pcr % 8);
    }
    return true;
}

bool
unlock_pcrs_has(const struct unlock_pcrs *pcrs, unsigned int pcr)
{
    return pcrs->selection.pcrSelections[0].pcrSelect[pcr / 8] & 1U << pcr % 8;
}

/* One at a time: a TPM gives at most 8 values for a command, and as few as it likes. */
static bool
read_one(const struct unlock_pcrs *pcrs, struct unlock_tpm2 *tpm, unsigned int pcr, GByteArray *to,
         GError **error)
{
    TPML_PCR_SELECTION one = pcrs->selection;
    AUTO_ESYS TPML_DIGEST *values = NULL;

    memset(one.pcrSelections[0].pcrSelect, 0, SELECT_SIZE);
    one.pcrSelections[0].pcrSelect[pcr / 8] = (BYTE)(1U << pcr % 8);
    if (!unlock_tpm2_check(Esys_PCR_Read(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &one,
                                         NULL, NULL, &values),
                           "read the TPM's PCRs", error))
        return false;
    if (values->count != 1 || values->digests[0].size != pcrs->digest_size) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_ARG,
                  "the TPM has no PCR %u in the bank %s; see 'tpm2_pcrread' for those that it has",
                  pcr, pcrs->bank);
        return false;
    }
    g_byte_array_append(to, values->digests[0].buffer, values->digests[0].size);
    return true;
}

GByteArray *
unlock_pcrs_read(const struct unlock_pcrs *pcrs, struct unlock_tpm2 *tpm, GError **error)
{
    g_autoptr(GByteArray) values = g_byte_array_new();

    for (unsigned int pcr = 0; pcr < UNLOCK_PCRS_MAX; pcr++) {
        if (unlock_pcrs_has(pcrs, pcr) && !read_one(pcrs, tpm, pcr, values, error))
            return NULL;
    }
    return g_steal_pointer(&values);
}

char *
unlock_pcrs_describe_changes(const struct unlock_pcrs *pcrs, const GByteArray *now, GBytes *before)
{
    g_autoptr(GString) list = g_string_new(NULL);
    const uint8_t *old = g_bytes_get_data(before, NULL);
    bool can_tell = g_bytes_get_size(before) == now->len && memcmp(old, now->data, now->len) != 0;
    size_t at = 0;
    unsigned int count = 0;

    for (unsigned int pcr = 0; pcr < UNLOCK_PCRS_MAX; pcr++) {
        if (!unlock_pcrs_has(pcrs, pcr))
            continue;
        if (!can_tell || memcmp(old + at, now->data + at, pcrs->digest_size) != 0) {
            g_string_append_printf(list, "%s%u", count > 0 ? ", " : "", pcr);
            count++;
        }
        at += pcrs->digest_size;
    }
    return g_strdup_printf("%s %s", count == 1 ? "PCR" : "PCRs", list->str);
}
