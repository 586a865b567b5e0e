#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Encrypted qcow2 and raw volumes as the backends make them, judged by qemu-img, qemu-io and
cryptsetup. image-driver calls the backends; no daemon takes part."""

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import taptest

DRIVER = os.path.join(os.environ["BUILD_ROOT"], "tests/e2e/image-driver")
PATIENCE = float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1"))
BOUND_S = 120 * PATIENCE
MIB = 1024 * 1024
PATTERN = 0x5a

NO_SPACE_TMPFS_KIB = 3072

ERROR_CONFIG_UNSUPPORTED = 67
ERROR_INVALID_SECRET = 65
ERROR_AUTH_FAILED = 45
ERROR_OPERATION_ABORTED = 78
ERROR_RESOURCE_BUSY = 87
ERROR_STORAGE_VOL_EXIST = 90
ERROR_OPERATION_FAILED = 9
ERROR_INVALID_ARG = 8
ERROR_NO_STORAGE_VOL = 50
ERROR_OPERATION_INVALID = 55


def generated_key():
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=")


class ImageCase(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="virtcrypt-image-")
        self.addCleanup(shutil.rmtree, self.root)
        self.pool = os.path.join(self.root, "pool")
        os.mkdir(self.pool)
        self.key = self.key_file("key", generated_key())

    def key_file(self, name, value):
        path = os.path.join(self.root, name)
        with open(path, "wb") as file:
            file.write(value)
        return path

    def path(self, name):
        return os.path.join(self.pool, name)

    @staticmethod
    def xml(name, kind="qcow2", size=64 * MIB, target="", volume="",
            encryption="<encryption format='luks'/>"):
        capacity = "" if size is None else f"<capacity>{size}</capacity>"
        return (f"<volume><name>{name}</name>{capacity}{volume}<target><format type='{kind}'/>"
                f"{target}{encryption}</target></volume>")

    def drive(self, call, xml, *options, key=None, env=None, pool=None):
        result = subprocess.run(
            [DRIVER, "--pool", pool or self.pool, "--xml", xml, "--key", key or self.key,
             *options, call],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, env=env)
        self.assertEqual(result.stderr, "")
        return result

    def done(self, call, xml, *options, **more):
        result = self.drive(call, xml, *options, **more)
        self.assertEqual(result.returncode, 0, result.stdout)
        return result.stdout

    def refused(self, code, text, call, xml, *options, **more):
        result = self.drive(call, xml, *options, **more)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertTrue(result.stdout.startswith(f"{code}: "), result.stdout)
        self.assertIn(text, result.stdout)

    def create(self, name, *options, kind="qcow2", key=None, **more):
        xml = self.xml(name, kind, **more)
        self.done("create", xml, "--generated", *options, key=key)
        return xml

    @staticmethod
    def tool(*words, status=0):
        result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=BOUND_S)
        if status is not None and result.returncode != status:
            raise AssertionError(f"{words}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def options_of(self, path, kind, key=None):
        """How QEMU's tools are told to open an encrypted image."""
        prefix = "encrypt." if kind == "qcow2" else ""
        driver = "qcow2" if kind == "qcow2" else "luks"
        return ["--object", f"secret,id=k,file={key or self.key}", "--image-opts",
                f"driver={driver},file.filename={path},{prefix}key-secret=k"]

    def io(self, name, kind, *commands, key=None, status=0):
        words = ["qemu-io", *self.options_of(self.path(name), kind, key)]
        for command in commands:
            words += ["-c", command]
        return self.tool(*words, status=status)

    def write_pattern(self, name, kind, offset=3 * MIB):
        self.io(name, kind, f"write -P {PATTERN} {offset} 1M")

    def assert_pattern(self, name, kind, offset=3 * MIB, key=None):
        output = self.io(name, kind, f"read -P {PATTERN} {offset} 1M", key=key)
        self.assertNotIn("failed", output)

    def assert_sound(self, name, key=None):
        """qemu-img finds neither errors nor leaks."""
        output = self.tool("qemu-img", "check", *self.options_of(self.path(name), "qcow2", key))
        self.assertIn("No errors were found", output)

    def assert_empty_pool(self, *but):
        self.assertEqual(sorted(os.listdir(self.pool)), sorted(but))


