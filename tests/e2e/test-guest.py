#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests on encrypted disks, under stock libvirtd and QEMU: with our secrets, and with the same
assertions with libvirt's own. What a guest prints was read from its encrypted disk."""

import base64
import os
import unittest
import uuid

import guest
import host
import residue
import secretcalls
import taptest
import wire

_LOG_EVERYTHING = 'log_level = 1\nvalue_readback = "any"\n'

_IMAGES = "/var/lib/libvirt/images"


class _Guest:
    """What a case needs: names of its own, on self.machine."""

    def setUp(self):
        self.name = self.id().split(".test_")[1][:40]
        self.secret = str(uuid.uuid4())
        self.value = base64.b64encode(os.urandom(36))
        self.disk = f"{_IMAGES}/{self.name}"
        self.console = f"/var/log/{self.name}"

    def forget(self):
        self.machine.virsh("destroy", self.name)
        self.machine.virsh("undefine", self.name)

    def define_secret(self, kind="volume", private="yes", element="volume"):
        self.machine.write("/run/secret.xml", (
            f"<secret ephemeral='no' private='{private}'><uuid>{self.secret}</uuid>"
            f"<usage type='{kind}'><{element}>{self.disk}</{element}></usage></secret>"))
        self.machine.virsh("secret-define", "/run/secret.xml").check()

    def set_value(self, value=None):
        self.machine.virsh("secret-set-value", self.secret, "--plain", "--file", "/dev/stdin",
                           input=value or self.value, text=False).check()

    def define_guest(self, change=lambda xml: xml):
        guest.make_luks(self.machine, self.disk, self.value, guest.disk(self.name))
        self.machine.write("/run/guest.xml", change(guest.domain_xml(
            self.name, self.disk, "raw", self.secret, self.console)))
        self.machine.virsh("define", "/run/guest.xml").check()

    def start_guest(self):
        return self.machine.virsh("start", self.name)

    def assert_it_boots(self, times=1):
        wanted = f"{self.name} (boot {times})".encode()
        host.wait_for(lambda: self.machine.exists(self.console) and
                      wanted in self.machine.read(self.console), f"{wanted} on the console")

    def assert_it_does_not_start(self, *reasons):
        done = self.start_guest()
        self.assertEqual(done.returncode, 1)
        for reason in reasons:
            self.assertRegex(done.stderr, reason)
        self.assertIn("shut off", self.machine.virsh("domstate", self.name).check().stdout)


