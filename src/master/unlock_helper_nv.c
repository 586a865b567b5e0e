/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a counter in the TPM's non-volatile memory, which only grows: neither a reboot nor who
 * removes and defines it again can make it smaller, since a new counter starts above all that the
 * TPM ever had. Its handle is in a range of the owner's that is ours, so that nobody else's index
 * can be touched. It is read and advanced with a password, the request's key (none: an empty one),
 * and removed with the owner's authority.
 */
#include <string.h>

#include "master/unlock_helper.h"
#include "master/unlock_helper_tpm2.h"
#include "util/big_endian.h"
#include "util/error.h"

/* In 0x01800000 to 0x01bfffff, which the TCG left to owners. */
enum {
    HANDLE_FIRST = 0x01805600,
    HANDLE_COUNT = 256,
    HANDLE_LAST = HANDLE_FIRST + HANDLE_COUNT - 1,
    COUNTER_SIZE = 8,
};

static const TPMA_NV counter_attributes = (TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT) |
                                          TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA;

struct counter {
    TPM2_HANDLE handle;
    ESYS_TR index;
};

static bool
get_auth(const struct helper_message *request, TPM2B_AUTH *ret_auth, GError **error)
{
    const struct secret_buf *key = request->key;

    *ret_auth = (TPM2B_AUTH){0};
    if (!key)
        return true;
    if (!unlock_helper_key(request, 1, UNLOCK_HELPER_KEY_SIZE, error))
        return false;
    ret_auth->size = (UINT16)secret_buf_len(key);
    memcpy(ret_auth->buffer, secret_buf_bytes(key), secret_buf_len(key));
    return true;
}

static bool
get_handle(const struct fields *fields, struct counter *counter, GError **error)
{
    uint64_t handle;

    if (!fields_get_number(fields, "handle", HANDLE_FIRST, HANDLE_LAST, &handle, error))
        return false;
    counter->handle = (TPM2_HANDLE)handle;
    return true;
}

/* The first handle of ours that nothing has. */
static bool
find_free(struct unlock_tpm2 *tpm, TPM2_HANDLE *ret_handle, GError **error)
{
    AUTO_ESYS TPMS_CAPABILITY_DATA *data = NULL;
    TPM2_HANDLE handle = HANDLE_FIRST;

    if (!unlock_tpm2_check(Esys_GetCapability(tpm->esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                              TPM2_CAP_HANDLES, HANDLE_FIRST, HANDLE_COUNT, NULL,
                                              &data),
                           "list what the TPM's memory holds", error))
        return false;
    /* In ascending order. */
    for (UINT32 i = 0; i < data->data.handles.count; i++) {
        if (data->data.handles.handle[i] == handle)
            handle++;
    }
    if (handle > HANDLE_LAST) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "the TPM holds %d counters of virtcrypt's: remove those that nothing uses "
                  "('tpm2_nvreadpublic', 'tpm2_nvundefine')",
                  HANDLE_COUNT);
        return false;
    }
    *ret_handle = handle;
    return true;
}

/* Finds the index, and checks that it is a counter as we make them. */
static bool
find_counter(struct unlock_tpm2 *tpm, struct counter *counter, const TPM2B_AUTH *auth,
             GError **error)
{
    TSS2_RC rc = Esys_TR_FromTPMPublic(tpm->esys, counter->handle, ESYS_TR_NONE, ESYS_TR_NONE,
                                       ESYS_TR_NONE, &counter->index);
    AUTO_ESYS TPM2B_NV_PUBLIC *public = NULL;

    if (unlock_tpm2_base(rc) == TPM2_RC_HANDLE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_NO_SECRET,
                  "the TPM has no counter 0x%x any more: it was removed, or the TPM was cleared, "
                  "or it is another one",
                  counter->handle);
        return false;
    }
    if (!unlock_tpm2_check(rc, "find the TPM's counter", error) ||
        !unlock_tpm2_check(Esys_NV_ReadPublic(tpm->esys, counter->index, ESYS_TR_NONE, ESYS_TR_NONE,
                                              ESYS_TR_NONE, &public, NULL),
                           "find the TPM's counter", error))
        return false;
    if ((public->nvPublic.attributes & ~TPMA_NV_WRITTEN) != counter_attributes ||
        public->nvPublic.dataSize != COUNTER_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "what the TPM has at 0x%x is no counter of virtcrypt's: something else put it "
                  "there",
                  counter->handle);
        return false;
    }
    return unlock_tpm2_check(Esys_TR_SetAuth(tpm->esys, counter->index, auth),
                             "use the TPM's counter", error);
}

static bool
advance(struct unlock_tpm2 *tpm, const struct counter *counter, GError **error)
{
    return unlock_tpm2_use_session(tpm, tpm->session, 0, error) &&
           unlock_tpm2_check(Esys_NV_Increment(tpm->esys, counter->index, counter->index,
                                               tpm->session, ESYS_TR_NONE, ESYS_TR_NONE),
                             "advance the TPM's counter", error);
}

