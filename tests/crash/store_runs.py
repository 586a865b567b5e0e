# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs of store-steps that are stopped at calls which change a file, and what a store may be then.

After a start each secret is as it was before the change that was under way or as it is after it, with
its definition, its value, the copies of guests and its lines in the audit as a whole; what was
reported as done is there, and no other file is left.
"""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from collections import namedtuple

import disk
import host

_BUILD = os.environ["BUILD_ROOT"]
_INTERPOSE = os.path.join(_BUILD, "tests/crash/crash-interpose.so")
_STEPS = os.path.join(_BUILD, "tests/crash/store-steps")
_BOUND_S = 60

# Where everything is slow (sanitizers), what goes wrong in any run is looked for, and not every run.
STRIDE = 12 if float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")) > 1 else 1

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000001" for letter in "abc")
G, H = (f"{digit * 8}-0000-4000-8000-000000000001" for digit in "12")


class Change(namedtuple("Change", "uuid xml value copies audit", defaults=({}, "="))):
    """Of XML, value and the copies {guest: value}: "=" keeps, "-" removes."""

    def __str__(self):
        copies = ",".join(f"{guest}:{value}" for guest, value in self.copies.items())
        return f"{self.uuid} {self.xml} {self.value} {copies or '='} {self.audit}"


State = namedtuple("State", "xml value copies audit")  # copies: ((guest, value), ...); audit: ids
NOTHING = State("-", "-", (), ())


def line_of(uuid, number):
    """The id of a line in the audit tells whose it is."""
    return f"{uuid[:8]}-0000-4000-8000-{number:012}"


def _new(old, change):
    copies = dict(old.copies)
    for guest, value in change.copies.items():
        copies.pop(guest, None)
        if value != "-":
            copies[guest] = value
    return State(old.xml if change.xml == "=" else change.xml,
                 old.value if change.value == "=" else change.value,
                 tuple(sorted(copies.items())),
                 old.audit if change.audit == "=" else (*old.audit, change.audit))


FIRST = [[Change(A, "<a/>", "value-1")]]

INITIAL = {A: _new(NOTHING, FIRST[0][0])}  # when that is done


def _argument(step):
    return step if isinstance(step, str) else "+".join(map(str, step))


class Run:
    """What one run of store-steps said."""

    def __init__(self, done):
        self.status = done.returncode
        self.stderr = done.stderr
        self.verdicts = []  # (nanoseconds, None or error)
        self.listed = None  # {uuid: State}
        self.audit = []
        listed = {}
        for line in done.stdout.splitlines():
            words = line.split(" ", 2)
            uuid, _, guest = words[0].partition("/")
            if words[0] == "end":
                self.listed, listed = listed, {}
            elif words[0] == "audit":
                self.audit.append(line.removeprefix("audit "))
                line_id = json.loads(self.audit[-1])["id"]
                uuid = next(uuid for uuid in (A, B, C) if uuid[:8] == line_id[:8])
                state = listed.get(uuid, NOTHING)
                listed[uuid] = state._replace(audit=(*state.audit, line_id))
            elif guest:
                state = listed.get(uuid, NOTHING)
                listed[uuid] = state._replace(copies=(*state.copies, (guest, words[1])))
            elif words[1] in ("done", "error"):
                self.verdicts.append((int(words[0]), words[2] if words[1] == "error" else None))
            else:
                listed[uuid] = State(*words[1:], (), ())


def _broken_link(lines):
    """The number of the first line of the audit that does not follow the one before it, or None."""
    prev = "0" * 64
    for number, line in enumerate(lines):
        content, _, end = line.rpartition(',"hash":"')
        members = json.loads(line)
        if members["seq"] != number or members["prev"] != prev or end != members["hash"] + '"}' or \
                hashlib.sha256(content.encode()).hexdigest() != members["hash"]:
            return number
        prev = members["hash"]
    return None


class Expectation:
    """What each secret may be, after a run over `steps` that reported `verdicts`. Before it, each was
    what `state` says, or one of a set."""

    def __init__(self, state, steps):
        self._initial = {uuid: before if isinstance(before, set) else {before}
                         for uuid, before in state.items()}
        self._steps = steps

    def at(self, verdicts):
        """{uuid: set of what it may be} when these verdicts had been given, and no more."""
        allowed = {uuid: set(self._initial.get(uuid, {NOTHING})) for uuid in (A, B, C)}
        left = list(verdicts)
        for step in self._steps:
            if isinstance(step, str):
                if not left:
                    break
                left.pop(0)
                continue
            answered = left[:len(step)]
            left = left[len(step):]
            for index, change in enumerate(step):
                new = {_new(old, change) for old in allowed[change.uuid]}
                if index >= len(answered) or (answered[index][1] or "").startswith("it is not"):
                    allowed[change.uuid] |= new
                elif answered[index][1] is None:
                    allowed[change.uuid] = new
            if len(answered) < len(step):
                break
        return allowed


class Place:
    """Folders for a run."""

    def __init__(self, root):
        self.root = root
        self.log = root + ".log"

    def clear(self):
        shutil.rmtree(self.root, ignore_errors=True)
        os.mkdir(self.root)
        if os.path.exists(self.log):
            os.unlink(self.log)

    def run(self, steps, options=(), **crash):
        """With `crash`, watched: AT and HOW are when and what happens."""
        environment = dict(os.environ, LC_ALL="C")
        if crash:
            environment.update(host.preloaded(_INTERPOSE), CRASH_FOLDERS=self.root)
            environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return Run(subprocess.run(
            [_STEPS, *options, self.root, *map(_argument, steps)],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_BOUND_S, check=False))


class StoreCase(unittest.TestCase):
    def setUp(self):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = tempfile.TemporaryDirectory(dir=memory)
        self.addCleanup(self.folder.cleanup)
        self.place = Place(os.path.join(self.folder.name, "run"))
        self.again = Place(os.path.join(self.folder.name, "again"))
        self.starts = 0

    def prepare(self, first):
        """A fresh place; unless `first`, with a store in which the first step is done."""
        self.place.clear()
        if not first:
            # A small journal: quick to copy, and soon full.
            self.assertEqual(self.place.run(FIRST, ["--small-journal"]).status, 0)

    def expect_start(self, place, allowed, what):
        """A start gives one of what is allowed, and leaves no other file."""
        run = place.run(["list"])
        self.starts += 1
        self.assertEqual((run.status, run.stderr), (0, ""), what)
        self.expect_listed(run.listed, allowed, what)
        self.assertIsNone(_broken_link(run.audit), what)
        self.expect_files(place, run.listed, what)
        return run.listed

    def expect_listed(self, listed, allowed, what):
        for uuid, states in allowed.items():
            self.assertIn(listed.get(uuid, NOTHING), states, f"{uuid}: {what}")

    def expect_files(self, place, listed, what):
        """No other file, and no folder of a guest with nothing in it."""
        expected = {"journal/journal"}
        for uuid, state in listed.items():
            expected |= {f"secrets/{uuid}.{kind}" for kind in ("xml", "key")
                         if getattr(state, {"xml": "xml", "key": "value"}[kind]) != "-"}
            expected |= {f"qemu/keys/{guest}/{uuid}.key" for guest, _ in state.copies}
        found = set()
        for folder, folders, files in os.walk(place.root):
            name = os.path.relpath(folder, place.root)
            found |= {os.path.join(name, file) for file in files}
            if not files and not folders and name not in ("secrets", "qemu", "qemu/keys", "lib"):
                found.add(name)
        self.assertEqual(found - {"lib/audit.log"}, expected, what)

    def each_call(self, first, steps, **crash):
        """Runs the steps with `crash` at one call after the other until it is never reached."""
        for number in itertools.count(1, STRIDE):
            self.prepare(first)
            run = self.place.run(steps, AT=number, **crash)
            yield number, run
            if run.status == 0:
                return

    def expect_old_or_new_after_a_kill(self, first, steps, how):
        initial = {} if first else INITIAL
        for number, run in self.each_call(first, steps, HOW=how):
            self.assertIn(run.status, (0, -9), run.stderr)
            allowed = Expectation(initial, steps).at(run.verdicts)
            what = f"{how}, call {number}"
            listed = self.expect_start(self.place, allowed, what)
            self.assertEqual(self.expect_start(self.place, allowed, what), listed)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 40 // STRIDE)


class DiskCase(StoreCase):
    def cut_at_each_call(self, before, calls, expectation, verdicts, draws, start=0):
        """Power cuts at each of `calls` from `start` on; `before` is the disk before them."""
        seen = set()
        for number in range(len(calls) + 1):
            if number >= start and (number % STRIDE == 0 or number == len(calls)):
                time = calls[number].time if number < len(calls) else None
                allowed = expectation.at([verdict for verdict in verdicts
                                          if time is None or verdict[0] < time])
                for choice in disk.choices(number, draws):
                    self.start_after(before.after(choice), allowed, seen,
                                     f"{choice} was kept, cut in call {number + 1}: "
                                     f"{calls[number] if number < len(calls) else 'end'}")
            if number < len(calls):
                before.apply(calls[number])

    def start_after(self, tree, allowed, seen, what):
        key = (disk.digest(tree), str(sorted((uuid, sorted(parts))
                                             for uuid, parts in allowed.items())))
        if key in seen:
            return
        seen.add(key)
        self.again.clear()
        disk.put(tree, self.again.root)
        self.expect_start(self.again, allowed, what)

    def record(self, first, steps, **crash):
        """The disk before a run, and the run."""
        self.prepare(first)
        before = disk.Disk(self.place.root)
        run = self.place.run(steps, LOG=self.place.log, **crash)
        return before, run

    def expect_old_or_new_after_a_cut(self, steps, draws):
        before, run = self.record(False, steps)
        self.assertEqual((run.status, run.stderr), (0, ""))
        self.cut_at_each_call(before, disk.read_log(self.place.log),
                              Expectation(INITIAL, steps), run.verdicts, draws // STRIDE)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 100 // STRIDE)

    # The process is killed: what it wrote stays in memory. Another one starts on that, and is cut.
    def cut_the_start_after_each_kill(self, steps):
        for number in itertools.count(1, STRIDE):
            before, run = self.record(False, steps, AT=number, HOW="before")
            if run.status == 0:
                break
            killed_after = len(disk.read_log(self.place.log))
            restart = self.place.run(["list"], LOG=self.place.log)
            self.assertEqual((restart.status, restart.stderr), (0, ""))
            # What the start has shown must stay.
            allowed = Expectation(INITIAL, steps).at(run.verdicts)
            calls = disk.read_log(self.place.log)
            self.cut_at_each_call(before, calls, _Constant(allowed), [], 1, start=killed_after)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 20 // STRIDE)

    # What it made without flushing it is there for the next process, which must not build on that.
    def cut_after_a_kill_and_a_change(self, steps, next_steps):
        for number in itertools.count(1, STRIDE):
            before, run = self.record(False, steps, AT=number, HOW="before")
            if run.status == 0:
                break
            restart = self.place.run(next_steps, LOG=self.place.log)
            self.assertEqual((restart.status, restart.stderr), (0, ""))
            allowed = Expectation(Expectation(INITIAL, steps).at(run.verdicts),
                                  next_steps).at(restart.verdicts)
            calls = disk.read_log(self.place.log)
            self.cut_at_each_call(before, calls, _Constant(allowed), [], 1, start=len(calls))
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 20 // STRIDE)

    def expect_what_was_said(self, changes, error, **crash):
        steps = [*changes, "list"]
        refused = 0
        for number in itertools.count(1, STRIDE):
            before, run = self.record(False, steps, AT=number, HOW=error, **crash)
            what = f"errno {error} {crash}, call {number}"
            calls = disk.read_log(self.place.log)
            if number > len(calls):
                break
            self.assertEqual(run.status, 0, what)
            refused += sum(verdict[1] is not None for verdict in run.verdicts)
            allowed = Expectation(INITIAL, steps).at(run.verdicts)
            # A line that could not be written yet is in the journal, and will be there.
            self.expect_listed({uuid: state._replace(audit=()) for uuid, state in run.listed.items()},
                               {uuid: {state._replace(audit=()) for state in states}
                                for uuid, states in allowed.items()},
                               f"in the same process, {what}")
            self.expect_start(self.place, allowed, what)
            for call in calls:
                before.apply(call)
            for choice in disk.choices(number, 1):
                self.start_after(before.after(choice), allowed, set(),
                                 f"{choice} was kept, after {what}")
        self.assertGreater(refused, 40 // STRIDE if STRIDE > 1 else 5)


class _Constant:
    def __init__(self, allowed):
        self._allowed = allowed

    def at(self, _):
        return self._allowed
