/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the calls of a migration. Keys leave this host for local root alone.
 */
#include <string.h>

#include "conf/xml_text.h"
#include "guest/dispatch.h"
#include "guest/migration.h"
#include "util/error.h"

G_STATIC_ASSERT((int)GUEST_MIGRATION_KEYS_MAX == VIRTCRYPT_GUEST_KEYS_MAX);

/* They are kept in a record, and said in the audit. */
enum { TEXT_MAX = 1024 };

static bool
check_text(const char *what, const char *text, GError **error)
{
    if (*text && strlen(text) <= TEXT_MAX && xml_can_hold(text))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
              "%s of a migration has to be text of 1 to %d bytes without control characters", what,
              TEXT_MAX);
    return false;
}

/* ---- begin ---- */

/* Only the kernel's word makes somebody local root; who forwards another's identity speaks for that
 * one. */
static bool
check_is_local_root(struct rpc_call *call, GError **error)
{
    const struct rpc_identity *identity =
        rpc_connection_get_identity(rpc_call_get_connection(call));

    if (identity->peer_uid == 0 && !identity->forwarded)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_DENIED,
              "a guest's keys are given to root of this host alone: run virtcrypt guest-migrate "
              "there");
    return false;
}

static bool
run_begin(struct guest_call *made, void *opaque, GError **error)
{
    struct virtcrypt_guest_migrate_begin_ret *ret = opaque;
    struct guest_migration *migration =
        guest_service_migrate_begin(made->service, &made->guest, made->text, error);

    if (!migration)
        return false;
    guest_dispatch_fill_domain(&ret->guest, migration->name, &migration->uuid);
    memcpy(ret->migration, migration->migration.bytes, sizeof(ret->migration));
    ret->keys = g_new0(struct virtcrypt_guest_packet, migration->packets->len);
    for (guint i = 0; i < migration->packets->len; i++) {
        struct guest_packet *packet = migration->packets->pdata[i];
        struct virtcrypt_guest_packet *sent = &ret->keys[ret->keys_len++];

        sent->xml = g_steal_pointer(&packet->xml);
        sent->volume = g_steal_pointer(&packet->volume);
        sent->origin = g_strdup(guest_key_origin_name(packet->origin));
        sent->record = g_steal_pointer(&packet->record);
        sent->key = g_steal_pointer(&packet->key);
    }
    guest_migration_free(migration);
    return true;
}

enum rpc_outcome
guest_dispatch_migrate_begin(struct rpc_call *call, void *opaque,
                             const struct virtcrypt_guest_migrate_begin_args *args,
                             struct virtcrypt_guest_migrate_begin_ret *ret, GError **error)
{
    struct guest_call *made;

    if (!check_is_local_root(call, error) || !check_text("the peer", args->peer, error))
        return RPC_FAILED;
    made = guest_dispatch_begin(opaque, call, run_begin, error);
    if (!made)
        return RPC_FAILED;
    made->guest = guest_dispatch_uuid(args->guest);
    made->text = g_strdup(args->peer);
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

/* ---- receive ---- */

/* A packet whose strings and key stay where they are. */
static bool
view_packet(const struct virtcrypt_guest_packet *sent, struct guest_packet *packet, GError **error)
{
    *packet = (struct guest_packet){
        .xml = sent->xml,
        .volume = sent->volume,
        .record = sent->record,
        .key = sent->key,
    };
    if (!sent->key || secret_buf_len(sent->key) == 0) {
        error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG, "the key of '%s' is empty",
                  sent->volume ? sent->volume : "a secret");
        return false;
    }
    if (guest_key_origin_parse(sent->origin, &packet->origin) &&
        packet->origin != GUEST_KEY_REFUSED)
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_INVALID_ARG,
              "'%s' is no origin of a key: it is generated, sent, manual or referenced",
              sent->origin);
    return false;
}

static bool
run_receive(struct guest_call *made, void *ret, GError **error)
{
    const struct virtcrypt_guest_migrate_receive_args *args = &made->receive;
    g_autofree struct guest_packet *packets = g_new0(struct guest_packet, args->keys_len + 1);
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    const struct guest_migration migration = {
        .uuid = guest_dispatch_uuid(args->guest.uuid),
        .name = args->guest.name,
        .migration = guest_dispatch_uuid(args->migration),
        .packets = list,
    };

    for (uint32_t i = 0; i < args->keys_len; i++) {
        if (!view_packet(&args->keys[i], &packets[i], error))
            return false;
        g_ptr_array_add(list, &packets[i]);
    }
    return guest_service_migrate_receive(made->service, &migration, args->peer, error);
}

enum rpc_outcome
guest_dispatch_migrate_receive(struct rpc_call *call, void *opaque,
                               struct virtcrypt_guest_migrate_receive_args *args, GError **error)
{
    struct guest_call *made;

    if (!check_text("the guest's name", args->guest.name, error) ||
        !check_text("the peer", args->peer, error))
        return RPC_FAILED;
    made = guest_dispatch_begin(opaque, call, run_receive, error);
    if (!made)
        return RPC_FAILED;
    made->receive = *args;
    *args = (struct virtcrypt_guest_migrate_receive_args){0};
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}

/* ---- end ---- */

static bool
run_end(struct guest_call *made, void *opaque, GError **error)
{
    struct virtcrypt_guest_migrate_end_ret *ret = opaque;
    struct guest_migrate_end end;

    if (!guest_service_migrate_end(made->service, &made->guest, &made->migration, made->flag, &end,
                                   error))
        return false;
    ret->state = g_strdup(end.state);
    ret->erased = end.erased;
    ret->orphaned = end.orphaned;
    return true;
}

enum rpc_outcome
guest_dispatch_migrate_end(struct rpc_call *call, void *opaque,
                           const struct virtcrypt_guest_migrate_end_args *args,
                           struct virtcrypt_guest_migrate_end_ret *ret, GError **error)
{
    struct guest_call *made = guest_dispatch_begin(opaque, call, run_end, error);

    if (!made)
        return RPC_FAILED;
    made->guest = guest_dispatch_uuid(args->guest);
    made->migration = guest_dispatch_uuid(args->migration);
    made->flag = args->has_moved;
    return guest_dispatch_push(made, DISPATCH_POOL_LIBVIRT);
}
