#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`dev demo` shows what it says, and leaves nothing behind: not when it ends, not when it is
interrupted."""

import os
import signal
import subprocess
import unittest

import host
import taptest

_DEMO = os.path.join(os.environ["SOURCE_ROOT"], "demo/demo")


def _processes():
    """Of all that the demo starts, anywhere: command lines by pid."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found[int(entry)] = file.read()
            except OSError:
                pass
    return found


def _start():
    return subprocess.Popen(["/usr/bin/python3", _DEMO, "--build-dir", host.BUILD_ROOT],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True)


def _of_demo(demo):
    """Processes below the demo's own: every one of them is in a mount namespace of its host."""
    mine = os.readlink("/proc/self/ns/mnt")
    namespaces = set()
    for pid in _processes():
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
        except OSError:
            continue
        if parent == demo.pid and namespace != mine:
            namespaces.add(namespace)
    return namespaces


def _left_in(namespaces):
    left = []
    for pid in _processes():
        try:
            if os.readlink(f"/proc/{pid}/ns/mnt") in namespaces:
                left.append(pid)
        except OSError:
            pass
    return left


class DevDemo(unittest.TestCase):
    def test_it_tells_the_whole_story(self):
        demo = _start()
        shown, _ = demo.communicate(timeout=240 * host.PATIENCE)
        self.assertEqual(demo.returncode, 0, shown)
        for line in ("Hello from the encrypted disk (boot 1)",
                     "Hello from the encrypted disk (boot 2)", "secret is private",
                     "Nothing found. The key is nowhere in clear.", "encrypted: yes",
                     "What to try next", "the private host is gone"):
            self.assertIn(line, shown)
        self.assertNotIn("\033", shown, "no colours where there is no terminal")

    def test_nothing_is_left_when_it_is_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number.name):
                demo = _start()
                for line in demo.stdout:
                    if "LIBVIRT_DRIVER_DIR" in line:
                        break
                namespaces = _of_demo(demo)
                self.assertEqual(len(namespaces), 1)
                os.killpg(demo.pid, number)
                rest = demo.stdout.read()
                demo.stdout.close()
                self.assertEqual(demo.wait(timeout=60 * host.PATIENCE),
                                 -9 if number == signal.SIGKILL else 130, rest)
                host.wait_for(lambda: not _left_in(namespaces), "every process is gone")


if __name__ == "__main__":
    taptest.main()
