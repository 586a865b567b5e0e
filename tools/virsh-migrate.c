/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guest-migrate: a guest's keys go to the other host's virtcryptd, then libvirt moves the
 * guest, then both virtcryptd are told how it ended. Run on the source, as root. Stopped at any
 * instant, it can be run again; what it does not finish, both virtcryptd find out from libvirt.
 */
#include <libvirt/libvirt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_guest_client.h"
#include "tools/job.h"
#include "tools/libvirt_migration.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"
#include "util/error.h"

struct migration {
    struct session *here;
    struct session there;
    struct libvirt_host *source;
    struct libvirt_host *destination;
    struct virsh_guest guest;
    struct libvirt_guest found; /* at the source, if it is there */
    char *uri;                  /* the destination's, libvirt's */
    char *key_uri;              /* the destination's virtcryptd */
    /* Of migrate_begin; zeros, which are any that the record has, in a run that only finishes. */
    uint8_t id[sizeof(((struct uuid *)NULL)->bytes)];
};

static void
migration_clear(struct migration *migration)
{
    session_clear(&migration->there);
    libvirt_host_close(migration->source);
    libvirt_host_close(migration->destination);
    virsh_guest_clear(&migration->guest);
    libvirt_guest_clear(&migration->found);
    g_free(migration->key_uri);
}

typedef struct migration migration_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(migration_t, migration_clear)

static bool
parse_uris(struct migration *migration, const struct command_args *args)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(uri_t) here = session_parse_uri(migration->here, &error);
    char *key_uri = NULL;

    if (!here || !command_get_text(args, "desturi", &migration->uri, &error) ||
        !command_get_text(args, "keyuri", &key_uri, &error))
        return output_gerror(error);
    if (here->transport != URI_UNIX)
        return output_error("guest-migrate runs on the host that the guest leaves");
    migration->key_uri = key_uri ? g_strdup(key_uri) : uri_from_libvirt(migration->uri, &error);
    return migration->key_uri || output_gerror(error);
}

/* Where libvirt does not know the guest any more, virtcryptd may: a run before this one moved it.
 */
static bool
find_at_source(struct migration *migration, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) list_error = NULL;

    if (libvirt_host_find_guest(migration->source, text, &migration->found, &error)) {
        migration->guest.uuid = migration->found.uuid;
        migration->guest.name = g_strdup(migration->found.name);
        return true;
    }
    if (error_get_code(error) != LIBVIRT_NO_GUEST)
        return output_failure(error, "failed to get domain '%s'", text);
    if (uuid_parse(text, &migration->guest.uuid)) {
        migration->guest.name = g_strdup(text);
        return true;
    }
    return virsh_guest_find_known(migration->here, text, &migration->guest, &list_error) ||
           output_failure(virsh_guest_choose_error(error, list_error), "failed to get domain '%s'",
                          text);
}

static bool
reach_both_hosts(struct migration *migration, const struct command_args *args)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    if (!command_get_text(args, "domain", &text, &error))
        return output_gerror(error);
    migration->source = libvirt_host_open(migration->here, &error);
    if (!migration->source)
        return output_failure(error, "failed to connect to libvirt");
    if (!find_at_source(migration, text))
        return false;
    migration->destination = libvirt_host_connect(migration->uri, &error);
    if (!migration->destination)
        return output_failure(error, "failed to connect to libvirt at %s", migration->uri);
    migration->there = (struct session){
        .uri_text = migration->key_uri,
        .is_quiet = migration->here->is_quiet,
        .daemon = URI_VIRTCRYPTD,
    };
    return session_connect(&migration->there);
}

/* Tells one of both how it ended. The connection may have ended meanwhile: it is made again. */
static bool
end_at(struct session *session, const struct migration *migration, bool has_moved,
       struct virtcrypt_guest_migrate_end_ret *ret_end)
{
    struct virtcrypt_guest_migrate_end_args call = {.has_moved = has_moved};
    const char *side = session == migration->here ? "here" : "at the destination";
    g_autoptr(GError) error = NULL;

