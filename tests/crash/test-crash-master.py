#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at every call that changes a file while it rotates its master key:
killed, cut from power, and with a disk that is full. After the next start, by whichever slot, every
value opens, and either nothing has changed or the rotation ends: then nothing is under the old
master key, and neither the old slots nor the old key file open anything of the new."""

import os
import signal
import uuid

import host
import mastercalls
import taptest
import wire
from secretd_case import A, B, C, Machine, SecretdCase, define, set_value

_CONFIG = "/etc/libvirt"
_VIRTCRYPT = _CONFIG + "/virtcrypt"
_SECRETS = _CONFIG + "/secrets"
_PROGRAM, _BIND, _GENERATION_STATUS = 0x56435253, 3, 9
_BOUND_S = 20 * host.PATIENCE
_CREDENTIALS = "/run/credentials"
_CREDENTIAL = "virtcrypt-master-key"

STRAY = uuid.UUID("dddddddd-0000-4000-8000-000000000001")
GUESTS = [uuid.UUID(f"{n * 8}-0000-4000-8000-00000000000a") for n in "12"]
_KEPT = f"{C}.key.replaced-1"

# docs/sealed-format.md
_ONE_GENERATION_SIZE = 100
_VALUE_KEY_ID = slice(72, 88)
_GENERATIONS_KEY_ID = slice(16, 32)
_SLOTS_KEY_ID = slice(24, 40)
_SLOTS_HAS_PREVIOUS = slice(42, 44)
_VALUE = slice(148, None)  # from its nonce on, which a re-wrapping leaves as it is


def _bind(secret, guest):
    return lambda client: client.call(_BIND, wire.uint32(1) + secret.bytes + guest.bytes,
                                      program=_PROGRAM).reader()


def _is_settled(client):
    status = mastercalls.status(client)
    if status.locked:
        raise AssertionError(status.reason)
    reader = client.call(_GENERATION_STATUS, program=_PROGRAM).reader()
    reader.uint64()
    return not status.is_rotating and reader.uint32() == 0


def _wait(is_there, what="the rotation ends"):
    host.wait_for(is_there, what, _BOUND_S, 0.005)


def _rotate(reseal=False):
    """Until its end."""
    def step(client):
        mastercalls.rotate(client, reseal=reseal).reader()
        _wait(lambda: _is_settled(client))
    return step


class Rotating(Machine):
    """With a key file and a credential; `only` one unlocks the daemon that tells the state."""

    config = "rotation_delay = 0\n"
    only = "key file"
    has_credential = False

    def settle(self, client):  # pylint: disable=method-hidden
        _wait(lambda: not self.exists(_VIRTCRYPT + "/generations.due") and _is_settled(client))
        self.wait_until_tidy()

    def start_secretd(self, config="", args=(), env=None, program=None):
        if self.has_credential:
            env = {"CREDENTIALS_DIRECTORY": _CREDENTIALS, **(env or {})}
        return super().start_secretd(config, args, env, program)

    def start_watched(self, **crash):
        self.has_credential = True
        try:
            return super().start_watched(**crash)
        finally:
            self.has_credential = False

    def state(self):
        self.has_credential = self.only == "credential"
        if self.has_credential:
            self.remove_key_files()
        try:
            return super().state()
        finally:
            self.has_credential = False

    def remove_key_files(self):
        for name in os.listdir(self.path(_VIRTCRYPT)):
            if name.startswith("master.key"):
                os.unlink(self.path(f"{_VIRTCRYPT}/{name}"))

    def write_credential(self):
        self.write(f"{_CREDENTIALS}/{_CREDENTIAL}", b"a credential of 32 bytes, or so.")

    def keys(self):
        """{path: bytes} of the sealed values, kept ones among them."""
        root = self.path(_CONFIG)
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(root)
                 for name in names if ".key" in name and not name.startswith("master.key")]
        return {path.removeprefix(root): self.read(_CONFIG + path.removeprefix(root))
                for path in paths}


def _file(tree, name):
    """What a tree (disk.py) has below _CONFIG."""
    for path, content in tree.items():
        if str(path).strip("/").endswith(name):
            return bytes(content)
    raise AssertionError(f"{name} is not in {sorted(map(str, tree))}")


class MasterCase(SecretdCase):
    MACHINE = Rotating
    reseal = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        machines = [cls.machines.get() for _ in range(cls.machines.qsize())]
        for machine in machines:
            machine.write_credential()
            cls.machines.put(machine)
        cls.before = cls().make_before()
        cls.old = {"slots": _file(cls.before, "master.slots"),
                   "key": _file(cls.before, "master.key")}

    def make_before(self):
        """Owned, unowned, stray and kept values, under a key file and a credential."""
        tree = self.made_by(define(A), set_value(A, b"first value"), define(B),
                            set_value(B, b"second value"), *(_bind(B, guest) for guest in GUESTS),
                            define(C), set_value(C, b"third" * 200), define(STRAY),
                            set_value(STRAY, b"stray"))

        def change(machine, _):
            machine.restore(tree)
            daemon = machine.start_watched()
            with machine.connect() as client:
                mastercalls.added(client, "credential", name=_CREDENTIAL)
            self.assertEqual(daemon.stop(), 0)
            os.unlink(machine.path(f"{_SECRETS}/{STRAY}.xml"))
            machine.write(f"{_SECRETS}/{_KEPT}", machine.read(f"{_SECRETS}/{C}.key"))
            return machine.snapshot(), machine.keys()
        tree, self.__class__.old_keys = self.on_machines(change, [None])[0]
        return tree

    def expect(self, machine, allowed, what):
        state = machine.state()
        self.assertIn(state, allowed, what)
        slots = machine.read(_VIRTCRYPT + "/master.slots")
        generations = machine.read(_VIRTCRYPT + "/generations")
        keys = machine.keys()
        self.assertEqual(keys.keys(), self.old_keys.keys(), what)
        self.assertEqual(len({key[_VALUE_KEY_ID] for key in keys.values()}), 1, what)
        self.assertEqual(len(generations), _ONE_GENERATION_SIZE, what)
        self.assertEqual(generations[_GENERATIONS_KEY_ID], slots[_SLOTS_KEY_ID], what)
        self.assertEqual(slots[_SLOTS_HAS_PREVIOUS], b"\0\0", what)
        names = set(os.listdir(machine.path(_VIRTCRYPT)))
        self.assertEqual(names - {"index", "master.key"},
                         {"master.slots", "generations", "journal"}, what)
        if slots[_SLOTS_KEY_ID] != self.old["slots"][_SLOTS_KEY_ID]:
            self.expect_new(machine, keys, what)

    def expect_new(self, machine, keys, what):
        for path, key in keys.items():
            old = self.old_keys[path]
            self.assertNotEqual(key[_VALUE_KEY_ID], old[_VALUE_KEY_ID], f"{path}, {what}")
            is_new = self.reseal and str(STRAY) not in path and _KEPT not in path
            self.assertEqual(key[_VALUE] != old[_VALUE], is_new, f"{path}, {what}")
        if self.old["slots"]:
            for folder, _, files in os.walk(machine.path(_CONFIG)):
                for name in files:
                    with open(os.path.join(folder, name), "rb") as file:
                        self.assertNotIn(self.old["key"], file.read(), f"{name}, {what}")


class Rotation(MasterCase):
    def test_a_rotation_of_the_master_key_loses_nothing_and_ends(self):
        self.assert_old_or_new(self.before, [_rotate()])

    def test_the_old_slots_and_key_file_open_nothing_afterwards(self):
        def run(machine, _):
            self.run_steps(machine, self.before, [_rotate()])
            new = machine.snapshot()
            for names in ((), ("master.slots", "master.key"), ("master.slots",),
                          ("master.key",), ("generations",),
                          ("master.slots", "master.key", "generations")):
                machine.restore(new)
                for name in names:
                    machine.write(f"{_VIRTCRYPT}/{name}", _file(self.before, name))
                yield names, self.look(machine)
        answers = dict(self.on_machines(lambda machine, item: list(run(machine, item)), [None])[0])
        self.assertEqual(answers[()][0], None)
        self.assertEqual(len(answers[()][1]), 3)
        for names in (("master.slots", "master.key"), ("master.slots",), ("generations",)):
            locked_reason, values = answers[names]
            self.assertTrue(locked_reason, names)
            self.assertEqual(values, set(), names)
        # All of the old ones together open, and find that no value is under them.
        self.assertEqual(answers["master.slots", "master.key", "generations"][1], set())
        # Nor does the old key file open the new slots.
        locked_reason, values = answers["master.key",]
        self.assertTrue(locked_reason)
        self.assertEqual(values, set())

    @staticmethod
    def look(machine):
        """Why a fresh daemon is locked, and the values that it gives."""
        daemon = machine.start_secretd(machine.config)
        try:
            with machine.connect() as client:
                reason = mastercalls.status(client).reason
                token = machine.read("/run/libvirt/common/system.token")
                client.call(wire.SET_IDENTITY, wire.typed_params(
                    ("system.token", wire.TYPED_STRING, token)) + wire.uint32(0)).reader()
                values = set()
                for identifier in (A, B, C):
                    reply = client.call(wire.GET_VALUE,
                                        wire.secret(identifier.bytes) + wire.uint32(0))
                    if reply.status == wire.OK:
                        values.add(reply.reader().opaque())
                return reason, values
        finally:
            daemon.stop()

    def test_a_start_by_another_slot_goes_on(self):
        calls = self.on_machines(
            lambda machine, _: (self.run_steps(machine, self.before, [_rotate()]),
                                len(machine.calls())), [None])[0][1]

        def kill(machine, number):
            self.run_steps(machine, self.before, [_rotate()], AT=number, HOW="before")
            machine.only = "credential"
            try:
                state = machine.state()
            finally:
                machine.only = "key file"
            self.assertEqual(set(state), {str(A), str(B), str(C)})
            self.assertEqual([value for _, value in state.values()],
                             [b"first value", b"second value", b"third" * 200], number)
        self.on_machines(kill, range(1, calls, max(1, calls // 24)))


class Reseal(MasterCase):
    reseal = True

    def on_machines(self, function, items):
        """Every second: what is stopped is the same but for what is in it."""
        items = list(items)
        return super().on_machines(function, items[::2] if len(items) > 8 else items)

    def test_a_rotation_with_new_data_keys_loses_nothing_and_ends(self):
        self.assert_old_or_new(self.before, [_rotate(reseal=True)])


class FullDisk(MasterCase):
    """Calls fail with ENOSPC from one on, until the file that arms them goes."""

    def test_a_full_disk_is_told_and_the_rotation_goes_on_when_there_is_room(self):
        def fill(machine, number):
            machine.restore(self.before)
            daemon = machine.start_watched(ARM="/run/armed", AT=number, HOW=28, STICKY=1)
            with machine.connect() as client:
                machine.write("/run/armed", "")
                reply = mastercalls.rotate(client)
                if reply.status == wire.ERROR:
                    outcome = reply.error().message
                else:
                    def problem():
                        return mastercalls.status(client).problem or _is_settled(client)
                    _wait(problem, "a problem comes")
                    outcome = mastercalls.status(client).problem
                os.unlink(machine.path("/run/armed"))
                if reply.status == wire.OK:
                    daemon.send(signal.SIGHUP)
                    _wait(lambda: _is_settled(client), f"it goes on after call {number}")
                else:
                    self.assertFalse(mastercalls.status(client).is_rotating)
            self.assertEqual(daemon.stop(), 0)
            self.expect(machine, [self.values()], f"full from call {number} on")
            return reply.status, outcome

        outcomes = self.on_machines(fill, range(1, 60, 4))
        texts = [text for _, text in outcomes if text]
        for text in texts:
            self.assertIn("No space left on device", text)
        self.assertTrue({wire.OK, wire.ERROR} <= {status for status, text in outcomes if text},
                        outcomes)

    @staticmethod
    def values():
        return Values()


class Values:
    """Equal to each state (of Machine.state) with the values of all secrets."""

    def __eq__(self, state):
        return [value for _, value in state.values()] == [b"first value", b"second value",
                                                          b"third" * 200]


if __name__ == "__main__":
    taptest.main()
