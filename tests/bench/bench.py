#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Measures virtcrypt-secretd beside stock libvirtd, alternating in one run, and says for each
target whether it is met. `dev bench` runs it; results.json in the work folder keeps every figure.
"""

import argparse
import collections
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import daemons
import report

SIZES = (10, 1000, 10000, 100000)
OPS = ("lookup-uuid", "lookup-usage", "get-value", "set-value", "define", "list")
CLIENTS = (1, 8)
VIAS = ("raw", "libvirt")

# libvirtd compares every definition it loads with all before it: a start with 100 000 secrets was
# not done after 26 minutes. And libvirt's list call carries 16 384 at most.
LIBVIRTD_SIZE_MAX = 10000
LIST_MAX = 16384

# mode: (rounds, seconds a measurement, starts measured); smoke only shows that all of it works
MODES = {"quick": (2, 0.3, 2), "full": (5, 1.5, 4), "smoke": (1, 0.02, 1)}

# What takes a daemon's place in a measurement of the floor; bench-load starts it by itself.
Floor = collections.namedtuple("Floor", "name socket pid")


def _place(pid, processors):
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setaffinity(int(task), processors)
        except ProcessLookupError:
            pass


@contextlib.contextmanager
def placed(clients, pid):
    """One client and its daemon share one processor. On two, most of what is measured is how long
    an idle one takes to wake up, and whether the scheduler puts both on one changes from run to
    run: the floor alone has a p50 of 12 us in some and of 90 us in others. `pid` may be 0."""
    everywhere = os.sched_getaffinity(0)
    pids = [os.getpid()] + ([pid] if pid else [])
    if clients > 1:
        yield
        return
    for each in pids:
        _place(each, {min(everywhere)})
    try:
        yield
    finally:
        for each in pids:
            _place(each, everywhere)


class Bench:
    def __init__(self, options):
        self.rounds, self.seconds, self.starts = MODES[options.mode]
        self.load = os.path.join(options.build_dir, "tests/bench/bench-load")
        self.work = options.work_dir or os.path.join(options.build_dir, "bench")
        self.pretend_size = options.pretend_size
        self.sizes = options.sizes
        self.ops = options.ops
        self.kinds = []
        if options.only in (None, "libvirtd"):
            self.kinds.append(daemons.Libvirtd)
        if options.only in (None, "virtcrypt"):
            daemons.Secretd.program = os.path.join(options.build_dir,
                                                   "src/secret/virtcrypt-secretd")
            if not os.path.exists(daemons.Secretd.program):
                raise daemons.DaemonError(f"{daemons.Secretd.program} is not built")
            self.kinds.append(daemons.Secretd)
        self.runs = {}    # (daemon, via, op, clients, size): [result of bench-load]
        self.starts_s = {}  # (daemon, size): [seconds], the first (cold or importing) left out
        self.first_start_s = {}
        self.rss_kib = {}
        self.notes = []

    def measure(self, target, call, size):
        """`target` is a Daemon or the floor; `call` is (via, op, clients)."""
        via, op, clients = call
        name = target.name
        argv = [self.load, via, target.socket, op, str(clients), str(self.seconds),
                str(self.pretend_size or size), str(target.pid)]
        with placed(clients, target.pid):
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=self.seconds + 60, check=False)
        if done.returncode != 0:
            raise daemons.DaemonError(f"{name}: {op} over {via} with {clients} clients and {size} "
                                      f"secrets: {done.stderr.strip()}")
        self.runs.setdefault((name, via, op, clients, size), []).append(json.loads(done.stdout))

    def measure_floor(self):
        with tempfile.TemporaryDirectory(prefix="vcbench-") as folder:
            for clients in CLIENTS:
                floor = Floor("floor", os.path.join(folder, "sock"), 0)
                self.measure(floor, ("floor", "lookup-uuid", clients), 1)

    def start_all(self, size):
        running = []
        for kind in self.kinds:
            if kind is daemons.Libvirtd and size > LIBVIRTD_SIZE_MAX:
                self.notes.append(f"libvirtd with {size} secrets: left out, its start is quadratic "
                                  "(not done after 26 minutes at 100 000)")
                continue
            progress(f"{size} secrets: starting {kind.name}")
            daemon = kind(self.work, size)
            running.append(daemon)
            self.first_start_s[kind.name, size] = daemon.start()
        for _ in range(self.starts):
            for daemon in running:
                daemon.stop()
                self.starts_s.setdefault((daemon.name, size), []).append(daemon.start())
        for daemon in running:
            self.rss_kib[daemon.name, size] = daemon.rss_kib()
        return running

    def calls_of(self, daemon, size):
        for op in self.ops:
            for via in VIAS:
                if op == "list" and size > LIST_MAX:
                    continue
                for clients in CLIENTS:
                    yield via, op, clients
        if daemon.name == "virtcrypt" and "list" in self.ops:
            yield "raw", "list-paged", 1

    def measure_size(self, size):
        running = self.start_all(size)
        try:
            for number in range(self.rounds):
                progress(f"{size} secrets: round {number + 1} of {self.rounds}")
                self.measure_floor()
                plans = [list(self.calls_of(daemon, size)) for daemon in running]
                for step in range(max(map(len, plans), default=0)):
                    for daemon, plan in zip(running, plans):
                        if step < len(plan):
                            self.measure(daemon, plan[step], size)
        finally:
            for daemon in running:
                daemon.remove()

    def median(self, name, via, op, clients, size):
        """The run's figures, each the median of all rounds; None if it was not measured."""
        runs = self.runs.get((name, via, op, clients, size))
        if not runs:
            return None
        return {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}

    def start_s(self, name, size):
        starts = self.starts_s.get((name, size))
        return statistics.median(starts) if starts else None

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({
                "machine": f"{platform.machine()}, {os.cpu_count()} processors, "
                           f"Linux {platform.release()}",
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "runs": [dict(zip(("daemon", "via", "op", "clients", "secrets"), key), runs=runs)
                         for key, runs in self.runs.items()],
                "starts_s": [[*key, value] for key, value in self.starts_s.items()],
                "first_start_s": [[*key, value] for key, value in self.first_start_s.items()],
                "rss_kib": [[*key, value] for key, value in self.rss_kib.items()],
            }, file, indent=1)


