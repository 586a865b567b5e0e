/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Clones: never cleartext unless asked for by name, and whose key they have.
 */
#include "service_fixture.h"

#define PATTERN "5a"
static const char qemu_io_write[] = "write -P 0x" PATTERN " 0 64k";
static const char qemu_io_read[] = "read -P 0x" PATTERN " 0 64k";

static void
run(const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    int status = -1;

    g_spawn_sync(NULL, (char **)argv, NULL,
                 G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                 NULL, NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
}

/* A guest's writing through QEMU. */
static void
write_pattern(struct fixture *test, const char *name, const char *format, const struct uuid *uuid)
{
    g_autofree char *key_path = folder_path(&test->root, "key");
    g_autofree char *object = g_strdup_printf("secret,id=k,file=%s", key_path);
    g_autofree char *path = folder_path(&test->images, name);
    bool is_qcow2 = strcmp(format, "qcow2") == 0;
    g_autofree char *image =
        g_strdup_printf("driver=%s,%skey-secret=k,file.driver=file,file.filename=%s",
                        is_qcow2 ? "qcow2" : "luks", is_qcow2 ? "encrypt." : "", path);
    const char *argv[] = {"qemu-io", "--object",    object, "--image-opts",
                          "-c",      qemu_io_write, image,  NULL};

    g_assert_true(qemu_opens(test, name, format, uuid));
    run(argv);
}

static bool
has_pattern(struct fixture *test, const char *name, const char *format, const struct uuid *uuid)
{
    g_autofree char *key_path = folder_path(&test->root, "key");
    g_autofree char *object = g_strdup_printf("secret,id=k,file=%s", key_path);
    g_autofree char *path = folder_path(&test->images, name);
    const char *driver = strcmp(format, "qcow2") == 0 ? "qcow2" : uuid ? "luks" : "raw";
    const char *prefix = strcmp(format, "qcow2") == 0 ? "encrypt." : "";
    g_autofree char *secret = uuid ? g_strdup_printf(",%skey-secret=k", prefix) : g_strdup("");
    g_autofree char *image =
        g_strdup_printf("driver=%s%s,file.driver=file,file.filename=%s", driver, secret, path);
    const char *argv[] = {"qemu-io", "--object",   object, "--image-opts",
                          "-c",      qemu_io_read, image,  NULL};
    g_autofree char *output = NULL;
    int status = -1;

    /* It leaves the key for qemu-io. */
    if (uuid ? !qemu_opens(test, name, format, uuid)
             : !g_file_set_contents(key_path, "none", -1, NULL))
        return false;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, &output, NULL, &status, NULL);
    return status == 0 && !strstr(output, "verification failed");
}

static struct storage_volume *
try_clone(struct fixture *test, const char *name, const char *source, const char *rest,
          unsigned int flags, GError **error)
{
    g_autofree char *xml = volume_xml(name, rest);
    const struct storage_create_request request = {
        .pool = "images",
        .xml = xml,
        .source_pool = "images",
        .source_volume = source,
        .flags = flags,
    };

    return storage_service_create(test->service, &request, NULL, error);
}

static struct storage_volume *
clone_of(struct fixture *test, const char *name, const char *source, const char *rest,
         unsigned int flags)
{
    g_autoptr(GError) error = NULL;
    struct storage_volume *volume = try_clone(test, name, source, rest, flags, &error);

    g_assert_no_error(error);
    return volume;
}

static void
test_clone_without_encryption_has_the_key_of_its_source(struct fixture *test, gconstpointer format)
{
    g_autofree char *encrypted = g_strdup_printf(TARGET("%s", LUKS), (const char *)format);
    g_autofree char *silent = g_strdup_printf(TARGET("%s", ""), (const char *)format);
    g_autoptr(storage_volume_t) source = create(test, "source", encrypted);
    g_autoptr(storage_volume_t) clone = NULL;

    write_pattern(test, "source", format, &source->secret);
    clone = clone_of(test, "clone", "source", silent, 0);
    g_assert_true(uuid_equal(&clone->secret, &source->secret));
    g_assert_true(clone->secret_is_generated);
    g_assert_true(has_pattern(test, "clone", format, &source->secret));
    g_assert_nonnull(clone->warnings);
    g_assert_nonnull(strstr(clone->warnings[0], "virtcrypt vol-rekey clone --pool images"));
}