class Creation(ImageCase):
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
        other = self.key_file("other", generated_key())
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


class Backing(ImageCase):
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
        base_key = self.key_file("base-key", generated_key())
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
        wrong = self.key_file("wrong", generated_key())
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


class Clones(ImageCase):
    def make_source(self, kind):
        """Clear, 64 MiB, a pattern in it."""
        path = os.path.join(self.root, f"source,{kind}")
        self.tool("qemu-img", "create", "-q", "-f", kind, path, "64M")
        self.tool("qemu-io", "-f", kind, "-c", f"write -P {PATTERN} 3M 1M", path)
        return path

    def assert_same(self, name, kind, source, source_kind):
        """What a guest sees, by qemu-img compare."""
        output = self.tool(
            "qemu-img", "compare", *self.options_of(self.path(name), kind)[:3],
            f"{self.options_of(self.path(name), kind)[3]}",
            f"driver={source_kind},file.filename={source.replace(',', ',,')}")
        self.assertIn("Images are identical", output)

    def test_clear_images_of_any_format_are_copied_whole(self):
        for source_kind in ("raw", "qcow2", "vmdk", "vdi"):
            source = self.make_source(source_kind)
            for kind in ("qcow2", "raw"):
                with self.subTest(source=source_kind, kind=kind):
                    name = f"{source_kind}-{kind}"
                    self.create(name, "--source", source, "--source-format", source_kind,
                                kind=kind, size=None)
                    self.assert_same(name, kind, source, source_kind)

    def test_a_clone_has_a_key_of_its_own(self):
        for kind in ("qcow2", "raw"):
            self.create(f"{kind}-source", kind=kind)
            self.write_pattern(f"{kind}-source", kind)
            new = self.key_file("new", generated_key())
            for clone_kind in ("qcow2", "raw"):
                name = f"{kind}-{clone_kind}"
                self.create(name, "--source", self.path(f"{kind}-source"), "--source-format", kind,
                            "--source-key", self.key, kind=clone_kind, key=new, size=None)
                self.assert_pattern(name, clone_kind, key=new)
                self.refused(ERROR_AUTH_FAILED, name, "check-key", self.xml(name, clone_kind))

    def test_a_clone_of_little_takes_little_room(self):
        source = self.make_source("qcow2")
        self.create("v", "--source", source, "--source-format", "qcow2", size=None)
        self.assertLess(os.stat(self.path("v")).st_blocks * 512, 6 * MIB)
        self.assert_sound("v")

    def test_a_clone_of_an_empty_volume_is_quick_and_empty(self):
        for kind in ("qcow2", "raw"):
            self.create(f"{kind}-source", kind=kind, size=1024 * MIB)
            start = time.monotonic()
            self.create(f"{kind}-clone", "--source", self.path(f"{kind}-source"),
                        "--source-format", kind, "--source-key", self.key, kind=kind, size=None)
            print(f"clone of an empty {kind} volume: {time.monotonic() - start:.3f} s")
            self.assertLess(os.stat(self.path(f"{kind}-clone")).st_blocks * 512, 6 * MIB)

    def test_a_larger_clone_keeps_what_it_copies(self):
        source = self.make_source("raw")
        for kind in ("qcow2", "raw"):
            self.create(kind, "--source", source, "--source-format", "raw", kind=kind,
                        size=128 * MIB)
            self.assert_pattern(kind, kind)
            self.assertIn(f"{128 * MIB}", self.done("info", self.xml(kind, kind)))

    def test_a_preallocated_clone_reads_zero_where_its_source_does(self):
        source = self.make_source("raw")
        self.create("v", "--preallocate", "--source", source, "--source-format", "raw", size=None)
        self.assert_same("v", "qcow2", source, "raw")

    def test_a_wrong_key_of_the_source_leaves_nothing(self):
        self.create("source")
        self.write_pattern("source", "qcow2")
        wrong = self.key_file("wrong", generated_key())
        self.refused(ERROR_OPERATION_FAILED, "qemu-img", "create", self.xml("v", size=None),
                     "--generated", "--source", self.path("source"), "--source-format", "qcow2",
                     "--source-key", wrong)
        self.assert_empty_pool("source")

    def test_a_cancelled_clone_leaves_nothing_and_no_program(self):
        source = os.path.join(self.root, "source")
        with open(source, "wb") as file:
            for _ in range(256):
                file.write(os.urandom(MIB))
        for kind in ("qcow2", "raw"):
            self.refused(ERROR_OPERATION_ABORTED, "cancelled", "create",
                         self.xml("v", kind, None), "--generated", "--source", source,
                         "--source-format", "raw", "--cancel-at", "100")
            self.assert_empty_pool()
        self.assertNotIn(self.root, self.tool("ps", "-eo", "args"))


