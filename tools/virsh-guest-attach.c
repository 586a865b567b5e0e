/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: guest-attach-volume, which opens a volume for a guest and attaches it as a disk by libvirt,
 * in one step; what fails leaves the volume as it was.
 */
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/attach_disk.h"
#include "tools/libvirt_host.h"
#include "tools/output.h"
#include "tools/virsh-guest-commands.h"
#include "tools/virsh-volume-commands.h"
#include "tools/volume_spec.h"
#include "util/error.h"

/* virsh's rules: --persistent is both where the guest runs. */
static unsigned int
device_flags(const struct command_args *args, const struct libvirt_guest *guest)
{
    unsigned int flags = VIR_DOMAIN_AFFECT_CURRENT;

    if (command_has(args, "config") || command_has(args, "persistent"))
        flags |= VIR_DOMAIN_AFFECT_CONFIG;
    if (command_has(args, "live") || (command_has(args, "persistent") && guest->is_active))
        flags |= VIR_DOMAIN_AFFECT_LIVE;
    return flags;
}

static bool
check_exclusive(const struct command_args *args, GError **error)
{
    static const char *const pairs[][2] = {
        {"persistent", "current"}, {"current", "live"}, {"current", "config"}};

    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++) {
        if (!command_check_exclusive(args, pairs[i][0], pairs[i][1], error))
            return false;
    }
    return true;
}

static bool
find_guest(struct libvirt_host *host, const struct command_args *args,
           struct libvirt_guest *ret_guest)
{
    g_autoptr(GError) error = NULL;
    char *name = NULL;

    if (!command_get_text(args, "domain", &name, &error))
        return output_gerror(error);
    return libvirt_host_find_guest(host, name, ret_guest, &error) ||
           output_failure(error, "failed to get domain '%s'", name);
}

struct attachment {
    struct session *session;
    struct virtcrypt_volume_entry volume;
    struct libvirt_guest guest;
    unsigned int flags;
    char *xml;
};

static void
attachment_clear(struct attachment *attachment)
{
    virtcrypt_volume_entry_clear(&attachment->volume);
    libvirt_guest_clear(&attachment->guest);
    g_free(attachment->xml);
}

typedef struct attachment attachment_t;
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(attachment_t, attachment_clear)

static bool
get_type(const struct attachment *attachment, bool *ret_is_block, GError **error)
{
    const struct virtcrypt_volume_entry *volume = &attachment->volume;
    const struct virtcrypt_volume_ref_args call = {
        .volume = {.pool = volume->pool, .name = volume->name},
    };
    struct virtcrypt_volume_get_info_ret info = {0};

    if (!virtcrypt_volume_get_info_call(attachment->session->client, &call, &info, error))
        return false;
    *ret_is_block = info.type == VIR_STORAGE_VOL_BLOCK;
    return true;
}

static bool
make_xml(struct attachment *attachment, const struct command_args *args)
{
    const struct virtcrypt_volume_entry *volume = &attachment->volume;
    bool is_dm_crypt = volume->kind == VOLUME_SPEC_DM_CRYPT;
    g_autofree char *free_target = NULL;
    g_autoptr(GError) error = NULL;
    struct uuid secret = {0};
    struct attach_disk disk = {
        .kind = (enum volume_spec_kind)volume->kind,
        .path = volume->path,
        .is_readonly = command_has(args, "readonly"),
    };
    char *target = NULL;
    char *serial = NULL;

    if (!command_get_text(args, "target", &target, &error) ||
        !command_get_text(args, "serial", &serial, &error) ||
        !get_type(attachment, &disk.is_block, &error))
        return output_gerror(error);
    disk.is_block = disk.is_block || is_dm_crypt;
    if (volume->secret && !is_dm_crypt) {
        memcpy(secret.bytes, volume->secret, sizeof(secret.bytes));
        disk.secret = &secret;
    }
    if (!target) {
        free_target = attach_disk_free_target(attachment->guest.xml);
        target = free_target;
    }
    if (!target)
        return output_error("guest '%s' has no free disk name: use --target",
                            attachment->guest.name);
    disk.target = target;
    disk.serial = serial;
    attachment->xml = attach_disk_format(&disk);
    return true;
}

