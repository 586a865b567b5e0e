#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ways by which values come into virtcrypt and leave it: none of them is seen by others, and no
copy stays behind."""

import base64
import os
import pty
import re
import select
import signal
import struct
import termios
import unittest

import fakeserver
import host
import residue
import taptest

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_UUID = "11111111-1111-4111-8111-111111111111"
_XML = f"<secret><uuid>{_UUID}</uuid></secret>"
_ENV = {"VIRTCRYPT_DEFAULT_URI": f"secret:///system?socket={host.SECRETD_SOCKET}"}
_FAKE_SOCKET = "/run/fake-sock"
_KEY = bytes((7 * i + 129) % 256 for i in range(48))


class WithDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.start_secretd()
        cls.machine.write("/run/t/secret.xml", _XML)

    def setUp(self):
        self.ours("secret-define", "/run/t/secret.xml").check()
        self.addCleanup(lambda: self.ours("secret-undefine", _UUID).check())

    def ours(self, *arguments, **options):
        return self.machine.run([_VIRTCRYPT, *arguments], env=_ENV, **options)

    def set(self, *arguments, **options):
        return self.ours("secret-set-value", _UUID, *arguments, **options)

    def value(self):
        return self.ours("-q", "secret-get-value", _UUID, "--plain", text=False).check().stdout

    def expect_refused(self, done, text):
        self.assertEqual(done.returncode, 1)
        self.assertIn(text, done.stderr)
        self.assertIn("does not have a value", self.ours("secret-get-value", _UUID).stderr)


class Values(WithDaemon):
    def test_a_file_of_base64_with_line_breaks_is_decoded(self):
        value = bytes(range(256))
        self.machine.write("/run/t/value", base64.encodebytes(value))
        self.set("--file", "/run/t/value").check()
        self.assertEqual(self.value(), value)
        self.assertEqual(base64.b64decode(self.ours("secret-get-value", _UUID).stdout), value)

    def test_a_files_bytes_are_taken_as_they_are(self):
        value = os.urandom(65536)
        self.machine.write("/run/t/value", value)
        self.set("--file", "/run/t/value", "--plain").check()
        self.assertEqual(self.value(), value)

    def test_a_value_can_come_from_standard_input(self):
        self.set("--file", "/dev/stdin", "--plain", input="by a pipe").check()
        self.assertEqual(self.value(), b"by a pipe")

    def test_a_value_that_is_too_long_is_refused(self):
        self.machine.write("/run/t/value", bytes(65537))
        self.expect_refused(self.set("--file", "/run/t/value", "--plain"),
                            "error: Failed to read file '/run/t/value': the value is longer than "
                            "the maximum of 65536 bytes\n")

    def test_what_is_no_base64_is_refused(self):
        self.machine.write("/run/t/value", "no base64!")
        self.expect_refused(self.set("--file", "/run/t/value"),
                            "error: Failed to decode file '/run/t/value': the value is not valid "
                            "base64; use --plain if it holds the value itself\n")
        self.expect_refused(self.set("Y!"), "error: Failed to set secret value\n"
                                            "error: invalid argument: the value is not valid base64")

    def test_generated_values_are_text_that_nobody_saw(self):
        values = set()
        for _ in range(3):
            done = self.set("--generate", "256").check()
            self.assertEqual((done.stdout, done.stderr), ("Secret value set\n\n", ""))
            values.add(self.value())
        self.assertEqual(len(values), 3)
        for value in values:
            self.assertRegex(value, rb"\A[A-Za-z0-9_-]{43}\Z")

    def test_bits_that_make_no_value_are_refused(self):
        for bits in ("0", "12", "393224"):
            self.expect_refused(self.set("--generate", bits),
                                "the number of bits must be a multiple of 8 from 8 to 393216")
        self.expect_refused(self.set("--generate", "x"), "Numeric value 'x' for <generate> option")
        self.expect_refused(self.set("--generate", "8", "--plain"),
                            "Options --generate and --plain are mutually exclusive")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, machine, *arguments):
        self.fd, other_end = pty.openpty()
        self.before = termios.tcgetattr(self.fd)
        self.seen = b""
        # setsid runs the program in its own process, so its pid is known.
        self.process = machine.popen(["setsid", "--ctty", _VIRTCRYPT, *arguments], env=_ENV,
                                     stdin=other_end, stdout=other_end, stderr=other_end)
        os.close(other_end)

    def wait_for(self, text):
        """Until `text` is shown once more."""
        already = self.seen.count(text)

        def has_come():
            if select.select([self.fd], [], [], 0)[0]:
                self.seen += os.read(self.fd, 4096)
            return self.seen.count(text) > already
        host.wait_for(has_come, f"{text} is printed")

    def wait_for_echo_off(self):
        host.wait_for(lambda: not self.echoes(), "the echo is off")

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        """Returns the exit status; `seen` holds all that was shown then."""
        status = self.process.wait(host.RUN_BOUND_S)
        try:
            while select.select([self.fd], [], [], 0)[0]:
                self.seen += os.read(self.fd, 4096)
        except OSError:  # EIO: the other end is closed
            pass
        return status

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


class Interactive(WithDaemon):
    def ask(self):
        terminal = Terminal(self.machine, "secret-set-value", _UUID, "--interactive")
        self.addCleanup(terminal.close)
        terminal.wait_for(b"Enter new value for secret:")
        terminal.wait_for_echo_off()
        return terminal

    def test_a_value_is_asked_for_twice_and_not_shown(self):
        terminal = self.ask()
        terminal.type(b"typed value\n")
        terminal.wait_for(b"Enter new value again:")
        terminal.type(b"typed value\n")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.seen, b"Enter new value for secret:\r\nEnter new value again:\r\n"
                                        b"Secret value set\r\n\r\n")
        self.assertEqual(self.value(), b"typed value")

    def test_two_that_differ_change_nothing(self):
        terminal = self.ask()
        terminal.type(b"typed value\n")
        terminal.wait_for(b"Enter new value again:")
        terminal.type(b"typed valve\n")
        self.assertEqual(terminal.end(), 1)
        self.assertIn(b"error: The two values differ; nothing was changed\r\n", terminal.seen)
        self.expect_refused(self.set(), "Input secret value is missing")

    def test_the_terminal_is_as_before_when_a_signal_ends_the_program(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(number):
                terminal = self.ask()
                terminal.process.send_signal(number)
                self.assertEqual(terminal.process.wait(host.RUN_BOUND_S), -number)
                self.assertEqual(termios.tcgetattr(terminal.fd), terminal.before)

    def test_control_c_ends_the_question(self):
        terminal = self.ask()
        terminal.type(b"half a va\x03")
        self.assertEqual(terminal.process.wait(host.RUN_BOUND_S), -signal.SIGINT)
        self.assertTrue(terminal.echoes())

    def test_the_question_goes_on_after_a_stop(self):
        terminal = self.ask()
        # SIGTSTP does not stop the leader of a session: it goes on at once, as after SIGCONT.
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.wait_for(b"Enter new value for secret:")
        terminal.type(b"v\n")
        terminal.wait_for(b"Enter new value again:")
        terminal.type(b"v\n")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(self.value(), b"v")

    def test_without_a_terminal_a_line_of_standard_input_is_the_value(self):
        done = self.machine.run(["setsid", _VIRTCRYPT, "secret-set-value", _UUID, "--interactive"],
                                env=_ENV, input="a line\nanother\n").check()
        self.assertEqual(done.stdout, "Enter new value for secret:Secret value set\n\n")
        self.assertEqual(self.value(), b"a line")


class Traces(unittest.TestCase):
    """What can be seen of a value while virtcrypt waits for a daemon that does not answer: once the
    value is sent, it is in the two buffers of secret memory that belong to the call."""

    def wait_in_the_middle(self, machine, *arguments, **options):
        process = machine.popen([_VIRTCRYPT, "-c", f"secret:///system?socket={_FAKE_SOCKET}",
                                 "secret-set-value", _UUID, *arguments], **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def look(self, *arguments, name=None):
        answers = {fakeserver.LOOKUP: fakeserver.secret(bytes.fromhex(_UUID.replace("-", ""))),
                   fakeserver.SET_VALUE: fakeserver.HANG}
        with host.Host() as machine, \
                fakeserver.FakeServer(machine.path(_FAKE_SOCKET), answers) as server:
            machine.write("/run/t/key", _KEY)
            machine.write("/run/t/key.base64", base64.b64encode(_KEY))
            process = self.wait_in_the_middle(machine, *arguments)
            self.assertTrue(server.hangs.wait(host.RUN_BOUND_S))
            payload = server.calls[-1][1]
            self.assertIn(struct.pack(">I", len(_KEY)) + _KEY, payload)
            with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                cmdline = file.read()
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                environ = file.read()
            memory = residue.Search(_KEY)
            memory.memory(process.pid)
            core = os.path.join(machine.folder, "core")
            machine.run(["gcore", "-o", "/var/log/private/core", str(process.pid)])
            found = residue.Search(_KEY)
            found.file(f"{core}.{process.pid}")
            self.assertGreater(found.bytes_seen, 100000)
            return cmdline + environ, memory, found

    def test_a_value_from_a_file_is_in_its_own_buffers_only(self):
        for arguments in (("--file", "/run/t/key", "--plain"), ("--file", "/run/t/key.base64")):
            with self.subTest(arguments):
                listed, memory, core = self.look(*arguments)
                self.assertEqual((core.copies, core.parts), (0, 0), core.places)
                self.assertLessEqual(memory.copies, 2, str(memory))
                self.assertNotIn(_KEY[:16], listed)

    def test_a_value_from_an_argument_is_wiped_there(self):
        listed, _, core = self.look(base64.b64encode(_KEY).decode())
        self.assertNotIn(base64.b64encode(_KEY)[:12], listed)
        self.assertEqual((core.copies, core.parts), (0, 0), core.places)

    def test_the_search_finds_a_key_that_is_there(self):
        found = residue.Search(_KEY)
        found.memory(os.getpid())
        self.assertGreater(found.copies, 0)


class Exposed(unittest.TestCase):
    def test_values_are_in_no_error(self):
        with host.Host() as machine:
            machine.start_secretd()
            machine.write("/run/t/value", "not-base64-and-secret!")
            done = machine.run([_VIRTCRYPT, "secret-set-value", _UUID, "--file", "/run/t/value"],
                               env=_ENV)
            self.assertEqual(done.returncode, 1)
            self.assertIsNone(re.search("not-base64|and-secret", done.stdout + done.stderr))


if __name__ == "__main__":
    taptest.main()