class Changes(ImageCase):
    def test_a_resized_volume_keeps_what_is_in_it(self):
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            self.write_pattern(kind, kind)
            self.done("resize", xml, "--capacity", str(96 * MIB))
            self.assertIn(f" {96 * MIB} ", self.done("info", xml))
            self.assert_pattern(kind, kind)
        self.assert_sound("qcow2")

    def test_a_volume_is_made_smaller_only_if_that_is_asked_for(self):
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            self.write_pattern(kind, kind)
            self.refused(ERROR_INVALID_ARG, "--shrink", "resize", xml, "--capacity", str(16 * MIB))
            self.done("resize", xml, "--shrink", "--capacity", str(16 * MIB))
            self.assertIn(f" {16 * MIB} ", self.done("info", xml))
            self.assert_pattern(kind, kind)

    def test_room_is_allocated_when_a_resize_asks_for_it(self):
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind, size=8 * MIB)
            self.done("resize", xml, "--preallocate", "--capacity", str(40 * MIB))
            self.assertGreaterEqual(os.stat(self.path(kind)).st_blocks * 512, 32 * MIB)
        self.assert_sound("qcow2")

    def test_a_new_key_takes_the_place_of_the_old_one(self):
        new = self.key_file("new", generated_key())
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            self.write_pattern(kind, kind)
            self.done("add-key", xml, "--generated", "--new-key", new)
            self.assert_pattern(kind, kind)
            self.assert_pattern(kind, kind, key=new)
            self.done("remove-key", xml)
            self.assert_pattern(kind, kind, key=new)
            self.refused(ERROR_AUTH_FAILED, kind, "check-key", xml)
        self.assert_sound("qcow2", key=new)

    def test_a_wrong_key_adds_none(self):
        wrong = self.key_file("wrong", generated_key())
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            self.refused(ERROR_AUTH_FAILED, kind, "add-key", xml, "--generated", "--new-key",
                         self.key, key=wrong)

    def test_a_volume_of_qemu_img_s_own_making_is_understood(self):
        path = self.path("v")
        for attempt in range(10):
            # Its formatting measures the processor and may fail where others use it.
            output = self.tool("qemu-img", "create", "-q", "-f", "qcow2", "--object",
                               f"secret,id=k,file={self.key}", "-o",
                               "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10",
                               path, "64M", status=None)
            if "CPU usage" not in output:
                break
        self.done("check-key", self.xml("v"))
        new = self.key_file("new", generated_key())
        self.write_pattern("v", "qcow2")
        self.done("add-key", self.xml("v"), "--generated", "--new-key", new)
        self.assert_pattern("v", "qcow2", key=new)


