#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Making encrypted qcow2 and raw volumes: options, backing files, full disks, and what the programs
that take part can see."""

import os
import re
import subprocess
import time

import image_case
import taptest
from image_case import (DRIVER, BOUND_S, MIB, PATTERN, ERROR_INVALID_SECRET, ERROR_AUTH_FAILED,
                        ERROR_STORAGE_VOL_EXIST, ERROR_INVALID_ARG, ERROR_NO_STORAGE_VOL,
                        ERROR_OPERATION_INVALID)

NO_SPACE_TMPFS_KIB = 3072


class Creation(image_case.ImageCase):
    def test_a_new_qcow2_volume_opens_with_its_key_and_reads_zero(self):
        self.create("v")
        self.assert_sound("v")
        self.assertNotIn("failed", self.io("v", "qcow2", "read -P 0 0 64M"))
        self.write_pattern("v", "qcow2")
        self.assert_pattern("v", "qcow2")
        self.assert_sound("v")
        self.assert_empty_pool("v")

    def test_a_new_qcow2_volume_does_not_open_with_another_key(self):
        self.create("v")
        other = self.key_file("other", image_case.generated_key())
        self.assertIn("Invalid password", self.io("v", "qcow2", "read 0 512", key=other, status=1))

    def test_what_is_written_to_a_qcow2_volume_is_not_in_the_file(self):
        self.create("v")
        self.write_pattern("v", "qcow2")
        with open(self.path("v"), "rb") as file:
            self.assertNotIn(bytes([PATTERN]) * 512, file.read())

    def test_a_new_raw_volume_opens_with_its_key(self):
        self.create("v", kind="raw")
        self.tool("cryptsetup", "open", "--test-passphrase", "--key-file", self.key,
                  self.path("v"))
        self.write_pattern("v", "raw")
        self.assert_pattern("v", "raw")
        self.assert_empty_pool("v")

    def test_a_raw_volume_has_its_capacity_behind_the_header_and_is_sparse(self):
        self.create("v", kind="raw", size=1024 * MIB)
        info = os.stat(self.path("v"))
        self.assertEqual(info.st_size, 1024 * MIB + 2 * MIB)
        self.assertLess(info.st_blocks * 512, 4 * MIB)

    def test_a_generated_key_has_a_cheap_keyslot(self):
        self.create("v", kind="raw")
        dump = self.tool("cryptsetup", "luksDump", self.path("v"))
        self.assertRegex(dump, r"(?m)^Version:\s+1$")
        self.assertRegex(dump, r"Iterations:\s+1000\n")

    def test_a_typed_key_has_a_keyslot_no_cheaper_than_stock(self):
        typed = self.key_file("typed", b"correct horse")
        self.done("create", self.xml("v", "raw"), key=typed)
        dump = self.tool("cryptsetup", "luksDump", self.path("v"))
        rounds = int(re.search(r"Iterations:\s+(\d+)\n", dump).group(1))
        self.assertGreater(rounds, 100000)

    def test_every_qcow2_option_gives_a_sound_image(self):
        cases = {
            "small": ("<clusterSize>512</clusterSize>", ()),
            "4k": ("<clusterSize>4096</clusterSize>", ()),
            "large": ("<clusterSize>2097152</clusterSize>", ()),
            "old": ("<compat>0.10</compat>", ()),
            "features": ("<compat>1.1</compat><features><lazy_refcounts/><extended_l2/></features>",
                         ()),
            "nocow": ("<nocow/>", ()),
            "metadata": ("", ("--preallocate",)),
            "small-metadata": ("<clusterSize>512</clusterSize>", ("--preallocate",)),
        }
        for name, (target, options) in cases.items():
            with self.subTest(name):
                self.create(name, *options, target=target, size=32 * MIB)
                self.assert_sound(name)
                self.write_pattern(name, "qcow2")
                self.assert_pattern(name, "qcow2")
                self.assert_sound(name)

    def test_options_of_a_qcow2_volume_are_described_again(self):
        target = ("<permissions><mode>0640</mode><owner>7</owner><group>8</group></permissions>"
                  "<compat>1.1</compat><clusterSize unit='B'>131072</clusterSize>"
                  "<features><lazy_refcounts/><extended_l2/></features>")
        xml = self.create("v", target=target)
        described = self.done("describe", xml)
        for text in ("<mode>0640</mode>", "<owner>7</owner>", "<group>8</group>",
                     "<compat>1.1</compat>", "<clusterSize unit='B'>131072</clusterSize>",
                     "<lazy_refcounts/>", "<extended_l2/>", "<format type='qcow2'/>",
                     f"<capacity unit='bytes'>{64 * MIB}</capacity>"):
            self.assertIn(text, described)

    def test_a_volume_is_root_s_alone_unless_its_xml_says_otherwise(self):
        for kind in ("qcow2", "raw"):
            self.create(kind, kind=kind)
            info = os.stat(self.path(kind))
            self.assertEqual((info.st_mode & 0o7777, info.st_uid, info.st_gid), (0o600, 0, 0))

    def test_all_is_allocated_when_the_allocation_is_the_capacity(self):
        allocation = f"<allocation>{64 * MIB}</allocation>"
        self.create("raw", kind="raw", volume=allocation)
        self.create("qcow2", "--preallocate", volume=allocation)
        for name in ("raw", "qcow2"):
            self.assertGreaterEqual(os.stat(self.path(name)).st_blocks * 512, 64 * MIB)
        self.assert_sound("qcow2")

    def test_a_file_that_is_there_is_left_as_it_is(self):
        for kind in ("qcow2", "raw"):
            with open(self.path(kind), "w", encoding="ascii") as file:
                file.write("somebody's")
            self.refused(ERROR_STORAGE_VOL_EXIST, self.path(kind), "create",
                         self.xml(kind, kind), "--generated")
            with open(self.path(kind), encoding="ascii") as file:
                self.assertEqual(file.read(), "somebody's")
        self.assert_empty_pool("qcow2", "raw")

    def test_a_link_in_the_place_of_the_new_file_is_not_followed(self):
        victim = os.path.join(self.root, "victim")
        for kind in ("qcow2", "raw"):
            os.symlink(victim, self.path(f".{kind}.virtcrypt-new"))
            self.refused(ERROR_STORAGE_VOL_EXIST, "virtcrypt-new", "create",
                         self.xml(kind, kind), "--generated")
        self.assertFalse(os.path.exists(victim))

    def test_a_new_header_on_an_existing_device_needs_room(self):
        device = os.path.join(self.root, "device")
        with open(device, "wb") as file:
            file.truncate(16 * MIB)
        self.refused(ERROR_INVALID_ARG, "too small", "create", self.xml("v", "raw", 16 * MIB),
                     "--generated", "--device", device)
        self.done("create", self.xml("v", "raw", 8 * MIB), "--generated", "--device", device)
        self.tool("cryptsetup", "open", "--test-passphrase", "--key-file", self.key, device)
        self.assertEqual(os.path.getsize(device), 16 * MIB)

    def test_what_can_not_be_made_is_refused_and_leaves_nothing(self):
        luks = "<encryption format='luks'>{}</encryption>"
        cases = [
            (self.xml("v", target="<clusterSize>1000</clusterSize>"), "cluster size"),
            (self.xml("v", target="<compat>0.10</compat><features><lazy_refcounts/></features>"),
             "compat level"),
            (self.xml("v", "raw", target="<compat>1.1</compat>"), "qcow2 alone"),
            (self.xml("v", encryption=luks.format(
                "<cipher name='rot13' size='256' mode='xts' hash='sha256'/>")), "rot13"),
        ]
        for xml, text in cases:
            with self.subTest(text):
                result = self.drive("create", xml, "--generated")
                self.assertEqual(result.returncode, 1)
                self.assertIn(text, result.stdout)
        self.assert_empty_pool()

    def test_a_key_that_qemu_could_not_take_is_refused(self):
        for value, text in ((b"\xff\xfe\x00", "UTF-8"), (b"", "not empty")):
            bad = self.key_file("bad", value)
            for kind in ("qcow2", "raw"):
                self.refused(ERROR_INVALID_SECRET, text, "create", self.xml("v", kind), key=bad)
        self.assert_empty_pool()

    def test_other_ciphers_open_too(self):
        cipher = ("<encryption format='luks'><cipher name='aes' size='128' mode='cbc' "
                  "hash='sha512'/><ivgen name='essiv' hash='sha256'/></encryption>")
        for kind in ("qcow2", "raw"):
            self.create(kind, kind=kind, encryption=cipher)
            self.write_pattern(kind, kind)
            self.assert_pattern(kind, kind)
        self.assertIn("cbc-essiv:sha256", self.tool("cryptsetup", "luksDump", self.path("raw")))

    def test_many_creations_in_a_row_all_succeed(self):
        for kind in ("qcow2", "raw"):
            output = self.done("create", self.xml(kind, kind, 1024 * MIB), "--generated",
                               "--count", "200")
            times = sorted(float(line) for line in output.split())
            self.assertEqual(len(times), 200)
            print(f"{kind}: 200 creations, median {times[100]:.3f} s, slowest {times[-1]:.3f} s")
            for name in os.listdir(self.pool):
                os.unlink(self.path(name))


class Backing(image_case.ImageCase):
    def test_a_clear_backing_file_is_read_through(self):
        base = os.path.join(self.root, "base")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", base, "64M")
        self.tool("qemu-io", "-f", "qcow2", "-c", f"write -P {PATTERN} 3M 1M", base)
        self.create("v", size=None, volume=f"<backingStore><path>{base}</path>"
                    "<format type='qcow2'/></backingStore>")
        self.assert_pattern("v", "qcow2")
        self.assert_sound("v")
        described = self.done("describe", self.xml("v"))
        self.assertIn(f"<path>{base}</path>", described)
        self.assertIn(f"<capacity unit='bytes'>{64 * MIB}</capacity>", described)

    def test_an_encrypted_backing_file_is_read_through_with_both_keys(self):
        base_key = self.key_file("base-key", image_case.generated_key())
        self.create("base", key=base_key)
        self.io("base", "qcow2", f"write -P {PATTERN} 3M 1M", key=base_key)
        self.create("v", "--backing-key", base_key, size=None,
                    volume=f"<backingStore><path>{self.path('base')}</path>"
                    "<format type='qcow2'/></backingStore>")
        output = self.tool(
            "qemu-io", "--object", f"secret,id=k,file={self.key}",
            "--object", f"secret,id=b,file={base_key}", "--image-opts",
            f"driver=qcow2,file.filename={self.path('v')},encrypt.key-secret=k,"
            "backing.encrypt.key-secret=b",
            "-c", f"read -P {PATTERN} 3M 1M")
        self.assertNotIn("failed", output)

    def test_a_backing_file_and_its_key_must_fit(self):
        clear = os.path.join(self.root, "clear")
        self.tool("qemu-img", "create", "-q", "-f", "qcow2", clear, "64M")
        self.create("base")
        wrong = self.key_file("wrong", image_case.generated_key())
        cases = [(self.path("base"), (), ERROR_OPERATION_INVALID, "no key is given"),
                 (self.path("base"), ("--backing-key", wrong), ERROR_AUTH_FAILED, "base"),
                 (clear, ("--backing-key", self.key), ERROR_OPERATION_INVALID, "not encrypted")]
        for path, options, code, text in cases:
            with self.subTest(text):
                self.refused(code, text, "create", self.xml(
                    "v", volume=f"<backingStore><path>{path}</path><format type='qcow2'/>"
                    "</backingStore>"), "--generated", *options)
                self.assert_empty_pool("base")

    def test_a_backing_file_that_is_not_there_is_refused(self):
        self.refused(ERROR_NO_STORAGE_VOL, "/nowhere", "create", self.xml(
            "v", volume="<backingStore><path>/nowhere</path><format type='raw'/></backingStore>"),
            "--generated")
        self.assert_empty_pool()


class Programs(image_case.ImageCase):
    def test_no_key_is_in_words_or_environment_of_a_program(self):
        folder = os.path.join(self.root, "bin")
        log = os.path.join(self.root, "log")
        os.mkdir(folder)
        os.mkdir(log)
        wrapper = os.path.join(folder, "qemu-img")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n"
                       f"cat /proc/$$/cmdline >{log}/$$.cmdline\n"
                       f"cat /proc/$$/environ >{log}/$$.environ\n"
                       f"ls /proc/$$/fd >{log}/$$.fds\n"
                       'exec /usr/bin/qemu-img "$@"\n')
        os.chmod(wrapper, 0o755)
        env = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "de_DE.UTF-8",
               "SURPRISE": "1"}
        new = self.key_file("new", image_case.generated_key())
        self.done("create", self.xml("source"), "--generated", env=env)
        self.write_pattern("source", "qcow2")
        for kind in ("qcow2", "raw"):
            self.done("create", self.xml(kind, kind, None), "--generated", "--source",
                      self.path("source"), "--source-format", "qcow2", "--source-key", self.key,
                      key=new, env=env)
            self.done("resize", self.xml(kind, kind), "--capacity", str(96 * MIB), key=new,
                      env=env)
        texts = {}
        for name in os.listdir(log):
            with open(os.path.join(log, name), "rb") as file:
                texts[name] = file.read()
        # Three files of each of two makings, two copies and a resize.
        self.assertEqual(len(texts), 3 * 5)
        for path in (self.key, new):
            with open(path, "rb") as file:
                key = file.read()
            for name, text in texts.items():
                self.assertNotIn(key, text, name)
        for name, text in texts.items():
            if name.endswith(".environ"):
                words = {word.split(b"=")[0] for word in text.split(b"\0") if word}
                self.assertLessEqual(words, {b"PATH", b"LC_ALL", b"PWD", b"OLDPWD", b"SHLVL",
                                             b"_"})
                self.assertIn(b"LC_ALL=C", text)

    def test_programs_die_with_the_one_that_started_them(self):
        folder = os.path.join(self.root, "bin")
        os.mkdir(folder)
        with open(os.path.join(folder, "qemu-img"), "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\necho $$ >{self.root}/pid.new\n"
                       f"mv {self.root}/pid.new {self.root}/pid\nexec sleep 1000\n")
        os.chmod(os.path.join(folder, "qemu-img"), 0o755)
        with subprocess.Popen([DRIVER, "--pool", self.pool, "--xml", self.xml("v"), "--key",
                               self.key, "--generated", "create"],
                              env={"PATH": f"{folder}:/usr/bin:/bin"}) as driver:
            deadline = time.monotonic() + BOUND_S
            while not os.path.exists(f"{self.root}/pid"):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            driver.kill()
        with open(f"{self.root}/pid", encoding="ascii") as file:
            pid = int(file.read())
        while os.path.exists(f"/proc/{pid}"):
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().split()[2] == "Z":
                    break
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)


class FullDisk(image_case.ImageCase):
    def setUp(self):
        super().setUp()
        self.tool("mount", "-t", "tmpfs", "-o", f"size={NO_SPACE_TMPFS_KIB}k", "small", self.pool)
        self.addCleanup(self.tool, "umount", self.pool)

    def fill(self, free_kib):
        with open(self.path("filler"), "wb") as file:
            file.write(b"\1" * (NO_SPACE_TMPFS_KIB - free_kib) * 1024)

    def test_a_full_disk_leaves_nothing_and_is_named(self):
        for free_kib in (0, 64, 512, 1024, 1900, 2040):
            self.fill(free_kib)
            for kind in ("qcow2", "raw"):
                with self.subTest(kind=kind, free_kib=free_kib):
                    result = self.drive("create", self.xml("v", kind), "--generated")
                    self.assertEqual(result.returncode, 1, result.stdout)
                    self.assertRegex(result.stdout, "(?i)no space")
                    self.assert_empty_pool("filler")

    def test_a_clone_for_which_there_is_no_room_leaves_nothing(self):
        source = os.path.join(self.root, "source")
        with open(source, "wb") as file:
            file.write(os.urandom(4 * MIB))
        for kind in ("qcow2", "raw"):
            result = self.drive("create", self.xml("v", kind, None), "--generated", "--source",
                                source, "--source-format", "raw")
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertRegex(result.stdout, "(?i)no space")
            self.assert_empty_pool()

    def test_a_preallocation_for_which_there_is_no_room_leaves_nothing(self):
        allocation = f"<allocation>{64 * MIB}</allocation>"
        for kind, options in (("qcow2", ("--preallocate",)), ("raw", ())):
            result = self.drive("create", self.xml("v", kind, volume=allocation), "--generated",
                                *options)
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertRegex(result.stdout, "(?i)no space")
            self.assert_empty_pool()

    def test_a_resize_for_which_there_is_no_room_changes_nothing(self):
        xml = self.create("v", kind="raw", size=MIB)
        before = self.done("info", xml)
        result = self.drive("resize", xml, "--preallocate", "--capacity", str(64 * MIB))
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertEqual(self.done("info", xml).split()[1], before.split()[1])
        self.done("check-key", xml)


if __name__ == "__main__":
    taptest.main()
