#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How virtcrypt finds a daemon: defaults, ssh through a real sshd, polkit, and what it says when
nobody is there. And what bash completes."""

import base64
import os
import pty
import pwd
import select
import shlex
import socket
import subprocess
import unittest

import fakeserver
import host
import taptest

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_UUID = "11111111-1111-4111-8111-111111111111"
_OTHER = "22222222-2222-4222-8222-222222222222"
_FAKE_SOCKET = "/run/fake-sock"


def _define(machine, uuid=_UUID):
    machine.write("/run/t/secret.xml", f"<secret><uuid>{uuid}</uuid></secret>")
    machine.run([_VIRTCRYPT, "secret-define", "/run/t/secret.xml"]).check()


class Local(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.start_secretd()
        _define(cls.machine)

    def test_root_is_connected_to_the_hosts_daemon(self):
        self.assertIn(_UUID, self.machine.run([_VIRTCRYPT, "secret-list"]).check().stdout)

    def test_every_local_uri_leads_there(self):
        for uri in ("secret:///system", "secret+unix:///system",
                    f"secret:///system?socket={host.SECRETD_SOCKET_RO}"):
            with self.subTest(uri):
                done = self.machine.run([_VIRTCRYPT, "--connect", uri, "secret-list"]).check()
                self.assertIn(_UUID, done.stdout)

    def test_the_environment_names_another_default(self):
        done = self.machine.run([_VIRTCRYPT, "secret-list"],
                                env={"VIRTCRYPT_DEFAULT_URI": "secret:///system?socket=/nosuch"})
        self.assertIn("Failed to connect socket to '/nosuch'", done.stderr)

    def test_a_readonly_connection_uses_the_readonly_socket(self):
        os.rename(self.machine.path(host.SECRETD_SOCKET), self.machine.path("/run/away"))
        self.addCleanup(os.rename, self.machine.path("/run/away"),
                        self.machine.path(host.SECRETD_SOCKET))
        self.assertIn(_UUID, self.machine.run([_VIRTCRYPT, "-r", "secret-list"]).check().stdout)
        self.assertNotEqual(self.machine.run([_VIRTCRYPT, "secret-list"]).returncode, 0)

    def test_a_users_own_daemon_is_reached(self):
        with host.Host() as machine:
            env = {"XDG_RUNTIME_DIR": "/run/user", "XDG_CONFIG_HOME": "/run/config"}
            os.mkdir(machine.path("/run/user"), mode=0o700)
            program = os.path.join(host.BUILD_ROOT, "src/secret/virtcrypt-secretd")
            machine.start("session", [program, "--session"], "/run/user/libvirt/virtsecretd-sock",
                          env)
            machine.write("/run/t/secret.xml", f"<secret><uuid>{_UUID}</uuid></secret>")
            ours = [_VIRTCRYPT, "-c", "secret:///session"]
            machine.run([*ours, "secret-define", "/run/t/secret.xml"], env=env).check()
            self.assertIn(_UUID, machine.run([*ours, "secret-list"], env=env).check().stdout)
            self.assertTrue(machine.exists(f"/run/config/libvirt/secrets/{_UUID}.xml"))


class NobodyThere(unittest.TestCase):
    def test_what_to_start_is_said(self):
        with host.Host() as machine:
            for arguments, path, start in (
                    ((), "/run/libvirt/virtsecretd-sock",
                     "systemctl start virtcrypt-secretd.socket"),
                    (("-r",), "/run/libvirt/virtsecretd-sock-ro",
                     "systemctl start virtcrypt-secretd.socket"),
                    (("-c", "secret:///session"), "/run/user/libvirt/virtsecretd-sock",
                     "virtcrypt-secretd --session")):
                done = machine.run([_VIRTCRYPT, *arguments, "secret-list"],
                                   env={"XDG_RUNTIME_DIR": "/run/user"})
                with self.subTest(arguments):
                    self.assertEqual(done.returncode, 1)
                    self.assertIn("error: failed to connect to the hypervisor\n"
                                  f"error: Failed to connect socket to '{path}': No such file or "
                                  "directory\nerror: virtcrypt-secretd does not run", done.stderr)
                    self.assertIn(start, done.stderr)

    def test_where_to_look_when_there_is_no_answer_is_said(self):
        # As while systemd listens for a daemon that can't start.
        with host.Host() as machine, socket.socket(socket.AF_UNIX) as mute:
            mute.bind(machine.path(host.SECRETD_SOCKET))
            mute.listen()
            done = machine.run([_VIRTCRYPT, "secret-list"])
            self.assertEqual((done.returncode, done.stderr.splitlines()[1:3]),
                             (1, ["error: Timed out during operation: the server did not "
                                  "answer in time",
                                  "error: virtcrypt-secretd does not start or hangs; 'journalctl -u "
                                  "virtcrypt-secretd' says why"]))

    def test_a_daemon_that_says_nothing_more_is_an_error(self):
        with host.Host() as machine, \
                fakeserver.FakeServer(machine.path(_FAKE_SOCKET),
                                      {fakeserver.OPEN: fakeserver.Error(1, 7, "no, not you")}):
            done = machine.run([_VIRTCRYPT, "-c", f"secret:///system?socket={_FAKE_SOCKET}",
                                "secret-list"])
            self.assertEqual((done.returncode, done.stderr),
                             (1, "error: failed to connect to the hypervisor\nerror: no, not you\n"))


class Polkit(unittest.TestCase):
    """Where polkit finds nobody to ask, pkttyagent is started on the terminal. It is a script here:
    a real one needs a system bus and a person."""

    _AGENT = '#!/bin/sh\necho "$@" >/run/t/agent\nexec 3>&-\nexec sleep 60\n'

    def run_on_terminal(self, machine, argv, env):
        terminal, other_end = pty.openpty()
        process = machine.popen(argv, env=env, stdin=other_end, stdout=other_end, stderr=other_end)
        os.close(other_end)
        try:
            status = process.wait(host.RUN_BOUND_S)
            seen = b""
            while select.select([terminal], [], [], 0)[0]:
                seen += os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed
            pass
        finally:
            process.kill()
            os.close(terminal)
        return status, seen.decode()

    def list_secrets(self, answers_of_polkit, agent=_AGENT):
        secrets = fakeserver.secret(usage_type=1, usage_id=b"/v")
        with host.Host() as machine, fakeserver.FakeServer(machine.path(_FAKE_SOCKET), {
                fakeserver.AUTH_LIST: fakeserver.POLKIT_AUTH,
                fakeserver.AUTH_POLKIT: answers_of_polkit,
                287: (1).to_bytes(4, "big") + secrets + (1).to_bytes(4, "big")}) as server:
            machine.write("/run/t/pkttyagent", agent, mode=0o755)
            status, seen = self.run_on_terminal(
                machine, [_VIRTCRYPT, "-c", f"secret:///system?socket={_FAKE_SOCKET}",
                          "secret-list"], {"PATH": "/run/t:/usr/bin:/bin"})
            agent_seen = machine.read("/run/t/agent") if machine.exists("/run/t/agent") else None
            left = [pid for pid in machine.processes()
                    if open(f"/proc/{pid}/comm", encoding="ascii").read() == "sleep\n"]
            asked = [procedure for procedure, _ in server.calls].count(fakeserver.AUTH_POLKIT)
        return status, seen, agent_seen, left, asked

    _NO_AGENT = fakeserver.Error(94, 60, "authentication unavailable: no polkit agent available")

    def test_an_agent_is_started_and_ended(self):
        status, seen, agent, left, asked = self.list_secrets(
            [self._NO_AGENT, (1).to_bytes(4, "big")])
        self.assertEqual((status, asked), (0, 2), seen)
        self.assertIn("volume /v", seen)
        self.assertEqual(agent, b"--notify-fd 3 --fallback\n")
        self.assertEqual(left, [])

    def test_an_agent_that_does_not_help_is_an_error(self):
        status, seen, _, left, asked = self.list_secrets([self._NO_AGENT, self._NO_AGENT])
        self.assertEqual((status, asked), (1, 2))
        self.assertIn("error: authentication unavailable: no polkit agent available", seen)
        self.assertEqual(left, [])

    def test_a_refusal_needs_no_agent(self):
        status, seen, agent, _, asked = self.list_secrets(
            [fakeserver.Error(45, 60, "authentication failed: access denied by policy")])
        self.assertEqual((status, agent, asked), (1, None, 1))
        self.assertIn("error: authentication failed: access denied by policy", seen)


class Ssh(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.start_secretd()
        _define(cls.machine)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            cls.port = probe.getsockname()[1]
        for name in ("host", "user", "stranger"):
            os.makedirs(cls.machine.path("/run/t"), exist_ok=True)
            cls.machine.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                             f"/run/t/{name}"]).check()
        os.makedirs(cls.machine.path("/run/sshd"), mode=0o755)
        cls.machine.write("/run/t/authorized", cls.machine.read("/run/t/user.pub"))
        cls.machine.write("/run/t/sshd_config", f"""\