    memcpy(call.guest, migration->guest.uuid.bytes, sizeof(call.guest));
    memcpy(call.migration, migration->id, sizeof(call.migration));
    if (!session_keep(session))
        return output_error("virtcryptd %s was not told how the migration ended", side);
    return virtcrypt_guest_migrate_end_call(session->client, &call, ret_end, &error) ||
           output_failure(error, "virtcryptd %s did not end the migration", side);
}

/* The destination first: what the source holds is erased once the other has confirmed. */
static bool
finish(struct migration *migration)
{
    struct virtcrypt_guest_migrate_end_ret there = {0};
    struct virtcrypt_guest_migrate_end_ret here = {0};
    bool is_ended = end_at(&migration->there, migration, true, &there) &&
                    end_at(migration->here, migration, true, &here);

    if (is_ended && !migration->here->is_quiet)
        printf("Domain '%s' migrated to %s: %u keys erased here, %u held as orphaned\n",
               migration->guest.name, migration->uri, here.erased, here.orphaned);
    virtcrypt_guest_migrate_end_ret_clear(&there);
    virtcrypt_guest_migrate_end_ret_clear(&here);
    return is_ended || output_error("The guest has moved; run guest-migrate again to finish");
}

/* Both are told, whatever the first one says. */
static bool
undo(struct migration *migration)
{
    struct session *sides[] = {&migration->there, migration->here};

    for (size_t i = 0; i < G_N_ELEMENTS(sides); i++) {
        struct virtcrypt_guest_migrate_end_ret end = {0};

        if (end_at(sides[i], migration, false, &end))
            virtcrypt_guest_migrate_end_ret_clear(&end);
    }
    return false;
}

/* Keys go from one answer into the other call as they are. */
static bool
send_keys(struct migration *migration)
{
    g_autofree char *peer = g_strdup_printf("qemu+ssh://%s/system", g_get_host_name());
    struct virtcrypt_guest_migrate_begin_args begin = {.peer = migration->uri};
    struct virtcrypt_guest_migrate_begin_ret begun = {0};
    struct virtcrypt_guest_migrate_receive_args receive = {.peer = peer};
    g_autoptr(GError) error = NULL;
    bool is_received;

    memcpy(begin.guest, migration->guest.uuid.bytes, sizeof(begin.guest));
    if (!virtcrypt_guest_migrate_begin_call(migration->here->client, &begin, &begun, &error))
        return output_failure(error, "Failed to get the keys of domain '%s'",
                              migration->guest.name);
    memcpy(migration->id, begun.migration, sizeof(migration->id));
    memcpy(receive.migration, begun.migration, sizeof(receive.migration));
    receive.guest = begun.guest;
    receive.keys = begun.keys;
    receive.keys_len = begun.keys_len;
    is_received = virtcrypt_guest_migrate_receive_call(migration->there.client, &receive, &error);
    if (!is_received) {
        output_failure(error, "Failed to send the keys of domain '%s'", migration->guest.name);
        undo(migration);
    }
    virtcrypt_guest_migrate_begin_ret_clear(&begun);
    return is_received;
}

static unsigned long
flags_of(const struct migration *migration, const struct command_args *args)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } options[] = {
        {"offline", VIR_MIGRATE_OFFLINE},
        {"unsafe", VIR_MIGRATE_UNSAFE},
        {"copy-storage-all", VIR_MIGRATE_NON_SHARED_DISK},
    };
    unsigned long flags = migration->found.is_active ? VIR_MIGRATE_LIVE : 0;

    /* The keys go with the guest, so its definition does too. */
    if (migration->found.is_persistent)
        flags |= VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        flags |= command_has(args, options[i].name) ? options[i].flag : 0;
    return flags;
}

/* Long migrations outlive connections that nobody answers on. What failed is seen at the end. */
static void
keep_connections(void *opaque)
{
    const struct migration *migration = opaque;

    rpc_client_wait(migration->here->client, 0, NULL);
    rpc_client_wait(migration->there.client, 0, NULL);
}

/* Whether libvirt's answers are that the guest is not here any more, and is there. */
static bool
has_moved(const struct migration *migration)
{
    const struct uuid *guest = &migration->guest.uuid;
    enum libvirt_guest_presence here;
    enum libvirt_guest_presence there;

    return libvirt_host_look_at(migration->source, guest, &here, NULL) &&
           libvirt_host_look_at(migration->destination, guest, &there, NULL) &&
           here == LIBVIRT_GUEST_NONE && there != LIBVIRT_GUEST_NONE;
}

