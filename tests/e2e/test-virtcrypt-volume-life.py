#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt's commands for volumes that are there, judged by stock virsh, qemu-img and cryptsetup."""

import re
import unittest

import guest
import taptest
import virtcrypt
import volumes

_POOL = volumes.POOL


class Life(virtcrypt.Case):
    def make(self, name, more=""):
        self.told(f"vol-create {_POOL} {name} 4M {more}")
        return self.info(name)

    def test_a_clone_has_the_same_secret_and_says_so(self):
        info = self.make("source")
        done = self.ours("vol-clone", "source", "clone", _POOL).check()
        self.assertEqual(done.stdout, "Vol clone cloned from source\n\n")
        self.assertIn("warning: ", done.stderr)
        self.assertIn(f"virtcrypt vol-rekey clone --pool {_POOL}", done.stderr)
        self.assertEqual(self.info("clone")["secret"], info["secret"])

    def test_a_clone_can_have_a_key_of_its_own(self):
        info = self.make("source2")
        self.told(f"vol-clone {self.path('source2')} own --new-key")
        self.assertNotEqual(self.info("own")["secret"], info["secret"])
        self.assertTrue(self.info("own")["secret-is-generated"])

    def test_a_clone_can_be_in_another_format(self):
        self.make("source3")
        self.told(f"vol-clone source3 other {_POOL} --format qcow2 --new-key")
        self.assertEqual(self.info("other")["encryption"], "qcow2")

    def test_a_clone_is_cleartext_only_on_demand(self):
        self.make("source4")
        content = b"content".ljust(4 << 20, b".")
        self.machine.write("/run/t/content", content)
        key = volumes.key_of(self.machine, self.info("source4")["secret"])
        self.machine.run(["qemu-img", "convert", "-n", "--object", "secret,id=key,file=/dev/stdin",
                          "-f", "raw", "--target-image-opts", "/run/t/content",
                          volumes.options(self.path("source4"), "raw")], input=key,
                         text=False).check()
        done = self.ours("vol-clone", "source4", "clear", _POOL, "--decrypt").check()
        self.assertIn("warning: volume 'clear' is not encrypted", done.stderr)
        self.assertEqual(self.machine.read(self.path("clear")), content)
        self.assert_fails(f"vol-info clear {_POOL}", "failed to get vol 'clear'")

    def test_a_volume_without_encryption_is_encrypted_by_cloning_it(self):
        content = b"plain text".ljust(1 << 20, b".")
        self.machine.virsh("vol-create-as", _POOL, "plain", "1M").check()
        self.machine.write(self.path("plain"), content)
        self.told(f"vol-clone plain secret {_POOL}")
        self.assertTrue(self.info("secret")["secret-is-generated"])
        self.assertNotIn(b"plain text", self.machine.read(self.path("secret")))
        key = volumes.key_of(self.machine, self.info("secret")["secret"])
        self.machine.run(["qemu-img", "convert", "--object", "secret,id=key,file=/dev/stdin",
                          "--image-opts", volumes.options(self.path("secret"), "raw"), "-O", "raw",
                          "/run/t/clear"], input=key, text=False).check()
        self.assertEqual(self.machine.read("/run/t/clear"), content)

    def test_a_new_key_takes_the_place_of_the_old_one(self):
        info = self.make("rekeyed")
        old = volumes.key_of(self.machine, info["secret"])
        self.assertEqual(self.told(f"vol-rekey rekeyed {_POOL}"), "Vol rekeyed re-keyed\n\n")
        new = self.info("rekeyed")["secret"]
        self.assertTrue(self.opens("rekeyed", volumes.key_of(self.machine, new)))
        self.assertFalse(self.opens("rekeyed", old))
        if new != info["secret"]:
            self.assertNotIn(info["secret"], self.secrets())

    def test_sizes_change_as_virsh_changes_them(self):
        self.make("sized")
        for arguments, said, mib in (("8M", "to 8M", 8), ("1M --delta", "by 1M", 9),
                                     ("4M --shrink", "to 4M", 4), ("--shrink -- -1M", "by 1M", 3)):
            with self.subTest(arguments):
                self.assertEqual(
                    self.told(f"vol-resize --vol sized --pool {_POOL} {arguments}"),
                    f"Size of volume 'sized' successfully changed {said}\n\n")
                self.assertEqual(self.info("sized")["capacity"], mib << 20)
        self.assert_fails(f"vol-resize sized 1M {_POOL}", "Failed to change size of volume 'sized' "
                          "to 1M", "unless shrink flag explicitly specified")
        self.assert_fails(f"vol-resize --vol sized --pool {_POOL} -- -1M",
                          "negative size requires --shrink")

    def test_a_wiped_volume_is_empty_and_has_its_secret(self):
        info = self.make("wiped")
        before = self.machine.read(self.path("wiped"))
        self.assertEqual(self.told(f"vol-wipe wiped {_POOL}"), "Vol wiped wiped\n\n")
        self.assertNotEqual(self.machine.read(self.path("wiped"))[:4096], before[:4096])
        self.assertEqual(self.info("wiped")["secret"], info["secret"])
        self.assertTrue(self.opens("wiped", volumes.key_of(self.machine, info["secret"])))
        self.assert_fails(f"vol-wipe wiped {_POOL} --algorithm nosuch",
                          "Unsupported algorithm 'nosuch'")

    def test_a_deleted_volume_takes_its_secret_along(self):
        info = self.make("deleted")
        self.assertIn(info["secret"], self.secrets())
        self.assertEqual(self.told(f"vol-delete deleted {_POOL}"), "Vol deleted deleted\n\n")
        self.assertNotIn(info["secret"], self.secrets())
        self.assertFalse(self.machine.exists(self.path("deleted")))
        self.assert_fails(f"vol-delete deleted {_POOL}", "failed to get vol 'deleted'")

    def test_a_volume_of_cryptsetup_is_adopted(self):
        path = self.path("foreign")
        guest.make_luks(self.machine, path, virtcrypt.KEY.encode(), b"content".ljust(512))
        before = self.machine.read(path)
        self.assert_fails(f"vol-adopt {_POOL} foreign", "either --key or --secret is required")
        self.assert_fails(f"vol-adopt {_POOL} foreign --key /run/t/wrong",
                          "Failed to adopt vol foreign")
        self.assert_fails(f"vol-info foreign {_POOL}", "failed to get vol 'foreign'")
        self.assertEqual(self.told(f"vol-adopt {_POOL} foreign --key /run/t/key"),
                         "Vol foreign adopted\n\n")
        self.assertEqual(self.machine.read(path), before)
        self.assertEqual(volumes.key_of(self.machine, self.info("foreign")["secret"]),
                         virtcrypt.KEY.encode())

    def test_only_dm_crypt_volumes_are_opened(self):
        self.make("image")
        self.assert_fails(f"vol-open image {_POOL}", "Failed to open vol image",
                          "is no dm-crypt volume")
        self.assertEqual(self.told("vol-close --all"), "\n")
        self.assert_fails("vol-close", "requires <vol> option, or --all")
        self.assert_fails(f"vol-close image {_POOL} --all", "mutually exclusive")


