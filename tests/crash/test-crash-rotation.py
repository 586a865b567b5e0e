#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at every call that changes a file while it rotates the key-encryption
generation: killed, and cut from power. After the next start every value opens that was not erased,
and the rotation ends: one generation is left, and everything is under it."""

import os
import time
import uuid

import host
import taptest
import wire
from secretd_case import A, B, C, Machine, SecretdCase, define, set_value, undefine

_CONFIG = "/etc/libvirt"
_PROGRAM, _BIND, _GENERATION_STATUS = 0x56435253, 3, 9
_BOUND_S = 20 * host.PATIENCE

# docs/sealed-format.md
_ONE_GENERATION_SIZE = 100
_MASTER_KEY_ID = slice(72, 88)


GUESTS = [uuid.UUID(f"{n * 8}-0000-4000-8000-00000000000a") for n in "12"]


def _bind(secret, guest):
    """One that fails would be seen by the missing copy."""
    return lambda client: client.call(_BIND, wire.uint32(1) + secret.bytes + guest.bytes,
                                      program=_PROGRAM).reader()


def _status(client):
    reader = client.call(_GENERATION_STATUS, program=_PROGRAM).reader()
    return reader.uint64(), reader.uint32() == 1, reader.uint64(), reader.optional(reader.string)


def _wait(is_there):
    until = time.monotonic() + _BOUND_S
    while not is_there():
        if time.monotonic() > until:
            raise AssertionError(f"nothing came in {_BOUND_S} s")
        time.sleep(0.005)


def _rotated_to(number):
    return lambda client: _wait(lambda: _status(client) == (number, False, 0, None))


class Rotating(Machine):
    config = "rotation_delay = 0\n"

    def settle(self, client):  # pylint: disable=method-hidden
        _wait(lambda: not self.exists(_CONFIG + "/virtcrypt/generations.due")
              and _status(client)[1:] == (False, 0, None))

    def keys(self):
        """{path: bytes} of the sealed values."""
        root = self.path(_CONFIG)
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(root)
                 for name in names if name.endswith(".key") and name != "master.key"]
        return {path: self.read(_CONFIG + path.removeprefix(root)) for path in paths}


class Rotation(SecretdCase):
    MACHINE = Rotating

    def expect(self, machine, allowed, what):
        super().expect(machine, allowed, what)
        keys = machine.keys()
        self.assertEqual(sum("/qemu/keys/" in path for path in keys), len(GUESTS), what)
        self.assertEqual(len({key[_MASTER_KEY_ID] for key in keys.values()}), 1, what)
        self.assertEqual(len(machine.read(_CONFIG + "/virtcrypt/generations")),
                         _ONE_GENERATION_SIZE, what)
        self.assertEqual(set(os.listdir(machine.path(_CONFIG + "/virtcrypt"))),
                         {"master.key", "generations", "index", "journal"}, what)

    def before(self):
        return self.made_by(define(A), set_value(A, b"first value"), define(B),
                            set_value(B, b"second value"), *(_bind(B, guest) for guest in GUESTS),
                            define(C), set_value(C, b"third" * 200))

    def test_a_rotation_after_an_undefine_loses_nothing_and_ends(self):
        self.assert_old_or_new(self.before(), [undefine(A), _rotated_to(2)])


if __name__ == "__main__":
    taptest.main()