/* At its next start a guest's hook opens what it needs; here that is needed by a running one. */
static bool
needs_opening(const struct attachment *attachment)
{
    bool is_live = attachment->flags == VIR_DOMAIN_AFFECT_CURRENT ||
                   (attachment->flags & VIR_DOMAIN_AFFECT_LIVE);

    return attachment->volume.kind == VOLUME_SPEC_DM_CRYPT && attachment->guest.is_active &&
           is_live;
}

static bool
open_for_guest(const struct attachment *attachment, bool is_readonly, GError **error)
{
    struct remote_nonnull_domain guest = {.name = attachment->guest.name, .id = -1};
    const struct virtcrypt_volume_open_args call = {
        .volume = {.pool = attachment->volume.pool, .name = attachment->volume.name},
        .guest = &guest,
        .is_readonly = is_readonly,
    };
    struct virtcrypt_volume_open_ret opened = {0};

    memcpy(guest.uuid, attachment->guest.uuid.bytes, sizeof(guest.uuid));
    if (!virtcrypt_volume_open_call(attachment->session->client, &call, &opened, error))
        return false;
    virtcrypt_volume_open_ret_clear(&opened);
    return true;
}

static void
close_for_guest(const struct attachment *attachment)
{
    struct remote_nonnull_domain guest = {.name = attachment->guest.name, .id = -1};
    const struct virtcrypt_volume_open_args call = {
        .volume = {.pool = attachment->volume.pool, .name = attachment->volume.name},
        .guest = &guest,
    };
    g_autoptr(GError) error = NULL;

    memcpy(guest.uuid, attachment->guest.uuid.bytes, sizeof(guest.uuid));
    if (!virtcrypt_volume_close_call(attachment->session->client, &call, &error))
        output_failure(error, "Failed to close vol %s again", attachment->volume.name);
}

/* Whether the guest had the volume before, whose use must then outlive a failure here. */
static bool
is_in_guest(const struct attachment *attachment)
{
    g_autofree char *escaped = g_markup_escape_text(attachment->volume.path, -1);

    return strstr(attachment->guest.xml, escaped) != NULL;
}

static bool
attach(const struct attachment *attachment, struct libvirt_host *host,
       const struct command_args *args)
{
    bool is_opened = needs_opening(attachment) && !is_in_guest(attachment);
    g_autoptr(GError) error = NULL;

    if (is_opened && !open_for_guest(attachment, command_has(args, "readonly"), &error))
        return output_failure(error, "Failed to open vol %s", attachment->volume.name);
    if (libvirt_host_attach(host, &attachment->guest, attachment->xml, attachment->flags, &error)) {
        if (!attachment->session->is_quiet)
            printf("Disk attached successfully\n");
        return true;
    }
    output_failure(error, "Failed to attach disk");
    if (is_opened)
        close_for_guest(attachment);
    return false;
}

bool
virsh_guest_attach_volume(struct session *session, const struct command_args *args)
{
    g_auto(attachment_t) attachment = {.session = session};
    g_autoptr(libvirt_host_t) host = NULL;
    g_autoptr(GError) error = NULL;

    if (!check_exclusive(args, &error))
        return output_gerror(error);
    host = libvirt_host_open(session, &error);
    if (!host)
        return output_failure(error, "failed to connect to libvirt");
    if (!find_guest(host, args, &attachment.guest) ||
        !virsh_volume_lookup(session, args, &attachment.volume) || !make_xml(&attachment, args))
        return false;
    attachment.flags = device_flags(args, &attachment.guest);
    if (command_has(args, "print-xml")) {
        printf("%s", attachment.xml);
        return true;
    }
    return attach(&attachment, host, args);
}
