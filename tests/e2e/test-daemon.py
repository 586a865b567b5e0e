#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd as a process: its words, settings, limits, background, signals and end."""

import os
import re
import signal
import threading
import time
import uuid

import host
import taptest
import wire
from secretd import CONF, DRIVER_LOCK, PID_FILE, PROGRAM, DaemonCase


def _parent(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def _status(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return re.search(rf"(?m)^{field}:\s*(.*)$", file.read()).group(1)


def _has_ended(pid):
    try:
        return _status(pid, "State").startswith(("Z", "X"))
    except FileNotFoundError:
        return True


class Words(DaemonCase):
    def test_a_wrong_option_is_named_with_where_to_find_the_right_ones(self):
        for arguments, text in ((["--frobnicate"], "there is no option --frobnicate"),
                                (["-t", "soon"], "'soon' is not a number of seconds"),
                                (["start"], "unexpected argument 'start'"),
                                (["--config"], "the option --config needs an argument")):
            with self.subTest(arguments):
                self.assert_refused(self.run_daemon(*arguments), "virtcrypt-secretd: " + text
                                    if not text.startswith("'") else text,
                                    "Try 'virtcrypt-secretd --help'")

    def test_help_and_version_are_printed_and_nothing_is_started(self):
        done = self.run_daemon("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Usage: virtcrypt-secretd [OPTION]...", done.stdout)
        done = self.run_daemon("--version")
        self.assertRegex(done.stdout, r"^virtcrypt-secretd \(virtcrypt\) \d+\.\d+\.\d+\n$")
        self.assertFalse(self.machine.exists("/run/libvirt/secrets"))


class Settings(DaemonCase):
    def test_a_missing_default_file_is_no_mistake(self):
        self.start()
        self.assertEqual(self.count(self.open()), 0)

    def test_a_missing_file_that_was_named_is(self):
        self.assert_refused(self.run_daemon("-f", "/nonexistent.conf"),
                            "cannot read the configuration file /nonexistent.conf: No such file")

    def test_a_mistake_is_reported_with_file_and_line_and_nothing_is_started(self):
        for text, error in (("\nmax_clients = 0\n", f"{CONF}:2: max_clients: 0 is not between"),
                            ("max_client = 5\n", f"{CONF}:1: max_client: "),
                            ('auth_unix_rw = "sasl"\n', f"{CONF}:1: auth_unix_rw: "),
                            ("log_level = \n", f"{CONF}:1: "),
                            ('log_outputs = "1:printer"\n', "log_outputs: ")):
            with self.subTest(text):
                self.write_conf(text)
                self.assert_refused(self.run_daemon(), error)
                self.assertFalse(self.machine.exists(PID_FILE))

    def test_another_file_is_used_as_asked(self):
        self.machine.write("/run/other/x.conf", 'unix_sock_dir = "/run/other"\n')
        self.start("--config=/run/other/x.conf", "--pid-file", "/run/other/pid",
                   path="/run/other/virtsecretd-sock")
        self.assertEqual(self.count(self.open("/run/other/virtsecretd-sock")), 0)
        self.assertEqual(self.pid_in("/run/other/pid"), self.machine.daemons[0].pid)
        self.assertFalse(self.machine.exists(host.SECRETD_SOCKET))

    def test_sockets_have_the_modes_and_group_that_are_set(self):
        self.write_conf('unix_sock_group = "daemon"\nunix_sock_rw_perms = "0770"\n'
                        'unix_sock_ro_perms = "0750"\n')
        self.start()
        for path, mode in ((host.SECRETD_SOCKET, 0o770), (host.SECRETD_SOCKET_RO, 0o750)):
            info = os.stat(self.machine.path(path))
            self.assertEqual((info.st_mode & 0o7777, info.st_uid, info.st_gid), (mode, 0, 1))

    def test_a_group_that_does_not_exist_is_named(self):
        self.write_conf('unix_sock_group = "nobodies"\n')
        self.assert_refused(self.run_daemon(),
                            "there is no group 'nobodies'; make it, or change unix_sock_group")

    def test_the_log_goes_where_it_should(self):
        self.write_conf('log_outputs = "2:file:/var/log/secretd.log"\nlog_level = 1\n')
        daemon = self.start()
        daemon.stop()
        self.assertEqual(daemon.log_text(), "")
        self.assertIn(b"ending because of signal 15", self.machine.read("/var/log/secretd.log"))

    def test_verbose_logs_more(self):
        daemon = self.start("--verbose")
        daemon.stop()
        self.assertIn("ending because of signal 15", daemon.log_text())

    def test_a_setting_without_effect_is_warned_of(self):
        self.write_conf("min_workers = 5\n")
        self.assertIn(f"{CONF}:1: min_workers has no effect", self.start().log_text())


class Process(DaemonCase):
    def test_it_is_closed_to_others(self):
        daemon = self.start()
        self.assertEqual(_status(daemon.pid, "Umask"), "0077")
        with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as file:
            limits = file.read()
        self.assertRegex(limits, r"Max core file size +0 +0 ")
        soft, hard = re.search(r"Max locked memory +(\S+) +(\S+)", limits).groups()
        self.assertEqual(soft, hard)
        self.assertGreaterEqual(int(re.search(r"Max open files +(\d+)", limits).group(1)), 5512)

    def test_its_files_are_for_root_alone(self):
        self.start()
        client = self.open()
        identifier = self.define(client)
        self.set_value(client, identifier, b"x")
        for path in ("/etc/libvirt/secrets", "/etc/libvirt/virtcrypt",
                     "/etc/libvirt/virtcrypt/journal", "/run/libvirt/secrets",
                     "/run/libvirt/common"):
            self.assertEqual(os.stat(self.machine.path(path)).st_mode & 0o7777, 0o700, path)
        for path in (f"/etc/libvirt/secrets/{uuid.UUID(bytes=identifier)}.key",
                     f"/etc/libvirt/secrets/{uuid.UUID(bytes=identifier)}.xml",
                     "/etc/libvirt/virtcrypt/master.key", "/run/libvirt/common/system.token",
                     DRIVER_LOCK):
            self.assertEqual(os.stat(self.machine.path(path)).st_mode & 0o7777, 0o600, path)
        self.assertEqual(os.stat(self.machine.path("/run/libvirt")).st_mode & 0o7777, 0o755)

    def test_folders_that_are_missing_are_made_so_that_clients_can_pass(self):
        self.machine.run(["rm", "-r", "/run/libvirt"]).check()
        self.start()
        self.assertEqual(os.stat(self.machine.path("/run/libvirt")).st_mode & 0o7777, 0o755)


class Background(DaemonCase):
    def test_the_command_returns_when_clients_are_served(self):
        done = self.run_daemon("--daemon")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.count(self.open()), 0)
        pid = self.pid_in(PID_FILE)
        self.assertEqual(self.pid_in(DRIVER_LOCK), pid)
        self.assertNotEqual(_parent(pid), os.getpid())
        for descriptor in range(3):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{descriptor}"), "/dev/null")
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        os.kill(pid, signal.SIGTERM)
        host.wait_for(lambda: _has_ended(pid), "it ends")
        self.assertFalse(self.machine.exists(PID_FILE))

    def test_a_start_that_fails_is_told_by_the_command(self):
        running = self.start()
        self.assert_refused(self.run_daemon("--daemon"), f"(process {running.pid})")
        self.write_conf("max_clients = 0\n")
        self.assert_refused(self.run_daemon("--daemon"), f"{CONF}:1: max_clients")

    def test_a_relative_name_is_one_of_the_folder_it_was_started_in(self):
        self.machine.write("/run/here/x.conf", 'log_outputs = "1:file:/run/here/log"\n')
        done = self.machine.run(["sh", "-c", f"cd /run/here && {PROGRAM} -d -f x.conf -p pid"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pid = self.pid_in("/run/here/pid")
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGTERM)
        host.wait_for(lambda: _has_ended(pid), "it ends")
        self.assertNotIn(b"stay as they are", self.machine.read("/run/here/log"))


class Signals(DaemonCase):
    def test_every_signal_to_end_ends_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            with self.subTest(number):
                daemon = self.start()
                client = self.open()
                self.assertEqual(daemon.stop(number), 0, daemon.log_text())
                self.assertTrue(client.is_closed())
                for path in (host.SECRETD_SOCKET, host.SECRETD_SOCKET_RO, PID_FILE, DRIVER_LOCK):
                    self.assertFalse(self.machine.exists(path), path)

    def test_it_ends_beside_clients_that_do_not_read_and_half_messages(self):
        daemon = self.start()
        self.define(self.open(), "u" * 100000)
        deaf = self.open()
        for _ in range(50):
            deaf.send(wire.message(287, wire.int32(1) + wire.uint32(0)))
        half = self.open()
        half.send(wire.message(wire.DEFINE_XML, wire.string("x" * 1000))[:500])
        self.assertEqual(daemon.stop(), 0, daemon.log_text())

    def test_changes_that_were_answered_are_there_after_a_kill(self):
        daemon = self.start()
        identifier = self.define(self.open())
        daemon.kill()
        self.start()
        self.assertEqual(self.open().call(wire.LOOKUP_BY_UUID, identifier).payload,
                         wire.secret(identifier, 2, "an id"))

    def test_changes_under_way_at_the_end_are_answered_or_have_not_happened(self):
        """Clients that define without a pause see the daemon end: what was answered is there."""
        answered = []

        def define_on(client):
            try:
                while True:
                    usage = str(uuid.uuid4())
                    answered.append((self.define(client, usage), usage))
            except wire.Closed:
                pass
        for _ in range(3):
            daemon = self.start()
            threads = [threading.Thread(target=define_on, args=(self.open(),)) for _ in range(4)]
            before = len(answered)
            for thread in threads:
                thread.start()
            time.sleep(0.3)
            host.wait_for(lambda: len(answered) >= before + 10, "they define")
            self.assertEqual(daemon.stop(), 0, daemon.log_text())
            for thread in threads:
                thread.join()
        self.start()
        client = self.open()
        for identifier, usage in answered:
            self.assertEqual(client.call(wire.LOOKUP_BY_UUID, identifier).payload,
                             wire.secret(identifier, 2, usage))

    def test_hangup_reads_definitions_anew(self):
        daemon = self.start()
        client = self.open()
        kept = self.define(client)
        identifier = uuid.uuid4()
        self.machine.write(f"/etc/libvirt/secrets/{identifier}.xml",
                           f"<secret><uuid>{identifier}</uuid></secret>")
        daemon.send(signal.SIGHUP)
        host.wait_for(lambda: self.count(client) == 2, "the definition is read")
        client.call(wire.LOOKUP_BY_UUID, identifier.bytes).reader()
        client.call(wire.LOOKUP_BY_UUID, kept).reader()

    def test_hangup_takes_over_the_settings_of_the_log(self):
        daemon = self.start()
        self.write_conf("log_level = 2\n")
        daemon.send(signal.SIGHUP)
        host.wait_for(lambda: "reloaded: 0 secrets" in daemon.log_text(), "more is logged")

    def test_hangup_with_a_mistake_in_the_settings_says_so_and_goes_on(self):
        daemon = self.start()
        self.write_conf("log_level = 9\n")
        daemon.send(signal.SIGHUP)
        host.wait_for(lambda: f"{CONF}:1: log_level" in daemon.log_text(), "the mistake is logged")
        self.assertEqual(self.count(self.open()), 0)

    def test_hangup_unlocks_when_the_master_key_is_back(self):
        daemon = self.start()
        client = self.open()
        identifier = self.define(client)
        get = wire.secret(identifier) + wire.uint32(0)
        self.set_value(client, identifier, b"x")
        daemon.stop()
        key = self.machine.path("/etc/libvirt/virtcrypt/master.key")
        os.rename(key, key + ".away")
        daemon = self.start()
        client = self.open()
        self.assertIn("master.key", client.call(wire.GET_VALUE, get).error().message)
        os.rename(key + ".away", key)
        daemon.send(signal.SIGHUP)
        host.wait_for(lambda: client.call(wire.GET_VALUE, get).status == wire.OK, "it unlocks")
        self.assertFalse(os.path.exists(key + ".new"))


class Timeout(DaemonCase):
    def start_alone(self):
        """Waits for nothing: to see that it answers keeps it."""
        return self.machine.start("virtcrypt-secretd", [PROGRAM, "--timeout", "1"])

    def start_with_client(self):
        """One that has ended before a client came, on a busy machine, is started once more."""
        def try_once():
            daemon = self.start_alone()
            while daemon.is_running:
                try:
                    return daemon, self.open()
                except (OSError, wire.Closed):
                    time.sleep(0.01)
            return None
        return host.wait_for(try_once, "a client in time")

    def test_it_ends_when_nobody_is_there(self):
        began = time.monotonic()
        daemon = self.start_alone()
        self.assertEqual(daemon.wait(), 0, daemon.log_text())
        self.assertGreaterEqual(time.monotonic() - began, 0.9)
        self.assertFalse(self.machine.exists(host.SECRETD_SOCKET))

    def test_a_client_keeps_it(self):
        daemon, client = self.start_with_client()
        time.sleep(2.5)
        self.assertTrue(daemon.is_running)
        self.assertEqual(self.count(client), 0)
        client.close()
        self.assertEqual(daemon.wait(), 0)

    def test_an_ephemeral_secret_keeps_it(self):
        daemon, client = self.start_with_client()
        identifier = self.define(client, flags="ephemeral='yes'")
        client.close()
        time.sleep(2.5)
        self.assertTrue(daemon.is_running)
        client = self.open()
        client.call(wire.UNDEFINE, wire.secret(identifier)).reader()
        client.close()
        self.assertEqual(daemon.wait(), 0)


if __name__ == "__main__":
    taptest.main()
