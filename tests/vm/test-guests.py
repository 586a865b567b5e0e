#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests on dm-crypt volumes: stock virsh starts and stops them, the hook opens and closes what
they use, and the counts of users outlive the daemons. Volumes go with the machine: a deletion takes
seconds here."""

import re
import unittest

import taptest
import vmhost

_LUKS2 = "<encryption format='luks2' engine='dm-crypt'/>"


class Guests(vmhost.VmHostMixin, unittest.TestCase):
    def setUp(self):
        self.name = self.id().split(".test_")[1][:20].strip("_").replace("_", "")
        self.guests = []

    def tearDown(self):
        for name in self.guests:
            self.machine.virsh("destroy", name)
            self.machine.virsh("undefine", name)

    def make_volume(self, name=None, pool="lv"):
        """A volume that a guest boots from; returns the path that guests name."""
        name = name or self.name
        self.machine.create_volume(pool, name, _LUKS2).check()
        path = self.machine.virtcrypt("vol-path", name, "--pool", pool).check().stdout.strip()
        self.machine.virtcrypt("vol-open", name, "--pool", pool).check()
        self.machine.write_guest(path, name)
        self.machine.virtcrypt("vol-close", name, "--pool", pool).check()
        return path

    def delete_volume(self):
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()

    def define(self, name, *disks):
        self.machine.define_guest(name, disks)
        self.guests.append(name)

    def start(self, name):
        return self.machine.virsh("start", name)

    def stop(self, name):
        self.machine.virsh("destroy", name).check()

    def is_open(self, name=None):
        """By what device-mapper has: logical volumes are there, too."""
        mappings = self.machine.run(["dmsetup", "ls", "--target", "crypt"]).check().stdout
        return re.search(rf"-{name or self.name}\s", mappings) is not None

    def assert_open(self, wanted, name=None):
        self.assertEqual(self.is_open(name), wanted)

    def test_a_start_opens_and_a_stop_closes(self):
        path = self.make_volume()
        self.define("one", path)
        self.assert_open(False)
        self.start("one").check()
        self.assert_open(True)
        self.machine.wait_for_boot("one", self.name, 1)
        self.assert_refused(self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv"),
                            "in use", "one")
        self.stop("one")
        self.assert_open(False)
        self.start("one").check()
        self.machine.wait_for_boot("one", self.name, 2)
        self.stop("one")
        self.delete_volume()

    def test_a_disk_of_pool_and_volume_on_a_file_is_opened(self):
        self.make_volume(pool="dir")
        self.define("one", "<driver name='qemu' type='raw'/>"
                           f"<source pool='dir' volume='{self.name}'/>")
        self.start("one").check()
        self.machine.wait_for_boot("one", self.name, 1)
        self.stop("one")
        self.assert_open(False)
        self.assertNotIn(self.name, self.machine.run(["losetup", "-a"]).stdout)

    def test_two_guests_share_a_volume_until_the_last_one_stops(self):
        path = self.make_volume()
        disk = f"<driver name='qemu' type='raw'/><source dev='{path}'/><shareable/>"
        for name in ("one", "two"):
            self.define(name, disk)
            self.start(name).check()
        self.stop("one")
        self.assert_open(True)
        self.assert_refused(self.machine.virtcrypt("vol-close", self.name, "--pool", "lv"),
                            "two|not opened by vol-open")
        self.stop("two")
        self.assert_open(False)

    def test_guest_attach_volume_opens_and_plugs(self):
        path = self.make_volume()
        self.make_volume(self.name + "-2")
        self.define("one", path)
        self.start("one").check()
        self.machine.wait_for_boot("one", self.name, 1)
        self.machine.virtcrypt("guest-attach-volume", "one", self.name + "-2", "--pool",
                               "lv").check()
        self.assert_open(True, self.name + "-2")
        self.assertIn(f"/{self.name}-2", self.machine.virsh("domblklist", "one").check().stdout)
        self.stop("one")
        self.assert_open(False, self.name + "-2")
        self.assert_open(False)

    def test_a_running_guest_keeps_its_volume_over_restarts_of_the_daemons(self):
        path = self.make_volume()
        self.define("one", path)
        self.start("one").check()
        self.machine.wait_for_boot("one", self.name, 1)
        self.machine.daemons["virtcryptd"].kill()
        self.machine.start_virtcryptd()
        self.assert_refused(self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv"),
                            "in use", "one")
        self.machine.daemons["libvirtd"].stop()
        self.machine.daemons["virtcryptd"].stop()
        self.machine.start_virtcryptd()
        self.machine.start_libvirtd()
        self.assertIn("running", self.machine.virsh("domstate", "one").check().stdout)
        self.assertIn("one", self.machine.virtcrypt("vol-info", self.name, "--pool",
                                                    "lv").check().stdout)
        self.stop("one")
        self.assert_open(False)

    def test_the_ciphertext_as_a_disk_is_refused(self):
        self.make_volume()
        self.define("one", f"/dev/vg/{self.name}.crypt")
        self.assert_refused(self.start("one"), "ciphertext|encrypted", self.name)
        self.assertIn("shut off", self.machine.virsh("domstate", "one").check().stdout)

    def test_a_missing_key_stops_the_start_and_names_the_volume(self):
        path = self.make_volume()
        self.define("one", path)
        self.machine.daemons["virtcrypt-secretd"].stop()
        try:
            self.assert_refused(self.start("one"), self.name, "virtcrypt-secretd")
            self.assert_open(False)
        finally:
            self.machine.start_secretd()
        self.start("one").check()
        self.stop("one")

    def test_a_guest_of_no_volume_of_ours_starts_while_virtcryptd_is_away(self):
        self.machine.virsh("vol-create-as", "lv", self.name, "8M").check()
        self.machine.write_guest(f"/dev/vg/{self.name}", self.name)
        self.define("one", f"/dev/vg/{self.name}")
        self.machine.daemons["virtcryptd"].stop()
        try:
            self.start("one").check()
            self.machine.wait_for_boot("one", self.name, 1)
            self.stop("one")
        finally:
            self.machine.start_virtcryptd()
        self.machine.virsh("vol-delete", self.name, "lv").check()

    def test_virt_install_makes_a_disk_in_a_pool_with_a_policy(self):
        """No word of encryption in what it is told, and the disk is encrypted."""
        self.machine.virtcrypt("pool-policy", "lv", "--encrypt", "dm-crypt").check()
        self.guests.append("one")
        try:
            self.machine.run([
                "virt-install", "--connect", "qemu:///system", "--name", "one", "--memory", "16",
                "--virt-type", "qemu", "--osinfo", "detect=off,require=off", "--import",
                "--network", "none", "--graphics", "none", "--noautoconsole", "--disk",
                "pool=lv,size=0.01", "--controller", "usb,model=none", "--rng", "none",
                "--memballoon", "none"]).check()
            self.assertIn("/dev/vg/one", self.machine.virsh("domblklist", "one").check().stdout)
            self.assertTrue(self.machine.exists("/dev/vg/one.crypt"))
            self.assert_open(True, "one")
            self.stop("one")
            self.assert_open(False, "one")
            self.machine.virsh("vol-delete", "one", "lv").check()
        finally:
            self.machine.virtcrypt("pool-policy", "lv", "--encrypt", "none").check()


if __name__ == "__main__":
    taptest.main()
