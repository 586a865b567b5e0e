# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls of the program virtcrypt_master as bytes (wire), and its answers as Python has them."""

import collections
import hashlib
import time

import wire

PROGRAM = 0x56434D4B
STATUS, UNLOCK, LOCK, ADD_SLOT, REMOVE_SLOT, TEST_SLOT, CHANGE_PASSPHRASE, ROTATE = range(1, 9)

BOUND_S = 60

Slot = collections.namedtuple(
    "Slot", "id method label created needs_person is_opener problem fields")
Status = collections.namedtuple(
    "Status", "locked reason key_id is_rotating left problem rollback slots")


def _bool(reader):
    return reader.uint32() == 1


def _text(reader):
    return reader.optional(reader.string)


def read_slot(reader):
    return Slot(reader.fixed(16), reader.string(), reader.string(), reader.uint64(), _bool(reader),
                _bool(reader), _text(reader),
                {reader.string(): reader.string() for _ in range(reader.uint32())})


def call(client, procedure, payload=b"", bound=BOUND_S):
    client.send(wire.message(procedure, payload, program=PROGRAM))
    return client.reply(bound)


def status(client):
    reader = call(client, STATUS).reader()
    return Status(_bool(reader), _text(reader), reader.opaque(), _bool(reader), reader.uint64(),
                  _text(reader), _text(reader), [read_slot(reader) for _ in range(reader.uint32())])


def unlock(client, slot=None, passphrase=b""):
    return call(client, UNLOCK, wire.optional(slot) + wire.opaque(passphrase))


def lock(client):
    return call(client, LOCK)


def add_slot(client, method, label="", passphrase=b"", **fields):
    return call(client, ADD_SLOT, add_payload(method, label, passphrase, fields))


def add_payload(method, label, passphrase, fields):
    packed = b"".join(wire.string(name.replace("_", "-")) + wire.string(value)
                      for name, value in fields.items())
    return (wire.string(method) + wire.string(label) + wire.uint32(len(fields)) + packed +
            wire.opaque(passphrase))


def added(client, *arguments, **fields):
    return read_slot(add_slot(client, *arguments, **fields).reader())


def remove_slot(client, slot, passphrase=b""):
    return call(client, REMOVE_SLOT, slot + wire.opaque(passphrase))


def test_slot(client, slot, passphrase=b""):
    return call(client, TEST_SLOT, slot + wire.opaque(passphrase))


def change_passphrase(client, slot, old, new):
    return call(client, CHANGE_PASSPHRASE, slot + wire.opaque(old) + wire.opaque(new))


def rotate(client, reseal=False, answers=(), remove=()):
    """`answers`: {slot: passphrase}."""
    answers = dict(answers)
    return call(client, ROTATE, wire.uint32(reseal) + wire.uint32(len(answers))
                + b"".join(slot + wire.opaque(answers[slot]) for slot in answers)
                + wire.uint32(len(remove)) + b"".join(remove))


def wait_until(is_there, bound=BOUND_S):
    until = time.monotonic() + bound
    while not is_there():
        if time.monotonic() > until:
            raise AssertionError(f"nothing came in {bound} s")
        time.sleep(0.01)


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def recovery_passphrase(bits):
    """That of these 32 bytes, as docs/sealed-format.md has it."""
    digits = bits + hashlib.sha256(b"virtcrypt recovery v1\0" + bits).digest()[:3]
    number = int.from_bytes(digits, "big")
    values = [number >> shift & 31 for shift in range(len(digits) * 8 - 5, -1, -5)]
    groups = [bytes(values[start:start + 7]) for start in range(0, len(values), 7)]
    checks = [hashlib.sha256(b"virtcrypt recovery group v1" + bytes([place]) + group).digest()[0]
              for place, group in enumerate(groups)]
    return "-".join("".join(_ALPHABET[value] for value in (*group, check >> 3))
                    for group, check in zip(groups, checks)).encode()