ListenAddress 127.0.0.1
Port {cls.port}
HostKey /run/t/host
AuthorizedKeysFile /run/t/authorized
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
""")
        cls.sshd = cls.machine.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f",
                                              "/run/t/sshd_config"])
        host.wait_for(cls.answers, "sshd answers")
        cls.user = pwd.getpwuid(os.getuid()).pw_name

    @classmethod
    def answers(cls):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", cls.port)) == 0

    def ours(self, parameters="", *command, key="user", path="/system", scheme="secret"):
        # -F none keeps the configuration of whoever runs the test out of it.
        self.machine.write("/run/t/ssh", "#!/bin/sh\nexec /usr/bin/ssh -F none -o "
                           "UserKnownHostsFile=/run/t/known \"$@\"\n", mode=0o755)
        uri = f"{scheme}+ssh://{self.user}@127.0.0.1:{self.port}{path}?command=/run/t/ssh&" \
              f"keyfile=/run/t/{key}&no_tty=1{parameters}"
        return self.machine.run([_VIRTCRYPT, "-c", uri, *(command or ("secret-list",))])

    def test_a_daemon_is_reached_by_netcat_and_by_libvirts_helper(self):
        for parameters in ("", "&proxy=netcat", "&proxy=native", "&netcat=/usr/bin/nc",
                           f"&socket={host.SECRETD_SOCKET}"):
            with self.subTest(parameters):
                done = self.ours("&no_verify=1" + parameters)
                self.assertIn(_UUID, done.stdout, done.stderr + self.sshd.log_text())
                self.assertEqual(done.returncode, 0)

    def test_virtcryptd_is_reached_on_the_same_host(self):
        self.machine.start_virtcryptd()
        for parameters in ("", "&proxy=netcat", f"&socket={host.VIRTCRYPTD_SOCKET}"):
            with self.subTest(parameters):
                done = self.ours("&no_verify=1" + parameters, "vol-list", scheme="storage")
                self.assertIn("Pool", done.stdout, done.stderr)
                self.assertEqual(done.returncode, 0)
        done = self.ours("&no_verify=1", "vol-list").check()
        self.assertIn("Pool", done.stdout)

    def test_values_go_there_and_back(self):
        value = bytes(range(256)) * 256
        self.machine.write("/run/t/value", value)
        self.ours("&no_verify=1", "secret-set-value", _UUID, "--file", "/run/t/value",
                  "--plain").check()
        done = self.ours("&no_verify=1", "secret-get-value", _UUID).check()
        self.assertEqual(base64.b64decode(done.stdout), value)

    def test_a_key_that_is_not_let_in_is_said_by_ssh(self):
        done = self.ours("&no_verify=1", key="stranger")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "error: failed to connect to the hypervisor\n"
                                      "error: .*: .*Permission denied")

    def test_an_unknown_host_is_refused(self):
        if self.machine.exists("/run/t/known"):
            os.unlink(self.machine.path("/run/t/known"))
        self.assertIn("Host key verification failed", self.ours().stderr)

    def test_a_socket_that_is_not_there_is_said(self):
        done = self.ours("&no_verify=1&socket=/nosuch")
        self.assertEqual(done.returncode, 1)
        self.assertIn("No such file or directory", done.stderr)

    def test_a_socket_that_looks_like_code_is_none(self):
        self.ours("&no_verify=1&socket=/x%27%3Btouch%20/run/t/pwned%3B%27")
        self.assertFalse(self.machine.exists("/run/t/pwned"))


class Completion(unittest.TestCase):
    """The words that bash offers after a line."""

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.start_secretd()
        _define(cls.machine)
        _define(cls.machine, _OTHER)

    def complete(self, line):
        script = os.path.join(os.environ["SOURCE_ROOT"], "tools/bash-completion/virtcrypt")
        words = line.split(" ")
        words[0] = _VIRTCRYPT
        full = " ".join(words)
        # A person would not wait for a daemon for long, the test does.
        code = (f". /usr/share/bash-completion/bash_completion; . {shlex.quote(script)}; "
                'compopt() { :; }; timeout() { shift; "$@"; }; '
                f"COMP_LINE={shlex.quote(full)}; COMP_POINT=${{#COMP_LINE}}; "
                f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}; "
                '_virtcrypt; printf "%s\\n" "${COMPREPLY[@]}"')
        done = self.machine.run(["bash", "-c", code]).check()
        self.assertEqual(done.stderr, "")
        return sorted(done.stdout.split())

    def test_commands_are_offered(self):
        self.assertEqual(self.complete("virtcrypt secret-d"), ["secret-define", "secret-dumpxml"])
        self.assertEqual(len(self.complete("virtcrypt ")), 38)
        self.assertEqual(self.complete("virtcrypt -q -c secret:///system dae"), ["daemon-status"])

    def test_second_words_and_slots_are_offered(self):
        self.assertEqual(self.complete("virtcrypt mas"), ["master"])
        self.assertEqual(self.complete("virtcrypt master un"), ["unlock"])
        self.assertEqual(self.complete("virtcrypt master rotate --res"), ["--reseal"])
        self.assertEqual(self.complete("virtcrypt master add-slot key"), ["key-file"])
        slot, = self.complete("virtcrypt master test-slot ")
        self.assertEqual(len(slot), 36)
        self.assertEqual(self.complete("virtcrypt master rotate --remove-slot " + slot[:5]), [slot])

    def test_global_options_are_offered(self):
        self.assertEqual(self.complete("virtcrypt --r"), ["--readonly"])
        self.assertEqual(self.complete("virtcrypt -c sec"), ["secret:///session", "secret:///system"])
        self.assertEqual(self.complete("virtcrypt -c st"), ["storage:///system"])

    def test_options_of_a_command_are_offered(self):
        self.assertEqual(self.complete("virtcrypt secret-get-value --"),
                         ["--help", "--plain", "--secret"])

    def test_uuids_are_asked_of_the_daemon(self):
        for line in ("virtcrypt secret-dumpxml ", "virtcrypt secret-dumpxml --wrap --secret ",
                     "virtcrypt secret-event --secret=",
                     f"virtcrypt -c secret:///system?socket={host.SECRETD_SOCKET_RO} "
                     "secret-undefine "):
            with self.subTest(line):
                self.assertEqual(self.complete(line), [_UUID, _OTHER])
        self.assertEqual(self.complete("virtcrypt secret-get-value 22"), [_OTHER])

    def test_volumes_are_asked_of_virtcryptd(self):
        self.machine.start_virtcryptd()
        self.machine.write_pool("p", "/var/lib/libvirt/images/p")
        self.machine.run([_VIRTCRYPT, "vol-create", "p", "v", "1M"]).check()
        path = "/var/lib/libvirt/images/p/v"
        self.assertEqual(self.complete("virtcrypt vol-info "), [path])
        self.assertEqual(self.complete("virtcrypt vol-info --pool p --vol "), ["v"])
        self.assertEqual(self.complete("virtcrypt vol-info --pool q --vol "), [])
        self.assertEqual(self.complete("virtcrypt vol-list "), ["p"])
        self.assertEqual(self.complete("virtcrypt vol-create --format "), ["dm-crypt", "qcow2",
                                                                           "raw"])

    def test_no_daemon_means_no_uuids(self):
        self.assertEqual(self.complete("virtcrypt -c secret:///system?socket=/nosuch "
                                       "secret-undefine "), [])

    def test_values_of_options_are_offered(self):
        self.assertEqual(self.complete("virtcrypt secret-event --event "),
                         ["lifecycle", "value-changed"])
        self.assertEqual(self.complete("virtcrypt help daemon-"), ["daemon-status"])
        self.assertEqual(self.complete("virtcrypt secret-define /run/t/sec"),
                         ["/run/t/secret.xml"])
        self.assertEqual(self.complete("virtcrypt guest-define x.xml --key vda=/run/t/sec"),
                         ["vda=/run/t/secret.xml"])
        self.assertEqual(self.complete("virtcrypt guest-create x.xml --key vda=gen"),
                         ["vda=generate"])
        self.assertEqual(self.complete("virtcrypt guest-define x.xml --key vd"), ["vda=", "vdb="])


if __name__ == "__main__":
    taptest.main()
