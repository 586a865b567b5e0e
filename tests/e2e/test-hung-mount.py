#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Key files on a network mount whose server is dead: the reading of one never ends. The daemon starts,
serves its clients, unlocks by what there is, and ends, all in a bounded time; and nothing is lost."""

import json
import os
import signal
import time
import unittest

import host
import hungmount
import mastercalls as master
import taptest
import wire

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_RECOVER = os.path.join(host.BUILD_ROOT, "tools/virtcrypt-recover")
_UUID = "11111111-1111-4111-8111-111111111111"
_OWN = "/etc/libvirt/virtcrypt"
_LOCAL = "/var/lib/libvirt/virtcrypt/local.key"
_MOUNT = "/run/net"
_NET = f"{_MOUNT}/net.key"
_HUNG = f"the key file {_NET} has not answered"
# A try that hangs takes so long; one that does not has to end in it, however busy the machine.
_TIMEOUT_S = 5
# How long a start waits for all of them.
_START_S = 45
# What answers "at once" does so within this, however slow the machine: who waited for a try that
# hangs would take longer.
_SOON_S = (_TIMEOUT_S - 1) * host.PATIENCE


@unittest.skipUnless(os.path.exists("/dev/fuse"), "the kernel has no FUSE")
class Case(unittest.TestCase):
    maxDiff = None
    direct = False

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.mount = hungmount.HungMount(self.machine, _MOUNT, self.direct)
        self.addCleanup(self.mount.close)
        self.daemon = self.start()
        self.machine.write("/run/t/secret.xml", f"<secret><uuid>{_UUID}</uuid></secret>")
        self.machine.write("/run/t/value", "sealed")
        self.told("secret-define /run/t/secret.xml")
        self.told(f"secret-set-value {_UUID} --file /run/t/value --plain")

    def start(self, timeout=_TIMEOUT_S):
        return self.machine.start_secretd(
            f'sandbox_paths = [ "{_MOUNT}" ]\nunlock_timeout = {timeout}\n')

    def restart(self, timeout=_TIMEOUT_S):
        """How long it took to answer."""
        self.daemon.stop_in_order()
        began = time.monotonic()
        self.daemon = self.start(timeout)
        return time.monotonic() - began

    def ours(self, line, **options):
        return self.machine.run([_VIRTCRYPT, *line.split()], **options)

    def told(self, line, **options):
        done = self.ours(line, **options)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout

    def status(self):
        return json.loads(self.told("master status --json"))

    def slots(self):
        return {slot["label"]: slot for slot in self.status()["slots"]}

    def value(self):
        return self.ours(f"-q secret-get-value {_UUID} --plain").stdout

    def connect(self):
        client = wire.Connection(self.machine.path(host.SECRETD_SOCKET))
        self.addCleanup(client.close)
        return client.open()

    def use_slots(self, *labels):
        """These alone, in that order: "net" is a key file on the mount, made by virtcrypt, and so are
        those that begin with it; "local" another file, "person" a passphrase."""
        first, = self.status()["slots"]
        for label in labels:
            if label == "person":
                self.told("master add-slot passphrase --label person --passphrase-fd 0",
                          input="a good passphrase\n")
            else:
                path = _LOCAL if label == "local" else f"{_MOUNT}/{label}.key"
                self.told(f"master add-slot key-file --path {path} --label {label}")
        self.told(f"master remove-slot {first['uuid']}", input="a good passphrase\n")

    def assert_answered_at_once(self, client, seconds):
        """For so long, all calls are."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            self.assertEqual(client.call(wire.NUM_OF_SECRETS).reader().int32(), 1)
            self.assertLess(time.monotonic() - began, _SOON_S)
            time.sleep(0.02)

    def unlock(self, passphrase):
        return self.ours("master unlock --passphrase-fd 0", input=passphrase + "\n")

    def wait_unlocked(self):
        host.wait_for(lambda: not self.status()["locked"], "the master key")
        self.assertEqual(self.value(), "sealed")


class Direct(Case):
    direct = True

    def test_a_key_file_that_is_read_without_the_page_cache_unlocks(self):
        self.mount.put("net.key", os.urandom(32))
        self.use_slots("net")
        self.restart()
        self.assertEqual(self.value(), "sealed")


