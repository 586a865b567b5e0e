/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * virtcryptd's lists of guests and keys, with a server whose answers are written before they are
 * asked for.
 */
#include "fake-server.h"
#include "rpc/protocol/virtcrypt_guest_client.h"
#include "tools/guest_pages.h"

enum { GUEST_PROGRAM = 0x56434754, GUESTS_MAX = 4 };

static void
serve_page(const struct fixture *fixture, uint32_t procedure, uint32_t serial,
           const struct rpc_type *type, const void *page)
{
    g_autoptr(GByteArray) payload = payload_of(type, page);

    serve(fixture->server,
          (struct frame){
              .program = GUEST_PROGRAM,
              .procedure = procedure,
              .type = REPLY,
              .serial = serial,
          },
          payload);
}

/* One guest for each of the digits, which ends its uuid. */
static void
serve_guests(const struct fixture *fixture, uint32_t serial, const char *digits, bool more)
{
    struct virtcrypt_guest_entry guests[GUESTS_MAX] = {0};
    struct virtcrypt_guest_list_ret page = {
        .guests = guests,
        .guests_len = (uint32_t)strlen(digits),
        .more = more,
    };

    g_assert_cmpuint(page.guests_len, <=, GUESTS_MAX);
    for (uint32_t i = 0; i < page.guests_len; i++) {
        guests[i].uuid[15] = (uint8_t)(digits[i] - '0');
        guests[i].name = (char *)"g";
        guests[i].state = (char *)"running";
    }
    serve_page(fixture, VIRTCRYPT_GUEST_PROC_LIST, serial, &virtcrypt_guest_list_ret_type, &page);
}

/* A key for each pair of digits: its secret, and its guest. */
static void
serve_keys(const struct fixture *fixture, uint32_t serial, const char *digits, bool more)
{
    struct virtcrypt_guest_key_entry keys[GUESTS_MAX] = {0};
    struct virtcrypt_guest_list_keys_ret page = {
        .keys = keys,
        .keys_len = (uint32_t)strlen(digits) / 2,
        .more = more,
    };

    g_assert_cmpuint(page.keys_len, <=, GUESTS_MAX);
    for (uint32_t i = 0; i < page.keys_len; i++) {
        keys[i].secret[0] = (uint8_t)(digits[2 * i] - '0');
        keys[i].guest[0] = (uint8_t)(digits[2 * i + 1] - '0');
        keys[i].guest_name = (char *)"g";
        keys[i].origin = (char *)"manual";
        keys[i].state = (char *)"bound";
    }
    serve_page(fixture, VIRTCRYPT_GUEST_PROC_LIST_KEYS, serial, &virtcrypt_guest_list_keys_ret_type,
               &page);
}

static void
test_guests_of_all_pages_are_listed(struct fixture *fixture, const void *unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = NULL;

    serve_guests(fixture, 0, "12", true);
    serve_guests(fixture, 1, "5", true);
    serve_guests(fixture, 2, "", false);
    guests = guest_pages_get_guests(fixture->client, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(guests->len, ==, 3);
    g_assert_cmpuint(((struct virtcrypt_guest_entry *)g_ptr_array_index(guests, 2))->uuid[15], ==,
                     5);
}

static void
test_keys_of_all_pages_are_listed(struct fixture *fixture, const void *unused)
{
    const struct virtcrypt_guest_list_keys_args filter = {.is_orphaned = true};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) keys = NULL;

    serve_keys(fixture, 0, "1112", true);
    serve_keys(fixture, 1, "13", false);
    keys = guest_pages_get_keys(fixture->client, &filter, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(keys->len, ==, 3);
    g_assert_cmpuint(((struct virtcrypt_guest_key_entry *)g_ptr_array_index(keys, 2))->guest[0], ==,
                     3);
}

static void
test_a_list_of_guests_that_does_not_go_forward_is_refused(struct fixture *fixture,
                                                          const void *unused)
{
    static const struct {
        const char *first;
        const char *second;
    } bad[] = {{"12", "2"}, {"12", "1"}, {"12", ""}, {"21", "3"}};

    for (uint32_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct fixture other = {0};
        g_autoptr(GError) error = NULL;

        set_up(&other, NULL);
        serve_guests(&other, 0, bad[i].first, true);
        serve_guests(&other, 1, bad[i].second, true);
        g_assert_null(guest_pages_get_guests(other.client, &error));
        expect_error_part(error, ERROR_RPC, ERROR_FROM_RPC, "the server's list is out of order");
        tear_down(&other, NULL);
    }
}

static void
test_a_list_of_keys_that_does_not_go_forward_is_refused(struct fixture *fixture, const void *unused)
{
    static const struct virtcrypt_guest_list_keys_args filter;
    static const char *const bad[] = {"12", "11", "", "09"};

    for (uint32_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct fixture other = {0};
        g_autoptr(GError) error = NULL;

        set_up(&other, NULL);
        serve_keys(&other, 0, "1112", true);
        serve_keys(&other, 1, bad[i], true);
        g_assert_null(guest_pages_get_keys(other.client, &filter, &error));
        expect_error_part(error, ERROR_RPC, ERROR_FROM_RPC, "the server's list is out of order");
        tear_down(&other, NULL);
    }
}

#define ADD(name)                                                                                  \
    g_test_add("/tools/guest_pages/" #name, struct fixture, NULL, set_up, name, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(test_guests_of_all_pages_are_listed);
    ADD(test_keys_of_all_pages_are_listed);
    ADD(test_a_list_of_guests_that_does_not_go_forward_is_refused);
    ADD(test_a_list_of_keys_that_does_not_go_forward_is_refused);
    return g_test_run();
}
