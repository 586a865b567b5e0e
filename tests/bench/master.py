#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures what the master key costs virtcrypt-secretd: unlocking at a start, by key file and by
credential, beside a start that stays locked and that of stock libvirtd; its rotation with all that
is sealed, beside the disk's floor (as many flushed appends of that size) in the same run; and the
slots' file alone. `dev bench master` runs it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(_HERE, os.pardir, "lib"))

import daemons  # noqa: E402
import mastercalls  # noqa: E402
import report  # noqa: E402
import wire  # noqa: E402

_FEW = 10
_UNLOCK_TARGET_S = 0.05
_ROTATION_TARGET = 2000
_BOUND_S = 600
# mode: (secrets, starts, rotations of each kind)
_MODES = {"quick": (10000, 5, 3), "full": (10000, 15, 9), "smoke": (20, 1, 1)}


class BenchFailed(Exception):
    pass


class Secretd(daemons.Secretd):
    """Its master key is in a key file, or in a credential."""

    name = "virtcrypt"

    def __init__(self, work, size, program, preload):
        self.program = program
        self._preload = preload
        self._credentials = None
        super().__init__(work, size)
        self.counts = os.path.join(self._sockets, "counts")

    def _environment(self):
        environment = dict(os.environ, LD_PRELOAD=self._preload, SYNC_COUNT=self.counts)
        environment.pop("CREDENTIALS_DIRECTORY", None)
        if self._credentials:
            environment["CREDENTIALS_DIRECTORY"] = self._credentials
        return environment

    def connect(self):
        return wire.Connection(self.socket).open()

    def path(self, name):
        return os.path.join(self._etc, "virtcrypt", name)

    def move_to_credential(self):
        """From now on it is the only slot."""
        self._credentials = tempfile.mkdtemp(prefix="credentials-", dir=self._sockets)
        path = os.path.join(self._credentials, "virtcrypt-master-key")
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(os.urandom(32))
        self.stop()
        self.start()
        with self.connect() as client:
            for slot in mastercalls.status(client).slots:
                old = slot.id
            mastercalls.add_slot(client, "credential", name="virtcrypt-master-key").reader()
            mastercalls.remove_slot(client, old).reader()

    def read_counts(self):
        """(flushes, flushed appends, bytes appended) until now."""
        with open(self.counts, encoding="ascii") as file:
            return tuple(int(word) for word in file.read().split())