class Start(Case):
    def test_the_next_slot_unlocks_after_the_time_of_one(self):
        self.use_slots("net", "local")
        self.mount.die()
        took = self.restart()
        self.assertGreater(took, _TIMEOUT_S)
        self.assertLess(took, (_START_S - 10) * host.PATIENCE)
        self.assertEqual(self.value(), "sealed")
        slots = self.slots()
        self.assertIn(_HUNG, slots["net"]["problem"])
        self.assertIn("see to its server", slots["net"]["problem"])
        self.assertTrue(slots["local"]["opened"])
        self.assertIn(_HUNG, self.daemon.log_text())

    def test_slots_after_the_one_that_unlocks_do_not_matter(self):
        self.use_slots("local", "net")
        self.mount.die()
        self.assertLess(self.restart(timeout=60), (_START_S - 10) * host.PATIENCE)
        client = self.connect()
        self.assert_answered_at_once(client, 1)
        self.assertEqual(self.value(), "sealed")
        self.told("master add-slot passphrase --label person --passphrase-fd 0",
                  input="a good passphrase\n")

    def test_slots_that_hang_leave_the_daemon_locked_until_one_answers(self):
        self.use_slots("net", "net2", "person")
        self.mount.die()
        took = self.restart(timeout=100)
        self.assertGreater(took, _START_S - 1)
        self.assertLess(took, (_START_S + 20) * host.PATIENCE)
        self.assert_answered_at_once(self.connect(), 1)
        status = self.status()
        self.assertIn("are still being tried", status["locked-reason"])
        self.assertIn("virtcrypt master unlock", status["locked-reason"])
        self.assertEqual([slot["label"] for slot in status["slots"]], ["net", "net2", "person"])
        self.assertIn(_UUID, self.told("secret-list"))
        self.assertIn("are still being tried", self.ours(
            f"secret-get-value {_UUID} --plain").stderr)
        # What breaks the trying off, and does not unlock, is not the end of it.
        self.assertEqual(self.unlock("a wrong one").returncode, 1)
        self.mount.answer()
        self.wait_unlocked()

    def test_a_folder_that_does_not_answer_is_left_out_of_the_sandbox(self):
        self.daemon.stop_in_order()
        self.mount.die()
        began = time.monotonic()
        self.daemon = self.machine.start_secretd(f'sandbox_paths = [ "{_MOUNT}/folder" ]\n')
        self.assertLess(time.monotonic() - began, 30 * host.PATIENCE)
        self.assertIn(f"is kept from {_MOUNT}/folder, which does not answer",
                      self.daemon.log_text())
        self.assertEqual(self.value(), "sealed")