class Wiping(ImageCase):
    ALGORITHMS = {"zero": "0", "random": "8", "trim": "9"}

    def header_of(self, path):
        with open(path, "rb") as file:
            content = file.read()
        at = content.index(b"LUKS\xba\xbe")
        return content[at:at + 592]

    def test_a_wiped_volume_is_new_and_nothing_of_it_is_left(self):
        for kind in ("qcow2", "raw"):
            for algorithm, number in self.ALGORITHMS.items():
                with self.subTest(kind=kind, algorithm=algorithm):
                    name = f"{kind}-{algorithm}"
                    xml = self.create(name, kind=kind)
                    self.write_pattern(name, kind)
                    with open(self.path(name), "rb") as file:
                        before = file.read()
                    header = self.header_of(self.path(name))
                    os.link(self.path(name), os.path.join(self.root, name))
                    self.done("wipe", xml, "--generated", "--algorithm", number)
                    # The old file, by its other name, and the new one.
                    for path in (os.path.join(self.root, name), self.path(name)):
                        with open(path, "rb") as file:
                            after = file.read()
                        self.assertNotIn(header, after)
                        self.assertEqual(self.blocks_in_common(before, after), 0)
                    self.assertIn(f" {64 * MIB} ", self.done("info", xml))
                    output = self.io(name, kind, f"read -P {PATTERN} 3M 1M", status=None)
                    self.assertIn("failed", output)
                    self.done("check-key", xml)
                    if kind == "qcow2":
                        self.assert_sound(name)
                        self.assertNotIn("failed", self.io(name, kind, "read -P 0 0 64M"))

    @staticmethod
    def blocks_in_common(before, after):
        """Of ciphertext: blocks with hardly a zero."""
        def blocks(content):
            return {content[at:at + 4096] for at in range(0, len(content), 4096)
                    if content.count(0, at, at + 4096) < 64}
        return len(blocks(before) & blocks(after))

    def test_an_interrupted_wipe_can_be_done_again(self):
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind, size=256 * MIB)
            self.io(kind, kind, f"write -P {PATTERN} 0 200M")
            self.refused(ERROR_OPERATION_ABORTED, "cancelled", "wipe", xml, "--generated",
                         "--algorithm", "8", "--cancel-at", "100")
            self.done("wipe", xml, "--generated", "--algorithm", "9")
            self.done("check-key", xml)
            self.assertIn(f" {256 * MIB} ", self.done("info", xml))
            self.assert_empty_pool(*sorted({"qcow2", kind}))

    def test_an_algorithm_that_adds_nothing_is_refused(self):
        xml = self.create("v")
        self.refused(ERROR_CONFIG_UNSUPPORTED, "zero, random or trim", "wipe", xml, "--algorithm",
                     "4")
        self.done("check-key", xml)


class Removal(ImageCase):
    def test_a_removed_volume_is_gone_with_its_keyslots(self):
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            kept = os.path.join(self.root, kind)
            os.link(self.path(kind), kept)
            self.done("remove", xml)
            self.assert_empty_pool()
            with open(kept, "rb") as file:
                self.assertNotIn(b"LUKS\xba\xbe", file.read())
            self.done("remove", xml)

    def test_a_volume_that_a_program_of_qemu_has_open_stays(self):
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            with subprocess.Popen(["qemu-io", *self.options_of(self.path(kind), kind)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True) as user:
                user.stdin.write("read 0 512\n")
                user.stdin.flush()
                while "ops" not in user.stdout.readline():
                    self.assertIsNone(user.poll())
                for call in ("remove", "wipe"):
                    self.refused(ERROR_RESOURCE_BUSY, self.path(kind), call, xml, "--generated")
                self.refused(ERROR_RESOURCE_BUSY, self.path(kind), "resize", xml, "--shrink",
                             "--capacity", str(16 * MIB))
                user.stdin.close()
                user.wait(BOUND_S)
            self.done("check-key", xml)

    def test_what_a_killed_creation_left_is_removed(self):
        for kind in ("qcow2", "raw"):
            temporary = self.path(f".{kind}.virtcrypt-new")
            self.create(kind, kind=kind)
            os.rename(self.path(kind), temporary)
            with open(self.path(kind), "w", encoding="ascii") as file:
                file.write("somebody's")
            self.done("remove", self.xml(kind, kind), "--creating")
            self.assertFalse(os.path.exists(temporary))
            # Again, and without a temporary file: that one is not ours.
            self.done("remove", self.xml(kind, kind), "--creating")
            self.assertTrue(os.path.exists(self.path(kind)))


class Programs(ImageCase):
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
        new = self.key_file("new", generated_key())
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
        self.assertGreaterEqual(len(texts), 3 * 6)
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


class FullDisk(ImageCase):
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
