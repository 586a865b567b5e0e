/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: service_clear.h.
 */
#include "storage/service_clear.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/container.h"
#include "storage/container_file.h"
#include "storage/qemu_img.h"
#include "util/error.h"
#include "util/file.h"
#include "util/log.h"

static bool
make_room(const struct service_plan *plan, int *ret_fd, struct storage_progress *progress,
          GError **error)
{
    const struct volume_record *record = plan->record;
    const struct container_params container = {
        .pool = plan->pool,
        .path = record->temporary ? record->temporary : record->device,
        .size = plan->def->capacity,
        .nocow = plan->def->nocow,
        .permissions = &plan->def->permissions,
    };
    const struct qemu_img_create_params image = {
        .capacity = plan->def->capacity,
        .preallocation = "off",
        .compat = plan->def->compat,
        .lazy_refcounts = plan->def->lazy_refcounts,
        .extended_l2 = plan->def->extended_l2,
        .nocow = plan->def->nocow,
        .cluster_size = plan->def->cluster_size,
    };

    if (record->kind != VOLUME_KIND_QCOW2) {
        if (!container_create(&container, progress, error))
            return false;
        *ret_fd = container_file_open(container.path, false, error);
        return *ret_fd >= 0;
    }
    *ret_fd = container_file_make(container.path, error);
    return *ret_fd >= 0 &&
           container_file_set_permissions(*ret_fd, container.path, container.permissions, error) &&
           qemu_img_create_qcow2(*ret_fd, &image, progress, error);
}

static bool
copy(const struct service_plan *plan, struct storage_progress *progress, GError **error)
{
    const struct backend_source source = service_source_view(plan->source);
    const struct volume_record *record = plan->record;
    struct qemu_img_target target = {.is_qcow2 = record->kind == VOLUME_KIND_QCOW2};
    g_auto(file_fd) fd = -1;
    struct stat info;

    if (!make_room(plan, &fd, progress, error))
        return false;
    target.fd = fd;
    target.is_block = fstat(fd, &info) == 0 && S_ISBLK(info.st_mode);
    target.reads_zero = !target.is_block;
    if (!qemu_img_convert(&source, &target, progress, error))
        return false;
    if (fsync(fd) != 0) {
        error_set_errno(error, ERROR_FROM_STORAGE, errno, "can't flush %s", record->device);
        return false;
    }
    return !record->temporary || container_file_publish(record->temporary, record->device, error);
}

static struct storage_volume *
report(const struct volume_record *record)
{
    struct storage_volume *volume = g_new0(struct storage_volume, 1);

    volume->pool = g_strdup(record->pool);
    volume->name = g_strdup(record->name);
    volume->path = g_strdup(record->path);
    volume->kind = record->kind;
    volume->is_cleartext = true;
    volume->warnings = g_new0(char *, 2);
    volume->warnings[0] = g_strdup_printf("volume '%s' is not encrypted", record->name);
    return volume;
}

struct storage_volume *
service_clear_create(struct storage_service *service, struct service_plan *plan,
                     struct storage_progress *progress, GError **error)
{
    struct volume_record *record = plan->record;
    g_autoptr(GError) failure = NULL;
    g_autoptr(GError) undoing = NULL;

    /* A record names a secret; this volume's will have none. */
    record->encryption->secret_by = ENCRYPTION_SECRET_UUID;
    if (!uuid_generate_random(&record->encryption->secret_uuid, error) ||
        !storage_records_put(service->records, record, error))
        return NULL;
    if (copy(plan, progress, &failure) &&
        storage_records_remove(service->records, record->pool, record->name, &failure))
        return report(record);
    if (error_is(failure, ERROR_STORAGE_VOL_EXIST))
        record->state = VOLUME_STATE_ADOPTING;
    if (!service_recover(service, record, &undoing))
        log_warn("volume '%s' of pool '%s', whose creation failed, is not removed yet: %s",
                 record->name, record->pool, undoing->message);
    g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}
