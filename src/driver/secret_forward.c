/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: see secret_forward.h. Each call borrows a connection to the daemon: that of the libvirt
 * connection it came by if that one has a secret: URI, a borrowed one otherwise (qemu:///system and
 * others share this table). A call that only reads is tried once more if the
 * connection turns out to be lost; one that changes is not, since it may have been done.
 *
 * Who asks is the identity that was set on a connection, or that of the thread. The latter is had
 * by virGetConnectSecret, which sets it on a new connection of this very driver.
 *
 * Invariant: libvirt resets the thread's error whenever one of its objects is freed. So a call's
 * error is saved before, and set again after, all that the call made has been freed.
 */
#include "driver/secret_forward.h"

#include "driver/libvirt_module.h"
#include "driver/secret_backend.h"
#include "driver/secret_events.h"
#include "driver/secret_module.h"

enum call_kind { CALL_READS, CALL_CHANGES };

#define CALL_TRIES_MAX 2

struct secret_call {
    struct secret_module *module;
    virConnectPtr ours; /* of libvirtd */
    enum call_kind kind;
    struct secret_backend *backend;
    struct secret_backend *borrowed; /* the same, if it is not that of `ours` */
    struct secret_identity asker;
    unsigned int tries;
    virConnectPtr theirs; /* to the daemon; set while the backend is acquired */
    virSecretPtr secret;  /* the argument of the call, on that connection */
    virErrorPtr error;
};

static void
secret_call_release(struct secret_call *call)
{
    if (call->secret)
        virSecretFree(g_steal_pointer(&call->secret));
    if (call->theirs)
        secret_backend_release(call->backend);
    call->theirs = NULL;
}

static void
secret_call_clear(struct secret_call *call)
{
    secret_call_release(call);
    if (call->borrowed)
        secret_backends_give_back(call->module->backends, call->borrowed);
    secret_identity_clear(&call->asker);
    libvirt_module_restore_error(&call->module->libvirt, g_steal_pointer(&call->error));
}

typedef struct secret_call secret_call_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(secret_call_t, secret_call_clear)

static struct secret_call
secret_call(virConnectPtr conn, enum call_kind kind)
{
    return (struct secret_call){.module = secret_module_get(), .ours = conn, .kind = kind};
}

/* Finds the connection to use and who asks. False with the thread's libvirt error set. */
static bool
secret_call_open(struct secret_call *call)
{
    struct secret_backends *backends = call->module->backends;

    call->backend = secret_backends_find(backends, call->ours);
    if (!secret_backends_find_asker(backends, call->ours, &call->asker))
        return false;
    if (!call->backend)
        call->backend = call->borrowed = secret_backends_borrow(backends);
    return true;
}

/* Whether to make the call, on call->theirs. After a call that failed it takes that call's error
 * and says whether to make it again. */
static bool
secret_call_try(struct secret_call *call)
{
    if (call->tries > 0) {
        virErrorPtr error = virSaveLastError();

        if (call->kind == CALL_CHANGES || call->tries >= CALL_TRIES_MAX ||
            secret_backend_is_alive(call->backend)) {
            call->error = error;
            return false;
        }
        virFreeError(error);
        secret_call_release(call);
    }
    call->tries++;
    if (call->backend || secret_call_open(call))
        call->theirs = secret_backend_acquire(call->backend, &call->asker);
    if (!call->theirs)
        call->error = virSaveLastError();
    return call->theirs != NULL;
}

/* `secret` of libvirtd's connection as one of the daemon's; no call to the daemon. */
static virSecretPtr
secret_call_argument(struct secret_call *call, virSecretPtr secret)
{
    unsigned char uuid[VIR_UUID_BUFLEN];

    if (virSecretGetUUID(secret, uuid) < 0)
        return NULL;
    call->secret = call->module->libvirt.get_secret(
        call->theirs, uuid, virSecretGetUsageType(secret), virSecretGetUsageID(secret));
    return call->secret;
}

/* The daemon's `take_theirs` as a secret of libvirtd's connection: the caller's. NULL for NULL. */
static virSecretPtr
secret_call_result(const struct secret_call *call, virSecretPtr take_theirs)
{
    unsigned char uuid[VIR_UUID_BUFLEN];
    virSecretPtr ours = NULL;

    if (!take_theirs)
        return NULL;
    if (virSecretGetUUID(take_theirs, uuid) == 0)
        ours = call->module->libvirt.get_secret(
            call->ours, uuid, virSecretGetUsageType(take_theirs), virSecretGetUsageID(take_theirs));
    virSecretFree(take_theirs);
    return ours;
}

static int
forward_num_of_secrets(virConnectPtr conn)
{
    g_auto(secret_call_t) call = secret_call(conn, CALL_READS);
    int count = -1;

    while (count < 0 && secret_call_try(&call))
        count = virConnectNumOfSecrets(call.theirs);
    return count;
}

