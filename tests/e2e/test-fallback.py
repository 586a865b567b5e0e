#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The connector in a libvirt that it does not know: libvirt's own secret driver is used, which is
said in libvirtd's output. Shown with builds of the connector that know other versions only, or want
a function that libvirt does not have."""

import os
import re
import unittest

import libvirt

import host
import taptest

_OTHER_LIBVIRT = os.path.join(host.BUILD_ROOT, "tests/e2e")
_MODULE = "libvirt_driver_secret.so"

_XML = "<secret><usage type='volume'><volume>/v</volume></usage></secret>"


class Fallback(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def connect(self):
        connection = libvirt.open(self.machine.uri())
        self.addCleanup(connection.close)
        return connection

    def connector_that_wants(self, function):
        """A copy of the connector with the name of one of libvirt's functions changed."""
        with open(os.path.join(host.BUILD_ROOT, "src/driver", _MODULE), "rb") as file:
            module = file.read()
        known = b"virGetConnectSecret\0"
        self.assertEqual(len(function) + 1, len(known))
        self.assertEqual(module.count(known), 1)
        self.machine.write("/run/other/" + _MODULE,
                           module.replace(known, function.encode() + b"\0"), 0o755)
        return "/run/other"

    def assert_libvirts_own_driver_works(self):
        secret = self.connect().secretDefineXML(_XML)
        secret.setValue(b"value")
        # Its own way to keep a value.
        self.assertEqual(self.machine.read(f"/etc/libvirt/secrets/{secret.UUIDString()}.base64"),
                         b"dmFsdWU=")

    def test_an_unknown_version_gets_libvirts_own_driver_and_says_so(self):
        libvirtd = self.machine.start_libvirtd(connector=_OTHER_LIBVIRT)
        self.assertRegex(libvirtd.log_text(),
                         r"virtcrypt: libvirt \d+\.\d+\.\d+ is not between 8\.0 and 8\.999, which "
                         r"this version of virtcrypt knows: libvirt's own secret driver is used "
                         r"instead, which keeps values in clear")
        self.assert_libvirts_own_driver_works()

    def test_a_missing_function_gets_libvirts_own_driver_and_says_so(self):
        libvirtd = self.machine.start_libvirtd(
            connector=self.connector_that_wants("virGetConnectSecre7"))
        self.assertIn("virtcrypt: libvirt has no function virGetConnectSecre7: libvirt's own secret "
                      "driver is used instead", libvirtd.log_text())
        self.assert_libvirts_own_driver_works()

    def test_libvirtd_runs_when_its_own_driver_can_not_because_ours_holds_its_lock(self):
        # A stock daemon holds the lock just as virtcrypt-secretd does.
        holder = self.machine.start_reference()
        libvirtd = self.machine.start_libvirtd(connector=_OTHER_LIBVIRT)
        self.assertRegex(libvirtd.log_text(),
                         rf"libvirtd runs without secrets, because process {holder.pid}\b")
        self.machine.virsh("list").check()
        done = self.machine.virsh("secret-list")
        self.assertEqual(done.returncode, 1)
        self.assertIn("not supported by the connection driver", done.stderr)

    def test_libvirtd_runs_when_its_own_driver_is_not_there(self):
        own = os.path.join(host.libvirt_driver_folder(), _MODULE)
        self.machine.run(["mount", "--bind", "/dev/null", own]).check()
        libvirtd = self.machine.start_libvirtd(connector=_OTHER_LIBVIRT)
        self.assertRegex(libvirtd.log_text(), rf"can't be loaded: {re.escape(own)}.*: libvirtd runs "
                                              "without secrets")
        self.machine.virsh("list").check()

    def test_a_known_version_says_nothing(self):
        libvirtd = self.machine.start_libvirtd(connector=True)
        self.assertNotIn("virtcrypt:", libvirtd.log_text())

    def test_the_module_shows_nothing_but_its_register_function(self):
        module = os.path.join(host.BUILD_ROOT, "src/driver", _MODULE)
        symbols = self.machine.run(["nm", "-D", "--defined-only", module]).check().stdout
        self.assertEqual([line.split()[-1] for line in symbols.splitlines()], ["secretRegister"])

    def test_the_module_is_linked_to_no_private_function_of_libvirt(self):
        module = os.path.join(host.BUILD_ROOT, "src/driver", _MODULE)
        symbols = self.machine.run(["nm", "-D", "--undefined-only", module]).check().stdout
        self.assertNotIn("LIBVIRT_PRIVATE", symbols)


def setUpModule():
    libvirt.registerErrorHandler(lambda context, error: None, None)


if __name__ == "__main__":
    taptest.main()
