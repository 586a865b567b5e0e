#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The master key's slots and key files, stopped at every call that changes a file: killed, cut from
power, or told of a failure. A start opens by the key file alone, and by the recovery passphrase,
what was there before the change or after it, with a tag that is right."""

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
_STEPS = os.path.join(_BUILD, "tests/crash/slots-steps")
_BOUND_S = 60
_STRIDE = 12 if float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")) > 1 else 1

_CHANGES = ["rotate", "forget", "add", "rotate", "remove"]

# Of a slot that does not count (yet, or any more): a start does not know their names.
_LEFT = {"second", "second.next"}


class _Run:
    def __init__(self, done):
        self.status = done.returncode
        self.stderr = done.stderr
        self.lines = [line.split(" ", 2) for line in done.stdout.splitlines()]
        self.opened = [text[0] for _, word, *text in self.lines if word == "is"]
        self.errors = [text for _, word, *text in self.lines if word == "error"]

    def allowed(self, before, time=None):
        """What may be there at that time: the last state that was done, or one begun since."""
        states, begun = before, []
        for when, word, *state in self.lines:
            if time is not None and int(when) >= time:
                # What is under way was told of before it began to be written, or a little later.
                if word == "will":
                    begun += state
                break
            if word == "will":
                begun += state
            elif word == "done" and begun:
                states, begun = [begun[-1]], []
            elif word == "error":
                states, begun = states + begun, []
        return states + begun


class Slots(unittest.TestCase):
    def setUp(self):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        folder = tempfile.TemporaryDirectory(dir=memory)
        self.addCleanup(folder.cleanup)
        self.root = os.path.join(folder.name, "run")
        self.again = os.path.join(folder.name, "again")
        self.log = os.path.join(folder.name, "log")
        self.starts = 0

    def run_steps(self, root, *steps, **crash):
        environment = dict(os.environ, LC_ALL="C")
        if crash:
            environment.update(host.preloaded(_INTERPOSE), CRASH_FOLDERS=root)
            environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return _Run(subprocess.run([_STEPS, root, *steps], env=environment,
                                   stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                   timeout=_BOUND_S, check=False))

    def prepare(self):
        """A fresh place with slots; returns their state."""
        shutil.rmtree(self.root, ignore_errors=True)
        os.mkdir(self.root)
        if os.path.exists(self.log):
            os.unlink(self.log)
        run = self.run_steps(self.root, "make", "open")
        self.assertEqual((run.status, run.errors, len(run.opened)), (0, [], 1))
        return run.opened[0]

    def expect_start(self, root, allowed, what):
        """Returns the state."""
        run = self.run_steps(root, "open")
        self.starts += 1
        self.assertEqual((run.status, run.errors, run.stderr), (0, [], ""), what)
        self.assertIn(run.opened[0], allowed, what)
        names = set(os.listdir(root))
        slots = int(run.opened[0].split()[1])
        self.assertEqual(names - _LEFT, {"master.slots", "key"}, what)
        if slots == 3:
            self.assertEqual(names & _LEFT, {"second"}, what)
        return run.opened[0]

    def expect_old_or_new_after_a_kill(self, how):
        for number in itertools.count(1, _STRIDE):
            before = self.prepare()
            run = self.run_steps(self.root, *_CHANGES, AT=number, HOW=how)
            self.assertIn(run.status, (0, -9), run.stderr)
            what = f"{how}, call {number}"
            state = self.expect_start(self.root, run.allowed([before]), what)
            self.assertEqual(self.expect_start(self.root, [state], what), state)
            # And it can be changed further, whatever was left.
            after = self.run_steps(self.root, "rotate", "open")
            self.assertEqual((after.status, after.errors), (0, []), what)
            if run.status == 0:
                break
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 40 // _STRIDE)

    def test_a_kill_before_any_call_leaves_old_or_new(self):
        self.expect_old_or_new_after_a_kill("before")

    def test_a_kill_within_any_write_leaves_old_or_new(self):
        self.expect_old_or_new_after_a_kill("torn")

    def test_a_kill_at_the_first_start_leaves_all_or_nothing(self):
        for number in itertools.count(1):
            shutil.rmtree(self.root, ignore_errors=True)
            os.mkdir(self.root)
            run = self.run_steps(self.root, "make", AT=number, HOW="before")
            self.assertIn(run.status, (0, -9))
            if "master.slots" in os.listdir(self.root):
                self.expect_start(self.root, run.allowed([]), f"call {number}")
            else:
                again = self.run_steps(self.root, "make", "open")
                self.assertEqual((again.status, again.errors), (0, []), f"call {number}")
                self.assertEqual(sorted(os.listdir(self.root)), ["key", "master.slots"])
            if run.status == 0:
                break
        self.assertGreater(number, 8)

    def record(self, **crash):
        state = self.prepare()
        before = disk.Disk(self.root)
        return state, before, self.run_steps(self.root, *_CHANGES, LOG=self.log, **crash)

    def test_a_power_cut_at_any_call_leaves_old_or_new(self):
        state, before, run = self.record()
        self.assertEqual((run.status, run.errors, run.stderr), (0, [], ""))
        calls = disk.read_log(self.log)
        seen = set()
        for number in range(len(calls) + 1):
            time = calls[number].time if number < len(calls) else None
            for choice in disk.choices(number, 8 // _STRIDE):
                tree = before.after(choice)
                key = disk.digest(tree), str(run.allowed([state], time))
                if key in seen:
                    continue
                seen.add(key)
                shutil.rmtree(self.again, ignore_errors=True)
                os.mkdir(self.again)
                disk.put(tree, self.again)
                # The paths in the slots are those of the place where they were made.
                shutil.rmtree(self.root)
                shutil.copytree(self.again, self.root)
                self.expect_start(self.root, run.allowed([state], time),
                                  f"{choice} was kept, cut in call {number + 1}: "
                                  f"{calls[number] if number < len(calls) else 'end'}")
            if number < len(calls):
                before.apply(calls[number])
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 60)

    def expect_what_was_said(self, error, **crash):
        refused = 0
        for number in itertools.count(1, _STRIDE):
            state, _, run = self.record(AT=number, HOW=error, **crash)
            what = f"errno {error} {crash}, call {number}"
            self.assertEqual(run.status, 0, what)
            if number > len(disk.read_log(self.log)):
                break
            refused += len(run.errors)
            shown = self.run_steps(self.root, "open")
            self.assertEqual((shown.status, shown.errors), (0, []), what)
            self.assertIn(shown.opened[0], run.allowed([state]), what)
        self.assertGreater(refused, 5)

    def test_one_failed_call_breaks_no_promise(self):
        self.expect_what_was_said(errno.EIO)

    def test_a_full_disk_breaks_no_promise(self):
        self.expect_what_was_said(errno.ENOSPC, STICKY="1")


if __name__ == "__main__":
    taptest.main()
