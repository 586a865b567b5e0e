# SPDX-License-Identifier: LGPL-2.1-or-later
"""A network mount in a private host whose server can die and come back: a FUSE file system with one
folder of files in memory, served as bytes.

    mount = hungmount.HungMount(machine, "/run/net")   # direct=True: read without the page cache
    mount.put("key", bytes(32))
    mount.die()          # who reads it waits, and can be killed, as on NFS
    mount.die(True)      # the same, and not even SIGKILL ends the wait, as on a FUSE file system
    mount.answer()       # all who waited get their answers

The server ends with its host, and the kernel then fails all that waits.
"""

import os
import select
import signal
import struct
import subprocess
import sys

_LOOKUP, _FORGET, _GETATTR, _SETATTR = 1, 2, 3, 4
_UNLINK, _RENAME, _OPEN, _READ, _WRITE, _STATFS, _RELEASE = 10, 12, 14, 15, 16, 17, 18
_FSYNC, _FLUSH, _INIT, _OPENDIR, _READDIR, _RELEASEDIR, _FSYNCDIR = 20, 25, 26, 27, 28, 29, 30
_CREATE, _INTERRUPT, _BATCH_FORGET, _RENAME2 = 35, 36, 42, 45
_NO_ANSWER = (_FORGET, _BATCH_FORGET, _INTERRUPT)

_ENOENT, _ENOSYS, _EEXIST = 2, 38, 17
_ROOT = 1
_DIR_MODE, _FILE_MODE = 0o40700, 0o100600
_DIRECT_IO = 1
_HEADER = struct.Struct("<IIQQIIII")
_BUFFER = 1 << 18


class _Error(Exception):
    pass


class _Server:
    """The file system; `ask` is its end of the kernel's device."""

    def __init__(self, device, is_direct):
        self.device = device
        self.open_flags = _DIRECT_IO if is_direct else 0
        self.names = {}
        self.nodes = {}
        self.next = _ROOT + 1

    def make(self, name, content=b""):
        node = self.next
        self.next += 1
        self.names[name] = node
        self.nodes[node] = bytearray(content)
        return node

    def attributes(self, node):
        content = self.nodes.get(node, b"")
        mode = _DIR_MODE if node == _ROOT else _FILE_MODE
        return struct.pack("<6Q10I", node, len(content), 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0,
                           4096, 0)

    def entry(self, node):
        # Nothing is remembered by the kernel: each use of a name asks.
        return struct.pack("<4Q2I", node, 0, 0, 0, 0, 0) + self.attributes(node)

    def find(self, name):
        if name not in self.names:
            raise _Error(_ENOENT)
        return self.names[name]

    def set_size(self, node, body):
        valid, size = struct.unpack_from("<I", body)[0], struct.unpack_from("<Q", body, 16)[0]
        if valid & 8:
            content = self.nodes[node]
            self.nodes[node] = content[:size] + bytes(max(0, size - len(content)))

    def rename(self, names):
        old, new = names.split(b"\0")[:2]
        self.names[new] = self.find(old)
        del self.names[old]

    def list(self, body):
        offset, size = struct.unpack_from("<QI", body, 8)
        listed = b""
        for index, (name, node) in enumerate(sorted(self.names.items())):
            item = struct.pack("<QQII", node, index + 1, len(name), 8) + name
            item += bytes(-len(item) % 8)
            if index >= offset and len(listed) + len(item) <= size:
                listed += item
        return listed

    def do(self, code, node, body):
        """The answer's body."""
        name = body.split(b"\0")[0]
        if code == _INIT:
            minor = min(31, struct.unpack_from("<I", body, 4)[0])
            return struct.pack("<4I2H2I2H8I", 7, minor, 65536, 0, 12, 10, 65536, 1, 16, 0,
                               *[0] * 8)
        if code == _LOOKUP:
            return self.entry(self.find(name))
        if code in (_GETATTR, _SETATTR):
            if code == _SETATTR:
                self.set_size(node, body)
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if code in (_OPEN, _OPENDIR):
            return struct.pack("<QII", 0, self.open_flags if code == _OPEN else 0, 0)
        if code == _READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return bytes(self.nodes[node][offset:offset + size])
        if code == _READDIR:
            return self.list(body)
        if code == _WRITE:
            offset, size = struct.unpack_from("<QI", body, 8)
            self.nodes[node][offset:offset + size] = body[40:40 + size]
            return struct.pack("<II", size, 0)
        if code == _CREATE:
            flags, = struct.unpack_from("<I", body)
            name = body[16:].split(b"\0")[0]
            if name in self.names and flags & os.O_EXCL:
                raise _Error(_EEXIST)
            return self.entry(self.names.get(name) or self.make(name)) + struct.pack("<QII", 0, 0, 0)
        if code == _UNLINK:
            self.find(name)
            del self.names[name]
            return b""
        if code in (_RENAME, _RENAME2):
            self.rename(body[8 if code == _RENAME else 16:])
            return b""
        if code == _STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if code in (_RELEASE, _RELEASEDIR, _FSYNC, _FSYNCDIR, _FLUSH):
            return b""
        raise _Error(_ENOSYS)

    def read(self):
        return os.read(self.device, _BUFFER)

    def serve(self, request):
        length, code, unique, node = _HEADER.unpack_from(request)[:4]
        if code in _NO_ANSWER:
            return
        try:
            error, answer = 0, self.do(code, node, request[_HEADER.size:length])
        except _Error as failure:
            error, answer = -failure.args[0], b""
        try:
            os.write(self.device, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)
        except FileNotFoundError:
            pass  # who asked was killed


