/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the client everybody has: libvirt's public API on its remote driver, one connection a
 * client and no event loop.
 */
#include "load.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Getting or setting a value needs a handle; looking one up is a call that must not be timed. */
enum { HANDLES = 16 };

struct api {
    virConnectPtr conn;
    virSecretPtr handles[HANDLES];
    unsigned int next;
};

static void
ignore_error(void *opaque, virErrorPtr error)
{
    (void)opaque;
    (void)error;
}

static bool
report(bool ok, char *error)
{
    if (!ok)
        snprintf(error, LOAD_ERROR_SIZE, "%s", virGetLastErrorMessage());
    return ok;
}

static void
api_close(void *connection)
{
    struct api *api = connection;

    for (int i = 0; i < HANDLES; i++) {
        if (api->handles[i])
            virSecretFree(api->handles[i]);
    }
    if (api->conn)
        virConnectClose(api->conn);
    free(api);
}

static virSecretPtr
lookup(struct api *api, uint32_t index)
{
    uint8_t uuid[16];

    load_secret_uuid(index, uuid);
    return virSecretLookupByUUID(api->conn, uuid);
}

static bool
open_handles(struct api *api, const struct load_params *params, unsigned int client, char *error)
{
    if (params->op != LOAD_GET_VALUE && params->op != LOAD_SET_VALUE)
        return true;
    for (uint32_t i = 0; i < HANDLES; i++) {
        api->handles[i] = lookup(api, (client * HANDLES + i) % params->secrets);
        if (!report(api->handles[i] != NULL, error))
            return false;
    }
    return true;
}

static void *
api_open(const struct load_params *params, unsigned int client, char *error)
{
    struct api *api = calloc(1, sizeof(*api));
    char uri[512];

    if (!api) {
        snprintf(error, LOAD_ERROR_SIZE, "out of memory");
        return NULL;
    }
    virSetErrorFunc(NULL, ignore_error);
    snprintf(uri, sizeof(uri), "secret+unix:///system?socket=%s", params->socket);
    api->conn = virConnectOpen(uri);
    if (!report(api->conn != NULL, error) || !open_handles(api, params, client, error)) {
        api_close(api);
        return NULL;
    }
    return api;
}

static bool
lookup_uuid(struct api *api, uint32_t index, char *error)
{
    virSecretPtr secret = lookup(api, index);

    if (secret)
        virSecretFree(secret);
    return report(secret != NULL, error);
}

static bool
lookup_usage(struct api *api, uint32_t index, char *error)
{
    char usage[64];
    virSecretPtr secret;

    load_secret_usage(index, usage, sizeof(usage));
    secret = virSecretLookupByUsage(api->conn, VIR_SECRET_USAGE_TYPE_VOLUME, usage);
    if (secret)
        virSecretFree(secret);
    return report(secret != NULL, error);
}

static bool
get_value(struct api *api, uint32_t index, char *error)
{
    size_t size = 0;
    unsigned char *value = virSecretGetValue(api->handles[api->next++ % HANDLES], &size, 0);

    (void)index;
    free(value);
    return report(value != NULL && size == LOAD_VALUE_LEN, error);
}

static bool
set_value(struct api *api, uint32_t index, char *error)
{
    unsigned char value[LOAD_VALUE_LEN];

    memset(value, (int)(index & 0xff), sizeof(value));
    return report(virSecretSetValue(api->handles[api->next++ % HANDLES], value, sizeof(value), 0) ==
                      0,
                  error);
}

static bool
define(struct api *api, uint32_t index, char *error)
{
    char xml[512];
    virSecretPtr secret;

    load_secret_xml(index, xml, sizeof(xml));
    secret = virSecretDefineXML(api->conn, xml, 0);
    if (secret)
        virSecretFree(secret);
    return report(secret != NULL, error);
}

static bool
list_all(struct api *api, uint32_t index, char *error)
{
    virSecretPtr *secrets = NULL;
    int count = virConnectListAllSecrets(api->conn, &secrets, 0);

    (void)index;
    for (int i = 0; i < count; i++)
        virSecretFree(secrets[i]);
    free(secrets);
    return report(count >= 0, error);
}

static bool (*const api_calls[LOAD_OP_LAST])(struct api *api, uint32_t index, char *error) = {
    [LOAD_LOOKUP_UUID] = lookup_uuid, [LOAD_LOOKUP_USAGE] = lookup_usage,
    [LOAD_GET_VALUE] = get_value,     [LOAD_SET_VALUE] = set_value,
    [LOAD_DEFINE] = define,           [LOAD_LIST] = list_all,
};

static bool
api_call(void *connection, enum load_op op, uint32_t index, char *error)
{
    if (!api_calls[op]) {
        snprintf(error, LOAD_ERROR_SIZE, "libvirt's API has no such call");
        return false;
    }
    return api_calls[op](connection, index, error);
}

static bool
api_undo(void *connection, uint32_t index, char *error)
{
    virSecretPtr secret = lookup(connection, index);
    bool ok = secret && virSecretUndefine(secret) == 0;

    report(ok, error);
    if (secret)
        virSecretFree(secret);
    return ok;
}

const struct load_backend load_backend_libvirt = {
    .name = "libvirt",
    .open = api_open,
    .call = api_call,
    .undo = api_undo,
    .close = api_close,
};