class _Cases(_Guest):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.start()

    def tearDown(self):
        self.forget()

    def test_a_guest_boots_from_a_disk_with_a_private_secret(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.start_guest().check()
        self.assert_it_boots()

    def test_a_secret_can_be_named_by_its_usage(self):
        self.define_secret()
        self.set_value()
        self.define_guest(lambda xml: xml.replace(f"uuid='{self.secret}'", f"usage='{self.disk}'"))
        self.start_guest().check()
        self.assert_it_boots()

    def test_what_the_guest_writes_is_there_at_the_next_boot(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        for times in (1, 2):
            self.start_guest().check()
            self.assert_it_boots(times)
            self.machine.virsh("destroy", self.name).check()

    def test_a_guest_whose_secret_is_not_defined_does_not_start(self):
        self.define_guest()
        self.assert_it_does_not_start(
            f"Secret not found: no secret with matching uuid '{self.secret}'")

    def test_a_guest_whose_secret_has_no_value_does_not_start(self):
        self.define_secret()
        self.define_guest()
        self.assert_it_does_not_start(f"secret '{self.secret}' does not have a value")

    def test_a_guest_with_a_wrong_value_does_not_start(self):
        self.define_secret()
        self.set_value(b"wrong")
        self.define_guest()
        self.assert_it_does_not_start("Invalid password, cannot unlock any keyslot")

    def test_a_secret_for_something_else_is_refused(self):
        self.define_secret("ceph", element="name")
        self.set_value()
        self.define_guest()
        self.assert_it_does_not_start("Secret not found|secret")

    def test_an_encrypted_disk_is_plugged_into_a_running_guest(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.start_guest().check()
        self.assert_it_boots()
        guest.make_luks(self.machine, self.disk + "-2", self.value, b"second".ljust(512))
        self.machine.write("/run/disk.xml", (
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
            f"<source file='{self.disk}-2'><encryption format='luks'><secret type='passphrase' "
            f"uuid='{self.secret}'/></encryption></source><target dev='vdb' bus='virtio'/></disk>"))
        self.machine.virsh("attach-device", self.name, "/run/disk.xml").check()
        self.assertIn(f"{self.disk}-2", self.machine.virsh("domblklist", self.name).check().stdout)

    def test_a_guest_starts_by_itself_when_libvirtd_does(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.machine.virsh("autostart", self.name).check()
        self.restart_all()
        self.assert_it_boots()
        self.machine.virsh("autostart", "--disable", self.name).check()

    def test_a_running_guest_outlives_a_restart_of_libvirtd(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.start_guest().check()
        self.assert_it_boots()
        self.restart_all()
        self.assertIn("running", self.machine.virsh("domstate", self.name).check().stdout)

    def restart_all(self):
        """As at a boot of the machine, except for the guests."""
        self.stop()
        if self.machine.exists("/run/libvirt/qemu/autostarted"):
            os.unlink(self.machine.path("/run/libvirt/qemu/autostarted"))
        self.start()

    @classmethod
    def stop(cls):
        cls.libvirtd.stop()


class WithStockLibvirtd(_Cases, unittest.TestCase):
    @classmethod
    def start(cls):
        cls.libvirtd = cls.machine.start_libvirtd()


class WithOurs(_Cases, unittest.TestCase):
    @classmethod
    def start(cls):
        cls.secretd = cls.machine.start_secretd(_LOG_EVERYTHING)
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)

    @classmethod
    def stop(cls):
        cls.libvirtd.stop()
        cls.secretd.stop()

    def start_secretd(self):
        type(self).secretd = self.machine.start_secretd(_LOG_EVERYTHING)

    def test_a_guest_does_not_start_while_our_daemon_is_down_and_the_error_says_so(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.secretd.stop()
        try:
            self.assert_it_does_not_start("virtcrypt-secretd, which cannot be reached",
                                          "systemctl start virtcrypt-secretd.socket")
            self.assertTrue(self.libvirtd.is_running)
        finally:
            self.start_secretd()
        self.start_guest().check()
        self.assert_it_boots()

    def test_a_running_guest_outlives_our_daemon(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.start_guest().check()
        self.secretd.kill()
        try:
            self.assert_it_boots()
            self.assertIn("running", self.machine.virsh("domstate", self.name).check().stdout)
            self.machine.virsh("destroy", self.name).check()
        finally:
            self.start_secretd()

    def test_libvirtd_starts_while_our_daemon_is_down(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.machine.virsh("autostart", self.name).check()
        self.stop()
        os.unlink(self.machine.path("/run/libvirt/qemu/autostarted"))
        type(self).libvirtd = self.machine.start_libvirtd(connector=True)
        try:
            # The guest is not started: its key can't be had. Nothing else is the worse for it.
            self.assertIn("shut off", self.machine.virsh("domstate", self.name).check().stdout)
        finally:
            self.start_secretd()
        self.machine.virsh("autostart", "--disable", self.name).check()
        self.start_guest().check()
        self.assert_it_boots()

    def test_the_value_of_a_private_secret_is_refused_to_virsh(self):
        self.define_secret()
        self.set_value()
        for uri in ("qemu:///system", "secret:///system"):
            done = self.machine.virsh("secret-get-value", self.secret, uri=uri)
            self.assertEqual(done.returncode, 1)
            self.assertIn("secret is private", done.stderr)
            self.assertNotIn(self.value.decode(), done.stdout + done.stderr)

    def test_no_folder_holds_the_key_of_a_running_guest(self):
        self.define_secret()
        self.set_value()
        self.define_guest()
        self.start_guest().check()
        self.assert_it_boots()
        search = residue.Search(self.value)
        for folder in ("/etc/libvirt", "/run", "/var/lib", "/var/cache", "/var/log"):
            search.folder(self.machine.path(folder))
        self.assertEqual((search.copies, search.parts), (0, 0), search.places)
        self.machine.write("/run/planted", b"x" + base64.b64encode(b"y" + self.value))
        search.folder(self.machine.path("/run"))
        os.unlink(self.machine.path("/run/planted"))
        self.assertEqual(search.copies, 1)


class Residue(_Guest, unittest.TestCase):
    """After a guest has started and its secret is gone, nothing of the key is left in our daemon;
    what stock libvirtd keeps is printed beside it."""

    def life_of_a_key(self, machine, keeper):
        """Every call with a value; returns what is left then in the memory and the log."""
        self.machine = machine
        self.define_secret(private="no")
        self.set_value()
        machine.virsh("secret-get-value", self.secret)
        self.define_guest()
        self.start_guest().check()
        self.assert_it_boots()
        self.forget()
        left_running = residue.Search(self.value)
        left_running.memory(keeper.pid)
        self.machine.virsh("secret-undefine", self.secret).check()
        left = residue.Search(self.value)
        left.memory(keeper.pid)
        left.file(keeper.log)
        return left_running, left

    def test_our_daemon_keeps_nothing_of_a_key_once_a_call_is_over(self):
        with host.Host() as machine:
            stock_running, stock = self.life_of_a_key(machine, machine.start_libvirtd(log_level=1))
        print(f"stock libvirtd, guest running: {stock_running}; secret undefined: {stock}")
        with host.Host() as machine:
            secretd = machine.start_secretd(_LOG_EVERYTHING)
            machine.start_libvirtd(connector=True)
            running, left = self.life_of_a_key(machine, secretd)
        print(f"virtcrypt-secretd, guest running: {running}; secret undefined: {left}")
        self.assertGreater(stock_running.copies, 0, "the search finds what libvirtd keeps")
        self.assertEqual((running.copies, running.parts), (0, 0), running.places)
        self.assertEqual((left.copies, left.parts), (0, 0), left.places)


class Readback(unittest.TestCase):
    """Who may read the value of a secret that is not private, by configuration."""

    _XML = ("<secret><uuid>0badc0de-0000-4000-8000-000000000001</uuid><usage type='volume'><volume>"
            "/v</volume></usage></secret>")
    _SECRET = "0badc0de-0000-4000-8000-000000000001"
    _NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    def read_with(self, config, uri, user=()):
        with host.Host() as machine:
            machine.start_secretd(config)
            machine.start_libvirtd(connector=True)
            machine.write("/run/secret.xml", self._XML)
            machine.virsh("secret-define", "/run/secret.xml").check()
            machine.virsh("secret-set-value", self._SECRET, "--plain", "--file", "/dev/stdin",
                          input="value").check()
            done = machine.run([*user, "virsh", "-c", uri, "secret-get-value", self._SECRET,
                                "--plain"])
            return done.stdout.strip() if done.returncode == 0 else done.stderr.strip()

    def test_root_reads_it_by_the_daemons_socket_by_default(self):
        self.assertEqual(self.read_with("", "secret:///system"), "value")

    def test_nobody_reads_it_through_libvirtd_by_default(self):
        # libvirtd lets everybody in here, and forwards whatever identity its client sets.
        for user in ((), self._NOBODY):
            self.assertIn("value_readback", self.read_with("", "qemu:///system", user))
        self.assertEqual(self.read_with('value_readback = "any"\n', "qemu:///system",
                                        self._NOBODY), "value")

    def test_a_user_of_libvirtd_who_says_to_be_root_does_not_read_it(self):
        claim = wire.typed_params(("unix-user-id", wire.TYPED_ULLONG, 0),
                                  ("process-id", wire.TYPED_LLONG, 1)) + wire.uint32(0)
        identifier = uuid.UUID(self._SECRET).bytes
        with host.Host() as machine:
            machine.start_secretd("")
            machine.start_libvirtd(connector=True)
            with secretcalls.Client(machine.path(host.LIBVIRTD_SOCKET)).open() as client:
                client.define(self._XML).reader()
                client.set_value(identifier, b"value").reader()
                client.call(wire.SET_IDENTITY, claim).reader()
                self.assertIn("value_readback", client.get_value(identifier).error().message)

    def test_nobody_reads_it_when_configured_so(self):
        for uri in ("secret:///system", "qemu:///system"):
            self.assertRegex(self.read_with('value_readback = "never"\n', uri), "^error: ")

    def test_every_client_reads_it_when_configured_so(self):
        for uri in ("secret:///system", "qemu:///system"):
            self.assertEqual(self.read_with('value_readback = "any"\n', uri), "value")


if __name__ == "__main__":
    taptest.main()
