# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests of image volumes share: image-driver (tests/e2e/image-driver.c) calls the backends
without a daemon, qemu-img, qemu-io and cryptsetup judge what they made."""

import base64
import os
import shutil
import subprocess
import tempfile
import unittest

DRIVER = os.path.join(os.environ["BUILD_ROOT"], "tests/e2e/image-driver")
PATIENCE = float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1"))
BOUND_S = 120 * PATIENCE
MIB = 1024 * 1024
PATTERN = 0x5a

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
