# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls of virtcryptd as bytes (wire)."""

import dataclasses

import host
import wire

PROGRAM = 0x56435654
(STATUS, CREATE, WANTS, ADOPT, DELETE, WIPE, RESIZE, REKEY, JOB_WAIT, JOB_CANCEL, GET_INFO,
 GET_XML_DESC, GET, GET_BY_PATH, LIST, OPEN, CLOSE, GUEST_PREPARE, GUEST_RELEASE, POOL_POLICY,
 SET_POOL_POLICY) = range(1, 22)

FROM_STORAGE = 18
ERR_INVALID_ARG, ERR_OPERATION_FAILED, ERR_DENIED = 8, 9, 29
ERR_NO_POOL, ERR_NO_VOL, ERR_OPERATION_INVALID = 49, 50, 55
ERR_ABORTED, ERR_BUSY = 78, 87

URI = "storage:///system"


@dataclasses.dataclass
class Volume:
    pool: str
    name: str
    path: str
    kind: int
    secret: bytes
    is_generated: bool
    is_open: bool
    users: str
    state: str

    @classmethod
    def read(cls, reader):
        pool, name, path = (reader.string() for _ in range(3))
        kind = reader.int32()
        secret = reader.optional(lambda: reader.fixed(16))
        return cls(pool, name, path, kind, secret, bool(reader.uint32()), bool(reader.uint32()),
                   reader.optional(reader.string), reader.optional(reader.string))


@dataclasses.dataclass
class Job:
    number: int
    is_done: bool
    permille: int
    volume: Volume
    warnings: list

    @classmethod
    def read(cls, reader):
        return cls(reader.uint64(), bool(reader.uint32()), reader.uint32(),
                   reader.optional(lambda: Volume.read(reader)),
                   [reader.string() for _ in range(reader.uint32())])


def xml(name, mib=8, kind="qcow2", encryption="<encryption format='luks'/>"):
    return (f"<volume><name>{name}</name><capacity unit='MiB'>{mib}</capacity>"
            f"<target><format type='{kind}'/>{encryption}</target></volume>")


def ref(pool, name):
    return wire.string(pool) + wire.string(name)


def create_args(pool, text, key=b"", flags=0, source=None):
    return (wire.string(pool) + wire.string(text) + wire.optional(source) + wire.optional(None)
            + wire.optional(None) + wire.uint32(flags) + wire.opaque(key))


def open_args(pool, name, guest=None, is_stream=False):
    return (ref(pool, name) + wire.optional(guest) + wire.uint32(is_stream) + wire.uint32(0))


class Client(wire.Connection):
    """Calls by name; each returns the reply, but for those that say otherwise."""

    def open(self, uri=URI, flags=0):
        return super().open(uri, flags)

    def ask(self, procedure, payload=b"", **options):
        return self.call(procedure, payload, program=PROGRAM, **options)

    def post(self, procedure, payload=b"", serial=0):
        """Sends a call, and waits for nothing."""
        self.send(wire.message(procedure, payload, program=PROGRAM, serial=serial))

    def create(self, pool, text, **options):
        return self.ask(CREATE, create_args(pool, text, **options))

    def finish(self, reply, bound=host.RUN_BOUND_S):
        """The end of the job that `reply` tells of; raises its error."""
        job = Job.read(reply.reader())
        while not job.is_done:
            job = Job.read(self.ask(JOB_WAIT, wire.uint64(job.number)).reader())
        return job

    def created(self, pool, text, **options):
        """The volume."""
        return self.finish(self.create(pool, text, **options)).volume

    def delete(self, pool, name):
        return self.ask(DELETE, ref(pool, name) + wire.uint32(0))

    def get(self, pool, name):
        return self.ask(GET, ref(pool, name) + wire.uint32(0))

    def page(self, pool=None, after=None, most=1000):
        return self.ask(LIST, wire.optional(pool and wire.string(pool))
                        + wire.optional(after and ref(*after)) + wire.uint32(most))

    def volumes(self, pool=None, most=1000):
        """All of them, page by page."""
        found, after, more = [], None, True
        while more:
            reader = self.page(pool, after, most).reader()
            listed = [Volume.read(reader) for _ in range(reader.uint32())]
            more = bool(reader.uint32())
            found += listed
            after = (listed[-1].pool, listed[-1].name) if listed else None
        return found

    def status(self):
        """version, pid, volumes, pending, clients, custodian"""
        reader = self.ask(STATUS).reader()
        return (reader.string(), *(reader.uint32() for _ in range(4)),
                reader.optional(reader.string))
