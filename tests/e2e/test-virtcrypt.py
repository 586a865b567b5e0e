#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt prints what stock virsh prints, to the letter and with the same exit status, when both
do the same at the same kind of daemon: virtcrypt-secretd and libvirt's own. What virtcrypt has
beyond virsh is tested here too, but for values (test-virtcrypt-values.py) and for ways to a daemon
(test-virtcrypt-ways.py)."""

import json
import os
import re
import signal
import subprocess
import unittest

import host
import taptest

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")

_VOLUME = "11111111-1111-4111-8111-111111111111"
_CEPH = "22222222-2222-4222-8222-222222222222"
_TLS = "33333333-3333-4333-8333-333333333333"
_NONE = "44444444-4444-4444-8444-444444444444"
_NOBODY = "99999999-9999-4999-8999-999999999999"

_FILES = {
    "volume.xml": f"<secret ephemeral='no' private='no'><uuid>{_VOLUME}</uuid><description>the disk"
                  "</description><usage type='volume'><volume>/v/1 \u00e9 \u65e5\u672c</volume>"
                  "</usage></secret>",
    "ceph.xml": f"<secret private='yes'><uuid>{_CEPH}</uuid><usage type='ceph'><name>client.admin "
                "secret</name></usage></secret>",
    "tls.xml": f"<secret ephemeral='yes'><uuid>{_TLS}</uuid><usage type='tls'><name>TLS</name>"
               "</usage></secret>",
    "none.xml": f"<secret><uuid>{_NONE}</uuid></secret>",
    "bad.xml": "<secret",
    "extra.xml": "<secret><extra/></secret>",
    "big.xml": " " * (11 << 20),
    "folder/file": "",
    "value": b"a value\0with zero",
    "value.base64": b"YWJj\n",
    "empty": b"",
}

# A list of commands is a story: what it leaves behind is there for the next one.
_STORY = """
secret-list
secret-define
secret-define /run/t/volume.xml extra
secret-define --file
secret-define --nosuch
secret-define --val /run/t/volume.xml
secret-define --validate=1 /run/t/volume.xml
secret-define --file=
secret-define --file /run/t/volume.xml --file /run/t/volume.xml
secret-define /run/t/volume.xml
secret-define --file=/run/t/ceph.xml
secret-define -- /run/t/tls.xml
secret-define /run/t/none.xml --validate
secret-define /run/t/extra.xml --validate
secret-define /run/t/nonexistent.xml
secret-define /run/t/folder
secret-define /run/t/big.xml
secret-define /run/t/bad.xml
-q secret-define /run/t/volume.xml
-r secret-define /run/t/volume.xml
secret-list
-q secret-list
-r secret-list
-- secret-list --
--quie secret-list --private
secret-list --ephemeral
secret-list --no-ephemeral
secret-list --no-private
secret-list --private --ephemeral
secret-list --private --no-private
secret-list x
secret-list -x
secret-list --=
secret-list --ephemeral --ephemeral
secret-dumpxml
secret-dumpxml {volume}
secret-dumpxml --secret={ceph}
secret-dumpxml {tls} --wrap
secret-dumpxml {none} --xpath //uuid
secret-dumpxml {volume} --xpath //* --wrap
secret-dumpxml {volume} --xpath //usage/@type
secret-dumpxml {volume} --xpath //nosuch
secret-dumpxml {volume} --xpath count(//uuid)
secret-dumpxml {volume} //uuid
secret-dumpxml nosuch
secret-dumpxml {nobody}
-q secret-dumpxml {none}
secret-set-value
secret-set-value {volume}
secret-set-value {volume} --plain
secret-set-value nosuch
secret-set-value {nobody} YWJj
secret-set-value {volume} YWJj
secret-set-value --base64 YWJjZA== {volume}
secret-set-value {volume} YWJj YWJj
secret-set-value {volume} YWJj --plain --interactive
secret-set-value {volume} YWJj --file /run/t/value
secret-set-value {volume} YWJj --interactive
secret-set-value {volume} --interactive --file /run/t/value
secret-set-value {volume} --interactive --plain
secret-set-value {nobody} --interactive --plain
secret-set-value {volume} --file
secret-set-value {volume} --file=
secret-set-value {volume} --base64=
secret-set-value {volume} --file /run/t/nonexistent
secret-set-value {volume} --file /run/t/folder
secret-set-value {volume} --file /run/t/empty
secret-set-value {volume} --file /run/t/empty --plain
secret-set-value {volume} --file /run/t/value --plain
secret-get-value {volume}
-q secret-get-value {volume}
secret-set-value {volume} --file /run/t/value.base64
secret-get-value {volume} --plain
-q secret-get-value --plain {volume}
-q secret-set-value {ceph} --file /run/t/value.base64
secret-get-value {ceph}
secret-get-value {none}
secret-get-value
secret-get-value {nobody}
-r secret-get-value {volume}
-r secret-set-value {volume} YWJj
-r secret-undefine {volume}
secret-event
secret-event --list
secret-event --list --timeout x
secret-event --event
secret-event --event nosuch --timeout x
secret-event --event=
secret-event --event lifecycle --timeout x
secret-event --event lifecycle --timeout 0
secret-event --event lifecycle --timeout
secret-event --event lifecycle --timeout 1
-q secret-event {volume} lifecycle 1
-r secret-event --event value-changed --timeout 1 --loop --timestamp
secret-undefine
secret-undefine {tls}
secret-undefine {tls}
secret-undefine 11111111111141118111111111111111
-q secret-undefine {ceph}
secret-undefine {none}
secret-list
help secret
help secret-define
help --command secret-dumpxml
help secret-event
help secret-get-value
help secret-undefine
help help
help nosuch
secret-undefine --help
secret-define x --help --validate
nosuch-command
--nosuch
-z
-c
--connect
--readonly=1
-c secret:///system?socket=/nosuch secret-list
-c secret:///system?socket=/run/t/value secret-list
""".format(volume=_VOLUME, ceph=_CEPH, tls=_TLS, none=_NONE, nobody=_NOBODY).strip().splitlines()


def _program_of_socket(path):
    uri = f"secret:///system?socket={path}"
    return {"VIRSH_DEFAULT_CONNECT_URI": uri, "VIRTCRYPT_DEFAULT_URI": uri}


def _start(machine, kind):
    for name, content in _FILES.items():
        machine.write("/run/t/" + name, content)
    if kind == "secretd":
        machine.start_secretd('value_readback = "any"\n')
        return _program_of_socket(host.SECRETD_SOCKET)
    machine.start_reference()
    return _program_of_socket(host.REFERENCE_SOCKET)


class SameAsVirsh(unittest.TestCase):
    maxDiff = None

    def told(self, machine, program, env, locale):
        lines = []
        for command in _STORY:
            done = machine.run([program, *command.split()], env=dict(env, LC_ALL=locale),
                               timeout=30 * host.PATIENCE)
            lines += [f"$ {command}", done.stdout, done.stderr, f"exit {done.returncode}"]
        return "\n".join(lines)

    def compare(self, kind):
        told = {}
        for program in ("virsh", _VIRTCRYPT):
            with host.Host() as machine:
                told[program] = self.told(machine, program, _start(machine, kind), "C.UTF-8")
        self.assertEqual(told[_VIRTCRYPT], told["virsh"])
        self.assertGreater(told["virsh"].count("\nexit 0"), 40)
        self.assertGreater(told["virsh"].count("\nexit 1"), 50)

    def test_at_virtcrypts_daemon(self):
        self.compare("secretd")

    def test_at_libvirts_daemon(self):
        self.compare("reference")


class WithDaemon(unittest.TestCase):
    """What needs a running daemon; each kind has its class below."""
    maxDiff = None
    kind = "secretd"

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.env = _start(cls.machine, cls.kind)

    def setUp(self):
        for name in ("volume", "ceph", "tls", "none"):
            self.ours("secret-define", f"/run/t/{name}.xml").check()
        self.addCleanup(self.undefine_all)

    def undefine_all(self):
        for uuid in self.ours("-q", "secret-list").check().stdout.split():
            if re.fullmatch(r"[0-9a-f-]{36}", uuid):
                self.ours("secret-undefine", uuid).check()

    def ours(self, *arguments, **options):
        return self.machine.run([_VIRTCRYPT, *arguments], env=self.env, **options)

    def start(self, program, *arguments):
        process = self.machine.popen([program, *arguments], env=self.env, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        return process


class Events(WithDaemon):
    """When a program has begun to listen can't be seen from outside: events are made until the first
    is printed, and these are left out of what is compared."""

    def define(self, name):
        self.ours("secret-define", f"/run/t/{name}.xml").check()

    def set_value(self):
        self.ours("secret-set-value", _VOLUME, "--file", "/run/t/value", "--plain").check()

    def listen(self, program, *arguments, until):
        """Starts secret-event and calls `until` until the first event is printed."""
        process = self.start(program, "secret-event", *arguments)
        os.set_blocking(process.stdout.fileno(), False)

        def has_printed():
            until()
            return process.stdout.readline()
        first = host.wait_for(has_printed, "an event is printed", interval=0.1)
        os.set_blocking(process.stdout.fileno(), True)
        return process, first

    def end(self, process, first, number=None):
        if number:
            process.send_signal(number)
        # Not communicate(), which does not see what readline has read ahead.
        stdout, stderr = process.stdout.read(), process.stderr.read()
        return first + stdout, stderr, process.wait(30 * host.PATIENCE)

    def told_of_loop(self, program, *arguments, probe):
        """What is printed of a story that begins with an undefined secret."""
        process, first = self.listen(program, "--event", "lifecycle", "--loop", *arguments,
                                     until=lambda: self.define(probe))
        self.ours("secret-undefine", _TLS).check()
        self.define("tls")
        lines = [first]
        while "Undefined" not in lines[-1]:
            lines.append(process.stdout.readline())
        lines.append(process.stdout.readline())
        stdout, stderr, status = self.end(process, "".join(lines), signal.SIGINT)
        self.assertEqual((stderr, status), ("", 0))
        count = stdout.count("event 'lifecycle'")
        self.assertIn(f"\nevents received: {count}\n", stdout)
        return re.sub(r"received: \d+", "received: N", stdout[stdout.index(
            f"event 'lifecycle' for secret {_TLS}: Undefined"):])

    def test_the_first_event_ends_the_wait(self):
        for program in ("virsh", _VIRTCRYPT):
            with self.subTest(program):
                self.assertEqual(
                    self.end(*self.listen(program, "--event", "lifecycle",
                                          until=lambda: self.define("volume"))),
                    (f"event 'lifecycle' for secret {_VOLUME}: Defined\nevents received: 1\n\n",
                     "", 0))

    def test_a_loop_goes_on_until_it_is_interrupted(self):
        for program in ("virsh", _VIRTCRYPT):
            with self.subTest(program):
                self.assertEqual(self.told_of_loop(program, probe="none"),
                                 f"event 'lifecycle' for secret {_TLS}: Undefined\n"
                                 f"event 'lifecycle' for secret {_TLS}: Defined\n"
                                 "event loop interrupted\nevents received: N\n\n")

    def test_events_can_be_those_of_one_secret(self):
        for program in ("virsh", _VIRTCRYPT):
            process, first = self.listen(program, "--event", "lifecycle", "--secret", _TLS, "--loop",
                                         until=lambda: (self.define("volume"), self.define("tls")))
            stdout, _, _ = self.end(process, first, signal.SIGINT)
            with self.subTest(program):
                self.assertIn(f"for secret {_TLS}: Defined\n", stdout)
                self.assertNotIn(_VOLUME, stdout)

    def test_a_loop_ends_in_time(self):
        def listened():
            process, first = self.listen(_VIRTCRYPT, "--event", "value-changed", "--loop",
                                         "--timeout", "5", until=self.set_value)
            # A busy machine may let no value be set in its time.
            return "timed out" not in first and (process, first)
        process, first = host.wait_for(listened, "an event in time")
        stdout, _, status = self.end(process, first)
        self.assertRegex(stdout, rf"\A(event 'value-changed' for secret {_VOLUME}\n)+"
                                 r"event loop timed out\nevents received: \d+\n\n\Z")
        self.assertEqual(status, 0)

    def test_events_have_timestamps_where_wanted(self):
        for program in ("virsh", _VIRTCRYPT):
            stdout, _, _ = self.end(*self.listen(program, "--event", "value-changed", "--timestamp",
                                                 until=self.set_value))
            with self.subTest(program):
                self.assertRegex(stdout, r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+0000: event "
                                         rf"'value-changed' for secret {_VOLUME}\n")

    def test_a_secret_that_is_not_there_is_an_error_at_once(self):
        done = self.ours("secret-event", "--event", "lifecycle", "--secret", _NOBODY)
        self.assertEqual((done.returncode, done.stdout), (1, "\n"))
        self.assertIn(f"error: failed to get secret '{_NOBODY}'\n", done.stderr)

    def test_other_signals_end_the_program(self):
        process, first = self.listen(_VIRTCRYPT, "--event", "lifecycle", "--loop",
                                     until=lambda: self.define("none"))
        self.assertEqual(self.end(process, first, signal.SIGTERM)[2], -signal.SIGTERM)


class EventsOfLibvirt(Events):
    kind = "reference"


class End(unittest.TestCase):
    def test_a_daemon_that_ends_ends_the_wait_for_events(self):
        with host.Host() as machine:
            env = _start(machine, "secretd")
            waiting = machine.popen([_VIRTCRYPT, "secret-event", "--event", "lifecycle", "--loop"],
                                    env=env, text=True, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
            os.set_blocking(waiting.stdout.fileno(), False)

            def has_printed():
                machine.run([_VIRTCRYPT, "secret-define", "/run/t/none.xml"], env=env).check()
                return waiting.stdout.readline()
            # It has not only connected, but waits.
            host.wait_for(has_printed, "an event is printed", interval=0.1)
            os.set_blocking(waiting.stdout.fileno(), True)
            machine.daemons[0].stop()
            stdout, stderr = waiting.stdout.read(), waiting.stderr.read()
            waiting.wait(30 * host.PATIENCE)
            self.assertRegex(stdout, rf"\A(event 'lifecycle' for secret {_NONE}: Defined\n)*"
                                     r"events received: [1-9]\d*\n\n\Z")
            self.assertEqual(stderr, "error: Disconnected from secret:///system?socket="
                                     f"{host.SECRETD_SOCKET} due to end of file\n"
                                     "error: End of file while reading data: Input/output error\n")
            self.assertEqual(waiting.returncode, 1)


class Json(WithDaemon):
    has_value = (True, False)

    def test_a_list_says_what_is_known_of_each_secret(self):
        self.ours("secret-set-value", _VOLUME, "--file", "/run/t/value", "--plain").check()
        yes, no = self.has_value
        self.assertEqual(json.loads(self.ours("secret-list", "--json").check().stdout), [
            {"uuid": _VOLUME, "usage-type": "volume", "usage-id": "/v/1 \u00e9 \u65e5\u672c",
             "ephemeral": False, "private": False, "has-value": yes},
            {"uuid": _CEPH, "usage-type": "ceph", "usage-id": "client.admin secret",
             "ephemeral": False, "private": True, "has-value": no},
            {"uuid": _TLS, "usage-type": "tls", "usage-id": "TLS",
             "ephemeral": True, "private": False, "has-value": no},
            {"uuid": _NONE, "usage-type": "none", "usage-id": None,
             "ephemeral": False, "private": False, "has-value": no},
        ])

    def test_a_list_can_be_filtered(self):
        listed = json.loads(self.ours("secret-list", "--json", "--ephemeral").check().stdout)
        self.assertEqual([secret["uuid"] for secret in listed], [_TLS])

    def test_an_empty_list_is_an_empty_array(self):
        listed = self.ours("-q", "secret-list", "--json", "--ephemeral", "--private").check().stdout
        self.assertEqual(listed, "[]\n")


class JsonOfLibvirt(Json):
    kind = "reference"
    has_value = (None, None)


class Status(WithDaemon):
    def test_it_is_a_table_for_people(self):
        pid = self.machine.daemons[0].pid
        self.assertRegex(
            self.ours("daemon-status").check().stdout,
            rf"\AVersion: +\d+\.\d+\.\d+\nProcess: +{pid}\nMaster key: +unlocked\nSecrets: +4\n"
            r"Ephemeral: +1\nUnavailable: +0\nClients: +1\nGeneration: +[1-9]\d*\n")

    def test_it_is_an_object_for_programs(self):
        status = json.loads(self.ours("daemon-status", "--json").check().stdout)
        self.assertEqual(
            {name: status[name] for name in status if name not in ("version", "generation")},
            {"pid": self.machine.daemons[0].pid, "locked": False, "locked-reason": None,
             "secrets": 4, "ephemeral": 1, "unavailable": 0, "clients": 1})
        self.assertGreaterEqual(status["generation"]["number"], 1)
        self.assertEqual(sorted(status["generation"]), ["left", "number", "problem", "rotating"])

    def test_a_locked_daemon_says_why(self):
        with host.Host() as machine:
            env = _start(machine, "secretd")
            machine.run([_VIRTCRYPT, "secret-define", "/run/t/volume.xml"], env=env).check()
            machine.run([_VIRTCRYPT, "secret-set-value", _VOLUME, "--generate", "256"],
                        env=env).check()
            machine.daemons[0].stop()
            os.unlink(machine.path("/etc/libvirt/virtcrypt/master.key"))
            machine.start_secretd()
            told = machine.run([_VIRTCRYPT, "daemon-status"], env=env).check().stdout
            self.assertRegex(told, r"Master key: +locked\nReason: +\S.*master\.key")

    def test_a_daemon_of_libvirts_has_none(self):
        with host.Host() as machine:
            env = _start(machine, "reference")
            done = machine.run([_VIRTCRYPT, "daemon-status"], env=env)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"error: The daemon at {env['VIRTCRYPT_DEFAULT_URI']} is not "
                          "virtcrypt-secretd\n", done.stderr)


class LongList(unittest.TestCase):
    def test_more_secrets_than_libvirts_call_can_carry_are_listed(self):
        count = 16400
        with host.Host() as machine:
            os.makedirs(machine.path("/etc/libvirt/secrets"), mode=0o700)
            for index in range(count):
                uuid = f"{index:08x}-0000-4000-8000-000000000000"
                machine.write(f"/etc/libvirt/secrets/{uuid}.xml",
                              f"<secret><uuid>{uuid}</uuid><usage type='volume'><volume>/v/{index}"
                              "</volume></usage></secret>")
            machine.start_secretd()
            done = machine.run([_VIRTCRYPT, "-q", "secret-list"]).check()
            rows = done.stdout.splitlines()
            self.assertEqual(len(rows), count)
            self.assertEqual(rows[count - 1], f" {count - 1:08x}-0000-4000-8000-000000000000   "
                                              f"volume /v/{count - 1}")
            self.assertNotEqual(machine.virsh("secret-list", uri="secret:///system").returncode, 0)


class Program(unittest.TestCase):
    def run_alone(self, *arguments, **options):
        return subprocess.run([_VIRTCRYPT, *arguments], stdin=subprocess.DEVNULL, text=True,
                              stderr=subprocess.PIPE, timeout=60, check=False,
                              **{"stdout": subprocess.PIPE, **options})

    def test_it_tells_its_version(self):
        for option in ("-v", "--version"):
            done = self.run_alone(option)
            self.assertRegex(done.stdout, r"\A\d+\.\d+\.\d+\n\Z")
            self.assertEqual(done.returncode, 0)

    def test_help_lists_every_command(self):
        listed = {command: self.run_alone(*command.split()).stdout
                  for command in ("--help", "-h", "help")}
        for command, text in listed.items():
            with self.subTest(command):
                self.assertEqual(len(re.findall(r"^    (?:secret|daemon|help)\S* {2,}\S", text,
                                                re.M)), 9)
        self.assertIn("-c | --connect=URI", listed["--help"])

    def test_no_command_is_an_error(self):
        done = self.run_alone()
        self.assertEqual((done.returncode, done.stderr),
                         (1, "error: no command was given. See --help.\n"))

    def test_output_that_can_not_be_written_is_an_error(self):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = self.run_alone("help", stdout=full)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "error: cannot write to standard output\n"))


if __name__ == "__main__":
    taptest.main()
