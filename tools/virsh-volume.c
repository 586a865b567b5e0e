/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the volume commands, and pool-policy.
 */
#include "tools/virsh-volume.h"

#include <stdio.h>
#include <string.h>

#include "rpc/protocol/virtcrypt_volume_client.h"
#include "tools/output.h"
#include "tools/virsh-volume-commands.h"

bool
virsh_volume_pool_policy(struct session *session, const struct command_args *args)
{
    struct virtcrypt_volume_set_pool_policy_args change = {0};
    struct virtcrypt_volume_pool_policy_args call = {0};
    struct virtcrypt_volume_pool_policy_ret found = {0};
    g_autoptr(GError) error = NULL;

    if (!command_get_text(args, "pool", &change.pool, &error) ||
        !command_get_text(args, "encrypt", &change.policy, &error))
        return output_gerror(error);
    if (change.policy) {
        if (!virtcrypt_volume_set_pool_policy_call(session->client, &change, &error))
            return output_failure(error, "Failed to set the policy of pool %s", change.pool);
        if (!session->is_quiet)
            printf("Policy of pool %s set to %s\n", change.pool, change.policy);
        return true;
    }
    call.pool = change.pool;
    if (!virtcrypt_volume_pool_policy_call(session->client, &call, &found, &error))
        return output_failure(error, "Failed to get the policy of pool %s", call.pool);
    printf("%s\n", found.policy);
    virtcrypt_volume_pool_policy_ret_clear(&found);
    return true;
}

#define OPTION_VOL                                                                                 \
    {                                                                                              \
        "vol", OPTION_TEXT, OPTION_REQUIRED, "vol name or path"                                    \
    }
#define OPTION_POOL                                                                                \
    {                                                                                              \
        "pool", OPTION_TEXT, 0, "pool name"                                                        \
    }

