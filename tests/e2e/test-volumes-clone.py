#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock virt-clone of a guest with an encrypted disk. With stock libvirtd alone the clone's disk is
in clear, and virt-clone says that all went well; with the connector it is encrypted with the secret
that the clone's XML names, so that the clone boots."""

import unittest
import uuid

import guest
import host
import taptest
import volumes

_TARGET = volumes.TARGET
# Stock libvirtd makes encrypted images by qemu-img, which fails at random on a busy machine.
_STOCK_TRIES = 50


def _domain(name, path, image_format, secret, console):
    return guest.domain_xml(name, path, image_format, secret, console)


def _clone(machine, name, new_name):
    return machine.run(["virt-clone", "--connect", "qemu:///system", "--original", name, "--name",
                        new_name, "--file", f"{_TARGET}/{new_name}"], env={"HOME": "/run"})


class Stock(unittest.TestCase):
    """What is put right."""

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.machine.start_libvirtd()
        volumes.define_pool(self.machine)

    def make_volume(self, name, secret):
        self.machine.write("/run/secret.xml", (
            f"<secret private='yes'><uuid>{secret}</uuid><usage type='volume'><volume>"
            f"{_TARGET}/{name}</volume></usage></secret>"))
        self.machine.virsh("secret-define", "/run/secret.xml").check()
        self.machine.virsh("secret-set-value", secret, "--plain", "--file", "/dev/stdin",
                           input=b"a passphrase", text=False).check()
        self.machine.write("/run/volume.xml", volumes.volume_xml(
            name, "raw", encryption=f"<encryption format='luks'><secret type='passphrase' "
                                    f"uuid='{secret}'/></encryption>"))
        for _ in range(_STOCK_TRIES):
            done = self.machine.virsh("vol-create", volumes.POOL, "/run/volume.xml")
            if done.returncode == 0:
                return
            self.assertIn("Unable to get accurate CPU usage", done.stderr)
        self.fail(done.stderr)

    def test_the_clone_of_an_encrypted_disk_is_in_clear(self):
        secret = str(uuid.uuid4())
        self.make_volume("original", secret)
        guest.write_start(self.machine, f"{_TARGET}/original",
                          volumes.options(f"{_TARGET}/original", "raw"), b"a passphrase",
                          guest.disk("kept secret"))
        self.machine.write("/run/guest.xml", _domain("original", f"{_TARGET}/original", "raw",
                                                     secret, "/var/log/console"))
        self.machine.virsh("define", "/run/guest.xml").check()
        _clone(self.machine, "original", "clone").check()
        self.assertIn(b"kept secret", self.machine.read(f"{_TARGET}/clone")[:4096])


class WithConnector(volumes.VolumeCase):
    def make_guest(self, name, image_format):
        self.create(name, image_format)
        self.write_image(name, image_format, guest.disk(name))
        self.machine.write("/run/guest.xml", _domain(
            name, f"{_TARGET}/{name}", image_format, self.secret(name), f"/var/log/{name}.console"))
        self.virsh("define", "/run/guest.xml")

    def assert_clone_boots(self, name, image_format):
        self.make_guest(name, image_format)
        clone = name + "-clone"
        _clone(self.machine, name, clone).check()
        self.assert_encrypted(f"{_TARGET}/{clone}", image_format)
        self.assertEqual(self.secret(clone), self.secret(name))
        self.assertNotIn(name.encode() + b" (boot", self.machine.read(f"{_TARGET}/{clone}"))
        # virt-clone gives the file of a serial console another name.
        xml = self.virsh("dumpxml", clone, "--inactive")
        console = xml.split("<serial type='file'>")[1].split("path='")[1].split("'")[0]
        self.virsh("start", clone)
        self.addCleanup(self.machine.virsh, "destroy", clone)
        host.wait_for(lambda: self.machine.exists(console) and
                      f"{name} (boot 1)".encode() in self.machine.read(console),
                      "the clone's guest prints its text")

    def test_the_clone_of_a_raw_disk_is_encrypted_and_boots(self):
        self.assert_clone_boots("rawguest", "raw")

    def test_the_clone_of_a_qcow2_disk_is_encrypted_and_boots(self):
        self.assert_clone_boots("qcowguest", "qcow2")

    def test_the_shared_secret_is_warned_of_in_libvirtds_log(self):
        self.create("shared", "raw")
        self.virsh("vol-clone", "shared", "sharer", "--pool", volumes.POOL)
        self.assertIn("vol-rekey", self.libvirtd.log_text())


if __name__ == "__main__":
    taptest.main()
