# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls for the master key as bytes (wire): src/rpc/protocol/virtcrypt_master.x."""

import dataclasses
import uuid

import wire

PROGRAM = 0x56434D4B
STATUS, UNLOCK, LOCK, ADD_SLOT, REMOVE_SLOT, TEST_SLOT, CHANGE_PASSPHRASE, ROTATE = range(1, 9)


@dataclasses.dataclass
class Slot:
    id: uuid.UUID
    method: str
    label: str
    created: int
    needs_person: bool
    is_opener: bool
    problem: str
    fields: dict


@dataclasses.dataclass
class Status:
    locked: bool
    locked_reason: str
    key_id: bytes
    is_rotating: bool
    left: int
    problem: str
    rollback: str
    slots: list


def _slot(reader):
    return Slot(uuid.UUID(bytes=reader.fixed(16)), reader.string(), reader.string(),
                reader.uint64(), reader.uint32() == 1, reader.uint32() == 1,
                reader.optional(reader.string),
                {reader.string(): reader.string() for _ in range(reader.uint32())})


def _call(client, procedure, payload=b""):
    return client.call(procedure, payload, program=PROGRAM)


def status(client):
    reader = _call(client, STATUS).reader()
    return Status(reader.uint32() == 1, reader.optional(reader.string), reader.opaque(),
                  reader.uint32() == 1, reader.uint64(), reader.optional(reader.string),
                  reader.optional(reader.string),
                  [_slot(reader) for _ in range(reader.uint32())])


def unlock(client, slot=None, passphrase=b""):
    """Returns the reply, as all that follow."""
    return _call(client, UNLOCK, wire.optional(slot and slot.bytes) + wire.opaque(passphrase))


def lock(client):
    return _call(client, LOCK)


def add_slot(client, method, label="", fields=(), passphrase=b""):
    fields = list(dict(fields).items())
    return _call(client, ADD_SLOT, wire.string(method) + wire.string(label)
                 + wire.uint32(len(fields))
                 + b"".join(wire.string(name) + wire.string(value) for name, value in fields)
                 + wire.opaque(passphrase))


def remove_slot(client, slot, passphrase=b""):
    return _call(client, REMOVE_SLOT, slot.bytes + wire.opaque(passphrase))


def rotate(client, reseal=False, answers=(), remove=()):
    """`answers`: {slot: passphrase}."""
    answers = list(dict(answers).items())
    return _call(client, ROTATE, wire.uint32(reseal) + wire.uint32(len(answers))
                 + b"".join(slot.bytes + wire.opaque(passphrase) for slot, passphrase in answers)
                 + wire.uint32(len(remove)) + b"".join(slot.bytes for slot in remove))
