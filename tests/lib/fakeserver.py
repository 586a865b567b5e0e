# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon of libvirt's protocol as a test wants it to be, to see what a client makes of that.

    with fakeserver.FakeServer(path, answers) as server:
        ...

`answers` maps procedure numbers to what is answered: bytes (the payload of a good reply), an Error,
a list of these (one for each call), or HANG for no answer at all. Calls that are not there are
answered with an error.
"""

import os
import socket
import struct
import threading

PROGRAM = 0x20008086
AUTH_LIST, AUTH_POLKIT, OPEN, LOOKUP, SET_VALUE, GET_VALUE = 66, 70, 1, 141, 144, 145

HANG = object()
NO_AUTH = struct.pack(">II", 1, 0)
POLKIT_AUTH = struct.pack(">II", 1, 2)


class Error:
    """A reply with status 1."""

    def __init__(self, code, domain, text):
        data = text.encode()
        self.payload = struct.pack(">iiII", code, domain, 1, len(data)) + data + \
            b"\0" * (-len(data) % 4) + struct.pack(">iIIIIiiI", 2, 0, 0, 0, 0, -1, -1, 0)


class FakeServer:
    def __init__(self, path, answers):
        self.calls = []  # (procedure, payload) of every connection, in order
        self.hangs = threading.Event()  # set when a call that is not answered has come
        self._answers = {AUTH_LIST: NO_AUTH, OPEN: b"", **answers}
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self._clients = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=30)
        self._listener.close()
        for client in self._clients:
            client.close()
        os.unlink(self._path)

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._serve_client, args=(client,), daemon=True).start()

    def _serve_client(self, client):
        stream = client.makefile("rb")
        while True:
            try:
                header = stream.read(28)
            except OSError:
                return
            if len(header) < 28:
                return
            length, program, version, procedure, _, serial, _ = struct.unpack(">7I", header)
            payload = stream.read(length - 28)
            self.calls.append((procedure, payload))
            answer = self._answer(procedure)
            if answer is HANG:
                self.hangs.set()
                continue
            status = isinstance(answer, Error)
            body = answer.payload if status else answer
            client.sendall(struct.pack(">7I", 28 + len(body), program, version, procedure, 1,
                                       serial, status) + body)

    def _answer(self, procedure):
        answer = self._answers.get(procedure, Error(39, 7, f"unknown procedure: {procedure}"))
        if isinstance(answer, list):
            return answer.pop(0)
        return answer


def secret(uuid=bytes(16), usage_type=0, usage_id=b""):
    """A secret as it is in arguments and replies."""
    return uuid + struct.pack(">iI", usage_type, len(usage_id)) + usage_id + \
        b"\0" * (-len(usage_id) % 4)
