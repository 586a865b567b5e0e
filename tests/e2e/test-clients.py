#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock virsh and Sys::Virt say of our secrets, to the letter, what they say of libvirt's own: the
same commands are run on a stock host and on one with virtcrypt, and all that is printed and every
exit status is compared."""

import os
import pty
import re
import unittest

import host
import taptest

_SOURCE = os.path.dirname(os.path.abspath(__file__))

_VOLUME = "11111111-1111-4111-8111-111111111111"
_CEPH = "22222222-2222-4222-8222-222222222222"
_TLS = "33333333-3333-4333-8333-333333333333"
_NONE = "44444444-4444-4444-8444-444444444444"

_FILES = {
    "volume.xml": f"<secret ephemeral='no' private='no'><uuid>{_VOLUME}</uuid><description>the disk"
                  "</description><usage type='volume'><volume>/v/1</volume></usage></secret>",
    "volume-2.xml": f"<secret><uuid>{_VOLUME}</uuid><usage type='volume'><volume>/v/2</volume>"
                    "</usage></secret>",
    "ceph.xml": f"<secret private='yes'><uuid>{_CEPH}</uuid><usage type='ceph'><name>client.admin "
                "secret</name></usage></secret>",
    "tls.xml": f"<secret ephemeral='yes'><uuid>{_TLS}</uuid><usage type='tls'><name>TLS</name>"
               "</usage></secret>",
    "none.xml": f"<secret><uuid>{_NONE}</uuid></secret>",
    "same-usage.xml": "<secret><usage type='volume'><volume>/v/1</volume></usage></secret>",
    "bad.xml": "<secret>",
    "other.xml": "<network/>",
    "unknown-usage.xml": "<secret><usage type='door'/></secret>",
    "no-volume.xml": "<secret><usage type='volume'/></secret>",
    "bad-uuid.xml": "<secret><uuid>1</uuid></secret>",
    "bad-flag.xml": "<secret ephemeral='perhaps'/>",
    "extra.xml": "<secret><extra/></secret>",
    "value": b"a value\0with zero",
    "value.base64": b"YWJj",
    "empty": b"",
}

# A list of commands is a story: what it leaves behind is there for the next one.
_STORY = """
secret-list
secret-define /run/t/volume.xml
secret-define /run/t/ceph.xml
secret-define /run/t/tls.xml
secret-define /run/t/none.xml
secret-list
secret-list --ephemeral
secret-list --no-ephemeral
secret-list --private
secret-list --no-private
secret-list --private --ephemeral
secret-dumpxml {volume}
secret-dumpxml {ceph}
secret-dumpxml {tls}
secret-dumpxml {none}
secret-get-value {volume}
secret-set-value {volume} --file /run/t/value --plain
secret-get-value {volume}
secret-get-value {volume} --plain
secret-set-value {volume} --file /run/t/value.base64
secret-get-value {volume} --plain
secret-set-value {volume} YWJjZA==
secret-get-value {volume} --plain
secret-set-value {volume} --file /run/t/empty --plain
secret-set-value {volume} --file /run/t/nonexistent
secret-set-value {volume}
secret-set-value {ceph} --file /run/t/value --plain
secret-get-value {ceph}
secret-set-value {tls} --file /run/t/value --plain
secret-get-value {tls} --plain
secret-define /run/t/volume.xml
secret-get-value {volume}
secret-define /run/t/volume-2.xml
secret-define /run/t/same-usage.xml
secret-define /run/t/bad.xml
secret-define /run/t/other.xml
secret-define /run/t/unknown-usage.xml
secret-define /run/t/no-volume.xml
secret-define /run/t/bad-uuid.xml
secret-define /run/t/bad-flag.xml
secret-define /run/t/extra.xml --validate
secret-define /run/t/volume.xml --validate
secret-define /run/t/nonexistent.xml
secret-dumpxml 99999999-9999-4999-8999-999999999999
secret-get-value 99999999-9999-4999-8999-999999999999
secret-set-value 99999999-9999-4999-8999-999999999999 YWJj
secret-undefine 99999999-9999-4999-8999-999999999999
secret-dumpxml /v/1
secret-undefine {tls}
secret-undefine {tls}
secret-list
secret-undefine {volume}
secret-undefine {ceph}
secret-undefine {none}
secret-list
""".format(volume=_VOLUME, ceph=_CEPH, tls=_TLS, none=_NONE).strip().splitlines()

_OURS_THROUGH = {"qemu:///system": "qemu:///system",
                 f"secret:///system?socket={host.LIBVIRTD_SOCKET}": "qemu:///system",
                 "secret:///system": "qemu:///system"}


def _without_chance(text):
    """Without a uuid that the daemon made up, and what the schema's engine says, which names files
    of libvirt's."""
    known = "|".join((_VOLUME, _CEPH, _TLS, _NONE, "9{8}-9999-4999-8999-9{12}"))
    text = re.sub(rf"\b(?!(?:{known})\b)[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\b", "UUID",
                  text)
    return re.sub(r"(Unable to validate doc against) \S*secret\.rng\n.+\n+", r"\1 SCHEMA\n", text)


