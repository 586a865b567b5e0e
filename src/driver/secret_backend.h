/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: connections to the daemon for calls. A backend connects when it is first needed and again
 * when its connection was lost, and speaks with the identity of who asks.
 */
#pragma once

#include "driver/secret_identity.h"
#include "driver/secret_module.h"

struct secret_backend;

/* A connection for the calling thread alone, speaking for `asker`, until secret_backend_release.
 * NULL with the thread's libvirt error set, and nothing to release. */
virConnectPtr secret_backend_acquire(struct secret_backend *backend,
                                     const struct secret_identity *asker);

/* While acquired: whether the connection stands, as far as is known. */
bool secret_backend_is_alive(const struct secret_backend *backend);
void secret_backend_release(struct secret_backend *backend);

/* The backends of libvirt connections with a secret: URI. All calls may come from any thread. */
struct secret_backends *secret_backends_new(struct secret_module *module);
void secret_backends_add(struct secret_backends *backends, virConnectPtr conn, bool read_only);

/* Borrowed; NULL for a connection of another driver. It lives as long as `conn`, on which libvirt
 * has a reference during each call. */
struct secret_backend *secret_backends_find(struct secret_backends *backends, virConnectPtr conn);

/* A backend for a call on a connection of another driver. Those given back are kept, connected, for
 * the next ones: opening a connection takes nine calls. Never NULL. */
struct secret_backend *secret_backends_borrow(struct secret_backends *backends);
void secret_backends_give_back(struct secret_backends *backends,
                               struct secret_backend *take_backend);

/* From now on `conn` speaks for that identity. */
void secret_backends_set_identity(struct secret_backends *backends, virConnectPtr conn,
                                  const virTypedParameter *params, int count);

/* Who asks by a call on `conn`: the identity set on it, otherwise the thread's. False with the
 * thread's libvirt error set. */
bool secret_backends_find_asker(struct secret_backends *backends, virConnectPtr conn,
                                struct secret_identity *ret_asker);
void secret_backends_remove(struct secret_backends *backends, virConnectPtr conn);
