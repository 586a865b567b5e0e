# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's messages as bytes: a client that packs and unpacks them itself, so that a test can send
what no library would send. It knows the framing (docs: libvirt's "RPC protocol" page) and the few
structs that tests need, and shares no code with the daemon.
"""

import dataclasses
import os
import socket
import struct
import unittest

import host

PATIENCE = float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1"))
ANSWER_BOUND_S = 30 * PATIENCE

REMOTE = 0x20008086
KEEPALIVE = 0x6b656570
CALL, REPLY, MESSAGE, STREAM, CALL_WITH_FDS, REPLY_WITH_FDS, HOLE = range(7)
OK, ERROR, CONTINUE = range(3)
HEADER_SIZE = 28
MESSAGE_MAX = 33554432 + 4

OPEN, CLOSE, GET_TYPE, GET_VERSION = 1, 2, 3, 4
GET_HOSTNAME, SUPPORTS_FEATURE, AUTH_LIST, AUTH_POLKIT = 59, 60, 66, 70
GET_URI, IS_SECURE, GET_LIB_VERSION = 110, 149, 157
REGISTER_CLOSE_CALLBACK, UNREGISTER_CLOSE_CALLBACK, SET_IDENTITY = 360, 361, 419
NUM_OF_SECRETS, LIST_SECRETS, LOOKUP_BY_UUID, DEFINE_XML, GET_XML_DESC = 139, 140, 141, 142, 143
SET_VALUE, GET_VALUE, UNDEFINE, LOOKUP_BY_USAGE = 144, 145, 146, 147

TYPED_INT, TYPED_UINT, TYPED_LLONG, TYPED_ULLONG, TYPED_DOUBLE, TYPED_BOOL, TYPED_STRING = range(1, 8)
_TYPED_FORMATS = {TYPED_INT: ">i", TYPED_UINT: ">I", TYPED_LLONG: ">q", TYPED_ULLONG: ">Q",
                  TYPED_DOUBLE: ">d", TYPED_BOOL: ">i"}


class Closed(Exception):
    """The daemon closed the connection."""


# ---- XDR ----

def uint32(value):
    return struct.pack(">I", value & 0xffffffff)


def int32(value):
    return struct.pack(">i", value)


def opaque(value):
    return uint32(len(value)) + value + bytes(-len(value) % 4)


def uint64(value):
    return struct.pack(">Q", value)


def string(text):
    return opaque(text.encode() if isinstance(text, str) else text)


def optional(packed):
    return uint32(0) if packed is None else uint32(1) + packed


def typed_param(field, kind, value):
    packed = string(value) if kind == TYPED_STRING else struct.pack(_TYPED_FORMATS[kind], value)
    return string(field) + int32(kind) + packed


def typed_params(*params):
    return uint32(len(params)) + b"".join(typed_param(*param) for param in params)


def secret(uuid, usage_type=0, usage_id=""):
    return uuid + int32(usage_type) + string(usage_id)


class Reader:
    """Unpacks a payload; at its end rest() is empty."""

    def __init__(self, payload):
        self._payload = payload
        self._at = 0

    def _take(self, size):
        if self._at + size > len(self._payload):
            raise ValueError(f"the payload ends at {len(self._payload)}: {self._payload.hex()}")
        taken = self._payload[self._at:self._at + size]
        self._at += size
        return taken

    def int32(self):
        return struct.unpack(">i", self._take(4))[0]

    def uint32(self):
        return struct.unpack(">I", self._take(4))[0]

    def uint64(self):
        return struct.unpack(">Q", self._take(8))[0]

    def opaque(self):
        size = self.uint32()
        value = self._take(size)
        self._take(-size % 4)
        return value

    def fixed(self, size):
        value = self._take(size)
        self._take(-size % 4)
        return value

    def string(self):
        return self.opaque().decode()

    def optional(self, read):
        return read() if self.uint32() else None

    def rest(self):
        return self._payload[self._at:]


@dataclasses.dataclass
class Error:
    """struct remote_error, all of it."""
    code: int
    domain: int
    message: str
    level: int
    str1: str
    str2: str
    str3: str
    int1: int
    int2: int

    @classmethod
    def unpack(cls, payload):
        reader = Reader(payload)
        code, domain = reader.int32(), reader.int32()
        message = reader.optional(reader.string)
        level = reader.int32()
        if reader.uint32():
            raise ValueError("an error with a domain")
        texts = [reader.optional(reader.string) for _ in range(3)]
        numbers = [reader.int32(), reader.int32()]
        if reader.uint32() or reader.rest():
            raise ValueError("an error with a network, or bytes after it")
        return cls(code, domain, message, level, *texts, *numbers)


# ---- messages ----

@dataclasses.dataclass
class Message:
    program: int
    version: int
    procedure: int
    type: int
    serial: int
    status: int
    payload: bytes

    def error(self):
        if self.status != ERROR:
            raise ValueError(f"{self} is no error")
        return Error.unpack(self.payload)

    def reader(self):
        if self.status != OK:
            raise ValueError(f"{self} is an error: {self.error()}")
        return Reader(self.payload)


def message(procedure, payload=b"", **head):
    """`head`: serial, type, status, program or version, if they are not those of a usual call."""
    head = {"program": REMOTE, "version": 1, "type": CALL, "serial": 0, "status": OK} | head
    return uint32(HEADER_SIZE + len(payload)) + struct.pack(
        ">IIiIIi", head["program"], head["version"], procedure, head["type"], head["serial"],
        head["status"]) + payload


PING = message(1, type=MESSAGE, program=KEEPALIVE)
PONG = message(2, type=MESSAGE, program=KEEPALIVE)


class Connection:
    """One client. A call waits for its reply; events that come meanwhile are kept in `events`, and
    pings answered and counted in `pings`."""

    def __init__(self, path, answer_pings=True):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_BOUND_S)
        self._socket.connect(path)
        self._serial = 0
        self._answer_pings = answer_pings
        self.events = []
        self.pings = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self._socket.close()

    def fileno(self):
        return self._socket.fileno()

    def send(self, raw):
        try:
            self._socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed() from None

    def send_descriptor(self, descriptor):
        """As libvirt does: one byte of its own with each descriptor."""
        socket.send_fds(self._socket, [b"\0"], [descriptor])

    def half_close(self):
        self._socket.shutdown(socket.SHUT_WR)

    def _receive_exactly(self, size):
        received = b""
        while len(received) < size:
            try:
                piece = self._socket.recv(size - len(received))
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise Closed()
            received += piece
        return received

    def receive(self, bound=ANSWER_BOUND_S):
        """The next message of any kind."""
        self._socket.settimeout(bound)
        size = struct.unpack(">I", self._receive_exactly(4))[0]
        if not HEADER_SIZE <= size <= MESSAGE_MAX:
            raise ValueError(f"a message of {size} bytes")
        body = self._receive_exactly(size - 4)
        return Message(*struct.unpack(">IIiIIi", body[:24]), body[24:])

    def reply(self, bound=ANSWER_BOUND_S):
        """The next reply."""
        while True:
            received = self.receive(bound)
            if (received.program, received.procedure, received.type) == (KEEPALIVE, 1, MESSAGE):
                self.pings += 1
                if self._answer_pings:
                    self.send(PONG)
            elif received.type == MESSAGE:
                self.events.append(received)
            else:
                return received

    def call(self, procedure, payload=b"", **options):
        """Sends one call and returns its reply."""
        options.setdefault("serial", self._serial)
        self._serial += 1
        self.send(message(procedure, payload, **options))
        return self.reply()

    def is_closed(self, bound=ANSWER_BOUND_S):
        """Waits for the daemon to close; what comes before that is dropped."""
        try:
            while True:
                self.receive(bound)
        except Closed:
            return True
        except socket.timeout:
            return False

    def open(self, uri="secret:///system", flags=0):
        """What every client does first."""
        self.call(AUTH_LIST).reader()
        self.call(OPEN, optional(string(uri)) + uint32(flags)).reader()
        return self


# ---- the two sides of a comparison ----

class Side:
    """A daemon in a host of its own: `path` and `path_ro` are its sockets."""

    def __init__(self, name, start, path):
        self.name = name
        self.host = host.Host()
        try:
            start(self.host)
        except BaseException:
            self.host.close()
            raise
        self.path = self.host.path(path)
        self.path_ro = self.host.path(path + "-ro")

    def connect(self, **options):
        return Connection(self.path, **options)

    def connect_ro(self, **options):
        return Connection(self.path_ro, **options)

    def opened(self, flags=0):
        return self.connect().open(flags=flags)


def ours(config=""):
    return Side("virtcrypt-secretd", lambda machine: machine.start_secretd(config),
                host.SECRETD_SOCKET)


def reference():
    return Side("libvirtd", host.Host.start_reference, host.REFERENCE_SOCKET)


class Compared:
    """A mixin: each test of a class runs against one side. on_both(Case, globals()) makes two
    classes of a Case, one for each side, which start when their first test does."""

    make_side = None

    @classmethod
    def setUpClass(cls):
        cls.side = cls.make_side()

    @classmethod
    def tearDownClass(cls):
        cls.side.host.close()

    def tearDown(self):
        # Whatever was sent, the daemon serves the next one.
        with self.side.opened() as client:
            self.assertEqual(b"", client.call(REGISTER_CLOSE_CALLBACK).reader().rest())

    def assert_error(self, reply, code, domain, text):
        error = reply.error()
        self.assertEqual((code, domain), (error.code, error.domain), error)
        self.assertIn(text, error.message)
        self.assertEqual(2, error.level)
        return error


def on_both(case, module):
    for make in (reference, ours):
        name = f"{case.__name__}By{make.__name__.capitalize()}"
        module[name] = type(name, (case, unittest.TestCase),
                            {"make_side": staticmethod(make), "__module__": module["__name__"]})
