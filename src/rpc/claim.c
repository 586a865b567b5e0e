/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see claim.h.
 */
#include "rpc/claim.h"

#include <string.h>

#include "rpc/protocol/remote_connection.h"
#include "util/error.h"

#define TOKEN_FIELD "system.token"

/* The fields that libvirt knows, with their types. The others say nothing that is used here. */
static const struct {
    const char *field;
    int32_t type;
} known[] = {
    {"user-name", REMOTE_PARAM_STRING},       {"unix-user-id", REMOTE_PARAM_ULLONG},
    {"group-name", REMOTE_PARAM_STRING},      {"unix-group-id", REMOTE_PARAM_ULLONG},
    {"process-id", REMOTE_PARAM_LLONG},       {"process-time", REMOTE_PARAM_ULLONG},
    {"sasl-user-name", REMOTE_PARAM_STRING},  {"x509-distinguished-name", REMOTE_PARAM_STRING},
    {"selinux-context", REMOTE_PARAM_STRING}, {TOKEN_FIELD, REMOTE_PARAM_STRING},
};

static const char *const type_names[] = {
    [REMOTE_PARAM_INT] = "int",       [REMOTE_PARAM_UINT] = "uint",
    [REMOTE_PARAM_LLONG] = "llong",   [REMOTE_PARAM_ULLONG] = "ullong",
    [REMOTE_PARAM_DOUBLE] = "double", [REMOTE_PARAM_BOOLEAN] = "boolean",
    [REMOTE_PARAM_STRING] = "string",
};

static bool
check_type(const struct remote_typed_param *param, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        if (strcmp(param->field, known[i].field) != 0)
            continue;
        if (param->value.type == known[i].type)
            return true;
        error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                  "invalid type '%s' for parameter '%s', expected '%s'",
                  type_names[param->value.type], param->field, type_names[known[i].type]);
        return false;
    }
    error_set(error, ERROR_FROM_NONE, ERROR_ARGUMENT_UNSUPPORTED, "parameter '%s' not supported",
              param->field);
    return false;
}

static void
wipe_token(const struct remote_typed_param *params, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (params[i].value.type == REMOTE_PARAM_STRING &&
            strcmp(params[i].field, TOKEN_FIELD) == 0)
            explicit_bzero(params[i].value.u.s, strlen(params[i].value.u.s));
    }
}

static bool
check_params(const struct remote_typed_param *params, uint32_t count, GError **error)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!check_type(&params[i], error))
            return false;
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(params[i].field, params[j].field) == 0) {
                error_set(error, ERROR_FROM_NONE, ERROR_INVALID_ARG,
                          "parameter '%s' occurs multiple times", params[i].field);
                return false;
            }
        }
    }
    return true;
}

/* In time that depends on the length only, which is no secret. */
static bool
shows_token(const char *shown, const struct secret_buf *token)
{
    size_t len = strlen(shown);

    return token && len == secret_buf_len(token) &&
           secret_bytes_equal(shown, secret_buf_bytes(token), len);
}

bool
rpc_claim_apply(struct rpc_identity *identity, const struct remote_typed_param *params,
                uint32_t count, const struct secret_buf *token, GError **error)
{
    if (!check_params(params, count, error)) {
        wipe_token(params, count);
        return false;
    }
    identity->forwarded = true;
    identity->has_claimed_uid = false;
    identity->claimed_uid = 0;
    identity->elevated = false;
    for (uint32_t i = 0; i < count; i++) {
        const struct remote_typed_param *param = &params[i];

        if (strcmp(param->field, "unix-user-id") == 0) {
            /* A number that is no uid must not become one by being cut. */
            identity->has_claimed_uid = param->value.u.ul < (uid_t)-1;
            identity->claimed_uid = (uid_t)param->value.u.ul;
        } else if (strcmp(param->field, TOKEN_FIELD) == 0) {
            identity->elevated = shows_token(param->value.u.s, token);
        }
    }
    wipe_token(params, count);
    return true;
}
