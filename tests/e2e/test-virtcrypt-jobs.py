#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Long work of virtcrypt: what is shown of it, how it is cancelled, and what other processes see of it."""

import os
import pty
import select
import signal
import struct
import subprocess
import time
import unittest

import fakeserver
import host
import residue
import taptest
import virtcrypt
import volumes

_POOL = volumes.POOL


class Jobs(unittest.TestCase):
    """Long work, with a server that is as slow as it should be."""

    _CREATE, _WAIT, _CANCEL = 2, 9, 10
    _ABORTED = fakeserver.Error(78, 18, "operation aborted: the job was cancelled")

    @staticmethod
    def reply(done, permille, warnings=()):
        data = struct.pack(">QIIII", 7, int(done), permille, 0, len(warnings))
        for text in warnings:
            data += struct.pack(">I", len(text)) + text.encode() + b"\0" * (-len(text) % 4)
        return data

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def daemon(self, answers):
        return fakeserver.FakeServer(self.machine.path(host.VIRTCRYPTD_SOCKET), answers)

    def run_on_terminal(self, after=None):
        """The exit status, and all that a terminal shows of a creation; `after(process, shown)` is
        called as it grows."""
        terminal, other_end = pty.openpty()
        process = self.machine.popen([virtcrypt.PROGRAM, "vol-create", "p", "v", "1M", "--format", "raw"],
                                     stdin=other_end, stdout=other_end, stderr=other_end,
                                     start_new_session=True)
        os.close(other_end)
        self.addCleanup(process.kill)
        shown = b""
        deadline = time.monotonic() + host.RUN_BOUND_S
        try:
            while time.monotonic() < deadline:
                if select.select([terminal], [], [], 0.1)[0]:
                    shown += os.read(terminal, 4096)
                if after:
                    after(process, shown)
        except OSError:  # EIO: the other end is closed
            pass
        finally:
            os.close(terminal)
        return process.wait(host.RUN_BOUND_S), shown.decode()

    def test_how_far_it_is_is_shown_on_a_terminal(self):
        answers = {self._CREATE: self.reply(False, 0),
                   self._WAIT: [self.reply(False, 420), self.reply(True, 1000, ["mind the gap"])]}
        with self.daemon(answers) as server:
            status, shown = self.run_on_terminal()
        self.assertEqual(status, 0, shown)
        self.assertIn("\rCreate volume: [  0 %]\rCreate volume: [ 42 %]\rCreate volume: [100 %]\r\n",
                      shown)
        self.assertIn("warning: mind the gap\r\n", shown)
        self.assertIn("Vol v created\r\n", shown)
        self.assertEqual([call[1] for call in server.calls if call[0] == self._WAIT],
                         [struct.pack(">Q", 7)] * 2)

    def test_nothing_of_it_is_shown_elsewhere(self):
        answers = {self._CREATE: self.reply(False, 0), self._WAIT: self.reply(True, 1000)}
        with self.daemon(answers):
            done = self.machine.run([virtcrypt.PROGRAM, "vol-create", "p", "v", "1M", "--format", "raw"])
        self.assertEqual((done.returncode, done.stdout), (0, "Vol v created\n\n"))
        self.assertNotIn("%", done.stderr)

    def test_an_interrupt_cancels_it(self):
        interrupted = []

        def interrupt(process, shown):
            if b"[ 42 %]" in shown and not interrupted:
                interrupted.append(True)
                process.send_signal(signal.SIGINT)

        class Slow(list):
            """Answers until it is cancelled."""

            def pop(self, _):
                time.sleep(0.2)
                return Jobs._ABORTED if cancelled(server) else Jobs.reply(False, 420)

        def cancelled(server):
            return any(call[0] == self._CANCEL for call in server.calls)

        with self.daemon({self._CREATE: self.reply(False, 0), self._WAIT: Slow(),
                          self._CANCEL: b""}) as server:
            status, shown = self.run_on_terminal(interrupt)
            self.assertTrue(cancelled(server))
        self.assertEqual(status, 1, shown)
        self.assertIn("error: Failed to create vol v\r\n"
                      "error: operation aborted: the job was cancelled\r\n", shown)


class Secrecy(virtcrypt.Case):
    """Keys in no argument and no environment of any process."""

    def watch(self, process, seen):
        """Everything that processes of the host show while `process` runs."""
        while process.poll() is None:
            for pid in self.machine.processes():
                for name in ("cmdline", "environ"):
                    try:
                        with open(f"/proc/{pid}/{name}", "rb") as file:
                            seen.add(file.read())
                    except OSError:
                        pass
            time.sleep(0.005)
        self.assertEqual(process.returncode, 0)

    def test_no_process_shows_a_key(self):
        seen = set()
        key = os.urandom(24).hex()
        self.machine.write("/run/t/secret-key", key)
        for line in (f"vol-create {_POOL} q 4M --format qcow2 --key /run/t/secret-key",
                     f"vol-clone q q2 {_POOL} --format raw --key /run/t/secret-key",
                     f"vol-rekey q {_POOL}", f"vol-resize q2 8M {_POOL}", f"vol-delete q2 {_POOL}"):
            process = self.machine.popen([virtcrypt.PROGRAM, *line.split()], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
            self.addCleanup(process.kill)
            self.watch(process, seen)
        generated = volumes.key_of(self.machine, self.info("q")["secret"])
        everything = b"\n".join(seen)
        # One of them at least was seen, however short they are.
        self.assertRegex(everything, rb"vol-(create|clone|rekey|resize|delete)\0")
        for secret in (key.encode(), generated):
            for name, form in residue.forms(secret).items():
                self.assertNotIn(form, everything, name)


if __name__ == "__main__":
    taptest.main()
