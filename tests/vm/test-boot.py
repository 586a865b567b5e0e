#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens at boot: a guest that starts by itself comes up on its unlocked disks after a reboot
of the host, with daemons that somebody starts and with systemd, whose units have an order and
confine our daemons. At shutdown mappings are closed after guests."""

import re
import unittest

import host
import taptest
import vm
import vmhost

_LUKS2 = "<encryption format='luks2' engine='dm-crypt'/>"

# Not looked at here, and seconds each under emulation.
_MASKED = """
    systemd-logind.service getty.target systemd-binfmt.service dev-hugepages.mount dev-mqueue.mount
    sys-kernel-debug.mount sys-kernel-tracing.mount systemd-sysctl.service
    systemd-random-seed.service proc-sys-fs-binfmt_misc.automount systemd-update-utmp.service
    systemd-update-utmp-runlevel.service systemd-journal-flush.service systemd-tmpfiles-clean.timer
    modprobe@drm.service modprobe@fuse.service systemd-user-sessions.service
""".split()


class Boot(unittest.TestCase):
    """Its cases are the steps of one history, in the order of their numbers."""

    @classmethod
    def setUpClass(cls):
        cls.machine = vmhost.start_host()
        cls.addClassCleanup(cls.machine.close)
        for pool in ("lv", "dir"):
            cls.machine.create_volume(pool, "disk", _LUKS2).check()
            cls.machine.virtcrypt("vol-open", "disk", "--pool", pool).check()
        cls.machine.write_guest("/dev/virtcrypt/lv/disk", "first")
        for pool in ("lv", "dir"):
            cls.machine.virtcrypt("vol-close", "disk", "--pool", pool).check()
        cls.machine.define_guest("guest", ["/dev/virtcrypt/lv/disk", "/dev/virtcrypt/dir/disk"],
                                 autostart=True)
        cls.machine.virsh("start", "guest").check()
        cls.machine.wait_for_boot("guest", "first", 1)

    def assert_guest_uses_both(self):
        opened = self.machine.run(["dmsetup", "ls", "--target", "crypt"]).check().stdout
        self.assertEqual(len(re.findall(r"^virtcrypt-", opened, re.M)), 2, opened)
        for pool in ("lv", "dir"):
            self.assertIn("guest", self.machine.virtcrypt("vol-info", "disk", "--pool",
                                                          pool).check().stdout)

    def test_1_a_guest_comes_up_after_a_reboot(self):
        self.machine.reboot()
        self.machine.start_all()
        self.machine.wait_for_boot("guest", "first", 2)
        self.assert_guest_uses_both()

    def test_2_a_guest_comes_up_by_itself_where_systemd_starts_the_daemons(self):
        self.machine.reboot(systemd=True, words=" ".join(
            f"systemd.mask={unit}" for unit in _MASKED) + " systemd.unit=multi-user.target")
        self.machine.wait_for_boot("guest", "first", 3, 2 * vm.BOOT_BOUND_S)
        self.assert_guest_uses_both()
        pools = self.machine.virsh("pool-list", "--name").check().stdout.split()
        self.assertEqual(sorted(pools), ["dir", "lv"], self.machine.run(
            ["journalctl", "-b", "-p", "warning"]).stdout[-3000:])

    def start_of(self, unit):
        done = self.machine.run(["systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", unit])
        return int(done.check().stdout)

    def test_3_sockets_are_there_before_libvirtd_and_no_unit_has_failed(self):
        self.machine.shell("for n in {1..300}; do systemctl -q is-active libvirtd && exit; "
                           "sleep 0.2; done; exit 1").check()
        began = int(self.machine.run(["systemctl", "show", "-P", "ExecMainStartTimestampMonotonic",
                                      "libvirtd.service"]).check().stdout)
        for unit in ("virtcrypt-secretd.socket", "virtcryptd.socket"):
            self.assertGreater(self.start_of(unit), 0)
            self.assertLess(self.start_of(unit), began, unit)
        failed = self.machine.run(["systemctl", "--failed", "--plain", "--no-legend"])
        self.assertNotRegex(failed.stdout, "virt")

    def test_4_confined_daemons_make_open_and_delete_volumes(self):
        for pool in ("lv", "dir"):
            self.machine.create_volume(pool, "confined", _LUKS2).check()
            self.machine.virtcrypt("vol-open", "confined", "--pool", pool).check()
            self.machine.shell(f"head -c 512 /dev/virtcrypt/{pool}/confined").check()
            self.machine.virtcrypt("vol-close", "confined", "--pool", pool).check()
            self.machine.virtcrypt("vol-delete", "confined", "--pool", pool).check()
        self.machine.virtcrypt("vol-create", "dir", "image", "8M", "--format", "qcow2").check()
        self.machine.virtcrypt("vol-delete", "image", "--pool", "dir").check()

    def test_5_a_shutdown_closes_what_no_guest_uses_any_more(self):
        """The unit's own step at a shutdown; what guests use stays open until they are gone."""
        self.machine.create_volume("lv", "person", _LUKS2).check()
        self.machine.virtcrypt("vol-open", "person", "--pool", "lv").check()
        self.machine.run(["systemctl", "stop", "virtcrypt-mappings.service"]).check()
        self.assertFalse(self.machine.exists("/dev/virtcrypt/lv/person"))
        self.assertTrue(self.machine.exists("/dev/virtcrypt/lv/disk"))
        self.machine.virsh("destroy", "guest").check()
        # udev may look at a device that a guest has just closed: then it is closed behind that.
        host.wait_for(lambda: "virtcrypt" not in self.machine.run(
            ["dmsetup", "ls", "--target", "crypt"]).check().stdout, "all volumes are closed")

    def test_6_systemd_powers_the_machine_off_in_order(self):
        self.machine.virsh("start", "guest").check()
        self.machine.wait_for_boot("guest", "first", 4)
        self.machine.begin(["systemctl", "poweroff"])
        self.machine.wait_for_end(vm.BOOT_BOUND_S)
        self.assertNotIn("Failed to detach DM", self.machine.console_text())


if __name__ == "__main__":
    taptest.main()