static void
test_shared_key_goes_with_the_last_volume(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) source G_GNUC_UNUSED = create(test, "source", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) clone = clone_of(test, "clone", "source", TARGET("raw", ""), 0);

    delete_volume(test, "source");
    g_assert_true(qemu_opens(test, "clone", "raw", &clone->secret));
    delete_volume(test, "clone");
    expect_nothing(test);
}

static void
test_clone_with_a_key_of_its_own_when_asked(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) source = create(test, "source", TARGET("qcow2", LUKS));
    g_autoptr(storage_volume_t) clone = NULL;

    write_pattern(test, "source", "qcow2", &source->secret);
    clone = clone_of(test, "clone", "source", TARGET("raw", ""), STORAGE_CREATE_NEW_KEY);
    g_assert_false(uuid_equal(&clone->secret, &source->secret));
    g_assert_null(clone->warnings);
    g_assert_true(has_pattern(test, "clone", "raw", &clone->secret));
}

static void
test_clone_is_cleartext_only_by_name(struct fixture *test, gconstpointer format)
{
    g_autofree char *silent = g_strdup_printf(TARGET("%s", ""), (const char *)format);
    g_autoptr(storage_volume_t) source = create(test, "source", TARGET("qcow2", LUKS));
    g_autoptr(storage_volume_t) clone = NULL;

    write_pattern(test, "source", "qcow2", &source->secret);
    clone = clone_of(test, "clone", "source", silent, STORAGE_CREATE_DECRYPT);
    g_assert_true(clone->is_cleartext);
    g_assert_true(has_pattern(test, "clone", format, NULL));
    g_assert_cmpuint(storage_service_count(test->service), ==, 1);
    g_assert_cmpuint(folder_count(&test->keys_folder), ==, 1);
}

static void
test_cleartext_source_is_encrypted_by_the_clone(struct fixture *test, gconstpointer unused)
{
    g_autofree char *path = folder_path(&test->images, "clear");
    const char *argv[] = {"qemu-img", "create", "-q", "-f", "qcow2", path, "8M", NULL};
    const char *write[] = {"qemu-io", "-f", "qcow2", "-c", qemu_io_write, path, NULL};
    g_autoptr(storage_volume_t) clone = NULL;
    struct backend_info info;

    run(argv);
    run(write);
    clone = clone_of(test, "clone", "clear", TARGET("raw", LUKS), 0);
    g_assert_true(has_pattern(test, "clone", "raw", &clone->secret));
    g_assert_true(storage_service_get_info(test->service, "images", "clone", &info, NULL));
    g_assert_cmpuint(info.capacity, ==, 8 * 1024 * 1024);
}

static bool
wants(struct fixture *test, const char *source)
{
    g_autofree char *xml = volume_xml("clone", TARGET("raw", ""));
    const struct storage_create_request request = {
        .pool = "images", .xml = xml, .source_pool = "images", .source_volume = source};
    g_autoptr(GError) error = NULL;
    bool is_wanted;

    storage_service_wants(test->service, &request, &is_wanted, &error);
    g_assert_no_error(error);
    return is_wanted;
}

