#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of keys whose guests are gone for longer than the delay: held, erased, found again; by
the settings of who is to be asked."""

import os
import shutil
import time

import guest_keys
import host
import taptest
from guest_keys import POOL


class Gone(guest_keys.Case):
    """With a delay of a second."""
    config = "erase_delay_undefine = 1\nreconcile_interval = 5\n"
    PAST_S = 3

    def test_a_key_without_a_guest_is_held_until_its_volume_is_deleted(self):
        path, secret = self.volume("held")
        uuid = self.define("held", [path])
        self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "held")
        self.wait_for_state(uuid, secret, "orphaned")
        self.assertIn(secret, self.told("key-list --orphaned"))
        self.assertIn(path, self.told("key-list --orphaned"))
        self.virsh("vol-delete", "held", POOL)
        self.wait_until_erased(uuid, secret)
        self.assert_audited(secret)
        host.wait_for(lambda: secret not in self.told("key-list --orphaned"), "it is listed no more")

    def test_an_orphan_finds_a_guest_again(self):
        path, secret = self.volume("found")
        uuid = self.define("found", [path])
        self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "found")
        self.wait_for_state(uuid, secret, "orphaned")
        other = self.define("finder", [path])
        self.wait_until_owned(other, secret)
        host.wait_for(lambda: self.copies_of(uuid) == [], "the copy for the guest that is gone goes")
        self.start("finder")

    def test_a_running_guest_that_is_undefined_keeps_its_keys_until_it_ends(self):
        path, secret = self.volume("runs")
        uuid = self.define("runs", [path])
        self.wait_until_owned(uuid, secret)
        self.start("runs")
        self.virsh("undefine", "runs")
        time.sleep(self.PAST_S)
        self.look()
        self.assertEqual(self.key(uuid, secret)["state"], "bound")
        self.virsh("destroy", "runs")
        self.wait_for_state(uuid, secret, "orphaned")

    def test_an_edited_out_disk_whose_volume_is_deleted_loses_its_key(self):
        (stay, stays), (go, goes) = self.volume("leaves"), self.volume("left")
        uuid = self.define("less", [stay, go])
        self.wait_until_owned(uuid, goes)
        self.define("less", [stay], uuid=uuid)
        self.wait_for_state(uuid, goes, "orphaned")
        self.virsh("vol-delete", "left", POOL)
        host.wait_for(lambda: goes not in self.secrets(), "the key is erased")
        self.assertEqual(self.copies_of(uuid), [stays])

    def test_what_happened_while_virtcryptd_was_away_is_seen(self):
        (lost, loses), (kept, keeps) = self.sent("away-1"), self.volume("away-2")
        uuids = [self.uuid_of("away-1"), self.define("away-2", [kept])]
        for uuid, secret in zip(uuids, (loses, keeps)):
            self.wait_until_owned(uuid, secret)
        self.virtcryptd.stop_in_order()
        try:
            self.virsh("undefine", "away-1")
            os.unlink(self.machine.path(lost))
            self.virsh("domrename", "away-2", "back")
            self.addCleanup(self.forget, "back")
        finally:
            self.start_virtcryptd()
        self.wait_until_erased(uuids[0], loses)
        self.assert_audited(loses)
        host.wait_for(lambda: self.key(uuids[1], keeps)["guest-name"] == "back", "the name follows")
        self.assertEqual(self.key(uuids[1], keeps)["state"], "bound")

    def test_a_volume_in_a_folder_that_is_not_mounted_is_not_taken_for_deleted(self):
        """The other way round: something is mounted over it."""
        path, secret = self.volume("covered")
        uuid = self.define("covered", [path])
        self.wait_until_owned(uuid, secret)
        folder = os.path.dirname(path)
        self.machine.run(["mount", "-t", "tmpfs", "over", folder]).check()
        try:
            self.virsh("undefine", "covered")
            self.wait_for_state(uuid, secret, "orphaned")
            self.look()
            self.assertEqual(self.key(uuid, secret)["state"], "orphaned")
        finally:
            # Lazily: virtcryptd may be looking at what is in it.
            self.machine.run(["umount", "--lazy", folder]).check()
        self.define("covered", [path], uuid=uuid)
        self.wait_for_state(uuid, secret, "bound")
        self.start("covered")

    def test_a_volume_that_was_moved_is_not_taken_for_deleted(self):
        path, secret = self.sent("moved")
        uuid = self.uuid_of("moved")
        self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "moved")
        os.mkdir(self.machine.path("/var/lib/libvirt/images/archive"))
        other = "/var/lib/libvirt/images/archive/moved"
        os.rename(self.machine.path(path), self.machine.path(other))
        self.wait_for_state(uuid, secret, "orphaned")
        self.look()
        self.assertEqual(self.key(uuid, secret)["state"], "orphaned")
        os.unlink(self.machine.path(other))
        self.wait_until_erased(uuid, secret)

    def test_a_key_of_a_volume_that_was_left_behind_is_held(self):
        """The disk got a copy in its place, and the copy is deleted."""
        path, secret = self.sent("behind")
        uuid = self.uuid_of("behind")
        self.wait_until_owned(uuid, secret)
        copy = path + ".copy"
        shutil.copy(self.machine.path(path), self.machine.path(copy))
        self.define("behind", [copy], uuid=uuid, secrets=[secret], image_format="raw")
        host.wait_for(lambda: self.key(uuid, secret)["volume"] == copy, "the volume follows")
        self.virsh("undefine", "behind")
        os.unlink(self.machine.path(copy))
        self.wait_for_state(uuid, secret, "orphaned")
        self.assertIn("opens other volumes", self.key(uuid, secret)["reason"])
        self.look()
        self.define("behind", [path], uuid=uuid, secrets=[secret], image_format="raw")
        self.start("behind")

    def test_nothing_is_erased_while_libvirtd_is_away(self):
        path, secret = self.sent("nolibvirtd")
        uuid = self.uuid_of("nolibvirtd")
        self.libvirtd.kill()
        try:
            os.unlink(self.machine.path("/etc/libvirt/qemu/nolibvirtd.xml"))
            os.unlink(self.machine.path(path))
            time.sleep(self.PAST_S)
            self.assertEqual(self.copies_of(uuid), [secret])
        finally:
            self.start_libvirtd()
        self.wait_until_erased(uuid, secret)

    def test_an_orphan_is_erased_by_hand_and_nothing_of_its_key_is_left(self):
        """In no file of the host, in no memory of a daemon, in whole or in part."""
        key = os.urandom(32).hex()
        _, secret = self.sent("residue", key)
        uuid = self.uuid_of("residue")
        self.start("residue")
        self.virsh("destroy", "residue")
        self.virsh("undefine", "residue")
        self.wait_for_state(uuid, secret, "orphaned")
        self.assertGreater(self.search(key, memory=False).bytes_seen, 1 << 20)
        self.told(f"key-erase {secret}")
        self.wait_until_erased(uuid, secret)
        found = self.search(key)
        self.assertEqual((found.copies, found.parts), (0, 0), f"{found}: {found.places}")


class AfterTheDelay(guest_keys.Case):
    config = ('erase_delay_undefine = 1\nerase_orphans = "after-delay"\n'
              'bind_referenced_secrets = 1\n')

    def test_everything_that_a_defined_guest_refers_to_is_bound_and_erased_with_it(self):
        path = self.luks("referenced")
        secret = self.secret()
        uuid = self.define("referenced", [path], secrets=[secret], image_format="raw")
        self.wait_until_owned(uuid, secret)
        self.start("referenced")
        self.virsh("destroy", "referenced")
        self.virsh("undefine", "referenced")
        self.wait_until_erased(uuid, secret)
        self.assertTrue(self.machine.exists(path))
        self.assert_audited(secret)

    def test_a_key_of_two_guests_is_erased_with_the_last(self):
        path, secret = self.volume("last")
        one, two = (self.define(name, [path]) for name in ("last-1", "last-2"))
        for uuid in (one, two):
            self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "last-1")
        host.wait_for(lambda: self.copies_of(one) == [], "one copy goes")
        self.assertEqual(self.copies_of(two), [secret])
        self.start("last-2")
        self.virsh("destroy", "last-2")
        self.virsh("undefine", "last-2")
        self.wait_until_erased(two, secret)


class ByHand(guest_keys.Case):
    config = 'erase_delay_undefine = 1\nerase_orphans = "manual"\nreconcile_interval = 5\n'

    def test_an_orphan_outlives_its_file_until_it_is_erased(self):
        path, secret = self.volume("manual")
        uuid = self.define("manual", [path])
        self.wait_until_owned(uuid, secret)
        self.virsh("undefine", "manual")
        self.wait_for_state(uuid, secret, "orphaned")
        os.unlink(self.machine.path(path))
        time.sleep(6)
        self.look()
        self.assertEqual(self.key(uuid, secret)["state"], "orphaned")
        self.told(f"key-erase {secret}")
        self.wait_until_erased(uuid, secret)
        self.assert_audited(secret)


if __name__ == "__main__":
    taptest.main()
