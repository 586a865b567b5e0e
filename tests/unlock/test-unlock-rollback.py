#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The index of generations, anchored in a real swtpm: a store that is put back from a backup as a
whole is refused until that is accepted; nothing that a crash, a cleared TPM or another slot can leave
is taken for it."""

import os
import shutil
import subprocess
import tempfile
import time
import unittest
import uuid

import devices
import host
import mastercalls
import taptest
import wire

_CONFIG = "/etc/libvirt"
_INDEX = _CONFIG + "/virtcrypt/index"
_STORE, _ACCEPT = 0x56435354, 3
_BOUND_S = 30 * host.PATIENCE

# docs/sealed-format.md
_COUNTER, _ANCHOR = slice(32, 40), slice(40, 56)

A = uuid.UUID("aaaaaaaa-0000-4000-8000-000000000001")
_XML = (f"<secret ephemeral='no' private='no'><uuid>{A}</uuid>"
        f"<usage type='volume'><volume>/{A}</volume></usage></secret>")


class Swtpm:
    def __init__(self, folder):
        self._folder = folder
        self._server = None
        self._starts = 0
        self.state = "tpm"
        self.start()

    def start(self):
        state = os.path.join(self._folder, self.state)
        os.makedirs(state, exist_ok=True)
        self._starts += 1
        server = os.path.join(self._folder, f"server-{self._starts}")
        self._server = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}",
             "--server", f"type=unixio,path={server}",
             "--ctrl", f"type=unixio,path={server}.ctrl",
             "--flags", "not-need-init,startup-clear"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        self.tcti = f"swtpm:path={server}"
        until = time.monotonic() + _BOUND_S
        while not (devices.is_listening(server) and devices.is_listening(server + ".ctrl")):
            if time.monotonic() > until:
                raise AssertionError("swtpm does not start")
            time.sleep(0.01)

    def stop(self):
        if self._server:
            self._server.terminate()
            self._server.wait(timeout=_BOUND_S)
            self._server = None

    def replace(self):
        """By another one, or the same one cleared."""
        self.stop()
        self.state += "-"
        self.start()


class Rollback(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tpm = Swtpm(self.folder)
        self.addCleanup(lambda: self.tpm.stop())
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.daemon = None
        self.start()
        self.call(wire.DEFINE_XML, wire.string(_XML) + wire.uint32(0))
        self.set_value(b"first")
        self.add_slot()
        self.wait_until_anchored()

    # ---- the daemon ----

    def start(self):
        self.daemon = self.machine.start_secretd(
            "index_delay = 0\nunlock_timeout = 60\n", env={"VIRTCRYPT_HELPER_TCTI": self.tpm.tcti})
        self.client = wire.Connection(self.machine.path(host.SECRETD_SOCKET)).open()

    def stop(self):
        self.client.close()
        self.assertEqual(self.daemon.stop(), 0, self.daemon.log_text())

    def restart(self):
        self.stop()
        self.start()

    def kill(self):
        self.client.close()
        self.daemon.kill()

    def call(self, *args, **options):
        return self.client.call(*args, **options).reader()

    def set_value(self, value):
        self.call(wire.SET_VALUE, wire.secret(A.bytes) + wire.opaque(value) + wire.uint32(0))

    def value(self):
        """Or the text of the error."""
        with wire.Connection(self.machine.path(host.SECRETD_SOCKET)).open() as client:
            client.call(wire.SET_IDENTITY, wire.typed_params(
                ("system.token", wire.TYPED_STRING,
                 self.machine.read("/run/libvirt/common/system.token"))) + wire.uint32(0)).reader()
            reply = client.call(wire.GET_VALUE, wire.secret(A.bytes) + wire.uint32(0))
        return reply.reader().opaque() if reply.status == wire.OK else reply.error().message

    def status(self):
        return mastercalls.status(self.client)

    def add_slot(self):
        mastercalls.add_slot(self.client, "tpm2").reader()

    def accept(self):
        return self.client.call(_ACCEPT, wire.optional(None), program=_STORE)

    # ---- what is on disk, and in the TPM ----

    def counter(self):
        """(the index's, its slot)"""
        if not self.machine.exists(_INDEX):
            return 0, None
        index = self.machine.read(_INDEX)
        return int.from_bytes(index[_COUNTER], "big"), index[_ANCHOR]

    def slot(self):
        return next(slot for slot in self.status().slots if slot.method == "tpm2")

    def tpm_counter(self):
        done = subprocess.run(
            ["tpm2_nvread", "-C", hex(self.handle), hex(self.handle)],
            env=dict(os.environ, TPM2TOOLS_TCTI=self.tpm.tcti), capture_output=True, check=True,
            timeout=_BOUND_S)
        return int.from_bytes(done.stdout, "big")

    def wait_for(self, is_there, what):
        until = time.monotonic() + _BOUND_S
        while not is_there():
            if time.monotonic() > until:
                raise AssertionError(f"{what}; {self.counter()}; {self.daemon.log_text()}")
            time.sleep(0.02)

    def wait_until_anchored(self):
        self.handle = int(self.slot().fields["counter"])
        slot = self.slot().id
        self.wait_for(lambda: self.counter()[1] == slot and self.tpm_counter() == self.counter()[0],
                      "the TPM does not follow the index")

    def backup(self):
        """Of all that the daemon has, while it is stopped."""
        kept = os.path.join(self.folder, "backup")
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.machine.path(_CONFIG), kept)

    def put_back(self):
        for name in os.listdir(self.machine.path(_CONFIG)):
            path = os.path.join(self.machine.path(_CONFIG), name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        shutil.copytree(os.path.join(self.folder, "backup"), self.machine.path(_CONFIG),
                        dirs_exist_ok=True)

    def roll_back(self):
        self.stop()
        self.backup()
        self.start()
        self.set_value(b"second")
        self.wait_until_anchored()
        self.stop()
        self.put_back()
        self.start()

    def assert_locked(self):
        self.wait_for(lambda: self.status().locked, "it does not lock")
        self.assertIn("the store was put back from an older backup as a whole: the TPM has counted "
                      "to ", self.status().reason)
        self.assertIn("'virtcrypt store accept'", self.status().reason)
        self.assertIn("locked", self.value())

    def assert_good(self, value):
        self.wait_until_anchored()
        self.assertEqual(self.value(), value)
        self.assertFalse(self.status().locked)
        self.assertIsNone(self.status().rollback)

    # ---- a store that was put back ----

    def test_a_store_that_was_put_back_is_refused(self):
        self.roll_back()
        self.assert_locked()
        self.assertIn('"event":"rollback"',
                      self.machine.read("/var/lib/libvirt/virtcrypt/audit.log").decode())
        self.restart()
        self.assert_locked()

    def test_unlocking_does_not_accept_it(self):
        self.roll_back()
        self.assert_locked()
        mastercalls.unlock(self.client)
        self.assert_locked()

    def test_it_works_when_it_is_accepted(self):
        self.roll_back()
        self.assert_locked()
        self.assertEqual(self.accept().reader().uint32(), 0)
        self.assert_good(b"first")
        self.restart()
        self.assert_good(b"first")

    def test_it_works_when_the_newest_is_put_back(self):
        self.stop()
        self.backup()
        self.start()
        self.set_value(b"second")
        self.wait_until_anchored()
        self.stop()
        newest = os.path.join(self.folder, "newest")
        shutil.copytree(self.machine.path(_CONFIG), newest)
        self.put_back()
        self.start()
        self.assert_locked()
        self.stop()
        shutil.rmtree(os.path.join(self.folder, "backup"))
        os.rename(newest, os.path.join(self.folder, "backup"))
        self.put_back()
        self.start()
        self.assert_good(b"second")

    # ---- what is no rollback ----

    def test_starts_and_values_lock_nothing(self):
        for number in range(4):
            self.set_value(b"value %d" % number)
            self.restart()
            self.assert_good(b"value %d" % number)

    def test_a_kill_between_the_file_and_the_tpm_locks_nothing(self):
        self.stop()
        # The TPM of before the last advance, with the file of after it.
        shutil.copytree(os.path.join(self.folder, "tpm"), os.path.join(self.folder, "old"))
        self.start()
        self.wait_until_anchored()
        self.kill()
        self.tpm.stop()
        self.tpm.state = "old"
        self.tpm.start()
        self.start()
        self.assert_good(b"first")

    def test_kills_at_any_time_lock_nothing(self):
        for number in range(8):
            self.set_value(b"value %d" % number)
            time.sleep(0.03 * number)
            self.kill()
            # What a helper had in it is lost, as by a reboot or to a resource manager.
            self.tpm.stop()
            self.tpm.start()
            self.start()
        self.assert_good(b"value 7")

    def test_a_cleared_tpm_locks_nothing(self):
        self.stop()
        self.tpm.replace()
        self.start()
        self.wait_for(lambda: self.status().rollback, "nothing is told")
        self.assertIn("the TPM has no counter", self.status().rollback)
        self.assertEqual(self.value(), b"first")
        self.set_value(b"second")
        self.restart()
        self.assertEqual(self.value(), b"second")

    def test_a_new_slot_for_a_cleared_tpm_locks_nothing(self):
        """Its counter has the handle of the old slot's, which is still there, and is ahead of it."""
        subprocess.run(["tpm2_clear"], env=dict(os.environ, TPM2TOOLS_TCTI=self.tpm.tcti),
                       stdout=subprocess.DEVNULL, check=True, timeout=_BOUND_S)
        self.add_slot()
        old, new = (slot for slot in self.status().slots if slot.method == "tpm2")
        self.assertEqual(old.fields["counter"], new.fields["counter"])
        self.wait_for(lambda: self.status().locked or self.counter()[1] == new.id,
                      "it is not bound to the new slot")
        self.restart()
        self.wait_for(lambda: self.status().locked or self.tpm_counter() == self.counter()[0],
                      "the TPM does not follow the index")
        self.assertFalse(self.status().locked, self.status().reason)
        self.assertEqual(self.value(), b"first")

    def test_no_tpm_locks_nothing(self):
        self.stop()
        self.tpm.stop()
        self.start()
        self.wait_for(lambda: self.status().rollback, "nothing is told")
        self.assertEqual(self.value(), b"first")

    def test_another_slot_takes_over_and_locks_nothing(self):
        mastercalls.remove_slot(self.client, self.slot().id).reader()
        self.add_slot()
        self.assert_good(b"first")
        self.restart()
        self.assert_good(b"first")

    def test_a_lost_index_locks_nothing(self):
        self.stop()
        os.unlink(self.machine.path(_INDEX))
        self.start()
        self.wait_until_anchored()
        self.assertEqual(self.value(), b"first")
        self.assertIn("is missing", self.status().rollback)

    def test_an_index_of_before_the_slot_locks_nothing(self):
        """What a crash leaves before the index was bound to the slot."""
        self.stop()
        index = bytearray(self.machine.read(_INDEX))
        self.assertNotEqual(index[_ANCHOR], bytes(16))
        self.start()
        mastercalls.remove_slot(self.client, self.slot().id).reader()
        self.restart()
        self.assertEqual(self.value(), b"first")
        self.add_slot()
        self.kill()
        self.start()
        self.assert_good(b"first")


if __name__ == "__main__":
    taptest.main()
