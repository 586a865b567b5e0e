# SPDX-License-Identifier: LGPL-2.1-or-later
"""A socket between a client and a daemon that keeps every frame of libvirt's protocol that passes.

    with recorder.Recorder(path, to_path) as recorded:
        ... a client talks to `path` ...
    recorded.frames    # in the order in which they passed

A recording as text has a line `> ` or `< ` (to the daemon, to the client) with what the frame is,
then its bytes as hexadecimal words, indented.
"""

import os
import socket
import struct
import threading

_BOUND_S = 60
_FRAME_MAX = 33554432 + 4
_WORDS_A_LINE = 8

PROGRAM = 0x20008086
KEEPALIVE = 0x6b656570
CALL, REPLY, MESSAGE = 0, 1, 2
OK, ERROR = 0, 1
_TYPES = {CALL: "call", REPLY: "reply", MESSAGE: "message"}


class Frame:
    """`from_client` says which way it went; the rest is read from the bytes, which are whole."""

    def __init__(self, from_client, content):
        self.from_client = from_client
        self.bytes = content
        (self.length, self.program, self.version, self.procedure, self.type, self.serial,
         self.status) = struct.unpack(">3Ii3I", content[:28])
        self.payload = content[28:]

    def __str__(self):
        kind = _TYPES.get(self.type, str(self.type))
        return (f"{'>' if self.from_client else '<'} {kind} {self.procedure}"
                + (" error" if self.status == ERROR else ""))


class _Direction:
    """Cuts what is sent one way into frames."""

    def __init__(self, from_client, keep):
        self._from_client = from_client
        self._keep = keep
        self._rest = b""

    def add(self, content):
        self._rest += content
        while len(self._rest) >= 4:
            length = struct.unpack(">I", self._rest[:4])[0]
            if not 28 <= length <= _FRAME_MAX:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._rest) < length:
                return
            self._keep(Frame(self._from_client, self._rest[:length]))
            self._rest = self._rest[length:]


class Recorder:
    def __init__(self, path, to_path):
        self._to_path = to_path
        self._lock = threading.Lock()
        self._threads = []
        self._sockets = []
        self.frames = []
        self.failures = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o666)
        self._listener.listen()
        self._path = path

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in list(self._sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in list(self._threads):
            thread.join(_BOUND_S)
        for each in [self._listener, *self._sockets]:
            each.close()
        os.unlink(self._path)
        if self.failures:
            raise self.failures[0]

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _keep(self, frame):
        with self._lock:
            self.frames.append(frame)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            daemon.connect(self._to_path)
            self._sockets += [client, daemon]
            self._start(self._forward, client, daemon, _Direction(True, self._keep))
            self._start(self._forward, daemon, client, _Direction(False, self._keep))

    def _forward(self, source, target, direction):
        try:
            while content := source.recv(65536):
                direction.add(content)
                target.sendall(content)
        except ValueError as error:
            self.failures.append(error)
        except OSError:
            pass
        try:
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def format_frames(frames):
    lines = []
    for frame in frames:
        lines.append(str(frame))
        words = [frame.bytes[at:at + 4].hex() for at in range(0, len(frame.bytes), 4)]
        for at in range(0, len(words), _WORDS_A_LINE):
            lines.append("    " + " ".join(words[at:at + _WORDS_A_LINE]))
    return "\n".join(lines) + "\n"


def parse_frames(text):
    """What format_frames made; lines that begin with # say something to people."""
    frames = []
    from_client, content = None, ""
    for line in text.splitlines() + ["> end"]:
        if line.startswith("#") or not line:
            continue
        if line.startswith(" "):
            content += line
            continue
        if content:
            frames.append(Frame(from_client, bytes.fromhex(content)))
        from_client, content = line.startswith(">"), ""
    return frames
