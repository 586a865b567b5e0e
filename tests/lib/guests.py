# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cases about guests and their keys: a private host with both daemons, libvirtd with the connectors,
and guests whose disks are LUKS images."""

import json
import os

import guest
import host
import virtcrypt

IMAGES = "/var/lib/libvirt/images"
KEY = virtcrypt.KEY


def domain_xml(name, disks, uuid=None, console=None):
    """`disks`: (target, path, format, uuid of a secret or None)."""
    lines = [f"<domain type='qemu'><name>{name}</name>"]
    if uuid:
        lines.append(f"<uuid>{uuid}</uuid>")
    lines.append("<memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"
                 "<features><acpi/></features><devices>")
    for target, path, image_format, secret in disks:
        encryption = (f"<encryption format='luks'><secret type='passphrase' uuid='{secret}'/>"
                      "</encryption>" if secret else "")
        lines.append(f"<disk type='file' device='disk'><driver name='qemu' type='{image_format}'/>"
                     f"<source file='{path}'>{encryption}</source>"
                     f"<target dev='{target}' bus='virtio'/></disk>")
    if console:
        lines.append(f"<serial type='file'><source path='{console}'/></serial>")
    lines.append("<memballoon model='none'/></devices></domain>\n")
    return "\n".join(lines)


class Case(virtcrypt.Case):
    """One host for all tests of a class, each of which takes names of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.with_libvirtd:
            cls.wait_until_watched()

    @classmethod
    def wait_until_watched(cls):
        """Until virtcryptd has its connection to libvirt."""
        def is_watched():
            told = cls.machine.run([virtcrypt.PROGRAM, "host-status", "--json"]).check().stdout
            return json.loads(told)["virtcryptd"]["guests"]["connected"]
        host.wait_for(is_watched, "libvirt is watched")

    def luks(self, name, key=KEY):
        """A LUKS image that a guest boots from; its path."""
        path = f"{IMAGES}/{name}"
        guest.make_luks(self.machine, path, key.encode(), guest.disk(name))
        return path

    def define_file(self, name, disks, **options):
        """A file with that guest's XML; its path."""
        path = f"/run/t/{name}.xml"
        self.machine.write(path, domain_xml(name, disks, **options))
        return path

    def objects(self, line):
        return json.loads(self.told(line))

    def uuid_of(self, name):
        return self.machine.virsh("domuuid", name).check().stdout.strip()

    def forget(self, name):
        """Ends and undefines a guest, at the end of a test that needs it no more."""
        self.machine.virsh("destroy", name)
        self.machine.virsh("undefine", name)

    def copies_of(self, guest_uuid):
        """The secrets of which that guest has a sealed copy."""
        folder = self.machine.path(f"/etc/libvirt/qemu/keys/{guest_uuid}")
        return sorted(name.removesuffix(".key") for name in os.listdir(folder)) \
            if os.path.isdir(folder) else []

    def wait_for_keys(self, name, states):
        """Until the states of that guest's keys are these."""
        host.wait_for(lambda: sorted(key["state"] for key in self.objects(
            f"key-list --guest {name} --json")) == sorted(states), f"keys of {name}: {states}")
