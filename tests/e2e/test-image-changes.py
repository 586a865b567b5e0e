#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is done with encrypted qcow2 and raw volumes that are there: clones, sizes, keys, wiping,
removal."""

import os
import subprocess
import time

import image_case
import taptest
from image_case import (BOUND_S, MIB, PATTERN, ERROR_CONFIG_UNSUPPORTED, ERROR_AUTH_FAILED,
                        ERROR_OPERATION_ABORTED, ERROR_RESOURCE_BUSY, ERROR_OPERATION_FAILED,
                        ERROR_INVALID_ARG)


class Clones(image_case.ImageCase):
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
            new = self.key_file("new", image_case.generated_key())
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
        wrong = self.key_file("wrong", image_case.generated_key())
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


class Changes(image_case.ImageCase):
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
        new = self.key_file("new", image_case.generated_key())
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
        wrong = self.key_file("wrong", image_case.generated_key())
        for kind in ("qcow2", "raw"):
            xml = self.create(kind, kind=kind)
            self.refused(ERROR_AUTH_FAILED, kind, "add-key", xml, "--generated", "--new-key",
                         self.key, key=wrong)

    def test_a_volume_of_qemu_img_s_own_making_is_understood(self):
        path = self.path("v")
        for _ in range(50):
            # Its formatting measures the processor and may fail where others use it.
            output = self.tool("qemu-img", "create", "-q", "-f", "qcow2", "--object",
                               f"secret,id=k,file={self.key}", "-o",
                               "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10",
                               path, "64M", status=None)
            if "CPU usage" not in output:
                break
        self.done("check-key", self.xml("v"))
        new = self.key_file("new", image_case.generated_key())
        self.write_pattern("v", "qcow2")
        self.done("add-key", self.xml("v"), "--generated", "--new-key", new)
        self.assert_pattern("v", "qcow2", key=new)


class Wiping(image_case.ImageCase):
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


class Removal(image_case.ImageCase):
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


if __name__ == "__main__":
    taptest.main()
