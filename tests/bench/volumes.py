#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures encrypted volumes beside stock libvirt, alternating in one run: making, cloning and
opening them, and what the storage connector adds to volumes that are not encrypted. Both sides are
private hosts (tests/lib/host.py) with Debian's libvirtd and virsh; where stock fails ("Unable to
get accurate CPU usage") that is counted and not timed. `dev bench volumes` runs it.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time

import libvirt

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(_HERE, os.pardir, "lib"))

import host  # noqa: E402
import report  # noqa: E402

IMAGES = "/var/lib/libvirt/images"
_SECRET = "5ec4e700-0000-4000-8000-0000000000{:02x}"
# libvirt's own message, of a formatting that gave up on a busy machine.
_STOCK_GIVES_UP = "Unable to get accurate CPU usage"
_STOCK_TRIES = 8
# Parts of a measurement of the connector, between which the sides take turns.
_BATCHES = 15

# mode: (rounds, volumes made in a row, calls of one measurement of the connector)
MODES = {"quick": (3, 200, 1500), "full": (7, 200, 6000), "smoke": (1, 3, 50)}

_VOLUME = """\
<volume><name>{name}</name><capacity unit='GiB'>1</capacity>
<target><format type='{format}'/><encryption format='luks'>{secret}</encryption></target></volume>
"""
_PLAIN = """\
<volume><name>{name}</name><capacity unit='GiB'>1</capacity>
<target><format type='qcow2'/></target></volume>
"""
_GUEST = """\
<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices>{disks}<memballoon model='none'/></devices></domain>
"""
_DISK = """\
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
<source file='{path}'>{encryption}</source><target dev='vd{letter}' bus='virtio'/></disk>
"""


class BenchFailed(Exception):
    pass


class Side:
    """A host with a libvirtd, and how an encrypted volume is asked for there."""

    def __init__(self, name, build_dir):
        self.name = name
        self.machine = host.Host(build_dir)
        self.failures = 0
        self.attempts = 0

    def prepare(self):
        self.machine.virsh("pool-create-as", "images", "dir", "--target", IMAGES).check()

    def close(self):
        self.machine.close()

    def virsh(self, *words, **options):
        return self.machine.virsh("-q", *words, **options)

    def secret_element(self, number):
        raise NotImplementedError

    def volume_xml(self, name, number=0, image_format="qcow2"):
        path = f"/run/{name}.xml"
        self.machine.write(path, _VOLUME.format(name=name, format=image_format,
                                                secret=self.secret_element(number)))
        return path

    def timed(self, *words):
        """Seconds of one virsh; None where stock gave up."""
        began = time.monotonic()
        done = self.virsh(*words)
        took = time.monotonic() - began
        self.attempts += 1
        if done.returncode == 0:
            return took
        self.failures += 1
        if _STOCK_GIVES_UP in done.stderr:
            return None
        raise BenchFailed(f"{self.name}: virsh {' '.join(words)}: {done.stderr.strip()}")

    def timed_until_done(self, *words):
        for _ in range(_STOCK_TRIES):
            took = self.timed(*words)
            if took is not None:
                return took
        raise BenchFailed(f"{self.name}: virsh {' '.join(words)} failed {_STOCK_TRIES} times")

    def delete(self, name):
        self.virsh("vol-delete", name, "images").check()

    def encryption_of(self, name):
        """The element that a guest's disk needs for that volume."""
        xml = self.virsh("vol-dumpxml", name, "images").check().stdout
        found = re.search(r"<secret type='passphrase' uuid='[^']*'/>", xml)
        return f"<encryption format='luks'>{found.group(0)}</encryption>" if found else None

    def opening_cpu_s(self, name, disks):
        """CPU seconds of a guest's QEMU from its start to where its CPUs could run."""
        xml = _GUEST.format(name=name, disks="".join(
            _DISK.format(path=f"{IMAGES}/{volume}", encryption=encryption, letter="abcdef"[index])
            for index, (volume, encryption) in enumerate(disks)))
        self.machine.write(f"/run/{name}.xml", xml)
        self.virsh("create", f"/run/{name}.xml", "--paused").check()
        pid = int(self.machine.read(f"/run/libvirt/qemu/{name}.pid"))
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        self.virsh("destroy", name).check()
        return total / 1e9


class Stock(Side):
    def __init__(self, build_dir):
        super().__init__("stock libvirt", build_dir)
        self.libvirtd = self.machine.start_libvirtd()
        self.prepare()
        self.known = set()

    def secret_element(self, number):
        uuid = _SECRET.format(number)
        if number not in self.known:
            self.known.add(number)
            self.machine.write("/run/secret.xml", f"<secret private='yes'><uuid>{uuid}</uuid><usage "
                               f"type='volume'><volume>bench {number}</volume></usage></secret>")
            self.virsh("secret-define", "/run/secret.xml").check()
            self.virsh("secret-set-value", uuid, "--plain", "--file", "/dev/stdin",
                       input="Q" * 43).check()
        return f"<secret type='passphrase' uuid='{uuid}'/>"

    def encryption_of(self, name):
        # libvirt forgets the secret of a volume at the next refresh of its pool.
        return f"<encryption format='luks'>{self.secret_element(0)}</encryption>"