static void
test_any_encrypted_source_makes_the_clone_ours(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) raw G_GNUC_UNUSED = create(test, "raw", TARGET("raw", LUKS));
    g_autoptr(storage_volume_t) qcow2 G_GNUC_UNUSED = create(test, "qcow2", TARGET("qcow2", LUKS));
    g_autofree char *raw_path = folder_path(&test->images, "raw");
    g_autofree char *qcow2_path = folder_path(&test->images, "qcow2");
    g_autofree char *raw_copy = folder_path(&test->images, "raw-copy");
    g_autofree char *qcow2_copy = folder_path(&test->images, "qcow2-copy");
    const char *copy_raw[] = {"cp", raw_path, raw_copy, NULL};
    const char *copy_qcow2[] = {"cp", qcow2_path, qcow2_copy, NULL};

    run(copy_raw);
    run(copy_qcow2);
    folder_put_text(&test->images, "clear", "nothing");
    g_assert_true(wants(test, "raw"));
    g_assert_true(wants(test, "qcow2"));
    g_assert_true(wants(test, "raw-copy"));
    g_assert_true(wants(test, "qcow2-copy"));
    g_assert_false(wants(test, "clear"));
}

static void
test_source_with_an_unknown_key_is_refused(struct fixture *test, gconstpointer unused)
{
    g_autoptr(storage_volume_t) raw G_GNUC_UNUSED = create(test, "raw", TARGET("raw", LUKS));
    g_autofree char *path = folder_path(&test->images, "raw");
    g_autofree char *copy = folder_path(&test->images, "copy");
    const char *argv[] = {"cp", path, copy, NULL};
    g_autoptr(storage_volume_t) clone = NULL;
    g_autoptr(GError) error = NULL;

    run(argv);
    clone = try_clone(test, "clone", "copy", TARGET("raw", ""), 0, &error);
    g_assert_null(clone);
    expect_error_part(error, ERROR_NO_SECRET, ERROR_FROM_STORAGE, "virtcrypt vol-adopt");
    folder_expect_none(&test->images, "clone");
}

/* A guest can write a qcow2 header on its raw disk, which names any file of the host. */
static void
test_source_of_unnamed_format_leads_to_no_other_file(struct fixture *test, gconstpointer options)
{
    g_autofree char *path = folder_path(&test->images, "guest");
    g_autofree char *other = folder_path(&test->root, "other");
    g_autofree char *create = g_strdup_printf("qemu-img create -q -f qcow2 -o %s%s %s 4M",
                                              (const char *)options, other, path);
    g_auto(GStrv) words = g_strsplit(create, " ", -1);
    g_autoptr(GError) error = NULL;
    g_autoptr(storage_volume_t) clone = NULL;

    folder_put_text(&test->root, "other", "of the host");
    run((const char *const *)words);
    clone = try_clone(test, "clone", "guest", TARGET("raw", LUKS), 0, &error);
    expect_error_part(error, ERROR_OPERATION_INVALID, ERROR_FROM_STORAGE, "names another file");
    g_assert_null(clone);
    folder_expect_none(&test->images, "clone");
}

#define ADD(path, argument, function)                                                              \
    g_test_add("/storage/service_clone/" path, struct fixture, argument, fixture_set_up, function, \
               fixture_tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("same-key-raw", "raw", test_clone_without_encryption_has_the_key_of_its_source);
    ADD("same-key-qcow2", "qcow2", test_clone_without_encryption_has_the_key_of_its_source);
    ADD("last", NULL, test_shared_key_goes_with_the_last_volume);
    ADD("own-key", NULL, test_clone_with_a_key_of_its_own_when_asked);
    ADD("decrypt-raw", "raw", test_clone_is_cleartext_only_by_name);
    ADD("decrypt-qcow2", "qcow2", test_clone_is_cleartext_only_by_name);
    ADD("cleartext-source", NULL, test_cleartext_source_is_encrypted_by_the_clone);
    ADD("wants", NULL, test_any_encrypted_source_makes_the_clone_ours);
    ADD("names-backing",
        "backing_fmt=raw,backing_file=", test_source_of_unnamed_format_leads_to_no_other_file);
    ADD("names-data", "data_file=", test_source_of_unnamed_format_leads_to_no_other_file);
    ADD("unknown-key", NULL, test_source_with_an_unknown_key_is_refused);
    return g_test_run();
}