class Running(Case):
    def test_a_reload_of_a_locked_daemon_keeps_nobody_waiting(self):
        self.use_slots("net")
        self.told("master lock")
        self.mount.die()
        client = self.connect()
        self.daemon.send(signal.SIGHUP)
        self.assert_answered_at_once(client, _TIMEOUT_S + 1)
        host.wait_for(lambda: _HUNG in self.status()["locked-reason"], "the reason")
        self.mount.answer()
        # The reading that was left behind may take a while yet to see the answer.
        host.wait_for(lambda: self.ours("master unlock").returncode == 0, "the key file")
        self.assertEqual(self.value(), "sealed")

    def test_a_reload_unlocks_when_the_mount_answers(self):
        self.use_slots("net")
        self.told("master lock")
        self.mount.die()
        client = self.connect()
        self.daemon.send(signal.SIGHUP)
        self.assert_answered_at_once(client, 1)
        self.mount.answer()
        self.wait_unlocked()

    def test_a_passphrase_does_not_wait_for_slots_that_hang(self):
        self.use_slots("net", "person")
        self.restart(timeout=100)
        self.told("master lock")
        self.mount.die()
        self.daemon.send(signal.SIGHUP)
        self.assert_answered_at_once(self.connect(), 0.5)
        began = time.monotonic()
        self.assertEqual(self.unlock("a wrong one").returncode, 1)
        self.assertEqual(self.unlock("a good passphrase").returncode, 0)
        self.assertLess(time.monotonic() - began, 60 * host.PATIENCE)
        self.assertEqual(self.value(), "sealed")

    def test_a_reload_keeps_nobody_waiting_for_the_slot_that_opened(self):
        self.use_slots("net")
        self.restart()
        self.mount.die()
        client = self.connect()
        self.daemon.send(signal.SIGHUP)
        self.assert_answered_at_once(client, _TIMEOUT_S + 1)
        host.wait_for(lambda: _HUNG in (self.slots()["net"]["problem"] or ""), "the problem")
        self.assertIn("goes on with the master key that it has in memory", self.daemon.log_text())
        self.assertEqual(self.value(), "sealed")

    def test_a_slot_that_hangs_can_be_removed(self):
        self.use_slots("net", "local")
        self.mount.die()
        self.told(f"master remove-slot {self.slots()['net']['uuid']}")
        self.assertEqual(list(self.slots()), ["local"])
        self.assertIn("what it has elsewhere is left", self.daemon.log_text())
        self.restart()
        self.assertEqual(self.value(), "sealed")

    def test_the_last_slot_is_not_removed_for_one_that_hangs(self):
        self.use_slots("net", "local")
        self.mount.die()
        done = self.ours(f"master remove-slot {self.slots()['local']['uuid']}")
        self.assertEqual(done.returncode, 1)
        self.assertIn(_HUNG, done.stderr)
        self.assertEqual(list(self.slots()), ["net", "local"])

    def test_a_rotation_that_hangs_changes_nothing(self):
        self.use_slots("net", "local")
        before = self.status()["key-id"]
        key = self.mount.get("net.key")
        self.assertEqual(len(key), 32)
        self.mount.die()
        done = self.ours("master rotate")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing was changed", done.stderr)
        self.assertIn(_HUNG, done.stderr)
        self.assertIn("--remove-slot", done.stderr)
        self.mount.answer()
        self.assertEqual(self.mount.get("net.key"), key)
        self.assertIsNone(self.mount.get("net.key.next"))
        self.assertEqual(self.status()["key-id"], before)
        self.restart()
        self.assertTrue(self.slots()["net"]["opened"])
        self.told("master rotate")
        self.assertNotEqual(self.mount.get("net.key"), key)
        self.restart()
        self.assertTrue(self.slots()["net"]["opened"])
        self.assertEqual(self.value(), "sealed")


class End(Case):
    def test_the_daemon_ends_while_it_waits(self):
        self.use_slots("net")
        self.told("master lock")
        self.mount.die()
        self.daemon.send(signal.SIGHUP)
        time.sleep(0.5)
        began = time.monotonic()
        self.daemon.stop_in_order()
        self.assertLess(time.monotonic() - began, 20 * host.PATIENCE)

    def test_the_daemon_ends_while_it_starts(self):
        self.use_slots("net")
        self.daemon.stop_in_order()
        self.mount.die()
        self.machine.write("/etc/libvirt/virtcrypt-secretd.conf",
                           f'sandbox_paths = [ "{_MOUNT}" ]\nunlock_timeout = 100\n')
        daemon = self.machine.start("virtcrypt-secretd", [os.path.join(
            host.BUILD_ROOT, "src/secret/virtcrypt-secretd")])
        # It takes signals from then on.
        host.wait_for(lambda: self.machine.exists("/run/libvirt/virtcrypt-secretd.pid"), "a start")
        time.sleep(1)
        began = time.monotonic()
        daemon.stop_in_order()
        self.assertLess(time.monotonic() - began, 25 * host.PATIENCE)

    def test_one_that_even_sigkill_does_not_end_keeps_nothing_from_the_next(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number):
                if len(self.status()["slots"]) == 1:
                    self.use_slots("net", "local")
                self.mount.die(unkillable=True)
                ending = self.daemon
                ending.send(signal.SIGHUP)
                self.ours(f"master test-slot {self.slots()['net']['uuid']}")
                ending.send(number)
                time.sleep(2 * host.PATIENCE)
                self.assertTrue(ending.is_running, "what the test is about")
                self.daemon = self.start()
                self.assertEqual(self.value(), "sealed")
                self.mount.answer()
                ending.wait()


class Offline(Case):
    def test_recovering_goes_on_with_the_next_slot(self):
        self.use_slots("net", "local")
        self.daemon.stop_in_order()
        self.mount.die()
        done = self.machine.run([_RECOVER, "extract", _UUID])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "sealed")


if __name__ == "__main__":
    taptest.main()
