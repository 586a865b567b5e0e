# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual machine (vm.py) as it was at a moment, with what ran in it: its memory, its disks, and
what its owner knew of it. Many can go on from there, each with disks of its own; that takes a tenth
of what booting and starting daemons takes."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import time

import host

_BOUND_S = 120 * host.PATIENCE


class _Monitor:
    """QEMU's side of QMP (docs/interop/qmp-spec of QEMU)."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_BOUND_S)
        self._socket.connect(path)
        self._stream = self._socket.makefile("r", encoding="utf-8")
        self._stream.readline()
        self.execute("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()
        self._socket.close()

    def execute(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self._stream.readline())
            if "error" in answer:
                raise host.HostError(f"QEMU: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


def _copy_disk(source, target):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True,
                   timeout=_BOUND_S)


def save(monitor_path, disks, known, folder):
    """Stops the machine for good, when its memory is written. `disks`: name -> path; `known`: what is
    to be found again, for JSON. The folder is there when all of it is."""
    new = folder + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    with _Monitor(monitor_path) as monitor:
        # Without the limit on its speed, which is for networks. It ends stopped; and since it ran,
        # what goes on from there runs at once.
        monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        memory = shlex.quote(os.path.join(new, "memory"))
        monitor.execute("migrate", uri=f"exec:cat >{memory}")
        deadline = time.monotonic() + _BOUND_S
        while (state := monitor.execute("query-migrate"))["status"] != "completed":
            if state["status"] in ("failed", "cancelled") or time.monotonic() > deadline:
                raise host.HostError(f"the machine can't be saved: {state}")
            time.sleep(0.1)
    for name, path in disks.items():
        _copy_disk(path, os.path.join(new, name + ".disk"))
    with open(os.path.join(new, "known.json"), "w", encoding="utf-8") as file:
        json.dump({"disks": list(disks), **known}, file)
    os.rename(new, folder)


class Saved:
    def __init__(self, folder):
        self._folder = folder
        with open(os.path.join(folder, "known.json"), encoding="utf-8") as file:
            self.known = json.load(file)

    def copy_disks(self, folder):
        """Returns name -> path of copies in that folder, in the order that the machine had."""
        copies = {}
        for name in self.known["disks"]:
            copies[name] = os.path.join(folder, name + ".disk")
            _copy_disk(os.path.join(self._folder, name + ".disk"), copies[name])
        return copies

    @property
    def argv(self):
        """For QEMU, which goes on with what ran."""
        memory = shlex.quote(os.path.join(self._folder, "memory"))
        return ["-incoming", f"exec:cat {memory}"]