/* The answer is authenticated by the session. */
static bool
answer_value(struct unlock_tpm2 *tpm, const struct counter *counter, struct helper_message *answer,
             GError **error)
{
    AUTO_ESYS TPM2B_MAX_NV_BUFFER *data = NULL;

    if (!unlock_tpm2_use_session(tpm, tpm->session, 0, error) ||
        !unlock_tpm2_check(Esys_NV_Read(tpm->esys, counter->index, counter->index, tpm->session,
                                        ESYS_TR_NONE, ESYS_TR_NONE, COUNTER_SIZE, 0, &data),
                           "read the TPM's counter", error))
        return false;
    if (data->size != COUNTER_SIZE) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED,
                  "the TPM's counter has %u bytes instead of %d", data->size, COUNTER_SIZE);
        return false;
    }
    return fields_set_number(answer->fields, "handle", counter->handle, error) &&
           fields_set_number(answer->fields, "counter", big_endian_get(data->buffer, COUNTER_SIZE),
                             error);
}

static bool
define(struct unlock_tpm2 *tpm, struct counter *counter, const TPM2B_AUTH *auth, GError **error)
{
    const TPM2B_NV_PUBLIC public = {
        .nvPublic =
            {
                .nvIndex = counter->handle,
                .nameAlg = TPM2_ALG_SHA256,
                .attributes = counter_attributes,
                .dataSize = COUNTER_SIZE,
            },
    };
    TSS2_RC rc = Esys_NV_DefineSpace(tpm->esys, ESYS_TR_RH_OWNER, tpm->session, ESYS_TR_NONE,
                                     ESYS_TR_NONE, auth, &public, &counter->index);

    if (rc == TPM2_RC_NV_DEFINED) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_INVALID,
                  "the TPM has something at 0x%x already", counter->handle);
        return false;
    }
    return unlock_tpm2_check(rc, "make a counter in the TPM", error);
}

/* The first advance gives it a value. */
bool
unlock_helper_nv_define(const struct helper_message *request, struct helper_message *answer,
                        GError **error)
{
    g_auto(unlock_tpm2_t) tpm = {0};
    struct counter counter = {.index = ESYS_TR_NONE};
    TPM2B_AUTH auth;
    bool is_made;

    if (fields_get(request->fields, "handle") && !get_handle(request->fields, &counter, error))
        return false;
    if (!unlock_tpm2_open(&tpm, error) ||
        (counter.handle == 0 && !find_free(&tpm, &counter.handle, error)) ||
        !get_auth(request, &auth, error))
        return false;
    is_made = define(&tpm, &counter, &auth, error);
    explicit_bzero(&auth, sizeof(auth));
    return is_made && advance(&tpm, &counter, error) && answer_value(&tpm, &counter, answer, error);
}

/* Opens the TPM and the counter that a request is about. */
static bool
open_counter(const struct helper_message *request, struct unlock_tpm2 *tpm, struct counter *counter,
             GError **error)
{
    TPM2B_AUTH auth;
    bool is_found;

    if (!get_handle(request->fields, counter, error) || !unlock_tpm2_open(tpm, error) ||
        !get_auth(request, &auth, error))
        return false;
    is_found = find_counter(tpm, counter, &auth, error);
    explicit_bzero(&auth, sizeof(auth));
    return is_found;
}

bool
unlock_helper_nv_read(const struct helper_message *request, struct helper_message *answer,
                      GError **error)
{
    g_auto(unlock_tpm2_t) tpm = {0};
    struct counter counter;

    return open_counter(request, &tpm, &counter, error) &&
           answer_value(&tpm, &counter, answer, error);
}

bool
unlock_helper_nv_advance(const struct helper_message *request, struct helper_message *answer,
                         GError **error)
{
    g_auto(unlock_tpm2_t) tpm = {0};
    struct counter counter;

    return open_counter(request, &tpm, &counter, error) && advance(&tpm, &counter, error) &&
           answer_value(&tpm, &counter, answer, error);
}

bool
unlock_helper_nv_remove(const struct helper_message *request, struct helper_message *answer,
                        GError **error)
{
    g_auto(unlock_tpm2_t) tpm = {0};
    struct counter counter;

    return open_counter(request, &tpm, &counter, error) &&
           unlock_tpm2_use_session(&tpm, tpm.session, 0, error) &&
           unlock_tpm2_check(Esys_NV_UndefineSpace(tpm.esys, ESYS_TR_RH_OWNER, counter.index,
                                                   tpm.session, ESYS_TR_NONE, ESYS_TR_NONE),
                             "remove the TPM's counter", error);
}
