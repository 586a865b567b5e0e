/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The connection to libvirt, with libvirt's own test driver, which keeps its guests in this
 * process, and with a server that never answers. (Real libvirtd: tests/e2e/test-guest-watch.py.)
 */
#include "guest/libvirt.h"

#include <libvirt/libvirt.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "folder.h"
#include "patience.h"
#include "util/error.h"

#define URI "test:///default" /* all connections of a process have the same guests there */
#define WEB "11111111-2222-4333-8444-555555555555"
#define DOMAIN(name, uuid)                                                                         \
    "<domain type='test'><name>" name "</name><uuid>" uuid "</uuid><memory>1024</memory>"          \
    "<os><type>hvm</type></os></domain>"

/* ---- what is reported ---- */

struct seen_event {
    enum guest_libvirt_event event;
    struct uuid guest;
};

struct watcher {
    GAsyncQueue *events;
    struct guest_libvirt *libvirt;
};

static void
on_event(void *opaque, enum guest_libvirt_event event, const struct uuid *guest)
{
    struct watcher *watcher = opaque;
    struct seen_event *seen = g_new0(struct seen_event, 1);

    seen->event = event;
    if (guest)
        seen->guest = *guest;
    g_async_queue_push(watcher->events, seen);
    /* cppcheck-suppress memleak ; the queue has it */
}

static void
expect_event(struct watcher *watcher, enum guest_libvirt_event event, const struct uuid *guest)
{
    guint64 bound = (guint64)patient_ms(20000) * G_TIME_SPAN_MILLISECOND;

    while (true) {
        g_autofree struct seen_event *seen = g_async_queue_timeout_pop(watcher->events, bound);

        g_assert_nonnull(seen);
        if (seen->event == event && (!guest || uuid_equal(&seen->guest, guest)))
            return;
    }
}

static void
watcher_init(struct watcher *watcher, gconstpointer uri)
{
    watcher->events = g_async_queue_new_full(g_free);
    watcher->libvirt = guest_libvirt_new(uri, on_event, watcher);
}

static void
watcher_clear(struct watcher *watcher, gconstpointer unused)
{
    guest_libvirt_free(watcher->libvirt);
    g_async_queue_unref(watcher->events);
}

static void
expect_part(const GError *error, enum error_code code, const char *part)
{
    g_assert_nonnull(error);
    g_assert_cmpint(error_get_code(error), ==, code);
    if (!strstr(error->message, part))
        g_error("'%s' does not hold '%s'", error->message, part);
}

static struct uuid
define(struct watcher *watcher, const char *xml)
{
    g_autoptr(GError) error = NULL;
    struct uuid uuid;

    g_assert_true(guest_libvirt_define(watcher->libvirt, xml, 0, &uuid, &error));
    g_assert_no_error(error);
    return uuid;
}

static void
undefine(const struct uuid *uuid)
{
    virConnectPtr conn = virConnectOpen(URI);
    virDomainPtr domain = virDomainLookupByUUID(conn, uuid->bytes);

    g_assert_nonnull(domain);
    g_assert_cmpint(virDomainUndefine(domain), ==, 0);
    virDomainFree(domain);
    virConnectClose(conn);
}

/* ---- guests ---- */

static void
test_connecting_is_reported_and_is_no_problem_any_more(struct watcher *watcher,
                                                       gconstpointer unused)
{
    expect_event(watcher, GUEST_LIBVIRT_CONNECTED, NULL);
    g_assert_null(guest_libvirt_problem(watcher->libvirt));
    g_assert_cmpstr(guest_libvirt_uri(watcher->libvirt), ==, URI);
}

