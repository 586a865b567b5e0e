#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program virtcrypt_master on the custodian's sockets: who is let in, what is answered to
everything else, and what clients of secrets see meanwhile."""

import os
import unittest

import host
import mastercalls as master
import taptest
import wire
from secretcalls import Client, xml

_ARG, _DENIED, _SYSTEM, _INVALID, _NO_SECRET = 8, 29, 38, 55, 66
_RO_SOCKET = host.SECRETD_SOCKET + "-ro"
_OWN = "/etc/libvirt/virtcrypt"


class Case(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.daemon = self.machine.start_secretd()
        self.client = self.connect()

    def connect(self, socket=host.SECRETD_SOCKET):
        client = Client(self.machine.path(socket))
        self.addCleanup(client.close)
        return client.open()

    def assert_refused(self, reply, code, *texts):
        error = reply.error()
        self.assertEqual(error.code, code, error.message)
        for text in texts:
            self.assertIn(text, error.message)

    def add_file(self, name, label=""):
        return master.added(self.client, "key-file", label, path=f"{_OWN}/{name}")


class Slots(Case):
    def test_a_first_start_has_one_slot_that_opened(self):
        status = master.status(self.client)
        self.assertFalse(status.locked)
        self.assertEqual(len(status.key_id), 16)
        [slot] = status.slots
        self.assertEqual((slot.method, slot.label, slot.is_opener, slot.problem),
                         ("key-file", "", True, None))
        self.assertEqual(slot.fields["path"], f"{_OWN}/master.key")
        self.assertNotIn("check", slot.fields)

    def test_a_slot_that_was_added_opens_alone(self):
        slot = self.add_file("second.key", "second")
        self.assertEqual(slot.label, "second")
        master.test_slot(self.client, slot.id).reader()
        [first, _] = master.status(self.client).slots
        master.remove_slot(self.client, first.id).reader()
        self.assertFalse(self.machine.exists(f"{_OWN}/master.key"))
        self.daemon.stop()
        self.machine.start_secretd()
        status = master.status(self.connect())
        self.assertEqual([(each.label, each.is_opener) for each in status.slots],
                         [("second", True)])

    def test_the_last_slot_stays(self):
        [slot] = master.status(self.client).slots
        self.assert_refused(master.remove_slot(self.client, slot.id), _INVALID,
                            "is the last one that is known to work, and stays",
                            "virtcrypt master add-slot")
        second = self.add_file("second.key")
        os.unlink(self.machine.path(f"{_OWN}/second.key"))
        self.assert_refused(master.remove_slot(self.client, slot.id), _INVALID,
                            "cannot open the key file")
        master.remove_slot(self.client, second.id).reader()
        self.assertEqual(len(master.status(self.client).slots), 1)

    def test_thirty_two_slots_are_the_most(self):
        for number in range(1, 32):
            self.add_file(f"{number}.key")
        self.assert_refused(
            master.add_slot(self.client, "key-file", path=f"{_OWN}/more.key"), _ARG, "32")
        self.assertEqual(len(master.status(self.client).slots), 32)
        self.daemon.stop()
        self.machine.start_secretd()
        self.assertEqual(len(master.status(self.connect()).slots), 32)

    def test_bad_labels_methods_and_fields_change_nothing(self):
        before = self.machine.read(f"{_OWN}/master.slots")
        path = f"{_OWN}/x.key"
        self.add_file("taken.key", "taken")
        changed = self.machine.read(f"{_OWN}/master.slots")
        self.assertNotEqual(before, changed)
        for method, label, fields, text in (
                ("key-file", "l" * 65, {"path": path}, "label"),
                ("key-file", "a\nb", {"path": path}, "label"),
                ("key-file", "taken", {"path": path}, "taken"),
                ("key-file", "", {"path": path, "other": "x"}, "no parameter 'other'"),
                ("key-file", "", {"path": path, "made": "yes"}, "no parameter 'made'"),
                ("key-file", "", {"path": "relative"}, "absolute"),
                ("key-file", "", {"path": "/x" * 5000}, ""),
                ("key-file", "", {"path": path, "": "x"}, ""),
                ("key-file", "", {}, "path"),
                ("credential", "", {"name": "../master.key"}, ""),
                ("no such", "", {}, "no unlock method 'no such'; there are: key-file, passphrase"),
                ("", "", {}, "no unlock method"),
                ("key-file", "L" * 100000, {"path": path}, "label")):
            with self.subTest(method=method, label=label[:20], fields=str(fields)[:60]):
                error = master.call(self.client, master.ADD_SLOT, master.add_payload(
                    method, label, b"", fields)).error()
                self.assertIn(text, error.message)
        self.assertEqual(self.machine.read(f"{_OWN}/master.slots"), changed)

    def test_an_unknown_slot_is_told(self):
        nobody = bytes(16)
        for reply in (master.remove_slot(self.client, nobody), master.test_slot(self.client, nobody),
                      master.unlock(self.client, nobody),
                      master.change_passphrase(self.client, nobody, b"a", b"b")):
            self.assert_refused(reply, _NO_SECRET, "virtcrypt master status")

    def test_a_slot_without_a_passphrase_has_none_to_change(self):
        [slot] = master.status(self.client).slots
        self.assert_refused(master.change_passphrase(self.client, slot.id, b"a", b"b"), _ARG,
                            "has no passphrase")

    def test_a_file_that_was_changed_is_not_rewritten(self):
        """Its slots open, which counts for more; but nothing is put into a file of others."""
        identifier = self.client.defined(xml(usage="/a"))
        self.client.set_value(identifier, b"a value").reader()
        self.daemon.stop()
        path = f"{_OWN}/master.slots"
        content = bytearray(self.machine.read(path))
        content[-1] ^= 1
        self.machine.write(path, bytes(content))
        self.machine.start_secretd()
        self.client = self.connect()
        status = master.status(self.client)
        self.assertFalse(status.locked)
        self.assertIn("virtcrypt master rotate", status.problem)
        self.assert_refused(master.add_slot(self.client, "key-file", path=f"{_OWN}/x.key"), _INVALID,
                            "put it back from a backup", "virtcrypt master rotate")
        self.assertEqual(self.machine.read(path), content)


class Locked(Case):
    def setUp(self):
        super().setUp()
        self.identifier = self.client.defined(xml(usage="/a"))
        self.client.set_value(self.identifier, b"a value").reader()

    def test_locking_takes_values_away_and_unlocking_gives_them_back(self):
        master.lock(self.client).reader()
        status = master.status(self.client)
        self.assertIn("virtcrypt master unlock", status.reason)
        self.assertFalse(any(slot.is_opener for slot in status.slots))
        for reply in (self.client.get_value(self.identifier),
                      self.client.set_value(self.identifier, b"x")):
            self.assert_refused(reply, _INVALID, "virtcrypt master unlock")
        other = self.client.defined(xml(usage="/b"))
        self.assertEqual(self.client.count(), 2)
        self.client.dump(other).reader()
        self.client.undefine(other).reader()
        self.assert_refused(master.add_slot(self.client, "key-file", path=f"{_OWN}/x.key"), _INVALID,
                            "run 'virtcrypt master unlock' first")
        slot = master.unlock(self.client).reader().fixed(16)
        self.assertEqual([slot], [each.id for each in master.status(self.client).slots])
        self.assertEqual(self.client.get_value(self.identifier).reader().opaque(), b"a value")

    def test_what_was_locked_already_stays_so(self):
        master.lock(self.client).reader()
        master.lock(self.client).reader()
        self.assertTrue(master.status(self.client).locked)

    def test_a_missing_key_file_is_told_until_it_is_back(self):
        master.lock(self.client).reader()
        key = self.machine.path(f"{_OWN}/master.key")
        os.rename(key, key + ".away")
        self.assert_refused(master.unlock(self.client), _INVALID, "cannot open the key file",
                            "virtcrypt master unlock")
        [slot] = master.status(self.client).slots
        self.assertIn("cannot open the key file", slot.problem)
        self.assert_refused(master.test_slot(self.client, slot.id), _SYSTEM, "cannot open the key file")
        os.rename(key + ".away", key)
        master.unlock(self.client, slot.id).reader()
        self.assertIsNone(master.status(self.client).slots[0].problem)
        self.assertEqual(self.client.get_value(self.identifier).reader().opaque(), b"a value")

    def test_a_passphrase_for_nothing_is_refused(self):
        master.lock(self.client).reader()
        self.assert_refused(master.unlock(self.client, passphrase=b"guess"), _INVALID, "passphrase")


class Callers(Case):
    def everything(self, client):
        nobody = bytes(16)
        return (master.unlock(client), master.lock(client),
                master.add_slot(client, "key-file", path=f"{_OWN}/x.key"),
                master.remove_slot(client, nobody), master.test_slot(client, nobody),
                master.change_passphrase(client, nobody, b"a", b"b"))

    def test_a_forwarded_identity_is_not_root(self):
        self.client.call(wire.SET_IDENTITY, wire.typed_params(
            ("unix-user-id", wire.TYPED_ULLONG, 0)) + wire.uint32(0)).reader()
        for reply in self.everything(self.client):
            self.assert_refused(reply, _DENIED, "only root on this host may")
        self.assertFalse(master.status(self.connect()).locked)

    def test_the_read_only_socket_tells_the_status_alone(self):
        client = self.connect(_RO_SOCKET)
        self.assertEqual(len(master.status(client).slots), 1)
        for reply in self.everything(client):
            self.assertNotEqual(reply.error().code, 0)
        self.assertFalse(master.status(self.client).locked)

    def test_garbage_is_an_error_each(self):
        """Calls without arguments are made whatever follows them, as libvirt's."""
        for procedure in range(1, 9):
            for payload in (b"", b"\xff" * 4, b"\xff" * 64, bytes(3), os.urandom(200)):
                if procedure in (master.STATUS, master.LOCK):
                    continue
                with self.subTest(procedure=procedure, payload=payload[:8]):
                    with self.connect() as client:
                        reply = master.call(client, procedure, payload)
                        self.assertEqual(reply.status, 1)
        for procedure in (0, 9, -1):
            self.assertEqual(master.call(self.client, procedure).status, 1)
        self.assertFalse(master.status(self.client).locked)

    def test_too_many_fields_and_too_long_passphrases_are_refused(self):
        many = {f"f{number}": "x" for number in range(17)}
        for payload in (master.add_payload("key-file", "", b"", many),
                        master.add_payload("key-file", "", b"p" * 4097, {})):
            with self.connect() as client:
                self.assertEqual(master.call(client, master.ADD_SLOT, payload).status, 1)


if __name__ == "__main__":
    taptest.main()
