#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd within its own confinement: what the process is, that a whole session of work is
refused no system call, that nobody reads its keys from outside, and that a core is never written."""

import glob
import os
import re
import signal
import stat
import unittest
import uuid

import host
import taptest
import wire

_NOBODY = 65534
_LOCK_MEMORY = 1 << 14
_TRACE = "/var/log/private/trace"
_LOG = "/var/log/own/secretd.log"

# The filter is in place once this has been called; before, everything is let through.
_FILTERED = re.compile(r"^\d+ +(?:seccomp\(SECCOMP_SET_MODE_FILTER|prctl\(PR_SET_SECCOMP).*= 0$", re.M)


def _status(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


class Case(unittest.TestCase):
    arguments = []

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def start(self, config=""):
        return self.machine.start_secretd(config, self.arguments)

    def connect(self):
        client = wire.Connection(self.machine.path(host.SECRETD_SOCKET)).open()
        self.addCleanup(client.close)
        return client

    def define(self, client):
        identifier = uuid.uuid4()
        client.call(wire.DEFINE_XML, wire.string(
            f"<secret ephemeral='no' private='no'><uuid>{identifier}</uuid><usage type='volume'>"
            f"<volume>/{identifier}</volume></usage></secret>") + wire.uint32(0)).reader()
        return identifier.bytes

    def set_value(self, client, identifier, value):
        client.call(wire.SET_VALUE, wire.secret(identifier) + wire.opaque(value) +
                    wire.uint32(0)).reader()

    def get_value(self, client, identifier):
        return client.call(wire.GET_VALUE, wire.secret(identifier) + wire.uint32(0)).reader().opaque()


class Process(Case):
    def test_it_has_no_powers_but_locked_memory_and_gets_no_new_ones(self):
        status = _status(self.start().pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(status[name], 16) & ~_LOCK_MEMORY, 0, name)
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_its_sandbox_can_be_switched_off(self):
        daemon = self.start("sandbox = 0\n")
        self.assertEqual(_status(daemon.pid)["Seccomp"], "0")
        self.assertIn("this process is not confined", daemon.log_text())

    def test_a_user_that_there_is_not_is_logged_and_it_goes_on(self):
        self.arguments = ["--user", "no-such-user"]
        daemon = self.start()
        self.assertEqual(_status(daemon.pid)["Uid"].split(), ["0"] * 4)
        self.assertIn("there is no such user", daemon.log_text())

    def test_no_core_is_written_when_it_crashes(self):
        daemon = self.start()
        with open(f"/proc/{daemon.pid}/limits", encoding="ascii") as file:
            self.assertRegex(file.read(), r"(?m)^Max core file size +0 +0 ")
        before = set(glob.glob("core*") + glob.glob("/core*"))
        client = self.connect()
        self.set_value(client, self.define(client), b"a value")
        daemon.send(signal.SIGSEGV)
        self.assertEqual(daemon.wait(), -signal.SIGSEGV)
        self.assertEqual(set(glob.glob("core*") + glob.glob("/core*")), before)

    def test_root_can_not_read_the_pages_of_keys(self):
        daemon = self.start()
        client = self.connect()
        self.set_value(client, self.define(client), b"a value")
        hidden = 0
        with open(f"/proc/{daemon.pid}/maps", encoding="ascii") as maps, \
                open(f"/proc/{daemon.pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                if "secretmem" not in line:
                    continue
                memory.seek(int(line.split("-")[0], 16))
                with self.assertRaises(OSError):
                    memory.read(16)
                hidden += 1
        if hidden == 0:
            self.skipTest("the kernel has no memfd_secret(2)")


class OwnUser(Case):
    arguments = ["--user", "nobody"]

    def test_it_is_that_user_and_its_files_are_roots(self):
        daemon = self.start()
        status = _status(daemon.pid)
        self.assertEqual(status["Uid"].split(), [str(_NOBODY)] * 3 + ["0"])
        self.assertEqual(status["Gid"].split(), [str(_NOBODY)] * 3 + ["0"])
        self.assertEqual(status["Groups"].split(), [])
        # It is root's, not the user's, because the process is not dumpable.
        self.assertEqual(os.stat(f"/proc/{daemon.pid}/mem").st_uid, 0)
        client = self.connect()
        identifier = self.define(client)
        self.set_value(client, identifier, b"a value")
        self.assertEqual(self.get_value(client, identifier), b"a value")
        for top in ("/etc/libvirt/secrets", "/etc/libvirt/virtcrypt", "/var/lib/libvirt/virtcrypt"):
            for folder, _, names in os.walk(self.machine.path(top)):
                for name in names:
                    info = os.lstat(os.path.join(folder, name))
                    self.assertEqual((info.st_uid, info.st_gid), (0, 0), name)
                    self.assertEqual(stat.S_IMODE(info.st_mode) & 0o77, 0, name)

    def test_its_threads_are_that_user_too(self):
        daemon = self.start()
        client = self.connect()
        self.set_value(client, self.define(client), b"a value")
        for task in os.listdir(f"/proc/{daemon.pid}/task"):
            status = _status(f"{daemon.pid}/task/{task}")
            self.assertEqual(status["Uid"].split(), [str(_NOBODY)] * 3 + ["0"])
            self.assertEqual(status["Seccomp"], "2")

    def test_the_daemon_without_a_user_goes_on_with_its_files_and_back(self):
        value = b"a value of before"
        self.start()
        client = self.connect()
        identifier = self.define(client)
        self.set_value(client, identifier, value)
        for arguments in ([], ["--user", "nobody"]):
            self.machine.daemons[-1].stop_in_order()
            self.arguments = arguments
            self.start()
            self.assertEqual(self.get_value(self.connect(), identifier), value)

    def test_signals_reload_and_end_it_in_order(self):
        daemon = self.start("log_level = 2\n")
        daemon.send(signal.SIGHUP)
        host.wait_for(lambda: "reloaded" in daemon.log_text(), "it has reloaded")
        self.assertNotIn("stay as they are", daemon.log_text())
        daemon.stop_in_order()
        for path in (host.SECRETD_SOCKET, "/run/libvirt/virtcrypt-secretd.pid"):
            self.assertFalse(self.machine.exists(path), path)

    def test_a_slot_is_added_by_the_helper(self):
        self.start()
        done = self.machine.run(
            [os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "master", "add-slot", "passphrase",
             "--passphrase-fd", "0"], input="correct horse battery staple\n")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class OthersFiles(Case):
    """The daemon has no power to open what root has no right to by its mode."""

    # Also where somebody made it the daemon's own.
    arguments = ["--user", "nobody"]

    def test_a_store_that_came_back_with_another_owner_says_so(self):
        self.start().stop_in_order()
        for name, user in (("virtcrypt/master.slots", 12345), ("virtcrypt", 12346),
                           ("virtcrypt/master.slots", _NOBODY), ("virtcrypt", _NOBODY)):
            path = self.machine.path(f"/etc/libvirt/{name}")
            os.chown(path, user, user)
            daemon = self.start()
            self.assertIn(f"/etc/libvirt/{name} belongs to user {user}", daemon.log_text())
            os.chown(path, 0, 0)
            self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "master",
                              "unlock"]).check()
            daemon.stop_in_order()


class KeyFiles(Case):
    """What a slot names is the word of who can write slots, as a custodian can that was taken over."""

    def setUp(self):
        super().setUp()
        self.machine.write("/run/keys/none", "")
        self.start('sandbox_paths = [ "/run/keys" ]\n')
        self.ours("add-slot", "key-file", "--path", "/run/keys/stick", "--label", "stick").check()
        self.machine.daemons[-1].stop_in_order()

    def ours(self, *words):
        return self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "master", *words])

    def test_a_slot_opens_its_folder_for_reading_alone(self):
        before = self.machine.read("/run/keys/stick")
        self.start()
        self.ours("test-slot", "stick").check()
        done = self.ours("rotate")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the daemon is kept from the folder /run/keys: name it in sandbox_paths",
                      done.stderr)
        self.assertEqual(self.machine.read("/run/keys/stick"), before)

    def test_a_slot_opens_no_file_that_is_no_key(self):
        self.machine.write("/run/keys/stick", "what others keep in a private file")
        self.start()
        done = self.ours("test-slot", "stick")
        self.assertEqual(done.returncode, 1)
        self.assertIn("Permission denied", done.stderr)


class Session(Case):
    """All that a daemon does, under strace: no call is refused by the filter."""

    def start_traced(self, config):
        program = os.path.join(host.BUILD_ROOT, "src/secret/virtcrypt-secretd")
        self.machine.write("/etc/libvirt/virtcrypt-secretd.conf", config)
        return self.machine.start("traced", ["strace", "-f", "-qq", "-o", _TRACE, program],
                                  host.SECRETD_SOCKET)

    def find_daemon(self):
        return int(self.machine.read("/run/libvirt/virtcrypt-secretd.pid"))

    def refused(self):
        """Lines of calls that ended with EPERM since the filter is there, of the daemon's own
        process and its threads."""
        trace = self.machine.read(_TRACE).decode(errors="replace")
        found = _FILTERED.search(trace)
        self.assertIsNotNone(found, "no filter was seen")
        return [line for line in trace[found.end():].splitlines() if "= -1 EPERM" in line]

    def work(self):
        client = self.connect()
        identifier = self.define(client)
        for value in (b"one", b"another", bytes(5000)):
            self.set_value(client, identifier, value)
            self.assertEqual(self.get_value(client, identifier), value)
        client.call(wire.UNDEFINE, wire.secret(identifier)).reader()
        self.set_value(client, self.define(client), b"kept")

    def try_command(self, *words):
        return self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), *words])

    def command(self, *words):
        done = self.try_command(*words)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_no_call_of_a_whole_session_is_refused(self):
        os.makedirs(self.machine.path(os.path.dirname(_LOG)))
        clear = uuid.uuid4()
        self.machine.write(f"/etc/libvirt/secrets/{clear}.xml",
                           f"<secret><uuid>{clear}</uuid></secret>")
        self.machine.write(f"/etc/libvirt/secrets/{clear}.base64", "aW1wb3J0ZWQ=")
        daemon = self.start_traced(f'log_level = 1\nlog_outputs = "1:stderr 1:file:{_LOG} '
                                   '1:syslog:virtcrypt-secretd"\nrotation_delay = 0\n')
        self.work()
        os.kill(self.find_daemon(), signal.SIGHUP)
        host.wait_for(lambda: "reloaded" in self.machine.read(_LOG).decode(), "it has reloaded")
        self.command("master", "lock")
        self.command("master", "unlock")
        # Values may still be on their way to the generation of before.
        host.wait_for(lambda: self.try_command("master", "rotate").returncode == 0, "it rotates")
        self.work()
        os.kill(self.find_daemon(), signal.SIGTERM)
        daemon.wait()
        self.assertEqual(self.refused(), [])
        self.assertNotIn("Permission denied", self.machine.read(_LOG).decode())


del Case

if __name__ == "__main__":
    taptest.main()
