#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The virtual machine of the tests itself: what it has, and that it fails when it must."""

import unittest

import host
import taptest
import vm


class Machine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = vm.Machine({"data": 256})
        cls.addClassCleanup(cls.machine.close)

    def test_a_logical_volume_is_encrypted_by_stock_tools_and_outlives_a_reboot(self):
        device = "/dev/disk/by-serial/data"
        self.machine.shell(f"pvcreate -q {device}; vgcreate -q vg {device}; "
                           "lvcreate -q -y -Wn -L 32m -n lv vg").check()
        self.machine.run(["cryptsetup", "luksFormat", "-q", "--pbkdf", "pbkdf2",
                          "--pbkdf-force-iterations", "1000", "--key-file", "-", "/dev/vg/lv"],
                         input="key").check()
        self.open_lv()
        self.machine.shell("echo inside >/dev/mapper/open; sync").check()
        self.machine.reboot()
        self.machine.shell("vgchange -q -ay vg").check()
        self.open_lv()
        self.assertEqual(self.machine.shell("head -n 1 /dev/mapper/open").stdout, "inside\n")
        self.machine.shell("cryptsetup close open; vgremove -q -y vg").check()

    def open_lv(self):
        self.machine.run(["cryptsetup", "open", "--key-file", "-", "/dev/vg/lv", "open"],
                         input="key").check()

    def test_what_was_flushed_outlives_a_kill_and_what_waits_for_the_machine_ends(self):
        self.machine.shell("echo kept >/var/lib/libvirt/kept; sync; echo lost >/lost").check()
        job = self.machine.begin(["sleep", "600"])
        self.machine.kill()
        with self.assertRaisesRegex(host.HostError, "the machine ended before"):
            job.end()
        self.machine.boot()
        self.assertEqual(self.machine.read("/var/lib/libvirt/kept"), b"kept\n")
        self.assertFalse(self.machine.exists("/lost"))

    def test_a_command_says_how_it_ended_and_what_it_printed(self):
        done = self.machine.run(["sh", "-c", "cat; echo wrong >&2; exit 3"], input="given")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "given", "wrong\n"))
        with self.assertRaisesRegex(host.HostError, "did not end in time"):
            self.machine.run(["sleep", "600"], timeout=0.5)

    # The last one: it leaves no machine behind.
    def test_zz_a_panic_is_an_error_with_the_end_of_the_console(self):
        job = self.machine.begin(["sleep", "600"])
        self.machine.begin(["sh", "-c", "echo c >/proc/sysrq-trigger"])
        with self.assertRaisesRegex(host.HostError, "(?s)machine ended before.*Kernel panic"):
            job.end()



if __name__ == "__main__":
    taptest.main()
