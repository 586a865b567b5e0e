/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Headers of qcow2 images: those that qemu-img makes, and those that nobody should believe.
 */
#include <sys/stat.h>

#include "expect.h"
#include "folder.h"
#include "storage/child.h"
#include "storage/luks_image.h"
#include "storage/qcow2_header.h"
#include "util/file.h"
#include "util/secret_buf.h"

enum { HEADER_MAX = 4096 };

struct fixture {
    struct folder folder;
    char *path;
    char *base; /* an empty file */
    int fd;
    struct secret_buf *key;
    GBytes *luks; /* a header that the key opens */
};

static void
set_up(struct fixture *fixture, gconstpointer unused)
{
    g_auto(luks_image_t) image = {.fd = -1};

    folder_init(&fixture->folder);
    fixture->path = folder_path(&fixture->folder, "image");
    fixture->base = folder_path(&fixture->folder, "base");
    g_assert_true(g_file_set_contents(fixture->base, "", 0, NULL));
    fixture->fd = open(fixture->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    fixture->key = secret_buf_new_from("key", 3, NULL);
    g_assert_true(luks_image_make(NULL, fixture->key, true, &image, NULL));
    fixture->luks = luks_image_get_bytes(&image, NULL);
    g_assert_nonnull(fixture->luks);
}

static void
tear_down(struct fixture *fixture, gconstpointer unused)
{
    close(fixture->fd);
    secret_buf_free(fixture->key);
    g_bytes_unref(fixture->luks);
    g_free(fixture->path);
    g_free(fixture->base);
    folder_clear(&fixture->folder);
}

static void
make_image(struct fixture *fixture, const char *options, const char *size)
{
    const char *argv[] = {"qemu-img", "create", "-q",          "-f", "qcow2",
                          "-u",       "-b",     fixture->base, "-F", "raw",
                          "-o",       options,  fixture->path, size, NULL};
    const struct child child = {.argv = argv};
    g_autoptr(GError) error = NULL;

    child_run(&child, NULL, &error);
    g_assert_no_error(error);
}

static bool
put_luks(struct fixture *fixture, GError **error)
{
    return qcow2_header_put_luks(fixture->fd, fixture->path, g_bytes_get_data(fixture->luks, NULL),
                                 g_bytes_get_size(fixture->luks), error);
}

/* No error and no leak by qemu-img check. */
static void
expect_sound(struct fixture *fixture)
{
    const char *argv[] = {"qemu-img",
                          "check",
                          "-q",
                          "--object",
                          "secret,id=k,file=" CHILD_KEY0,
                          "--image-opts",
                          "driver=qcow2,encrypt.key-secret=k,file.filename=" CHILD_FILE0,
                          NULL};
    const struct child child = {.argv = argv, .keys = {fixture->key}, .files = {&fixture->fd}};
    g_autoptr(GError) error = NULL;

    child_run(&child, NULL, &error);
    g_assert_no_error(error);
}

static void
test_a_header_says_what_qemu_img_was_told(struct fixture *fixture, gconstpointer unused)
{
    g_auto(qcow2_header_t) header = {0};
    g_autoptr(GError) error = NULL;

    make_image(fixture, "compat=1.1,cluster_size=131072,lazy_refcounts=on,extended_l2=on", "64M");
    g_assert_true(qcow2_header_read(fixture->fd, fixture->path, &header, &error));
    g_assert_cmpuint(header.version, ==, 3);
    g_assert_cmpuint(header.cluster_bits, ==, 17);
    g_assert_cmpuint(header.size, ==, 64 * 1024 * 1024);
    g_assert_cmpuint(header.crypt_method, ==, QCOW2_CRYPT_NONE);
    g_assert_true(header.lazy_refcounts);
    g_assert_true(header.extended_l2);
    g_assert_cmpstr(header.backing_path, ==, fixture->base);
    g_assert_cmpstr(header.backing_format, ==, "raw");
}

/* What every image gets, whatever its clusters: its LUKS header, and nothing else changes. */
static void
expect_luks_put(struct fixture *fixture, const char *options, const char *size)
{
    g_auto(qcow2_header_t) header = {0};
    gsize len = g_bytes_get_size(fixture->luks);
    g_autofree char *there = g_malloc(len);
    g_autoptr(GError) error = NULL;

    g_test_message("%s %s", options, size);
    make_image(fixture, options, size);
    g_assert_true(put_luks(fixture, &error));
    g_assert_true(qcow2_header_read(fixture->fd, fixture->path, &header, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(header.crypt_method, ==, QCOW2_CRYPT_LUKS);
    g_assert_cmpuint(header.luks_length, ==, len);
    g_assert_cmpstr(header.backing_path, ==, fixture->base);
    g_assert_cmpstr(header.backing_format, ==, "raw");
    g_assert_cmpint(pread(fixture->fd, there, len, (off_t)header.luks_offset), ==, len);
    g_assert_cmpmem(there, len, g_bytes_get_data(fixture->luks, NULL), len);
    expect_sound(fixture);
}

static void
test_a_luks_header_finds_room_in_any_image(struct fixture *fixture, gconstpointer unused)
{
    static const char *const options[] = {"compat=0.10",      "compat=1.1",
                                          "cluster_size=512", "cluster_size=1024",
                                          "cluster_size=2M",  "cluster_size=512,compat=0.10"};

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        expect_luks_put(fixture, options[i], "1M");
        expect_luks_put(fixture, options[i], "1G");
    }
    expect_luks_put(fixture, "cluster_size=65536", "8T");
}

/* Sizes at which the new clusters are the first that one more refcount block must count. */
static void
test_refcounts_grow_at_every_edge(struct fixture *fixture, gconstpointer unused)
{
    static const char *const sizes[] = {"100M", "480M", "500M", "520M", "1000M", "2000M"};

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++)
        expect_luks_put(fixture, "cluster_size=512", sizes[i]);
}

static void
test_an_image_that_is_encrypted_already_is_refused(struct fixture *fixture, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;

    make_image(fixture, "compat=1.1", "1M");
    g_assert_true(put_luks(fixture, NULL));
    g_assert_false(put_luks(fixture, &error));
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE,
                      "is not a new image without encryption");
}

