# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cases that run virtcrypt's commands for volumes, on a private host with both daemons."""

import json
import os
import unittest

import host
import volumes

PROGRAM = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
POOL = volumes.POOL
KEY = "a key that a person typed, 1234"


class Case(unittest.TestCase):
    """One host for all tests of a class, each of which takes names of its own."""
    maxDiff = None
    with_libvirtd = True

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.secretd = cls.machine.start_secretd()
        cls.virtcryptd = cls.machine.start_virtcryptd()
        if cls.with_libvirtd:
            cls.machine.start_libvirtd(connector=True)
            volumes.define_pool(cls.machine)
        else:
            cls.machine.write_pool(POOL, volumes.TARGET)
        cls.machine.write("/run/t/key", KEY)
        cls.machine.write("/run/t/wrong", "another key")

    def ours(self, *arguments, **options):
        return self.machine.run([PROGRAM, *arguments], **options)

    def told(self, line, **options):
        """What a command that has to succeed prints."""
        done = self.ours(*line.split(), **options)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout

    def assert_fails(self, line, *errors):
        done = self.ours(*line.split())
        self.assertEqual(done.returncode, 1, f"{line}: {done.stdout}")
        for error in errors:
            self.assertIn(error, done.stderr)

    def info(self, name, pool=POOL):
        return json.loads(self.told(f"vol-info {name} {pool} --json"))

    def path(self, name):
        return f"{volumes.TARGET}/{name}"

    def secrets(self):
        return {secret["uuid"] for secret in json.loads(self.told("secret-list --json"))}

    def opens(self, name, key):
        """Whether stock cryptsetup opens that LUKS file with `key`."""
        return self.machine.run(["cryptsetup", "open", "--test-passphrase", "--key-file", "-",
                                 self.path(name)], input=key, text=isinstance(key, str)
                                ).returncode == 0
