#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mappings and dm-crypt volumes on a kernel with device-mapper: the programs storage-luks,
storage-dm_crypt and storage-service, each of whose cases is one here."""

import os
import re
import unittest

import host
import taptest
import vm

_BOUND_S = 800 * host.PATIENCE


class DmCrypt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = vm.Machine({"data": 512})
        cls.addClassCleanup(cls.machine.close)
        cls.machine.shell("vgcreate -q vg /dev/disk/by-serial/data && mkdir /work").check()

    def run_cases(self, program):
        """On a real file system, whose files take direct I/O."""
        self.machine.put(os.path.join(host.BUILD_ROOT, "tests/vm", program), f"/work/{program}")
        done = self.machine.shell(f"TMPDIR=/var/lib/libvirt /work/{program} --tap",
                                  timeout=_BOUND_S)
        cases = re.findall(r"^(not ok|ok) \d+ (\S+)", done.stdout, re.M)
        for result, name in cases:
            with self.subTest(name):
                self.assertEqual(result, "ok")
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-3000:])
        self.assertRegex(done.stdout, rf"(?m)^1\.\.{len(cases)}$")

    def test_containers_are_opened_resized_and_closed(self):
        self.run_cases("storage-luks")

    def test_volumes_are_made_used_changed_and_removed(self):
        self.run_cases("storage-dm_crypt")

    def test_volumes_are_open_for_as_long_as_somebody_uses_them(self):
        self.run_cases("storage-service")


if __name__ == "__main__":
    taptest.main()
