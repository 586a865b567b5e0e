#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd as a process: its words, settings, signals, sockets and neighbours."""

import os
import re
import shutil
import signal
import socket
import threading
import time
import unittest
import uuid

import libvirt

import host
import taptest
import wire

_PROGRAM = "/run/bin/virtcrypt-secretd"
_CONF = "/etc/libvirt/virtcrypt-secretd.conf"
_PID_FILE = "/run/libvirt/virtcrypt-secretd.pid"
_DRIVER_LOCK = "/run/libvirt/secrets/driver.pid"
_NOBODY = 65534

# Stands in for systemd: makes the sockets, and becomes the program with them as 3, 4, ...
_ACTIVATOR = r"""
import os, socket, sys
names, program = sys.argv[1].split(","), sys.argv[2:]
kept = []
for place in names:
    name, path = place.split("=")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(10)
    kept.append((name, os.dup2(listener.fileno(), 20 + len(kept))))
for number, (_, descriptor) in enumerate(kept):
    os.dup2(descriptor, 3 + number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)),
                  LISTEN_FDNAMES=":".join(name for name, _ in kept))
os.execv(program[0], program)
"""


def _xml(usage, flags=""):
    return f"<secret {flags}><usage type='ceph'><name>{usage}</name></usage></secret>"


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


class _Daemon(unittest.TestCase):
    """One private host a test: daemons must not meet by chance."""

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        # Where other users can run it.
        os.makedirs(self.machine.path("/run/bin"))
        shutil.copy(os.path.join(host.BUILD_ROOT, "src/secret/virtcrypt-secretd"),
                    self.machine.path(_PROGRAM))

    def write_conf(self, text):
        self.machine.write(_CONF, text)

    def run_daemon(self, *arguments, **options):
        """To its end, which comes by itself."""
        return self.machine.run([_PROGRAM, *arguments], **options)

    def start(self, *arguments, env=None, path=host.SECRETD_SOCKET):
        return self.machine.start("virtcrypt-secretd", [_PROGRAM, *arguments], path, env)

    def assert_refused(self, done, *texts):
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    def connect(self, path=host.SECRETD_SOCKET, user=None):
        if user is not None:
            os.seteuid(user)
        try:
            client = wire.Connection(self.machine.path(path) if user is None else path)
        finally:
            os.seteuid(0)
        self.addCleanup(client.close)
        return client

    def open(self, path=host.SECRETD_SOCKET):
        return self.connect(path).open()

    def define(self, client, usage="an id", flags=""):
        reply = client.call(wire.DEFINE_XML, wire.string(_xml(usage, flags)) + wire.uint32(0))
        return reply.reader()._take(16)

    def count(self, client):
        return client.call(wire.NUM_OF_SECRETS).reader().int32()

    def pid_in(self, path):
        return int(self.machine.read(path))


class Words(_Daemon):
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


class Settings(_Daemon):
    def test_a_missing_default_file_is_no_mistake(self):
        self.start()
        self.assertEqual(self.count(self.open()), 0)

    def test_a_missing_file_that_was_named_is(self):
        self.assert_refused(self.run_daemon("-f", "/nonexistent.conf"),
                            "cannot read the configuration file /nonexistent.conf: No such file")

    def test_a_mistake_is_reported_with_file_and_line_and_nothing_is_started(self):
        for text, error in (("\nmax_clients = 0\n", f"{_CONF}:2: max_clients: 0 is not between"),
                            ("max_client = 5\n", f"{_CONF}:1: max_client: "),
                            ('auth_unix_rw = "sasl"\n', f"{_CONF}:1: auth_unix_rw: "),
                            ("log_level = \n", f"{_CONF}:1: "),
                            ('log_outputs = "1:printer"\n', "log_outputs: ")):
            with self.subTest(text):
                self.write_conf(text)
                self.assert_refused(self.run_daemon(), error)
                self.assertFalse(self.machine.exists(_PID_FILE))

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
        self.assert_refused(self.run_daemon(), "there is no group 'nobodies'; make it, or change unix_sock_group")

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
        self.assertIn(f"{_CONF}:1: min_workers has no effect", self.start().log_text())


