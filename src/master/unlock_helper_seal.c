/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: sealing a key by the TPM and getting it back. The sealed object opens by a policy alone,
 * that the chosen PCRs have the values which they had; it is encrypted for this TPM's primary key,
 * whose name is kept beside it: another name is another TPM, or one that was cleared.
 */
#include <string.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include "master/unlock_helper.h"
#include "master/unlock_helper_pcrs.h"
#include "master/unlock_helper_tpm2.h"
#include "util/error.h"

/* Of the slot's fields. */
enum { BLOB_MAX = 2048, NAME_MAX_BYTES = 80 };

static const char *const primary_kinds[] = {"ecc", "rsa"};

/* What the policy of the chosen PCRs is now. */
static bool
get_policy(struct unlock_tpm2 *tpm, const struct unlock_pcrs *pcrs, TPM2B_DIGEST *ret_policy,
           GError **error)
{
    const TPM2B_DIGEST as_they_are = {0};
    AUTO_ESYS TPM2B_DIGEST *digest = NULL;
    ESYS_TR trial = ESYS_TR_NONE;
    bool is_known;

    if (!unlock_tpm2_start_session(tpm, TPM2_SE_TRIAL, &trial, error))
        return false;
    is_known = unlock_tpm2_check(Esys_PolicyPCR(tpm->esys, trial, ESYS_TR_NONE, ESYS_TR_NONE,
                                                ESYS_TR_NONE, &as_they_are, &pcrs->selection),
                                 "make a policy of the TPM's PCRs", error) &&
               unlock_tpm2_check(Esys_PolicyGetDigest(tpm->esys, trial, ESYS_TR_NONE, ESYS_TR_NONE,
                                                      ESYS_TR_NONE, &digest),
                                 "make a policy of the TPM's PCRs", error);
    unlock_tpm2_flush(tpm, trial);
    if (is_known)
        *ret_policy = *digest;
    return is_known;
}

static TSS2_RC
create_sealed(struct unlock_tpm2 *tpm, const struct secret_buf *key, const TPM2B_DIGEST *policy,
              TPM2B_PRIVATE **ret_private, TPM2B_PUBLIC **ret_public)
{
    const TPM2B_PUBLIC template = {
        .publicArea =
            {
                .type = TPM2_ALG_KEYEDHASH,
                .nameAlg = TPM2_ALG_SHA256,
                /* Not by a password, not on another TPM, and never locked by wrong guesses. */
                .objectAttributes =
                    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA,
                .authPolicy = *policy,
                .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
            },
    };
    TPM2B_SENSITIVE_CREATE sensitive = {.sensitive.data.size = (UINT16)secret_buf_len(key)};
    const TPM2B_DATA no_data = {0};
    const TPML_PCR_SELECTION no_pcrs = {0};
    TSS2_RC rc;

    memcpy(sensitive.sensitive.data.buffer, secret_buf_bytes(key), secret_buf_len(key));
    rc = Esys_Create(tpm->esys, tpm->primary, tpm->session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                     &template, &no_data, &no_pcrs, ret_private, ret_public, NULL, NULL, NULL);
    explicit_bzero(&sensitive, sizeof(sensitive));
    return rc;
}

static bool
put_sealed(struct fields *fields, const TPM2B_PRIVATE *private, const TPM2B_PUBLIC *public,
           GError **error)
{
    uint8_t private_bytes[BLOB_MAX];
    uint8_t public_bytes[BLOB_MAX];
    size_t private_len = 0;
    size_t public_len = 0;

    return unlock_tpm2_check(Tss2_MU_TPM2B_PRIVATE_Marshal(private, private_bytes,
                                                           sizeof(private_bytes), &private_len),
                             "write the sealed object", error) &&
           unlock_tpm2_check(Tss2_MU_TPM2B_PUBLIC_Marshal(public, public_bytes,
                                                          sizeof(public_bytes), &public_len),
                             "write the sealed object", error) &&
           fields_set_bytes(fields, "private", private_bytes, private_len, error) &&
           fields_set_bytes(fields, "public", public_bytes, public_len, error);
}

