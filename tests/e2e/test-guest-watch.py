#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcryptd watches guests of a real libvirtd, which comes, goes, hangs and comes back: what happened
meanwhile is seen, and nothing is erased for what is not known."""

import json
import os
import re
import signal
import time
import unittest

import libvirt

import host
import taptest
import volumes

KEYS = "/etc/libvirt/qemu/keys"
DEFINITIONS = "/etc/libvirt/qemu"
SECRETS = "/etc/libvirt/secrets"
RECORDS = "/etc/libvirt/virtcrypt/guests"
PROGRAM = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
# Everything that is not used any more is erased at once.
EAGER = 'erase_delay_undefine = 0\nerase_orphans = "after-delay"\n'
LOGGED = 'log_level = 1\nlog_filters = "1:guest. 3:rpc 3:storage"\nlog_outputs = "1:stderr"\n'
BIND_ALL = "bind_referenced_secrets = 1\n"

GUEST = "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory>" \
        "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{disks}</devices></domain>"
DISK = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>" \
       "<source file='{path}'><encryption format='luks'><secret type='passphrase' uuid='{secret}'/>" \
       "</encryption></source><target dev='vd{letter}' bus='virtio'/></disk>"


def guest_uuid(number):
    return f"11111111-2222-4333-8444-{number:012d}"


def secret_uuid(number):
    return f"22222222-2222-4333-8444-{number:012d}"


class Watched(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.machine.start_secretd()

    # ---- the host ----

    def start_libvirtd(self):
        self.libvirtd = self.machine.start_libvirtd(connector=True)
        return self.libvirtd

    def start_virtcryptd(self, config=BIND_ALL):
        self.virtcryptd = self.machine.start_virtcryptd(config)
        return self.virtcryptd

    def connection(self):
        connection = libvirt.open(self.machine.uri())
        self.addCleanup(connection.close)
        return connection

    def make_secret(self, number):
        connection = libvirt.open(self.machine.uri("secret", host.SECRETD_SOCKET))
        try:
            connection.secretDefineXML(
                f"<secret ephemeral='no' private='no'><uuid>{secret_uuid(number)}</uuid></secret>"
            ).setValue(b"a key of 32 bytes for this guest")
        finally:
            connection.close()

    def guest_xml(self, number, secrets):
        disks = "".join(DISK.format(path=f"/var/lib/libvirt/images/{secret}.qcow2", letter=letter,
                                    secret=secret_uuid(secret))
                        for letter, secret in zip("abcdef", secrets))
        return GUEST.format(name=f"g{number}", uuid=guest_uuid(number), disks=disks)

    def define(self, number, *secrets):
        return self.connection().defineXML(self.guest_xml(number, secrets))

    def undefine(self, number):
        self.connection().lookupByUUIDString(guest_uuid(number)).undefine()

    def ours(self, *arguments):
        return self.machine.run([PROGRAM, *arguments])

    # ---- what is there ----

    def owned(self, guest, secret):
        return self.machine.exists(f"{KEYS}/{guest_uuid(guest)}/{secret_uuid(secret)}.key")

    def state(self, guest, secret):
        listed = json.loads(self.ours("key-list", "--guest", guest_uuid(guest), "--json")
                            .check().stdout)
        return next((key["state"] for key in listed if key["secret"] == secret_uuid(secret)), None)

    def wait_until_owned(self, guest, secret):
        host.wait_for(lambda: self.owned(guest, secret), f"guest {guest} owns secret {secret}")
        # It goes when the guest's copy is there.
        host.wait_for(lambda: not self.machine.exists(f"{SECRETS}/{secret_uuid(secret)}.key"),
                      f"the own copy of secret {secret} is gone")

    def wait_until_erased(self, guest, secret):
        host.wait_for(lambda: not self.owned(guest, secret), f"secret {secret} is erased")
        self.assertFalse(self.machine.exists(f"{SECRETS}/{secret_uuid(secret)}.xml"))

    def wait_for_state(self, guest, secret, state):
        host.wait_for(lambda: self.state(guest, secret) == state,
                      f"secret {secret} of guest {guest} is {state}")

    def wait_for_log(self, text, count=1):
        host.wait_for(lambda: self.virtcryptd.log_text().count(text) >= count,
                      f"'{text}' is logged", bound=host.RUN_BOUND_S)

    def assert_nothing_is_erased(self, guest, secret, seconds=2):
        time.sleep(seconds)
        self.assertTrue(self.owned(guest, secret))

    def have_owner(self, config=BIND_ALL):
        """A guest that owns a key."""
        self.start_libvirtd()
        self.start_virtcryptd(config)
        self.make_secret(1)
        self.define(1, 1)
        self.wait_until_owned(1, 1)

    # ---- libvirt comes and goes ----

    def test_virtcryptd_works_before_libvirtd_is_there(self):
        self.start_virtcryptd(LOGGED + BIND_ALL)
        self.machine.write_pool(volumes.POOL, volumes.TARGET)
        self.machine.write("/run/v.xml", volumes.volume_xml("a.qcow2", "qcow2"))
        self.ours("vol-create", volumes.POOL, "/run/v.xml").check()
        self.assertIn("libvirt can't be asked", self.ours("key-bind", secret_uuid(1), guest_uuid(1)
                                                          ).stderr)
        time.sleep(4)  # some more tries to connect
        self.assertEqual(self.virtcryptd.log_text().count("guests are not watched"), 1)
        self.make_secret(1)
        self.start_libvirtd()
        self.define(1, 1)
        self.wait_until_owned(1, 1)
        self.assertIn("guests are watched", self.virtcryptd.log_text())
        self.virtcryptd.stop_in_order()

    def test_what_happened_while_libvirtd_was_down_is_seen_when_it_is_back(self):
        self.have_owner()
        self.libvirtd.stop()
        os.unlink(self.machine.path(f"{DEFINITIONS}/g1.xml"))
        self.make_secret(2)
        self.machine.write(f"{DEFINITIONS}/g2.xml", self.guest_xml(2, [2]))
        self.assert_nothing_is_erased(1, 1)
        self.start_libvirtd()
        self.wait_until_owned(2, 2)
        self.wait_for_state(1, 1, "waiting")

    def test_nothing_is_erased_while_libvirtd_is_away(self):
        self.have_owner(EAGER + BIND_ALL + LOGGED + "reconcile_interval = 10\n")
        self.libvirtd.kill()
        os.unlink(self.machine.path(f"{DEFINITIONS}/g1.xml"))
        self.wait_for_log("the connection to libvirt was lost")
        self.assertIn("libvirt can't be asked", self.ours("key-erase", secret_uuid(1)).stderr)
        self.assert_nothing_is_erased(1, 1)
        self.virtcryptd.stop_in_order()
        self.start_virtcryptd(EAGER + BIND_ALL)
        self.assert_nothing_is_erased(1, 1)
        self.start_libvirtd()
        self.wait_until_erased(1, 1)
        # Records come after what is done.
        host.wait_for(lambda: not self.machine.exists(f"{RECORDS}/{guest_uuid(1)}.xml"),
                      "the record is gone")

    def test_a_definition_that_libvirtd_did_not_load_keeps_the_keys(self):
        self.have_owner(EAGER + BIND_ALL)
        self.libvirtd.stop()
        definition = self.machine.path(f"{DEFINITIONS}/g1.xml")
        with open(definition, "a", encoding="ascii") as file:
            file.write("</broken>")
        self.start_libvirtd()
        self.assertNotIn(guest_uuid(1), self.machine.virsh("list", "--all", "--uuid").stdout)
        self.ours("guest-list").check()
        self.assert_nothing_is_erased(1, 1)
        # It is some time until virtcryptd has its connection again.
        host.wait_for(lambda: "did not load" in self.ours("key-erase", secret_uuid(1)).stderr,
                      "the reason", interval=0.2)
        self.assertTrue(self.owned(1, 1))
        os.unlink(definition)
        self.libvirtd.stop()
        self.start_libvirtd()
        self.wait_until_erased(1, 1)

    def test_a_libvirtd_that_hangs_holds_nobody_up(self):
        self.have_owner(EAGER + BIND_ALL + LOGGED)
        self.machine.write_pool("other", "/var/lib/libvirt/images/other")
        self.libvirtd.send(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            self.ours("vol-list", "other").check()
            self.ours("daemon-status").check()
            self.assertLess(time.monotonic() - begin, 10 * host.PATIENCE)
            done = self.ours("key-bind", secret_uuid(1), guest_uuid(1))
            self.assertEqual(done.returncode, 1)
            self.assertLess(time.monotonic() - begin, 50 * host.PATIENCE)
            self.wait_for_log("the connection to libvirt was lost")
            self.assert_nothing_is_erased(1, 1)
        finally:
            self.libvirtd.send(signal.SIGCONT)
        self.wait_for_log("libvirt answers")
        self.undefine(1)
        self.wait_until_erased(1, 1)

    def test_virtcryptd_ends_in_time_while_libvirtd_hangs(self):
        self.have_owner()
        self.libvirtd.send(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            self.virtcryptd.stop_in_order()
            self.assertLess(time.monotonic() - begin, 20 * host.PATIENCE)
        finally:
            self.libvirtd.send(signal.SIGCONT)

    # ---- we come and go ----

    def test_what_happened_while_virtcryptd_was_down_is_seen_at_its_start(self):
        self.have_owner()
        self.virtcryptd.stop_in_order()
        self.undefine(1)
        self.make_secret(2)
        self.define(2, 2)
        self.assert_nothing_is_erased(1, 1, seconds=0.5)
        self.start_virtcryptd()
        self.wait_until_owned(2, 2)
        self.wait_for_state(1, 1, "waiting")
        self.connection().defineXML(self.guest_xml(1, [1]))
        self.wait_for_state(1, 1, "bound")

    def test_a_deadline_outlives_a_restart(self):
        config = BIND_ALL + 'erase_delay_undefine = 6\nerase_orphans = "after-delay"\n'
        self.have_owner(config)
        begin = time.monotonic()
        self.undefine(1)
        # By its record: a command to ask may take longer than the deadline.
        host.wait_for(self.has_deadline, "the key waits for its erasure")
        self.virtcryptd.kill()
        self.start_virtcryptd(config)
        self.wait_until_erased(1, 1)
        self.assertGreater(time.monotonic() - begin, 4)

    def has_deadline(self):
        """The record says so of the key of guest 1, or that is past."""
        try:
            return b"waiting" in self.machine.read(f"{RECORDS}/{guest_uuid(1)}.xml")
        except FileNotFoundError:
            return not self.owned(1, 1)

    def test_what_was_bound_without_its_record_is_found_again(self):
        self.have_owner()
        self.virtcryptd.stop_in_order()
        os.unlink(self.machine.path(f"{RECORDS}/{guest_uuid(1)}.xml"))
        self.start_virtcryptd("")
        self.wait_for_state(1, 1, "bound")
        host.wait_for(lambda: self.machine.exists(f"{RECORDS}/{guest_uuid(1)}.xml"), "a record")

    # ---- events ----

    def test_events_of_a_moment_are_one_look(self):
        self.start_libvirtd()
        for number in range(1, 31):
            self.make_secret(number)
        self.start_virtcryptd(LOGGED + BIND_ALL)
        self.wait_for_log("looked at all guests")
        connection = self.connection()
        # It sees them in a moment, however long libvirtd takes for them.
        self.virtcryptd.send(signal.SIGSTOP)
        try:
            for number in range(1, 31):
                connection.defineXML(self.guest_xml(number, [number]))
        finally:
            self.virtcryptd.send(signal.SIGCONT)
        for number in range(1, 31):
            self.wait_until_owned(number, number)
        self.assertLess(self.virtcryptd.log_text().count("looking at"), 20)

    def test_a_value_that_comes_later_is_bound_at_the_next_look(self):
        self.start_libvirtd()
        self.start_virtcryptd(LOGGED + BIND_ALL + "reconcile_interval = 10\n")
        # What is defined earlier is no event.
        self.wait_for_log("looked at all guests")
        self.define(1, 1)
        self.wait_for_log("looking at 1 guests")
        self.make_secret(1)
        self.wait_until_owned(1, 1)

    def test_a_new_volume_of_a_guest_is_no_event_of_libvirt_and_is_seen(self):
        """The guest is there first, then the volume with its key."""
        self.start_libvirtd()
        self.start_virtcryptd("")
        volumes.define_pool(self.machine)
        path = f"{volumes.TARGET}/late.qcow2"
        disk = DISK.format(path=path, letter="a", secret=secret_uuid(7))
        disk = disk[:disk.index("<encryption")] + disk[disk.index("</encryption>") + 13:]
        self.connection().defineXML(GUEST.format(name="g1", uuid=guest_uuid(1), disks=disk))
        self.machine.write("/run/v.xml", volumes.volume_xml("late.qcow2", "qcow2"))
        self.ours("vol-create", volumes.POOL, "/run/v.xml").check()
        host.wait_for(lambda: self.machine.exists(f"{KEYS}/{guest_uuid(1)}"), "the guest owns it")

    # ---- many ----

    def test_a_thousand_guests_are_looked_at_within_two_seconds(self):
        count = 1000
        self.start_libvirtd()
        secrets = libvirt.open(self.machine.uri("secret", host.SECRETD_SOCKET))
        connection = self.connection()
        for number in range(2 * count):
            secrets.secretDefineXML(
                "<secret ephemeral='no' private='no'>"
                f"<uuid>{secret_uuid(number)}</uuid></secret>").setValue(b"0123456789abcdef")
        secrets.close()
        for number in range(count):
            connection.defineXML(self.guest_xml(number, [2 * number, 2 * number + 1]))
        self.start_virtcryptd(LOGGED + BIND_ALL)
        self.wait_for_log("looked at all guests")
        for number in (0, 1, 2 * count - 2, 2 * count - 1):
            self.assertTrue(self.owned(number // 2, number))
        self.assertEqual(len(os.listdir(self.machine.path(KEYS))), count)
        self.virtcryptd.stop_in_order()
        before = self.inodes()
        self.start_virtcryptd(LOGGED + BIND_ALL + "reconcile_interval = 5\n")
        # The best of some, and of more where other tests run beside this one.
        self.wait_for_log("looked at all guests", 4)
        host.wait_for(lambda: min(self.looks_ms()[1:]) < 2000 * host.PATIENCE,
                      f"a look within two seconds: {self.looks_ms()} ms")
        self.assertEqual(self.inodes(), before)

    def looks_ms(self):
        return [int(ms) for ms in re.findall(r"looked at all guests for (\d+) ms",
                                             self.virtcryptd.log_text())]

    def inodes(self):
        with os.scandir(self.machine.path(RECORDS)) as entries:
            return {entry.name: entry.inode() for entry in entries}


if __name__ == "__main__":
    taptest.main()
