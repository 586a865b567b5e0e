/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What guests ask of the custodian, against a real one that runs in a thread of its own.
 */
#include "custodian_thread.h"
#include "guest/client_custodian.h"

enum { SHORT_MS = 200 };

struct fixture {
    struct custodian_thread custodian;
    struct client_custodian *client;
    struct guest_custodian table;
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    custodian_thread_init(&fixture->custodian);
    fixture->client = client_custodian_new(fixture->custodian.socket, fixture->custodian.token_dir);
    fixture->table = client_custodian_table(fixture->client);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    client_custodian_free(fixture->client);
    custodian_thread_clear(&fixture->custodian);
}

/* Of secrets and of guests. */
static struct uuid
number(uint8_t kind, unsigned int n)
{
    return (struct uuid){
        {kind, (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}};
}

static struct uuid
secret(unsigned int n)
{
    return number(0x11, n);
}

static struct uuid
guest(unsigned int n)
{
    return number(0xaa, n);
}

static bool
put(const struct fixture *fixture, unsigned int n, const struct uuid *owners, size_t owner_count,
    GError **error)
{
    g_autofree char *usage = g_strdup_printf("/v/%u", n);
    const struct secret_def def = {
        .uuid = secret(n),
        .usage_type = SECRET_USAGE_VOLUME,
        .usage_id = usage,
        .is_private = true,
    };
    g_autoptr(secret_buf_t) value = secret_buf_new_from(usage, strlen(usage), NULL);

    return fixture->table.put(fixture->table.opaque, &def, value, owners, owner_count, error);
}

static void
must_put(const struct fixture *fixture, unsigned int n)
{
    g_autoptr(GError) error = NULL;

    put(fixture, n, NULL, 0, &error);
    g_assert_no_error(error);
}

static void
add(GArray *bindings, unsigned int secret_number, unsigned int guest_number)
{
    const struct guest_binding binding = {secret(secret_number), guest(guest_number)};

    g_array_append_val(bindings, binding);
}

static GArray *
new_bindings(void)
{
    return g_array_new(FALSE, FALSE, sizeof(struct guest_binding));
}

static GArray *
list(const struct fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    GArray *bindings = fixture->table.list(fixture->table.opaque, &error);

    g_assert_no_error(error);
    return bindings;
}

/* ---- tests ---- */

static void
test_a_secret_comes_with_its_owners(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid owners[] = {guest(2), guest(1)};
    const struct uuid uuid = secret(1);
    g_autoptr(GArray) bindings = NULL;
    g_autoptr(secret_buf_t) value = NULL;
    g_autoptr(secret_def_t) def = NULL;
    struct uuid found;

    g_assert_true(put(fixture, 1, owners, 2, NULL));
    bindings = list(fixture);
    g_assert_cmpuint(bindings->len, ==, 2);
    g_assert_true(uuid_equal(&g_array_index(bindings, struct guest_binding, 0).guest, &owners[1]));
    value = fixture->table.get(fixture->table.opaque, &uuid, NULL);
    g_assert_cmpmem(secret_buf_bytes(value), secret_buf_len(value), "/v/1", 4);
    def = fixture->table.find(fixture->table.opaque, &uuid, NULL);
    g_assert_cmpstr(def->usage_id, ==, "/v/1");
    g_assert_true(fixture->table.find_usage(fixture->table.opaque, SECRET_USAGE_VOLUME, "/v/1",
                                            &found, NULL));
    g_assert_true(uuid_equal(&found, &uuid));
}

static void
test_what_is_not_there_is_said_to_be_missing(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid uuid = secret(1);
    g_autoptr(GError) get = NULL;
    g_autoptr(GError) find = NULL;
    g_autoptr(GError) usage = NULL;
    struct uuid found;

    g_assert_null(fixture->table.get(fixture->table.opaque, &uuid, &get));
    g_assert_null(fixture->table.find(fixture->table.opaque, &uuid, &find));
    g_assert_false(fixture->table.find_usage(fixture->table.opaque, SECRET_USAGE_VOLUME, "/v/1",
                                             &found, &usage));
    expect_error_part(get, ERROR_NO_SECRET, ERROR_FROM_SECRET, "no secret with matching uuid");
    expect_error_part(find, ERROR_NO_SECRET, ERROR_FROM_SECRET, "no secret with matching uuid");
    expect_error_part(usage, ERROR_NO_SECRET, ERROR_FROM_SECRET, "no secret with matching usage");
}

static void
test_each_binding_has_its_own_end(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) bindings = new_bindings();
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GArray) listed = NULL;

    must_put(fixture, 1);
    must_put(fixture, 3);
    add(bindings, 1, 1);
    add(bindings, 2, 1);
    add(bindings, 3, 1);
    add(bindings, 1, 1);
    g_assert_true(fixture->table.bind(fixture->table.opaque, bindings, &errors, NULL));
    g_assert_cmpuint(errors->len, ==, 4);
    g_assert_null(errors->pdata[0]);
    expect_error_part(errors->pdata[1], ERROR_NO_SECRET, ERROR_FROM_SECRET,
                      "no secret with matching uuid");
    g_assert_null(errors->pdata[2]);
    g_assert_null(errors->pdata[3]);
    listed = list(fixture);
    g_assert_cmpuint(listed->len, ==, 2);
}

