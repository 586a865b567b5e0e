/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a service of guests for tests: guests of libvirt's test driver, records in a folder, a
 * custodian that notes what it is told, references as the test says them.
 */
#pragma once

#include <libvirt/libvirt.h>

#include "expect.h"
#include "folder.h"
#include "guest/reconcile.h"
#include "guest/service_state.h"
#include "patience.h"
#include "service_fixture.h"

#define DRIVER "test:///default" /* one for the whole process */

struct told_reference {
    struct uuid guest;
    struct guest_reference reference;
};

struct guests {
    struct fixture volumes;
    struct folder records, domains;
    struct daemon_conf *conf;
    struct guest_service *service;
    virConnectPtr driver;
    GMutex mutex;
    GArray *told;                           /* of struct told_reference */
    bool is_unclear;                        /* nobody knows what guests refer to */
    void (*meanwhile)(struct guests *test); /* once, after libvirt has listed its guests */
    /* The custodian: */
    GArray *bindings; /* of struct guest_binding */
    GArray *values;   /* of struct uuid */
    GString *calls;   /* "bind 2\n", "unbind SECRET REASON\n", "erase SECRET REASON\n" */
    bool is_away;
    bool refuses; /* each change on its own */
};

/* What references.c would find out: the service's own references are linked in place of it. */
static struct guests *the_guests;

void
guest_reference_free(struct guest_reference *reference)
{
    g_free(reference->volume);
    g_free(reference);
}

static void
free_reference(void *reference)
{
    guest_reference_free(reference);
}

GPtrArray *
guest_references_of(struct guest_service *service, const struct guest_seen *seen,
                    const GArray *with_value, bool *ret_partial, GError **error)
{
    GPtrArray *references = g_ptr_array_new_with_free_func(free_reference);
    void (*meanwhile)(struct guests * test) = the_guests->meanwhile;

    the_guests->meanwhile = NULL;
    if (meanwhile)
        meanwhile(the_guests);
    *ret_partial = false;
    for (guint i = 0; i < the_guests->told->len; i++) {
        const struct told_reference *told =
            &g_array_index(the_guests->told, struct told_reference, i);
        struct guest_reference *reference;

        if (!uuid_equal(&told->guest, &seen->uuid))
            continue;
        if (the_guests->is_unclear) {
            g_ptr_array_unref(references);
            error_set(error, ERROR_FROM_DOMAIN, ERROR_OPERATION_FAILED,
                      "it is written in Linear A");
            return NULL;
        }
        reference = g_memdup2(&told->reference, sizeof(*reference));
        reference->volume = g_strdup(reference->volume);
        reference->has_value = false;
        for (guint k = 0; k < with_value->len; k++)
            reference->has_value |=
                uuid_equal(&g_array_index(with_value, struct uuid, k), &reference->secret);
        g_ptr_array_add(references, reference);
    }
    return references;
}

/* ---- recovery: service_define.c and service_migrate.c have their own tests ---- */

bool
guest_define_recover(struct guest_service *service, struct guest_record *record,
                     const struct guest_seen *seen, GError **error)
{
    g_string_append_printf(the_guests->calls, "recover %s\n", seen ? "present" : "absent");
    record->state = GUEST_STATE_PRESENT;
    return guest_records_put(service->records, record, error);
}

bool
guest_migrate_recover(struct guest_service *service, struct guest_record *record,
                      const struct guest_seen *seen, int64_t *ret_look_again, GError **error)
{
    g_string_append_printf(the_guests->calls, "recover %s\n", seen ? "present" : "absent");
    *ret_look_again = g_get_real_time() / G_TIME_SPAN_SECOND + 100;
    return true;
}

/* ---- the custodian ---- */

static bool
check_there(const struct guests *test, GError **error)
{
    if (test->is_away)
        error_set(error, ERROR_FROM_SECRET, ERROR_SYSTEM, "the custodian is away");
    return !test->is_away;
}

static GArray *
list_bindings(void *opaque, GError **error)
{
    struct guests *test = opaque;
    GArray *copy;

    if (!check_there(test, error))
        return NULL;
    copy = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    if (test->bindings->len > 0)
        g_array_append_vals(copy, test->bindings->data, test->bindings->len);
    return copy;
}

static GArray *
list_with_value(void *opaque, GError **error)
{
    struct guests *test = opaque;
    GArray *copy;

    if (!check_there(test, error))
        return NULL;
    copy = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    if (test->values->len > 0)
        g_array_append_vals(copy, test->values->data, test->values->len);
    return copy;
}

static void
free_error(void *error)
{
    if (error)
        g_error_free(error);
}

static int
find_binding(const struct guests *test, const struct guest_binding *wanted)
{
    for (guint i = 0; i < test->bindings->len; i++) {
        const struct guest_binding *binding =
            &g_array_index(test->bindings, struct guest_binding, i);

        if (uuid_equal(&binding->secret, &wanted->secret) &&
            uuid_equal(&binding->guest, &wanted->guest))
            return (int)i;
    }
    return -1;
}

