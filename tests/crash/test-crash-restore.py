#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""store restore, killed at every call that changes a file, and cut from power: the store of before is
whole, or none is there and a restore that was not finished is, or the restored one is whole. Run again,
it ends well, and nothing of the store of before is lost. And the same of backup and export."""

import base64
import os
import unittest
import uuid

import disk
import host
import taptest
import wire

_INTERPOSE = os.path.join(host.BUILD_ROOT, "tests/crash/crash-interpose.so")
_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_RECOVER = os.path.join(host.BUILD_ROOT, "tools/virtcrypt-recover")
_CONFIG, _DATA = "/etc/libvirt", "/var/lib/libvirt/virtcrypt"
_SLOTS = _CONFIG + "/virtcrypt/master.slots"
_LOG, _BACKUP, _KEY = "/run/calls", "/run/backup", "/run/master.key"
_PROGRAM, _BIND = 0x56435253, 3
_CUTS_MAX = 40 if host.PATIENCE == 1 else 10

A, B, C = (uuid.UUID(f"{letter * 8}-0000-4000-8000-000000000001") for letter in "abc")
GUESTS = [uuid.UUID(f"{n * 8}-0000-4000-8000-00000000000a") for n in "12"]


class Machine(host.Host):
    def prepare(self):
        """A backup of A and B, which two guests own, and a store with another value of A, and C."""
        daemon = self.start_secretd()
        with wire.Connection(self.path(host.SECRETD_SOCKET)).open() as client:
            for identifier, value in ((A, b"backed up"), (B, b"owned"), (C, b"later")):
                client.call(wire.DEFINE_XML, wire.string(
                    f"<secret><uuid>{identifier}</uuid></secret>") + wire.uint32(0)).reader()
                self.set_value(client, identifier, value)
                if identifier == B:
                    pairs = b"".join(B.bytes + guest.bytes for guest in GUESTS)
                    client.call(_BIND, wire.uint32(2) + pairs, program=_PROGRAM).reader()
                    self.run([_VIRTCRYPT, "store", "backup", _BACKUP]).check()
            self.set_value(client, A, b"of before")
        daemon.stop_in_order()
        self.run(["sh", "-ec", f"cp {_CONFIG}/virtcrypt/master.key {_KEY} && "
                  f"cp -a {_CONFIG} /run/config && mkdir -p {_DATA} && cp -a {_DATA} /run/data"]).check()

    @staticmethod
    def set_value(client, identifier, value):
        client.call(wire.SET_VALUE, wire.secret(identifier.bytes) + wire.opaque(value) +
                    wire.uint32(0)).reader()

    def begin(self, is_new):
        """The store of before; or a host that has none."""
        put = f"cp -a /run/config/. {_CONFIG} && cp -a /run/data/. {_DATA}"
        self.run(["sh", "-ec", f"rm -rf {_CONFIG}/* {_DATA}/* {_LOG} && " +
                  ("true" if is_new else put)]).check()

    def restore(self, *more, **crash):
        environment = {**host.preloaded(_INTERPOSE), "CRASH_FOLDERS": f"{_CONFIG}:{_DATA}",
                       "CRASH_LOG": _LOG} if crash else {}
        environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return self.run([_VIRTCRYPT, "store", "restore", _BACKUP, "--key-file", _KEY, *more],
                        env=environment)

    def value(self, identifier, root=None):
        done = self.run([_RECOVER, "extract", str(identifier), "--key-file", _KEY,
                         *(["--root", root] if root else [])], text=False)
        return done.stdout if done.returncode == 0 else None


class Restore(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.close)
        cls.machine.prepare()

    def count_calls(self, is_new):
        self.machine.begin(is_new)
        done = self.machine.restore(*([] if is_new else ["--replace"]), AT=0)
        self.assertEqual(done.returncode, 0, done.stderr)
        count = len(disk.read_log(self.machine.path(_LOG)))
        self.assertGreater(count, 20)
        return count

    def assert_restored(self):
        self.assertEqual((self.machine.value(A), self.machine.value(B), self.machine.value(C)),
                         (b"backed up", b"owned", None))
        for guest in GUESTS:
            self.assertTrue(self.machine.exists(f"{_CONFIG}/qemu/keys/{guest}/{B}.key"))
        self.assertFalse(self.machine.exists(_SLOTS + ".restoring"))

    def assert_old_or_new_or_unfinished(self, is_new):
        if not self.machine.exists(_SLOTS):
            self.assertTrue(is_new or self.machine.exists(_SLOTS + ".restoring"))
        elif self.machine.exists(_SLOTS + ".restoring"):
            self.assertEqual(self.machine.value(A), b"of before")
            self.assertEqual(self.machine.value(C), b"later")
        else:
            self.assertIn((self.machine.value(A), self.machine.value(C)),
                          [(b"backed up", None), (b"of before", b"later")])

    def assert_the_old_one_is_kept(self):
        """All of its files are somewhere below replaced-N, as they were."""
        found = self.machine.run(["sh", "-ec", f"cd {_CONFIG}/virtcrypt && cat replaced-*/secrets/{C}.key"
                                  f" | cmp - /run/config/secrets/{C}.key && "
                                  f"cat replaced-*/secrets/{A}.key | grep -c VCSEALED"])
        self.assertEqual(found.returncode, 0, found.stderr)

    def check(self, is_new, numbers):
        for number in numbers:
            with self.subTest(call=number):
                self.machine.begin(is_new)
                killed = self.machine.restore(*([] if is_new else ["--replace"]), AT=number,
                                              HOW="before")
                self.assertNotEqual(killed.returncode, 0)
                self.assert_old_or_new_or_unfinished(is_new)
                is_done = self.machine.exists(_SLOTS) and self.machine.value(A) == b"backed up"
                # A restore that was not finished needs no second word to go on.
                unfinished = self.machine.exists(_SLOTS + ".restoring") and not \
                    self.machine.exists(_SLOTS)
                if not is_done:
                    again = self.machine.restore(*([] if is_new or unfinished else ["--replace"]))
                    self.assertEqual(again.returncode, 0, again.stderr)
                self.assert_restored()
                if not is_new:
                    self.assert_the_old_one_is_kept()

    def test_killed_anywhere_while_a_store_is_replaced_it_can_be_run_again(self):
        self.check(False, range(1, self.count_calls(False) + 1))

    def test_killed_on_a_new_host_it_can_be_run_again(self):
        self.check(True, range(1, self.count_calls(True) + 1, 3))


    def test_a_power_cut_anywhere_leaves_old_or_new_or_an_unfinished_one(self):
        """Of a restore in place of a store: after it, it can be run again."""
        self.machine.begin(False)
        folders = [disk.Disk(self.machine.path(folder)) for folder in (_CONFIG, _DATA)]
        self.assertEqual(self.machine.restore("--replace", AT=0).returncode, 0)
        calls = disk.read_log(self.machine.path(_LOG))
        trees = {}
        for number, call in enumerate([*calls, None]):
            for choice in disk.choices(number, 2):
                found = [folder.after(choice) for folder in folders]
                trees.setdefault(b"".join(map(disk.digest, found)), (
                    [{path: content if content is None else bytes(content)
                      for path, content in tree.items()} for tree in found],
                    f"{choice} was kept, cut in call {number + 1}: {call or 'end'}"))
            for folder in folders:
                if call and folder.knows(call):
                    folder.apply(call)
        self.assertGreater(len(trees), _CUTS_MAX)
        items = list(trees.values())
        for trees, what in items[::-(-len(items) // _CUTS_MAX)] + [items[-1]]:
            with self.subTest(what):
                self.expect_after_a_cut(trees)

    def expect_after_a_cut(self, trees):
        self.machine.begin(True)
        for folder, tree in zip((_CONFIG, _DATA), trees):
            disk.put(tree, self.machine.path(folder))
        self.assert_old_or_new_or_unfinished(False)
        is_new = self.machine.exists(_SLOTS) and self.machine.value(C) is None
        if not is_new:
            unfinished = not self.machine.exists(_SLOTS)
            again = self.machine.restore(*([] if unfinished else ["--replace"]))
            self.assertEqual(again.returncode, 0, again.stderr)
        self.assert_restored()
        self.assert_the_old_one_is_kept()


class Export(unittest.TestCase):
    """store export --libvirt: killed anywhere, the store is as it was, no file of libvirt's is half
    written under its own name, and run again it ends."""

    OUT = "/run/out"
    WANTED = {A: b"of before", B: b"owned", C: b"later"}

    def export(self, machine, **crash):
        environment = {**host.preloaded(_INTERPOSE), "CRASH_LOG": _LOG,
                       "CRASH_FOLDERS": f"{self.OUT}:{_CONFIG}:{_DATA}"} if crash else {}
        environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return machine.run([_VIRTCRYPT, "store", "export", "--libvirt", "--dir", self.OUT,
                            "--key-file", _KEY], env=environment)

    def begin(self, machine):
        machine.begin(False)
        machine.run(["rm", "-rf", self.OUT]).check()
        os.mkdir(machine.path(self.OUT), 0o700)

    def assert_exported(self, machine, all_of_it):
        names = set(os.listdir(machine.path(self.OUT)))
        for identifier, value in self.WANTED.items():
            if all_of_it or f"{identifier}.base64" in names:
                self.assertEqual(base64.b64decode(machine.read(f"{self.OUT}/{identifier}.base64")),
                                 value)
            # libvirt reads the value when it finds the definition.
            if f"{identifier}.xml" in names:
                self.assertIn(f"{identifier}.base64", names)
                self.assertIn(str(identifier).encode(),
                              machine.read(f"{self.OUT}/{identifier}.xml"))
        if all_of_it:
            self.assertEqual(names, {f"{identifier}.{kind}" for identifier in self.WANTED
                                     for kind in ("xml", "base64")})

    def test_killed_anywhere_the_store_is_as_it_was_and_it_can_be_run_again(self):
        with Machine() as machine:
            machine.prepare()
            self.begin(machine)
            self.assertEqual(self.export(machine, AT=0).returncode, 0)
            self.assert_exported(machine, True)
            calls = disk.read_log(machine.path(_LOG))
            self.assertGreater(len(calls), 20)
            kills = [(number, "before") for number in range(1, len(calls) + 1)]
            kills += [(number, "torn") for number, call in enumerate(calls, 1)
                      if call.name == "write"]
            for number, how in kills[::2 if host.PATIENCE == 1 else 8]:
                with self.subTest(f"{how} call {number}"):
                    self.begin(machine)
                    done = self.export(machine, AT=number, HOW=how)
                    self.assertEqual(done.returncode, -9, done.stderr)
                    self.assert_exported(machine, False)
                    for identifier, value in self.WANTED.items():
                        self.assertEqual(machine.value(identifier), value)
                    again = self.export(machine)
                    self.assertEqual(again.returncode, 0, again.stderr)
                    self.assert_exported(machine, True)


class Backup(unittest.TestCase):
    def test_a_backup_that_is_killed_leaves_the_one_of_before(self):
        with Machine() as machine:
            daemon = machine.start_secretd()
            folder = "/run/backups"
            os.mkdir(machine.path(folder))
            argv = [_VIRTCRYPT, "store", "backup", folder + "/backup"]
            machine.run(argv).check()
            before = machine.read(folder + "/backup")
            for number in range(1, 100):
                done = machine.run(argv, env={
                    **host.preloaded(_INTERPOSE), "CRASH_FOLDERS": folder, "CRASH_LOG": _LOG,
                    "CRASH_AT": str(number), "CRASH_HOW": "before"})
                if done.returncode == 0:
                    break
                if machine.read(folder + "/backup") != before:
                    # It was killed behind the rename.
                    self.assertFalse(machine.exists(folder + "/backup.new"))
                    break
            self.assertGreater(number, 3)
            machine.run(argv).check()
            self.assertEqual(os.listdir(machine.path(folder)), ["backup"])
            daemon.stop_in_order()


if __name__ == "__main__":
    taptest.main()
