#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests and their keys, stopped at every call that changes a file while a guest is defined with its
key, while one comes with its key, and while one leaves.

After a start there is neither a guest without its key nor a key without its guest; a key that may be
the only one is never lost.
"""

import os
import shutil
import subprocess
import tempfile
import time
import unittest

import disk
import host
import taptest

_BUILD = os.environ["BUILD_ROOT"]
_INTERPOSE = os.path.join(_BUILD, "tests/crash/crash-interpose.so")
_STEPS = os.path.join(_BUILD, "tests/crash/guest-steps")
_BOUND_S = 60 * int(float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")))
_SIGKILL = -9

# Where everything is slow (sanitizers), what goes wrong in any run is looked for, and not every run.
_STRIDE = 5 if float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")) > 1 else 1


class Listing:
    """What is there."""

    def __init__(self, text):
        self.has_guest = False
        self.state = None  # of the record
        self.keys = {}  # in the record: uuid: state
        self.secrets = {}  # in the custodian: uuid: whether the guest owns it
        for line in text.splitlines():
            what, *words = line.split()
            if what == "guest":
                self.has_guest = True
            elif what == "record":
                self.state = words[0]
            elif what == "key":
                self.keys[words[0]] = words[1]
            elif what == "secret":
                self.secrets[words[0]] = words[1] == "owned"

    def is_empty(self):
        return not (self.has_guest or self.state or self.keys or self.secrets)


class GuestsCase(unittest.TestCase):
    def setUp(self):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._folder = tempfile.mkdtemp(prefix="virtcrypt-", dir=memory)
        self.addCleanup(shutil.rmtree, self._folder)
        self._root = os.path.join(self._folder, "root")
        self._before = os.path.join(self._folder, "before")
        self._log = os.path.join(self._folder, "log")

    def _run(self, *steps, **crash):
        environment = dict(os.environ, LC_ALL="C")
        if crash:
            watched = [os.path.join(self._root, name)
                       for name in ("domains", "keys", "owners", "records", "volumes")]
            environment.update(host.preloaded(_INTERPOSE), CRASH_FOLDERS=":".join(watched))
            environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return subprocess.run([_STEPS, self._root, *steps], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=_BOUND_S, check=False)

    def _do(self, *steps):
        done = self._run(*steps)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("error", done.stdout)
        return done.stdout

    def _list(self, *steps):
        return Listing(self._do(*steps, "list").replace("done\n", ""))

    def _prepare(self, *steps):
        self._do(*steps)
        subprocess.run(["cp", "-a", self._root, self._before], check=True, timeout=_BOUND_S)

    def _go_back(self):
        """The folder of volumes stays: records know it by its inode."""
        for name in os.listdir(self._root):
            if name != "images":
                shutil.rmtree(os.path.join(self._root, name))
        for name in os.listdir(self._before):
            if name != "images":
                subprocess.run(["cp", "-a", os.path.join(self._before, name), self._root],
                               check=True, timeout=_BOUND_S)

    def _count_calls(self, step, now):
        self._go_back()
        if os.path.exists(self._log):
            os.unlink(self._log)
        done = self._run(step, LOG=self._log, TIME=now)
        self.assertEqual((done.returncode, done.stdout), (0, "done\n"), done.stderr)
        return len(disk.read_log(self._log))

    def _stop_everywhere(self, step, check):
        """`check` is called after each stop."""
        # A record whose time is of the same second is not written again: the clock stands still, in a
        # later second than that of what is there.
        time.sleep(1)
        now = int(time.time() * 1_000_000)
        count = self._count_calls(step, now)
        self.assertGreater(count, 3)
        for at in range(1, count + 1, _STRIDE):
            with self.subTest(step=step, at=at):
                self._go_back()
                done = self._run(step, AT=at, HOW="before", TIME=now)
                self.assertEqual(done.returncode, _SIGKILL, done.stdout + done.stderr)
                check()

    def _expect_guest_with_key(self, listing, state="present"):
        self.assertTrue(listing.has_guest)
        self.assertEqual(listing.state, state)
        self.assertEqual(list(listing.keys.values()), ["bound"])
        self.assertEqual(listing.secrets, {uuid: True for uuid in listing.keys})

    # ---- defined with its key ----

    def _stop_definition(self, step):
        seen = set()

        def check():
            listing = self._list()
            seen.add(listing.has_guest)
            if listing.has_guest:
                self._expect_guest_with_key(listing)
            else:
                self.assertTrue(listing.is_empty(), vars(listing))

        self._prepare("volume")
        self._stop_everywhere(step, check)
        self.assertEqual(seen, {True, False})

    def test_a_guest_is_defined_with_its_key_or_not_at_all(self):
        self._stop_definition("define")

    def test_a_guest_is_created_with_its_key_or_not_at_all(self):
        self._stop_definition("create")

    def test_a_definition_can_be_made_again_after_any_stop(self):
        self._prepare("volume")
        self._stop_everywhere("define", lambda: (
            self._do("define"), self._expect_guest_with_key(self._list())))

    # ---- one that comes ----

    def test_a_key_whose_guest_did_not_come_goes(self):
        self._prepare("volume")
        self._stop_everywhere("receive", lambda: self.assertTrue(self._list("age").is_empty()))

    def test_a_key_can_be_sent_again_after_any_stop(self):
        self._prepare("volume")
        self._stop_everywhere("receive", lambda: (
            self._do("receive", "run", "end moved"),
            self._expect_guest_with_key(self._list("age"))))

    def test_a_guest_that_came_has_its_key(self):
        self._prepare("volume", "receive", "run")
        self._stop_everywhere("end moved",
                              lambda: self._expect_guest_with_key(self._list("age")))

    def test_the_end_of_one_that_did_not_come_leaves_nothing(self):
        self._prepare("volume", "receive")
        self._stop_everywhere("end stayed", lambda: self.assertTrue(self._list("age").is_empty()))

    # ---- one that leaves ----

    def test_a_guest_that_is_to_leave_keeps_its_key(self):
        self._prepare("own", "run", "list")

        def check():
            listing = self._list()
            self._expect_guest_with_key(listing, listing.state)
            self.assertIn(listing.state, ("present", "leaving"))
            self._do("begin")

        self._stop_everywhere("begin", check)

    def test_a_key_is_erased_once_its_guest_has_left_and_not_before(self):
        self._prepare("own", "run", "list", "begin", "gone")

        def check():
            listing = self._list()
            self.assertFalse(listing.has_guest)
            if listing.secrets:
                self.assertEqual(listing.state, "migrated")
                self.assertEqual(listing.secrets, {uuid: True for uuid in listing.keys})
                self._do("end moved")
            self.assertTrue(self._list().is_empty())

        self._stop_everywhere("end moved", check)


if __name__ == "__main__":
    taptest.main()
