# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock libvirtd with only its secret driver, and virtcrypt-secretd: each in a mount namespace of
its own, so that the machine's libvirt is not touched, with its files on the disk of the build."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import population

_DRIVER_FOLDERS = ("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver",
                   "/usr/lib/aarch64-linux-gnu/libvirt/connection-driver",
                   "/usr/lib/libvirt/connection-driver", "/usr/lib64/libvirt/connection-driver")

# The time right before exec goes to descriptor 3: making the namespace is not part of a start.
_ENTER = """
mount -t tmpfs tmpfs /run && mount --bind "$1" /etc/libvirt &&
mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /var/cache &&
mkdir -p /var/lib/libvirt /var/cache/libvirt || exit 1
shift
echo "$EPOCHREALTIME" >&3
exec 3>&-
exec "$@"
"""

# A first start takes over the clear values, on whatever disk and beside whatever else.
_START_BOUND_S = 600


class DaemonError(Exception):
    pass


class Daemon:
    """One daemon's folders and process. `size` secrets are on its disk before its first start."""

    name = None

    def __init__(self, work, size):
        self._etc = os.path.join(work, f"{self.name}-{size}")
        shutil.rmtree(self._etc, ignore_errors=True)
        os.makedirs(self._etc)
        population.fill(os.path.join(self._etc, "secrets"), size)
        # Socket paths are short; build folders need not be.
        self._sockets = tempfile.mkdtemp(prefix="vcbench-")
        self.log = os.path.join(work, f"{self.name}-{size}.log")
        self._process = None
        self._write_config()

    def _write_config(self):
        raise NotImplementedError

    def _command(self):
        raise NotImplementedError

    def _environment(self):
        return dict(os.environ)

    def _config(self, name, lines):
        path = os.path.join(self._etc, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in lines))
        return path

    @property
    def pid(self):
        return self._process.pid

    def start(self):
        """Starts and returns the seconds from exec to the answer to a first lookup."""
        reader, writer = os.pipe()
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "bash", "-c",
                 f"exec 3>&{writer} {writer}>&-\n" + _ENTER, "bash", self._etc,
                 *self._command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(writer,),
                env=self._environment())
        os.close(writer)
        with os.fdopen(reader) as pipe:
            began = pipe.readline().strip()
        if not began:
            raise DaemonError(f"{self.name} was not started; see {self.log}")
        self._wait_until_it_answers()
        return time.time() - float(began)

    def _wait_until_it_answers(self):
        deadline = time.monotonic() + _START_BOUND_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise DaemonError(f"{self.name} ended with status {self._process.returncode}; "
                                  f"see {self.log}")
            try:
                _look_up_first(self.socket, deadline - time.monotonic())
                return
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.001)
        raise DaemonError(f"{self.name} did not answer within {_START_BOUND_S} s")

    def stop(self):
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise DaemonError(f"{self.name}: no VmRSS")

    def remove(self):
        self.stop()
        shutil.rmtree(self._etc, ignore_errors=True)
        shutil.rmtree(self._sockets, ignore_errors=True)


class Libvirtd(Daemon):
    name = "libvirtd"

    def _write_config(self):
        self.socket = os.path.join(self._sockets, "libvirt-sock")
        self._conf = self._config("libvirtd.conf", [
            f'unix_sock_dir = "{self._sockets}"', 'auth_unix_rw = "none"', 'auth_unix_ro = "none"',
            'log_outputs = "3:stderr"'])
        module = next((os.path.join(folder, "libvirt_driver_secret.so")
                       for folder in _DRIVER_FOLDERS
                       if os.path.exists(os.path.join(folder, "libvirt_driver_secret.so"))), None)
        if module is None:
            raise DaemonError("libvirt_driver_secret.so was not found: is libvirt-daemon there?")
        self._drivers = os.path.join(self._etc, "drivers")
        os.makedirs(self._drivers)
        os.symlink(module, os.path.join(self._drivers, "libvirt_driver_secret.so"))

    def _command(self):
        return ["libvirtd", "-f", self._conf]

    def _environment(self):
        return dict(os.environ, LIBVIRT_DRIVER_DIR=self._drivers)


class Secretd(Daemon):
    name = "virtcrypt"
    program = None  # path of virtcrypt-secretd, set by the caller

    def _write_config(self):
        self.socket = os.path.join(self._sockets, "virtsecretd-sock")
        self._conf = self._config("virtcrypt-secretd.conf", [
            f'unix_sock_dir = "{self._sockets}"', 'auth_unix_rw = "none"', 'auth_unix_ro = "none"',
            'log_outputs = "3:stderr"'])

    def _command(self):
        return [self.program, "-f", self._conf]


def _call(connection, procedure, payload):
    header = struct.pack(">6I", 0x20008086, 1, procedure, 0, 0, 0)
    connection.sendall(struct.pack(">I", 28 + len(payload)) + header + payload)
    received = b""
    while len(received) < 4 or len(received) < struct.unpack(">I", received[:4])[0]:
        piece = connection.recv(65536)
        if not piece:
            raise DaemonError("the daemon closed the connection")
        received += piece
    if received[24:28] != b"\0\0\0\0":
        raise DaemonError(f"procedure {procedure} failed: {received[28:200]!r}")


def _look_up_first(path, timeout):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(max(timeout, 0.1))
        connection.connect(path)
        _call(connection, 66, b"")
        _call(connection, 1, struct.pack(">II", 1, 16) + b"secret:///system" + b"\0\0\0\0")
        _call(connection, 141, population.uuid_bytes(0))
