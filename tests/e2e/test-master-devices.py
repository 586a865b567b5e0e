#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The custodian with slots on devices: it unlocks itself at its start by a TPM or a token, says what
changed when it can't, and tries the next slot.
"""

import json
import os
import shutil
import tempfile
import unittest

import devices
import host
import taptest

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_SECRETD = os.path.join(host.BUILD_ROOT, "src/secret/virtcrypt-secretd")
_KEY_FILE = "/etc/libvirt/virtcrypt/master.key"
_KEYS = "/run/keys"  # where other key files may be
_CONFIG = f'unlock_timeout = 60\nsandbox_paths = [ "{_KEYS}" ]\n'


class Devices(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="virtcrypt-devices-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def start(self, environment):
        """The daemon is told where devices are by who starts it, and by nobody else."""
        self.environment = {f"VIRTCRYPT_HELPER_{name}": value
                            for name, value in environment.items()}
        self.machine.write(f"{_KEYS}/none", "")
        self.daemon = self.machine.start_secretd(_CONFIG, env=self.environment)

    def start_again(self):
        self.daemon.stop()
        self.daemon = self.machine.start_secretd(_CONFIG, env=self.environment)

    def told(self, *words, **options):
        done = self.machine.run([_VIRTCRYPT, *words], **options)
        self.assertEqual(0, done.returncode, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def status(self):
        """The daemon answers when it has tried its slots."""
        return json.loads(self.told("master", "status", "--json"))

    def problem_of(self, method):
        return next(slot["problem"] for slot in self.status()["slots"] if slot["method"] == method)

    def make_slot(self, *words):
        """In place of the key file."""
        self.told("master", "add-slot", *words)
        self.told("master", "remove-slot", next(
            slot["uuid"] for slot in self.status()["slots"] if slot["method"] == "key-file"))
        self.assertFalse(self.machine.exists(_KEY_FILE))

    def start_with_tpm(self):
        tpm = devices.Swtpm(self.folder)
        self.addCleanup(tpm.stop)
        tpm.start()
        tpm.extend(7)
        self.start(tpm.environment)
        return tpm

    def test_a_tpm_unlocks_at_the_start_until_its_pcr_changes(self):
        tpm = self.start_with_tpm()
        self.make_slot("tpm2")
        self.start_again()
        self.assertFalse(self.status()["locked"])
        tpm.extend(7)
        self.start_again()
        self.assertTrue(self.status()["locked"])
        self.assertIn("PCR 7 changed since the slot was made", self.problem_of("tpm2"))

    def test_a_cleared_tpm_leaves_the_passphrase(self):
        tpm = self.start_with_tpm()
        self.told("master", "add-slot", "passphrase", "--passphrase-fd", "0",
                  input="a good passphrase\n")
        self.make_slot("tpm2")
        tpm.tool("tpm2_clear")
        self.start_again()
        self.assertTrue(self.status()["locked"])
        self.assertIn("the TPM was cleared", self.problem_of("tpm2"))
        self.told("master", "unlock", "--passphrase-fd", "0", input="a good passphrase\n")
        self.assertFalse(self.status()["locked"])

    def test_a_rotation_seals_the_new_key_and_keeps_the_counter(self):
        tpm = self.start_with_tpm()
        self.make_slot("tpm2")
        before = self.status()
        self.told("master", "rotate")
        host.wait_for(lambda: not self.status()["rotating"], "the rotation ends")
        self.start_again()
        after = self.status()
        self.assertFalse(after["locked"])
        self.assertNotEqual(before["key-id"], after["key-id"])
        counter = before["slots"][0]["parameters"]["counter"]
        self.assertEqual(counter, after["slots"][0]["parameters"]["counter"])
        self.assertIn(f"{int(counter):#x}", tpm.tool("tpm2_getcap", "handles-nv-index").lower())

    def counters(self, tpm):
        return tpm.tool("tpm2_getcap", "handles-nv-index").lower()

    def test_a_rotation_that_fails_leaves_the_counter(self):
        tpm = self.start_with_tpm()
        self.told("master", "add-slot", "tpm2", "--label", "chip")
        self.told("master", "add-slot", "passphrase", "--passphrase-fd", "0",
                  input="a good passphrase\n")
        counters = self.counters(tpm)
        self.assertIn("0x18056", counters)
        done = self.machine.run([_VIRTCRYPT, "master", "rotate", "--passphrase-fd", "0"],
                                input="another passphrase\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing was changed", done.stderr)
        self.assertEqual(self.counters(tpm), counters)
        self.start_again()
        self.assertIsNone(self.status()["rollback"])

    def test_a_slot_that_can_not_be_written_leaves_nothing_behind(self):
        tpm = self.start_with_tpm()
        self.daemon.stop()
        self.machine.run(["mount", "-o", "remount,ro", "/etc/libvirt"]).check()
        self.daemon = self.machine.start("virtcrypt-secretd", [_SECRETD], host.SECRETD_SOCKET,
                                         self.environment)
        for words in (("tpm2",), ("key-file", "--path", f"{_KEYS}/stick")):
            done = self.machine.run([_VIRTCRYPT, "master", "add-slot", *words])
            self.assertEqual(done.returncode, 1)
            self.assertIn("Read-only file system", done.stderr)
        self.assertNotIn("0x18056", self.counters(tpm))
        self.assertEqual(os.listdir(self.machine.path(_KEYS)), ["none"])

    def test_a_token_unlocks_at_the_start_while_it_is_there(self):
        hsm = devices.SoftHsm(self.folder)
        hsm.make_token("lab")
        hsm.make_key("lab", "wrapping", "01")
        self.machine.write("/etc/libvirt/virtcrypt/pin", hsm.PIN + "\n", 0o600)
        self.start(hsm.environment)
        self.make_slot("pkcs11", "--uri", "pkcs11:token=lab;object=wrapping"
                                          "?pin-source=/etc/libvirt/virtcrypt/pin")
        self.start_again()
        self.assertFalse(self.status()["locked"])
        hsm.remove_token("lab")
        self.start_again()
        self.assertTrue(self.status()["locked"])
        self.assertIn("no token fits", self.problem_of("pkcs11"))


if __name__ == "__main__":
    taptest.main()