static void
test_unbinding_gives_a_reason_to_the_audit(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GArray) bindings = new_bindings();
    g_autoptr(GPtrArray) bound = NULL;
    g_autoptr(GPtrArray) unbound = NULL;
    g_autoptr(GArray) listed = NULL;
    g_autoptr(GBytes) audit = NULL;

    must_put(fixture, 1);
    add(bindings, 1, 1);
    g_assert_true(fixture->table.bind(fixture->table.opaque, bindings, &bound, NULL));
    g_assert_true(fixture->table.unbind(fixture->table.opaque, bindings, "guest 'x' was undefined",
                                        &unbound, NULL));
    g_assert_null(unbound->pdata[0]);
    listed = list(fixture);
    g_assert_cmpuint(listed->len, ==, 0);
    audit = folder_get(&fixture->custodian.secretd.folder, "audit/audit.log");
    g_assert_nonnull(g_strstr_len(g_bytes_get_data(audit, NULL), (gssize)g_bytes_get_size(audit),
                                  "guest 'x' was undefined"));
}

static void
test_more_bindings_than_a_call_takes_are_sent_in_parts(struct fixture *fixture,
                                                       gconstpointer unused)
{
    enum { SECRETS = 30, GUESTS = 36 };
    g_autoptr(GArray) bindings = new_bindings();
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GArray) listed = NULL;
    g_autoptr(GArray) with_value = NULL;

    for (unsigned int i = 0; i < SECRETS; i++) {
        must_put(fixture, i);
        for (unsigned int k = 0; k < GUESTS; k++)
            add(bindings, i, k);
    }
    g_assert_cmpuint(bindings->len, >, 1000);
    g_assert_true(fixture->table.bind(fixture->table.opaque, bindings, &errors, NULL));
    for (guint i = 0; i < errors->len; i++)
        g_assert_no_error((const GError *)errors->pdata[i]);
    listed = list(fixture);
    g_assert_cmpmem(listed->data, listed->len, bindings->data, bindings->len);
    with_value = fixture->table.list_with_value(fixture->table.opaque, NULL);
    g_assert_cmpuint(with_value->len, ==, SECRETS);
}

static void
on_defined(void *opaque, const struct secret_def *def, const GError *error)
{
    g_assert_no_error(error);
}

static void
test_those_without_a_value_are_left_out(struct fixture *fixture, gconstpointer unused)
{
    enum { SECRETS = 1010 };
    g_autoptr(GArray) with_value = NULL;
    const struct uuid last = secret(SECRETS);

    custodian_thread_pause(&fixture->custodian);
    for (unsigned int i = 0; i < SECRETS; i++) {
        g_autofree char *xml = g_strdup_printf("<secret><usage type='volume'><volume>/w/%u"
                                               "</volume></usage></secret>",
                                               i);
        struct secret_def *def = secret_def_parse(xml, strlen(xml), false, NULL);

        def->uuid = secret(i);
        secret_service_define(fixture->custodian.secretd.service, def, on_defined, NULL);
    }
    secret_service_drain(fixture->custodian.secretd.service);
    custodian_thread_run(&fixture->custodian);
    must_put(fixture, SECRETS);
    with_value = fixture->table.list_with_value(fixture->table.opaque, NULL);
    g_assert_cmpuint(with_value->len, ==, 1);
    g_assert_true(uuid_equal(&g_array_index(with_value, struct uuid, 0), &last));
}

