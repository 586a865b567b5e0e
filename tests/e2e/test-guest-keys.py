#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of keys when stock virsh defines, runs, saves, renames, changes and undefines the guests
that use them."""

import shutil

import guest_keys
import guests
import host
import taptest
from guest_keys import POOL


class Life(guest_keys.Case):
    """With the default delay of an hour: nothing is erased or orphaned here."""

    def test_a_generated_key_belongs_to_the_guest_that_uses_its_volume(self):
        path, secret = self.volume("generated")
        self.assertTrue(self.machine.exists(f"/etc/libvirt/secrets/{secret}.key"))
        uuid = self.define("generated", [path])
        self.wait_until_owned(uuid, secret)
        # It goes when the guest's copy is there.
        host.wait_for(lambda: not self.machine.exists(f"/etc/libvirt/secrets/{secret}.key"),
                      "the secret's own copy is gone")
        self.start("generated")

    def test_a_guest_that_names_pool_and_volume_owns_the_key(self):
        _, secret = self.volume("bypool")
        self.machine.write("/run/t/bypool.xml", guests.domain_xml(
            "bypool", [("vda", "X", "qcow2", secret)]).replace("type='file'", "type='volume'")
            .replace("<source file='X'>", f"<source pool='{POOL}' volume='bypool'>"))
        self.virsh("define", "/run/t/bypool.xml")
        self.addCleanup(self.forget, "bypool")
        self.wait_until_owned(self.uuid_of("bypool"), secret)

    def test_an_undefined_guests_key_waits_and_redefining_it_cancels(self):
        path, secret = self.volume("again")
        uuid = self.define("again", [path])
        self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "again")
        self.wait_for_state(uuid, secret, "waiting")
        self.assertIsNotNone(self.key(uuid, secret)["erase-at"])
        self.assertIn("was undefined", self.key(uuid, secret)["reason"])
        self.define("again", [path], uuid=uuid)
        self.wait_for_state(uuid, secret, "bound")
        self.assertIsNone(self.key(uuid, secret)["erase-at"])
        self.start("again")

    def test_another_guest_with_the_same_volume_takes_the_key_over(self):
        path, secret = self.volume("taken")
        old = self.define("old", [path])
        self.wait_until_owned(old, secret)
        self.virsh("undefine", "old")
        self.wait_for_state(old, secret, "waiting")
        new = self.define("new", [path])
        self.wait_until_owned(new, secret)
        self.start("new")

    def test_two_guests_have_a_copy_each(self):
        path, secret = self.volume("shared")
        both = [self.define(name, [path]) for name in ("both-1", "both-2")]
        for uuid in both:
            self.wait_until_owned(uuid, secret)
        content = [self.machine.read(f"/etc/libvirt/qemu/keys/{uuid}/{secret}.key") for uuid in both]
        self.assertNotEqual(content[0], content[1])

    def test_a_renamed_guest_keeps_its_keys_under_its_new_name(self):
        path, secret = self.volume("name")
        uuid = self.define("before", [path])
        self.wait_until_owned(uuid, secret)
        self.virsh("domrename", "before", "after")
        self.addCleanup(self.forget, "after")
        host.wait_for(lambda: self.key(uuid, secret)["guest-name"] == "after", "the name follows")
        self.assertEqual(self.key(uuid, secret)["state"], "bound")
        self.start("after")

    def test_a_transient_guest_owns_its_keys_and_becoming_persistent_keeps_them(self):
        path, secret = self.volume("transient")
        xml = self.define_file("transient", [("vda", path, "qcow2", secret)])
        self.virsh("create", xml)
        self.addCleanup(self.forget, "transient")
        uuid = self.uuid_of("transient")
        self.wait_until_owned(uuid, secret)
        self.machine.write(xml, self.virsh("dumpxml", "transient"))
        self.virsh("define", xml)
        self.virsh("destroy", "transient")
        self.look()
        self.assertEqual(self.key(uuid, secret)["state"], "bound")
        self.start("transient")

    def test_a_transient_guest_that_ended_leaves_keys_that_wait(self):
        path, secret = self.volume("ended")
        self.virsh("create", self.define_file("ended", [("vda", path, "qcow2", secret)]))
        self.addCleanup(self.forget, "ended")
        uuid = self.uuid_of("ended")
        self.wait_until_owned(uuid, secret)
        self.virsh("destroy", "ended")
        self.wait_for_state(uuid, secret, "waiting")

    def test_a_disk_that_is_edited_out_leaves_its_key_alone_waiting(self):
        (stay, stays), (go, goes) = self.volume("stays"), self.volume("goes")
        uuid = self.define("edited", [stay, go])
        self.wait_until_owned(uuid, goes)
        self.wait_until_owned(uuid, stays)
        self.define("edited", [stay], uuid=uuid)
        self.wait_for_state(uuid, goes, "waiting")
        self.assertEqual(self.key(uuid, stays)["state"], "bound")
        self.define("edited", [stay, go], uuid=uuid)
        self.wait_for_state(uuid, goes, "bound")
        self.start("edited")

    def test_what_a_saved_state_refers_to_is_kept(self):
        (first, _), (second, saved) = self.volume("state-1"), self.volume("state-2")
        uuid = self.define("saved", [first, second])
        self.wait_until_owned(uuid, saved)
        self.start("saved")
        self.virsh("managedsave", "saved")
        self.addCleanup(self.machine.virsh, "managedsave-remove", "saved")
        self.define("saved", [first], uuid=uuid)
        self.look()
        self.assertEqual(self.key(uuid, saved)["state"], "bound")
        self.start("saved")
        self.assertIn(second, self.virsh("dumpxml", "saved"))
        self.assertEqual(self.key(uuid, saved)["state"], "bound")

    def test_what_a_snapshot_refers_to_is_kept_and_the_guest_reverts_to_it(self):
        # QEMU 7.2 ends with an assertion when it writes a guest's memory into an encrypted qcow2: the
        # first disk takes it.
        first = "/var/lib/libvirt/images/memory"
        self.machine.run(["qemu-img", "create", "-q", "-f", "qcow2", first, "4M"]).check()
        second, kept = self.volume("snap")
        uuid = self.define("snapped", [first, second], secrets=[None, kept])
        self.wait_until_owned(uuid, kept)
        self.start("snapped")
        self.virsh("snapshot-create-as", "snapped", "one")
        self.addCleanup(self.machine.virsh, "snapshot-delete", "snapped", "one", "--metadata")
        self.virsh("destroy", "snapped")
        self.define("snapped", [first], uuid=uuid, secrets=[None])
        self.look()
        self.assertEqual(self.key(uuid, kept)["state"], "bound")
        self.virsh("snapshot-revert", "snapped", "one", "--force")
        self.assertIn(second, self.virsh("dumpxml", "snapped"))
        self.look()
        self.assertEqual(self.key(uuid, kept)["state"], "bound")
        self.virsh("destroy", "snapped")
        self.define("snapped", [first], uuid=uuid, secrets=[None])
        self.virsh("snapshot-delete", "snapped", "one", "--metadata")
        self.look()
        self.wait_for_state(uuid, kept, "waiting")

    def test_keys_that_were_taken_away_by_hand_are_not_bound_again(self):
        path, secret = self.volume("refused")
        uuid = self.define("refused", [path])
        self.wait_until_owned(uuid, secret)
        self.told(f"key-unbind {secret} refused")
        self.assertTrue(self.machine.exists(f"/etc/libvirt/secrets/{secret}.key"))
        self.look()
        self.assertEqual(self.copies_of(uuid), [])
        self.start("refused")
        self.told(f"key-bind {secret} refused")
        self.assertEqual(self.copies_of(uuid), [secret])

    def test_a_key_that_another_guest_has_for_a_copy_outlives_its_volume(self):
        path, secret = self.volume("original")
        self.wait_until_owned(self.define("original", [path]), secret)
        copy = f"{guests.IMAGES}/copy"
        shutil.copy(self.machine.path(path), self.machine.path(copy))
        uuid = self.define("copy", [copy], secrets=[secret])
        self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "original")
        self.virsh("vol-delete", "original", POOL)
        self.assertEqual(self.copies_of(uuid), [secret])
        self.start("copy")

    def test_secrets_that_are_none_of_ours_belong_to_nobody(self):
        path = self.luks("stock")
        secret = self.secret()
        uuid = self.define("stock", [path], secrets=[secret], image_format="raw")
        self.start("stock")
        self.look()
        self.assertEqual(self.copies_of(uuid), [])
        self.virsh("destroy", "stock")
        self.virsh("undefine", "stock")
        self.look()
        self.assertIn(secret, self.secrets())


if __name__ == "__main__":
    taptest.main()
