#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store, stopped at every call that changes a file: killed, cut from power, or told of a failure.

After a start each secret is as it was before the change that was under way or as it is after it,
what was reported as done is there, and no other file is left.
"""

import errno
import itertools
import os
import shutil
import subprocess
import tempfile
import unittest

import disk
import host
import taptest

_BUILD = os.environ["BUILD_ROOT"]
_INTERPOSE = os.path.join(_BUILD, "tests/crash/crash-interpose.so")
_STEPS = os.path.join(_BUILD, "tests/crash/store-steps")
_BOUND_S = 60

# Where everything is slow (sanitizers), what goes wrong in any run is looked for, and not every run.
_STRIDE = 6 if float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")) > 1 else 1

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000001" for letter in "abc")

# Each step is a list of changes: uuid, XML, value; "=" keeps, "-" removes.
_FIRST = [[(A, "<a/>", "value-1")]]
_CHANGES = [
    [(A, "=", "value-2")],
    [(B, "<b/>", "other-1"), (A, "<a-2/>", "value-3"), (C, "<c/>", "-")],
    "checkpoint",
    [(A, "-", "-")],
    [(A, "<a-3/>", "-")],
    [(B, "=", "-")],
    [(A, "=", "value-4"), (B, "-", "-")],
    # Both are written over, one after the other, and nothing follows that would mend it.
    [(A, "<a-5/>", "value-5")],
]


def _argument(step):
    return step if isinstance(step, str) else "+".join(" ".join(change) for change in step)


def _after(state, change):
    """`state` is {uuid: (xml, value)}."""
    uuid, xml, value = change
    old_xml, old_value = state.get(uuid, ("-", "-"))
    new = (old_xml if xml == "=" else xml, old_value if value == "=" else value)
    state = {key: parts for key, parts in state.items() if key != uuid}
    if new != ("-", "-"):
        state[uuid] = new
    return state


class Run:
    """What one run of store-steps said."""

    def __init__(self, done):
        self.status = done.returncode
        self.stderr = done.stderr
        self.verdicts = []  # (nanoseconds, None or error)
        self.listed = None
        listed = {}
        for line in done.stdout.splitlines():
            words = line.split(" ", 2)
            if words[0] == "end":
                self.listed, listed = listed, {}
            elif words[1] in ("done", "error"):
                self.verdicts.append((int(words[0]), words[2] if words[1] == "error" else None))
            else:
                listed[words[0]] = tuple(words[1:])


class Expectation:
    """What each secret may be, after a run over `steps` that reported `verdicts`."""

    def __init__(self, state, steps):
        self._initial = state
        self._steps = steps

    def at(self, verdicts):
        """{uuid: set of what it may be} when these verdicts had been given, and no more."""
        allowed = {uuid: {self._initial.get(uuid, ("-", "-"))} for uuid in (A, B, C)}
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
                new = {_after({change[0]: old}, change).get(change[0], ("-", "-"))
                       for old in allowed[change[0]]}
                if index >= len(answered) or (answered[index][1] or "").startswith("it is not"):
                    allowed[change[0]] |= new
                elif answered[index][1] is None:
                    allowed[change[0]] = new
            if len(answered) < len(step):
                break
        return allowed


class Place:
    """Folders for a run."""

    def __init__(self, root):
        self.root = root
        self.secrets = os.path.join(root, "secrets")
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
            [_STEPS, *options, self.secrets, os.path.join(self.root, "journal"), *map(_argument, steps)],
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
            self.assertEqual(self.place.run(_FIRST, ["--small-journal"]).status, 0)

    def expect_start(self, place, allowed, what):
        """A start gives one of what is allowed, and leaves no other file."""
        run = place.run(["list"])
        self.starts += 1
        self.assertEqual((run.status, run.stderr), (0, ""), what)
        self.expect_listed(run.listed, allowed, what)
        self.expect_files(place, run.listed, what)
        self.assertEqual(os.listdir(os.path.join(place.root, "journal")), ["journal"], what)
        return run.listed

    def expect_listed(self, listed, allowed, what):
        for uuid, parts in allowed.items():
            self.assertIn(listed.get(uuid, ("-", "-")), parts, f"{uuid}: {what}")

    def expect_files(self, place, listed, what):
        expected = {f"{uuid}.{kind}" for uuid, parts in listed.items()
                    for kind, part in zip(("xml", "key"), parts) if part != "-"}
        self.assertEqual(set(os.listdir(place.secrets)), expected, what)

    def each_call(self, first, steps, **crash):
        """Runs the steps with `crash` at the 1st call, the 2nd, ... until it is never reached."""
        for number in itertools.count(1):
            self.prepare(first)
            run = self.place.run(steps, AT=number, **crash)
            yield number, run
            if run.status == 0:
                return


class Kill(StoreCase):
    def expect_old_or_new(self, first, how):
        initial = {} if first else _after({}, _FIRST[0][0])
        steps = _FIRST if first else _CHANGES
        for number, run in self.each_call(first, steps, HOW=how):
            self.assertIn(run.status, (0, -9), run.stderr)
            allowed = Expectation(initial, steps).at(run.verdicts)
            what = f"{how}, call {number}"
            listed = self.expect_start(self.place, allowed, what)
            self.assertEqual(self.expect_start(self.place, allowed, what), listed)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 40)

    def test_a_kill_before_any_call_leaves_old_or_new(self):
        self.expect_old_or_new(first=False, how="before")

    def test_a_kill_within_any_write_leaves_old_or_new(self):
        self.expect_old_or_new(first=False, how="torn")

    def test_a_kill_at_the_first_start_leaves_old_or_new(self):
        self.expect_old_or_new(first=True, how="before")


class DiskCase(StoreCase):
    def cut_at_each_call(self, before, calls, expectation, verdicts, draws, start=0):
        """Power cuts at each of `calls` from `start` on; `before` is the disk before them."""
        seen = set()
        for number in range(len(calls) + 1):
            if number >= start:
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


class PowerCut(DiskCase):
    def test_a_power_cut_at_any_call_leaves_old_or_new(self):
        before, run = self.record(False, _CHANGES)
        self.assertEqual((run.status, run.stderr), (0, ""))
        self.cut_at_each_call(before, disk.read_log(self.place.log),
                              Expectation(_after({}, _FIRST[0][0]), _CHANGES), run.verdicts,
                              14 // _STRIDE)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 100)

    def test_a_power_cut_at_the_first_start_leaves_old_or_new(self):
        before, run = self.record(True, _FIRST)
        self.assertEqual((run.status, run.stderr), (0, ""))
        self.cut_at_each_call(before, disk.read_log(self.place.log), Expectation({}, _FIRST),
                              run.verdicts, 2)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 60)

    # The process is killed: what it wrote stays in memory. Another one starts on that, and is cut.
    def test_a_power_cut_at_the_start_after_a_kill_leaves_old_or_new(self):
        steps = [_CHANGES[1], [(A, "<a-6/>", "value-6")]]
        initial = _after({}, _FIRST[0][0])
        for number in itertools.count(1, _STRIDE):
            before, run = self.record(False, steps, AT=number, HOW="before")
            if run.status == 0:
                break
            killed_after = len(disk.read_log(self.place.log))
            restart = self.place.run(["list"], LOG=self.place.log)
            self.assertEqual((restart.status, restart.stderr), (0, ""))
            # What the start has shown must stay.
            allowed = Expectation(initial, steps).at(run.verdicts)
            calls = disk.read_log(self.place.log)
            self.cut_at_each_call(before, calls, _Constant(allowed), [], 1, start=killed_after)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 20)


class Failure(DiskCase):
    def expect_what_was_said(self, error, **crash):
        initial = _after({}, _FIRST[0][0])
        steps = [*_CHANGES, "list"]
        refused = 0
        for number in itertools.count(1, _STRIDE):
            before, run = self.record(False, steps, AT=number, HOW=error, **crash)
            what = f"errno {error} {crash}, call {number}"
            calls = disk.read_log(self.place.log)
            if number > len(calls):
                break
            self.assertEqual(run.status, 0, what)
            refused += sum(verdict[1] is not None for verdict in run.verdicts)
            allowed = Expectation(initial, steps).at(run.verdicts)
            self.expect_listed(run.listed, allowed, f"in the same process, {what}")
            self.expect_start(self.place, allowed, what)
            for call in calls:
                before.apply(call)
            for choice in disk.choices(number, 1):
                self.start_after(before.after(choice), allowed, set(),
                                 f"{choice} was kept, after {what}")
        self.assertGreater(refused, 5)

    def test_one_failed_call_breaks_no_promise(self):
        self.expect_what_was_said(errno.EIO)

    def test_a_full_disk_breaks_no_promise(self):
        self.expect_what_was_said(errno.ENOSPC, STICKY="1")


class _Constant:
    def __init__(self, allowed):
        self._allowed = allowed

    def at(self, _):
        return self._allowed


if __name__ == "__main__":
    taptest.main()