bool
unlock_helper_tpm2_seal(const struct helper_message *request, struct helper_message *answer,
                        GError **error)
{
    const struct secret_buf *key =
        unlock_helper_key(request, UNLOCK_HELPER_KEY_SIZE, UNLOCK_HELPER_KEY_SIZE, error);
    g_auto(unlock_tpm2_t) tpm = {0};
    struct unlock_pcrs pcrs;
    TPM2B_DIGEST policy;
    g_autoptr(GByteArray) values = NULL;
    AUTO_ESYS TPM2B_PRIVATE *private = NULL;
    AUTO_ESYS TPM2B_PUBLIC *public = NULL;

    if (!key || !unlock_pcrs_parse(&pcrs, request->fields, error) || !unlock_tpm2_open(&tpm, error))
        return false;
    values = unlock_pcrs_read(&pcrs, &tpm, error);
    if (!values || !get_policy(&tpm, &pcrs, &policy, error) ||
        !unlock_tpm2_check(create_sealed(&tpm, key, &policy, &private, &public),
                           "seal a key by the TPM", error))
        return false;
    return put_sealed(answer->fields, private, public, error) &&
           fields_set_bytes(answer->fields, "pcr-values", values->data, values->len, error) &&
           fields_set(answer->fields, "primary-type", primary_kinds[tpm.is_rsa], error) &&
           fields_set_bytes(answer->fields, "primary", tpm.primary_name->name,
                            tpm.primary_name->size, error);
}

/* ---- and back ---- */

struct sealed {
    TPM2B_PRIVATE private;
    TPM2B_PUBLIC public;
    GBytes *primary;
    GBytes *values;
    bool is_rsa;
};

static void
sealed_clear(struct sealed *sealed)
{
    g_bytes_unref(sealed->primary);
    g_bytes_unref(sealed->values);
}

typedef struct sealed sealed_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(sealed_t, sealed_clear)

static bool
get_sealed(const struct fields *fields, struct sealed *sealed, GError **error)
{
    g_autoptr(GBytes) private = fields_get_bytes(fields, "private", BLOB_MAX, error);
    g_autoptr(GBytes) public = private ? fields_get_bytes(fields, "public", BLOB_MAX, error) : NULL;
    size_t private_at = 0;
    size_t public_at = 0;

    if (!public)
        return false;
    sealed->primary = fields_get_bytes(fields, "primary", NAME_MAX_BYTES, error);
    if (!sealed->primary)
        return false;
    sealed->values =
        fields_get_bytes(fields, "pcr-values", UNLOCK_PCRS_MAX * TPM2_SHA512_DIGEST_SIZE, error);
    if (!sealed->values)
        return false;
    sealed->is_rsa = g_strcmp0(fields_get(fields, "primary-type"), primary_kinds[true]) == 0;
    return unlock_tpm2_check(Tss2_MU_TPM2B_PRIVATE_Unmarshal(g_bytes_get_data(private, NULL),
                                                             g_bytes_get_size(private), &private_at,
                                                             &sealed->private),
                             "read the slot's sealed object", error) &&
           unlock_tpm2_check(Tss2_MU_TPM2B_PUBLIC_Unmarshal(g_bytes_get_data(public, NULL),
                                                            g_bytes_get_size(public), &public_at,
                                                            &sealed->public),
                             "read the slot's sealed object", error);
}

static bool
fail_other_tpm(TSS2_RC rc, GError **error)
{
    g_autofree char *words =
        rc == TSS2_RC_SUCCESS ? NULL : g_strdup_printf(" (%s)", Tss2_RC_Decode(rc));

    error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
              "the TPM was cleared since the slot was made, or it is another one%s: unlock with "
              "another slot, then 'virtcrypt master remove-slot' and 'virtcrypt master add-slot "
              "tpm2'",
              words ? words : "");
    return false;
}

