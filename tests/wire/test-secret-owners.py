#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls about guests that own secrets, and about the audit of what was erased."""

import json
import unittest
import uuid

import host
import taptest
import wire
from secretcalls import (ERR_INTERNAL, ERR_INVALID_ARG, ERR_NO_SECRET, ERR_RPC, FROM_SECRET, Client,
                         no_uuid, xml)

PROGRAM = 0x56435253
BIND, UNBIND, ERASE, LIST_BINDINGS, PUT, AUDIT = 3, 4, 5, 6, 7, 8
ERR_OPERATION_FAILED, ERR_OPERATION_DENIED, ERR_XML_DETAIL = 9, 29, 35
GUESTS = [uuid.UUID(int=(0xa0 + n) << 120 | 1).bytes for n in range(4)]
_KEYS, _SECRETS = "/etc/libvirt/qemu/keys", "/etc/libvirt/secrets"


def _pairs(pairs):
    return wire.uint32(len(pairs)) + b"".join(secret + guest for secret, guest in pairs)


class Owners(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.daemon = self.machine.start_secretd()
        self.addCleanup(self.daemon.stop_in_order)
        self.client = self.connect()

    def connect(self, socket=host.SECRETD_SOCKET, flags=0):
        client = Client(self.machine.path(socket))
        self.addCleanup(client.close)
        return client.open(flags=flags)

    def call(self, procedure, payload, client=None):
        return (client or self.client).call(procedure, payload, program=PROGRAM)

    def made(self, usage, value=b"value"):
        identifier = self.client.defined(usage)
        self.client.set_value(identifier, value).reader()
        return identifier

    def failures(self, reply):
        """{index: (code, message)}."""
        reader = reply.reader()
        found = {reader.uint32(): (reader.int32(), reader.string())
                 for _ in range(reader.uint32())}
        self.assertEqual(reader.rest(), b"")
        return found

    def bind(self, *pairs):
        return self.failures(self.call(BIND, _pairs(pairs)))

    def unbind(self, *pairs, reason="guest 'x' was undefined"):
        return self.failures(self.call(UNBIND, _pairs(pairs) + wire.string(reason)))

    def erase(self, secret, guest=None, reason="volume deleted"):
        return self.call(ERASE, secret + wire.optional(guest) + wire.string(reason))

    def put(self, text, value, *owners):
        return self.call(PUT, wire.string(text) + wire.opaque(value)
                         + wire.uint32(len(owners)) + b"".join(owners))

    def page(self, after, most):
        return self.call(LIST_BINDINGS, wire.optional(after) + wire.uint32(most))

    def bindings(self, most=1000):
        found, after, more = [], None, True
        while more:
            reader = self.page(after and b"".join(after), most).reader()
            for _ in range(reader.uint32()):
                found.append((reader._take(16), reader._take(16)))
            after = found[-1] if found else None
            more = reader.uint32() == 1
        return found

    def audit(self, start, most):
        reader = self.call(AUDIT, wire.uint64(start) + wire.uint32(most)).reader()
        lines = [json.loads(reader.string()) for _ in range(reader.uint32())]
        return lines, reader.uint32() == 1

    def copy(self, secret, guest):
        return f"{_KEYS}/{uuid.UUID(bytes=guest)}/{uuid.UUID(bytes=secret)}.key"

    def key(self, secret):
        return f"{_SECRETS}/{uuid.UUID(bytes=secret)}.key"

    # ---- bind, unbind ----

    def test_a_bound_secret_is_beside_its_guests(self):
        secret = self.made("/v/1")
        self.assertEqual(self.bind((secret, GUESTS[1]), (secret, GUESTS[0])), {})
        self.assertEqual(self.bindings(), [(secret, GUESTS[0]), (secret, GUESTS[1])])
        self.assertFalse(self.machine.exists(self.key(secret)))
        self.assertTrue(self.machine.exists(self.copy(secret, GUESTS[0])))
        self.assertEqual(self.client.get_value(secret).reader().opaque(), b"value")
        self.assertEqual(self.unbind((secret, GUESTS[0]), (secret, GUESTS[1])), {})
        self.assertEqual(self.bindings(), [])
        self.assertTrue(self.machine.exists(self.key(secret)))

    def test_each_binding_of_a_call_has_its_own_end(self):
        first, empty, last = self.made("/v/1"), self.client.defined("/v/2"), self.made("/v/3")
        unknown = uuid.uuid4().bytes
        found = self.bind((first, GUESTS[0]), (unknown, GUESTS[0]), (first, GUESTS[0]),
                          (empty, GUESTS[0]), (last, bytes(16)), (last, GUESTS[2]))
        self.assertEqual(sorted(found), [1, 3, 4])
        self.assertEqual(found[1], (ERR_NO_SECRET, no_uuid(unknown).message))
        self.assertIn("does not have a value", found[3][1])
        self.assertEqual(found[4][0], ERR_INVALID_ARG)
        self.assertEqual(sorted(self.bindings()), sorted([(first, GUESTS[0]), (last, GUESTS[2])]))
        self.assertEqual(list(self.unbind((unknown, GUESTS[0]), (first, GUESTS[3]))), [0])
        self.assertEqual(self.bind(), {})

    def test_a_call_takes_a_thousand_bindings(self):
        secret = self.made("/v/1")
        guests = [uuid.UUID(int=n << 64 | 1).bytes for n in range(1001)]
        error = self.call(BIND, _pairs([(secret, guest) for guest in guests])).error()
        self.assertEqual(error.code, ERR_RPC)
        self.assertEqual(self.bind(*((secret, guest) for guest in guests[:1000])), {})
        self.assertEqual(self.bindings(), [(secret, guest) for guest in guests[:1000]])
        self.erase(secret).reader()
        self.assertEqual(self.bindings(), [])

    def test_bindings_are_listed_by_pages(self):
        secrets = sorted(self.made(f"/v/{n}") for n in range(3))
        wanted = [(secret, guest) for secret in secrets for guest in GUESTS[:3]]
        self.assertEqual(self.bind(*reversed(wanted)), {})
        for most in (1, 2, 3, 8, 9, 10, 1000):
            with self.subTest(most=most):
                self.assertEqual(self.bindings(most), wanted)
        for most in (0, 1001):
            error = self.page(None, most).error()
            self.assertEqual((error.code, error.domain), (ERR_INVALID_ARG, FROM_SECRET))
            self.assertIn(f"a page of {most} bindings", error.message)

    def test_owners_are_there_after_a_restart(self):
        secret = self.made("/v/1", b"kept")
        self.bind((secret, GUESTS[0]))
        self.daemon.stop_in_order()
        self.daemon = self.machine.start_secretd()
        self.addCleanup(self.daemon.stop_in_order)
        self.client = self.connect()
        self.assertEqual(self.bindings(), [(secret, GUESTS[0])])
        self.assertEqual(self.client.get_value(secret).reader().opaque(), b"kept")

    # ---- put ----

    def test_what_is_put_is_a_secret_with_value_and_owners(self):
        secret = uuid.uuid4().bytes
        self.put(xml(secret, "/v/1", description="d"), b"value", GUESTS[1], GUESTS[0]).reader()
        self.assertEqual(self.client.get_value(secret).reader().opaque(), b"value")
        self.assertIn("<description>d</description>", self.client.dump(secret).reader().string())
        self.assertEqual(self.bindings(), [(secret, GUESTS[0]), (secret, GUESTS[1])])

    def test_what_can_not_be_put_leaves_nothing(self):
        taken = self.made("/v/1")
        secret = uuid.uuid4().bytes
        for text, value, code, part in (
                (xml(taken, "/v/2"), b"x", ERR_OPERATION_FAILED, "already"),
                (xml(secret, "/v/1"), b"x", ERR_INTERNAL, "already defined for use with /v/1"),
                (xml(secret, "/v/2"), b"", ERR_INVALID_ARG, "value"),
                ("<secret>", b"x", ERR_XML_DETAIL, "")):
            with self.subTest(text=text):
                error = self.put(text, value, GUESTS[0]).error()
                self.assertEqual(error.code, code)
                self.assertIn(part, error.message)
        self.assertEqual(self.client.count(), 1)
        self.assertEqual(self.bindings(), [])

    # ---- erase, audit ----

    def test_what_is_erased_is_gone_and_in_the_audit(self):
        secret = self.made("/v/1", b"very secret")
        self.bind((secret, GUESTS[0]), (secret, GUESTS[1]))
        self.unbind((secret, GUESTS[1]))
        self.erase(secret, GUESTS[0], "guest 'web1' was undefined").reader()
        self.assertEqual(self.erase(secret).error().code, ERR_NO_SECRET)
        self.assertFalse(self.machine.exists(self.copy(secret, GUESTS[0])))
        lines, more = self.audit(0, 1000)
        self.assertEqual([(line["event"], line["reason"]) for line in lines],
                         [("bind", "bound to the guest"), ("bind", "bound to the guest"),
                          ("unbind", "guest 'x' was undefined"),
                          ("erase", "guest 'web1' was undefined")])
        self.assertFalse(more)
        self.assertEqual({line["secret"] for line in lines}, {str(uuid.UUID(bytes=secret))})
        self.assertEqual(lines[3]["guest"], str(uuid.UUID(bytes=GUESTS[0])))
        self.assertNotIn("very secret", str(lines))

    def test_the_audit_is_read_by_pages(self):
        secret = self.made("/v/1")
        self.bind(*((secret, guest) for guest in GUESTS))
        self.assertEqual([line["seq"] for line in self.audit(0, 3)[0]], [0, 1, 2])
        self.assertTrue(self.audit(0, 3)[1])
        self.assertEqual([line["seq"] for line in self.audit(3, 3)[0]], [3])
        self.assertEqual(self.audit(4, 3), ([], False))
        self.assertEqual(self.audit(2**63, 3), ([], False))
        self.assertIn("a page of 0 lines",
                      self.call(AUDIT, wire.uint64(0) + wire.uint32(0)).error().message)

    def test_a_removal_needs_a_reason(self):
        secret = self.made("/v/1")
        self.assertIn("needs a reason", self.erase(secret, reason="").error().message)
        self.assertEqual(list(self.unbind((secret, GUESTS[0]), reason="")), [0])
        self.assertEqual(self.client.count(), 1)

    # ---- rights ----

    def test_a_read_only_client_lists_and_changes_nothing(self):
        secret = self.made("/v/1")
        self.bind((secret, GUESTS[0]))
        reader = self.connect(host.SECRETD_SOCKET_RO)
        pair = _pairs([(secret, GUESTS[0])])
        for procedure, payload in (
                (BIND, pair), (UNBIND, pair + wire.string("x")),
                (ERASE, secret + wire.optional(None) + wire.string("x")),
                (PUT, wire.string(xml()) + wire.opaque(b"x") + wire.uint32(0)),
                (AUDIT, wire.uint64(0) + wire.uint32(1))):
            error = self.call(procedure, payload, reader).error()
            self.assertIn("read only access prevents", error.message)
            self.assertEqual(error.code, ERR_OPERATION_DENIED)
        listed = self.call(LIST_BINDINGS, wire.optional(None) + wire.uint32(10), reader).reader()
        self.assertEqual(listed.uint32(), 1)


if __name__ == "__main__":
    taptest.main()
