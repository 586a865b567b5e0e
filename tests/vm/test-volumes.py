#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""dm-crypt volumes by virtcrypt, on logical volumes and on files: their life in each format, judged
by cryptsetup and the kernel, and what is refused."""

import json
import re
import unittest

import host
import taptest
import vmhost

_PATTERN = b"virtcrypt-pattern-" + b"0123456789abcdef" * 30
_LUKS = "<encryption format='luks' engine='dm-crypt'/>"
_LUKS2 = "<encryption format='luks2' engine='dm-crypt'/>"
_PLAIN = "<encryption format='plain' engine='dm-crypt'/>"
_INTEGRITY = ("<encryption format='luks2' engine='dm-crypt'>"
              "<dmcrypt><integrity mode='hmac'/></dmcrypt></encryption>")
_DETACHED = ("<encryption format='luks2' engine='dm-crypt'>"
             "<dmcrypt sector_size='4096'><header path='{}'/></dmcrypt></encryption>")


class Volumes(vmhost.VmHostMixin, unittest.TestCase):
    def setUp(self):
        self.name = self.id().split(".test_")[1][:20]

    # ---- what a life consists of ----

    def open_volume(self, pool):
        printed = self.machine.virtcrypt("vol-open", self.name, "--pool", pool).check().stdout
        path = f"/dev/virtcrypt/{pool}/{self.name}"
        self.assertIn(path, printed)
        # QEMU runs as another user, who has to get there.
        shown = self.machine.run(["stat", "-c", "%a", "/dev/virtcrypt",
                                  f"/dev/virtcrypt/{pool}"]).check().stdout
        self.assertEqual(shown.split(), ["755", "755"])
        return path

    def device_size(self, path):
        return int(self.machine.run(["blockdev", "--getsize64", path]).check().stdout)

    def capacity(self, pool):
        info = self.machine.virtcrypt("vol-info", self.name, "--pool", pool, "--bytes").check()
        return int(re.search(r"Capacity: +([0-9]+)", info.stdout).group(1))

    def close_volume(self, pool):
        self.machine.virtcrypt("vol-close", self.name, "--pool", pool).check()

    def assert_lives(self, pool, encryption=_LUKS2, size=8):
        """Created, opened, written, closed, opened, read, deleted; the ciphertext is no cleartext
        and nothing is left."""
        container = self.ciphertext(pool, self.name)
        secrets = self.machine.secrets()
        self.machine.create_volume(pool, self.name, encryption, size).check()
        self.assertTrue(self.machine.exists(container))
        self.assertFalse(self.machine.exists(f"/dev/virtcrypt/{pool}/{self.name}"))
        path = self.open_volume(pool)
        self.assertEqual(self.device_size(path), self.capacity(pool))
        # A logical volume is rounded up to its extents, and checksums leave some more.
        self.assertGreaterEqual(self.device_size(path), size << 20)
        self.machine.run(["dd", f"of={path}", "bs=512", "seek=64", "conv=fsync"],
                         input=_PATTERN).check()
        self.close_volume(pool)
        self.assertFalse(self.machine.exists(path))
        self.assertEqual(self.machine.run(["grep", "-c", "virtcrypt-pattern", container]).stdout,
                         "0\n")
        path = self.open_volume(pool)
        self.assertEqual(self.read_pattern(path), _PATTERN)
        self.close_volume(pool)
        self.judge(pool, container, encryption)
        self.machine.virtcrypt("vol-delete", self.name, "--pool", pool).check()
        self.assertFalse(self.machine.exists(container))
        self.assertEqual(self.machine.secrets(), secrets)
        self.assertNotIn(self.name, self.machine.shell(
            "dmsetup ls; losetup -a; virtcrypt vol-list; ls -R /etc/libvirt/virtcrypt").stdout)

    def read_pattern(self, path):
        return self.machine.run(["dd", f"if={path}", "bs=512", "skip=64", "count=1"],
                                text=False).check().stdout[:len(_PATTERN)]

    def judge(self, pool, container, encryption):
        """cryptsetup opens it with the key and finds what was written through virtcrypt."""
        secret = self.machine.secret_of(pool, self.name)
        key = self.machine.secret_values(secret)[secret]
        options = []
        if encryption == _PLAIN:
            options = ["--type", "plain", "--cipher", "aes-xts-plain64", "--key-size", "512",
                       "--hash", "sha256"]
        elif "header" in encryption:
            options = ["--header", self.header()]
        self.machine.run(["cryptsetup", "open", "--readonly", "--key-file", "-", *options,
                          container, "judge"], input=key).check()
        self.assertEqual(self.read_pattern("/dev/mapper/judge"), _PATTERN)
        self.machine.run(["cryptsetup", "close", "judge"]).check()
        if "luks2" in encryption:
            self.assert_token(pool, options or [container], secret)

    def assert_token(self, pool, where, secret):
        if where[0] == "--header":
            where = where[1:]
        token = json.loads(self.machine.run(["cryptsetup", "token", "export", "--token-id", "0",
                                             where[0]]).check().stdout)
        self.assertEqual(token["type"], "virtcrypt")
        self.assertLessEqual({secret, pool, self.name}, set(map(str, token.values())), token)

    def header(self):
        return f"/var/lib/libvirt/{self.name}.header"

    # ---- lives ----

    def test_luks2_on_a_logical_volume(self):
        self.assert_lives("lv")

    def test_luks2_on_a_file(self):
        self.assert_lives("dir")

    def test_luks1_on_a_logical_volume(self):
        self.assert_lives("lv", _LUKS)

    def test_plain_on_a_logical_volume(self):
        self.assert_lives("lv", _PLAIN)

    def test_plain_on_a_file(self):
        self.assert_lives("dir", _PLAIN)

    def test_integrity_on_a_file(self):
        self.assert_lives("dir", _INTEGRITY, size=4)

    def test_detached_header_on_a_logical_volume(self):
        self.assert_lives("lv", _DETACHED.format(self.header()))

    def test_one_line_makes_one(self):
        self.machine.virtcrypt("vol-create", "lv", self.name, "8M", "--format",
                               "dm-crypt").check()
        self.assertIn("dm-crypt", self.machine.virtcrypt("vol-list", "--details").check().stdout)
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()

    def test_a_resized_volume_is_larger_and_keeps_its_contents(self):
        self.machine.create_volume("lv", self.name, _LUKS2).check()
        path = self.open_volume("lv")
        self.machine.run(["dd", f"of={path}", "bs=512", "seek=64", "conv=fsync"],
                         input=_PATTERN).check()
        self.close_volume("lv")
        self.machine.virtcrypt("vol-resize", self.name, "16M", "--pool", "lv").check()
        path = self.open_volume("lv")
        self.assertEqual(self.device_size(path), 16 << 20)
        self.assertEqual(self.read_pattern(path), _PATTERN)
        self.close_volume("lv")
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()

    # ---- refusals ----

    def test_a_volume_in_use_is_neither_closed_nor_deleted(self):
        self.machine.create_volume("lv", self.name, _LUKS2).check()
        path = self.open_volume("lv")
        done = self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv")
        self.assert_refused(done, "in use|is open", self.name)
        # Opened before it goes into the background, and closed before the test goes on.
        self.machine.shell(f"exec 3<{path}; sleep 1000 >/dev/null 2>&1 & echo $! >/run/holder"
                           ).check()
        self.assert_refused(self.machine.virtcrypt("vol-close", self.name, "--pool", "lv"),
                            "in use|busy", self.name)
        self.assertTrue(self.machine.exists(path))
        self.machine.shell("pid=$(cat /run/holder); kill $pid; "
                           "while [ -e /proc/$pid/fd/3 ]; do sleep 0.1; done").check()
        self.close_volume("lv")
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()

    def test_a_wrong_key_opens_nothing_and_says_so(self):
        self.machine.create_volume("dir", self.name, _LUKS2).check()
        secret = self.machine.secret_of("dir", self.name)
        right = self.machine.secret_values(secret)[secret]
        self.set_value(secret, b"wrong")
        self.assert_refused(self.machine.virtcrypt("vol-open", self.name, "--pool", "dir"),
                            "key", self.name)
        self.assertNotIn(self.name, self.machine.shell("dmsetup ls; losetup -a").stdout)
        self.set_value(secret, right)
        self.open_volume("dir")
        self.close_volume("dir")
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "dir").check()

    def set_value(self, secret, value):
        self.machine.virsh("secret-set-value", secret, "--plain", "--file", "/dev/stdin",
                           uri="secret:///system", input=value).check()

    def test_a_locked_keystore_is_named_as_the_reason(self):
        self.machine.create_volume("lv", self.name, _LUKS2).check()
        key = "/etc/libvirt/virtcrypt/master.key"
        self.machine.daemons["virtcrypt-secretd"].stop()
        self.machine.run(["mv", key, key + ".away"]).check()
        self.machine.start_secretd()
        try:
            self.assert_refused(self.machine.virtcrypt("vol-open", self.name, "--pool", "lv"),
                                "locked", self.name)
            self.assert_refused(self.machine.create_volume("lv", self.name + "-2", _LUKS2),
                                "locked")
        finally:
            self.machine.daemons["virtcrypt-secretd"].stop()
            self.machine.run(["mv", key + ".away", key]).check()
            self.machine.start_secretd()
        self.assertNotIn(self.name + "-2", self.machine.shell(
            "lvs; ls -R /etc/libvirt/virtcrypt").stdout)
        self.open_volume("lv")
        self.close_volume("lv")
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()

    def test_a_device_with_a_file_system_is_not_overwritten_unasked(self):
        device = f"/dev/vg/{self.name}.crypt"
        self.machine.shell(f"lvcreate -q -y -Wn -L 32m -n {self.name}.crypt vg; "
                           f"mkfs.ext4 -q {device}").check()
        self.assert_refused(self.machine.create_volume("lv", self.name, _LUKS2),
                            "exist|ext4|file system")
        self.assertIn("ext4", self.machine.run(["blkid", "-p", device]).stdout)
        self.machine.shell(f"lvremove -q -y vg/{self.name}.crypt").check()

    def test_a_device_outside_of_the_pool_is_formatted_if_it_is_empty_or_may_be_overwritten(self):
        self.name = "outside"
        device = self.machine.shell("truncate -s 64M /var/lib/libvirt/outside && losetup -f --show "
                                    "/var/lib/libvirt/outside").check().stdout.strip()
        self.machine.shell(f"mkfs.ext4 -q {device}").check()
        self.machine.write("/run/volume.xml", (
            f"<volume><name>{self.name}</name><capacity unit='MiB'>32</capacity><target>"
            f"<path>{device}</path>{_LUKS2}</target></volume>"))
        self.assert_refused(self.machine.virtcrypt("vol-create", "lv", "/run/volume.xml"), "ext4")
        self.assertIn("ext4", self.machine.run(["blkid", "-p", device]).stdout)
        self.machine.virtcrypt("vol-create", "lv", "/run/volume.xml", "--force").check()
        path = self.open_volume("lv")
        self.assertEqual(self.device_size(path), self.capacity("lv"))
        self.assert_token("lv", [device], self.machine.secret_of("lv", self.name))
        self.close_volume("lv")
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()
        # The device is not ours to remove; its header is.
        self.assertNotEqual(self.machine.run(["cryptsetup", "isLuks", device]).returncode, 0)
        self.machine.shell(f"losetup -d {device} && rm /var/lib/libvirt/outside").check()

    def test_no_child_shows_a_key(self):
        """strace sees every program that virtcryptd starts, with its words and environment."""
        self.machine.daemons["virtcryptd"].stop()
        self.machine.start_virtcryptd(["strace", "-f", "--seccomp-bpf", "-v", "-s", "4096", "-e",
                                       "trace=execve", "-o", "/run/trace"])
        self.machine.create_volume("lv", self.name, _LUKS2).check()
        secret = self.machine.secret_of("lv", self.name)
        key = self.machine.secret_values(secret)[secret]
        self.machine.virtcrypt("vol-delete", self.name, "--pool", "lv").check()
        daemon = self.machine.daemons["virtcryptd"]
        self.machine.shell("pkill -x virtcryptd").check()
        host.wait_for(lambda: not daemon.is_running, "virtcryptd and strace have ended")
        self.machine.start_virtcryptd()
        traced = self.machine.read("/run/trace")
        self.assertIn(b"lvcreate", traced)
        self.assertIn(b"PATH=", traced)
        self.assertNotIn(key, traced)


if __name__ == "__main__":
    taptest.main()
