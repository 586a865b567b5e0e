/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the program virtcrypt-qemu-hook, which libvirt runs as its hook qemu.d/virtcrypt: what a
 * guest needs of virtcryptd is opened before QEMU starts and closed after it ended (docs/hook.md).
 * libvirtd waits for it, so it never calls libvirtd. Standard output stays empty: libvirt would
 * take it for XML.
 */
#include <errno.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/domain_disks.h"
#include "rpc/client.h"
#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/hook_calls.h"
#include "tools/hook_offline.h"
#include "util/error.h"

static const char socket_path[] = RUNSTATEDIR "/libvirt/virtcryptd-sock";
static const char server_uri[] = "storage:///system";

static const struct hook_folders folders = {
    .volumes_dir = SYSCONFDIR "/libvirt/virtcrypt/volumes",
    .pool_state_dir = RUNSTATEDIR "/libvirt/storage",
    .device_dir = "/dev/virtcrypt",
};

enum {
    CONNECT_MS = 30000,  /* a start of virtcryptd by its socket is part of that */
    PREPARE_MS = 300000, /* passphrases of people take seconds each, and a busy volume is waited
                          * for */
    READ_SIZE = 64 * 1024,
};

/* The domain's XML from standard input. */
static GString *
read_xml(GError **error)
{
    g_autoptr(GString) xml = g_string_new(NULL);

    for (;;) {
        gsize len = xml->len;
        ssize_t got;

        if (len > DOMAIN_XML_MAX) {
            error_set(error, ERROR_FROM_DOMAIN, ERROR_OVERFLOW,
                      "the domain's XML is longer than %d bytes", DOMAIN_XML_MAX);
            return NULL;
        }
        g_string_set_size(xml, len + READ_SIZE);
        got = read(STDIN_FILENO, xml->str + len, READ_SIZE);
        g_string_set_size(xml, len + (gsize)MAX(got, 0));
        if (got == 0)
            return g_steal_pointer(&xml);
        if (got < 0 && errno != EINTR) {
            error_set_errno(error, ERROR_FROM_DOMAIN, errno, "cannot read the domain's XML");
            return NULL;
        }
    }
}

static struct rpc_client *
connect_to_daemon(GError **error)
{
    g_autoptr(rpc_client_t) client = rpc_client_new_unix(socket_path, error);

    if (!client)
        return NULL;
    rpc_client_set_timeout(client, CONNECT_MS);
    if (!rpc_client_open(client, server_uri, false, error))
        return NULL;
    rpc_client_set_timeout(client, PREPARE_MS);
    return g_steal_pointer(&client);
}

/* Errors of RPC are those of the connection: nobody has decided on the guest. */
static bool
is_unanswered(const GError *error)
{
    return error_get_domain(error) == ERROR_FROM_RPC;
}

static bool
check_without_daemon(const struct domain_disks *guest, const GError *reason, GError **error)
{
    g_autoptr(GError) need = NULL;
    g_autofree char *why = error_describe(reason);

    if (hook_offline_check(&folders, guest, &need))
        return true;
    error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
              "%s; virtcryptd can't be reached (%s): start it by 'systemctl start "
              "virtcryptd.socket', then start the guest again",
              need->message, why);
    return false;
}

static bool
prepare(GString *xml, const struct domain_disks *guest, GError **error)
{
    const struct virtcrypt_volume_guest_prepare_args call = {.xml = xml->str};
    g_autoptr(GError) reason = NULL;
    g_autoptr(rpc_client_t) client = connect_to_daemon(&reason);

    if (!client)
        return check_without_daemon(guest, reason, error);
    if (virtcrypt_volume_guest_prepare_call(client, &call, &reason))
        return true;
    if (is_unanswered(reason))
        return check_without_daemon(guest, reason, error);
    g_propagate_error(error, g_steal_pointer(&reason));
    return false;
}

/* Without virtcryptd nothing is to be done: it finds out at its start which guests run. */
static bool
release(const struct domain_disks *guest, GError **error)
{
    struct virtcrypt_volume_guest_release_args call = {0};
    g_autoptr(rpc_client_t) client = connect_to_daemon(NULL);

    if (!client)
        return true;
    memcpy(call.guest, guest->uuid.bytes, sizeof(call.guest));
    return virtcrypt_volume_guest_release_call(client, &call, error);
}

static bool
run(enum hook_action action, GError **error)
{
    g_autoptr(GString) xml = read_xml(error);
    g_autoptr(domain_disks_t) guest = NULL;

    if (!xml)
        return false;
    guest = domain_disks_parse(xml->str, xml->len, error);
    if (!guest)
        return false;
    return action == HOOK_RELEASE ? release(guest, error) : prepare(xml, guest, error);
}

/* One line: libvirt makes it the reason of its own error. */
static void
print_error(const char *guest, const GError *error)
{
    g_autofree char *text = error_describe(error);

    for (char *c = text; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    }
    fprintf(stderr, "virtcrypt: guest '%s': %s\n", guest, text);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    enum hook_action action;
    bool is_done;

    if (argc < 4) {
        fprintf(stderr, "Usage: virtcrypt-qemu-hook GUEST OPERATION SUBOPERATION [EXTRA] <XML\n"
                        "It is libvirt that runs it: as /etc/libvirt/hooks/qemu.d/virtcrypt.\n");
        return EXIT_FAILURE;
    }
    action = hook_calls_find(argv[2], argv[3]);
    if (action == HOOK_NOTHING)
        return EXIT_SUCCESS;
    is_done = run(action, &error);
    if (!is_done)
        print_error(argv[1], error);
    xmlCleanupParser();
    return is_done || action == HOOK_RECONNECT ? EXIT_SUCCESS : EXIT_FAILURE;
}
