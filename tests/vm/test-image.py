#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Raw encrypted volumes in a volume group, where LVM is real: image-driver (tests/e2e) calls the
backend, cryptsetup and LVM's programs judge."""

import os
import unittest

import host
import taptest
import vm

DRIVER = os.path.join(host.BUILD_ROOT, "tests/e2e/image-driver")
MIB = 1024 * 1024
HEADER = 2 * MIB
EXTENT = 4 * MIB
ERROR_INVALID_ARG = 8
ERROR_OPERATION_FAILED = 9
ERROR_STORAGE_VOL_EXIST = 90


class LogicalVolumes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = vm.Machine({"data": 256})
        cls.addClassCleanup(cls.machine.close)
        cls.machine.put(DRIVER, "/work/image-driver")
        cls.machine.write("/work/key", b"3JkWGdLcKmrFaZp0vEw7yVbXoN1sTqUhRfCiMeHgPlA")

    def setUp(self):
        device = "/dev/disk/by-serial/data"
        self.machine.shell(f"wipefs -qa {device}; pvcreate -qq {device}; "
                           f"vgcreate -qq vg {device}").check()
        self.addCleanup(lambda: self.machine.shell("vgremove -qq -y vg").check())

    @staticmethod
    def xml(name, size):
        return (f"<volume><name>{name}</name><capacity>{size}</capacity><target>"
                "<format type='raw'/><encryption format='luks'/></target></volume>")

    def drive(self, call, name, *options, size=30 * MIB):
        words = ["/work/image-driver", "--pool", "vg:vg", "--xml", self.xml(name, size), "--key",
                 "/work/key", "--generated", *options, call]
        return self.machine.run(words)

    def done(self, call, name, *options, **more):
        return self.drive(call, name, *options, **more).check().stdout

    def refused(self, code, text, call, name, *options, **more):
        result = self.drive(call, name, *options, **more)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertTrue(result.stdout.startswith(f"{code}: "), result.stdout)
        self.assertIn(text, result.stdout)

    def volumes(self):
        return self.machine.shell("lvs --noheadings -o lv_name vg").check().stdout.split()

    def assert_opens(self, name):
        self.machine.run(["cryptsetup", "open", "--test-passphrase", "--key-file", "/work/key",
                          f"/dev/vg/{name}"]).check()

    def test_a_volume_has_room_for_header_and_capacity(self):
        self.done("create", "v")
        self.assert_opens("v")
        kind, capacity, _, physical = map(int, self.done("info", "v").split())
        self.assertEqual((kind, physical % EXTENT, physical - capacity), (1, 0, HEADER))
        self.assertGreaterEqual(capacity, 30 * MIB)
        self.assertLess(capacity, 30 * MIB + EXTENT)

    def test_what_a_removed_volume_left_is_not_seen_in_a_new_one(self):
        self.machine.shell("lvcreate -qq -y -n old -L 32m vg; mkfs.ext4 -q /dev/vg/old; "
                           "lvremove -qq -y vg/old").check()
        self.done("create", "v")
        self.assertIn("crypto_LUKS", self.machine.shell("blkid -p /dev/vg/v").check().stdout)
        self.assertNotIn("ext4", self.machine.shell("wipefs /dev/vg/v").check().stdout)

    def test_a_logical_volume_that_is_there_stays_as_it_is(self):
        self.machine.shell("lvcreate -qq -y -n v -L 32m vg; mkfs.ext4 -q /dev/vg/v").check()
        self.refused(ERROR_STORAGE_VOL_EXIST, "vg/v", "create", "v")
        self.machine.shell("e2fsck -fn /dev/vg/v").check()

    def test_a_full_volume_group_gets_nothing(self):
        self.refused(ERROR_OPERATION_FAILED, "insufficient free space", "create", "v",
                     size=512 * MIB)
        self.assertEqual(self.volumes(), [])

    def test_a_volume_is_resized_with_its_logical_volume(self):
        self.done("create", "v")
        self.done("resize", "v", "--capacity", str(62 * MIB))
        self.assertIn(f" {62 * MIB} ", self.done("info", "v"))
        self.refused(ERROR_INVALID_ARG, "--shrink", "resize", "v", "--capacity", str(30 * MIB))
        self.done("resize", "v", "--shrink", "--capacity", str(30 * MIB))
        self.assertIn(f" {30 * MIB} ", self.done("info", "v"))
        self.assert_opens("v")

    def test_an_inactive_volume_is_activated(self):
        self.done("create", "v")
        self.machine.shell("lvchange -qq -an vg/v").check()
        self.done("check-key", "v")

    def test_an_inactive_volume_is_removed_too(self):
        self.done("create", "v")
        self.machine.shell("lvchange -qq -an vg/v").check()
        self.done("remove", "v")
        self.assertEqual(self.volumes(), [])
        self.done("remove", "v")

    def headers_on_the_disk(self):
        """Counted where the disk is a file: the machine takes a minute or more to read all of it."""
        self.machine.run(["sync"]).check()
        with open(self.machine.disks["data"], "rb") as disk:
            return disk.read().count(b"LUKS\xba\xbe")

    def test_a_removed_volume_leaves_no_keyslots_in_the_group(self):
        self.done("create", "v")
        self.assertGreater(self.headers_on_the_disk(), 0)
        self.done("remove", "v")
        self.assertEqual(self.headers_on_the_disk(), 0)

    def test_a_wiped_volume_is_new(self):
        self.done("create", "v")
        before = self.machine.shell("cryptsetup luksUUID /dev/vg/v").check().stdout
        for algorithm in ("0", "8"):
            self.done("wipe", "v", "--algorithm", algorithm)
            after = self.machine.shell("cryptsetup luksUUID /dev/vg/v").check().stdout
            self.assertNotEqual(after, before)
            self.assert_opens("v")


if __name__ == "__main__":
    taptest.main()
