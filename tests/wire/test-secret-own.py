#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What virtcrypt-secretd does beyond libvirt, or within bounds that libvirt does not have: its own
calls, lists of any length, and limits."""

import json
import time
import unittest

import host
import taptest
import wire
from secretcalls import (ERR_INTERNAL, ERR_INVALID_ARG, FROM_RPC, FROM_SECRET, LIST_MAX, Client,
                         read_secret, typical_error, xml)


class Own(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.daemon = cls.machine.start_secretd()
        cls.addClassCleanup(cls.daemon.stop_in_order)

    def setUp(self):
        self.client = self.connect()
        for identifier in self.pages(1000):
            self.client.undefine(identifier).reader()

    def connect(self):
        client = Client(self.machine.path(host.SECRETD_SOCKET))
        self.addCleanup(client.close)
        return client.open()

    def test_registrations_are_numbered_from_0_for_each_client(self):
        for _ in range(2):
            client = self.connect()
            self.assertEqual([client.registered(0), client.registered(1)], [0, 1])

    def test_a_client_can_not_register_without_end(self):
        for number in range(1024):
            self.client.registered(0, number.to_bytes(16, "big"))
        error = self.client.register(1).error()
        self.assertEqual((error.code, error.domain), (9, FROM_SECRET))
        self.assertIn("1024 registrations at a time are possible", error.message)
        self.client.deregister(7).reader()
        self.client.registered(1)

    def test_more_secrets_than_a_list_can_carry_are_refused_as_libvirt_does(self):
        """libvirt's own answer takes it a minute of defining; it was recorded."""
        for first in range(0, LIST_MAX + 1, 100):
            batch = range(first, min(first + 100, LIST_MAX + 1))
            for n in batch:
                self.client.send(wire.message(wire.DEFINE_XML, wire.string(xml(
                    None, f"{n}", "ceph", "ephemeral='yes'")) + wire.uint32(0)))
            for _ in batch:
                self.client.reply().reader()
        for need_results in (0, 1):
            self.assertEqual(
                self.client.list_all(0, need_results).error(),
                typical_error(ERR_INTERNAL, FROM_RPC, "internal error: %s",
                         f"Too many secrets '{LIST_MAX + 1}' for limit '{LIST_MAX}'"))
        self.assertEqual(self.client.list_all(2, 0).payload, bytes(8))
        self.assertEqual(self.client.count(), LIST_MAX + 1)
        self.assertEqual(self.client.list(LIST_MAX).reader().uint32(), LIST_MAX)
        self.assertEqual(len(self.pages(1000)), LIST_MAX + 1)
        for identifier in self.pages(1000):
            self.client.send(wire.message(wire.UNDEFINE, wire.secret(identifier)))
            self.client.reply().reader()

    # ---- the calls that libvirt does not have ----

    PROGRAM = 0x56435253

    def page(self, after, most, flags=0):
        return self.client.call(2, wire.optional(after) + wire.uint32(most) + wire.uint32(flags),
                                program=self.PROGRAM)

    def pages(self, most, flags=0):
        """All secrets, page by page: uuid -> (ephemeral, private, has value)."""
        listed, after, more = {}, None, True
        while more:
            reader = self.page(after, most, flags).reader()
            for _ in range(reader.uint32()):
                identifier = read_secret(reader)[0]
                self.assertTrue(after is None or after < identifier)
                after = identifier
                listed[identifier] = tuple(reader.uint32() for _ in range(3))
            more = reader.uint32() == 1
        return listed

    def test_secrets_are_listed_by_pages(self):
        made = {self.client.defined(f"/v/{n}", flags=f"private='{'yes' if n % 2 else 'no'}'"):
                (0, n % 2, n % 3 == 0) for n in range(10)}
        for identifier, (_, _, has_value) in made.items():
            if has_value:
                self.client.set_value(identifier, b"x").reader()
        for most in (1, 3, 5, 9, 10, 11, 1000):
            with self.subTest(most=most):
                self.assertEqual(self.pages(most), made)

    def test_pages_are_filtered(self):
        private = {self.client.defined(f"/v/{n}", flags="private='yes'") for n in range(3)}
        public = {self.client.defined(f"/w/{n}") for n in range(3)}
        self.assertEqual(set(self.pages(2, 4)), private)
        self.assertEqual(set(self.pages(2, 8)), public)
        self.assertEqual(set(self.pages(2, 1)), set())

    def test_a_page_that_can_not_be_is_refused(self):
        for most, flags, text in ((0, 0, "a page of 0 secrets"), (1001, 0, "1 to 1000"),
                                  (1, 16, "unsupported flags (0x10)")):
            error = self.page(None, most, flags).error()
            self.assertEqual((error.code, error.domain), (ERR_INVALID_ARG, FROM_SECRET))
            self.assertIn(text, error.message)

    def test_the_daemon_tells_its_state(self):
        self.client.defined("/v/1")
        self.client.defined("/v/2", flags="ephemeral='yes'")
        reader = self.client.call(1, program=self.PROGRAM).reader()
        self.assertRegex(reader.string(), r"^\d+\.\d+\.\d+$")
        self.assertEqual(reader.uint32(), self.daemon.pid)
        self.assertEqual((reader.uint32(), reader.optional(reader.string)), (0, None))
        self.assertEqual((reader.uint32(), reader.uint32(), reader.uint32()), (2, 1, 0))
        self.assertGreaterEqual(reader.uint32(), 1)
        self.assertEqual(reader.rest(), b"")

    def test_the_key_encryption_generation_is_told(self):
        reader = self.client.call(9, program=self.PROGRAM).reader()
        self.assertGreaterEqual(reader.uint64(), 1)
        self.assertEqual((reader.uint32(), reader.uint64(), reader.optional(reader.string)),
                         (0, 0, None))
        self.assertEqual(reader.rest(), b"")

    def audit(self, start, most):
        return self.client.call(8, start.to_bytes(8, "big") + wire.uint32(most),
                                program=self.PROGRAM)

    def audit_lines(self, most):
        """All lines of the audit, page by page."""
        lines, more = [], True
        while more:
            reader = self.audit(len(lines), most).reader()
            lines += [reader.string() for _ in range(reader.uint32())]
            more = reader.uint32() == 1
            self.assertEqual(reader.rest(), b"")
        return lines

    def test_the_audit_is_read_by_pages(self):
        before = len(self.audit_lines(1000))
        for n in range(5):
            identifier = self.client.defined(f"/v/{n}")
            self.client.set_value(identifier, b"x").reader()
            self.client.undefine(identifier).reader()
        lines = self.audit_lines(1000)
        self.assertEqual([json.loads(line)["event"] for line in lines[before:]], ["undefine"] * 5)
        for most in (1, 2, 5):
            self.assertEqual(self.audit_lines(most), lines)
        self.assertEqual(self.audit(1 << 40, 1).payload, bytes(8))

    def test_a_page_of_the_audit_that_can_not_be_is_refused(self):
        for most in (0, 1001):
            error = self.audit(0, most).error()
            self.assertEqual((error.code, error.domain), (ERR_INVALID_ARG, FROM_SECRET))
            self.assertIn(f"a page of {most} lines: it is 1 to 1000", error.message)


