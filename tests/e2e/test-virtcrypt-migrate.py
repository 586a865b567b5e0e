#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""guest-migrate as a program: SIGINT, what is shown, options. What is left when something is killed
is tested by test-guest-migrate.py."""

import os
import pty
import re
import signal
import subprocess
import time
import unittest

import guest
import guests
import host
import taptest
import twohosts
import virtcrypt

_KEY = "a key that goes with its guest"
_NAME = "guest"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Migrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = twohosts.TwoHosts()
        cls.addClassCleanup(cls.hosts.close)
        cls.hosts.start_daemons()
        one = cls.hosts.one
        disk = f"{twohosts.SHARED}/disk"
        guest.make_luks(one, disk, _KEY.encode(), guest.disk("moved"))
        one.write("/run/guest.xml", guests.domain_xml(_NAME, [("vda", disk, "raw", None)]))
        host.wait_for(lambda: "libvirt is watched" in cls.told(one, "host-status") and
                      "libvirt is watched" in cls.told(cls.hosts.two, "host-status"),
                      "both libvirts are watched")
        told = one.run([virtcrypt.PROGRAM, "guest-define", "/run/guest.xml", "--key", "vda=-"],
                       input=_KEY).check().stdout
        cls.secret = _UUID.search(told).group(0)
        cls.uuid = one.virsh("domuuid", _NAME).check().stdout.strip()

    def setUp(self):
        self.here, self.there = self.hosts.both if self.state(self.hosts.one) else \
            self.hosts.both[::-1]
        self.command = [virtcrypt.PROGRAM, "guest-migrate", _NAME, self.there.libvirt_uri, "--unsafe"]

    @staticmethod
    def told(machine, line):
        return machine.run([virtcrypt.PROGRAM, *line.split()]).stdout

    @staticmethod
    def state(machine):
        done = machine.virsh("domstate", _NAME)
        return done.stdout.strip() if done.returncode == 0 else None

    def has_key(self, machine):
        return machine.exists(f"/etc/libvirt/qemu/keys/{self.uuid}/{self.secret}.key")

    def start(self):
        self.here.virsh("start", _NAME).check()
        self.addCleanup(lambda: [machine.virsh("destroy", _NAME) for machine in self.hosts.both])

    def assert_stayed(self, state):
        self.assertEqual((self.state(self.here), self.state(self.there)), (state, None))
        self.assertEqual((self.has_key(self.here), self.has_key(self.there)), (True, False))

    def assert_moved(self, state):
        self.assertEqual((self.state(self.here), self.state(self.there)), (None, state))
        host.wait_for(lambda: not self.has_key(self.here), "the key is erased where the guest left")
        self.assertTrue(self.has_key(self.there))

    def test_an_interrupt_ends_the_migration_and_leaves_all_where_it_was(self):
        self.start()
        process = self.here.popen([*self.command, "--bandwidth", "1"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        host.wait_for(lambda: self.there.exists(f"/run/libvirt/qemu/{_NAME}.pid"), "it has begun",
                      interval=0.01)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=host.RUN_BOUND_S)[1]
        self.assertEqual(process.returncode, 1, errors)
        self.assertIn(f"error: Failed to migrate domain '{_NAME}'\nerror: operation aborted", errors)
        self.assert_stayed("running")

    def test_a_terminal_shows_how_far_it_is(self):
        self.start()
        ours, its = pty.openpty()
        process = self.here.popen([*self.command, "--live", "--persistent", "--undefinesource",
                                   "--bandwidth", "4"], stdin=its, stdout=its, stderr=its)
        os.close(its)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the terminal has no other end any more
                break
            if not part:
                break
            shown += part
        os.close(ours)
        self.assertEqual(process.wait(host.RUN_BOUND_S), 0, shown)
        self.assertIn("\rMigration: [100 %]\r\n"
                      f"Domain '{_NAME}' migrated to {self.there.libvirt_uri}: 1 keys erased here, "
                      "0 held as orphaned\r\n", shown.decode())
        self.assert_moved("running")

    def test_a_guest_that_is_shut_off_needs_offline(self):
        done = self.here.run(self.command)
        self.assertEqual((done.returncode, done.stderr),
                         (1, f"error: Domain '{_NAME}' is not running: use --offline to migrate its "
                          "definition\n"))
        self.assert_stayed("shut off")
        self.here.run([*self.command, "--offline"]).check()
        self.assert_moved("shut off")

    def test_mistakes_are_said_before_keys_are_sent(self):
        for options, text in ((["--bandwidth", "x"], "Numeric value 'x' for <bandwidth> option"),
                              (["--timeout", "0"], "Numeric value '0' for <timeout> option"),
                              (["--keyuri", "storage+tls://x/system"], "failed to connect")):
            done = self.here.run([*self.command, "--offline", *options])
            self.assertEqual(done.returncode, 1)
            self.assertIn(text, done.stderr)
            self.assert_stayed("shut off")

    def test_another_host_can_not_be_told_to_migrate(self):
        done = self.here.run([virtcrypt.PROGRAM, "-c", f"storage+ssh://root@{self.there.name}/system",
                              *self.command[1:]])
        self.assertEqual(done.returncode, 1)
        self.assertIn("guest-migrate runs on the host that the guest leaves", done.stderr)


if __name__ == "__main__":
    taptest.main()
