#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is no business of virtcrypt is as without it: the same commands on the same folder say the
same to the byte with stock libvirtd and with the connector, beside each other. And in a libvirt that
it does not know, the connector leaves all as it is and says so."""

import os
import re
import shutil
import tempfile
import unittest
import uuid

import host
import taptest
import volumes

_MODULE = "libvirt_driver_storage.so"
_OTHER_LIBVIRT = os.path.join(host.BUILD_ROOT, "tests/e2e")

# When a file was read last, and what others have put on the machine's disk meanwhile.
_CHANGING = re.compile(r"<(atime)>[0-9.]+</\1>|<(allocation|available) unit='bytes'>[0-9]{10,}</\2>")


class Beside(unittest.TestCase):
    """Two hosts with one folder: /tmp is the machine's own in both."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="virtcrypt-beside-", dir="/tmp")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.stock = cls.start_host(connector=False)
        cls.ours = cls.start_host(connector=True)

    @classmethod
    def start_host(cls, connector):
        machine = host.Host()
        cls.addClassCleanup(machine.close)
        if connector:
            machine.start_secretd()
        machine.start_libvirtd(connector=connector)
        return machine

    def setUp(self):
        self.pool = self.id().split(".test_")[1][:40]
        self.target = os.path.join(self.folder, self.pool)
        os.mkdir(self.target)
        identifier = str(uuid.uuid4())
        for machine in (self.stock, self.ours):
            volumes.define_pool(machine, self.pool, self.target, identifier)

    def refresh(self):
        for machine in (self.stock, self.ours):
            machine.virsh("pool-refresh", self.pool).check()

    def say_the_same(self, *arguments):
        """Both; returns what they say, without what changes by itself."""
        said = []
        for machine in (self.stock, self.ours):
            done = machine.virsh(*arguments)
            said.append((done.returncode, _CHANGING.sub("", done.stdout), done.stderr))
        self.assertEqual(said[0], said[1], arguments)
        return said[0]

    def fill(self):
        names = {"raw": "raw", "copied": "qcow2", "odd name": "raw", "x.crypt": "raw",
                 ".hidden.virtcrypt": "raw"}
        for name, image_format in names.items():
            self.stock.virsh("vol-create-as", self.pool, name, "1M", "--format",
                             image_format).check()
        self.refresh()
        return names

    def test_lists_and_descriptions_are_the_same(self):
        for name in self.fill():
            for command in ("vol-dumpxml", "vol-info", "vol-path", "vol-key", "vol-pool"):
                self.assertEqual(self.say_the_same(command, f"{self.target}/{name}")[0], 0)
            self.say_the_same("vol-info", name, self.pool, "--physical")
        self.assertEqual(self.say_the_same("vol-list", self.pool, "--details")[0], 0)
        self.say_the_same("pool-dumpxml", self.pool)

    def test_errors_are_the_same(self):
        self.fill()
        for arguments in (("vol-info", "missing", self.pool), ("vol-path", "missing", self.pool),
                          ("vol-pool", "/no/such/path"), ("vol-name", "/dev/virtcrypt/a"),
                          ("vol-delete", "missing", self.pool), ("vol-list", "missing"),
                          ("vol-create-as", self.pool, "raw", "1M"),
                          ("vol-create-as", self.pool, "a/b", "1M"),
                          ("vol-create-as", self.pool, "new", "1M", "--format", "odd"),
                          ("vol-create-as", "missing", "new", "1M"),
                          ("vol-resize", "raw", "1", "--pool", self.pool)):
            self.assertNotEqual(self.say_the_same(*arguments)[0], 0, arguments)

    def test_a_stopped_pool_says_the_same(self):
        self.fill()
        for machine in (self.stock, self.ours):
            machine.virsh("pool-destroy", self.pool).check()
        self.assertNotEqual(self.say_the_same("vol-list", self.pool)[0], 0)
        self.assertNotEqual(self.say_the_same("vol-info", "raw", self.pool)[0], 0)
        self.assertNotEqual(self.say_the_same("vol-create-as", self.pool, "new", "1M")[0], 0)

    def test_changes_have_the_same_effect(self):
        def go_through(machine, name):
            for arguments in (("vol-create-as", self.pool, name, "2M", "--format", "qcow2"),
                              ("vol-clone", name, name + "-2", "--pool", self.pool),
                              ("vol-resize", name + "-2", "3M", "--pool", self.pool),
                              ("vol-create-as", self.pool, name + "-3", "1M"),
                              ("vol-wipe", name + "-3", self.pool),
                              ("vol-delete", name + "-3", self.pool),
                              ("vol-create-as", self.pool, name + "-4", "4M", "--format", "qcow2",
                               "--backing-vol", name, "--backing-vol-format", "qcow2")):
                machine.virsh(*arguments).check()
            found = sorted(os.listdir(self.target))
            images = [machine.run(["qemu-img", "info", f"{self.target}/{file}"]).check().stdout
                      for file in found]
            for file in found:
                os.unlink(os.path.join(self.target, file))
            machine.virsh("pool-refresh", self.pool).check()
            return found, images

        self.assertEqual(go_through(self.stock, "v"), go_through(self.ours, "v"))

    def test_upload_and_download_are_the_same(self):
        content = os.urandom(100000)
        for machine in (self.stock, self.ours):
            machine.virsh("vol-create-as", self.pool, "file", "1M").check()
            machine.write("/run/content", content)
            machine.virsh("vol-upload", "file", "/run/content", "--pool", self.pool, "--offset",
                          "4096").check()
            machine.virsh("vol-download", "file", "/run/saved", "--pool", self.pool,
                          "--length", "200000").check()
            self.assertEqual(machine.read("/run/saved"),
                             (bytes(4096) + content).ljust(200000, b"\0"))
            machine.virsh("vol-delete", "file", self.pool).check()


