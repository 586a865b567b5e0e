/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Running guests by libvirt's own files, and what is on their disks.
 */
#include "storage/guests.h"

#include "expect.h"
#include "folder.h"

#define STATUS(name, uuid, source)                                                                 \
    "<domstatus state='running'><domain type='qemu'><name>" name "</name><uuid>" uuid              \
    "</uuid><devices><disk type='file' device='disk'>" source                                      \
    "<target dev='vda'/></disk></devices></domain></domstatus>"
#define WEB "11111111-2222-4333-8444-555555555555"

static void
test_no_folder_is_no_guest(struct folder *folder, gconstpointer unused)
{
    g_autofree char *path = folder_path(folder, "none");
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = storage_guests_list(path, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(guests->len, ==, 0);
}

static const char *
user_of(struct folder *folder, const char *pool, const char *volume, const char *path)
{
    static char name[64];
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) guests = storage_guests_list(folder->path, &error);
    const struct domain_disks *guest;

    g_assert_no_error(error);
    guest = storage_guests_find_user(guests, pool, volume, path);
    g_strlcpy(name, guest ? guest->name : "", sizeof(name));
    return guest ? name : NULL;
}

static void
test_user_of_an_image_is_found_by_any_name_of_it(struct folder *folder, gconstpointer unused)
{
    g_autofree char *image = folder_path(folder, "image");
    g_autofree char *link = folder_path(folder, "link");
    g_autofree char *source = g_strdup_printf("<source file='%s'/>", link);
    g_autofree char *status = g_strdup_printf(STATUS("web1", WEB, "%s"), source);

    folder_put_text(folder, "image", "x");
    g_assert_cmpint(symlink(image, link), ==, 0);
    folder_put_text(folder, "web1.xml", status);
    folder_put_text(folder, "web1.pid", "1");
    g_assert_cmpstr(user_of(folder, "p", "v", image), ==, "web1");
    g_assert_cmpstr(user_of(folder, "p", "v", link), ==, "web1");
    g_assert_cmpstr(user_of(folder, "p", "v", "/other"), ==, NULL);
}

static void
test_user_of_a_volume_is_found_by_pool_and_name(struct folder *folder, gconstpointer unused)
{
    folder_put_text(
        folder, "web1.xml",
        "<domstatus><domain><name>web1</name><uuid>" WEB "</uuid><devices><disk type='volume'>"
        "<source pool='p' volume='v'/><target dev='vda'/></disk></devices></domain></domstatus>");
    g_assert_cmpstr(user_of(folder, "p", "v", "/x"), ==, "web1");
    g_assert_cmpstr(user_of(folder, "p", "w", "/x"), ==, NULL);
}

static void
test_guest_that_cannot_be_read_is_an_error(struct folder *folder, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    folder_put_text(folder, "web1.xml", "<domstatus>");
    g_assert_null(storage_guests_list(folder->path, &error));
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, "/web1.xml uses: "));
}

static void
set_up(struct folder *folder, gconstpointer unused)
{
    folder_init(folder);
}

static void
tear_down(struct folder *folder, gconstpointer unused)
{
    folder_clear(folder);
}

#define ADD(path, function)                                                                        \
    g_test_add("/storage/guests/" path, struct folder, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("none", test_no_folder_is_no_guest);
    ADD("image", test_user_of_an_image_is_found_by_any_name_of_it);
    ADD("volume", test_user_of_a_volume_is_found_by_pool_and_name);
    ADD("unreadable", test_guest_that_cannot_be_read_is_an_error);
    return g_test_run();
}