class Ours(Side):
    def __init__(self, build_dir):
        super().__init__("virtcrypt", build_dir)
        self.machine.start_secretd()
        self.machine.start_virtcryptd()
        self.libvirtd = self.machine.start_libvirtd(connector=True)
        self.prepare()

    def secret_element(self, number):
        return ""  # a key of its own, generated

    def typed_secret_element(self):
        """A passphrase as a person types it."""
        return Stock.secret_element(self, 99)

    known = set()


class Bench:
    def __init__(self, options):
        self.rounds, self.in_a_row, self.calls = MODES[options.mode]
        self.build_dir = options.build_dir
        self.sides = [Stock(options.build_dir), Ours(options.build_dir)]
        self.stock, self.ours = self.sides
        self.figures = {}  # (what, side) -> [figure]

    def close(self):
        for side in self.sides:
            side.close()

    def add(self, what, side, figure):
        self.figures.setdefault((what, side.name), []).append(figure)

    def median(self, what, side):
        found = self.figures.get((what, side.name))
        return statistics.median(found) if found else None

    def creations(self):
        for number in range(self.rounds):
            progress(f"vol-create and vol-clone, round {number + 1} of {self.rounds}")
            for image_format in ("qcow2", "raw"):
                for side in self.sides:
                    name = f"new.{image_format}"
                    xml = side.volume_xml(name, image_format=image_format)
                    self.add(f"vol-create {image_format}", side,
                             side.timed_until_done("vol-create", "images", xml))
                    self.add(f"vol-clone {image_format}", side,
                             side.timed_until_done("vol-clone", name, "clone", "images"))
                    side.delete("clone")
                    side.delete(name)

    def creations_in_a_row(self):
        progress(f"{self.in_a_row} volumes in a row")
        before = self.ours.failures
        began = time.monotonic()
        for number in range(self.in_a_row):
            image_format = ("qcow2", "raw")[number % 2]
            name = f"row{number}"
            self.ours.timed("vol-create", "images",
                            self.ours.volume_xml(name, image_format=image_format))
            self.ours.delete(name)
        self.row_s = time.monotonic() - began
        self.row_failures = self.ours.failures - before

    def openings(self):
        for side in self.sides:
            for name in ("one", "two"):
                side.timed_until_done("vol-create", "images", side.volume_xml(name))
            for name in ("clear1", "clear2"):
                side.machine.write(f"/run/{name}.xml", _PLAIN.format(name=name))
                side.virsh("vol-create", "images", f"/run/{name}.xml").check()
        for number in range(self.rounds + 2):
            progress(f"guest start, round {number + 1} of {self.rounds + 2}")
            for side in self.sides:
                encrypted = [(name, side.encryption_of(name)) for name in ("one", "two")]
                clear = [(name, "") for name in ("clear1", "clear2")]
                with_keys = side.opening_cpu_s("guest", encrypted)
                without = side.opening_cpu_s("guest", clear)
                self.add("QEMU's CPU, two encrypted disks", side, with_keys)
                self.add("QEMU's CPU, two clear disks", side, without)

    def typed_passphrases(self):
        """Rounds of the keyslot's PBKDF2."""
        progress("keyslots for typed passphrases")
        for side, secret in ((self.stock, self.stock.secret_element(0)),
                             (self.ours, self.ours.typed_secret_element())):
            side.machine.write("/run/typed.xml", _VOLUME.format(name="typed", format="raw",
                                                                secret=secret))
            side.timed_until_done("vol-create", "images", "/run/typed.xml")
            shown = side.machine.run(["cryptsetup", "luksDump", f"{IMAGES}/typed"]).check().stdout
            self.add("keyslot rounds, typed passphrase", side,
                     int(re.search(r"Key Slot 0: ENABLED\s+Iterations:\s+(\d+)", shown).group(1)))

    def connector(self):
        progress("the connector beside volumes that are not encrypted")
        volumes = []
        for side in self.sides:
            side.machine.virsh("pool-create-as", "clear", "dir", "--target", f"{IMAGES}/clear",
                               "--build").check()
            for number in range(10):
                side.virsh("vol-create-as", "clear", f"v{number}", "1M").check()
            connection = libvirt.open(side.machine.uri())
            volumes.append((side, connection.storagePoolLookupByName("clear")))
        for number in range((self.rounds + 2) * _BATCHES):
            # Each goes first as often as second.
            for side, pool in (volumes if number % 2 else volumes[::-1]):
                volume = pool.storageVolLookupByName("v3")
                count = max(self.calls // _BATCHES, 1)
                self.add("vol-info, us", side, per_call_us(side.libvirtd, volume.info, count))
                self.add("vol-list, us", side,
                         per_call_us(side.libvirtd, pool.listAllVolumes, count))

    def run(self):
        self.creations()
        self.openings()
        self.typed_passphrases()
        self.connector()
        self.creations_in_a_row()

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({
                "figures": [[what, side, values] for (what, side), values in self.figures.items()],
                "stock_failures": [self.stock.failures, self.stock.attempts],
                "in_a_row": {"volumes": self.in_a_row, "failures": self.row_failures,
                             "seconds": self.row_s},
            }, file, indent=1)


def cpu_us(daemon):
    """What all threads of it have used, by the scheduler's own count."""
    total_ns = 0
    for thread in os.listdir(f"/proc/{daemon.pid}/task"):
        with open(f"/proc/{daemon.pid}/task/{thread}/schedstat", encoding="ascii") as file:
            total_ns += int(file.read().split()[0])
    return total_ns / 1000


def per_call_us(daemon, call, count):
    """CPU time of libvirtd. The time that a client waits is mostly that of three wake-ups, and
    varies more than twofold on a machine that is busy otherwise."""
    began = cpu_us(daemon)
    for _ in range(count):
        call()
    return (cpu_us(daemon) - began) / count


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def ratio(a, b):
    return None if a is None or not b else a / b


def targets(bench):
    """(what, wanted, measured, met)"""
    stock, ours = bench.stock, bench.ours
    rows = []
    for what in ("vol-create qcow2", "vol-create raw", "vol-clone qcow2", "vol-clone raw"):
        times = ratio(bench.median(what, stock), bench.median(what, ours))
        rows.append((f"{what}, times faster", ">= 30", f"{times:.1f}x", times >= 30))
    unlocking = [bench.median("QEMU's CPU, two encrypted disks", side) -
                 bench.median("QEMU's CPU, two clear disks", side) for side in (stock, ours)]
    less = unlocking[0] / max(unlocking[1], 0.001)
    rows.append(("CPU to unlock two disks at a guest's start, times less", ">= 50",
                 f"{less:.0f}x ({unlocking[0]:.2f} s, {unlocking[1]:.3f} s)", less >= 50))
    strength = ratio(bench.median("keyslot rounds, typed passphrase", ours),
                     bench.median("keyslot rounds, typed passphrase", stock))
    # Both measure the machine for a while and take what it can do then.
    rows.append(("keyslot of a typed passphrase, rounds over stock's", ">= 0.9",
                 f"{strength:.2f}x", strength >= 0.9))
    for what in ("vol-info, us", "vol-list, us"):
        times = ratio(bench.median(what, ours), bench.median(what, stock))
        rows.append((f"{what[:-4]} of what is not encrypted, over stock", "<= 1.10",
                     f"{times:.3f}x", times <= 1.10))
    rows.append((f"failures of {bench.in_a_row} creations in a row", "0",
                 str(bench.row_failures), bench.row_failures == 0))
    return rows


def print_report(bench):
    whats = list(dict.fromkeys(what for what, _ in bench.figures))
    table = [["", *(side.name for side in bench.sides)]]
    for what in whats:
        table.append([what, *(f"{bench.median(what, side):,.3f}" for side in bench.sides)])
    print("\nMedians (seconds where nothing is said)")
    report.print_table(table)
    print(f"  stock libvirt failed {bench.stock.failures} of {bench.stock.attempts} times to make "
          f"an encrypted volume; those are not timed. {bench.in_a_row} volumes made and deleted by "
          f"virtcrypt in {bench.row_s:.1f} s.")
    rows = targets(bench)
    print("\nTargets")
    report.print_table([["target", "wanted", "measured", ""]] +
                       [[what, wanted, shown, "met" if met else "MISSED"]
                        for what, wanted, shown, met in rows])
    return sum(1 for row in rows if not row[3])


def parse_options():
    parser = argparse.ArgumentParser(prog="dev bench volumes", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=sorted(MODES), default="quick")
    parser.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work-dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse_options()
    if os.geteuid() != 0:
        sys.exit("dev bench: needs root, to make private hosts")
    work = options.work_dir or os.path.join(options.build_dir, "bench")
    os.makedirs(work, exist_ok=True)
    host.BUILD_ROOT = options.build_dir
    bench = Bench(options)
    try:
        bench.run()
    except (BenchFailed, host.HostError) as error:
        sys.exit(f"dev bench: {error}")
    finally:
        bench.close()
    path = os.path.join(work, "volumes.json")
    bench.save(path)
    missed = print_report(bench)
    print(f"\nEvery figure: {path}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
