#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Coming from libvirt's own driver and going back to it, with the real one at both ends: values are
the same, and guests start. What libvirt 12.1 encrypts is made and opened by openssl."""

import base64
import json
import os
import subprocess
import unittest
import uuid

import guest
import host
import taptest

_PROGRAM = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_HELPER = {"VIRTCRYPT_UNLOCK_HELPER":
           os.path.join(host.BUILD_ROOT, "src/master/virtcrypt-unlock-helper")}
_SECRETS = "/etc/libvirt/secrets"
_IMAGES = "/var/lib/libvirt/images"
_KEY = bytes(range(32))


def _openssl(direction, iv, data, key=_KEY):
    done = subprocess.run(["openssl", "enc", "-aes-256-cbc", direction, "-K", key.hex(),
                           "-iv", iv.hex()], input=data, stdout=subprocess.PIPE, check=True)
    return done.stdout


def encrypted(value, key=_KEY):
    """As libvirt 12.1 writes it."""
    iv = os.urandom(16)
    return base64.b64encode(iv + _openssl("-e", iv, value, key))


def decrypted(text):
    file = base64.b64decode(text, validate=True)
    return _openssl("-d", file[:16], file[16:])


class _Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.values = {}

    def start_secretd(self, **options):
        return self.machine.start_secretd('value_readback = "any"\n', **options)

    def ours(self, command, *arguments, **options):
        return self.machine.run([_PROGRAM, command, *arguments], env=_HELPER,
                                **options)

    def imported(self, *arguments):
        done = self.ours("store import", "--json", *arguments).check()
        return {entry["file"]: (entry["action"], entry["problem"])
                for entry in json.loads(done.stdout)}

    def export(self, *arguments):
        return self.ours("store export", "--libvirt", *arguments)

    def files(self, folder=_SECRETS):
        return sorted(os.listdir(self.machine.path(folder)))

    def define(self, private="no", usage=None):
        identifier = str(uuid.uuid4())
        self.machine.write("/run/secret.xml", (
            f"<secret ephemeral='no' private='{private}'><uuid>{identifier}</uuid>"
            f"<usage type='volume'><volume>{usage or '/v/' + identifier}</volume></usage></secret>"))
        self.machine.virsh("secret-define", "/run/secret.xml").check()
        return identifier

    def define_value(self, value, **options):
        identifier = self.define(**options)
        self.machine.virsh("secret-set-value", identifier, "--plain", "--file", "/dev/stdin",
                           input=value, text=False).check()
        self.values[identifier] = value
        return identifier

    def assert_values(self):
        for identifier, value in self.values.items():
            done = self.machine.virsh("secret-get-value", identifier).check()
            self.assertEqual(base64.b64decode(done.stdout), value)

    def assert_boots(self, name, times):
        console = f"/var/log/{name}"
        self.machine.virsh("start", name).check()
        wanted = f"{name} (boot {times})".encode()
        host.wait_for(lambda: self.machine.exists(console)
                      and wanted in self.machine.read(console), f"{wanted} on the console")
        self.machine.virsh("destroy", name).check()


class RoundTrip(_Case):
    """libvirtd alone, with virtcrypt, and alone again."""

    def _define_guest(self, name):
        passphrase = base64.b64encode(os.urandom(36))
        disk = f"{_IMAGES}/{name}"
        secret = self.define_value(passphrase, private="yes", usage=disk)
        del self.values[secret] # nobody can read it but by its guest
        guest.make_luks(self.machine, disk, passphrase, guest.disk(name))
        self.machine.write("/run/guest.xml",
                           guest.domain_xml(name, disk, "raw", secret, f"/var/log/{name}"))
        self.machine.virsh("define", "/run/guest.xml").check()
        return secret, passphrase

    def _come(self):
        libvirtd = self.machine.start_libvirtd()
        for value in (b"plain", os.urandom(33), b"\0" * 16):
            self.define_value(value)
        self.define()
        private = self._define_guest("web1")
        self.assert_values()
        self.assert_boots("web1", 1)
        libvirtd.stop_in_order()
        return private

    def _use(self, boots):
        secretd = self.start_secretd()
        virtcryptd = self.machine.start_virtcryptd()
        libvirtd = self.machine.start_libvirtd(connector=True)
        self.assertEqual([name for name in self.files() if name.endswith(".base64")], [])
        self.define_value(b"set by virtcrypt")
        self.assert_values()
        self.assert_boots("web1", boots)
        # virtcryptd, which was there first, tries to reach libvirtd at longer and longer intervals.
        one = next(iter(self.values))
        host.wait_for(lambda: self.ours("key-bind", one, "web1").returncode == 0, "a key is bound",
                      interval=0.2)
        return libvirtd, virtcryptd, secretd

    def test_values_and_guests_are_the_same_there_and_back(self):
        secret, passphrase = self._come()
        libvirtd, virtcryptd, secretd = self._use(2)
        busy = self.export()
        self.assertEqual(busy.returncode, 1)
        self.assertIn(f"process {secretd.pid}", busy.stderr)
        for daemon in (libvirtd, virtcryptd, secretd):
            daemon.stop_in_order()
        before = self.files("/etc/libvirt/virtcrypt")
        done = self.export().check()
        self.assertRegex(done.stdout, r"^6 definitions and 5 values were written to "
                         "/etc/libvirt/secrets, the values in clear, and read back")
        self.assertIn("docs/leaving.md", done.stdout)
        self.assertIn("seals and wipes what is in /etc/libvirt/secrets", done.stdout)
        # What is ours is still there.
        self.assertLessEqual(set(before), set(self.files("/etc/libvirt/virtcrypt")))
        self.assertEqual(base64.b64decode(self.machine.read(f"{_SECRETS}/{secret}.base64")),
                         passphrase)
        mode = os.stat(self.machine.path(f"{_SECRETS}/{secret}.base64")).st_mode
        self.assertEqual(mode & 0o7777, 0o600)
        libvirtd = self.machine.start_libvirtd()
        self.assert_values()
        self.assert_boots("web1", 3)
        # And forward again: what is sealed already is wiped, what was set meanwhile counts.
        changed = next(identifier for identifier, value in self.values.items()
                       if value == b"set by virtcrypt")
        self.values[changed] = b"set by libvirt"
        self.machine.virsh("secret-set-value", changed, "--plain", "--file", "/dev/stdin",
                           input=b"set by libvirt", text=False).check()
        libvirtd.stop_in_order()
        self._use(4)
        self.assertEqual([name for name in self.files() if name.endswith(".base64")], [])


class Export(_Case):
    """Offline, by the files alone."""

    def setUp(self):
        super().setUp()
        secretd = self.start_secretd()
        libvirtd = self.machine.start_libvirtd(connector=True)
        self.one = self.define_value(b"first")
        self.other = self.define_value(os.urandom(48), private="yes")
        libvirtd.stop_in_order()
        secretd.stop_in_order()

    def test_another_folder_gets_everything_and_ours_nothing(self):
        before = self.files()
        said = self.export("/run/t/out").check().stdout
        self.assertIn("Nothing wipes what is in /run/t/out", said)
        self.assertEqual(self.files(), before)
        self.assertEqual(self.files("/run/t/out"), sorted(
            f"{identifier}.{suffix}" for identifier in self.values for suffix in ("base64", "xml")))
        for identifier, value in self.values.items():
            text = self.machine.read(f"/run/t/out/{identifier}.base64")
            self.assertEqual(text, base64.b64encode(value))
            self.assertEqual(self.machine.read(f"/run/t/out/{identifier}.xml"),
                             self.machine.read(f"{_SECRETS}/{identifier}.xml"))
        # Once more finds it all there.
        self.export("/run/t/out").check()
        audit = [json.loads(line) for line in
                 self.machine.read("/var/lib/libvirt/virtcrypt/audit.log").splitlines()]
        self.assertEqual({entry["secret"] for entry in audit if entry["event"] == "export"},
                         set(self.values))

    def test_values_are_encrypted_as_libvirt_does(self):
        self.machine.write("/run/t/key", _KEY)
        self.export("/run/t/out", "--aes256cbc", "--key", "/run/t/key").check()
        for identifier, value in self.values.items():
            self.assertEqual(decrypted(self.machine.read(f"/run/t/out/{identifier}.aes256cbc")),
                             value)
            self.assertFalse(self.machine.exists(f"/run/t/out/{identifier}.base64"))

    def test_a_key_is_of_the_right_length_and_asked_for(self):
        self.machine.write("/run/t/key", _KEY + b"\n")
        for arguments, text in ((("--aes256cbc", "--key", "/run/t/key"), "has 33 bytes"),
                                (("--aes256cbc",), "need one another"),
                                (("--key", "/run/t/key"), "need one another")):
            done = self.export("/run/t/out", *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn(text, done.stderr)
        self.assertFalse(self.machine.exists("/run/t/out"))

    def test_what_is_in_the_way_is_not_replaced_and_nothing_is_written(self):
        self.machine.write(f"/run/t/out/{self.other}.base64", b"b3RoZXI=")
        done = self.export("/run/t/out")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{self.other}.base64 is in the way in /run/t/out", done.stderr)
        self.assertEqual(self.files("/run/t/out"), [f"{self.other}.base64"])
        self.assertEqual(self.machine.read(f"/run/t/out/{self.other}.base64"), b"b3RoZXI=")

    def test_a_lost_value_is_named_and_left_out_only_if_that_is_asked_for(self):
        self.machine.write(f"{_SECRETS}/{self.one}.key", b"damaged")
        done = self.export("/run/t/out")
        self.assertEqual(done.returncode, 1)
        self.assertIn(self.one, done.stderr)
        self.assertIn("--skip-lost", done.stderr)
        self.assertFalse(self.machine.exists("/run/t/out"))
        self.export("/run/t/out", "--skip-lost").check()
        self.assertEqual(self.files("/run/t/out"), [f"{self.other}.base64", f"{self.other}.xml"])

    def test_a_full_disk_leaves_nothing_behind(self):
        self.machine.run(["mkdir", "-p", "/run/t/small"]).check()
        self.machine.run(["mount", "-t", "tmpfs", "-o", "size=8k,nr_inodes=100", "small",
                          "/run/t/small"]).check()
        done = self.export("/run/t/small/out")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("No space left on device", done.stderr)
        self.assertEqual(self.files("/run/t/small/out"), [])


class Import(_Case):
    """`virtcrypt store import`, of a host that libvirt 12.1 kept."""

    def setUp(self):
        super().setUp()
        libvirtd = self.machine.start_libvirtd()
        self.clear = self.define_value(b"in clear")
        self.encrypted = self.define_value(b"encrypted")
        self.foreign = self.define_value(b"under another key")
        libvirtd.stop_in_order()
        for identifier, key in ((self.encrypted, _KEY), (self.foreign, bytes(32))):
            os.unlink(self.machine.path(f"{_SECRETS}/{identifier}.base64"))
            self.machine.write(f"{_SECRETS}/{identifier}.aes256cbc",
                               encrypted(self.values[identifier], key))
        del self.values[self.foreign]

    def test_the_start_takes_over_what_the_key_of_secret_conf_opens(self):
        self.machine.write("/run/keys/libvirt", _KEY)
        self.machine.write("/etc/libvirt/secret.conf",
                           'secrets_encryption_key = "/run/keys/libvirt"\n')
        self.start_secretd()
        self.machine.start_libvirtd(connector=True)
        self.assert_values()
        self.assertEqual([name for name in self.files() if not name.endswith((".xml", ".key"))],
                         [f"{self.foreign}.aes256cbc"])
        left = self.imported()
        self.assertEqual(list(left), [f"{self.foreign}.aes256cbc"])
        self.assertEqual(left[f"{self.foreign}.aes256cbc"][0], "keep")
        self.assertIn("it is another key, or the file is damaged",
                      left[f"{self.foreign}.aes256cbc"][1])

    def test_an_import_is_tried_and_then_done_once_the_key_is_there(self):
        self.start_secretd()
        self.machine.start_libvirtd(connector=True)
        name = f"{self.encrypted}.aes256cbc"
        action, problem = self.imported("--dry-run")[name]
        self.assertEqual(action, "keep")
        self.assertIn("libvirt's key is not known", problem)
        # A folder that the daemon's sandbox has open; any other path is to be there at its start.
        self.machine.write("/etc/libvirt/key", _KEY)
        self.machine.write("/etc/libvirt/secret.conf",
                           'secrets_encryption_key = "/etc/libvirt/key"\n')
        self.assertEqual(self.imported("--dry-run")[name], ("import", None))
        self.assertTrue(self.machine.exists(f"{_SECRETS}/{name}"))
        self.assertEqual(self.imported()[name], ("import", None))
        self.assertFalse(self.machine.exists(f"{_SECRETS}/{name}"))
        self.assert_values()

    def test_the_credential_of_systemd_is_libvirts_key(self):
        self.machine.write("/run/credentials/secrets-encryption-key", _KEY)
        self.start_secretd(env={"CREDENTIALS_DIRECTORY": "/run/credentials"})
        self.machine.start_libvirtd(connector=True)
        self.assert_values()

    def test_only_root_may_import(self):
        self.start_secretd()
        done = self.machine.run(["setpriv", "--reuid", "nobody", "--clear-groups", _PROGRAM,
                                 "-c", "secret:///system", "store import"])
        self.assertEqual(done.returncode, 1)
        text = self.ours("store import").check().stdout
        self.assertRegex(text, rf"{self.foreign}.aes256cbc +keep +")
        self.assertRegex(text, r"0 files were sealed and wiped, 2 are kept")


if __name__ == "__main__":
    taptest.main()
