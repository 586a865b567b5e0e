#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power failures and kills while volumes are created and deleted. The host's folders and the volume
group lie on a dm-flakey device that, from a moment on, says that it has written and has not: what
is not flushed by then is gone, and what is flushed later as well. The state afterwards is that of
some moment before: no half volume, no lost key."""

import random
import re
import time
import unittest

import host
import taptest
import vmhost

# Where in the work the power fails: at a random moment of each of so many parts of it.
_MOMENTS = 3

# On a 512 MiB disk: dm-flakey below, on it a volume group, in that the file system of the host's
# folders and the logical volumes of the pool.
_PREPARE = r"""
# LVM would find its volume group below dm-flakey, too.
grep -q flakey /etc/lvm/lvm.conf ||
    echo 'devices/global_filter = [ "a|/dev/mapper/flakey|", "r|.*|" ]' >>/etc/lvm/lvm.conf
table() { echo "0 $(blockdev --getsz /dev/disk/by-serial/data) flakey \
/dev/disk/by-serial/data 0 $1"; }
case $1 in
make)
    modprobe dm-flakey
    dmsetup create flakey --table "$(table '600 0')"
    vgcreate -q vg /dev/mapper/flakey
    lvcreate -q -y -Wn -L 128m -n host vg
    mkfs.ext4 -q /dev/vg/host
    ;;
again)
    modprobe dm-flakey
    dmsetup create flakey --table "$(table '600 0')"
    vgchange -q -ay vg
    ;;
fail)
    # Without a flush of the file system: the power does not wait.
    dmsetup suspend --nolockfs --noflush flakey
    dmsetup load flakey --table "$(table '0 600 1 drop_writes')"
    dmsetup resume flakey
    ;;
return)
    # What the kernel has in memory is gone, with mappings that the disk knows nothing of.
    remove()
    {
        dmsetup ls | cut -f 1 | { grep "$1" || true; } | xargs -rn 1 dmsetup remove --retry
    }
    remove '^virtcrypt-'
    losetup -D
    umount /etc/libvirt /var/lib/libvirt /mnt
    remove '^vg-'
    rm -rf /dev/vg /dev/virtcrypt /run/libvirt/virtcrypt
    dmsetup suspend --nolockfs --noflush flakey
    dmsetup load flakey --table "$(table '600 0')"
    dmsetup resume flakey
    blockdev --flushbufs /dev/mapper/flakey
    echo 3 >/proc/sys/vm/drop_caches
    vgchange -q -ay vg
    ;;
esac
case $1 in
make | again | return)
    mount /dev/vg/host /mnt
    mkdir -p /mnt/etc /mnt/lib/images
    mount -o bind /mnt/etc /etc/libvirt
    mount -o bind /mnt/lib /var/lib/libvirt
    ;;