def _serve(path, is_direct):
    """The server's process: obeys a line at a time, and says "done" to each."""
    device = os.open("/dev/fuse", os.O_RDWR)
    subprocess.run(["mount", "-i", "-t", "fuse", "-o",
                    f"fd={device},rootmode=40000,user_id=0,group_id=0", "dead", path],
                   pass_fds=[device], check=True)
    server = _Server(device, is_direct)
    held = []
    mode = "answer"
    while True:
        watched = [sys.stdin] if mode == "die" else [sys.stdin, device]
        ready = select.select(watched, [], [])[0]
        if device in ready:
            request = server.read()
            if mode == "swallow":
                held.append(request)
            else:
                server.serve(request)
        if sys.stdin in ready:
            word, *arguments = sys.stdin.readline().split() or [""]
            if not word:
                return
            if word == "put":
                server.make(arguments[0].encode(), bytes.fromhex(arguments[1]))
            elif word == "get":
                node = server.names.get(arguments[0].encode())
                print("none" if node is None else server.nodes[node].hex() or "empty")
            else:
                mode = word
            while mode == "answer" and held:
                server.serve(held.pop(0))
            print("done", flush=True)


class HungMount:
    def __init__(self, machine, path, direct=False):
        os.makedirs(machine.path(path), exist_ok=True)
        self._process = machine.popen([sys.executable, os.path.abspath(__file__), path,
                                       "direct" if direct else "cached"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._ask("answer")

    def _ask(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        lines = []
        while True:
            said = self._process.stdout.readline()
            if not said:
                raise RuntimeError("the server of the mount has ended")
            if said == "done\n":
                return lines
            lines.append(said.strip())

    def put(self, name, content):
        self._ask(f"put {name} {content.hex()}")

    def get(self, name):
        """Its bytes, or None, without the mount's being asked."""
        said, = self._ask(f"get {name}")
        return None if said == "none" else bytes.fromhex(said.replace("empty", ""))

    def die(self, unkillable=False):
        self._ask("swallow" if unkillable else "die")

    def answer(self):
        self._ask("answer")

    def close(self):
        """All that waits fails."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2] == "direct")
