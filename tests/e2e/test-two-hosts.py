#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two private hosts (tests/lib/twohosts.py): stock virsh migrates a guest with an encrypted disk whose
secret was made on both by hand, and virtcrypt reaches the other host."""

import os
import unittest

import guest
import host
import taptest
import twohosts

_SECRET = "5ec4e700-0000-4000-8000-000000000077"
_PASSPHRASE = b"one passphrase on both hosts"
_DISK = f"{twohosts.SHARED}/disk"
_CONSOLE = f"{twohosts.SHARED}/console"
_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")


class TwoHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = twohosts.TwoHosts()
        cls.addClassCleanup(cls.hosts.close)
        cls.hosts.start_daemons()
        for machine in cls.hosts.both:
            machine.write("/run/secret.xml", f"<secret private='yes'><uuid>{_SECRET}</uuid></secret>")
            machine.virsh("secret-define", "/run/secret.xml").check()
            machine.write("/run/value", _PASSPHRASE)
            machine.virsh("secret-set-value", _SECRET, "--file", "/run/value", "--plain").check()
        guest.make_luks(cls.hosts.one, _DISK, _PASSPHRASE, guest.disk("moved"))
        # The destination's QEMU would empty the file of the console.
        cls.hosts.one.write("/run/guest.xml", guest.domain_xml(
            "guest", _DISK, "raw", _SECRET, _CONSOLE).replace(
                f"<source path='{_CONSOLE}'/>", f"<source path='{_CONSOLE}' append='on'/>"))

    def test_a_guest_moves_and_is_defined_where_it_runs(self):
        one, two = self.hosts.both
        one.virsh("define", "/run/guest.xml").check()
        one.virsh("start", "guest").check()
        one.virsh("migrate", "--live", "--persistent", "--undefinesource", "--unsafe", "guest",
                  two.libvirt_uri).check()
        self.assertEqual(one.virsh("list", "--all", "--name").check().stdout.split(), [])
        self.assertEqual(two.virsh("list", "--name").check().stdout.split(), ["guest"])
        self.assertEqual(two.virsh("list", "--all", "--name", "--persistent").check().stdout.split(),
                         ["guest"])
        host.wait_for(lambda: b"moved (boot 1)" in one.read(_CONSOLE),
                      "the guest printed what is on its disk")

    def test_virtcrypt_reaches_the_other_host_by_ssh(self):
        for here, there in (self.hosts.both, self.hosts.both[::-1]):
            done = here.run([_VIRTCRYPT, "-c", f"secret+ssh://root@{there.name}/system",
                             "secret-list"]).check()
            self.assertIn(_SECRET, done.stdout)
            done = here.run([_VIRTCRYPT, "-c", f"storage+ssh://root@{there.name}/system",
                             "vol-list"]).check()
            self.assertIn("Pool", done.stdout)

    def test_the_hosts_differ(self):
        names = [machine.run(["hostname"]).check().stdout.strip() for machine in self.hosts.both]
        self.assertEqual(names, ["one", "two"])
        uuids = {machine.virsh("capabilities").check().stdout.split("<uuid>")[1].split("<")[0]
                 for machine in self.hosts.both}
        self.assertEqual(len(uuids), 2)


if __name__ == "__main__":
    taptest.main()
