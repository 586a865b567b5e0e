/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: qemu_img.h. See qemu-img(1); images are named by --image-opts, in which a comma within a
 * value is written twice.
 */
#include "storage/qemu_img.h"

#include <json.h>
#include <string.h>
#include <sys/stat.h>

#include "storage/child.h"
#include "util/error.h"

enum {
    /* Making room may take long on some file systems, and -p speaks after each percent. */
    LONG_TIMEOUT_S = 3600,
    ARGV_MAX = 24,
};

static const char secret_target[] = "secret,id=target,file=" CHILD_KEY0;
static const char secret_source[] = "secret,id=source,file=" CHILD_KEY1;

/* libvirt's names of formats, and QEMU's drivers for them. */
static const struct {
    const char *format;
    const char *driver;
} formats[] = {
    {"raw", "raw"},     {"iso", "raw"},         {"qcow2", "qcow2"}, {"qcow", "qcow"},
    {"qed", "qed"},     {"vmdk", "vmdk"},       {"vdi", "vdi"},     {"vpc", "vpc"},
    {"vhd", "vpc"},     {"ploop", "parallels"}, {"dmg", "dmg"},     {"bochs", "bochs"},
    {"cloop", "cloop"},
};

static const char *
find_driver(const char *format, const char *path, GError **error)
{
    for (size_t i = 0; format && i < G_N_ELEMENTS(formats); i++) {
        if (strcmp(formats[i].format, format) == 0)
            return formats[i].driver;
    }
    error_set(error, ERROR_FROM_STORAGE, ERROR_CONFIG_UNSUPPORTED,
              "%s: the format '%s' is none that qemu-img reads", path, format ? format : "");
    return NULL;
}

static bool
is_block_device(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISBLK(info.st_mode);
}

static char *
describe_source(const struct backend_source *source, bool with_key, GError **error)
{
    const char *driver = find_driver(source->format, source->path, error);
    g_autoptr(GString) name = g_string_new(source->path);
    const char *key = with_key && source->is_luks ? "key-secret=source" : "";

    if (!driver)
        return NULL;
    g_string_replace(name, ",", ",,", 0);
    if (source->is_luks && strcmp(driver, "raw") == 0)
        driver = "luks";
    return g_strdup_printf("driver=%s%s%s%s,file.driver=%s,file.filename=%s", driver,
                           *key ? "," : "", *key && strcmp(driver, "luks") != 0 ? "encrypt." : "",
                           key, is_block_device(source->path) ? "host_device" : "file", name->str);
}

static const char *
target_driver(const struct qemu_img_target *target)
{
    if (!target->key)
        return target->is_qcow2 ? "qcow2" : "raw";
    return target->is_qcow2 ? "qcow2,encrypt.key-secret=target" : "luks,key-secret=target";
}

static char *
describe_target(const struct qemu_img_target *target)
{
    return g_strdup_printf("driver=%s,file.driver=%s,file.filename=" CHILD_FILE0,
                           target_driver(target), target->is_block ? "host_device" : "file");
}

static char *
describe_options(const struct qemu_img_create_params *params)
{
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_append_printf(text, "preallocation=%s", params->preallocation);
    if (params->compat)
        g_string_append_printf(text, ",compat=%s", params->compat);
    if (params->lazy_refcounts)
        g_string_append(text, ",lazy_refcounts=on");
    if (params->extended_l2)
        g_string_append(text, ",extended_l2=on");
    if (params->nocow)
        g_string_append(text, ",nocow=on");
    if (params->cluster_size > 0)
        g_string_append_printf(text, ",cluster_size=%" G_GUINT64_FORMAT, params->cluster_size);
    return g_strdup(text->str);
}

bool
qemu_img_create_qcow2(int fd, const struct qemu_img_create_params *params,
                      struct storage_progress *progress, GError **error)
{
    g_autofree char *options = describe_options(params);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, params->capacity);
    const char *argv[ARGV_MAX] = {"qemu-img", "create", "-q", "-f", "qcow2", "-u", "-o", options};
    unsigned int n = 8;
    const struct child child = {
        .argv = argv, .files = {&fd}, .idle_timeout_s = LONG_TIMEOUT_S, .progress = progress};

    if (params->backing_path) {
        argv[n++] = "-b";
        argv[n++] = params->backing_path;
        argv[n++] = "-F";
        argv[n++] = params->backing_format;
    }
    argv[n++] = CHILD_FILE0;
    argv[n++] = size;
    return child_run(&child, NULL, error);
}

bool
qemu_img_convert(const struct backend_source *source, const struct qemu_img_target *target,
                 struct storage_progress *progress, GError **error)
{
    g_autofree char *from = describe_source(source, true, error);
    g_autofree char *to = describe_target(target);
    const char *argv[ARGV_MAX] = {"qemu-img", "convert", "-p", "-n"};
    unsigned int n = 4;
    const struct child child = {
        .argv = argv,
        .keys = {target->key, source->is_luks ? source->key : NULL},
        .files = {&target->fd},
        .idle_timeout_s = LONG_TIMEOUT_S,
        .progress = progress,
    };

    if (!from)
        return false;
    if (target->key) {
        argv[n++] = "--object";
        argv[n++] = secret_target;
    }
    if (source->is_luks) {
        argv[n++] = "--object";
        argv[n++] = secret_source;
    }
    if (target->reads_zero)
        argv[n++] = "--target-is-zero";
    argv[n++] = "--target-image-opts";
    argv[n++] = "--image-opts";
    argv[n++] = from;
    argv[n++] = to;
    return child_run(&child, NULL, error);
}

bool
qemu_img_resize(const struct qemu_img_target *target, uint64_t capacity, bool preallocate,
                bool shrink, struct storage_progress *progress, GError **error)
{
    g_autofree char *image = describe_target(target);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, capacity);
    const char *argv[ARGV_MAX] = {"qemu-img", "resize", "-q", "--object", secret_target};
    unsigned int n = 5;
    const struct child child = {
        .argv = argv,
        .keys = {target->key},
        .files = {&target->fd},
        .idle_timeout_s = LONG_TIMEOUT_S,
        .progress = progress,
    };

    if (preallocate)
        argv[n++] = "--preallocation=falloc";
    if (shrink)
        argv[n++] = "--shrink";
    argv[n++] = "--image-opts";
    argv[n++] = image;
    argv[n++] = size;
    return child_run(&child, NULL, error);
}

static bool
parse_capacity(const char *text, uint64_t *ret_capacity)
{
    struct json_object *info = json_tokener_parse(text);
    struct json_object *size = NULL;
    bool found = json_object_object_get_ex(info, "virtual-size", &size) &&
                 json_object_is_type(size, json_type_int);

    if (found)
        *ret_capacity = json_object_get_uint64(size);
    json_object_put(info);
    return found;
}

bool
qemu_img_get_capacity(const struct backend_source *source, uint64_t *ret_capacity, GError **error)
{
    g_autofree char *image = describe_source(source, false, error);
    const char *argv[] = {"qemu-img", "info", "--output=json", "-U", "--image-opts", image, NULL};
    const struct child child = {.argv = argv};
    g_autofree char *output = NULL;

    if (!image || !child_run(&child, &output, error))
        return false;
    if (parse_capacity(output, ret_capacity))
        return true;
    error_set(error, ERROR_FROM_STORAGE, ERROR_OPERATION_FAILED,
              "qemu-img does not say how large %s is", source->path);
    return false;
}
