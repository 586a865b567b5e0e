#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures how long virtcryptd takes at its start to look at all guests of a real libvirtd: 1 000
guests with two keys each, which are bound then, or bound already. The floor is what libvirt takes to
list the same guests with their XML, measured in the same run, alternating. `dev bench guests` runs it.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import sys
import time

import libvirt

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(_HERE, os.pardir, "lib"))

import host  # noqa: E402
import report  # noqa: E402

_TARGET_S = 2
# mode: (guests, rounds)
_MODES = {"quick": (1000, 3), "full": (1000, 9), "smoke": (5, 1)}

_KEEP = ("secrets", "virtcrypt")
_BACKUP = "/run/backup"
_KEYS = "/etc/libvirt/qemu/keys"
_CONFIG = ('bind_referenced_secrets = 1\nlog_level = 1\n'
           'log_filters = "1:guest. 3:rpc 3:storage"\nlog_outputs = "1:stderr"\n')
_LOOKED = re.compile(r"looked at all guests for (\d+) ms")

_GUEST = """\
<domain type='qemu'><name>guest-{number}</name><uuid>{uuid}</uuid><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices>{disks}</devices></domain>
"""
_DISK = """\
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='/var/lib/libvirt/images/{secret}'><encryption format='luks'>
<secret type='passphrase' uuid='{secret}'/></encryption></source>
<target dev='vd{letter}' bus='virtio'/></disk>
"""


class BenchFailed(Exception):
    pass


def _uuid(kind, number):
    return f"{kind}5ec4e70-0000-4000-8000-{number:012d}"


class Bench:
    def __init__(self, build_dir, count, rounds):
        self.count = count
        self.rounds = rounds
        self.figures = {}
        self.looks = 0  # in virtcryptd's log
        self.machine = host.Host(build_dir)
        self.secretd = self.machine.start_secretd()
        self.libvirtd = self.machine.start_libvirtd(connector=True)

    def close(self):
        self.machine.close()

    def note(self, what, seconds):
        self.figures.setdefault(what, []).append(seconds)

    def median(self, what):
        return statistics.median(self.figures[what])

    # ---- guests and secrets ----

    def populate(self):
        secrets = libvirt.open(self.machine.uri("secret", host.SECRETD_SOCKET))
        for number in range(2 * self.count):
            secrets.secretDefineXML(f"<secret><uuid>{_uuid('a', number)}</uuid></secret>").setValue(
                os.urandom(32))
        secrets.close()
        connection = libvirt.open(self.machine.uri())
        for number in range(self.count):
            disks = "".join(_DISK.format(secret=_uuid("a", 2 * number + index), letter=letter)
                            for index, letter in enumerate("ab"))
            connection.defineXML(_GUEST.format(number=number, uuid=_uuid("b", number),
                                               disks=disks))
        connection.close()
        for name in _KEEP:
            self.machine.run(["cp", "-a", f"/etc/libvirt/{name}", f"{_BACKUP}-{name}"]).check()

    def unbind_all(self):
        """As before any guest owned a key."""
        self.secretd.stop_in_order()
        shutil.rmtree(self.machine.path(_KEYS), ignore_errors=True)
        for name in _KEEP:
            shutil.rmtree(self.machine.path(f"/etc/libvirt/{name}"))
            self.machine.run(["cp", "-a", f"{_BACKUP}-{name}", f"/etc/libvirt/{name}"]).check()
        self.secretd = self.machine.start_secretd()

    def count_bound(self):
        return sum(len(names) for _, _, names in os.walk(self.machine.path(_KEYS)))

    # ---- measurements ----

    def _cpu_s(self, daemon):
        with open(f"/proc/{daemon.pid}/stat", encoding="ascii") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def list_guests(self):
        """The floor: by one client of libvirt, each XML one call, as there is no other way."""
        connection = libvirt.open(self.machine.uri())
        began = time.monotonic()
        texts = [domain.XMLDesc(0) for domain in connection.listAllDomains()]
        self.note("libvirt lists them", time.monotonic() - began)
        connection.close()
        if len(texts) != self.count:
            raise BenchFailed(f"libvirt knows {len(texts)} guests and not {self.count}")

    def look(self, what):
        before = {daemon.name: self._cpu_s(daemon) for daemon in (self.secretd, self.libvirtd)}
        daemon = self.machine.start_virtcryptd(_CONFIG)
        host.wait_for(lambda: len(_LOOKED.findall(daemon.log_text())) > self.looks,
                      "virtcryptd looks at all guests")
        took = int(_LOOKED.findall(daemon.log_text())[self.looks]) / 1000
        self.note(what, took)
        self.note(f"{what}, CPU of virtcryptd", self._cpu_s(daemon))
        for other in (self.secretd, self.libvirtd):
            self.note(f"{what}, CPU of {other.name}", self._cpu_s(other) - before[other.name])
        daemon.stop_in_order()
        self.looks = len(_LOOKED.findall(daemon.log_text()))
        if self.count_bound() != 2 * self.count:
            raise BenchFailed(f"{self.count_bound()} keys are bound and not {2 * self.count}")

    def run(self):
        self.populate()
        for number in range(self.rounds):
            if number:
                self.unbind_all()
            self.list_guests()
            self.look("all keys are bound")
            self.list_guests()
            self.look("nothing is to do")


def print_report(bench):
    print(f"\n{bench.count} guests with two keys each, medians of {bench.rounds} rounds (s)")
    report.print_table([["", "s"]] + [[what, f"{bench.median(what):.3f}"] for what in bench.figures])
    took, floor = bench.median("nothing is to do"), bench.median("libvirt lists them")
    rows = [["target", "wanted", "measured", ""],
            ["a look at all guests at start, nothing to do", f"< {_TARGET_S} s", f"{took:.2f} s",
             "met" if took < _TARGET_S else "MISSED"]]
    print("\nTargets")
    report.print_table(rows)
    print(f"  {took / floor:.2f} times what libvirt takes to list them"
          f" ({bench.median('all keys are bound') / floor:.2f} times where all keys are bound).")
    return took < _TARGET_S


def parse_options():
    parser = argparse.ArgumentParser(prog="dev bench guests", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=sorted(_MODES), default="quick")
    parser.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work-dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_options()
    if os.geteuid() != 0:
        sys.exit("dev bench: needs root, to make private hosts")
    work = options.work_dir or os.path.join(options.build_dir, "bench")
    os.makedirs(work, exist_ok=True)
    bench = Bench(options.build_dir, *_MODES[options.mode])
    try:
        bench.run()
    except (BenchFailed, host.HostError) as error:
        sys.exit(f"dev bench: {error}")
    finally:
        bench.close()
    path = os.path.join(work, "guests.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"guests": bench.count, "seconds": bench.figures}, file, indent=1)
    is_met = print_report(bench)
    print(f"\nEvery figure: {path}")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