def progress(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def parse_options():
    parser = argparse.ArgumentParser(prog="dev bench", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=sorted(MODES), default="quick",
                        help="quick: some minutes (default); full: about half an hour")
    parser.add_argument("--build-dir", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work-dir", help=argparse.SUPPRESS)
    parser.add_argument("--pretend-size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("libvirtd", "virtcrypt"), help="measure one daemon")
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")],
                        default=list(SIZES), metavar="N,N", help="numbers of secrets")
    parser.add_argument("--ops", type=lambda text: text.split(","), default=list(OPS),
                        metavar="OP,OP", help=", ".join(OPS))
    options = parser.parse_args()
    unknown = [op for op in options.ops if op not in OPS]
    if unknown or any(size < 1 for size in options.sizes):
        parser.error(f"no such call: {', '.join(unknown)}" if unknown else "sizes are positive")
    return options


def main():
    options = parse_options()
    if os.geteuid() != 0:
        sys.exit("dev bench: needs root, to give each daemon a mount namespace")
    try:
        bench = Bench(options)
        os.makedirs(bench.work, exist_ok=True)
        for size in bench.sizes:
            bench.measure_size(size)
    except (daemons.DaemonError, subprocess.TimeoutExpired) as error:
        sys.exit(f"dev bench: {error}")
    path = os.path.join(bench.work, "results.json")
    bench.save(path)
    missed = report.print_report(bench)
    print(f"\nEvery figure: {path}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