class Bench:
    def __init__(self, options):
        self.size, self.starts, self.rotations = _MODES[options.mode]
        self.work = options.work_dir or os.path.join(options.build_dir, "bench")
        self.program = os.path.join(options.build_dir, "src/secret/virtcrypt-secretd")
        self.preload = os.path.join(options.build_dir, "tests/bench/sync-count.so")
        self.figures = {}
        self.load = []  # of the machine, while it measured
        os.makedirs(self.work, exist_ok=True)

    def note(self, what, value):
        self.figures.setdefault(what, []).append(value)
        self.load.append(os.getloadavg()[0])

    def median(self, what):
        return statistics.median(self.figures[what])

    def secretd(self, size):
        daemon = Secretd(self.work, size, self.program, self.preload)
        daemon.start()
        return daemon

    # ---- starts ----

    def _start(self, daemon, what, wants_locked=False):
        daemon.stop()
        took = daemon.start()
        if isinstance(daemon, Secretd):
            with daemon.connect() as client:
                status = mastercalls.status(client)
            if status.locked != wants_locked:
                raise BenchFailed(f"{what}: {status.reason or 'it is not locked'}")
        self.note(what, took)

    def _start_locked(self, daemon, what):
        """All the same but a key: definitions are loaded, and no value is opened."""
        slots = daemon.path("master.slots")
        daemon.stop()
        os.rename(slots, slots + ".away")
        try:
            self._start(daemon, what, wants_locked=True)
        finally:
            daemon.stop()
            os.rename(slots + ".away", slots)

    def measure_starts(self):
        progress("starts")
        sizes = sorted({_FEW, self.size})
        key_file = {size: self.secretd(size) for size in sizes}
        credential = {}
        libvirtd = None
        try:
            libvirtd = daemons.Libvirtd(self.work, self.size)
            libvirtd.start()
            for size in sizes:
                os.makedirs(self.work + "/credential", exist_ok=True)
                credential[size] = Secretd(self.work + "/credential", size, self.program,
                                           self.preload)
                credential[size].start()
                credential[size].move_to_credential()
            for number in range(self.starts):
                for size in sizes:
                    self._start_locked(key_file[size], f"start, locked, {size}")
                    self._start(key_file[size], f"start, key file, {size}")
                    self._start(credential[size], f"start, credential, {size}")
                if number % 4 == 0:  # some ten seconds each
                    self._start(libvirtd, f"start, libvirtd, {self.size}")
        finally:
            for daemon in [*key_file.values(), *credential.values(), libvirtd]:
                if daemon:
                    daemon.remove()

    # ---- rotation ----

    def _rotate(self, daemon, reseal):
        """Returns the seconds until the answer, and until the old master key is forgotten."""
        with daemon.connect() as client:
            old = mastercalls.status(client).key_id
            began = time.monotonic()
            mastercalls.rotate(client, reseal=reseal).reader()
            answered = time.monotonic() - began
            while True:
                status = mastercalls.status(client)
                if status.problem or time.monotonic() - began > _BOUND_S:
                    raise BenchFailed(f"a rotation does not end: {status.problem}")
                if not status.is_rotating:
                    break
                time.sleep(0.002)
            if status.key_id == old:
                raise BenchFailed("a rotation left the master key as it was")
            return answered, time.monotonic() - began

    def _append(self, count, size):
        """The floor: so many appends to a file that has its blocks, each flushed, as the journal's
        are."""
        path = os.path.join(self.work, "floor")
        content = os.urandom(max(size, 1))
        with open(path, "wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, count * len(content))
            for at in range(0, count * len(content), 1 << 20):
                os.pwrite(file.fileno(), bytes(1 << 20), at)
            os.fsync(file.fileno())
            began = time.monotonic()
            for number in range(count):
                os.pwrite(file.fileno(), content, number * len(content))
                os.fdatasync(file.fileno())
            took = time.monotonic() - began
        os.unlink(path)
        return took

    def measure_rotations(self):
        daemon = self.secretd(self.size)
        try:
            for number in range(self.rotations):
                progress(f"rotation {number + 1} of {self.rotations}")
                for what, reseal in (("rotation", False), ("rotation with --reseal", True)):
                    before = daemon.read_counts()
                    answered, took = self._rotate(daemon, reseal)
                    flushes, appends, size = (now - then for now, then
                                              in zip(daemon.read_counts(), before))
                    if not appends:
                        raise BenchFailed("nothing was flushed in a rotation")
                    self.note(f"{what}, s", took)
                    self.note(f"{what}, flushes", flushes)
                    self.note(f"{what}, flushed appends", appends)
                    self.note(f"{what}, MiB appended", size / (1 << 20))
                    self.note(f"{what}, floor s", self._append(appends, size // appends))
                    self.note("new slots, s", answered)
        finally:
            daemon.remove()

    def measure_slots(self):
        """A store without values, so that the slots are all that is written but one small file."""
        progress("slots")
        daemon = self.secretd(1)
        try:
            for _ in range(max(3, self.rotations)):
                answered, _ = self._rotate(daemon, False)
                self.note("new slots of an empty store, s", answered)
                self.note("new slots, floor s", self._append(4, 512))
        finally:
            daemon.remove()

    def run(self):
        self.measure_starts()
        self.measure_rotations()
        self.measure_slots()


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def _ms(seconds):
    return f"{seconds * 1000:.1f} ms"


def _verdict(is_met):
    return "met" if is_met else "MISSED"


def _rows_of_unlocking(bench):
    for way in ("key file", "credential"):
        few = bench.median(f"start, {way}, {_FEW}") - bench.median(f"start, locked, {_FEW}")
        many = (bench.median(f"start, {way}, {bench.size}")
                - bench.median(f"start, locked, {bench.size}"))
        yield [f"unlocking by {way} at a start, {_FEW} secrets", "< 50 ms", _ms(few),
               _verdict(few < _UNLOCK_TARGET_S)]
        yield [f"the same, and opening {bench.size} values", "-", _ms(many), ""]


def _rows_of_rotation(bench):
    for what in ("rotation", "rotation with --reseal"):
        rate = bench.size / bench.median(f"{what}, s")
        ratio = bench.median(f"{what}, s") / bench.median(f"{what}, floor s")
        yield [f"{what}, values/s", f">= {_ROTATION_TARGET}, or the floor", f"{rate:.0f}",
               _verdict(rate >= _ROTATION_TARGET or ratio <= 1.1)]
        yield ["  times the floor of its flushed appends", "-", f"{ratio:.2f}x", ""]


def print_report(bench):
    """Whether all targets are met."""
    print(f"\n{bench.size} secrets, medians of {bench.starts} starts and {bench.rotations} "
          f"rotations; load of the machine {min(bench.load):.1f} to {max(bench.load):.1f}")
    report.print_table([["", "median", "least", "most"]]
                       + [[what, *(f"{value:.4g}" for value in
                                   (bench.median(what), min(values), max(values)))]
                          for what, values in bench.figures.items()])
    rows = [*_rows_of_unlocking(bench), *_rows_of_rotation(bench)]
    print("\nTargets")
    report.print_table([["target", "wanted", "measured", ""], *rows])
    ratio = (bench.median(f"start, libvirtd, {bench.size}")
             / bench.median(f"start, key file, {bench.size}"))
    slots = bench.median("new slots of an empty store, s") / bench.median("new slots, floor s")
    print(f"  A start with {bench.size} secrets is {ratio:.2f} times as fast as stock libvirtd's. "
          "New slots take\n"
          f"  {slots:.2f} times four flushed appends.")
    return not any(row[-1] == "MISSED" for row in rows)


def parse_options():
    parser = argparse.ArgumentParser(prog="dev bench master", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=sorted(_MODES), default="quick")
    parser.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work-dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_options()
    if os.geteuid() != 0:
        sys.exit("dev bench: needs root, to give each daemon a mount namespace")
    bench = Bench(options)
    try:
        bench.run()
    except (BenchFailed, daemons.DaemonError, ValueError, subprocess.TimeoutExpired) as error:
        sys.exit(f"dev bench: {error}")
    path = os.path.join(bench.work, "master.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"secrets": bench.size, "load": bench.load, "figures": bench.figures}, file,
                  indent=1)
    is_met = print_report(bench)
    print(f"\nEvery figure: {path}")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