esac
"""


class Power(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = vmhost.VmHost({"data": 512})
        cls.addClassCleanup(cls.machine.close)
        cls.machine.write("/run/power", _PREPARE)
        config = {name: cls.machine.read(f"/etc/libvirt/{name}")
                  for name in ("libvirtd.conf", "qemu.conf")}
        cls.power("make")
        for name, text in config.items():
            cls.machine.write(f"/etc/libvirt/{name}", text)
        cls.machine.start_all()
        cls.machine.define_pool("lv", "logical", "vg")
        cls.machine.define_pool("dir", "dir", vmhost.IMAGES)
        # Pools are known to virtcryptd by what libvirtd, which is not needed any more, wrote.
        cls.machine.daemons["libvirtd"].stop()
        cls.random = random.Random(4)

    @classmethod
    def power(cls, what):
        cls.machine.run(["bash", "-e", "/run/power", what]).check()

    # ---- the host ----

    def start_daemons(self):
        self.machine.start_secretd()
        self.machine.start_virtcryptd()

    def kill_daemons(self):
        for name in ("virtcryptd", "virtcrypt-secretd"):
            if self.machine.daemons[name].is_running:
                self.machine.daemons[name].kill()
        # Until they are gone: what is unmounted then must not be used any more.
        self.machine.shell("for n in {1..100}; do pkill -KILL -x 'lvcreate|lvremove|lvchange' || "
                           "exit 0; sleep 0.1; done")

    def fail_and_return(self):
        self.power("fail")
        self.kill_daemons()
        self.power("return")
        self.start_daemons()

    # ---- what must be true whenever the power comes back ----

    def listed(self):
        return re.findall(r"^ (lv|dir) +(\S+)",
                          self.machine.virtcrypt("vol-list").check().stdout, re.M)

    def assert_whole(self):
        """Each volume that is listed opens with the key that it names, each container belongs to a
        volume, and each secret too."""
        volumes = self.listed()
        for pool, name in volumes:
            self.machine.virtcrypt("vol-open", name, "--pool", pool).check()
            self.machine.virtcrypt("vol-close", name, "--pool", pool).check()
        secrets = [self.machine.secret_of(pool, name) for pool, name in volumes]
        listed = self.machine.virtcrypt("secret-list").check().stdout
        self.assertEqual(sorted(re.findall(r"^ ([0-9a-f-]{36})", listed, re.M)), sorted(secrets))
        found = self.machine.shell(
            "cd /dev/vg; ls *.crypt 2>/dev/null; ls -A /var/lib/libvirt/images; "
            "ls -A /etc/libvirt/virtcrypt/volumes/* 2>/dev/null || true").stdout.split()
        words = [name for _, name in volumes]
        strays = [word for word in found
                  if not word.startswith("/") and not word.endswith("keep")
                  and re.sub(r"\.(crypt|xml)$", "", word) not in words]
        self.assertEqual(strays, [])
        return volumes

    def forget(self, volumes):
        for pool, name in volumes:
            self.machine.virtcrypt("vol-delete", name, "--pool", pool).check()

    def duration(self, *words):
        started = time.monotonic()
        self.machine.virtcrypt(*words).check()
        return time.monotonic() - started

    def moments(self, duration):
        """One in each part of the work."""
        return [(part + self.random.random()) / _MOMENTS * duration for part in range(_MOMENTS)]

    def interrupted(self, moment, end, *words):
        """Whether the command was answered before it happened."""
        job = self.machine.begin(["/usr/local/bin/virtcrypt", *words])
        time.sleep(moment)
        has_ended = job.has_ended
        end()
        return job.end().returncode == 0 and has_ended

    def creations(self, pool, end):
        make = ("vol-create", pool)
        how = ("8M", "--format", "dm-crypt")
        duration = self.duration(*make, "measure", *how)
        self.forget([(pool, "measure")])
        for number, moment in enumerate(self.moments(duration)):
            with self.subTest(f"{moment:.2f} of {duration:.2f} s"):
                name = f"v{number}"
                answered = self.interrupted(moment, end, *make, name, *how)
                volumes = self.assert_whole()
                if answered:
                    self.assertIn((pool, name), volumes)
                self.forget(volumes)
                self.assert_whole()

    # ---- cases ----

    def test_a_power_failure_while_a_volume_is_created_on_a_logical_volume(self):
        self.creations("lv", self.fail_and_return)

    def test_a_power_failure_while_a_volume_is_created_on_a_file(self):
        self.creations("dir", self.fail_and_return)

    def restart(self):
        self.machine.daemons["virtcryptd"].kill()
        self.machine.start_virtcryptd()

    def test_virtcryptd_killed_while_a_volume_is_created(self):
        self.creations("lv", self.restart)

    def test_a_power_failure_while_a_volume_is_deleted(self):
        how = ("8M", "--format", "dm-crypt")
        self.machine.virtcrypt("vol-create", "lv", "measure", *how).check()
        duration = self.duration("vol-delete", "measure", "--pool", "lv")
        for number, moment in enumerate(self.moments(duration)):
            with self.subTest(f"{moment:.2f} of {duration:.2f} s"):
                name = f"d{number}"
                self.machine.virtcrypt("vol-create", "lv", name, *how).check()
                answered = self.interrupted(moment, self.fail_and_return, "vol-delete", name,
                                            "--pool", "lv")
                volumes = self.assert_whole()
                if answered:
                    self.assertEqual(volumes, [])
                self.forget(volumes)

    def test_what_was_answered_is_there_after_a_power_failure(self):
        """The flush of everything that an answer promises: contents, folders, LVM's metadata."""
        for pool in ("lv", "dir"):
            self.machine.virtcrypt("vol-create", pool, "kept", "8M", "--format",
                                   "dm-crypt").check()
        self.fail_and_return()
        volumes = self.assert_whole()
        self.assertEqual(sorted(volumes), [("dir", "kept"), ("lv", "kept")])
        self.forget(volumes)
        self.fail_and_return()
        self.assertEqual(self.assert_whole(), [])

    def test_zz_the_power_of_the_whole_machine_is_cut_while_a_volume_is_created(self):
        """The machine itself is killed, and boots anew."""
        self.machine.virtcrypt("vol-create", "lv", "kept", "8M", "--format", "dm-crypt").check()
        job = self.machine.begin(["/usr/local/bin/virtcrypt", "vol-create", "lv", "lost", "8M",
                                  "--format", "dm-crypt"])
        time.sleep(0.4)
        self.machine.kill()
        try:
            is_lost = job.end().returncode != 0
        except host.HostError:
            is_lost = True
        self.machine.boot()
        self.machine.write("/run/power", _PREPARE)
        self.power("again")
        self.machine.shell("mkdir -p /run/libvirt/storage").check()
        self.machine.start_all()
        volumes = self.assert_whole()
        self.assertIn(("lv", "kept"), volumes)
        # It has its answer where this test came late to the switch.
        if not is_lost:
            self.assertIn(("lv", "lost"), volumes)


if __name__ == "__main__":
    taptest.main()
