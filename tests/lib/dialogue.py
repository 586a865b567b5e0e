# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program on a terminal of its own, and what is typed there."""

import os
import pty
import select
import time

import host

_BOUND_S = 60 * host.PATIENCE


class Dialogue:
    """`popen` starts the program with the descriptors that it is given."""

    def __init__(self, machine, argv, env=None):
        self.said = ""
        self._terminal, other_end = pty.openpty()
        self._process = machine.popen(["setsid", "--wait", "--ctty", *argv], env=env,
                                      stdin=other_end, stdout=other_end, stderr=other_end)
        os.close(other_end)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._terminal)

    def _read(self, deadline):
        """False at the end."""
        left = deadline - time.monotonic()
        if left < 0 or not select.select([self._terminal], [], [], left)[0]:
            raise AssertionError(f"nothing more was said within {_BOUND_S} s: {self.said!r}")
        try:
            said = os.read(self._terminal, 4096)
        except OSError:  # the other end is closed
            return False
        self.said += said.decode().replace("\r\n", "\n")
        return bool(said)

    def wait_for(self, text, start=0):
        """Reads until `text` was said behind `start`; returns what was said up to it."""
        deadline = time.monotonic() + _BOUND_S
        while text not in self.said[start:]:
            if not self._read(deadline):
                raise AssertionError(f"it ended without {text!r}: {self.said!r}")
        return self.said[start:self.said.index(text, start)]

    def answer(self, question, text):
        """Types a line once the question has been asked, again if it was before."""
        start = len(self.said) if question not in self.said else self.said.index(question)
        before = self.wait_for(question, start)
        self.said = self.said[start + len(before) + len(question):]
        os.write(self._terminal, text.encode() + b"\n")
        return before

    def end(self):
        """The exit status, and all that was said since the last answer."""
        deadline = time.monotonic() + _BOUND_S
        while self._read(deadline):
            pass
        return self._process.wait(_BOUND_S), self.said