static void
test_erasing_is_done_once_and_true_again(struct fixture *fixture, gconstpointer unused)
{
    const struct uuid owner = guest(1);
    const struct uuid uuid = secret(1);
    g_autoptr(GError) error = NULL;

    g_assert_true(put(fixture, 1, &owner, 1, NULL));
    g_assert_true(fixture->table.erase(fixture->table.opaque, &uuid, &owner, "why", NULL));
    g_assert_null(fixture->table.get(fixture->table.opaque, &uuid, &error));
    g_assert_true(fixture->table.erase(fixture->table.opaque, &uuid, NULL, "why", NULL));
}

static void
test_a_locked_custodian_is_told_for_each(struct fixture *fixture, gconstpointer unused)
{
    bool is_locked = true;
    g_autoptr(GArray) bindings = new_bindings();
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GArray) listed = NULL;
    g_autoptr(GError) error = NULL;

    must_put(fixture, 1);
    g_assert_true(fixture->table.is_locked(fixture->table.opaque, &is_locked, NULL));
    g_assert_false(is_locked);
    custodian_thread_lock(&fixture->custodian);
    g_assert_true(fixture->table.is_locked(fixture->table.opaque, &is_locked, NULL));
    g_assert_true(is_locked);
    add(bindings, 1, 1);
    g_assert_true(fixture->table.bind(fixture->table.opaque, bindings, &errors, NULL));
    expect_error_part(errors->pdata[0], ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, "is locked");
    g_assert_false(put(fixture, 2, NULL, 0, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_SECRET, "is locked");
    listed = list(fixture);
    g_assert_cmpuint(listed->len, ==, 0);
}

static void
test_an_absent_custodian_is_no_empty_list(struct fixture *fixture, gconstpointer unused)
{
    bool is_locked;
    g_autoptr(client_custodian_t) client =
        client_custodian_new("/nonexistent/sock", fixture->custodian.token_dir);
    struct guest_custodian table = client_custodian_table(client);
    g_autoptr(GArray) bindings = new_bindings();
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_null(table.list(table.opaque, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_SECRET, "/nonexistent/sock");
    g_assert_null(table.list_with_value(table.opaque, NULL));
    g_assert_false(table.is_locked(table.opaque, &is_locked, NULL));
    g_assert_false(table.unbind(table.opaque, bindings, "why", &errors, NULL));
    g_assert_null(errors);
}

static void
test_a_custodian_that_does_not_answer_is_given_up(struct fixture *fixture, gconstpointer unused)
{
    int64_t start = g_get_monotonic_time();

    custodian_thread_pause(&fixture->custodian);
    client_custodian_set_timeout(fixture->client, SHORT_MS);
    g_assert_null(fixture->table.list(fixture->table.opaque, NULL));
    g_assert_cmpint(g_get_monotonic_time() - start, <, (int64_t)patient_ms(5000) * 1000);
}

#define ADD(name)                                                                                  \
    g_test_add("/guest/client_custodian/" #name, struct fixture, NULL, set_up, test_##name,        \
               tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_secret_comes_with_its_owners);
    ADD(what_is_not_there_is_said_to_be_missing);
    ADD(each_binding_has_its_own_end);
    ADD(unbinding_gives_a_reason_to_the_audit);
    ADD(more_bindings_than_a_call_takes_are_sent_in_parts);
    ADD(those_without_a_value_are_left_out);
    ADD(erasing_is_done_once_and_true_again);
    ADD(a_locked_custodian_is_told_for_each);
    ADD(an_absent_custodian_is_no_empty_list);
    ADD(a_custodian_that_does_not_answer_is_given_up);
    return g_test_run();
}