class Process(_Daemon):
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
        client.call(wire.SET_VALUE, wire.secret(identifier) + wire.opaque(b"x") +
                    wire.uint32(0)).reader()
        for path in ("/etc/libvirt/secrets", "/etc/libvirt/virtcrypt",
                     "/etc/libvirt/virtcrypt/journal", "/run/libvirt/secrets",
                     "/run/libvirt/common"):
            self.assertEqual(os.stat(self.machine.path(path)).st_mode & 0o7777, 0o700, path)
        for path in (f"/etc/libvirt/secrets/{uuid.UUID(bytes=identifier)}.key",
                     f"/etc/libvirt/secrets/{uuid.UUID(bytes=identifier)}.xml",
                     "/etc/libvirt/virtcrypt/master.key", "/run/libvirt/common/system.token",
                     _DRIVER_LOCK):
            self.assertEqual(os.stat(self.machine.path(path)).st_mode & 0o7777, 0o600, path)
        self.assertEqual(os.stat(self.machine.path("/run/libvirt")).st_mode & 0o7777, 0o755)

    def test_folders_that_are_missing_are_made_so_that_clients_can_pass(self):
        self.machine.run(["rm", "-r", "/run/libvirt"]).check()
        self.start()
        self.assertEqual(os.stat(self.machine.path("/run/libvirt")).st_mode & 0o7777, 0o755)


