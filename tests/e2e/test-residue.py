#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is left of a value in the memory, a core and the log of virtcrypt-secretd when a call is over,
however it ended: nothing. Memory is all that the process could write, so also what is kept out of
cores. (Guests and the same search of stock libvirtd, beside it, are in test-guest.py.)"""

import base64
import os
import time
import unittest
import uuid

import host
import residue
import taptest
import wire

_LOG_EVERYTHING = 'log_level = 1\nvalue_readback = "any"\n'
_OVER_BOUND_S = 30 * host.PATIENCE
_SETTLE_S = 0.1


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.daemon = cls.machine.start_secretd(_LOG_EVERYTHING)

    def setUp(self):
        self.value = os.urandom(48)
        self.identifier = uuid.uuid4().bytes
        self.client = self.connect()
        self.addCleanup(self.client.close)
        self.define()

    def connect(self, suffix=""):
        return wire.Connection(self.machine.path(host.SECRETD_SOCKET + suffix)).open(
            flags=1 if suffix else 0)

    def define(self, private="no", description=""):
        name = uuid.UUID(bytes=self.identifier)
        self.client.call(wire.DEFINE_XML, wire.string(
            f"<secret private='{private}'><uuid>{name}</uuid>"
            f"<description>{description}</description>"
            f"<usage type='volume'><volume>/{name}</volume></usage></secret>") +
            wire.uint32(0)).reader()

    def set_arguments(self, value=None, identifier=None, flags=0):
        return (wire.secret(identifier or self.identifier) + wire.opaque(value or self.value) +
                wire.uint32(flags))

    def set_value(self):
        self.client.call(wire.SET_VALUE, self.set_arguments()).reader()

    def get_value(self, client=None):
        return (client or self.client).call(
            wire.GET_VALUE, wire.secret(self.identifier) + wire.uint32(0))

    def undefine(self):
        self.client.call(wire.UNDEFINE, wire.secret(self.identifier)).reader()

    def search(self, value=None):
        found = residue.Search(value or self.value)
        found.memory(self.daemon.pid)
        found.file(self.daemon.log)
        return found

    def assert_nothing_is_left(self, value=None):
        """The daemon may not have seen yet that a client is gone: it has a moment for that."""
        deadline = time.monotonic() + _OVER_BOUND_S
        while True:
            # It serves, so it is at rest.
            self.get_value()
            found = self.search(value)
            if (found.copies, found.parts) == (0, 0) or time.monotonic() > deadline:
                break
            time.sleep(_SETTLE_S)
        self.assertEqual((found.copies, found.parts), (0, 0), f"{found}: {found.places}")
        self.assertGreater(found.bytes_seen, 1 << 20)


class Calls(Case):
    def assert_nothing_is_left(self, value=None):
        self.client.call(wire.REGISTER_CLOSE_CALLBACK)
        self.client.call(wire.UNREGISTER_CLOSE_CALLBACK)
        found = self.search(value)
        self.assertEqual((found.copies, found.parts), (0, 0), f"{found}: {found.places}")

    def test_the_search_finds_a_value_that_is_there(self):
        # In the clear, as a description, which is no secret.
        self.value = b"0123456789abcdef0123456789ABCDEF"
        self.define(description=self.value.decode())
        self.assertGreater(self.search().copies, 0)

    def test_nothing_is_left_of_a_value_that_was_set(self):
        self.set_value()
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_that_was_replaced(self):
        old = self.value
        self.set_value()
        self.value = os.urandom(48)
        self.set_value()
        self.assert_nothing_is_left()
        self.assert_nothing_is_left(old)

    def test_nothing_is_left_of_a_value_that_was_given(self):
        self.set_value()
        for _ in range(10):
            self.assertEqual(self.get_value().reader().opaque(), self.value)
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_that_was_sealed_again(self):
        self.set_value()
        self.define(private="yes")
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_whose_secret_was_undefined(self):
        self.set_value()
        self.get_value().reader()
        self.undefine()
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_large_value(self):
        large = os.urandom(65536)
        self.client.call(wire.SET_VALUE, self.set_arguments(large)).reader()
        self.assertEqual(self.get_value().reader().opaque(), large)
        for part in (large[:64], large[30000:30064], large[-64:]):
            self.assert_nothing_is_left(part)

    def test_nothing_is_left_of_an_ephemeral_value(self):
        name = uuid.uuid4()
        self.identifier = name.bytes
        self.client.call(wire.DEFINE_XML, wire.string(
            f"<secret ephemeral='yes'><uuid>{name}</uuid></secret>") + wire.uint32(0)).reader()
        self.set_value()
        self.assertEqual(self.get_value().reader().opaque(), self.value)
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_that_came_in_pieces(self):
        raw = wire.message(wire.SET_VALUE, self.set_arguments())
        for start in range(0, len(raw), 7):
            self.client.send(raw[start:start + 7])
            time.sleep(0.002)
        self.client.reply().reader()
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_values_that_came_at_once(self):
        self.client.send(20 * wire.message(wire.SET_VALUE, self.set_arguments()))
        for _ in range(20):
            self.client.reply().reader()
        self.assert_nothing_is_left()

    def test_nothing_is_in_a_core(self):
        self.set_value()
        self.get_value().reader()
        core = self.machine.path("/run/core")
        self.machine.run(["gcore", "-o", "/run/core", str(self.daemon.pid)]).check()
        found = residue.Search(self.value)
        found.file(f"{core}.{self.daemon.pid}")
        os.unlink(f"{core}.{self.daemon.pid}")
        self.assertEqual((found.copies, found.parts), (0, 0), f"{found}: {found.places}")
        self.assertGreater(found.bytes_seen, 1 << 20)

    def test_nothing_is_left_of_what_stock_virsh_sets_and_gets(self):
        name = str(uuid.UUID(bytes=self.identifier))
        text = base64.b64encode(self.value).decode()
        self.machine.virsh("secret-set-value", name, "--file", "/dev/stdin", input=text,
                           uri="secret:///system").check()
        done = self.machine.virsh("secret-get-value", name, uri="secret:///system").check()
        self.assertEqual(done.stdout.strip(), text)
        self.assert_nothing_is_left()


class Ends(Case):
    """Calls that do not end well."""

    def test_nothing_is_left_of_half_a_value_whose_client_is_gone(self):
        raw = wire.message(wire.SET_VALUE, self.set_arguments())
        for cut in (len(raw) - 4, len(raw) - 20):
            with self.subTest(cut=cut):
                with self.connect() as other:
                    other.send(raw[:cut])
                    time.sleep(_SETTLE_S)
                self.assert_nothing_is_left()

    def test_nothing_is_left_of_half_a_value_whose_client_was_killed(self):
        raw = wire.message(wire.SET_VALUE, self.set_arguments())
        with self.connect() as other:
            child = os.fork()
            if child == 0:
                other.send(raw[:-8])
                os.kill(os.getpid(), 9)
            os.waitpid(child, 0)
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_with_a_wrong_length(self):
        arguments = self.set_arguments()
        for bad in (arguments[:-4], arguments[:-8], arguments.replace(
                wire.uint32(48) + self.value, wire.uint32(1 << 30) + self.value)):
            with self.subTest(length=len(bad)):
                with self.connect() as other:
                    other.call(wire.SET_VALUE, bad).error()
                    self.assert_nothing_is_left()
                self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_that_is_refused(self):
        for arguments in (self.set_arguments(flags=1 << 9),
                          self.set_arguments(identifier=uuid.uuid4().bytes)):
            self.client.call(wire.SET_VALUE, arguments).error()
            self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_from_a_read_only_client(self):
        with self.connect("-ro") as other:
            other.call(wire.SET_VALUE, self.set_arguments()).error()
            self.assert_nothing_is_left()
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_from_a_client_that_is_not_open(self):
        with wire.Connection(self.machine.path(host.SECRETD_SOCKET)) as other:
            other.send(wire.message(wire.SET_VALUE, self.set_arguments()))
            try:
                other.reply().error()
            except wire.Closed:
                pass
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_in_an_unknown_call(self):
        for options in ({"procedure": 4711}, {"procedure": 1, "program": 0x1234},
                        {"procedure": wire.SET_VALUE, "version": 9},
                        {"procedure": wire.SET_VALUE, "type": wire.REPLY},
                        {"procedure": wire.SET_VALUE, "type": wire.STREAM}):
            with self.subTest(options):
                with self.connect() as other:
                    try:
                        other.send(wire.message(payload=self.set_arguments(), **options))
                        time.sleep(_SETTLE_S)
                    except wire.Closed:
                        pass
                self.assert_nothing_is_left()

    def test_nothing_is_left_of_a_value_behind_the_arguments_of_a_call(self):
        # libvirt takes no notice of what follows them, and neither do we.
        with self.connect() as other:
            other.call(wire.LOOKUP_BY_UUID, self.identifier + self.value).reader()
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_values_that_nobody_reads(self):
        self.set_value()
        with self.connect() as other:
            for _ in range(5):
                other.send(wire.message(wire.GET_VALUE,
                                        wire.secret(self.identifier) + wire.uint32(0)))
            time.sleep(_SETTLE_S)
        self.assert_nothing_is_left()

    def test_nothing_is_left_of_large_values_that_nobody_reads(self):
        large = os.urandom(65536)
        self.client.call(wire.SET_VALUE, self.set_arguments(large)).reader()
        with self.connect() as other:
            for _ in range(50):
                other.send(wire.message(wire.GET_VALUE,
                                        wire.secret(self.identifier) + wire.uint32(0)))
            time.sleep(_SETTLE_S)
        for part in (large[:64], large[-64:]):
            self.assert_nothing_is_left(part)

    def test_nothing_is_left_of_a_value_that_is_not_given(self):
        self.set_value()
        self.define(private="yes")
        self.get_value().error()
        self.assert_nothing_is_left()


class Import(unittest.TestCase):
    def test_nothing_is_left_of_an_imported_value_in_memory_or_on_disk(self):
        value = os.urandom(48)
        name = uuid.uuid4()
        with host.Host() as machine:
            machine.write(f"/etc/libvirt/secrets/{name}.xml",
                          f"<secret><uuid>{name}</uuid></secret>")
            machine.write(f"/etc/libvirt/secrets/{name}.base64", base64.b64encode(value))
            daemon = machine.start_secretd(_LOG_EVERYTHING)
            with wire.Connection(machine.path(host.SECRETD_SOCKET)).open() as client:
                reply = client.call(wire.GET_VALUE, wire.secret(name.bytes) + wire.uint32(0))
                self.assertEqual(reply.reader().opaque(), value)
                # It serves the next call, so the one before is over.
                client.call(wire.REGISTER_CLOSE_CALLBACK)
                client.call(wire.UNREGISTER_CLOSE_CALLBACK)
            found = residue.Search(value)
            found.memory(daemon.pid)
            found.file(daemon.log)
            found.folder(machine.path("/etc/libvirt"))
            self.assertEqual((found.copies, found.parts), (0, 0), f"{found}: {found.places}")


if __name__ == "__main__":
    taptest.main()
