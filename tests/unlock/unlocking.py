# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of unlock methods share: a folder of their own, and the driver in it."""

import os
import shutil
import subprocess
import tempfile
import unittest

BUILD_ROOT = os.environ["BUILD_ROOT"]
DRIVER = os.path.join(BUILD_ROOT, "tests/unlock/unlock-driver")
HELPER = os.path.join(BUILD_ROOT, "src/master/virtcrypt-unlock-helper")
PATIENCE = float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1"))
BOUND_S = 120 * PATIENCE


class Failed(Exception):
    """The driver's error; `output` is all that it printed."""

    def __init__(self, output):
        super().__init__(output)
        self.output = output
        last = output.strip().rsplit("\n", 1)[-1]
        if not last.startswith("error "):
            raise AssertionError(f"the driver ended without an error: {output!r}")
        code, self.text = last[len("error "):].split(": ", 1)
        self.code = int(code)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="virtcrypt-unlock-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.slots = os.path.join(self.folder, "master.slots")
        self.helper_environment = {}
        self.timeout_ms = 60000

    def environment(self):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
                       "VIRTCRYPT_UNLOCK_HELPER": HELPER,
                       "UNLOCK_TIMEOUT_MS": str(int(self.timeout_ms * PATIENCE))}
        environment.update({name: value for name, value in os.environ.items()
                            if name.endswith("SAN_OPTIONS")})
        environment.update({"VIRTCRYPT_HELPER_" + name: value
                            for name, value in self.helper_environment.items()})
        return environment

    def drive(self, *words, typed="", **fields):
        """The driver's lines as a dictionary; "slots" are those of attempts."""
        argv = [DRIVER, *words, *(f"{name.replace('_', '-')}={value}"
                                  for name, value in fields.items())]
        done = subprocess.run(argv, env=self.environment(), input=typed, text=True,
                              stdout=subprocess.PIPE, timeout=BOUND_S)
        if done.returncode != 0:
            raise Failed(done.stdout)
        answer = {"slots": []}
        for line in done.stdout.splitlines():
            if line.startswith("slot "):
                answer["slots"].append(line)
            else:
                name, value = line.split("=", 1)
                answer[name] = value
        return answer

    def assert_fails(self, code, part, *words, **fields):
        with self.assertRaises(Failed) as raised:
            self.drive(*words, **fields)
        self.assertIn(part, raised.exception.text)
        self.assertEqual(code, raised.exception.code, raised.exception.text)

    def put(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path