static bool
fail_policy(struct unlock_tpm2 *tpm, const struct unlock_pcrs *pcrs, const struct sealed *sealed,
            TSS2_RC rc, GError **error)
{
    g_autoptr(GByteArray) now = unlock_pcrs_read(pcrs, tpm, error);
    g_autofree char *changed = now ? unlock_pcrs_describe_changes(pcrs, now, sealed->values) : NULL;

    if (changed)
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "%s changed since the slot was made (firmware or boot configuration): unlock "
                  "with another slot, then 'virtcrypt master remove-slot' and 'virtcrypt master "
                  "add-slot tpm2' (%s)",
                  changed, Tss2_RC_Decode(rc));
    return false;
}

/* Meets the policy in `session` and unseals with it, the answer encrypted. */
static TSS2_RC
unseal(struct unlock_tpm2 *tpm, const struct unlock_pcrs *pcrs, ESYS_TR object, ESYS_TR session,
       TPM2B_SENSITIVE_DATA **ret_data)
{
    const TPM2B_DIGEST as_they_are = {0};
    TSS2_RC rc = Esys_PolicyPCR(tpm->esys, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                &as_they_are, &pcrs->selection);

    if (rc != TSS2_RC_SUCCESS)
        return rc;
    return Esys_Unseal(tpm->esys, object, session, ESYS_TR_NONE, ESYS_TR_NONE, ret_data);
}

static struct secret_buf *
unseal_loaded(struct unlock_tpm2 *tpm, const struct unlock_pcrs *pcrs, const struct sealed *sealed,
              ESYS_TR object, GError **error)
{
    AUTO_ESYS TPM2B_SENSITIVE_DATA *data = NULL;
    struct secret_buf *key = NULL;
    ESYS_TR session = ESYS_TR_NONE;
    TSS2_RC rc;

    if (!unlock_tpm2_start_session(tpm, TPM2_SE_POLICY, &session, error))
        return NULL;
    if (unlock_tpm2_use_session(tpm, session, TPMA_SESSION_ENCRYPT, error)) {
        rc = unseal(tpm, pcrs, object, session, &data);
        if (rc == TSS2_RC_SUCCESS)
            key = secret_buf_take_bytes(data->buffer, data->size, error);
        else if (unlock_tpm2_base(rc) == TPM2_RC_POLICY_FAIL)
            fail_policy(tpm, pcrs, sealed, rc, error);
        else
            unlock_tpm2_check(rc, "unseal a key by the TPM", error);
    }
    unlock_tpm2_flush(tpm, session);
    return key;
}

bool
unlock_helper_tpm2_unseal(const struct helper_message *request, struct helper_message *answer,
                          GError **error)
{
    g_auto(sealed_t) sealed = {0};
    g_auto(unlock_tpm2_t) tpm = {0};
    struct unlock_pcrs pcrs;
    ESYS_TR object = ESYS_TR_NONE;
    TSS2_RC rc;

    if (!unlock_pcrs_parse(&pcrs, request->fields, error) ||
        !get_sealed(request->fields, &sealed, error) ||
        !unlock_tpm2_open_as(&tpm, sealed.is_rsa, error))
        return false;
    if (g_bytes_get_size(sealed.primary) != tpm.primary_name->size ||
        memcmp(g_bytes_get_data(sealed.primary, NULL), tpm.primary_name->name,
               tpm.primary_name->size) != 0)
        return fail_other_tpm(TSS2_RC_SUCCESS, error);
    rc = Esys_Load(tpm.esys, tpm.primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                   &sealed.private, &sealed.public, &object);
    if (unlock_tpm2_base(rc) == TPM2_RC_INTEGRITY)
        return fail_other_tpm(rc, error);
    if (!unlock_tpm2_check(rc, "load the slot's sealed object into the TPM", error))
        return false;
    answer->key = unseal_loaded(&tpm, &pcrs, &sealed, object, error);
    unlock_tpm2_flush(&tpm, object);
    return answer->key != NULL;
}
