#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at every call that changes a file while secrets are bound to guests,
taken from them, set, erased, and put with their owners: killed, and cut from power. After the next
start a secret has its old owners and value or its new ones, as a whole, and its value can be read;
UUID.key is there exactly if no guest has a copy."""

import os
import uuid

import taptest
import wire
from secretd_case import A, B, C, Machine, SecretdCase, define, definition, set_value

_PROGRAM = 0x56435253
_BIND, _UNBIND, _ERASE, _LIST_BINDINGS, _PUT = 3, 4, 5, 6, 7
_SECRETS, _GUESTS = "/etc/libvirt/secrets", "/etc/libvirt/qemu/keys"

ONE, TWO, THREE = (uuid.UUID(f"{n * 8}-0000-4000-8000-00000000000a") for n in "123")


def _call(client, procedure, payload):
    return client.call(procedure, payload, program=_PROGRAM).reader()


def _array(elements):
    return wire.uint32(len(elements)) + b"".join(elements)


def _expect_no_failure(reader):
    if reader.uint32() != 0:
        raise AssertionError(reader.rest())


def bind(secret, guest):
    return lambda client: _expect_no_failure(
        _call(client, _BIND, _array([secret.bytes + guest.bytes])))


def unbind(secret, guest):
    return lambda client: _expect_no_failure(
        _call(client, _UNBIND, _array([secret.bytes + guest.bytes]) + wire.string("undefined")))


def erase(secret):
    return lambda client: _call(
        client, _ERASE, secret.bytes + wire.optional(None) + wire.string("volume deleted"))


def put(secret, value, *owners):
    return lambda client: _call(
        client, _PUT, wire.string(definition(secret)) + wire.opaque(value)
        + _array([owner.bytes for owner in owners]))


class Owning(Machine):
    @staticmethod
    def _secret(client, identifier):
        reader = _call(client, _LIST_BINDINGS, wire.optional(None) + wire.uint32(1000))
        pairs = [(str(uuid.UUID(bytes=reader._take(16))), str(uuid.UUID(bytes=reader._take(16))))
                 for _ in range(reader.uint32())]
        return (*Machine._secret(client, identifier),
                [guest for secret, guest in pairs if secret == identifier])

    def copies(self):
        """{secret: guests} of the files."""
        found = {}
        for guest in os.listdir(self.path(_GUESTS)) if self.exists(_GUESTS) else []:
            names = os.listdir(self.path(f"{_GUESTS}/{guest}"))
            if not names:
                raise AssertionError(f"{guest} has an empty folder")
            for name in names:
                found.setdefault(name.removesuffix(".key"), []).append(guest)
        return {secret: sorted(guests) for secret, guests in found.items()}


class Owners(SecretdCase):
    MACHINE = Owning

    def expect(self, machine, allowed, what):
        super().expect(machine, allowed, what)
        state, copies = machine.state(), machine.copies()
        self.assertEqual({secret: owners for secret, (_, _, owners) in state.items() if owners},
                         copies, what)
        for secret, (_, value, owners) in state.items():
            self.assertIsInstance(value, bytes, what)
            self.assertEqual(machine.exists(f"{_SECRETS}/{secret}.key"), not owners, what)

    def before(self):
        """A belongs to none, B to two guests."""
        return self.made_by(define(A), set_value(A, b"value of A"), define(B),
                            set_value(B, b"value of B"), bind(B, ONE), bind(B, TWO))

    def test_a_first_bind_moves_the_value_to_the_guest(self):
        self.assert_old_or_new(self.before(), [bind(A, ONE)])

    def test_a_further_bind_adds_a_copy(self):
        self.assert_old_or_new(self.before(), [bind(B, THREE)])

    def test_unbinds_end_with_a_value_of_no_guest(self):
        self.assert_old_or_new(self.before(), [unbind(B, ONE), unbind(B, TWO)])

    def test_a_new_value_is_in_all_copies_or_in_none(self):
        self.assert_old_or_new(self.before(), [set_value(B, b"new value of B")])

    def test_a_redefinition_seals_all_copies_or_none(self):
        self.assert_old_or_new(self.before(), [define(B, private="yes")])

    def test_an_erased_secret_is_whole_or_gone(self):
        self.assert_old_or_new(self.before(), [erase(B)])

    def test_what_is_put_is_whole_or_not_there(self):
        self.assert_old_or_new(self.before(), [put(C, b"value of C", ONE, THREE)])


if __name__ == "__main__":
    taptest.main()
