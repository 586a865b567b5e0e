#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Volumes, stopped at every call of virtcryptd's that changes a file while one is made, deleted,
wiped, re-keyed, cloned or adopted.

After a start each volume is whole and opens with its key, or neither volume, secret nor record is
left.
"""

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
_STEPS = os.path.join(_BUILD, "tests/crash/volume-steps")
_BOUND_S = 60 * int(float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")))
_SIGKILL = -9

# Where everything is slow (sanitizers), what goes wrong in any run is looked for, and not every run.
_STRIDE = 7 if float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1")) > 1 else 1


class Listing:
    """What is there."""

    def __init__(self, text):
        self.volumes = {}  # name: (secret, opens)
        self.keys = set()
        self.files = set()
        for line in text.splitlines():
            what, *words = line.split()
            if what == "volume":
                self.volumes[words[0]] = (words[1], words[2] == "opens")
            elif what == "key":
                self.keys.add(words[0])
            elif what == "file":
                self.files.add(words[0])


class VolumesCase(unittest.TestCase):
    def setUp(self):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._folder = tempfile.mkdtemp(prefix="virtcrypt-", dir=memory)
        self.addCleanup(shutil.rmtree, self._folder)
        self._root = os.path.join(self._folder, "root")
        self._before = os.path.join(self._folder, "before")
        self._log = os.path.join(self._folder, "log")

    def _run(self, *steps, **crash):
        environment = dict(os.environ, LC_ALL="C", **host.preloaded(host.SLOW_PROCESSOR))
        if crash:
            watched = [os.path.join(self._root, name) for name in ("images", "keys", "volumes")]
            environment.update(host.preloaded(f"{_INTERPOSE}:{host.SLOW_PROCESSOR}"), CRASH_FOLDERS=":".join(watched))
            environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return subprocess.run([_STEPS, self._root, *steps], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=_BOUND_S, check=False)

    def _list(self):
        done = self._run("list")
        self.assertEqual(done.returncode, 0, done.stderr)
        return Listing(done.stdout)

    def _prepare(self, *steps):
        done = self._run(*steps)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("error", done.stdout)
        subprocess.run(["cp", "-a", self._root, self._before], check=True, timeout=_BOUND_S)

    def _go_back(self):
        shutil.rmtree(self._root)
        subprocess.run(["cp", "-a", self._before, self._root], check=True, timeout=_BOUND_S)

    def _count_calls(self, step):
        self._go_back()
        if os.path.exists(self._log):
            os.unlink(self._log)
        done = self._run(step, LOG=self._log)
        self.assertEqual((done.returncode, done.stdout), (0, "done\n"), done.stderr)
        return len(disk.read_log(self._log))

    def _expect_whole(self, listing, names):
        """All volumes open; nothing is there that is not of one of them."""
        self.assertLessEqual(set(listing.volumes), names)
        for name, (secret, opens) in listing.volumes.items():
            self.assertTrue(opens, name)
            self.assertIn(secret, listing.keys)
        self.assertEqual(listing.keys, {secret for secret, _ in listing.volumes.values()})
        self.assertEqual(listing.files, set(listing.volumes))

    def _stop_everywhere(self, step, names, check, stride=_STRIDE):
        """`check` is given what is there after each stop and the next start."""
        count = self._count_calls(step)
        self.assertGreater(count, 3)
        for at in range(1, count + 1, stride):
            for how in ("before", "torn") if at % 5 == 1 and stride == _STRIDE else ("before",):
                with self.subTest(step=step, at=at, how=how):
                    self._go_back()
                    done = self._run(step, AT=at, HOW=how)
                    self.assertEqual(done.returncode, _SIGKILL, done.stdout + done.stderr)
                    listing = self._list()
                    self._expect_whole(listing, names)
                    check(listing)
        return count

    # ---- creation ----

    def _stop_creation(self, step):
        seen = set()
        self._prepare()
        self._stop_everywhere(step, {"disk"}, lambda listing: seen.add(len(listing.volumes)))
        self.assertIn(0, seen)

    def test_a_creation_of_raw_is_whole_or_undone(self):
        self._stop_creation("create disk raw")

    def test_a_creation_of_qcow2_is_whole_or_undone(self):
        self._stop_creation("create disk qcow2")

    def test_a_creation_can_be_made_again_after_any_stop(self):
        self._prepare()
        for at in range(1, self._count_calls("create disk raw") + 1, 3 * _STRIDE):
            with self.subTest(at=at):
                self._go_back()
                self._run("create disk raw", AT=at, HOW="before")
                again = self._run("create disk raw")
                self.assertTrue(again.stdout == "done\n" or "'disk'" in again.stdout, again.stdout)
                listing = self._list()
                self._expect_whole(listing, {"disk"})
                self.assertIn("disk", listing.volumes)

    def test_a_clone_is_whole_or_undone_and_its_source_stays(self):
        self._prepare("create source raw")
        self._stop_everywhere("clone disk source", {"disk", "source"},
                              lambda listing: self.assertIn("source", listing.volumes))

    # ---- changes ----

    def test_a_deletion_leaves_nothing_once_it_began(self):
        for form in ("raw", "qcow2"):
            shutil.rmtree(self._before, ignore_errors=True)
            shutil.rmtree(self._root, ignore_errors=True)
            self._prepare(f"create disk {form}")
            seen = []
            self._stop_everywhere("delete disk", {"disk"},
                                  lambda listing, seen=seen: seen.append(len(listing.volumes)))
            self.assertEqual(seen, sorted(seen, reverse=True), "it came back")
            self.assertEqual(seen[-1], 0)

    def _stop_change(self, how, stride=_STRIDE):
        for form in ("raw", "qcow2"):
            shutil.rmtree(self._before, ignore_errors=True)
            shutil.rmtree(self._root, ignore_errors=True)
            self._prepare(f"create disk {form}")
            self._stop_everywhere(f"{how} disk", {"disk"},
                                  lambda listing: self.assertIn("disk", listing.volumes), stride)

    def test_a_re_keying_keeps_the_volume_openable(self):
        self._stop_change("rekey")

    def test_a_wipe_is_finished(self):
        # Of the many calls that overwrite the content not each needs its own stop.
        self._stop_change("wipe", 9 * _STRIDE)

    def test_an_adoption_never_touches_the_volume(self):
        self._prepare()
        image = os.path.join(self._before, "images/disk")
        with open(image, "wb") as file:
            file.truncate(4 << 20)
        subprocess.run(["cryptsetup", "-q", "luksFormat", "--type", "luks1",
                        "--pbkdf-force-iterations", "1000", image, "-"],
                       input=b"open sesame", check=True, timeout=_BOUND_S)
        with open(image, "rb") as file:
            content = file.read()
        for at in range(1, self._count_calls("adopt disk") + 1, _STRIDE):
            with self.subTest(at=at):
                self._go_back()
                done = self._run("adopt disk", AT=at, HOW="before")
                self.assertEqual(done.returncode, _SIGKILL, done.stdout)
                listing = self._list()
                self.assertEqual(listing.files, {"disk"})
                self.assertEqual(listing.keys, {key for key, _ in listing.volumes.values()})
                with open(os.path.join(self._root, "images/disk"), "rb") as file:
                    self.assertTrue(file.read() == content)


if __name__ == "__main__":
    taptest.main()
