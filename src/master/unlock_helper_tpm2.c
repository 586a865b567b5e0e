/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: unlock_helper_tpm2.h. Which TPM is used is constant, the kernel's device with its resource
 * manager, but for the variable TCTI of this process's environment, which only who starts the
 * daemon can set (helper.h). The list of guesses that tctildr has for no name is not used: it ends
 * with ports of localhost, where any user may listen.
 */
#include "master/unlock_helper_tpm2.h"

#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "util/error.h"

#define DEFAULT_TCTI "device:/dev/tpmrm0"

enum { RSA_BITS = 2048, AES_BITS = 128 };

void
unlock_tpm2_free(void *pointer)
{
    Esys_Free(*(void **)pointer);
}

TSS2_RC
unlock_tpm2_base(TSS2_RC rc)
{
    return rc & TPM2_RC_FMT1 ? rc & (TPM2_RC_FMT1 | 0x3f) : rc;
}

bool
unlock_tpm2_check(TSS2_RC rc, const char *what, GError **error)
{
    TSS2_RC base = unlock_tpm2_base(rc);

    if (rc == TSS2_RC_SUCCESS)
        return true;
    if (base == TPM2_RC_BAD_AUTH || base == TPM2_RC_AUTH_FAIL)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_DENIED,
                  "cannot %s: %s (0x%x). Where it is the owner's hierarchy, that has a password, "
                  "and virtcrypt needs it empty: 'tpm2_changeauth -c owner -p PASSWORD'",
                  what, Tss2_RC_Decode(rc), rc);
    else if (base == TPM2_RC_HIERARCHY)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "cannot %s: %s (0x%x): the owner's hierarchy is switched off; switch the TPM's "
                  "storage hierarchy on in the firmware's setup",
                  what, Tss2_RC_Decode(rc), rc);
    else if (base == TPM2_RC_LOCKOUT)
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "cannot %s: %s (0x%x): wait, or run 'tpm2_dictionarylockout --clear-lockout'",
                  what, Tss2_RC_Decode(rc), rc);
    else
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "cannot %s: %s (0x%x)", what,
                  Tss2_RC_Decode(rc), rc);
    return false;
}

/* ---- the primary key ---- */

static const TPMT_SYM_DEF_OBJECT storage_cipher = {
    .algorithm = TPM2_ALG_AES,
    .keyBits.aes = AES_BITS,
    .mode.aes = TPM2_ALG_CFB,
};

/* The chip derives the key from its seed and this template: the same template is the same key until
 * the TPM is cleared. */
static TPM2B_PUBLIC
primary_template(bool is_rsa)
{
    TPM2B_PUBLIC template = {
        .publicArea =
            {
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                    TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
            },
    };

    if (is_rsa) {
        template.publicArea.type = TPM2_ALG_RSA;
        template.publicArea.parameters.rsaDetail.symmetric = storage_cipher;
        template.publicArea.parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
        template.publicArea.parameters.rsaDetail.keyBits = RSA_BITS;
    } else {
        template.publicArea.type = TPM2_ALG_ECC;
        template.publicArea.parameters.eccDetail.symmetric = storage_cipher;
        template.publicArea.parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
        template.publicArea.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
        template.publicArea.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
    }
    return template;
}

static TSS2_RC
create_primary(struct unlock_tpm2 *tpm, bool is_rsa)
{
    const TPM2B_PUBLIC template = primary_template(is_rsa);
    const TPM2B_SENSITIVE_CREATE no_auth = {0};
    const TPM2B_DATA no_data = {0};
    const TPML_PCR_SELECTION no_pcrs = {0};

    tpm->is_rsa = is_rsa;
    return Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                              ESYS_TR_NONE, &no_auth, &template, &no_data, &no_pcrs, &tpm->primary,
                              NULL, NULL, NULL, NULL);
}

/* Whether it is the kind of key that was refused, and not that anything failed. */
static bool
is_unknown_key_kind(TSS2_RC rc)
{
    static const TSS2_RC kinds[] = {TPM2_RC_CURVE,   TPM2_RC_ASYMMETRIC, TPM2_RC_VALUE,
                                    TPM2_RC_KDF,     TPM2_RC_SCHEME,     TPM2_RC_TYPE,
                                    TPM2_RC_KEY_SIZE};

    for (unsigned int i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (unlock_tpm2_base(rc) == kinds[i])
            return true;
    }
    return false;
}