static bool
move_guest(struct migration *migration, struct libvirt_migration *run)
{
    g_autoptr(GError) error = NULL;

    if (!send_keys(migration))
        return false;
    if (libvirt_migration_run(run, &error))
        return finish(migration);
    output_failure(error, "Failed to migrate domain '%s'", migration->guest.name);
    /* What failed may be the answer alone. */
    return has_moved(migration) ? finish(migration) : undo(migration);
}

/* A run before this one may have got so far that the guest is there. */
static bool
is_there_already(struct migration *migration, bool *ret_is_there)
{
    const struct uuid *guest = &migration->guest.uuid;
    enum libvirt_guest_presence here = LIBVIRT_GUEST_NONE;
    enum libvirt_guest_presence there;
    g_autoptr(GError) error = NULL;

    if (!libvirt_host_look_at(migration->source, guest, &here, &error) ||
        !libvirt_host_look_at(migration->destination, guest, &there, &error))
        return output_failure(error, "failed to get domain '%s'", migration->guest.name);
    if (here == LIBVIRT_GUEST_NONE && there == LIBVIRT_GUEST_NONE)
        return output_error("Domain '%s' is neither here nor at %s", migration->guest.name,
                            migration->uri);
    /* What libvirt would have done next, had it been asked to. */
    if (here == LIBVIRT_GUEST_SENT && there == LIBVIRT_GUEST_RUNNING) {
        if (!libvirt_host_drop(migration->source, guest, &error))
            return output_failure(error, "Failed to end domain '%s' here, which runs at %s",
                                  migration->guest.name, migration->uri);
        here = LIBVIRT_GUEST_NONE;
    }
    if (here != LIBVIRT_GUEST_NONE && there > LIBVIRT_GUEST_DEFINED)
        return output_error("Domain '%s' is here and %s at %s, too: end one of both, then run "
                            "guest-migrate again",
                            migration->guest.name,
                            there == LIBVIRT_GUEST_RUNNING ? "runs"
                                                           : "waits to arrive, or is paused,",
                            migration->uri);
    *ret_is_there = here == LIBVIRT_GUEST_NONE;
    return true;
}

static bool
get_options(const struct command_args *args, struct libvirt_migration *ret_run, GError **error)
{
    int bandwidth = 0;
    char *uri = NULL;

    if (!command_get_number(args, "bandwidth", 0, G_MAXINT, &bandwidth, error) ||
        !command_get_number(args, "timeout", 1, G_MAXINT, &ret_run->suspend_after, error) ||
        !command_get_text(args, "migrateuri", &uri, error))
        return false;
    ret_run->limit = (unsigned long long)bandwidth;
    ret_run->uri = uri;
    return true;
}

bool
virsh_guest_migrate(struct session *session, const struct command_args *args)
{
    g_auto(migration_t) migration = {.here = session};
    g_auto(job_t) job = {.interrupts = -1};
    struct libvirt_migration run = {.job = &job, .idle = keep_connections, .opaque = &migration};
    g_autoptr(GError) error = NULL;
    bool is_there = false;

    /* libvirt's client writes to connections that have ended. */
    signal(SIGPIPE, SIG_IGN);
    if (!get_options(args, &run, &error))
        return output_gerror(error);
    if (!parse_uris(&migration, args) || !reach_both_hosts(&migration, args) ||
        !is_there_already(&migration, &is_there))
        return false;
    if (is_there)
        return finish(&migration);
    if (!migration.found.is_active && !command_has(args, "offline"))
        return output_error("Domain '%s' is not running: use --offline to migrate its definition",
                            migration.guest.name);
    if (!job_begin(&job, "Migration", session->is_quiet, &error))
        return output_gerror(error);
    run.source = migration.source;
    run.destination = migration.destination;
    run.guest = &migration.guest.uuid;
    run.flags = flags_of(&migration, args);
    return move_guest(&migration, &run);
}