class OtherLibvirt(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def start(self, folder):
        """libvirtd with its own secret driver and the storage connector of that folder."""
        os.makedirs(self.machine.path("/run/other"))
        os.symlink(os.path.join(folder, _MODULE), self.machine.path("/run/other/" + _MODULE))
        return self.machine.start_libvirtd(connector="/run/other")

    def connector_that_wants(self, function):
        """A copy of the connector with the name of one of libvirt's functions changed."""
        with open(os.path.join(host.BUILD_ROOT, "src/driver", _MODULE), "rb") as file:
            module = file.read()
        known = b"virFDStreamOpenBlockDevice\0"
        self.assertEqual(len(function) + 1, len(known))
        self.assertEqual(module.count(known), 1)
        self.machine.write("/run/changed/" + _MODULE,
                           module.replace(known, function.encode() + b"\0"), 0o755)
        return "/run/changed"

    def assert_libvirts_own_driver_works(self):
        volumes.define_pool(self.machine)
        self.machine.virsh("vol-create-as", volumes.POOL, "a", "1M").check()
        self.assertIn("1.00 MiB", self.machine.virsh("vol-info", "a", volumes.POOL).check().stdout)

    def test_an_unknown_version_gets_libvirts_own_driver_and_says_so(self):
        libvirtd = self.start(_OTHER_LIBVIRT)
        self.assertRegex(libvirtd.log_text(),
                         r"virtcrypt: libvirt \d+\.\d+\.\d+ is not between 8\.0 and 8\.999, which "
                         r"this version of virtcrypt knows: libvirt's own storage driver is used "
                         r"as it is")
        self.assert_libvirts_own_driver_works()

    def test_a_missing_function_gets_libvirts_own_driver_and_says_so(self):
        libvirtd = self.start(self.connector_that_wants("virFDStreamOpenBlockDevic7"))
        self.assertIn("virtcrypt: libvirt has no function virFDStreamOpenBlockDevic7: libvirt's own "
                      "storage driver is used as it is", libvirtd.log_text())
        self.assert_libvirts_own_driver_works()

    def test_libvirtd_runs_when_its_own_driver_is_not_there(self):
        own = os.path.join(host.libvirt_driver_folder(), _MODULE)
        self.machine.run(["mount", "--bind", "/dev/null", own]).check()
        libvirtd = self.start(os.path.join(host.BUILD_ROOT, "src/driver"))
        self.assertRegex(libvirtd.log_text(), rf"can't be loaded: {re.escape(own)}.*: libvirtd runs "
                                              "without storage")
        self.machine.virsh("list").check()

    def test_a_known_version_says_nothing(self):
        libvirtd = self.start(os.path.join(host.BUILD_ROOT, "src/driver"))
        self.assertNotIn("virtcrypt:", libvirtd.log_text())

    def test_the_module_shows_nothing_but_its_register_function(self):
        module = os.path.join(host.BUILD_ROOT, "src/driver", _MODULE)
        symbols = self.machine.run(["nm", "-D", "--defined-only", module]).check().stdout
        self.assertEqual([line.split()[-1] for line in symbols.splitlines()], ["storageRegister"])

    def test_the_module_is_linked_to_no_private_function_of_libvirt(self):
        module = os.path.join(host.BUILD_ROOT, "src/driver", _MODULE)
        symbols = self.machine.run(["nm", "-D", "--undefined-only", module]).check().stdout
        self.assertNotIn("LIBVIRT_PRIVATE", symbols)


if __name__ == "__main__":
    taptest.main()
