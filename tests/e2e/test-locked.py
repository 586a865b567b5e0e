#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host whose master key does not unlock at boot: stock libvirtd, virsh and guests work with all
that needs no value, say what is to be done for the rest, and need no restart afterwards. Also the
slots on a full disk."""

import base64
import os
import unittest
import uuid

import guest
import host
import mastercalls as master
import taptest
import wire

_IMAGES = "/var/lib/libvirt/images"
_OWN = "/etc/libvirt/virtcrypt"
_KEY = f"{_OWN}/master.key"
# Where the daemon may write, on another file system.
_SECOND = "/var/lib/libvirt/virtcrypt/second.key"
_REMEDY = "virtcrypt master unlock"


def _secret_xml(identifier, volume):
    return (f"<secret ephemeral='no' private='yes'><uuid>{identifier}</uuid>"
            f"<usage type='volume'><volume>{volume}</volume></usage></secret>")


class Locked(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.secret = str(uuid.uuid4())
        self.disk = f"{_IMAGES}/guest"
        self.console = "/var/log/guest"

    def virsh(self, *arguments, **options):
        return self.machine.virsh(*arguments, **options)

    def define_secret(self, identifier, volume):
        self.machine.write("/run/secret.xml", _secret_xml(identifier, volume))
        return self.virsh("secret-define", "/run/secret.xml")

    def make_guest(self):
        value = base64.b64encode(os.urandom(36))
        self.define_secret(self.secret, self.disk).check()
        self.virsh("secret-set-value", self.secret, "--plain", "--file", "/dev/stdin", input=value,
                   text=False).check()
        guest.make_luks(self.machine, self.disk, value, guest.disk("guest"))
        self.machine.write("/run/guest.xml", guest.domain_xml(
            "guest", self.disk, "raw", self.secret, self.console))
        self.virsh("define", "/run/guest.xml").check()

    def start_locked(self):
        """As a boot on which the key file is missing."""
        self.machine.daemons[0].stop()
        os.rename(self.machine.path(_KEY), self.machine.path(_KEY + ".away"))
        return self.machine.start_secretd()

    def put_back(self):
        os.rename(self.machine.path(_KEY + ".away"), self.machine.path(_KEY))

    def connect(self):
        client = wire.Connection(self.machine.path(host.SECRETD_SOCKET))
        self.addCleanup(client.close)
        return client.open()

    def assert_boots(self):
        self.virsh("start", "guest").check()
        host.wait_for(lambda: self.machine.exists(self.console) and
                      b"guest (boot 1)" in self.machine.read(self.console), "the guest's text")

    def test_a_host_without_its_key_works_but_for_values_and_goes_on_after_unlock(self):
        self.machine.start_secretd()
        self.machine.start_libvirtd(connector=True)
        self.make_guest()
        locked = self.start_locked()
        self.assertIn(_REMEDY, locked.log_text())
        self.assertIn(self.secret, self.virsh("secret-list").check().stdout)
        self.assertIn(self.disk, self.virsh("secret-dumpxml", self.secret).check().stdout)
        other = str(uuid.uuid4())
        self.define_secret(other, "/another").check()
        self.virsh("secret-undefine", other).check()
        self.define_secret(self.secret, self.disk).check()
        done = self.virsh("start", "guest")
        self.assertEqual(done.returncode, 1)
        self.assertIn(_REMEDY, done.stderr)
        self.assertIn("cannot open the key file", done.stderr)
        with self.connect() as client:
            self.assertTrue(master.status(client).locked)
            self.put_back()
            master.unlock(client).reader()
        self.assert_boots()
        self.assertTrue(locked.is_running)

    def test_running_guests_do_not_mind_a_lock(self):
        self.machine.start_secretd()
        self.machine.start_libvirtd(connector=True)
        self.make_guest()
        self.assert_boots()
        with self.connect() as client:
            master.lock(client).reader()
            self.assertIn("running", self.virsh("domstate", "guest").check().stdout)
            self.virsh("destroy", "guest").check()
            self.assertIn(_REMEDY, self.virsh("start", "guest").stderr)
            master.unlock(client).reader()
        self.virsh("start", "guest").check()

    def test_a_reload_unlocks_too(self):
        self.machine.start_secretd()
        self.machine.start_libvirtd(connector=True)
        self.make_guest()
        daemon = self.start_locked()
        self.put_back()
        daemon.send(1)
        with self.connect() as client:
            host.wait_for(lambda: not master.status(client).locked, "the key")
        self.assert_boots()

    # ---- the file of slots ----

    def fill(self, folder):
        """All that is left on the file system."""
        with open(self.machine.path(folder + "/filling"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def test_a_full_disk_leaves_the_slots_of_before(self):
        self.machine.run(["mkdir", "-p", _OWN]).check()
        self.machine.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "small",
                          _OWN]).check()
        daemon = self.machine.start_secretd()
        client = self.connect()
        before = self.machine.read(f"{_OWN}/master.slots")
        self.fill(_OWN)
        error = master.add_slot(client, "key-file", path=_SECOND).error()
        self.assertIn("No space left on device", error.message)
        self.assertEqual(self.machine.read(f"{_OWN}/master.slots"), before)
        self.assertEqual(len(master.status(client).slots), 1)
        os.unlink(self.machine.path(f"{_OWN}/filling"))
        master.added(client, "key-file", path=_SECOND)
        self.assertEqual(daemon.stop(), 0)
        self.machine.start_secretd()
        self.assertEqual(len(master.status(self.connect()).slots), 2)

    def test_a_first_start_on_a_full_disk_is_locked_and_goes_on_with_room(self):
        self.machine.run(["mkdir", "-p", _OWN]).check()
        self.machine.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "small",
                          _OWN]).check()
        os.makedirs(self.machine.path(f"{_OWN}/journal"), mode=0o700)
        self.fill(_OWN)
        self.machine.start_secretd()
        client = self.connect()
        status = master.status(client)
        self.assertIn("No space left on device", status.reason)
        self.assertEqual((status.key_id, status.slots), (b"", []))
        os.unlink(self.machine.path(f"{_OWN}/filling"))
        master.unlock(client).reader()
        self.assertEqual(len(master.status(client).slots), 1)


if __name__ == "__main__":
    taptest.main()