class SameAsStock(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.stock = host.Host()
        cls.addClassCleanup(cls.stock.close)
        cls.ours = host.Host()
        cls.addClassCleanup(cls.ours.close)
        for machine in (cls.stock, cls.ours):
            for name, content in _FILES.items():
                machine.write("/run/t/" + name, content)
        cls.ours.start_secretd('value_readback = "any"\n')
        cls.ours.start_libvirtd(connector=True)
        cls.stock.start_libvirtd()

    def tearDown(self):
        for machine in (self.stock, self.ours):
            for name in machine.virsh("secret-list").stdout.split():
                if re.fullmatch(r"[0-9a-f-]{36}", name):
                    machine.virsh("secret-undefine", name).check()

    def told(self, machine, uri):
        lines = []
        for command in _STORY:
            done = machine.virsh(*command.split(), uri=uri)
            lines += [f"$ virsh {command}", done.stdout, done.stderr, f"exit {done.returncode}"]
        return _without_chance("\n".join(lines))

    def test_virsh_prints_the_same_through_every_way_to_our_secrets(self):
        for ours, stock in _OURS_THROUGH.items():
            with self.subTest(ours):
                self.assertEqual(self.told(self.ours, ours), self.told(self.stock, stock))

    def test_the_story_has_successes_and_failures(self):
        told = self.told(self.stock, "qemu:///system")
        self.assertGreater(told.count("\nexit 0"), 25)
        self.assertGreater(told.count("\nexit 1"), 15)

    def test_a_value_typed_at_virshs_prompt_is_set(self):
        for machine in (self.stock, self.ours):
            machine.virsh("secret-define", "/run/t/volume.xml").check()
            terminal, other_end = pty.openpty()
            virsh = machine.popen(["setsid", "--ctty", "virsh", "-c", "qemu:///system",
                                   "secret-set-value", _VOLUME, "--interactive"],
                                  stdin=other_end, stdout=other_end, stderr=other_end)
            os.close(other_end)
            # What is typed before virsh has turned off the echo is thrown away.
            host.wait_for(lambda: os.write(terminal, b"typed in\n") and virsh.poll() is not None,
                          "virsh takes the value", interval=0.5)
            os.close(terminal)
            self.assertEqual(virsh.returncode, 0)
            self.assertEqual(machine.virsh("secret-get-value", _VOLUME, "--plain").check().stdout,
                             "typed in\n")
            machine.virsh("secret-undefine", _VOLUME).check()

    def test_sys_virt_prints_the_same(self):
        with open(os.path.join(_SOURCE, "sysvirt.pl"), encoding="utf-8") as file:
            script = file.read()
        for ours, stock in _OURS_THROUGH.items():
            with self.subTest(ours):
                wanted = self.stock.run(["perl", "-", stock], input=script).check().stdout
                self.assertIn("value: 610062ff\n", wanted)
                self.assertEqual(self.ours.run(["perl", "-", ours], input=script).check().stdout,
                                 wanted)


if __name__ == "__main__":
    taptest.main()
