#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""guest-migrate between two hosts with real libvirtd, QEMU and ssh: a guest's keys go where it goes.
Whatever is killed at whatever step, the guest runs on one side at most, the keys are where it is, and
guest-migrate, run again, ends with both on the other side alone."""

import json
import signal
import subprocess
import time
import unittest

import guests
import host
import taptest
import twohosts
import virtcrypt
import volumes

_NAME = "guest"
_RECORDS = "/etc/libvirt/virtcrypt/guests"
_VOLUME = f"{volumes.RECORDS}/{volumes.POOL}/disk.xml"


class Migrate(unittest.TestCase):
    """One guest, which is on self.here before each test, and there after it. What was here becomes
    there for the next one."""

    @classmethod
    def setUpClass(cls):
        cls.hosts = twohosts.TwoHosts()
        cls.addClassCleanup(cls.hosts.close)
        cls.hosts.start_daemons()
        for machine in cls.hosts.both:
            cls.wait_until_watched(machine)
        one = cls.here = cls.hosts.one
        cls.there = cls.hosts.two
        for machine in cls.hosts.both:
            volumes.define_pool(machine, target=twohosts.SHARED)
        one.write("/run/volume.xml", volumes.volume_xml("disk", "qcow2"))
        one.virsh("vol-create", volumes.POOL, "/run/volume.xml").check()
        cls.secret = volumes.secret_of(
            one.virsh("vol-dumpxml", "disk", volumes.POOL).check().stdout)
        cls.key = volumes.key_of(one, cls.secret)
        one.write("/run/guest.xml", guests.domain_xml(
            _NAME, [("vda", f"{twohosts.SHARED}/disk", "qcow2", cls.secret)]))
        one.virsh("define", "/run/guest.xml").check()
        cls.uuid = one.virsh("domuuid", _NAME).check().stdout.strip()
        host.wait_for(lambda: cls.has_key(cls, one), "the key belongs to the guest")
        one.virsh("start", _NAME).check()

    # ---- what is where ----

    def has_key(self, machine):
        return machine.exists(f"/etc/libvirt/qemu/keys/{self.uuid}/{self.secret}.key")

    def record(self, machine):
        """What virtcryptd wrote of the guest, or nothing."""
        try:
            return machine.read(f"{_RECORDS}/{self.uuid}.xml").decode()
        except FileNotFoundError:
            return ""

    def is_process(self, machine):
        """Whether libvirtd has a QEMU of it."""
        return machine.exists(f"/run/libvirt/qemu/{_NAME}.pid")

    @staticmethod
    def state(machine):
        done = machine.virsh("domstate", _NAME)
        return done.stdout.strip() if done.returncode == 0 else None

    def assert_never_twice(self):
        states = [self.state(machine) for machine in self.hosts.both]
        self.assertLessEqual(states.count("running"), 1, states)
        for machine, state in zip(self.hosts.both, states):
            if state:
                self.assertTrue(self.has_key(machine), f"{machine.name} is {state} without its key")

    def assert_moved(self):
        """The guest and its key are there, and nothing of them is here."""
        self.assertEqual(self.state(self.there), "running")
        self.assertIsNone(self.state(self.here))
        self.assertTrue(self.has_key(self.there))
        # By whom the guest left, or, if that was killed, some time later.
        host.wait_for(lambda: not self.has_key(self.here), "the key is erased where the guest left")
        host.wait_for(lambda: not self.here.exists(f"/etc/libvirt/secrets/{self.secret}.xml"),
                      "its secret goes with it")
        self.assertTrue(self.there.exists(_VOLUME), "the volume's record goes with its key")
        host.wait_for(lambda: not self.here.exists(_VOLUME), "the volume's record is gone here")
        keys = json.loads(self.there.run([virtcrypt.PROGRAM, "key-list", "--guest", _NAME,
                                          "--json"]).check().stdout)
        self.assertEqual([(key["secret"], key["state"]) for key in keys], [(self.secret, "bound")])
        type(self).here, type(self).there = self.there, self.here

    # ---- the program ----

    @property
    def command(self):
        return [virtcrypt.PROGRAM, "guest-migrate", _NAME, self.there.libvirt_uri, "--unsafe"]

    def migrate(self):
        return self.here.run(self.command)

    def migrate_until(self, condition, what, *options):
        """Begins a migration, and returns it stopped as soon as the condition holds."""
        process = self.here.popen([*self.command, *options], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + host.RUN_BOUND_S
        while not condition():
            if process.poll() is not None and not condition():
                self.fail(f"guest-migrate ended before: {what}: {process.communicate()}")
            self.assertLess(time.monotonic(), deadline, what)
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        return process

    def let_end(self, process):
        process.send_signal(signal.SIGCONT)
        text = "".join(process.communicate(timeout=host.RUN_BOUND_S))
        return process.returncode, text

    def finish(self):
        """Run once more, as a person would."""
        self.assert_never_twice()
        if not (self.state(self.here) is None and self.state(self.there) == "running"
                and not self.has_key(self.here)):
            self.migrate().check()
        self.assert_moved()

    # Steps, by what can be seen of them.

    def has_left(self):
        return "leaving" in self.record(self.here).lower()

    def has_arrived(self):
        return self.has_key(self.there)

    def has_begun_there(self):
        return self.is_process(self.there)

    def is_prepared_there(self):
        try:
            return b"phase='prepare'" in self.there.read(f"/run/libvirt/qemu/{_NAME}.xml")
        except FileNotFoundError:
            return False

    def has_ended_here(self):
        return not self.is_process(self.here)

    STEPS = (("the record says that it leaves", has_left), ("the keys are there", has_arrived),
             ("its QEMU starts there", has_begun_there), ("its QEMU has ended here", has_ended_here))

    # QEMU needs seconds to send the guest's memory then.
    SLOWLY = ("--bandwidth", "1")

    # ---- cases ----

    def test_1_the_guest_and_its_key_move_and_come_back(self):
        for _ in self.hosts.both:
            done = self.migrate()
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("1 keys erased here", done.stdout)
            audit = json.loads(self.here.run([virtcrypt.PROGRAM, "audit", "--verify", "--json"])
                               .check().stdout)
            self.assertEqual((audit[-1]["event"], audit[-1]["secret"]), ("erase", self.secret))
            self.assert_moved()
        self.here.virsh("destroy", _NAME).check()
        self.here.virsh("start", _NAME).check()

    def test_2_what_libvirt_refuses_leaves_the_key_here_alone(self):
        done = self.here.run(self.command[:-1])
        self.assertEqual(done.returncode, 1)
        self.assertIn("Failed to migrate domain", done.stderr)
        self.assertIn("nsafe", done.stderr)
        self.assertEqual((self.state(self.here), self.state(self.there)), ("running", None))
        self.assertTrue(self.has_key(self.here))
        self.assertFalse(self.has_key(self.there))
        self.assertNotIn(self.secret, self.there.virsh("secret-list").check().stdout)

    def test_3_no_process_shows_the_key(self):
        seen = set()
        process = self.here.popen(self.command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            for machine in self.hosts.both:
                for pid in machine.processes():
                    try:
                        with open(f"/proc/{pid}/cmdline", "rb") as file:
                            seen.add(file.read())
                    except OSError:
                        pass
        self.assertEqual(process.returncode, 0)
        self.assertFalse([line for line in seen if self.key in line])
        self.assertTrue([line for line in seen if b"ssh\0" in line])
        self.assert_moved()

    def test_4_the_program_is_killed(self):
        for what, condition in self.STEPS:
            with self.subTest(what):
                # Killed where it is said, however late that is seen.
                options = () if condition is Migrate.has_ended_here else self.SLOWLY
                process = self.migrate_until(lambda: condition(self), what, *options)
                process.kill()
                process.wait()
                self.finish()

    def test_5_virtcryptd_is_killed_on_either_side(self):
        for what, condition in self.STEPS[1:]:
            for side in ("here", "there"):
                with self.subTest(what, side=side):
                    machine = getattr(self, side)
                    process = self.migrate_until(lambda: condition(self), what)
                    self.restart(machine, "virtcryptd", machine.start_virtcryptd)
                    self.let_end(process)
                    self.finish()

    def test_6_libvirtd_is_killed_here(self):
        process = self.migrate_until(self.is_prepared_there, "libvirtd there waits for the guest",
                                     *self.SLOWLY)
        self.daemon(self.here, "libvirtd").kill()
        status, text = self.let_end(process)
        self.assertEqual(status, 1, text)
        self.assertIn("Failed to migrate domain", text)
        self.here.start_libvirtd(connector=True)
        self.wait_until_watched(self.here)
        # Nobody will send it any more: libvirtd there ends what it began.
        host.wait_for(lambda: self.state(self.there) in (None, "running"),
                      "libvirt ends what arrived in part")
        self.finish()

    @staticmethod
    def daemon(machine, name):
        return [daemon for daemon in machine.daemons if daemon.name == name][-1]

    def restart(self, machine, name, start):
        self.daemon(machine, name).kill()
        start()
        self.wait_until_watched(machine)

    @staticmethod
    def wait_until_watched(machine):
        def is_watched():
            done = machine.run([virtcrypt.PROGRAM, "host-status", "--json"])
            return done.returncode == 0 and json.loads(done.stdout)["virtcryptd"]["guests"]["connected"]
        host.wait_for(is_watched, "virtcryptd watches libvirt")


if __name__ == "__main__":
    taptest.main()
