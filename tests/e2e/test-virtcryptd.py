#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcryptd as a process: its words, settings, locks, signals and end. What it shares with
virtcrypt-secretd is tested with that one (test-daemon.py)."""

import os
import signal
import unittest

import host
import taptest
import volumecalls
from volumecalls import Client, xml

PROGRAM = "src/guest/virtcryptd"
CONF = "/etc/libvirt/virtcryptd.conf"
POOL, FOLDER = "default", "/var/lib/libvirt/images"
NOBODY = 65534


class Virtcryptd(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def run_daemon(self, *arguments, prefix=()):
        return self.machine.run([*prefix, os.path.join(self.machine.build_root, PROGRAM),
                                 *arguments], timeout=60 * host.PATIENCE)

    def open(self, path=host.VIRTCRYPTD_SOCKET):
        client = Client(self.machine.path(path))
        self.addCleanup(client.close)
        return client.open()

    def assert_refused(self, done, *texts):
        self.assertEqual((done.returncode, done.stdout), (1, ""), done)
        for text in texts:
            self.assertIn(text, done.stderr)

    def test_its_words_are_its_own(self):
        done = self.run_daemon("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Usage: virtcryptd [OPTION]...", done.stdout)
        self.assertNotIn("--session", done.stdout)
        self.assertRegex(self.run_daemon("--version").stdout,
                         r"^virtcryptd \(virtcrypt\) \d+\.\d+\.\d+\n$")
        self.assert_refused(self.run_daemon("--session"), "virtcryptd: there is no option --session",
                            "Try 'virtcryptd --help'")

    def test_only_root_can_run_it(self):
        done = self.run_daemon(prefix=("setpriv", f"--reuid={NOBODY}", "--clear-groups"))
        self.assert_refused(done, "virtcryptd: only root can run it")

    def test_settings_of_the_other_daemon_are_a_mistake(self):
        self.machine.write(CONF, '\nvalue_readback = "any"\n')
        self.assert_refused(self.run_daemon(), f"{CONF}:2: value_readback: virtcryptd has no such")

    def test_a_second_daemon_is_kept_out(self):
        first = self.machine.start_virtcryptd()
        self.assert_refused(self.run_daemon(), "virtcryptd.pid is locked by virtcryptd "
                            f"(process {first.pid}): virtcryptd runs already")
        self.open().status()
        first.stop_in_order()

    def test_its_folders_are_for_root_alone_and_its_sockets_for_all(self):
        daemon = self.machine.start_virtcryptd()
        for path, mode in (("/etc/libvirt/virtcrypt/volumes", 0o700),
                           ("/etc/libvirt/virtcrypt/pools", 0o700),
                           ("/run/libvirt/virtcrypt/uses", 0o700),
                           ("/run/libvirt", 0o755), (host.VIRTCRYPTD_SOCKET, 0o777),
                           (host.VIRTCRYPTD_SOCKET_RO, 0o777)):
            self.assertEqual(os.stat(self.machine.path(path)).st_mode & 0o7777, mode, path)
        self.assertFalse(self.machine.exists("/etc/libvirt/secrets"))
        self.assertFalse(self.machine.exists("/run/libvirt/secrets"))
        daemon.stop_in_order()

    def test_nothing_of_this_run_is_left_at_the_end(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            daemon = self.machine.start_virtcryptd()
            self.open().status()
            self.assertEqual(daemon.stop(number), 0)
            for path in (host.VIRTCRYPTD_SOCKET, host.VIRTCRYPTD_SOCKET_RO,
                         "/run/libvirt/virtcryptd.pid"):
                self.assertFalse(self.machine.exists(path), path)

    def test_the_log_is_set_anew_by_a_reload(self):
        daemon = self.machine.start_virtcryptd('log_level = 4\nlog_outputs = "1:file:/run/a"\n')
        self.machine.write(CONF, 'log_level = 1\nlog_outputs = "1:file:/run/b"\n')
        daemon.send(signal.SIGHUP)
        host.wait_for(lambda: self.machine.exists("/run/b"), "the other file is there")
        self.open().status()
        daemon.stop_in_order()
        self.assertIn(b"ending because of signal 15", self.machine.read("/run/b"))
        self.assertNotIn(b"ending", self.machine.read("/run/a"))

    def test_it_ends_without_clients_when_told_so(self):
        # Not waited for: it may have ended before that was seen to answer.
        daemon = self.machine.start("virtcryptd", [os.path.join(self.machine.build_root, PROGRAM),
                                                   "--timeout", "1"])
        self.assertEqual(daemon.wait(30 * host.PATIENCE), 0)

    def test_in_the_background_it_returns_when_clients_are_served(self):
        done = self.run_daemon("--daemon")
        self.assertEqual(done.returncode, 0, done.stderr)
        pid = int(self.machine.read("/run/libvirt/virtcryptd.pid"))
        self.assertEqual(self.open().status()[1], pid)
        os.kill(pid, signal.SIGTERM)
        host.wait_for(lambda: not self.machine.exists("/run/libvirt/virtcryptd.pid"), "it ends")

    def test_another_custodian_is_asked_where_the_settings_say(self):
        daemon = self.machine.start_virtcryptd('custodian_socket = "/run/elsewhere"\n')
        self.assertIn("/run/elsewhere", self.open().status()[5])
        daemon.stop_in_order()

    def test_volumes_are_known_after_a_restart(self):
        self.machine.start_secretd()
        self.machine.write_pool(POOL, FOLDER)
        daemon = self.machine.start_virtcryptd()
        made = self.open().created(POOL, xml("a.qcow2"))
        daemon.stop_in_order()
        self.machine.start_virtcryptd()
        self.assertEqual(self.open().volumes(), [made])

    def test_no_key_is_in_words_or_environment_of_the_daemon_and_its_children(self):
        """The key's text is in no process of the host while volumes are made with it."""
        key = b"a-key-that-nobody-else-has-0123456789"
        self.machine.start_secretd()
        self.machine.write_pool(POOL, FOLDER)
        daemon = self.machine.start_virtcryptd('log_level = 1\n')
        client = self.open()
        seen = []
        client.post(volumecalls.CREATE, volumecalls.create_args(POOL, xml("a.qcow2"), key=key))

        def look():
            for pid in self.machine.processes():
                for name in ("cmdline", "environ"):
                    try:
                        with open(f"/proc/{pid}/{name}", "rb") as file:
                            seen.append(file.read())
                    except OSError:
                        pass
            return len(self.machine.run(["ls", FOLDER]).stdout) > 0
        host.wait_for(look, "the volume is there", interval=0.005)
        client.finish(client.reply())
        daemon.stop_in_order()
        self.assertGreater(len(seen), 2)
        for text in [*seen, daemon.log_text().encode()]:
            self.assertNotIn(key, text)


if __name__ == "__main__":
    taptest.main()