static int
forward_list_secrets(virConnectPtr conn, char **uuids, int max)
{
    g_auto(secret_call_t) call = secret_call(conn, CALL_READS);
    int count = -1;

    while (count < 0 && secret_call_try(&call))
        count = virConnectListSecrets(call.theirs, uuids, max);
    return count;
}

static int
forward_list_all_secrets(virConnectPtr conn, virSecretPtr **secrets, unsigned int flags)
{
    g_auto(secret_call_t) call = secret_call(conn, CALL_READS);
    int count = -1;

    while (count < 0 && secret_call_try(&call))
        count = virConnectListAllSecrets(call.theirs, secrets, flags);
    for (int i = 0; secrets && i < count; i++)
        (*secrets)[i] = secret_call_result(&call, (*secrets)[i]);
    return count;
}

static virSecretPtr
forward_lookup_by_uuid(virConnectPtr conn, const unsigned char *uuid)
{
    g_auto(secret_call_t) call = secret_call(conn, CALL_READS);
    virSecretPtr found = NULL;

    while (!found && secret_call_try(&call))
        found = virSecretLookupByUUID(call.theirs, uuid);
    return secret_call_result(&call, found);
}

static virSecretPtr
forward_lookup_by_usage(virConnectPtr conn, int usage_type, const char *usage_id)
{
    g_auto(secret_call_t) call = secret_call(conn, CALL_READS);
    virSecretPtr found = NULL;

    while (!found && secret_call_try(&call))
        found = virSecretLookupByUsage(call.theirs, usage_type, usage_id);
    return secret_call_result(&call, found);
}

static virSecretPtr
forward_define_xml(virConnectPtr conn, const char *xml, unsigned int flags)
{
    g_auto(secret_call_t) call = secret_call(conn, CALL_CHANGES);
    virSecretPtr defined = NULL;

    while (!defined && secret_call_try(&call))
        defined = virSecretDefineXML(call.theirs, xml, flags);
    return secret_call_result(&call, defined);
}

static char *
forward_get_xml_desc(virSecretPtr secret, unsigned int flags)
{
    g_auto(secret_call_t) call = secret_call(virSecretGetConnect(secret), CALL_READS);
    char *xml = NULL;

    while (!xml && secret_call_try(&call)) {
        virSecretPtr argument = secret_call_argument(&call, secret);

        if (argument)
            xml = virSecretGetXMLDesc(argument, flags);
    }
    return xml;
}

static int
forward_set_value(virSecretPtr secret, const unsigned char *value, size_t len, unsigned int flags)
{
    g_auto(secret_call_t) call = secret_call(virSecretGetConnect(secret), CALL_CHANGES);
    int status = -1;

    while (status < 0 && secret_call_try(&call)) {
        virSecretPtr argument = secret_call_argument(&call, secret);

        if (argument)
            status = virSecretSetValue(argument, value, len, flags);
    }
    return status;
}

/* The value is passed on in the buffer that libvirt's client made; it is never copied here. */
static unsigned char *
forward_get_value(virSecretPtr secret, size_t *len, unsigned int flags)
{
    g_auto(secret_call_t) call = secret_call(virSecretGetConnect(secret), CALL_READS);
    unsigned char *value = NULL;

    while (!value && secret_call_try(&call)) {
        virSecretPtr argument = secret_call_argument(&call, secret);

        if (argument)
            value = virSecretGetValue(argument, len, flags);
    }
    return value;
}

static int
forward_undefine(virSecretPtr secret)
{
    g_auto(secret_call_t) call = secret_call(virSecretGetConnect(secret), CALL_CHANGES);
    int status = -1;

    while (status < 0 && secret_call_try(&call)) {
        virSecretPtr argument = secret_call_argument(&call, secret);

        if (argument)
            status = virSecretUndefine(argument);
    }
    return status;
}

static int
forward_event_register_any(virConnectPtr conn, virSecretPtr secret, int event,
                           virConnectSecretEventGenericCallback callback, void *opaque,
                           virFreeCallback free_opaque)
{
    const struct secret_event_params params = {
        .conn = conn,
        .secret = secret,
        .event = event,
        .callback = callback,
        .opaque = opaque,
        .free_opaque = free_opaque,
    };

    return secret_events_register(secret_module_get()->events, &params);
}

static int
forward_event_deregister_any(virConnectPtr conn, int id)
{
    return secret_events_deregister(secret_module_get()->events, conn, id);
}

struct libvirt_secret_driver secret_forward_driver = {
    .name = "secret",
    .num_of_secrets = forward_num_of_secrets,
    .list_secrets = forward_list_secrets,
    .list_all_secrets = forward_list_all_secrets,
    .lookup_by_uuid = forward_lookup_by_uuid,
    .lookup_by_usage = forward_lookup_by_usage,
    .define_xml = forward_define_xml,
    .get_xml_desc = forward_get_xml_desc,
    .set_value = forward_set_value,
    .get_value = forward_get_value,
    .undefine = forward_undefine,
    .event_register_any = forward_event_register_any,
    .event_deregister_any = forward_event_deregister_any,
};
