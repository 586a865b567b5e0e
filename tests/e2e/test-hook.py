#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook, called by stock libvirtd with guests on QEMU, and as a program of its own. That dm-crypt
volumes are opened and closed by it is shown where there is a device-mapper (tests/vm)."""

import os
import re
import shlex
import struct
import time
import unittest
import uuid

import fakeserver
import guest
import host
import taptest
import volumes

_HOOK = os.path.join(host.BUILD_ROOT, "tools/virtcrypt-qemu-hook")
_INSTALLED = "/etc/libvirt/hooks/qemu.d/virtcrypt"
_IMAGES = "/var/lib/libvirt/images"
_START = "systemctl start virtcryptd.socket"
_PREPARE, _RELEASE = 18, 19


def _install(machine):
    """As the package does: a link."""
    os.makedirs(os.path.dirname(machine.path(_INSTALLED)))
    os.symlink(_HOOK, machine.path(_INSTALLED))


def _domain_xml(name, path, secret=None, more=""):
    xml = guest.domain_xml(name, path, "raw", secret, f"/var/log/{name}")
    if not secret:
        xml = re.sub(r"<encryption.*?</encryption>", "", xml, flags=re.S)
    return xml.replace("</disk>", "</disk>" + more)


class _Guests(unittest.TestCase):
    """One host for all tests of a class, each of which takes names of its own."""

    def setUp(self):
        self.name = self.id().split(".test_")[1][:40]
        self.disk = f"{_IMAGES}/{self.name}"

    def define(self, secret=None, more="", path=None):
        self.machine.write("/run/guest.xml", _domain_xml(self.name, path or self.disk, secret, more))
        self.machine.virsh("define", "/run/guest.xml").check()
        self.addCleanup(self.forget)

    def forget(self):
        self.machine.virsh("destroy", self.name)
        self.machine.virsh("undefine", self.name, "--managed-save")

    def start(self):
        return self.machine.virsh("start", self.name)

    def make_plain(self):
        self.machine.write(self.disk, guest.disk(self.name).ljust(1 << 20, b"\0"))

    def make_luks(self):
        """Returns the uuid of the secret that opens it."""
        secret = str(uuid.uuid4())
        self.machine.write("/run/secret.xml", (
            f"<secret ephemeral='no' private='yes'><uuid>{secret}</uuid><usage type='volume'>"
            f"<volume>{self.disk}</volume></usage></secret>"))
        self.machine.virsh("secret-define", "/run/secret.xml").check()
        self.machine.virsh("secret-set-value", secret, "--plain", "--file", "/dev/stdin",
                           input=b"a key", text=False).check()
        guest.make_luks(self.machine, self.disk, b"a key", guest.disk(self.name))
        return secret

    def assert_boots(self, times=1):
        wanted = f"{self.name} (boot {times})".encode()
        console = f"/var/log/{self.name}"
        host.wait_for(lambda: self.machine.exists(console) and wanted in self.machine.read(console),
                      f"{wanted} on the console")

    def assert_refused(self, *texts):
        done = self.start()
        self.assertEqual(done.returncode, 1, done.stdout)
        for text in texts:
            self.assertIn(text, done.stderr)
        self.assertIn("shut off", self.machine.virsh("domstate", self.name).check().stdout)


class Stock(_Guests):
    """What the hook is there for."""

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.start_libvirtd()

    def test_a_container_is_given_to_a_guest_as_its_disk(self):
        self.make_luks()
        self.define()
        self.start().check()
        self.assertIn("running", self.machine.virsh("domstate", self.name).check().stdout)


class WithVirtcryptd(_Guests):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        _install(cls.machine)
        cls.machine.start_secretd()
        cls.virtcryptd = cls.machine.start_virtcryptd()
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)
        volumes.define_pool(cls.machine)

    def test_a_layer_in_clear_on_an_encrypted_volume_is_told_to_the_log(self):
        self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "vol-create",
                          volumes.POOL, self.name, "4M", "--format", "qcow2"]).check()
        # What `virsh snapshot-create-as --disk-only` makes.
        self.machine.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
                          f"{volumes.TARGET}/{self.name}", self.disk, "4M"]).check()
        xml = _domain_xml(self.name, self.disk).replace("type='raw'", "type='qcow2'").replace(
            "<memory", f"<uuid>{uuid.uuid4()}</uuid><memory")
        self.machine.run([_HOOK, self.name, "prepare", "begin", "-"], input=xml).check()
        log = self.virtcryptd.log_text()
        self.assertIn(f"{self.disk} is not encrypted, though it is a layer on the encrypted volume "
                      f"'{self.name}'", log)
        self.assertIn("virsh blockcommit", log)

    def test_a_container_without_encryption_element_is_refused(self):
        self.make_luks()
        before = self.machine.read(self.disk)
        self.define()
        self.assert_refused("Hook script execution failed", f"'{self.name}'", self.disk,
                            "<encryption>")
        self.assertEqual(self.machine.read(self.disk), before)

    def test_a_container_with_its_secret_boots(self):
        self.define(self.make_luks())
        self.start().check()
        self.assert_boots()

    def test_a_disk_that_is_not_encrypted_boots(self):
        self.make_plain()
        self.define()
        self.start().check()
        self.assert_boots()

    def test_a_volume_of_ours_names_its_secret_in_the_refusal(self):
        self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "vol-create",
                          volumes.POOL, self.name, "4M"]).check()
        secret = volumes.secret_of(
            self.machine.virsh("vol-dumpxml", self.name, volumes.POOL).check().stdout)
        path = f"{volumes.TARGET}/{self.name}"
        self.define(path=path)
        self.assert_refused(f"uuid='{secret}'")
        self.forget()
        self.define(secret, path=path)
        self.start().check()

    def test_a_guest_is_saved_and_restored(self):
        self.define(self.make_luks())
        self.start().check()
        self.assert_boots()
        self.machine.virsh("managedsave", self.name).check()
        self.start().check()
        self.assertIn("running", self.machine.virsh("domstate", self.name).check().stdout)


class WithoutVirtcryptd(_Guests):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        _install(cls.machine)
        cls.machine.start_secretd()
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)
        volumes.define_pool(cls.machine)

    def put_record(self, name):
        """A volume of ours, as virtcryptd keeps it."""
        self.machine.write(f"{volumes.RECORDS}/{volumes.POOL}/{name}.xml", "damaged")

    def test_a_guest_that_has_nothing_of_ours_starts(self):
        self.make_plain()
        self.define()
        self.start().check()
        self.assert_boots()
        self.machine.virsh("destroy", self.name).check()

    def test_a_disk_that_qemu_opens_boots(self):
        self.define(self.make_luks())
        self.start().check()
        self.assert_boots()

    def test_a_container_without_encryption_element_is_refused(self):
        self.make_luks()
        self.define()
        self.assert_refused(self.disk, "no <encryption> element", _START)

    def test_a_volume_of_ours_is_refused_with_the_remedy(self):
        self.put_record(self.name)
        self.make_plain()
        self.define(more=(f"<disk type='volume' device='disk'><driver name='qemu' type='raw'/>"
                          f"<source pool='{volumes.POOL}' volume='{self.name}'/>"
                          "<target dev='vdb' bus='virtio'/></disk>"))
        self.assert_refused(f"'vdb' of guest '{self.name}'",
                            f"volume '{self.name}' of pool '{volumes.POOL}'", _START)

    def test_a_device_of_ours_is_refused_with_the_remedy(self):
        self.define(path="/dev/virtcrypt/pool/x")
        self.assert_refused("/dev/virtcrypt/pool/x", _START)

    def test_a_running_guest_outlives_a_restart_of_libvirtd(self):
        self.make_plain()
        self.define()
        self.start().check()
        self.assert_boots()
        # Now it would not start any more: what counts is that it runs.
        with open(self.machine.path(self.disk), "r+b") as disk:
            disk.write(b"LUKS\xba\xbe\0\1")
        self.libvirtd.stop()
        type(self).libvirtd = self.machine.start_libvirtd(connector=True)
        host.wait_for(lambda: "running" in self.machine.virsh("domstate", self.name).stdout,
                      "libvirtd has its guest again")
        time.sleep(1)  # the hook runs beside
        self.assertIn("running", self.machine.virsh("domstate", self.name).check().stdout)
        self.forget()
        self.define()
        self.assert_refused("no <encryption> element")

    def test_a_guest_autostarts(self):
        self.make_plain()
        self.define()
        self.machine.virsh("autostart", self.name).check()
        self.libvirtd.stop()
        if self.machine.exists("/run/libvirt/qemu/autostarted"):
            os.unlink(self.machine.path("/run/libvirt/qemu/autostarted"))
        type(self).libvirtd = self.machine.start_libvirtd(connector=True)
        self.assert_boots()


class Program(unittest.TestCase):
    """What it does of itself, with a virtcryptd that writes down what it is told."""

    _UUID = uuid.UUID("22222222-2222-4222-8222-222222222222")
    _XML = (f"<domain type='qemu'><name>g</name><uuid>{_UUID}</uuid><devices>"
            "<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
            "<source dev='/dev/virtcrypt/p/v'/><target dev='vda'/></disk></devices></domain>")

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def hook(self, *arguments, xml=_XML):
        return self.machine.run([_HOOK, *arguments], input=xml)

    def daemon(self, answers):
        return fakeserver.FakeServer(self.machine.path(host.VIRTCRYPTD_SOCKET), answers)

    def calls(self, server):
        return [call for call in server.calls
                if call[0] not in (fakeserver.AUTH_LIST, fakeserver.OPEN)]

    def assert_silent(self, done):
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_virtcryptd_is_told_of_start_reconnect_and_end(self):
        with self.daemon({_PREPARE: b"", _RELEASE: b""}) as server:
            self.assert_silent(self.hook("g", "prepare", "begin", "-"))
            self.assert_silent(self.hook("g", "reconnect", "begin", "-"))
            self.assert_silent(self.hook("g", "release", "end", "-"))
        text = self._XML.encode()
        prepare = (_PREPARE, struct.pack(">I", len(text)) + text + b"\0" * (-len(text) % 4))
        self.assertEqual(self.calls(server), [prepare, prepare, (_RELEASE, self._UUID.bytes)])

    def test_other_steps_are_none_of_its_business(self):
        with self.daemon({}) as server:
            for step in ("start begin", "started begin", "stopped end", "migrate begin",
                         "restore begin", "nosuch begin"):
                self.assert_silent(self.hook("g", *step.split(), "-", xml="no XML"))
        self.assertEqual(server.calls, [])

    def test_a_refusal_of_virtcryptd_is_the_reason_in_one_line(self):
        refusal = fakeserver.Error(67, 18, "unsupported configuration: disk 'vda'\nis bad")
        with self.daemon({_PREPARE: refusal}):
            done = self.hook("g", "prepare", "begin", "-")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", "virtcrypt: guest 'g': unsupported configuration: disk 'vda' is "
                                 "bad\n"))

    def test_a_guest_that_runs_is_never_the_victim(self):
        refusal = fakeserver.Error(67, 18, "unsupported configuration: no")
        with self.daemon({_PREPARE: refusal}):
            self.assertEqual(self.hook("g", "reconnect", "begin", "-").returncode, 0)
        self.assertEqual(self.hook("g", "reconnect", "begin", "-").returncode, 0)

    def test_without_virtcryptd_the_end_is_the_end(self):
        self.assert_silent(self.hook("g", "release", "end", "-"))

    def test_a_virtcryptd_that_goes_away_is_one_that_is_not_there(self):
        with self.daemon({_PREPARE: fakeserver.Error(39, 7, "Cannot write data: Broken pipe")}):
            done = self.hook("g", "prepare", "begin", "-")
            other = self.hook("g", "prepare", "begin", "-", xml=self._XML.replace("/dev/virtcrypt",
                                                                                  "/dev/other"))
        self.assertEqual(done.returncode, 1)
        self.assertIn(_START, done.stderr)
        self.assert_silent(other)

    def test_what_is_no_domain_stops_the_start(self):
        for xml, reason in (("", "domain"), ("<domain", "domain"), ("<pool/>", "domain"),
                            ("<domain>" + "x" * (17 << 20), "longer than")):
            with self.subTest(xml[:20]):
                done = self.hook("g", "prepare", "begin", "-", xml=xml)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(reason, done.stderr)

    def test_it_says_who_runs_it(self):
        done = self.hook()
        self.assertEqual(done.returncode, 1)
        self.assertIn("/etc/libvirt/hooks/qemu.d/virtcrypt", done.stderr)

    def test_it_costs_little(self):
        with self.daemon({_PREPARE: b""}):
            self.machine.write("/run/domain.xml", self._XML)
            script = (f"for i in 1 2 3 4 5 6 7 8 9 10; do {shlex.quote(_HOOK)} g prepare begin - "
                      "</run/domain.xml; done; times")
            done = self.machine.run(["bash", "-c", script]).check()
        children = done.stdout.splitlines()[-1]
        seconds = sum(60 * float(minutes) + float(rest)
                      for minutes, rest in re.findall(r"(\d+)m([\d.]+)s", children))
        print(f"one call of the hook: {seconds / 10 * 1000:.0f} ms of CPU")
        self.assertLess(seconds / 10, 0.25 * host.PATIENCE)


if __name__ == "__main__":
    taptest.main()
