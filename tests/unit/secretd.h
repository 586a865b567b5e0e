/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: for tests of dispatcher and events: a server with a secret service behind it, on a real
 * store in a temporary folder, and calls of clients at socket pairs.
 */
#pragma once

#include "folder.h"
#include "rpc-host.h"
#include "secret/dispatch.h"

#define TOKEN "0123456789abcdef0123456789abcdef"

struct secretd {
    struct rpc_host host;
    struct folder folder;
    struct secret_buf *token;
    struct secret_events *events;
    struct secret_service *service;
    struct unlock_context unlock;
    struct dispatch dispatch;
    uint32_t serial;
};

static inline void
secretd_on_event(void *opaque, enum secret_event_id event, int detail, const struct secret_def *def)
{
    struct secretd *secretd = opaque;

    secret_events_tell(secretd->events, event, detail, def);
}

static inline void
secretd_open_service(struct secretd *secretd, enum secret_readback readback)
{
    g_autofree char *secrets = folder_path(&secretd->folder, "secrets");
    g_autofree char *journal = folder_path(&secretd->folder, "journal");
    g_autofree char *guests = folder_path(&secretd->folder, "guests");
    g_autofree char *audit = folder_path(&secretd->folder, "audit/audit.log");
    g_autofree char *key = folder_path(&secretd->folder, "master.key");
    g_autofree char *slots = folder_path(&secretd->folder, "master.slots");
    g_autofree char *index = folder_path(&secretd->folder, "index");
    g_autofree char *generations = folder_path(&secretd->folder, "generations");
    g_autoptr(GError) error = NULL;
    const struct secret_service_params params = {
        .loop = secretd->host.loop,
        .dir = secrets,
        .journal_dir = journal,
        .guests_dir = guests,
        .audit = audit,
        .generations_path = generations,
        .rotation_delay = 60,
        .slots_path = slots,
        .key_file = key,
        .unlock = &secretd->unlock,
        .index_path = index,
        .readback = readback,
        .on_event = secretd_on_event,
        .opaque = secretd,
    };

    secretd->unlock.timeout_ms = 10000;
    secretd->events = secret_events_new();
    secretd->service = secret_service_new(&params, &error);
    g_assert_no_error(error);
}

static inline void
secretd_init(struct secretd *secretd, enum secret_readback readback, uid_t root_uid)
{
    struct rpc_server_params params;

    *secretd = (struct secretd){0};
    rpc_host_init(&secretd->host);
    folder_init(&secretd->folder);
    secretd->token = secret_buf_new_from(TOKEN, strlen(TOKEN), NULL);
    secretd_open_service(secretd, readback);
    params = rpc_host_params(&secretd->host);
    params.token = secretd->token;
    params.trust_own_uid = true;
    rpc_host_start(&secretd->host, &params);
    secretd->dispatch = (struct dispatch){
        .service = secretd->service,
        .events = secretd->events,
        .server = secretd->host.server,
        .root_uid = root_uid,
    };
    rpc_server_add_program(secretd->host.server, &remote_secret_program, &dispatch_remote_handlers,
                           &secretd->dispatch);
    rpc_server_add_program(secretd->host.server, &virtcrypt_secret_program,
                           &dispatch_virtcrypt_handlers, &secretd->dispatch);
    rpc_server_add_program(secretd->host.server, &virtcrypt_master_program,
                           &dispatch_master_handlers, &secretd->dispatch);
}

/* As the daemon does at its end. */
static inline void
secretd_clear(struct secretd *secretd)
{
    struct rpc_host *host = &secretd->host;

    secret_service_drain(secretd->service);
    if (host->server)
        rpc_server_free(host->server);
    secret_service_free(secretd->service);
    secret_events_free(secretd->events);
    secret_buf_free(secretd->token);
    for (guint i = 0; i < host->client_count; i++) {
        rpc_host_hang_up(&host->clients[i]);
        g_byte_array_unref(host->clients[i].received);
    }
    loop_timer_free(host->limit);
    loop_free(host->loop);
    folder_clear(&secretd->folder);
}

static inline struct rpc_host_client *
secretd_connect(struct secretd *secretd)
{
    struct rpc_host_client *client = rpc_host_connect(&secretd->host);

    rpc_open(&secretd->host, client, 0);
    return client;
}

static inline void
secretd_send(struct secretd *secretd, struct rpc_host_client *client, int procedure,
             const struct rpc_type *type, const void *args)
{
    rpc_send_message(&secretd->host, client,
                     rpc_call_message(procedure, ++secretd->serial, type, args));
}

static inline void
secretd_expect(struct secretd *secretd, struct rpc_host_client *client, const struct rpc_type *type,
               void *ret)
{
    rpc_expect_reply(&secretd->host, client, secretd->serial, type, ret);
}

static inline void
secretd_send_define(struct secretd *secretd, struct rpc_host_client *client, const char *xml)
{
    const struct remote_secret_define_xml_args args = {.xml = (char *)xml};

    secretd_send(secretd, client, REMOTE_SECRET_PROC_SECRET_DEFINE_XML,
                 &remote_secret_define_xml_args_type, &args);
}

/* Defines a secret and returns its uuid. */
static inline struct uuid
secretd_define(struct secretd *secretd, struct rpc_host_client *client, const char *xml)
{
    struct remote_secret_define_xml_ret ret = {0};
    struct uuid uuid;

    secretd_send_define(secretd, client, xml);
    secretd_expect(secretd, client, &remote_secret_define_xml_ret_type, &ret);
    memcpy(uuid.bytes, ret.secret.uuid, sizeof(uuid.bytes));
    remote_secret_define_xml_ret_clear(&ret);
    return uuid;
}

static inline void
secretd_send_set_value(struct secretd *secretd, struct rpc_host_client *client,
                       const struct uuid *uuid, const char *value)
{
    struct remote_secret_set_value_args args = {.secret.usageID = g_strdup("")};

    memcpy(args.secret.uuid, uuid->bytes, sizeof(uuid->bytes));
    args.value = secret_buf_new_from(value, strlen(value), NULL);
    secretd_send(secretd, client, REMOTE_SECRET_PROC_SECRET_SET_VALUE,
                 &remote_secret_set_value_args_type, &args);
    remote_secret_set_value_args_clear(&args);
}

static inline void
secretd_set_value(struct secretd *secretd, struct rpc_host_client *client, const struct uuid *uuid,
                  const char *value)
{
    secretd_send_set_value(secretd, client, uuid, value);
    secretd_expect(secretd, client, NULL, NULL);
}