static void
test_a_defined_guest_is_reported_found_and_listed(struct watcher *watcher, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(guest_seen_t) seen = NULL;
    g_autoptr(GPtrArray) all = NULL;
    struct uuid uuid;

    expect_event(watcher, GUEST_LIBVIRT_CONNECTED, NULL);
    uuid = define(watcher, DOMAIN("web1", WEB));
    expect_event(watcher, GUEST_LIBVIRT_CHANGED, &uuid);
    seen = guest_libvirt_find(watcher->libvirt, &uuid, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(seen->name, ==, "web1");
    g_assert_false(seen->is_active);
    g_assert_true(seen->is_persistent);
    g_assert_cmpuint(seen->xmls->len, ==, 1);
    g_assert_nonnull(strstr(seen->xmls->pdata[0], WEB));
    all = guest_libvirt_list(watcher->libvirt, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(all->len, ==, 2); /* and the driver's own */
    for (guint i = 1; i < all->len; i++)
        g_assert_cmpint(memcmp(all->pdata[i - 1], all->pdata[i], sizeof(uuid)), <, 0);
    undefine(&uuid);
    expect_event(watcher, GUEST_LIBVIRT_CHANGED, &uuid);
}

static void
test_a_running_guest_is_listed_as_it_runs_and_as_it_would_start(struct watcher *watcher,
                                                                gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) all = NULL;
    const struct guest_seen *seen;

    expect_event(watcher, GUEST_LIBVIRT_CONNECTED, NULL);
    all = guest_libvirt_list(watcher->libvirt, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(all->len, ==, 1);
    seen = all->pdata[0];
    g_assert_cmpstr(seen->name, ==, "test");
    g_assert_true(seen->is_active && seen->is_persistent);
    g_assert_cmpuint(seen->xmls->len, ==, 2);
}

static void
test_a_snapshot_is_one_more_xml(struct watcher *watcher, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) all = NULL;
    const struct guest_seen *seen;
    virConnectPtr conn = virConnectOpen(URI);
    virDomainPtr domain = virDomainLookupByName(conn, "test");
    virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(
        domain, "<domainsnapshot><name>before</name></domainsnapshot>", 0);

    g_assert_nonnull(snapshot);
    expect_event(watcher, GUEST_LIBVIRT_CONNECTED, NULL);
    all = guest_libvirt_list(watcher->libvirt, &error);
    g_assert_no_error(error);
    seen = all->pdata[0];
    g_assert_cmpuint(seen->xmls->len, ==, 3);
    g_assert_nonnull(strstr(seen->xmls->pdata[2], "<domainsnapshot"));
    g_assert_cmpint(virDomainSnapshotDelete(snapshot, 0), ==, 0);
    virDomainSnapshotFree(snapshot);
    virDomainFree(domain);
    virConnectClose(conn);
}

static void
test_that_there_is_none_is_an_answer_of_its_own(struct watcher *watcher, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct uuid uuid;

    expect_event(watcher, GUEST_LIBVIRT_CONNECTED, NULL);
    g_assert_true(uuid_parse(WEB, &uuid));
    g_assert_null(guest_libvirt_find(watcher->libvirt, &uuid, &error));
    expect_part(error, ERROR_NO_DOMAIN, "Domain not found");
}

static void
test_a_refused_definition_is_libvirts_error(struct watcher *watcher, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    struct uuid uuid;

    expect_event(watcher, GUEST_LIBVIRT_CONNECTED, NULL);
    g_assert_false(guest_libvirt_define(watcher->libvirt, "<domain", 0, &uuid, &error));
    expect_part(error, ERROR_XML_DETAIL, "Couldn't find end of Start Tag");
}

/* ---- no libvirt ---- */

static void
test_without_libvirt_nothing_is_known_and_why_is_said(struct watcher *watcher, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *problem = NULL;
    struct uuid uuid = {0};

    for (int i = 0; i < 200 && !problem; i++) {
        g_autofree char *text = guest_libvirt_problem(watcher->libvirt);

        if (strstr(text, "/nowhere/libvirt-sock"))
            problem = g_steal_pointer(&text);
        else
            g_usleep(G_TIME_SPAN_SECOND / 20);
    }
    g_assert_nonnull(problem);
    g_assert_null(guest_libvirt_find(watcher->libvirt, &uuid, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "/nowhere/libvirt-sock");
    g_clear_error(&error);
    g_assert_null(guest_libvirt_list(watcher->libvirt, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "libvirt can't be asked");
}

static void
test_an_end_does_not_wait_for_a_libvirt_that_hangs(struct folder *folder, gconstpointer unused)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *path = folder_path(folder, "mute");
    g_autofree char *uri = g_strdup_printf("qemu+unix:///system?socket=%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_autoptr(GError) error = NULL;
    struct watcher watcher;
    gint64 begin;
    int peer;

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    watcher_init(&watcher, uri);
    peer = accept(fd, NULL, NULL);
    g_assert_cmpint(peer, >=, 0);
    g_assert_null(guest_libvirt_list(watcher.libvirt, &error));
    expect_part(error, ERROR_OPERATION_FAILED, "there is no connection yet");
    begin = g_get_monotonic_time();
    watcher_clear(&watcher, NULL);
    g_assert_cmpint(g_get_monotonic_time() - begin, <,
                    (gint64)patient_ms(10000) * G_TIME_SPAN_MILLISECOND);
    close(peer);
    close(fd);
}

static void
set_up_folder(struct folder *folder, gconstpointer unused)
{
    folder_init(folder);
}

static void
tear_down_folder(struct folder *folder, gconstpointer unused)
{
    folder_clear(folder);
}

#define ADD(function, uri)                                                                         \
    g_test_add("/guest/libvirt/" #function, struct watcher, uri, watcher_init, test_##function,    \
               watcher_clear)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(connecting_is_reported_and_is_no_problem_any_more, URI);
    ADD(a_defined_guest_is_reported_found_and_listed, URI);
    ADD(a_running_guest_is_listed_as_it_runs_and_as_it_would_start, URI);
    ADD(a_snapshot_is_one_more_xml, URI);
    ADD(that_there_is_none_is_an_answer_of_its_own, URI);
    ADD(a_refused_definition_is_libvirts_error, URI);
    ADD(without_libvirt_nothing_is_known_and_why_is_said,
        "qemu+unix:///system?socket=/nowhere/libvirt-sock");
    g_test_add("/guest/libvirt/an_end_does_not_wait_for_a_libvirt_that_hangs", struct folder, NULL,
               set_up_folder, test_an_end_does_not_wait_for_a_libvirt_that_hangs, tear_down_folder);
    return g_test_run();
}
