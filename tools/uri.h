/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: connection URIs, which read as libvirt's: secret[+TRANSPORT]://[USER@][HOST][:PORT]/PATH
 * with parameters, for virtcrypt-secretd, and storage[+TRANSPORT]:// for virtcryptd. Pure: nothing
 * is looked up or connected here.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

enum uri_daemon {
    URI_SECRETD,    /* virtcrypt-secretd */
    URI_VIRTCRYPTD, /* virtcryptd; of a host, never of a session */
    URI_DAEMON_LAST,
};

enum uri_transport {
    URI_UNIX, /* a socket of this host */
    URI_SSH,
};

enum uri_proxy {
    URI_PROXY_AUTO, /* what is on every host: netcat */
    URI_PROXY_NETCAT,
    URI_PROXY_NATIVE, /* libvirt's virt-ssh-helper */
};

struct uri {
    enum uri_daemon daemon;
    enum uri_transport transport;
    bool is_session;
    char *name;   /* what the server is told to open: "secret:///system" */
    char *socket; /* ?socket= of `daemon`, or NULL */
    /* These are for ssh; a string is NULL, and the port 0, when left out. */
    char *user;
    char *host;
    int port;
    char *command; /* instead of ssh */
    char *keyfile;
    char *netcat; /* instead of nc */
    enum uri_proxy proxy;
    bool no_verify;
    bool no_tty;
};

/* Errors name the URI and what is wrong with it. */
struct uri *uri_parse(const char *text, GError **error);
void uri_free(struct uri *uri);

/* Makes it lead to that daemon of the same host. What the URI says of the other one alone (a
 * socket, a session) is an error. */
bool uri_set_daemon(struct uri *uri, enum uri_daemon daemon, GError **error);

/* "virtcryptd", for texts. */
const char *uri_daemon_name(enum uri_daemon daemon);

/* The URI by which libvirt's own library reaches the QEMU driver of the same host. */
char *uri_to_libvirt(const struct uri *uri);

/* The URI by which virtcryptd is reached on the host that libvirt's own URI leads to
 * (qemu:///system, qemu+ssh://HOST/system). */
char *uri_from_libvirt(const char *text, GError **error);

/* The daemon's socket: ?socket=, or where it is by default. */
char *uri_socket_path(const struct uri *uri, bool readonly);

/* The command that connects its standard input and output to the daemon's socket on the other
 * host. Whatever the parameters hold, the shell there sees it as one word. NULL with an error if
 * the socket's path can't be known. */
char **uri_ssh_command(const struct uri *uri, bool readonly, GError **error);

typedef struct uri uri_t;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(uri_t, uri_free)
