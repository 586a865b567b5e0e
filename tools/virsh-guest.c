/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the table of the commands for guests.
 */
#include "tools/virsh-guest.h"

#include "tools/virsh-guest-commands.h"

static const struct command commands[] = {
    {
        .name = "guest-attach-volume",
        .summary = "attach an encrypted volume to a guest",
        .description = "Open a volume for a guest and attach it as a disk.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_guest_attach_volume,
        .options =
            {
                {"domain", OPTION_TEXT, OPTION_REQUIRED, "domain name, id or uuid"},
                {"vol", OPTION_TEXT, OPTION_REQUIRED, "vol name or path"},
                {"pool", OPTION_TEXT, 0, "pool name"},
                {"target", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "target of disk device; without it the first free vdX"},
                {"serial", OPTION_TEXT, OPTION_NAMED_ONLY, "serial of disk device"},
                {"readonly", OPTION_FLAG, 0, "the guest can't write to it"},
                {"persistent", OPTION_FLAG, 0, "make live change persistent"},
                {"config", OPTION_FLAG, 0, "affect next boot"},
                {"live", OPTION_FLAG, 0, "affect running domain"},
                {"current", OPTION_FLAG, 0, "affect current domain"},
                {"print-xml", OPTION_FLAG, 0, "print XML document rather than attach the disk"},
            },
    },
    {
        .name = "guest-check",
        .summary = "would a guest start with its keys?",
        .description =
            "Open the headers of the guest's encrypted disks with their keys, and change\n"
            "    nothing. It fails if the guest would not start.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_guest_check,
        .options =
            {
                {"domain", OPTION_TEXT, OPTION_REQUIRED, "domain name, id or uuid"},
                {"json", OPTION_FLAG, 0, "print the disks as JSON"},
            },
    },
    {
        .name = "guest-create",
        .summary = "create a domain and its keys from an XML file",
        .description = "Create (start) a transient domain, with keys of its volumes.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_guest_create,
        .options =
            {
                {"file", OPTION_TEXT, OPTION_REQUIRED, "file containing an XML domain description"},
                {"key", OPTION_TEXT, OPTION_REPEATED,
                 "VOLUME=FILE, VOLUME=- or VOLUME=generate: the key of a volume"},
                {"paused", OPTION_FLAG, 0, "leave the guest paused after creation"},
                {"validate", OPTION_FLAG, 0, "validate the XML against the schema"},
            },
    },
    {
        .name = "guest-define",
        .summary = "define a domain and its keys from an XML file",
        .description = "Define (but don't start) a domain, with keys of its volumes.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_guest_define,
        .options =
            {
                {"file", OPTION_TEXT, OPTION_REQUIRED, "file containing an XML domain description"},
                {"key", OPTION_TEXT, OPTION_REPEATED,
                 "VOLUME=FILE, VOLUME=- or VOLUME=generate: the key of a volume"},
                {"validate", OPTION_FLAG, 0, "validate the XML against the schema"},
            },
    },
    {
        .name = "guest-list",
        .summary = "list guests that own keys",
        .description = "List guests that own keys, and the state of these.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_guest_list,
        .options = {{"json", OPTION_FLAG, 0, "print the list as JSON"}},
    },
    {
        .name = "guest-migrate",
        .summary = "migrate a domain and its keys to another host",
        .description =
            "Send the guest's keys to the other host's virtcryptd, migrate the guest, and erase\n"
            "    the keys here. It runs on the host that the guest leaves.",
        .daemon = URI_VIRTCRYPTD,
        .run = virsh_guest_migrate,
        .options =
            {
                {"domain", OPTION_TEXT, OPTION_REQUIRED, "domain name, id or uuid"},
                {"desturi", OPTION_TEXT, OPTION_REQUIRED,
                 "connection URI of the destination host as seen from the client"},
                {"migrateuri", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "migration URI, usually can be omitted"},
                {"keyuri", OPTION_TEXT, OPTION_NAMED_ONLY,
                 "connection URI of the destination's virtcryptd, usually can be omitted"},
                {"live", OPTION_FLAG, 0, "live migration; always so for a running guest"},
                {"persistent", OPTION_FLAG, 0, "persist VM on destination; always so"},
                {"undefinesource", OPTION_FLAG, 0, "undefine VM on source; always so"},
                {"offline", OPTION_FLAG, 0, "migrate the definition of a guest that is shut off"},
                {"unsafe", OPTION_FLAG, 0, "force migration even if it may be unsafe"},
                {"copy-storage-all", OPTION_FLAG, 0,
                 "migration with non-shared storage with full disk copy"},
                {"bandwidth", OPTION_NUMBER, OPTION_NAMED_ONLY,
                 "migration bandwidth limit in MiB/s"},
                {"timeout", OPTION_NUMBER, OPTION_NAMED_ONLY,
                 "suspend the guest if live migration takes longer (in seconds)"},
            },
    },
};

const struct command_group guest_commands = {
    .title = "Guest",
    .keyword = "guest",
    .commands = commands,
    .count = G_N_ELEMENTS(commands),
};