static void
answer_each(struct guests *test, GPtrArray *errors)
{
    GError *error = NULL;

    if (test->refuses)
        error_set(&error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "the store is full");
    g_ptr_array_add(errors, error);
}

static bool
bind_keys(void *opaque, const GArray *bindings, GPtrArray **ret_errors, GError **error)
{
    struct guests *test = opaque;

    if (!check_there(test, error))
        return false;
    g_string_append_printf(test->calls, "bind %u\n", bindings->len);
    *ret_errors = g_ptr_array_new_with_free_func(free_error);
    for (guint i = 0; i < bindings->len; i++) {
        const struct guest_binding *binding = &g_array_index(bindings, struct guest_binding, i);

        answer_each(test, *ret_errors);
        if (!test->refuses && find_binding(test, binding) < 0)
            g_array_append_vals(test->bindings, binding, 1);
    }
    return true;
}

static void
note_call(struct guests *test, const char *what, const struct uuid *secret, const char *reason)
{
    char text[UUID_TEXT_SIZE];

    g_string_append_printf(test->calls, "%s %s %s\n", what, uuid_format(secret, text), reason);
}

static bool
unbind_keys(void *opaque, const GArray *bindings, const char *reason, GPtrArray **ret_errors,
            GError **error)
{
    struct guests *test = opaque;

    if (!check_there(test, error))
        return false;
    *ret_errors = g_ptr_array_new_with_free_func(free_error);
    for (guint i = 0; i < bindings->len; i++) {
        const struct guest_binding *binding = &g_array_index(bindings, struct guest_binding, i);
        int found = find_binding(test, binding);

        note_call(test, "unbind", &binding->secret, reason);
        answer_each(test, *ret_errors);
        if (!test->refuses && found >= 0)
            g_array_remove_index(test->bindings, (guint)found);
    }
    return true;
}

static bool
erase_key(void *opaque, const struct uuid *secret, const struct uuid *guest, const char *reason,
          GError **error)
{
    struct guests *test = opaque;

    if (!check_there(test, error))
        return false;
    note_call(test, "erase", secret, reason);
    if (test->refuses) {
        error_set(error, ERROR_FROM_SECRET, ERROR_OPERATION_FAILED, "the store is full");
        return false;
    }
    for (guint i = test->bindings->len; i-- > 0;) {
        if (uuid_equal(&g_array_index(test->bindings, struct guest_binding, i).secret, secret))
            g_array_remove_index(test->bindings, i);
    }
    for (guint i = test->values->len; i-- > 0;) {
        if (uuid_equal(&g_array_index(test->values, struct uuid, i), secret))
            g_array_remove_index(test->values, i);
    }
    return true;
}

/* ---- the host ---- */

static inline struct uuid
numbered(unsigned int kind, unsigned int number)
{
    g_autofree char *text = g_strdup_printf("%08x-2222-4333-8444-%012x", kind, number);
    struct uuid uuid;

    g_assert_true(uuid_parse(text, &uuid));
    return uuid;
}

static inline struct uuid
guest_of(unsigned int number)
{
    return numbered(0x11111111, number);
}

static inline struct uuid
secret_of(unsigned int number)
{
    return numbered(0x22222222, number);
}

static inline char *
volume_of(struct guests *test, unsigned int number)
{
    g_autofree char *name = g_strdup_printf("%u.qcow2", number);

    return folder_path(&test->volumes.images, name);
}

static inline void
define_guest(struct guests *test, unsigned int number)
{
    const struct uuid uuid = guest_of(number);
    char text[UUID_TEXT_SIZE];
    g_autofree char *xml =
        g_strdup_printf("<domain type='test'><name>g%u</name><uuid>%s</uuid><memory>1024</memory>"
                        "<os><type>hvm</type></os></domain>",
                        number, uuid_format(&uuid, text));
    virDomainPtr domain = virDomainDefineXML(test->driver, xml);

    g_assert_nonnull(domain);
    virDomainFree(domain);
}

static inline void
undefine_guest(struct guests *test, unsigned int number)
{
    const struct uuid uuid = guest_of(number);
    virDomainPtr domain = virDomainLookupByUUID(test->driver, uuid.bytes);

    g_assert_nonnull(domain);
    virDomainUndefine(domain);
    virDomainFree(domain);
}

/* The key of a volume of ours, which is there. */
static inline void
tell_reference(struct guests *test, unsigned int guest, unsigned int secret)
{
    struct told_reference told = {
        .guest = guest_of(guest),
        .reference = {.secret = secret_of(secret), .is_generated = true},
    };
    g_autofree char *name = g_strdup_printf("%u.qcow2", secret);

    told.reference.volume = volume_of(test, secret);
    folder_put_text(&test->volumes.images, name, "x");
    g_array_append_val(test->told, told);
    for (guint i = 0; i < test->values->len; i++) {
        if (uuid_equal(&g_array_index(test->values, struct uuid, i), &told.reference.secret))
            return; /* cppcheck-suppress memleak ; the array of what was told has it */
    }
    g_array_append_val(test->values, told.reference.secret);
}

