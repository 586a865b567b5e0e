#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backups that are taken while the master key is being rotated, and while guests' keys are bound,
unbound and erased: each restores as a whole, and a rotation that was under way ends there."""

import threading
import time
import unittest
import uuid

import host
import mastercalls
import taptest
import virtcrypt
import wire

_OWN, _STORE = 0x56435253, 0x56435354
_BIND, _UNBIND, _ERASE, _GENERATION_STATUS = 3, 4, 5, 9
_BEGIN, _READ = 4, 5
_CONFIG = "rotation_delay = 0\n"
_KEY_FILE = "/etc/libvirt/virtcrypt/master.key"
_BACKUP = "/run/backup"
_COUNT = 600
_TAKEN_MAX = 4
_TAKEN_MIN = 20
_BOUND_S = 60 * host.PATIENCE


def _uuid(number):
    return uuid.UUID(f"{number:08x}-0000-4000-8000-000000000001")


GUESTS = [uuid.UUID(f"{n * 8}-0000-4000-8000-00000000000a") for n in "123"]


def _value(number):
    return b"value %d" % number


def _settled(client):
    status = mastercalls.status(client)
    reader = client.call(_GENERATION_STATUS, program=_OWN).reader()
    reader.uint64()
    return not status.locked and not status.is_rotating and reader.uint32() == 0


class Machine(host.Host):
    def connect(self):
        return wire.Connection(self.path(host.SECRETD_SOCKET)).open()

    @staticmethod
    def put(client, number):
        client.call(wire.DEFINE_XML, wire.string(
            f"<secret><uuid>{_uuid(number)}</uuid></secret>") + wire.uint32(0)).reader()
        client.call(wire.SET_VALUE, wire.secret(_uuid(number).bytes) +
                    wire.opaque(_value(number)) + wire.uint32(0)).reader()

    def fill(self, count):
        with self.connect() as client:
            for number in range(count):
                self.put(client, number)

    def backup(self):
        """Taken by one call, as 'virtcrypt store backup' does."""
        with self.connect() as client:
            size = client.call(_BEGIN, program=_STORE).reader().uint64()
            content = b""
            while len(content) < size:
                content += client.call(_READ, len(content).to_bytes(8, "big") +
                                       wire.uint32(1048576), program=_STORE).reader().opaque()
        return content

    def restore(self, backup, key):
        self.write(_BACKUP, backup)
        self.run(["sh", "-ec", "rm -rf /etc/libvirt/secrets /etc/libvirt/virtcrypt "
                               "/etc/libvirt/qemu/keys"]).check()
        self.write("/run/key", key)
        self.run([virtcrypt.PROGRAM, "store", "restore", _BACKUP, "--key-file", "/run/key"]).check()
        self.write(_KEY_FILE, key)

    def values(self, count):
        with self.connect() as client:
            client.call(wire.SET_IDENTITY, wire.typed_params(
                ("system.token", wire.TYPED_STRING,
                 self.read("/run/libvirt/common/system.token"))) + wire.uint32(0)).reader()
            return [client.call(wire.GET_VALUE, wire.secret(_uuid(number).bytes) +
                                wire.uint32(0)).reader().opaque() for number in range(count)]


class Backups(unittest.TestCase):
    def setUp(self):
        self.machine = Machine()
        self.addCleanup(self.machine.close)
        self.daemon = self.machine.start_secretd(_CONFIG)

    def expect_whole(self, backup, key, count):
        """On a new host, with the daemon's own check of every file."""
        with Machine() as other:
            other.restore(backup, key)
            daemon = other.start_secretd(_CONFIG)
            with other.connect() as client:
                host.wait_for(lambda: _settled(client), "a rotation ends", _BOUND_S)
            self.assertEqual(other.values(count), [_value(number) for number in range(count)])
            other.run([virtcrypt.PROGRAM, "store", "verify"]).check()
            daemon.stop_in_order()

    def back_up_while_rotating(self, reseal):
        self.machine.fill(_COUNT)
        deadline = time.monotonic() + _BOUND_S
        taken = []
        with self.machine.connect() as client:
            # A rotation may have ended before it is asked after: the next one, then.
            while not taken:
                self.assertLess(time.monotonic(), deadline, "no backup was taken in a rotation")
                before = mastercalls.status(client).key_id
                mastercalls.rotate(client, reseal=reseal).reader()
                while mastercalls.status(client).is_rotating and len(taken) < _TAKEN_MAX:
                    taken.append(self.machine.backup())
                host.wait_for(lambda: _settled(client), "the rotation ends", _BOUND_S)
                self.assertNotEqual(mastercalls.status(client).key_id, before)
        key = self.machine.read(_KEY_FILE)
        # The first is of its beginning, the last of anywhere.
        for backup in {taken[0], taken[-1]}:
            self.expect_whole(backup, key, _COUNT)

    def test_one_taken_while_the_master_key_is_rotated_is_whole(self):
        self.back_up_while_rotating(False)

    def test_one_taken_while_values_get_new_data_keys_is_whole(self):
        self.back_up_while_rotating(True)

    def test_one_taken_while_guests_keys_are_bound_and_erased_is_whole(self):
        count = 12
        self.machine.fill(count)
        is_over = threading.Event()
        failures = []

        def change():
            with self.machine.connect() as client:
                pairs = b"".join(_uuid(number).bytes + guest.bytes
                                 for number in range(count) for guest in GUESTS)
                while not is_over.is_set():
                    for call, more in ((_BIND, b""), (_UNBIND, wire.string("a test"))):
                        reply = client.call(call, wire.uint32(count * len(GUESTS)) + pairs + more,
                                            program=_OWN)
                        if reply.status != wire.OK:
                            failures.append(reply.error().message)
                    self.machine.put(client, count)
                    reply = client.call(_ERASE, _uuid(count).bytes + wire.optional(None) +
                                        wire.string("a test"), program=_OWN)
                    if reply.status != wire.OK:
                        failures.append(reply.error().message)

        thread = threading.Thread(target=change)
        thread.start()
        try:
            taken, with_copies = self.take_until_one_has_copies(count)
        finally:
            is_over.set()
            thread.join(_BOUND_S)
        self.assertEqual(failures, [])
        self.assertFalse(thread.is_alive())
        key = self.machine.read(_KEY_FILE)
        for backup in (taken[0], taken[-1], with_copies):
            self.expect_whole(backup, key, count)

    def take_until_one_has_copies(self, count):
        """Twenty or more, each read; and the last of those that hold all owned copies."""
        taken, with_copies = [], None
        deadline = time.monotonic() + _BOUND_S
        while len(taken) < _TAKEN_MIN or not with_copies:
            self.assertLess(time.monotonic(), deadline, "no backup has the guests' copies")
            taken.append(self.machine.backup())
            self.machine.write(_BACKUP, taken[-1])
            told = self.machine.run([virtcrypt.PROGRAM, "store", "restore", _BACKUP, "--dry-run",
                                     "--key-file", _KEY_FILE]).check().stdout
            self.assertRegex(told, f"({count} secrets with {count} values|{count + 1} secrets with "
                                   f"({count}|{count + 1}) values)")
            if f"and {count * len(GUESTS)} copies" in told:
                with_copies = taken[-1]
        return taken, with_copies


if __name__ == "__main__":
    taptest.main()