class Attach(virtcrypt.Case):
    """To guests, through libvirt; a dm-crypt volume is one of tests/vm."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine.write("/var/lib/libvirt/images/g", guest.disk("g").ljust(1 << 20, b"\0"))
        xml = guest.domain_xml("g", "/var/lib/libvirt/images/g", "raw", "x", "/var/log/g")
        cls.machine.write("/run/g.xml", re.sub(r"<encryption.*?</encryption>", "", xml, flags=re.S))
        cls.machine.virsh("define", "/run/g.xml").check()
        cls.machine.virsh("start", "g").check()

    def disks(self, *more):
        return self.machine.virsh("domblklist", "g", *more).check().stdout

    def test_an_image_is_attached_to_a_running_guest(self):
        self.told(f"vol-create {_POOL} live 4M")
        self.assertEqual(self.told(f"guest-attach-volume g live {_POOL} --serial s1"),
                         "Disk attached successfully\n\n")
        self.assertRegex(self.disks(), rf"vdb +{self.path('live')}\n")
        self.assertNotIn("live", self.disks("--inactive"))
        self.machine.virsh("detach-disk", "g", "vdb").check()

    def test_an_image_is_attached_for_the_next_start(self):
        self.told(f"vol-create {_POOL} next 4M --format qcow2")
        self.told(f"guest-attach-volume g next {_POOL} --config --target vdx")
        self.assertRegex(self.disks("--inactive"), rf"vdx +{self.path('next')}\n")
        self.assertNotIn("next", self.disks())

    def test_what_fails_is_said(self):
        self.told(f"vol-create {_POOL} fails 4M")
        self.assert_fails(f"guest-attach-volume nosuch fails {_POOL}",
                          "failed to get domain 'nosuch'")
        self.assert_fails(f"guest-attach-volume g nosuch {_POOL}", "failed to get vol 'nosuch'")
        self.assert_fails(f"guest-attach-volume g fails {_POOL} --target vda",
                          "Failed to attach disk", "vda")
        self.assert_fails(f"guest-attach-volume g fails {_POOL} --live --current",
                          "mutually exclusive")

    def test_the_disks_xml_can_be_looked_at_first(self):
        self.told(f"vol-create {_POOL} looked 4M")
        xml = self.told(f"guest-attach-volume g looked {_POOL} --print-xml --readonly")
        self.assertIn(f"uuid='{self.info('looked')['secret']}'", xml)
        self.assertIn("<readonly/>", xml)


class WithoutLibvirtd(virtcrypt.Case):
    with_libvirtd = False

    def test_a_volume_is_made_with_a_note(self):
        done = self.ours("vol-create", _POOL, "alone", "1M").check()
        self.assertEqual(done.stdout, "Vol alone created\n\n")
        self.assertRegex(done.stderr, rf"\Anote: libvirt did not look at the pool '{_POOL}' again: "
                                      rf".*'virsh pool-refresh {_POOL}' makes it\n\Z")

    def test_a_guest_needs_libvirt(self):
        self.told(f"vol-create {_POOL} alone2 1M")
        self.assert_fails(f"guest-attach-volume g alone2 {_POOL}", "failed to connect to libvirt")


if __name__ == "__main__":
    taptest.main()
