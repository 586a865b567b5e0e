#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd and what is around it: systemd, libvirt's own driver, another one of itself,
clients that are not root, and users with a daemon of their own."""

import os
import re
import shutil
import signal
import socket
import time
import unittest

import host
import taptest
import wire
from secretd import DRIVER_LOCK, DaemonCase, PID_FILE, PROGRAM, xml

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


class Systemd(DaemonCase):
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
        return self.machine.start(
            "activated", ["/usr/bin/python3", "-c", _ACTIVATOR, places, PROGRAM, *arguments],
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
        self.assertIn("the socket 'virtsecretd-admin.socket', which systemd passed",
                      daemon.log_text())

    @unittest.skipUnless(shutil.which("systemd-socket-activate"), "there is no systemd here")
    def test_a_real_activator_starts_it_for_the_first_client(self):
        daemon = self.machine.start(
            "activated", ["systemd-socket-activate", "-l", "/run/libvirt/virtsecretd-sock",
                          "--fdname=virtsecretd.socket", PROGRAM, "--timeout", "1"])
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


class Neighbours(DaemonCase):
    def test_a_second_one_is_refused_and_the_first_goes_on(self):
        first = self.start()
        self.assert_refused(self.run_daemon(), PID_FILE,
                            f"virtcrypt-secretd (process {first.pid})",
                            "virtcrypt-secretd runs already. Stop that one, or set --pid-file")
        self.assertEqual(self.count(self.open()), 0)
        self.assertEqual(self.pid_in(PID_FILE), first.pid)

    def test_a_second_one_with_files_of_its_own_is_kept_from_the_secrets(self):
        first = self.start()
        self.machine.write("/run/other/x.conf", 'unix_sock_dir = "/run/other"\n')
        self.assert_refused(self.run_daemon("-f", "/run/other/x.conf", "-p", "/run/other/pid"),
                            DRIVER_LOCK, f"(process {first.pid})", "which must have one keeper")
        self.assertFalse(self.machine.exists("/run/other/pid"))

    def test_libvirts_own_driver_keeps_it_out(self):
        libvirtd = self.machine.start_reference()
        self.assert_refused(
            self.run_daemon(), f"{DRIVER_LOCK} is locked by libvirtd (process {libvirtd.pid})",
            "stop it, and start libvirtd again with virtcrypt's connector")
        self.assertEqual(libvirtd.stop(), 0)
        self.start()

    def test_it_keeps_libvirts_own_driver_out(self):
        self.start()
        with self.assertRaisesRegex(host.HostError, f"'{DRIVER_LOCK}': Resource temporarily"):
            self.machine.start_reference()
        self.assertEqual(self.count(self.open()), 0)

    def test_what_a_killed_one_left_is_no_obstacle(self):
        self.start().kill()
        self.assertTrue(self.machine.exists(PID_FILE))
        self.assertTrue(self.machine.exists(host.SECRETD_SOCKET))
        self.start()
        self.assertEqual(self.count(self.open()), 0)

    def test_a_socket_that_another_process_serves_is_not_taken_away(self):
        other = socket.socket(socket.AF_UNIX)
        self.addCleanup(other.close)
        other.bind(self.machine.path(host.SECRETD_SOCKET))
        other.listen(1)
        self.assert_refused(self.run_daemon(),
                            f"another daemon serves the socket {host.SECRETD_SOCKET}; stop it")
        self.assertTrue(self.machine.exists(host.SECRETD_SOCKET))

    def test_libvirts_system_token_is_shared(self):
        reference = self.machine.start_reference()
        token = self.machine.read("/run/libvirt/common/system.token")
        reference.stop()
        self.start()
        self.assertEqual(self.machine.read("/run/libvirt/common/system.token"), token)
        client = self.open()
        identifier = self.define(client, flags="private='yes'")
        self.set_value(client, identifier, b"x")
        client.call(wire.SET_IDENTITY, wire.typed_params(
            ("system.token", wire.TYPED_STRING, token.decode())) + wire.uint32(0)).reader()
        self.assertEqual(client.call(wire.GET_VALUE, wire.secret(identifier) +
                                     wire.uint32(0)).reader().opaque(), b"x")

    def test_a_broken_system_token_is_named(self):
        self.machine.write("/run/libvirt/common/system.token", "short")
        self.assert_refused(self.run_daemon(), "/run/libvirt/common/system.token", "32")


class Readback(DaemonCase):
    """Who reads the value of a secret that is not private."""

    def give(self, setting):
        self.write_conf(setting)
        self.start()
        client = self.open()
        identifier = self.define(client)
        self.set_value(client, identifier, b"value")
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

    def test_nobody_whom_libvirtd_speaks_for_may_by_default(self):
        """Not root either: libvirtd forwards whatever its client says that it is."""
        client, get = self.give("")
        for params in ([("unix-user-id", wire.TYPED_ULLONG, 1000)],
                       [("unix-user-id", wire.TYPED_ULLONG, 0)],
                       [("unix-user-id", wire.TYPED_ULLONG, 1 << 32)],
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


class Users(DaemonCase):
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


class Session(DaemonCase):
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
        return self.machine.start("session", self.user(PROGRAM, *arguments), self.SOCKET,
                                  self.environment)

    def virsh(self, *command, uid=_NOBODY, **options):
        return self.machine.run(
            self.user("virsh", "-c", f"secret+unix:///session?socket={self.SOCKET}", *command,
                      uid=uid), env=self.environment, **options)

    def test_a_users_daemon_keeps_secrets_in_the_users_folders(self):
        daemon = self.start_session()
        self.machine.write("/run/secret.xml", xml("mine"), 0o644)
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
        done = self.machine.run(self.user(PROGRAM), env=self.environment)
        self.assert_refused(done, f"(process {daemon.pid})")

    def test_its_configuration_is_the_users(self):
        self.machine.run(self.user("mkdir", "-p", "/run/home/config/libvirt")).check()
        self.machine.write("/run/home/config/libvirt/virtcrypt-secretd.conf", "max_clients = 0\n",
                           0o644)
        done = self.machine.run(self.user(PROGRAM), env=self.environment)
        self.assert_refused(done, "/run/home/config/libvirt/virtcrypt-secretd.conf:1: max_clients")

    def test_root_may_run_one_too(self):
        environment = dict(self.environment, XDG_RUNTIME_DIR="/run/user/root",
                           XDG_CONFIG_HOME="/run/root-config")
        self.machine.start("session", [PROGRAM, "--session"],
                           "/run/user/root/libvirt/virtsecretd-sock", environment)
        self.assertTrue(self.machine.exists("/run/root-config/libvirt/virtcrypt/journal"))

    def test_the_other_path_is_refused_with_the_right_one(self):
        self.start_session()
        done = self.machine.run(self.user(
            "virsh", "-c", f"secret+unix:///system?socket={self.SOCKET}", "secret-list"),
            env=self.environment)
        self.assertIn("secret:///session", done.stderr)


if __name__ == "__main__":
    taptest.main()