static inline void
remove_volume(struct guests *test, unsigned int secret)
{
    g_autofree char *path = volume_of(test, secret);

    g_assert_cmpint(g_unlink(path), ==, 0);
}

static inline bool
owns(const struct guests *test, unsigned int guest, unsigned int secret)
{
    const struct guest_binding binding = {.secret = secret_of(secret), .guest = guest_of(guest)};

    return find_binding(test, &binding) >= 0;
}

static inline void
ignore_event(void *opaque, enum guest_libvirt_event event, const struct uuid *guest)
{
}

static inline void
guests_connect(struct guests *test, const char *uri)
{
    unsigned int left = patient_ms(20000);

    guest_libvirt_free(test->service->libvirt);
    test->service->libvirt = guest_libvirt_new(uri, ignore_event, test);
    while (strcmp(uri, DRIVER) == 0) {
        g_autofree char *problem = guest_libvirt_problem(test->service->libvirt);

        if (!problem)
            break;
        g_assert_cmpuint(left, >, 0);
        left -= 10;
        g_usleep(10 * G_TIME_SPAN_MILLISECOND);
    }
}

static inline void
guests_set_up(struct guests *test, gconstpointer unused)
{
    struct guest_service_params params = {
        .custodian =
            {
                .opaque = test,
                .list = list_bindings,
                .bind = bind_keys,
                .unbind = unbind_keys,
                .erase = erase_key,
                .list_with_value = list_with_value,
            },
    };
    g_autoptr(GError) error = NULL;

    the_guests = test;
    fixture_set_up(&test->volumes, NULL);
    fixture_folder(&test->volumes, "records", &test->records);
    fixture_folder(&test->volumes, "domains", &test->domains);
    test->conf = daemon_conf_new_default(DAEMON_CONF_VIRTCRYPTD, false);
    test->told = g_array_new(FALSE, FALSE, sizeof(struct told_reference));
    test->bindings = g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
    test->values = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    test->calls = g_string_new(NULL);
    params.conf = test->conf;
    params.records_dir = test->records.path;
    params.domain_dir = test->domains.path;
    params.storage = test->volumes.service;
    test->service = guest_service_new(&params, &error);
    g_assert_no_error(error);
    guests_connect(test, DRIVER);
    test->driver = virConnectOpen(DRIVER);
}

static inline void
guests_tear_down(struct guests *test, gconstpointer unused)
{
    for (unsigned int i = 0; i < 10; i++) {
        const struct uuid uuid = guest_of(i);
        virDomainPtr domain = virDomainLookupByUUID(test->driver, uuid.bytes);

        if (domain) {
            virDomainUndefine(domain);
            virDomainFree(domain);
        }
    }
    virConnectClose(test->driver);
    g_clear_pointer(&test->service->libvirt, guest_libvirt_free);
    guest_service_free(test->service);
    daemon_conf_free(test->conf);
    for (guint i = 0; i < test->told->len; i++)
        g_free(g_array_index(test->told, struct told_reference, i).reference.volume);
    g_array_unref(test->told);
    g_array_unref(test->bindings);
    g_array_unref(test->values);
    g_string_free(test->calls, TRUE);
    close(test->records.fd);
    g_free(test->records.path);
    close(test->domains.fd);
    g_free(test->domains.path);
    fixture_tear_down(&test->volumes, NULL);
}

/* ---- looks ---- */

static inline int64_t
guests_look(struct guests *test)
{
    g_autoptr(GError) error = NULL;
    int64_t look_again = 0;

    g_assert_true(guest_reconcile(test->service, NULL, &look_again, &error));
    g_assert_no_error(error);
    return look_again;
}

static inline int64_t
guests_look_at(struct guests *test, unsigned int number)
{
    const struct uuid guest = guest_of(number);
    g_autoptr(GArray) guests = g_array_new(FALSE, FALSE, sizeof(struct uuid));
    g_autoptr(GError) error = NULL;
    int64_t look_again = 0;

    g_array_append_val(guests, guest);
    g_assert_true(guest_reconcile(test->service, guests, &look_again, &error));
    g_assert_no_error(error);
    return look_again;
}

static inline void
expect_calls(struct guests *test, const char *calls)
{
    g_assert_cmpstr(test->calls->str, ==, calls);
    g_string_truncate(test->calls, 0);
}

/* The state of a key in the record of a guest; -1: it is not there. */
static inline int
kept_state(struct guests *test, unsigned int guest, unsigned int secret)
{
    const struct uuid uuid = guest_of(guest);
    const struct uuid wanted = secret_of(secret);
    g_autoptr(guest_record_t) record = guest_records_get(test->service->records, &uuid, NULL);
    const struct guest_key *key = record ? guest_record_find(record, &wanted) : NULL;

    return key ? (int)key->state : -1;
}