class Rotation(unittest.TestCase):
    """After an erasure, without a delay."""

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        daemon = self.machine.start_secretd("rotation_delay = 0\n")
        self.addCleanup(daemon.stop_in_order)
        self.client = Client(self.machine.path(host.SECRETD_SOCKET)).open()
        self.addCleanup(self.client.close)

    def status(self):
        reader = self.client.call(9, program=Own.PROGRAM).reader()
        return reader.uint64(), reader.uint32() == 1, reader.uint64(), reader.optional(reader.string)

    def status_when(self, is_there):
        until = time.monotonic() + 20 * host.PATIENCE
        while not is_there(self.status()):
            self.assertLess(time.monotonic(), until, self.status())
            time.sleep(0.01)
        return self.status()

    def erase_one(self):
        identifier = self.client.defined("/v/1")
        self.client.set_value(identifier, b"x").reader()
        self.client.undefine(identifier).reader()

    def test_an_erasure_begins_the_next_generation(self):
        self.assertEqual(self.status(), (1, False, 0, None))
        self.erase_one()
        self.assertEqual(self.status_when(lambda status: status[:2] == (2, False)),
                         (2, False, 0, None))

    def test_what_holds_it_up_is_told(self):
        name = "33333333-3333-4333-8333-333333333333.key"
        self.machine.write("/etc/libvirt/secrets/" + name, "whatever")
        self.erase_one()
        number, is_rotating, left, problem = self.status_when(lambda status: status[3])
        self.assertEqual((number, is_rotating, left), (2, True, 1))
        self.assertIn(name + " is no sealed value that this program can read", problem)


if __name__ == "__main__":
    taptest.main()
