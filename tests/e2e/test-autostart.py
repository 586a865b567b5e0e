#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host that boots with a locked master key, under real libvirtd and QEMU: its guest on an encrypted
disk is not started, is listed as waiting, and starts after the unlock if it is set so."""

import base64
import json
import os
import time
import unittest
import uuid

import guest
import host
import taptest

_PROGRAM = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_HELPER = {"VIRTCRYPT_UNLOCK_HELPER":
           os.path.join(host.BUILD_ROOT, "src/master/virtcrypt-unlock-helper")}
_KEY = "/etc/libvirt/virtcrypt/master.key"
_NOTE = "/run/libvirt/virtcrypt/autostart"
_ENABLED = "autostart_after_unlock = 1\n"
_IMAGES = "/var/lib/libvirt/images"
# virtcryptd asks every 2 s.
_POLLS_S = 7


class Autostart(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.config = _ENABLED
        self.start_daemons()
        self.define_guest("locked")
        self.define_guest("other")
        self.machine.virsh("autostart", "--disable", "other").check()
        self.define_plain_guest()
        self.stop_daemons()

    # ---- the host ----

    def ours(self, *words):
        return self.machine.run([_PROGRAM, *words], env=_HELPER)

    def start_daemons(self):
        self.secretd = self.machine.start_secretd(env=_HELPER)
        self.virtcryptd = self.machine.start_virtcryptd(self.config)
        self.libvirtd = self.machine.start_libvirtd(connector=True)

    def stop_daemons(self):
        for daemon in (self.libvirtd, self.virtcryptd, self.secretd):
            daemon.stop_in_order()

    def boot(self, is_locked=True, config=_ENABLED):
        """/run is empty then."""
        self.config = config
        for name in ("/run/libvirt/qemu/autostarted", _NOTE):
            if self.machine.exists(name):
                os.unlink(self.machine.path(name))
        if is_locked:
            os.rename(self.machine.path(_KEY), self.machine.path("/etc/libvirt/master.key.away"))
        self.start_daemons()

    def unlock(self):
        os.rename(self.machine.path("/etc/libvirt/master.key.away"), self.machine.path(_KEY))
        self.ours("master", "unlock").check()

    def define_guest(self, name):
        secret = str(uuid.uuid4())
        disk = f"{_IMAGES}/{name}"
        passphrase = base64.b64encode(os.urandom(36))
        self.machine.write("/run/secret.xml", (
            f"<secret ephemeral='no' private='yes'><uuid>{secret}</uuid>"
            f"<usage type='volume'><volume>{disk}</volume></usage></secret>"))
        self.machine.virsh("secret-define", "/run/secret.xml").check()
        self.machine.virsh("secret-set-value", secret, "--plain", "--file", "/dev/stdin",
                           input=passphrase, text=False).check()
        guest.make_luks(self.machine, disk, passphrase, guest.disk(name))
        self.machine.write("/run/guest.xml",
                           guest.domain_xml(name, disk, "raw", secret, f"/var/log/{name}"))
        self.machine.virsh("define", "/run/guest.xml").check()
        self.machine.virsh("autostart", name).check()

    def define_plain_guest(self):
        self.machine.write("/run/guest.xml", (
            "<domain type='qemu'><name>plain</name><memory unit='MiB'>32</memory><os>"
            "<type arch='x86_64' machine='pc'>hvm</type></os><devices><serial type='null'/>"
            "<memballoon model='none'/></devices></domain>"))
        self.machine.virsh("define", "/run/guest.xml").check()
        self.machine.virsh("autostart", "plain").check()

    # ---- what is seen ----

    def state(self, name):
        return self.machine.virsh("domstate", name).check().stdout.strip()

    def listed(self):
        done = self.ours("guest-list", "--json").check()
        return {entry["name"]: entry["state"] for entry in json.loads(done.stdout)}

    def waits(self, name, state="waiting for unlock"):
        host.wait_for(lambda: self.listed().get(name) == state, f"{name} is '{state}'")

    def status(self):
        return json.loads(self.ours("host-status", "--json").check().stdout)["virtcryptd"]["guests"]

    def assert_runs(self, name="locked"):
        host.wait_for(lambda: self.state(name) == "running", f"{name} runs")
        wanted = f"{name} (boot ".encode()
        host.wait_for(lambda: self.machine.exists(f"/var/log/{name}")
                      and wanted in self.machine.read(f"/var/log/{name}"), f"{name} booted")

    def assert_stays_off(self, name="locked"):
        deadline = time.monotonic() + _POLLS_S
        while time.monotonic() < deadline:
            self.assertEqual(self.state(name), "shut off")
            time.sleep(0.5)

    # ---- cases ----

    def test_a_guest_that_waits_is_listed_and_started_after_the_unlock(self):
        self.boot()
        self.waits("locked")
        self.assertEqual(self.state("plain"), "running")
        self.assertEqual(self.listed()["other"], "shut off")
        self.assertEqual(self.status()["waiting-for-unlock"], 1)
        self.assertIs(self.status()["starts-after-unlock"], True)
        self.assertIn("1 guests were not started at boot and wait for the master key",
                      self.ours("host-status").check().stdout)
        self.assertEqual(self.state("locked"), "shut off")
        self.unlock()
        self.assert_runs()
        self.assertEqual(self.state("other"), "shut off")
        host.wait_for(lambda: self.status()["waiting-for-unlock"] == 0, "nobody waits")
        # Once: what is shut down stays so.
        self.machine.virsh("destroy", "locked").check()
        self.assert_stays_off()
        self.assertEqual(self.listed()["locked"], "shut off")

    def test_without_the_setting_it_is_only_listed(self):
        self.boot(config="")
        self.waits("locked")
        self.unlock()
        self.waits("locked", "waiting for start")
        self.assert_stays_off()
        self.assertIn("wait for somebody to start them",
                      self.ours("host-status").check().stdout)
        self.machine.virsh("start", "locked").check()
        self.assert_runs()
        self.machine.virsh("destroy", "locked").check()
        # Once virtcryptd was told that it had been started.
        self.waits("locked", "shut off")

    def test_what_was_undefined_or_shall_not_autostart_is_dropped(self):
        self.boot()
        self.waits("locked")
        self.machine.virsh("autostart", "--disable", "locked").check()
        self.unlock()
        self.assert_stays_off()
        host.wait_for(lambda: self.status()["waiting-for-unlock"] == 0, "nobody waits")

    def test_a_restart_of_virtcryptd_keeps_who_waits_and_adds_nobody(self):
        self.boot()
        self.waits("locked")
        self.machine.virsh("destroy", "plain").check()
        self.virtcryptd.stop_in_order()
        # Defined and to be autostarted, but not at the boot that was.
        self.machine.virsh("autostart", "other").check()
        self.virtcryptd = self.machine.start_virtcryptd(_ENABLED)
        self.waits("locked")
        self.assertEqual(self.listed()["other"], "shut off")
        self.unlock()
        self.assert_runs()
        self.assertEqual(self.state("other"), "shut off")
        self.assertEqual(self.state("plain"), "shut off")

    def test_an_unlock_that_virtcryptd_missed_starts_nobody(self):
        self.boot()
        self.waits("locked")
        self.virtcryptd.kill()
        self.unlock()
        self.machine.virsh("start", "locked").check()
        self.machine.virsh("destroy", "locked").check()
        self.virtcryptd = self.machine.start_virtcryptd(_ENABLED)
        self.waits("locked", "waiting for start")
        self.assert_stays_off()
        self.assertIn("1 guests that waited for the unlock are not started by themselves",
                      self.virtcryptd.log_text())

    def test_a_boot_that_is_not_locked_makes_nobody_wait(self):
        self.boot(is_locked=False)
        self.assert_runs()
        self.machine.virsh("destroy", "locked").check()
        host.wait_for(lambda: self.machine.exists(_NOTE), "virtcryptd has looked")
        self.assertEqual(self.status()["waiting-for-unlock"], 0)
        # Locked later, and unlocked again.
        os.rename(self.machine.path(_KEY), self.machine.path("/etc/libvirt/master.key.away"))
        self.ours("master", "lock").check()
        self.unlock()
        self.assert_stays_off()

    def test_a_guest_that_can_not_be_started_is_tried_once(self):
        self.boot()
        self.waits("locked")
        os.rename(self.machine.path(f"{_IMAGES}/locked"), self.machine.path(f"{_IMAGES}/away"))
        self.unlock()
        host.wait_for(lambda: "guest 'locked', which waited for the unlock, can't be started, and "
                      "is not tried again" in self.virtcryptd.log_text(), "the failure is logged")
        os.rename(self.machine.path(f"{_IMAGES}/away"), self.machine.path(f"{_IMAGES}/locked"))
        self.assert_stays_off()
        self.assertEqual(self.listed()["locked"], "shut off")


if __name__ == "__main__":
    taptest.main()
