#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at every call that changes a file while values are set, replaced, put and
removed and the index of generations is written behind them: killed, and cut from power. No value is
refused at the next start, whatever the index says; and then it says what the files do."""

import base64
import os
import time
import uuid

import host
import taptest
import wire
from secretd_case import A, B, Machine, SecretdCase, define, definition, set_value, undefine

_CONFIG = "/etc/libvirt"
_INDEX = "/etc/libvirt/virtcrypt/index"
_PROGRAM, _BIND, _PUT = 0x56435253, 3, 7
_BOUND_S = 20 * host.PATIENCE

GUEST, OTHER_GUEST = (uuid.UUID(f"{n * 8}-0000-4000-8000-00000000000a") for n in "12")

# docs/sealed-format.md
_AT_GENERATION, _AT_ENTRIES, _ENTRY, _TAG = 32, 60, 24, 32


def _floors(machine):
    """{uuid: generation}"""
    if not machine.exists(_INDEX):
        return {}
    content = machine.read(_INDEX)
    entries = content[_AT_ENTRIES:-_TAG]
    return {str(uuid.UUID(bytes=entries[at:at + 16])):
            int.from_bytes(entries[at + 16:at + _ENTRY], "big")
            for at in range(0, len(entries), _ENTRY)}


def _generations(machine):
    """The same, of the sealed files."""
    found = {}
    for folder, _, names in os.walk(machine.path(_CONFIG)):
        for name in names:
            identifier, end = os.path.splitext(name)
            if end == ".key" and len(identifier) == 36:
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                found[identifier] = int.from_bytes(
                    content[_AT_GENERATION:_AT_GENERATION + 8], "big")
    return found


def _call(client, procedure, payload):
    return client.call(procedure, payload, program=_PROGRAM).reader()


def bind(secret, guest):
    """One that fails would be seen by the missing copy."""
    return lambda client: _call(client, _BIND, wire.uint32(1) + secret.bytes + guest.bytes)


def put(secret, value, owner):
    return lambda client: _call(client, _PUT, wire.string(definition(secret)) + wire.opaque(value)
                                + wire.uint32(1) + owner.bytes)


def written(secret, is_right):
    """A step that ends when what the index says of it is right (None: it knows nothing of it)."""
    def wait(client):
        until = time.monotonic() + _BOUND_S
        while not is_right(_floors(client.machine).get(str(secret))):
            if time.monotonic() > until:
                raise AssertionError(f"the index was not written in {_BOUND_S} s")
            # One that was stopped writes none, and has hung up.
            client.call(wire.NUM_OF_SECRETS)
            time.sleep(0.002)
    return wait


class Indexed(Machine):
    config = "index_delay = 0\n"

    def connect(self):
        connection = super().connect()
        connection.machine = self
        return connection


class Index(SecretdCase):
    MACHINE = Indexed

    def expect(self, machine, allowed, what):
        super().expect(machine, allowed, what)
        # What was undefined may be known until it is used again.
        self.assertLessEqual(_generations(machine).items(), _floors(machine).items(), what)

    def before(self):
        """The third value of A, and no secret C."""
        return self.made_by(define(A), set_value(A, b"value 1"), set_value(A, b"value 2"),
                            set_value(A, b"value 3"), define(B), written(A, lambda floor: floor == 3))

    def test_values_that_follow_each_other(self):
        self.assert_old_or_new(self.before(), [
            set_value(A, b"value 4"), written(A, lambda floor: floor == 4), set_value(A, b"value 5"),
            set_value(A, b"value 6"), written(A, lambda floor: floor == 6)])

    def test_a_first_value(self):
        self.assert_old_or_new(self.before(), [set_value(B, b"first"), written(B, lambda floor: floor)])

    def test_a_uuid_that_is_used_again_at_once(self):
        self.assert_old_or_new(self.before(), [undefine(A), define(A), set_value(A, b"again")])

    def test_a_uuid_that_is_used_again_when_the_index_forgot_it(self):
        self.assert_old_or_new(self.before(), [
            undefine(A), written(A, lambda floor: floor is None), define(A), set_value(A, b"again")])

    def test_a_value_that_is_sealed_anew(self):
        self.assert_old_or_new(self.before(), [
            define(A, private="yes"), set_value(A, b"value 4"), written(A, lambda floor: floor == 4)])

    def test_a_put_and_a_bind(self):
        self.assert_old_or_new(self.before(), [
            undefine(A), put(A, b"put", GUEST), bind(A, OTHER_GUEST), set_value(A, b"new")])

    def test_a_first_index(self):
        before = self.before()
        del before["virtcrypt/index"]
        self.assert_old_or_new(before, [set_value(A, b"value 4")], from_start=True)

    def test_an_import(self):
        before = self.made_by(define(A), set_value(A, b"old"), define(B), written(A, lambda floor: floor == 1))
        before[f"secrets/{B}.base64"] = base64.b64encode(b"in clear")
        self.assert_old_or_new(before, [], from_start=True)


if __name__ == "__main__":
    taptest.main()