/* In the order of virsh's help, which is nearly alphabetical. */
static const struct command commands[] = {
    {
        .name = "pool-policy",
        .summary = "show or set how volumes of a pool are encrypted",
        .description = "Show what encryption a pool has for volumes that are made in it without\n"
                       "    any, or set it.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_pool_policy,
        .options =
            {
                {"pool", OPTION_TEXT, OPTION_REQUIRED, "pool name"},
                {"encrypt", OPTION_TEXT, OPTION_NAMED_ONLY, "dm-crypt, luks or none"},
            },
    },
    {
        .name = "vol-adopt",
        .summary = "register an encrypted volume that exists",
        .description = "Register an encrypted volume that exists, and the key that opens it. The\n"
                       "    key is tried first; nothing on the volume is changed.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_adopt,
        .options =
            {
                {"pool", OPTION_TEXT, OPTION_REQUIRED, "pool name"},
                {"vol", OPTION_TEXT, OPTION_REQUIRED, "name of the volume"},
                {"key", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "file with the key that opens it, or - to be asked"},
                {"secret", OPTION_TEXT, OPTION_NAMED_ONLY, "UUID of the secret that opens it"},
                {"format", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "who opens it: QEMU (raw, qcow2) or dm-crypt"},
                {"path", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "where it is, if not in the pool under its name"},
            },
    },
    {
        .name = "vol-clone",
        .summary = "clone a volume.",
        .description = "Clone an existing volume, encrypted too, with the same key unless another\n"
                       "    one is asked for. The source may be a volume without encryption.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_clone,
        .options =
            {
                OPTION_VOL,
                {"newname", OPTION_TEXT, OPTION_REQUIRED, "clone name"},
                OPTION_POOL,
                {"newpool", OPTION_TEXT, OPTION_NAMED_ONLY, "pool of the clone"},
                {"format", OPTION_TEXT, OPTION_NAMED_ONLY, "qcow2, raw or dm-crypt"},
                {"new-key", OPTION_FLAG, 0, "give the clone a key of its own"},
                {"key", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "file with the key of the clone, or - to be asked"},
                {"secret", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "UUID of the secret that is the key of the clone"},
                {"decrypt", OPTION_FLAG, 0, "make the clone without encryption"},
                {"prealloc-metadata", OPTION_FLAG, 0,
                 "preallocate metadata (for qcow2 instead of full allocation)"},
                {"reflink", OPTION_FLAG, 0, "use btrfs COW lightweight copy"},
                {"force", OPTION_FLAG, 0, "overwrite what is on the device"},
                {"print-xml", OPTION_FLAG, 0, "print XML document rather than clone the volume"},
            },
    },
    {
        .name = "vol-close",
        .summary = "close an open dm-crypt volume",
        .description = "Close a dm-crypt volume that vol-open opened. It stays open for guests\n"
                       "    that use it.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_close,
        .options =
            {
                {"vol", OPTION_TEXT, 0, "vol name or path"},
                OPTION_POOL,
                {"guest", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "name or UUID of the guest that uses it no more"},
                {"all", OPTION_FLAG, 0, "close all that no guest uses"},
            },
    },
    {
        .name = "vol-create",
        .summary = "create an encrypted vol",
        .description =
            "Create an encrypted vol, of options or from an XML file. Unless its key is\n"
            "    given, one is generated and kept as a private secret.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_create,
        .options =
            {
                {"pool", OPTION_TEXT, OPTION_REQUIRED, "pool name"},
                {"name", OPTION_TEXT, 0,
                 "name of the volume; without <capacity> the XML file instead"},
                {"capacity", OPTION_TEXT, 0, "size of the vol, as scaled integer (default bytes)"},
                {"file", OPTION_TEXT, OPTION_NAMED_ONLY, "file containing an XML vol description"},
                {"format", OPTION_TEXT, OPTION_NAMED_ONLY, "qcow2, raw or dm-crypt"},
                {"allocation", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "initial allocation size, as scaled integer (default bytes)"},
                {"backing-vol", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "the backing volume if taking a snapshot"},
                {"backing-vol-format", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "format of backing volume if taking a snapshot"},
                {"key", OPTION_TEXT, OPTION_NAMED_ONLY, "file with the key, or - to be asked"},
                {"secret", OPTION_TEXT, OPTION_NAMED_ONLY, "UUID of the secret that is the key"},
                {"cipher", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "NAME-BITS-MODE-IVGEN, like aes-256-xts-plain64"},
                {"prealloc-metadata", OPTION_FLAG, 0,
                 "preallocate metadata (for qcow2 instead of full allocation)"},
                {"force", OPTION_FLAG, 0, "overwrite what is on the device"},
                {"validate", OPTION_FLAG, 0, "validate the XML against the schema"},
                {"print-xml", OPTION_FLAG, 0, "print XML document, but don't define/create"},
            },
    },
    {
        .name = "vol-delete",
        .summary = "delete a vol",
        .description = "Delete a given vol, its keyslots first, and the secret that was generated\n"
                       "    for it.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_delete,
        .options = {OPTION_VOL, OPTION_POOL},
    },
    {
        .name = "vol-dumpxml",
        .summary = "vol information in XML",
        .description = "Output the vol information as an XML dump to stdout.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_dumpxml,
        .options =
            {
                OPTION_VOL,
                OPTION_POOL,
                {"xpath", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "xpath expression to filter the XML document"},
                {"wrap", OPTION_FLAG, 0, "wrap xpath results in an common root element"},
            },
    },
    {
        .name = "vol-info",
        .summary = "storage vol information",
        .description = "Returns basic information about the storage vol.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_info,
        .options =
            {
                OPTION_VOL,
                OPTION_POOL,
                {"bytes", OPTION_FLAG, 0,
                 "sizes are represented in bytes rather than pretty units"},
                {"physical", OPTION_FLAG, 0,
                 "return the physical size of the volume in allocation field"},
                {"json", OPTION_FLAG, 0, "print it as JSON"},
            },
    },
    {
        .name = "vol-list",
        .summary = "list vols",
        .description = "Returns list of encrypted vols, of a pool or of all.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_list,
        .options =
            {
                OPTION_POOL,
                {"details", OPTION_FLAG, 0, "display extended details for volumes"},
                {"json", OPTION_FLAG, 0, "print the list as JSON"},
            },
    },
    {
        .name = "vol-open",
        .summary = "open a dm-crypt volume",
        .description = "Open a dm-crypt volume and print the path of its device.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_open,
        .options =
            {
                OPTION_VOL,
                OPTION_POOL,
                {"readonly", OPTION_FLAG, 0, "nothing can be written to the device"},
            },
    },
    {
        .name = "vol-path",
        .summary = "returns the volume path for a given volume name or key",
        .description = "Print the path by which guests name the volume.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_path,
        .options = {OPTION_VOL, OPTION_POOL},
    },
    {
        .name = "vol-rekey",
        .summary = "give a vol a new key",
        .description = "Generate a new key for a vol, in the place of the present one. Only its\n"
                       "    keyslots change.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_rekey,
        .options = {OPTION_VOL, OPTION_POOL},
    },
    {
        .name = "vol-resize",
        .summary = "resize a vol",
        .description =
            "Resizes a storage volume. This is safe only for storage volumes not in use\n"
            "    by an active guest.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_resize,
        .options =
            {
                OPTION_VOL,
                {"capacity", OPTION_TEXT, OPTION_REQUIRED,
                 "new capacity for the vol, as scaled integer (default bytes)"},
                OPTION_POOL,
                {"allocate", OPTION_FLAG, 0,
                 "allocate the new capacity, rather than leaving it sparse"},
                {"delta", OPTION_FLAG, 0,
                 "use capacity as a delta to current size, rather than the new size"},
                {"shrink", OPTION_FLAG, 0, "allow the resize to shrink the volume"},
            },
    },
    {
        .name = "vol-wipe",
        .summary = "wipe a vol",
        .description = "Ensure data previously on a volume is not accessible to future reads: its\n"
                       "    keyslots are destroyed first, then all of it is overwritten.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_volume_wipe,
        .options =
            {
                OPTION_VOL,
                OPTION_POOL,
                {"algorithm", OPTION_TEXT, OPTION_NAMED_ONLY, "zero, random or trim"},
            },
    },
};

const struct command_group volume_commands = {
    .title = "Storage Volume",
    .keyword = "volume",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
