#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stores without their daemon: virtcrypt-recover on a copy of /etc/libvirt by every way to unlock,
beside damage, and beside what is in the way."""

import glob
import json
import os
import re
import shutil
import subprocess
import unittest
import uuid

import dialogue
import host
import residue
import taptest
import wire

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_RECOVER = os.path.join(host.BUILD_ROOT, "tools/virtcrypt-recover")
_RECOVERY = re.compile(r"^ +((?:[0-9A-Z]{8}-){7}[0-9A-Z]{8})$", re.M)
_MODULES = glob.glob("/usr/lib/*/softhsm/libsofthsm2.so") + ["/usr/lib/softhsm/libsofthsm2.so"]
_PIN = "1234567"
# virtcrypt_secret, bind
_PROGRAM, _BIND = 0x56435253, 3

ONE, TWO, THREE = (f"{digit * 8}-0000-4000-8000-000000000001" for digit in "123")
GUESTS = [f"{digit * 8}-0000-4000-8000-00000000000f" for digit in "ab"]
_COPY = "/run/copy"
_SECRETS = f"{_COPY}/etc/libvirt/secrets"
_KEYS = f"{_COPY}/etc/libvirt/qemu/keys"
_AUDIT = f"{_COPY}/var/lib/libvirt/virtcrypt/audit.log"


class Case(unittest.TestCase):
    """A store with ONE (no owner), TWO (of both guests) and THREE (no value), and its copy."""
    maxDiff = None

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.env = {}
        self.before_the_daemon()
        self.daemon = self.machine.start_secretd("unlock_timeout = 120\n", env=self.env)
        self.values = {ONE: os.urandom(48), TWO: os.urandom(48)}
        for name in (ONE, TWO, THREE):
            self.machine.write("/run/t/secret.xml", f"<secret private='yes'><uuid>{name}</uuid>"
                               f"<usage type='volume'><volume>/v/{name}</volume></usage></secret>")
            self.told("secret-define /run/t/secret.xml")
        for name, value in self.values.items():
            self.machine.write("/run/t/value", value)
            self.told(f"secret-set-value {name} --file /run/t/value --plain")
        self.bind(TWO, GUESTS)

    def before_the_daemon(self):
        """For more of the environment."""

    def bind(self, secret, guests):
        """As virtcryptd does it."""
        pairs = [uuid.UUID(secret).bytes + uuid.UUID(guest).bytes for guest in guests]
        with wire.Connection(self.machine.path(host.SECRETD_SOCKET)).open() as client:
            client.send(wire.message(_BIND, wire.uint32(len(pairs)) + b"".join(pairs),
                                     program=_PROGRAM))
            self.assertEqual(client.reply().reader().uint32(), 0)

    def told(self, line, **options):
        done = self.machine.run([_VIRTCRYPT, *line.split()], env=self.env, **options)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout

    def copy(self):
        """As from a backup of the disk."""
        self.daemon.stop_in_order()
        self.machine.run(["sh", "-ec", f"mkdir -p {_COPY}/etc {_COPY}/var/lib/libvirt && "
                          f"cp -a /etc/libvirt {_COPY}/etc && "
                          f"cp -a /var/lib/libvirt/virtcrypt {_COPY}/var/lib/libvirt"]).check()

    def recover(self, line, root=_COPY, **options):
        options.setdefault("env", self.env)
        words = line.split()
        return self.machine.run(
            [_RECOVER, words[0], *words[1:], *(["--root", root] if root else [])], **options)

    def assert_status(self, status, done, *texts):
        self.assertEqual(done.returncode, status, f"{done.args}: {done.stdout}{done.stderr}")
        for text in texts:
            self.assertIn(text, str(done.stdout) + str(done.stderr))

    def assert_extracts(self, name, line="", **options):
        done = self.recover(f"extract {name} {line}", text=False, **options)
        self.assert_status(0, done)
        self.assertEqual(done.stdout, self.values[name])

    def states(self, **options):
        done = self.recover("list --json", **options)
        return {row["uuid"]: row["value"] for row in json.loads(done.stdout)}

    def spoil(self, path):
        content = bytearray(self.machine.read(path))
        content[-1] ^= 1
        self.machine.write(path, bytes(content))

    def audit(self):
        return [json.loads(line) for line in self.machine.read(_AUDIT).decode().splitlines()]


class Commands(Case):
    def test_a_running_daemon_is_not_worked_beside(self):
        self.assert_status(3, self.recover("list", root=None), "is locked by virtcrypt-secretd")

    def test_values_are_listed_and_extracted(self):
        self.copy()
        self.assertEqual(self.states(), {ONE: "good", TWO: "good", THREE: "none"})
        self.assert_status(0, self.recover("verify"), "3 secrets, 0 problems")
        self.assert_extracts(ONE)
        self.assert_extracts(TWO)
        done = self.recover(f"extract /v/{ONE}", text=False)
        self.assertEqual(done.stdout, self.values[ONE])
        self.assert_status(3, self.recover(f"extract {THREE}"), "does not have a value")
        self.assert_status(3, self.recover("extract nothing"), "no secret 'nothing'")

    def test_a_file_is_made_and_never_written_over(self):
        self.copy()
        self.assert_status(0, self.recover(f"extract {ONE} --output /run/t/out"))
        self.assertEqual(self.machine.read("/run/t/out"), self.values[ONE])
        self.assertEqual(os.stat(self.machine.path("/run/t/out")).st_mode & 0o7777, 0o600)
        self.assert_status(3, self.recover(f"extract {TWO} --output /run/t/out"), "File exists")
        os.symlink("/run/t/elsewhere", self.machine.path("/run/t/link"))
        self.assert_status(3, self.recover(f"extract {ONE} --output /run/t/link"), "File exists")
        self.assertFalse(self.machine.exists("/run/t/elsewhere"))

    def test_a_terminal_is_not_shown_a_value_without_force(self):
        self.copy()
        argv = [_RECOVER, "extract", ONE, "--root", _COPY]
        for more, status, text in (([], 2, "--force"), (["--force"], 0, "shown on the terminal")):
            talk = dialogue.Dialogue(self.machine, [*argv, *more])
            self.addCleanup(talk.__exit__)
            # A value of random bytes is no text; what matters is the status.
            try:
                got, said = talk.end()
                self.assertIn(text, said)
                self.assertEqual(got, status)
            except UnicodeDecodeError:
                self.assertEqual(status, 0)

    def test_each_extract_has_its_line_in_the_audit(self):
        self.copy()
        before = len(self.audit())
        self.assert_extracts(ONE)
        self.recover("list")
        self.recover("verify")
        self.assert_extracts(TWO)
        lines = self.audit()[before:]
        self.assertEqual([(line["event"], line["secret"]) for line in lines],
                         [("extract", ONE), ("extract", TWO)])

    def test_no_value_comes_without_an_audit(self):
        self.copy()
        self.machine.run(["sh", "-ec", f"rm -rf {_COPY}/var/lib/libvirt/virtcrypt && "
                          f"ln -s /run/t {_COPY}/var/lib/libvirt/virtcrypt"]).check()
        done = self.recover(f"extract {ONE}", text=False)
        self.assertEqual((done.returncode, done.stdout), (3, b""))

    def test_usage(self):
        self.assertEqual(self.recover("--help", root=None).returncode, 0)
        self.assertEqual(self.recover("list --help", root=None).returncode, 0)
        self.assert_status(2, self.recover("paint", root=None), "unknown command")
        self.assert_status(2, self.recover("list --colour", root=None))
        self.assert_status(3, self.recover("list", root="/run/nowhere"), "there is no store")

    def test_no_key_is_left_in_the_environment_or_arguments_or_a_core(self):
        self.copy()
        self.told_master = self.machine.read("/etc/libvirt/virtcrypt/master.key")
        talk = subprocess.Popen(  # it waits for its passphrase, with the store open
            self.machine._argv([_RECOVER, "list", "--root", _COPY, "--passphrase-fd", "0"]),
            env=self.machine._environment(self.env), stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(talk.wait)
        self.addCleanup(talk.kill)
        pid = host.wait_for(lambda: self.find_process(talk.pid), "it runs")
        limits = open(f"/proc/{pid}/limits", encoding="ascii").read()
        self.assertRegex(limits, r"Max core file size +0 +0")
        for name in ("environ", "cmdline"):
            found = residue.Search(self.told_master)
            with open(f"/proc/{pid}/{name}", "rb") as file:
                found.feed(file, name)
            self.assertEqual((found.copies, found.parts), (0, 0))
        talk.stdin.close()

    def find_process(self, pid):
        """nsenter becomes the program, which has hardened itself before it asks."""
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            is_ours = file.read().startswith(_RECOVER.encode())
        with open(f"/proc/{pid}/limits", encoding="ascii") as file:
            return pid if is_ours and re.search(r"Max core file size +0 +0", file.read()) else None


class Damage(Case):
    def test_a_damaged_copy_is_stood_in_for(self):
        self.copy()
        self.spoil(f"{_KEYS}/{GUESTS[0]}/{TWO}.key")
        self.assert_extracts(TWO)
        self.assert_status(1, self.recover("verify"), f"{GUESTS[0]}/{TWO}.key", "damaged")

    def test_a_damaged_value_costs_itself_alone(self):
        self.copy()
        self.spoil(f"{_SECRETS}/{ONE}.key")
        self.assertEqual(self.states(), {ONE: "lost", TWO: "good", THREE: "none"})
        self.assert_status(1, self.recover("list"), ONE, "put a good copy")
        self.assert_status(3, self.recover(f"extract {ONE}"), "damaged or was tampered with")
        self.assert_extracts(TWO)

    def test_damaged_generations_cost_the_values(self):
        self.copy()
        self.spoil(f"{_COPY}/etc/libvirt/virtcrypt/generations")
        self.assertEqual(self.states(), {ONE: "lost", TWO: "lost", THREE: "none"})
        self.assert_status(1, self.recover("verify"), "generations", "put a good copy")

    def test_a_damaged_slot_leaves_the_others(self):
        self.told("master add-slot passphrase --label person --passphrase-fd 0", input="many words\n")
        self.copy()
        path = f"{_COPY}/etc/libvirt/virtcrypt/master.slots"
        content = bytearray(self.machine.read(path))
        # The last bytes of the first slot, before the second one's id; the tag is damaged by it, too.
        at = content.index(b"person") - 24
        content[at] ^= 1
        self.machine.write(path, bytes(content))
        done = self.recover(f"extract {ONE} --passphrase-fd 0", input=b"many words\n", text=False)
        self.assertEqual(done.stdout, self.values[ONE], done.stderr)
        self.assert_status(1, self.recover("verify --passphrase-fd 0", input="many words\n"),
                           "master.slots")

    def test_a_store_that_does_not_unlock_is_listed(self):
        self.copy()
        os.unlink(self.machine.path(f"{_COPY}/etc/libvirt/virtcrypt/master.key"))
        done = self.recover("list --json")
        self.assert_status(1, done, "no slot opens")
        self.assertEqual({row["value"] for row in json.loads(done.stdout)}, {"locked", "none"})
        self.assert_status(3, self.recover("verify"), "no slot opens")

    def test_links_and_files_of_others_in_the_way_are_refused(self):
        self.copy()
        self.machine.run(["sh", "-ec", f"mv {_SECRETS} /run/moved && "
                          f"ln -s /run/moved {_SECRETS}"]).check()
        self.assert_status(3, self.recover("list"), "is a symbolic link")
        self.machine.run(["sh", "-ec", f"rm {_SECRETS} && mv /run/moved {_SECRETS} && "
                          f"chown 12345 {_COPY}/etc/libvirt/virtcrypt/master.slots"]).check()
        self.assert_status(1, self.recover("list"), "12345")

    def test_what_a_crashed_daemon_left_in_its_journal_is_there(self):
        self.machine.write("/run/t/value", b"the last words")
        self.told(f"secret-set-value {ONE} --file /run/t/value --plain")
        self.daemon.kill()
        self.values[ONE] = b"the last words"
        self.assert_extracts(ONE, root=None)


class Unlocking(Case):
    def lose_key_file(self):
        os.unlink(self.machine.path(f"{_COPY}/etc/libvirt/virtcrypt/master.key"))

    def test_by_a_key_file_that_is_elsewhere(self):
        self.copy()
        shutil.move(self.machine.path(f"{_COPY}/etc/libvirt/virtcrypt/master.key"),
                    self.machine.path("/run/t/key"))
        self.assert_extracts(ONE, "--key-file /run/t/key")
        os.chmod(self.machine.path("/run/t/key"), 0o644)
        self.assert_status(3, self.recover(f"extract {ONE} --key-file /run/t/key"), "open to others")

    def test_by_a_passphrase_that_is_piped_or_typed(self):
        self.told("master add-slot passphrase --label person --passphrase-fd 0", input="many words\n")
        self.copy()
        self.lose_key_file()
        self.assert_extracts(ONE, "--passphrase-fd 0", input=b"many words\n")
        self.assert_status(3, self.recover("verify --slot person --passphrase-fd 0",
                                           input="other words\n"), "(person)")
        talk = dialogue.Dialogue(self.machine, [_RECOVER, "verify", "--root", _COPY])
        self.addCleanup(talk.__exit__)
        talk.answer("Enter passphrase of the master key", "many words")
        status, said = talk.end()
        self.assertEqual(status, 0, said)

    def test_by_the_recovery_passphrase(self):
        talk = dialogue.Dialogue(self.machine, [_VIRTCRYPT, "master", "add-slot", "recovery"])
        self.addCleanup(talk.__exit__)
        text = _RECOVERY.search(talk.wait_for("Type the recovery passphrase")).group(1)
        talk.answer("Type the recovery passphrase: ", text)
        self.assertEqual(talk.end()[0], 0)
        self.copy()
        self.lose_key_file()
        self.assert_extracts(ONE, "--passphrase-fd 0", input=text.lower().encode() + b"\n")


class Credential(Case):
    def before_the_daemon(self):
        self.machine.write("/run/t/credentials/virtcrypt-master-key", os.urandom(32), mode=0o400)
        self.env = {"CREDENTIALS_DIRECTORY": "/run/t/credentials"}

    def test_by_a_credential(self):
        self.copy()
        self.assertFalse(self.machine.exists("/etc/libvirt/virtcrypt/master.key"))
        self.assert_extracts(ONE)
        self.assert_status(3, self.recover("verify", env={}), "no slot opens")


class Token(Case):
    def before_the_daemon(self):
        folder = "/run/t/token"
        self.machine.write(f"{folder}/conf", f"directories.tokendir = {folder}/tokens\n"
                           "objectstore.backend = file\nlog.level = ERROR\n")
        os.mkdir(self.machine.path(f"{folder}/tokens"))
        self.machine.write(f"{folder}/pin", _PIN + "\n")
        self.env = {"VIRTCRYPT_HELPER_SOFTHSM2_CONF": f"{folder}/conf"}
        tool = {"SOFTHSM2_CONF": f"{folder}/conf"}
        self.machine.run(["softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", _PIN,
                          "--so-pin", "7654321"], env=tool).check()
        self.machine.run(["pkcs11-tool", "--module", _MODULES[0], "--token-label", "lab", "--login",
                          "--pin", _PIN, "--keygen", "--key-type", "AES:32", "--label", "wrapping",
                          "--id", "01", "--sensitive", "--private"], env=tool).check()
        self.uri = f"pkcs11:token=lab;object=wrapping?pin-source={folder}/pin"

    def test_by_a_token(self):
        self.told(f"master add-slot pkcs11 --uri {self.uri}")
        self.copy()
        os.unlink(self.machine.path(f"{_COPY}/etc/libvirt/virtcrypt/master.key"))
        self.assert_extracts(ONE)
        self.machine.run(["rm", "-rf", "/run/t/token/tokens"]).check()
        self.assert_status(3, self.recover("verify"), "no slot opens", "token")


class Tpm(Case):
    def before_the_daemon(self):
        os.makedirs(self.machine.path("/run/t/tpm"))
        self.machine.start("swtpm", [
            "swtpm", "socket", "--tpm2", "--tpmstate", "dir=/run/t/tpm",
            "--server", "type=unixio,path=/run/t/server",
            "--ctrl", "type=unixio,path=/run/t/server.ctrl",
            "--flags", "not-need-init,startup-clear"])
        host.wait_for(lambda: self.machine.exists("/run/t/server") and
                      self.machine.exists("/run/t/server.ctrl"), "swtpm starts")
        self.env = {"VIRTCRYPT_HELPER_TCTI": "swtpm:path=/run/t/server"}

    def test_by_a_tpm(self):
        self.told("master add-slot tpm2 --no-counter")
        self.copy()
        os.unlink(self.machine.path(f"{_COPY}/etc/libvirt/virtcrypt/master.key"))
        self.assert_extracts(ONE)
        self.machine.run(["tpm2_pcrextend", "7:sha256=" + "a5" * 32],
                         env={"TPM2TOOLS_TCTI": "swtpm:path=/run/t/server"}).check()
        self.assert_status(3, self.recover("verify"), "no slot opens")


if __name__ == "__main__":
    taptest.main()
