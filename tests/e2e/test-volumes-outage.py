#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd with the connector while virtcryptd is away, comes back, or hangs: what is not encrypted
works as ever, what is can't be changed or made in clear."""

import signal
import time

import host
import taptest
import volumes

_POOL = volumes.POOL
_AWAY = "encrypted volumes are kept by virtcryptd, which cannot be reached"
_REMEDY = "systemctl start virtcryptd.socket"


class Away(volumes.VolumeCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine.write("/run/kept.xml", volumes.volume_xml("kept", "qcow2"))
        cls.machine.virsh("vol-create", _POOL, "/run/kept.xml").check()
        cls.virtcryptd.stop_in_order()

    def assert_away(self, *arguments):
        text = self.refused(*arguments)
        self.assertIn(_AWAY, text)
        self.assertIn(_REMEDY, text)

    def test_a_clear_volume_is_made_shown_changed_and_deleted(self):
        self.virsh("vol-create-as", _POOL, "clear", "1M")
        self.assertIn("clear", self.names())
        self.virsh("vol-clone", "clear", "clear2", "--pool", _POOL)
        self.virsh("vol-resize", "clear2", "2M", "--pool", _POOL)
        self.assertIn("2.00 MiB", self.virsh("vol-info", "clear2", _POOL))
        self.virsh("vol-delete", "clear2", _POOL)

    def test_an_encrypted_volume_is_not_made_in_clear(self):
        self.machine.write("/run/new.xml", volumes.volume_xml("new", "raw"))
        self.assert_away("vol-create", _POOL, "/run/new.xml")
        self.assertNotIn("new", self.names())
        self.assertFalse(self.machine.exists(f"{volumes.TARGET}/new"))

    def test_an_encrypted_volume_is_not_cloned_in_clear(self):
        self.assert_away("vol-clone", "kept", "new", "--pool", _POOL)
        self.assertFalse(self.machine.exists(f"{volumes.TARGET}/new"))

    def test_nothing_is_made_in_a_pool_with_a_policy(self):
        volumes.define_pool(self.machine, "marked", "/var/lib/libvirt/images/marked",
                            "0e7c6c1e-6b0f-4c3c-9d3c-5d8f4d2e7a11")
        self.machine.write(f"{volumes.POLICIES}/marked.xml", "<policy/>")
        self.assert_away("vol-create-as", "marked", "new", "1M")
        self.assertFalse(self.machine.exists("/var/lib/libvirt/images/marked/new"))

    def test_an_encrypted_image_is_still_listed_and_described(self):
        self.assertIn("kept", self.names())
        self.assertIn("4.00 MiB", self.virsh("vol-info", "kept", _POOL))
        self.assertEqual(self.virsh("vol-path", "kept", _POOL).strip(), f"{volumes.TARGET}/kept")

    def test_xml_without_its_secret_is_not_given(self):
        self.assert_away("vol-dumpxml", "kept", _POOL)

    def test_an_encrypted_volume_is_not_changed(self):
        before = self.machine.read(f"{volumes.TARGET}/kept")
        self.assert_away("vol-delete", "kept", _POOL)
        self.assert_away("vol-wipe", "kept", _POOL)
        self.assert_away("vol-resize", "kept", "8M", "--pool", _POOL)
        self.assertEqual(self.machine.read(f"{volumes.TARGET}/kept"), before)

    def test_a_name_that_an_encrypted_volume_has_is_not_given_to_a_clear_one(self):
        self.assertIn("exist", self.refused("vol-create-as", _POOL, "kept", "1M"))


class Restart(volumes.VolumeCase):
    def test_volumes_are_there_after_a_restart_of_virtcryptd(self):
        self.create("kept", "raw")
        uuid = self.secret("kept")
        self.virtcryptd.stop_in_order()
        self.refused("vol-dumpxml", "kept", _POOL)
        type(self).virtcryptd = self.machine.start_virtcryptd()
        self.assertEqual(self.secret("kept"), uuid)

    def test_a_kept_connection_that_was_cut_is_not_used(self):
        self.create("cut", "raw")
        self.dump("cut")
        self.virtcryptd.kill()
        type(self).virtcryptd = self.machine.start_virtcryptd()
        self.virsh("vol-delete", "cut", _POOL)

    def test_libvirtd_works_while_virtcryptd_hangs(self):
        self.create("hung", "raw")
        self.virtcryptd.send(signal.SIGSTOP)
        try:
            started = time.monotonic()
            self.virsh("vol-create-as", _POOL, "clear", "1M")
            self.virsh("vol-info", "clear", _POOL)
            # OPEN_TIMEOUT_MS of the connector is 10 s.
            self.assertLess(time.monotonic() - started, 9 * host.PATIENCE)
            self.refused("vol-dumpxml", "hung", _POOL)
            self.assertLess(time.monotonic() - started, 60 * host.PATIENCE)
        finally:
            self.virtcryptd.send(signal.SIGCONT)
        self.assertIsNotNone(self.secret("hung"))

    def test_a_restart_of_libvirtd_keeps_the_volumes(self):
        self.create("stays", "qcow2")
        uuid = self.secret("stays")
        self.libvirtd.stop()
        type(self).libvirtd = self.machine.start_libvirtd(connector=True)
        self.assertIn("stays", self.names())
        self.assertEqual(self.secret("stays"), uuid)


if __name__ == "__main__":
    taptest.main()