/* ---- sessions ---- */

bool
unlock_tpm2_use_session(struct unlock_tpm2 *tpm, ESYS_TR session, TPMA_SESSION flags,
                        GError **error)
{
    return unlock_tpm2_check(
        Esys_TRSess_SetAttributes(tpm->esys, session, flags | TPMA_SESSION_CONTINUESESSION, 0xff),
        "set up a session with the TPM", error);
}

bool
unlock_tpm2_start_session(struct unlock_tpm2 *tpm, TPM2_SE type, ESYS_TR *ret_session,
                          GError **error)
{
    const TPMT_SYM_DEF cipher = {
        .algorithm = TPM2_ALG_AES,
        .keyBits.aes = AES_BITS,
        .mode.aes = TPM2_ALG_CFB,
    };

    return unlock_tpm2_check(Esys_StartAuthSession(tpm->esys, tpm->primary, ESYS_TR_NONE,
                                                   ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, NULL,
                                                   type, &cipher, TPM2_ALG_SHA256, ret_session),
                             "start a session with the TPM", error);
}

void
unlock_tpm2_flush(struct unlock_tpm2 *tpm, ESYS_TR handle)
{
    if (handle != ESYS_TR_NONE)
        Esys_FlushContext(tpm->esys, handle);
}

/* ---- open and close ---- */

static bool
connect_tpm(struct unlock_tpm2 *tpm, GError **error)
{
    const char *name = g_getenv("TCTI");
    TSS2_RC rc;

    tpm->primary = ESYS_TR_NONE;
    tpm->session = ESYS_TR_NONE;
    if (!name)
        name = DEFAULT_TCTI;
    rc = Tss2_TctiLdr_Initialize(name, &tpm->tcti);
    if (rc == TSS2_RC_SUCCESS)
        rc = Esys_Initialize(&tpm->esys, tpm->tcti, NULL);
    if (rc == TSS2_RC_SUCCESS)
        return true;
    error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
              "cannot open the TPM 2.0 (%s): %s (0x%x). Check that it is switched on in the "
              "firmware's setup and that the kernel has it ('ls -l /dev/tpm*')",
              name, Tss2_RC_Decode(rc), rc);
    return false;
}

static bool
start_using(struct unlock_tpm2 *tpm, GError **error)
{
    return unlock_tpm2_check(Esys_TR_GetName(tpm->esys, tpm->primary, &tpm->primary_name),
                             "get the name of the TPM's primary key", error) &&
           unlock_tpm2_start_session(tpm, TPM2_SE_HMAC, &tpm->session, error) &&
           unlock_tpm2_use_session(tpm, tpm->session, TPMA_SESSION_DECRYPT, error);
}

bool
unlock_tpm2_open(struct unlock_tpm2 *tpm, GError **error)
{
    TSS2_RC rc;

    if (!connect_tpm(tpm, error))
        return false;
    rc = create_primary(tpm, false);
    if (is_unknown_key_kind(rc))
        rc = create_primary(tpm, true);
    return unlock_tpm2_check(rc, "make the TPM's primary key", error) && start_using(tpm, error);
}

bool
unlock_tpm2_open_as(struct unlock_tpm2 *tpm, bool is_rsa, GError **error)
{
    return connect_tpm(tpm, error) &&
           unlock_tpm2_check(create_primary(tpm, is_rsa), "make the TPM's primary key", error) &&
           start_using(tpm, error);
}

void
unlock_tpm2_clear(struct unlock_tpm2 *tpm)
{
    if (tpm->esys) {
        unlock_tpm2_flush(tpm, tpm->session);
        unlock_tpm2_flush(tpm, tpm->primary);
        Esys_Free(tpm->primary_name);
        Esys_Finalize(&tpm->esys);
    }
    Tss2_TctiLdr_Finalize(&tpm->tcti);
    *tpm = (struct unlock_tpm2){0};
}
