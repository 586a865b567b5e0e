#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""store backup, restore and verify: a host that is lost comes back on another one from one file and the
recovery passphrase, with guests that start from their encrypted disks."""

import json
import os
import re
import shutil
import unittest

import dialogue
import guest_keys
import guests
import host
import taptest
import virtcrypt

_RECOVERY = re.compile(r"^ +((?:[0-9A-Z]{8}-){7}[0-9A-Z]{8})$", re.M)
_FOLDER = "/etc/libvirt/virtcrypt"
_BACKUP = "/run/t/backup"
_VALUE = "a value, sealed"


def _uuid(number):
    return f"{number:08x}-0000-4000-8000-000000000001"


def add_recovery(case, machine):
    """Returns the passphrase."""
    talk = dialogue.Dialogue(machine, [virtcrypt.PROGRAM, "master", "add-slot", "recovery"])
    case.addCleanup(talk.__exit__)
    text = _RECOVERY.search(talk.wait_for("Type the recovery passphrase")).group(1)
    talk.answer("Type the recovery passphrase: ", text)
    status, said = talk.end()
    case.assertEqual(status, 0, said)
    return text


class NewHost(guest_keys.Case):
    def test_a_guest_starts_on_a_new_host_by_the_recovery_passphrase_alone(self):
        path, secret = self.sent("moved")
        guest = self.uuid_of("moved")
        self.wait_until_owned(guest, secret)
        passphrase = add_recovery(self, self.machine)
        self.assertIn("were backed up", self.told(f"store backup {_BACKUP}"))
        xml = self.virsh("dumpxml", "--inactive", "moved")
        with host.Host() as other:
            other.write(_BACKUP, self.machine.read(_BACKUP))
            other.write("/run/t/moved.xml", xml)
            os.makedirs(other.path(guests.IMAGES), exist_ok=True)
            shutil.copy(self.machine.path(path), other.path(path))
            restore = [virtcrypt.PROGRAM, "store", "restore", _BACKUP, "--passphrase-fd", "0"]
            told = other.run(restore, input=passphrase + "\n").check().stdout
            self.assertIn("copies for guests", told)
            self.assertTrue(other.exists(f"/etc/libvirt/qemu/keys/{guest}/{secret}.key"))
            other.start_secretd()
            status = json.loads(other.run(
                [virtcrypt.PROGRAM, "master", "status", "--json"]).check().stdout)
            self.assertTrue(status["locked"])
            other.run([virtcrypt.PROGRAM, "master", "unlock", "--passphrase-fd", "0"],
                      input=passphrase + "\n").check()
            other.start_virtcryptd()
            other.start_libvirtd(connector=True)
            other.virsh("define", "/run/t/moved.xml").check()
            other.virsh("start", "moved").check()
            self.assertEqual(other.virsh("domstate", "moved").check().stdout.strip(), "running")
            other.virsh("destroy", "moved").check()
            other.run([virtcrypt.PROGRAM, "store", "verify"]).check()


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.daemon = self.machine.start_secretd()
        for number in range(3):
            self.define(number)

    def ours(self, line, **options):
        return self.machine.run([virtcrypt.PROGRAM, *line.split()], **options)

    def told(self, line, **options):
        done = self.ours(line, **options)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def assert_fails(self, line, *errors):
        done = self.ours(line)
        self.assertEqual(done.returncode, 1, f"{line}: {done.stdout}{done.stderr}")
        for error in errors:
            self.assertIn(error, done.stdout + done.stderr)

    def define(self, number, value=_VALUE):
        self.machine.write("/run/t/secret.xml", f"<secret><uuid>{_uuid(number)}</uuid>"
                           f"<usage type='volume'><volume>/v/{number}</volume></usage></secret>")
        self.machine.write("/run/t/value", value)
        self.told("secret-define /run/t/secret.xml")
        self.told(f"secret-set-value {_uuid(number)} --file /run/t/value --plain")

    def value(self, number):
        return self.ours(f"-q secret-get-value {_uuid(number)} --plain").stdout

    def key(self, number):
        return f"/etc/libvirt/secrets/{_uuid(number)}.key"

    def spoil(self, path):
        content = bytearray(self.machine.read(path))
        content[-1] ^= 1
        self.machine.write(path, bytes(content))

    def restart(self):
        self.daemon.stop()
        self.daemon = self.machine.start_secretd()


class Backup(Case):
    def test_no_value_is_in_a_backup_in_clear(self):
        self.told(f"store backup {_BACKUP}")
        content = self.machine.read(_BACKUP)
        self.assertNotIn(_VALUE.encode(), content)
        self.assertNotIn(b"<secret", content)
        self.assertEqual(os.stat(self.machine.path(_BACKUP)).st_mode & 0o7777, 0o600)

    def test_a_backup_takes_the_place_of_an_older_one_and_of_nothing_else(self):
        self.told(f"store backup {_BACKUP}")
        old = self.machine.read(_BACKUP)
        self.machine.write(_BACKUP + ".new", old[:100])
        self.told(f"store backup {_BACKUP}")
        self.assertNotEqual(self.machine.read(_BACKUP), old)
        self.assertFalse(self.machine.exists(_BACKUP + ".new"))
        self.machine.write("/run/t/letter", "Dear Sir or Madam")
        self.assert_fails("store backup /run/t/letter", "is no backup")
        self.assertEqual(self.machine.read("/run/t/letter"), b"Dear Sir or Madam")
        os.symlink("/run/t/elsewhere", self.machine.path("/run/t/link"))
        self.assert_fails("store backup /run/t/link", "is no backup")
        self.assertFalse(self.machine.exists("/run/t/elsewhere"))

    def test_a_failed_backup_leaves_nothing(self):
        self.machine.run(["sh", "-ec", "mkdir /run/full && mount -t tmpfs -o size=4k x /run/full"
                          ]).check()
        for number in range(3, 9):
            self.define(number, "v" * 2000)
        self.assert_fails("store backup /run/full/backup", "No space left")
        self.assertEqual(os.listdir(self.machine.path("/run/full")), [])

    def test_what_can_not_be_in_it_is_named(self):
        self.daemon.stop()
        self.spoil(self.key(1))
        self.machine.write(f"/etc/libvirt/secrets/{_uuid(7)}.xml", "<secret")
        self.daemon = self.machine.start_secretd()
        told = self.told(f"store backup {_BACKUP}")
        self.assertIn(f"not in the backup: {_uuid(1)}: ", told)
        self.assertIn(f"not in the backup: {_uuid(7)}.xml: ", told)

    def test_a_locked_store_is_not_backed_up(self):
        self.daemon.stop()
        shutil.move(self.machine.path(f"{_FOLDER}/master.key"), self.machine.path("/run/t/key"))
        self.daemon = self.machine.start_secretd()
        self.assert_fails(f"store backup {_BACKUP}", "locked")
        self.assertFalse(self.machine.exists(_BACKUP))


class Restore(Case):
    def test_a_running_daemon_is_not_restored_beside(self):
        self.told(f"store backup {_BACKUP}")
        self.assert_fails(f"store restore {_BACKUP} --replace", "is locked by virtcrypt-secretd")

    def test_the_store_goes_back_and_the_one_of_before_is_kept(self):
        self.told(f"store backup {_BACKUP}")
        self.define(0, "changed")
        self.define(9)
        self.daemon.stop_in_order()
        self.assert_fails(f"store restore {_BACKUP}", "--replace")
        self.assertIn("replaced-1", self.told(f"store restore {_BACKUP} --replace"))
        self.assertTrue(self.machine.exists(f"{_FOLDER}/replaced-1/secrets/{_uuid(9)}.key"))
        self.daemon = self.machine.start_secretd()
        # The index of before knew a newer value of it; the restored store has none yet.
        self.assertEqual(self.value(0), _VALUE)
        self.assertEqual(self.value(9), "")
        self.define(0, "changed again")
        self.restart()
        self.assertEqual(self.value(0), "changed again")
        self.told("store verify")

    def test_a_damaged_backup_changes_nothing(self):
        self.told(f"store backup {_BACKUP}")
        self.spoil(_BACKUP)
        self.daemon.stop_in_order()
        self.assert_fails(f"store restore {_BACKUP} --replace", "--salvage restores what is whole")
        self.daemon = self.machine.start_secretd()
        self.assertEqual(self.value(0), _VALUE)

    def test_of_a_backup_that_was_cut_off_what_is_whole_is_restored(self):
        for number in range(10, 13):
            self.define(number, "v" * 60000)
        self.told(f"store backup {_BACKUP}")
        self.assertIn("would be restored", self.told(f"store restore {_BACKUP} --dry-run"))
        self.machine.write(_BACKUP, self.machine.read(_BACKUP)[:-20000])
        self.assert_fails(f"store restore {_BACKUP} --dry-run", "damaged, cut off or was tampered")
        self.assert_fails(f"store restore {_BACKUP} --dry-run --salvage",
                          f"in the backup: secret {_uuid(12)} begins before bytes")
        self.assertEqual(self.value(12), "v" * 60000)
        self.daemon.stop_in_order()
        self.assertIn("replaced-1", self.told(f"store restore {_BACKUP} --replace --salvage"))
        self.daemon = self.machine.start_secretd()
        self.assertEqual((self.value(0), self.value(11), self.value(12)),
                         (_VALUE, "v" * 60000, ""))
        self.told("store verify")
        self.assertIn("a damaged backup with", self.told("audit"))

    def test_a_daemon_on_a_half_restored_store_is_locked_and_says_so(self):
        self.told(f"store backup {_BACKUP}")
        self.daemon.stop_in_order()
        shutil.move(self.machine.path(f"{_FOLDER}/master.slots"),
                    self.machine.path(f"{_FOLDER}/master.slots.restoring"))
        self.daemon = self.machine.start_secretd()
        self.assertIn("restore", self.daemon.log_text())
        self.assertEqual(self.value(0), "")
        self.daemon.stop_in_order()
        self.told(f"store restore {_BACKUP}")
        self.daemon = self.machine.start_secretd()
        self.assertEqual(self.value(0), _VALUE)


class Verify(Case):
    def test_a_good_store_has_no_findings(self):
        self.assertIn("0 problems found", self.told("store verify"))
        self.assertEqual(json.loads(self.told("store verify --json")), [])

    def test_each_damaged_file_is_named(self):
        self.spoil(self.key(1))
        self.machine.write(f"/etc/libvirt/secrets/{_uuid(2)}.xml", "<secret")
        self.spoil(f"{_FOLDER}/master.slots")
        self.spoil(f"{_FOLDER}/generations")
        done = self.ours("store verify --json")
        self.assertEqual(done.returncode, 1)
        found = {finding["file"]: finding["problem"] for finding in json.loads(done.stdout)}
        self.assertEqual(set(found), {_uuid(1), f"{_uuid(2)}.xml", f"{_FOLDER}/master.slots",
                                      f"{_FOLDER}/generations"})
        self.assertIn("put a good copy", found[_uuid(1)])
        self.assertIn("put a good copy", found[f"{_FOLDER}/generations"])

    def test_an_older_file_that_was_put_back_is_named(self):
        old = self.machine.read(self.key(0))
        self.define(0, "newer")
        self.machine.write(self.key(0), old)
        self.assert_fails("store verify", _uuid(0), "older")

    def test_many_secrets_are_checked_in_steps(self):
        for number in range(3, 90):
            self.define(number)
        self.assertIn("182 files were checked", self.told("store verify"))

    def test_only_root_may(self):
        for line in ("store verify", f"store backup {_BACKUP}"):
            done = self.machine.run(["setpriv", "--reuid", "12345", "--clear-groups",
                                     virtcrypt.PROGRAM, "-c", "secret:///system", *line.split()])
            self.assertEqual(done.returncode, 1, done.stdout)


if __name__ == "__main__":
    taptest.main()