class Background(_Daemon):
    def test_the_command_returns_when_clients_are_served(self):
        done = self.run_daemon("--daemon")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(self.count(self.open()), 0)
        pid = self.pid_in(_PID_FILE)
        self.assertEqual(self.pid_in(_DRIVER_LOCK), pid)
        self.assertNotEqual(_parent(pid), os.getpid())
        for descriptor in range(3):
            self.assertEqual(os.readlink(f"/proc/{pid}/fd/{descriptor}"), "/dev/null")
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        os.kill(pid, signal.SIGTERM)
        host.wait_for(lambda: _has_ended(pid), "it ends")
        self.assertFalse(self.machine.exists(_PID_FILE))

    def test_a_start_that_fails_is_told_by_the_command(self):
        running = self.start()
        self.assert_refused(self.run_daemon("--daemon"), f"(process {running.pid})")
        self.write_conf("max_clients = 0\n")
        self.assert_refused(self.run_daemon("--daemon"), f"{_CONF}:1: max_clients")

    def test_a_relative_name_is_one_of_the_folder_it_was_started_in(self):
        self.machine.write("/run/here/x.conf", 'log_outputs = "1:file:/run/here/log"\n')
        done = self.machine.run(["sh", "-c", f"cd /run/here && {_PROGRAM} -d -f x.conf -p pid"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pid = self.pid_in("/run/here/pid")
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGTERM)
        host.wait_for(lambda: _has_ended(pid), "it ends")
        self.assertNotIn(b"stay as they are", self.machine.read("/run/here/log"))


class Signals(_Daemon):
    def test_every_signal_to_end_ends_in_order(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            with self.subTest(number):
                daemon = self.start()
                client = self.open()
                self.assertEqual(daemon.stop(number), 0, daemon.log_text())
                self.assertTrue(client.is_closed())
                for path in (host.SECRETD_SOCKET, host.SECRETD_SOCKET_RO, _PID_FILE, _DRIVER_LOCK):
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

        def define_on():
            client = self.open()
            try:
                while True:
                    usage = str(uuid.uuid4())
                    answered.append((self.define(client, usage), usage))
            except wire.Closed:
                pass
        for _ in range(3):
            daemon = self.start()
            threads = [threading.Thread(target=define_on) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.3)
            self.assertEqual(daemon.stop(), 0, daemon.log_text())
            for thread in threads:
                thread.join()
        self.assertGreater(len(answered), 20)
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
        host.wait_for(lambda: f"{_CONF}:1: log_level" in daemon.log_text(), "the mistake is logged")
        self.assertEqual(self.count(self.open()), 0)

    def test_hangup_unlocks_when_the_master_key_is_back(self):
        daemon = self.start()
        client = self.open()
        identifier = self.define(client)
        get = wire.secret(identifier) + wire.uint32(0)
        client.call(wire.SET_VALUE, wire.secret(identifier) + wire.opaque(b"x") +
                    wire.uint32(0)).reader()
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


class Systemd(_Daemon):
    def setUp(self):
        super().setUp()
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        self.systemd.bind(self.machine.path("/run/notify"))
        self.systemd.settimeout(host.START_BOUND_S)

    def told(self):
        return self.systemd.recv(4096).decode()

    def test_it_is_told_of_start_reload_and_end(self):
        daemon = self.start(env={"NOTIFY_SOCKET": "/run/notify"})
        self.assertEqual(self.told(), "READY=1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        daemon.send(signal.SIGHUP)
        reloading = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", self.told())
        self.assertGreaterEqual(int(reloading.group(1)), before)
        self.assertEqual(self.told(), "READY=1")
        daemon.stop()
        self.assertEqual(self.told(), "STOPPING=1")

    def activate(self, places, *arguments):
        """Starts the daemon with listening sockets; `places` is NAME=PATH,..."""
        return self.machine.start("activated", ["/usr/bin/python3", "-c", _ACTIVATOR, places, _PROGRAM,
                                                *arguments],
                                  env={"NOTIFY_SOCKET": "/run/notify"})

    def test_passed_sockets_are_served_and_left_in_place(self):
        places = ("virtsecretd-ro.socket=/run/s/virtsecretd-sock-ro,"
                  "virtsecretd.socket=/run/s/virtsecretd-sock")
        daemon = self.activate(places)
        self.assertEqual(self.told(), "READY=1", daemon.log_text())
        writer = self.open("/run/s/virtsecretd-sock")
        identifier = self.define(writer)
        reader = self.open("/run/s/virtsecretd-sock-ro")
        self.assertEqual(self.count(reader), 1)
        self.assertEqual(reader.call(wire.UNDEFINE, wire.secret(identifier)).error().code, 29)
        self.assertFalse(self.machine.exists(host.SECRETD_SOCKET))
        self.assertEqual(daemon.stop(), 0)
        self.assertTrue(self.machine.exists("/run/s/virtsecretd-sock"))
        self.assertTrue(self.machine.exists("/run/s/virtsecretd-sock-ro"))

    def test_names_of_our_units_are_known_too(self):
        self.activate("virtcrypt-secretd-ro.socket=/run/s/a,virtcrypt-secretd.socket=/run/s/b")
        self.assertEqual(self.told(), "READY=1")
        self.define(self.open("/run/s/b"))
        self.assertEqual(self.count(self.open("/run/s/a")), 1)

    def test_a_passed_socket_that_is_not_ours_is_refused(self):
        daemon = self.activate("virtsecretd-admin.socket=/run/s/virtsecretd-admin-sock")
        self.assertEqual(daemon.wait(), 1)
        self.assertIn("the socket 'virtsecretd-admin.socket', which systemd passed", daemon.log_text())

    @unittest.skipUnless(shutil.which("systemd-socket-activate"), "there is no systemd here")
    def test_a_real_activator_starts_it_for_the_first_client(self):
        daemon = self.machine.start(
            "activated", ["systemd-socket-activate", "-l", "/run/libvirt/virtsecretd-sock",
                          "--fdname=virtsecretd.socket", _PROGRAM, "--timeout", "1"])
        host.wait_for(lambda: self.machine.exists(host.SECRETD_SOCKET), "the activator listens")
        client = self.open()
        self.assertEqual(self.count(client), 0)
        client.close()
        self.assertEqual(daemon.wait(), 0, daemon.log_text())

    def test_one_that_idles_ends_and_leaves_the_socket_to_systemd(self):
        daemon = self.activate("virtsecretd.socket=/run/s/virtsecretd-sock", "-t", "1")
        self.assertEqual(self.told(), "READY=1")
        self.assertEqual(self.told(), "STOPPING=1")
        self.assertEqual(daemon.wait(), 0)
        self.assertTrue(self.machine.exists("/run/s/virtsecretd-sock"))


class Timeout(_Daemon):
    def test_it_ends_when_nobody_is_there(self):
        began = time.monotonic()
        daemon = self.start("--timeout", "1")
        self.assertEqual(daemon.wait(), 0, daemon.log_text())
        self.assertGreaterEqual(time.monotonic() - began, 0.9)
        self.assertFalse(self.machine.exists(host.SECRETD_SOCKET))

    def test_a_client_keeps_it(self):
        daemon = self.start("--timeout", "1")
        client = self.open()
        time.sleep(2.5)
        self.assertTrue(daemon.is_running)
        self.assertEqual(self.count(client), 0)
        client.close()
        self.assertEqual(daemon.wait(), 0)

    def test_an_ephemeral_secret_keeps_it(self):
        daemon = self.start("--timeout", "1")
        client = self.open()
        identifier = self.define(client, flags="ephemeral='yes'")
        client.close()
        time.sleep(2.5)
        self.assertTrue(daemon.is_running)
        client = self.open()
        client.call(wire.UNDEFINE, wire.secret(identifier)).reader()
        client.close()
        self.assertEqual(daemon.wait(), 0)


class Neighbours(_Daemon):
    def test_a_second_one_is_refused_and_the_first_goes_on(self):
        first = self.start()
        self.assert_refused(self.run_daemon(), _PID_FILE,
                            f"virtcrypt-secretd (process {first.pid})",
                            "virtcrypt-secretd runs already. Stop that one, or set --pid-file")
        self.assertEqual(self.count(self.open()), 0)
        self.assertEqual(self.pid_in(_PID_FILE), first.pid)

    def test_a_second_one_with_files_of_its_own_is_kept_from_the_secrets(self):
        first = self.start()
        self.machine.write("/run/other/x.conf", 'unix_sock_dir = "/run/other"\n')
        self.assert_refused(self.run_daemon("-f", "/run/other/x.conf", "-p", "/run/other/pid"),
                            _DRIVER_LOCK, f"(process {first.pid})", "which must have one keeper")
        self.assertFalse(self.machine.exists("/run/other/pid"))

    def test_libvirts_own_driver_keeps_it_out(self):
        libvirtd = self.machine.start_reference()
        self.assert_refused(
            self.run_daemon(), f"{_DRIVER_LOCK} is locked by libvirtd (process {libvirtd.pid})",
            "stop it, and start libvirtd again with virtcrypt's connector")
        self.assertEqual(libvirtd.stop(), 0)
        self.start()

    def test_it_keeps_libvirts_own_driver_out(self):
        self.start()
        with self.assertRaisesRegex(host.HostError, f"'{_DRIVER_LOCK}': Resource temporarily"):
            self.machine.start_reference()
        self.assertEqual(self.count(self.open()), 0)

    def test_what_a_killed_one_left_is_no_obstacle(self):
        self.start().kill()
        self.assertTrue(self.machine.exists(_PID_FILE))
        self.assertTrue(self.machine.exists(host.SECRETD_SOCKET))
        self.start()
        self.assertEqual(self.count(self.open()), 0)

    def test_a_socket_that_another_process_serves_is_not_taken_away(self):
        other = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(self.machine.path(host.SECRETD_SOCKET))
        other.listen(1)
        self.assert_refused(self.run_daemon(),
                            f"another daemon serves the socket {host.SECRETD_SOCKET}; stop it first")
        self.assertTrue(self.machine.exists(host.SECRETD_SOCKET))

    def test_libvirts_system_token_is_shared(self):
        reference = self.machine.start_reference()
        token = self.machine.read("/run/libvirt/common/system.token")
        reference.stop()
        self.start()
        self.assertEqual(self.machine.read("/run/libvirt/common/system.token"), token)
        client = self.open()
        identifier = self.define(client, flags="private='yes'")
        client.call(wire.SET_VALUE, wire.secret(identifier) + wire.opaque(b"x") +
                    wire.uint32(0)).reader()
        client.call(wire.SET_IDENTITY, wire.typed_params(
            ("system.token", wire.TYPED_STRING, token.decode())) + wire.uint32(0)).reader()
        self.assertEqual(client.call(wire.GET_VALUE, wire.secret(identifier) +
                                     wire.uint32(0)).reader().opaque(), b"x")

    def test_a_broken_system_token_is_named(self):
        self.machine.write("/run/libvirt/common/system.token", "short")
        self.assert_refused(self.run_daemon(), "/run/libvirt/common/system.token", "32")


class Readback(_Daemon):
    """Who reads the value of a secret that is not private."""

    def give(self, setting):
        self.write_conf(setting)
        self.start()
        client = self.open()
        identifier = self.define(client)
        client.call(wire.SET_VALUE, wire.secret(identifier) + wire.opaque(b"value") +
                    wire.uint32(0)).reader()
        return client, wire.secret(identifier) + wire.uint32(0)

    def assert_given(self, client, get):
        self.assertEqual(client.call(wire.GET_VALUE, get).reader().opaque(), b"value")

    def assert_kept(self, client, get):
        error = client.call(wire.GET_VALUE, get).error()
        self.assertEqual((error.code, error.domain), (29, 30))
        self.assertIn("value_readback", error.message)

    def claim(self, client, *params):
        client.call(wire.SET_IDENTITY, wire.typed_params(*params) + wire.uint32(0)).reader()

    def test_root_on_this_host_may_by_default(self):
        client, get = self.give("")
        self.assert_given(client, get)
        self.claim(client, ("unix-user-id", wire.TYPED_ULLONG, 0))
        self.assert_given(client, get)

    def test_others_whom_libvirtd_speaks_for_may_not_by_default(self):
        client, get = self.give("")
        for params in ([("unix-user-id", wire.TYPED_ULLONG, 1000)],
                       [("sasl-user-name", wire.TYPED_STRING, "joe")], []):
            with self.subTest(params):
                self.claim(client, *params)
                self.assert_kept(client, get)

    def test_libvirts_drivers_may_whomever_they_speak_for(self):
        client, get = self.give('value_readback = "never"\n')
        self.assert_kept(client, get)
        self.claim(client, ("unix-user-id", wire.TYPED_ULLONG, 1000),
                   ("system.token", wire.TYPED_STRING,
                    self.machine.read("/run/libvirt/common/system.token").decode()))
        self.assert_given(client, get)

    def test_anybody_may_if_it_is_set_so(self):
        client, get = self.give('value_readback = "any"\n')
        self.claim(client, ("unix-user-id", wire.TYPED_ULLONG, 1000))
        self.assert_given(client, get)


class Users(_Daemon):
    """Clients that are not root."""

    def as_nobody(self, *command, **options):
        return self.machine.run(["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}",
                                 "--clear-groups", *command], **options)

    def list_as_nobody(self, path=host.SECRETD_SOCKET):
        return self.as_nobody("virsh", *(["-r"] if path.endswith("-ro") else []), "-c",
                              f"secret+unix:///system?socket={path}", "secret-list",
                              env={"HOME": "/run"})

    def test_without_polkit_running_they_are_refused_with_a_reason(self):
        self.start()
        for path in (host.SECRETD_SOCKET, host.SECRETD_SOCKET_RO):
            done = self.list_as_nobody(path)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertRegex(done.stderr, "(?i)authenticat|polkit")

    def test_without_authentication_the_sockets_mode_decides(self):
        self.write_conf('auth_unix_rw = "none"\nauth_unix_ro = "none"\n')
        self.start()
        done = self.list_as_nobody()
        self.assertEqual(done.returncode, 1)
        self.assertIn("Permission denied", done.stderr)
        self.assertEqual(self.list_as_nobody(host.SECRETD_SOCKET_RO).returncode, 0)

    def test_members_of_the_sockets_group_may_connect(self):
        self.write_conf('auth_unix_rw = "none"\nunix_sock_group = "daemon"\n'
                        'unix_sock_rw_perms = "0770"\n')
        self.start()
        command = ["virsh", "-c", f"secret+unix:///system?socket={host.SECRETD_SOCKET}",
                   "secret-list"]
        for groups, status in (("daemon", 0), ("games", 1)):
            done = self.machine.run(["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}",
                                     f"--groups={groups}", *command], env={"HOME": "/run"})
            self.assertEqual(done.returncode, status, done.stderr)


class Session(_Daemon):
    """A user's own daemon."""

    FOLDER = "/run/user/nobody"
    SOCKET = FOLDER + "/libvirt/virtsecretd-sock"

    def setUp(self):
        super().setUp()
        for folder in (self.FOLDER, "/run/home"):
            os.makedirs(self.machine.path(folder), 0o700)
            os.chown(self.machine.path(folder), _NOBODY, _NOBODY)
        self.environment = {"XDG_RUNTIME_DIR": self.FOLDER, "XDG_CONFIG_HOME": "/run/home/config",
                            "HOME": "/run/home"}

    def user(self, *command, uid=_NOBODY):
        return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]

    def start_session(self, *arguments):
        return self.machine.start("session", self.user(_PROGRAM, *arguments), self.SOCKET,
                                  self.environment)

    def virsh(self, *command, uid=_NOBODY, **options):
        return self.machine.run(
            self.user("virsh", "-c", f"secret+unix:///session?socket={self.SOCKET}", *command,
                      uid=uid), env=self.environment, **options)

    def test_a_users_daemon_keeps_secrets_in_the_users_folders(self):
        daemon = self.start_session()
        self.machine.write("/run/secret.xml", _xml("mine"), 0o644)
        self.machine.write("/run/value", "a value", 0o644)
        defined = self.virsh("secret-define", "/run/secret.xml").check().stdout
        identifier = re.search("[0-9a-f-]{36}", defined).group()
        self.virsh("secret-set-value", identifier, "--plain", "--file", "/run/value").check()
        self.assertEqual(self.virsh("secret-get-value", identifier, "--plain").check().stdout,
                         "a value\n")
        for path, mode in ((f"/run/home/config/libvirt/secrets/{identifier}.key", 0o600),
                           ("/run/home/config/libvirt/virtcrypt/master.key", 0o600),
                           ("/run/home/config/libvirt/secrets", 0o700),
                           (self.FOLDER + "/libvirt", 0o700), (self.SOCKET, 0o700),
                           (self.FOLDER + "/libvirt/secrets/run/driver.pid", 0o600)):
            info = os.stat(self.machine.path(path))
            self.assertEqual((info.st_uid, info.st_mode & 0o7777), (_NOBODY, mode), path)
        self.assertFalse(self.machine.exists("/etc/libvirt/secrets"))
        self.assertFalse(self.machine.exists(self.SOCKET + "-ro"))
        self.assertEqual(daemon.stop(), 0, daemon.log_text())

    def test_its_memory_is_closed_to_other_processes_of_the_user(self):
        daemon = self.start_session()
        done = self.machine.run(self.user("cat", f"/proc/{daemon.pid}/maps"))
        self.assertIn("Permission denied", done.stderr)

    def test_other_users_can_not_connect(self):
        self.start_session()
        self.assertIn("Permission denied", self.virsh("secret-list", uid=1234).stderr)

    def test_it_runs_beside_the_hosts_daemon(self):
        self.start()
        self.start_session()
        self.define(self.open())
        self.assertNotIn("ceph", self.virsh("secret-list").check().stdout)

    def test_a_second_one_of_the_same_user_is_refused(self):
        daemon = self.start_session()
        done = self.machine.run(self.user(_PROGRAM), env=self.environment)
        self.assert_refused(done, f"(process {daemon.pid})")

    def test_its_configuration_is_the_users(self):
        self.machine.run(self.user("mkdir", "-p", "/run/home/config/libvirt")).check()
        self.machine.write("/run/home/config/libvirt/virtcrypt-secretd.conf", "max_clients = 0\n",
                           0o644)
        done = self.machine.run(self.user(_PROGRAM), env=self.environment)
        self.assert_refused(done, "/run/home/config/libvirt/virtcrypt-secretd.conf:1: max_clients")

    def test_root_may_run_one_too(self):
        environment = dict(self.environment, XDG_RUNTIME_DIR="/run/user/root",
                           XDG_CONFIG_HOME="/run/root-config")
        self.machine.start("session", [_PROGRAM, "--session"],
                           "/run/user/root/libvirt/virtsecretd-sock", environment)
        self.assertTrue(self.machine.exists("/run/root-config/libvirt/virtcrypt/journal"))

    def test_the_other_path_is_refused_with_the_right_one(self):
        self.start_session()
        done = self.machine.run(self.user(
            "virsh", "-c", f"secret+unix:///system?socket={self.SOCKET}", "secret-list"),
            env=self.environment)
        self.assertIn("secret:///session", done.stderr)


def setUpModule():
    libvirt.registerErrorHandler(lambda context, error: None, None)


if __name__ == "__main__":
    taptest.main()