static void
test_wrong_refcounts_are_noticed(struct fixture *fixture, gconstpointer unused)
{
    static const uint8_t used[2] = {0, 1};
    g_autoptr(GError) error = NULL;
    struct stat info;

    make_image(fixture, "cluster_size=65536", "1M");
    g_assert_cmpint(fstat(fixture->fd, &info), ==, 0);
    /* The first cluster behind the end is in use, says the refcount block (cluster 2). */
    g_assert_true(file_write_all_at(fixture->fd, used, sizeof(used),
                                    2 * 65536 + 2 * ((info.st_size + 65535) / 65536)));
    g_assert_false(put_luks(fixture, &error));
    expect_error_part(error, ERROR_OPERATION_FAILED, ERROR_FROM_STORAGE, "qemu-img check");
}

static void
test_files_that_are_no_images_are_refused(struct fixture *fixture, gconstpointer unused)
{
    static const char *const texts[] = {"", "QFI", "text that is long enough to be a header"};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_auto(qcow2_header_t) header = {0};
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(ftruncate(fixture->fd, 0), ==, 0);
        g_assert_true(file_write_all_at(fixture->fd, texts[i], strlen(texts[i]), 0));
        g_assert_false(qcow2_header_read(fixture->fd, fixture->path, &header, &error));
        expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE, fixture->path);
    }
}

/* Every byte of a header in turn, with values at the edges: read or refused, never out of bounds
 * (which sanitizers see). */
static void
test_no_byte_of_a_header_is_believed(struct fixture *fixture, gconstpointer unused)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    uint8_t bytes[HEADER_MAX];
    unsigned int refused = 0;

    make_image(fixture, "compat=1.1", "1M");
    g_assert_true(put_luks(fixture, NULL));
    g_assert_cmpint(pread(fixture->fd, bytes, sizeof(bytes), 0), ==, sizeof(bytes));
    for (size_t at = 0; at < 640; at++) {
        for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
            g_auto(qcow2_header_t) header = {0};

            g_assert_true(file_write_all_at(fixture->fd, &values[i], 1, (off_t)at));
            if (qcow2_header_read(fixture->fd, fixture->path, &header, NULL))
                g_assert_cmpuint(header.luks_length, <=, 64 * 1024 * 1024);
            else
                refused++;
        }
        g_assert_true(file_write_all_at(fixture->fd, bytes + at, 1, (off_t)at));
    }
    g_assert_cmpuint(refused, >, 30);
}

#define ADD(name, function)                                                                        \
    g_test_add("/storage/qcow2_header/" name, struct fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("read", test_a_header_says_what_qemu_img_was_told);
    ADD("put", test_a_luks_header_finds_room_in_any_image);
    ADD("edges", test_refcounts_grow_at_every_edge);
    ADD("encrypted", test_an_image_that_is_encrypted_already_is_refused);
    ADD("refcounts", test_wrong_refcounts_are_noticed);
    ADD("foreign", test_files_that_are_no_images_are_refused);
    ADD("hostile", test_no_byte_of_a_header_is_believed);
    return g_test_run();
}
