# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private host with a pool of encrypted volumes: both daemons, libvirtd with the connectors, and
stock virsh.

    class Case(volumes.VolumeCase):
        def test_x(self):
            self.create("x", "qcow2")
"""

import os
import re
import unittest
import xml.etree.ElementTree

import libvirt

import host

POOL = "pool"
TARGET = "/var/lib/libvirt/images/pool"
TOKEN = "/run/libvirt/common/system.token"
RECORDS = "/etc/libvirt/virtcrypt/volumes"
POLICIES = "/etc/libvirt/virtcrypt/pools"

MIB = 1 << 20


def volume_xml(name, image_format, mib=4, encryption="<encryption format='luks'/>", more=""):
    return (f"<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity>{more}"
            f"<target><format type='{image_format}'/>{encryption}</target></volume>")


def define_pool(machine, name=POOL, target=TARGET, uuid="0e7c6c1e-6b0f-4c3c-9d3c-5d8f4d2e7a10"):
    os.makedirs(machine.path(target), exist_ok=True)
    machine.write("/run/pool.xml", f"<pool type='dir'><name>{name}</name><uuid>{uuid}</uuid><target>"
                                   f"<path>{target}</path></target></pool>")
    machine.virsh("pool-define", "/run/pool.xml").check()
    machine.virsh("pool-start", name).check()


def secret_of(xml):
    """The uuid of the secret that a volume's XML names, or None."""
    found = re.search(r"<encryption .*<secret type='passphrase' uuid='([-0-9a-f]{36})'/>", xml, re.S)
    return found.group(1) if found else None


def key_of(machine, uuid):
    """The value of a private secret, as libvirt's own drivers ask for it."""
    connection = libvirt.open(machine.uri("secret", host.SECRETD_SOCKET))
    try:
        connection.setIdentity({"system.token": machine.read(TOKEN).decode()}, 0)
        return connection.secretLookupByUUIDString(uuid).value()
    finally:
        connection.close()


def options(path, image_format):
    """How qemu-img opens an encrypted image of that path; the key's object is called key."""
    if image_format == "raw":
        return f"driver=luks,key-secret=key,file.filename={path}"
    return f"driver=qcow2,encrypt.key-secret=key,file.filename={path}"


class VolumeCase(unittest.TestCase):
    """One host for all tests of a class, each of which takes names of its own."""

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.secretd = cls.machine.start_secretd()
        cls.virtcryptd = cls.machine.start_virtcryptd()
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)
        define_pool(cls.machine)

    def virsh(self, *arguments):
        return self.machine.virsh(*arguments).check().stdout

    def refused(self, *arguments):
        """What virsh says of a command that has to fail."""
        done = self.machine.virsh(*arguments)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr

    def create(self, name, image_format, command=("vol-create", POOL), **options_of_xml):
        path = f"/run/{name}.xml"
        self.machine.write(path, volume_xml(name, image_format, **options_of_xml))
        return self.virsh(command[0], command[1], path, *command[2:])

    def dump(self, name, pool=POOL):
        return self.virsh("vol-dumpxml", name, pool)

    def secret(self, name, pool=POOL):
        uuid = secret_of(self.dump(name, pool))
        self.assertIsNotNone(uuid, f"the XML of {name} names no secret")
        return uuid

    def names(self, pool=POOL):
        lines = self.virsh("vol-list", pool).splitlines()[2:]
        return sorted(line.split()[0] for line in lines if line.strip())

    def secrets(self):
        lines = self.virsh("secret-list").splitlines()[2:]
        return {line.split()[0] for line in lines if line.strip()}

    def read_image(self, name, image_format, uuid=None):
        """The volume's content, by stock qemu-img with the key of its secret."""
        path = f"{TARGET}/{name}"
        out = f"/run/{name}.clear"
        self.machine.run(["qemu-img", "convert", "--object", "secret,id=key,file=/dev/stdin",
                          "--image-opts", options(path, image_format), "-O", "raw", out],
                         input=key_of(self.machine, uuid or self.secret(name)),
                         text=False).check()
        return self.machine.read(out)

    def write_image(self, name, image_format, content):
        self.machine.write(f"/run/{name}.content", content)
        self.machine.run(["qemu-img", "convert", "-n", "--object", "secret,id=key,file=/dev/stdin",
                          "-f", "raw", "--target-image-opts", f"/run/{name}.content",
                          options(f"{TARGET}/{name}", image_format)],
                         input=key_of(self.machine, self.secret(name)), text=False).check()

    def assert_encrypted(self, path, image_format):
        """As stock tools see it."""
        info = self.machine.run(["qemu-img", "info", path]).check().stdout
        if image_format == "qcow2":
            self.assertIn("encrypted: yes", info)
        else:
            self.machine.run(["cryptsetup", "isLuks", path]).check()

    def element(self, name, path, pool=POOL):
        return xml.etree.ElementTree.fromstring(self.dump(name, pool)).find(path)
