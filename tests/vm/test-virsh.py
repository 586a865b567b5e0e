#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock virsh on dm-crypt volumes, through the storage connector, in a folder pool and in a logical
pool; pools with a policy; and volumes and pools that are none of ours."""

import unittest

import host
import taptest
import vmhost

_LUKS2 = "<encryption format='luks2' engine='dm-crypt'/>"
_SECTOR = (b"virtcrypt-pattern-" + b"0123456789abcdef" * 30).ljust(512, b".")


class _Pool(vmhost.VmHostMixin):
    """Each call of virsh on one volume of self.pool; cases depend on none but what they make, and
    leave that to end with the machine, where its deletion shows nothing new."""

    def setUp(self):
        self.name = self.id().split(".test_")[1][:24]

    def virsh(self, *words):
        return self.machine.virsh(*words)

    def create(self, size=8, name=None):
        self.machine.create_volume(self.pool, name or self.name, _LUKS2, size, "virsh").check()

    def names(self):
        listed = self.virsh("vol-list", self.pool).check().stdout
        return [line.split()[0] for line in listed.splitlines()[2:] if line.strip()]

    def delete(self, name=None):
        self.virsh("vol-delete", name or self.name, self.pool).check()

    def download(self, name=None):
        self.virsh("vol-download", name or self.name, "/run/down", self.pool, "--offset", "0",
                   "--length", "512").check()
        return self.machine.read("/run/down")

    def upload(self):
        self.machine.write("/run/up", _SECTOR)
        self.virsh("vol-upload", self.name, "/run/up", self.pool).check()

    def test_vol_create_makes_one_that_is_listed_under_its_name_alone(self):
        before = self.names()
        secrets = self.machine.secrets()
        self.create()
        self.assertEqual(sorted(self.names()), sorted(before + [self.name]))
        self.assertEqual(len(self.machine.secrets()), len(secrets) + 1)
        self.virsh("pool-refresh", self.pool).check()
        self.assertEqual(sorted(self.names()), sorted(before + [self.name]))
        self.delete()
        self.assertEqual(sorted(self.names()), sorted(before))
        self.assertEqual(self.machine.secrets(), secrets)
        self.assertFalse(self.machine.exists(self.ciphertext(self.pool, self.name)))

    def test_vol_info_and_vol_dumpxml_say_what_it_is(self):
        self.create()
        info = self.virsh("vol-info", self.name, self.pool).check().stdout
        self.assertRegex(info, r"Type: +block")
        self.assertRegex(info, r"Capacity: +8\.00 MiB")
        xml = self.virsh("vol-dumpxml", self.name, self.pool).check().stdout
        self.assertRegex(xml, "<encryption format=['\"]luks2['\"] engine=['\"]dm-crypt['\"]")
        self.assertRegex(xml, r"<secret type=['\"]passphrase['\"] uuid=['\"][0-9a-f-]{36}")
        self.assertRegex(xml, r"<capacity unit=['\"]bytes['\"]>8388608<")

    def test_vol_path_is_stable_and_leads_back_to_the_volume(self):
        self.create()
        path = self.virsh("vol-path", self.name, self.pool).check().stdout.strip()
        self.assertEqual(path, f"/dev/virtcrypt/{self.pool}/{self.name}")
        self.assertEqual(self.virsh("vol-name", path).check().stdout.strip(), self.name)
        self.assertEqual(self.virsh("vol-pool", path).check().stdout.strip(), self.pool)

    def test_vol_upload_and_vol_download_pass_cleartext_and_store_ciphertext(self):
        self.create()
        self.upload()
        self.assertEqual(self.download(), _SECTOR)
        self.assertEqual(self.machine.run(["grep", "-c", "virtcrypt-pattern",
                                           self.ciphertext(self.pool, self.name)]).stdout, "0\n")
        # Nothing stays open for a stream that has ended, which is closed behind its answer.
        host.wait_for(lambda: self.name not in self.machine.run(
            ["dmsetup", "ls", "--target", "crypt"]).check().stdout, "the volume is closed")

    def test_vol_resize_makes_it_larger(self):
        self.create()
        self.upload()
        self.virsh("vol-resize", self.name, "16M", self.pool).check()
        self.assertRegex(self.virsh("vol-info", self.name, self.pool).stdout,
                         r"Capacity: +16\.00 MiB")
        self.assertEqual(self.download(), _SECTOR)

    def test_vol_clone_is_encrypted_with_the_same_contents(self):
        self.create()
        self.upload()
        clone = self.name + "-2"
        self.virsh("vol-clone", self.name, clone, self.pool).check()
        self.assertEqual(self.download(clone), _SECTOR)
        self.assertIn("dm-crypt", self.virsh("vol-dumpxml", clone, self.pool).stdout)
        self.assertEqual(self.machine.run(["grep", "-c", "virtcrypt-pattern",
                                           self.ciphertext(self.pool, clone)]).stdout, "0\n")
        self.delete()
        self.assertEqual(self.download(clone), _SECTOR)
        self.delete(clone)

    def test_vol_wipe_leaves_nothing_to_read(self):
        self.create()
        self.upload()
        self.virsh("vol-wipe", self.name, self.pool).check()
        self.assertNotIn(b"virtcrypt-pattern", self.download())

    def test_a_volume_that_is_not_encrypted_is_as_before(self):
        self.virsh("vol-create-as", self.pool, self.name, "8M").check()
        path = self.virsh("vol-path", self.name, self.pool).check().stdout.strip()
        self.assertEqual(path, f"{vmhost.CONTAINERS[self.pool]}/{self.name}")
        self.upload()
        self.assertEqual(self.machine.run(["head", "-c", "18", path]).stdout, "virtcrypt-pattern-")
        self.delete()
        self.assertFalse(self.machine.exists(path))

    def test_a_policy_encrypts_what_is_made_without_encryption(self):
        """What virt-manager predicts: the path below the pool's target is the opened device."""
        self.machine.virtcrypt("pool-policy", self.pool, "--encrypt", "dm-crypt").check()
        try:
            self.virsh("vol-create-as", self.pool, self.name, "8M").check()
            path = f"{vmhost.CONTAINERS[self.pool]}/{self.name}"
            self.assertEqual(self.virsh("vol-path", self.name, self.pool).check().stdout.strip(),
                             path)
            self.upload()
            self.assertEqual(self.machine.run(["grep", "-c", "virtcrypt-pattern",
                                               self.ciphertext(self.pool, self.name)]).stdout,
                             "0\n")
            self.machine.virtcrypt("vol-open", self.name, "--pool", self.pool).check()
            self.assertEqual(self.machine.run(["head", "-c", "18", path]).stdout,
                             "virtcrypt-pattern-")
            self.machine.virtcrypt("vol-close", self.name, "--pool", self.pool).check()
            self.delete()
        finally:
            self.machine.virtcrypt("pool-policy", self.pool, "--encrypt", "none").check()


def setUpModule():
    _Pool.machine = vmhost.start_host()
    unittest.addModuleCleanup(_Pool.machine.close)


class InAFolder(_Pool, unittest.TestCase):
    pool = "dir"


class OnLogicalVolumes(_Pool, unittest.TestCase):
    pool = "lv"


if __name__ == "__main__":
    taptest.main()
