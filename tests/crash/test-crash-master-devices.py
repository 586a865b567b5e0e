#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at calls that change a file, or at a command that changes what the TPM
holds, while slots by a TPM (a real swtpm), a token (SoftHSM), a passphrase and a recovery passphrase
are added, changed, given a new master key, and removed. After the next start the slots are those of
before or those of after, each of them opens, the recovery passphrase alone does, and every value is
there."""

import os
import shutil
import signal
import socket
import struct
import tempfile
import threading

import devices
import host
import mastercalls as master
import taptest
import wire
from secretd_case import A, Machine, SecretdCase, define, set_value

_CONFIG = "/etc/libvirt"
_OWN = _CONFIG + "/virtcrypt"
_PIN_FILE = _CONFIG + "/pin"
_URI = f"pkcs11:token=lab;object=wrapping?pin-source={_PIN_FILE}"
_PROGRAM, _GENERATION_STATUS = 0x56435253, 9
_STOPS_MAX = 24  # of one class: at the others the same code writes other bytes
_BOUND_S = 60 * host.PATIENCE

_OLD, _NEW = b"an old passphrase", b"a new passphrase"
_PAPER, _NEXT_PAPER, _SECOND, _THIRD = (
    master.recovery_passphrase(bytes([number]) * 32) for number in range(4))
_TYPED = (_OLD, _NEW, _PAPER, _NEXT_PAPER, _SECOND, _THIRD)

_NV_UNDEFINE, _NV_DEFINE, _NV_INCREMENT = 0x122, 0x12A, 0x134
_HANDLES = range(0x01805600, 0x01805700)


def _find(client, label):
    return next(slot.id for slot in master.status(client).slots if slot.label == label)


def _is_settled(client):
    status = master.status(client)
    if status.locked:
        raise AssertionError(status.reason)
    reader = client.call(_GENERATION_STATUS, program=_PROGRAM).reader()
    reader.uint64()
    return not status.is_rotating and reader.uint32() == 0


def _wait(client):
    host.wait_for(lambda: _is_settled(client), "the rotation ends", _BOUND_S, 0.005)


def _add(method, secret=b"", **fields):
    return lambda client: master.added(client, method, "new", secret, **fields)


def _change(old, new):
    return lambda client: master.change_passphrase(client, _find(client, "new"), old,
                                                   new).reader()


def _rotate(answer=None):
    """Until its end."""
    def step(client):
        answers = {_find(client, "paper"): _NEXT_PAPER}
        if answer:
            answers[_find(client, "new")] = answer
        reply = master.rotate(client, answers=answers)
        while reply.status != wire.OK and "are still being moved" in reply.error().message:
            _wait(client)
            reply = master.rotate(client, answers=answers)
        reply.reader()
        _wait(client)
    return step


def _remove(client):
    master.remove_slot(client, _find(client, "new")).reader()


class Guarded(Machine):
    """With a TPM and a token, whose state is put back with that of the disk."""

    config = "rotation_delay = 0\nindex_delay = 0\nunlock_timeout = 60\n"
    has_devices = True
    proxy = None
    tokens = None  # what each machine's token holds, which never changes

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="virtcrypt-crash-")
        self.tpm = devices.Swtpm(self.folder)
        self.hsm = devices.SoftHsm(self.folder)

    def close(self):
        self.tpm.stop()
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_secretd(self, config="", args=(), env=None, program=None):
        if self.has_devices:
            tcti = self.proxy.tcti if self.proxy else self.tpm.tcti
            env = {"VIRTCRYPT_HELPER_TCTI": tcti, **(env or {}),
                   **{f"VIRTCRYPT_HELPER_{name}": value
                      for name, value in self.hsm.environment.items()}}
        else:
            env = {"VIRTCRYPT_HELPER_TCTI": "swtpm:path=/nowhere", **(env or {})}
        return super().start_secretd(config, args, env, program)

    def snapshot(self):
        self.tpm.stop()
        with open(os.path.join(self.folder, "tpm/tpm2-00.permall"), "rb") as file:
            chip = file.read()
        self.tpm.start()
        return {**super().snapshot(), "chip": chip}

    def restore(self, tree):
        tree = dict(tree)
        self.tpm.stop()
        chip = tree.pop("chip", None)
        shutil.rmtree(os.path.join(self.folder, "tpm"), ignore_errors=True)
        os.mkdir(os.path.join(self.folder, "tpm"))
        if chip:
            with open(os.path.join(self.folder, "tpm/tpm2-00.permall"), "wb") as file:
                file.write(chip)
        self.tpm.start()
        self.hsm.become(self.tokens)
        super().restore(tree)
        self.write(_PIN_FILE, devices.SoftHsm.PIN, 0o600)

    def settle(self, client):  # pylint: disable=method-hidden
        _wait(client)
        self.wait_until_tidy()
        status = master.status(client)
        self.rollback = status.rollback
        self.slots = {slot.label: self.look(client, slot) for slot in status.slots}

    @staticmethod
    def look(client, slot):
        """The passphrases that open it; True: it opens by itself."""
        if slot.needs_person:
            return [passphrase for passphrase in _TYPED
                    if master.test_slot(client, slot.id, passphrase).status == wire.OK]
        reply = master.test_slot(client, slot.id)
        if reply.status != wire.OK:
            raise AssertionError(f"{slot.label}: {reply.error().message}")
        return True

    def state(self):
        # What a killed helper had in the chip is gone with a reboot, or by the resource manager. A
        # token of SoftHSM is a file, which it writes at each log in: that may be torn, or locked.
        self.tpm.restart()
        self.hsm.become(self.tokens)
        state = super().state()
        return {**state, "slots": self.slots}

    def counters(self):
        return [line for line in self.tpm.tool("tpm2_getcap", "handles-nv-index").splitlines()
                if int(line.split()[-1], 16) in _HANDLES]

    def value_by_paper(self):
        """Without key file and devices: what a start gives that is unlocked by hand."""
        for name in os.listdir(self.path(_OWN)):
            if name.startswith("master.key"):
                os.unlink(self.path(f"{_OWN}/{name}"))
        self.has_devices = False
        daemon = self.start_secretd(self.config)
        try:
            with self.connect() as client:
                if not master.status(client).locked:
                    raise AssertionError("it is unlocked by nothing")
                if all(master.unlock(client, passphrase=paper).status != wire.OK
                       for paper in (_PAPER, _NEXT_PAPER)):
                    raise AssertionError(daemon.log_text())
                token = self.read("/run/libvirt/common/system.token")
                client.call(wire.SET_IDENTITY, wire.typed_params(
                    ("system.token", wire.TYPED_STRING, token)) + wire.uint32(0)).reader()
                return client.call(wire.GET_VALUE,
                                   wire.secret(A.bytes) + wire.uint32(0)).reader().opaque()
        finally:
            self.has_devices = True
            daemon.stop()


class DevicesCase(SecretdCase):
    MACHINE = Guarded

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="virtcrypt-crash-")
        cls.addClassCleanup(shutil.rmtree, folder)
        Guarded.tokens = devices.SoftHsm(folder)
        Guarded.tokens.make_token("lab")
        Guarded.tokens.make_key("lab", "wrapping", "01")
        super().setUpClass()

    def setUp(self):
        self.before = self.made_by(
            define(A), set_value(A, b"a value"),
            lambda client: master.added(client, "recovery", "paper", _PAPER))

    def on_machines(self, function, items):
        items = list(items)
        return super().on_machines(function, items[::-(-len(items) // _STOPS_MAX)])

    def cut(self, *_):
        """What a power cut leaves of these files is crash-master-slots' and crash-master's."""

    def expect(self, machine, allowed, what):
        super().expect(machine, allowed, what)
        self.assertNotIn([], machine.slots.values(), what)
        self.assertEqual(set(os.listdir(machine.path(_OWN))) - {"index", "journal"},
                         {"master.slots", "master.key", "generations"}, what)
        self.assertEqual(machine.value_by_paper(), b"a value", what)


class Files(DevicesCase):
    def test_a_passphrase_is_added_changed_given_another_key_and_removed(self):
        self.assert_old_or_new(self.before, [_add("passphrase", _OLD), _change(_OLD, _NEW),
                                             _rotate(_NEW), _remove])

    def test_a_recovery_passphrase_is_added_changed_given_another_key_and_removed(self):
        self.assert_old_or_new(self.before, [_add("recovery", _SECOND), _change(_SECOND, _THIRD),
                                             _rotate(_SECOND), _remove])

    def test_a_token_is_added_given_another_key_and_removed(self):
        self.assert_old_or_new(self.before, [_add("pkcs11", uri=_URI), _rotate(), _remove])

    def test_a_tpm_is_added_given_another_key_and_removed(self):
        self.assert_old_or_new(self.before, [_add("tpm2"), _rotate(), _remove])


class Proxy:
    """Between the helper and the TPM: kills a daemon before or after a command that changes what the
    chip holds, the `at`th of them; its answer comes to nobody then."""

    def __init__(self, machine, at, how):
        self._machine, self._at, self._how = machine, at, how
        self._lock = threading.Lock()
        self.codes = []
        self._path = os.path.join(machine.folder, "proxy")
        self.tcti = f"swtpm:path={self._path}"
        self._listeners = []
        for suffix in ("", ".ctrl"):
            if os.path.exists(self._path + suffix):
                os.unlink(self._path + suffix)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self._path + suffix)
            listener.listen()
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, suffix), daemon=True).start()

    def close(self):
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener, suffix):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(os.path.join(self._machine.folder, "swtpm") + suffix)
            threading.Thread(target=self._serve, args=(client, server, not suffix),
                             daemon=True).start()

    def _serve(self, client, server, is_data):
        with client, server:
            while command := self._receive(client, is_data):
                how = self._note(command) if is_data else None
                if how != "before":
                    server.sendall(command)
                    answer = self._receive(server, is_data)
                if how:
                    self._machine.daemons[-1].send(signal.SIGKILL)
                    return
                try:
                    client.sendall(answer)
                except OSError:
                    return

    @staticmethod
    def _receive(peer, is_data):
        try:
            got = peer.recv(65536)
            while is_data and got and len(got) < struct.unpack(">I", got[2:6])[0]:
                got += peer.recv(65536)
            return got
        except OSError:
            return b""

    def _note(self, command):
        code = struct.unpack(">I", command[6:10])[0]
        with self._lock:
            if code not in (_NV_DEFINE, _NV_UNDEFINE, _NV_INCREMENT):
                return None
            self.codes.append(code)
            return self._how if len(self.codes) == self._at else None


class Counter(DevicesCase):
    """Killed at a command of the TPM that changes its counter."""

    steps = [_add("tpm2"), set_value(A, b"a value"), _rotate(), _remove]

    def run_at(self, machine, number, how):
        """(when it ended, commands seen, answers)"""
        machine.proxy = Proxy(machine, number, how)
        try:
            status, answers, _ = self.run_steps(machine, self.before, self.steps)
            return status, machine.proxy.codes, len(answers)
        finally:
            machine.proxy.close()
            machine.proxy = None

    def plan(self, machine, count):
        self.run_steps(machine, self.before, self.steps[:count])
        return machine.state()

    def test_a_kill_at_a_command_of_the_tpm_locks_nothing(self):
        states = self.on_machines(self.plan, range(len(self.steps) + 1))
        status, codes, _ = self.on_machines(lambda machine, _: self.run_at(machine, 0, ""),
                                            [None])[0]
        self.assertEqual(status, 0)
        self.assertTrue({_NV_DEFINE, _NV_INCREMENT, _NV_UNDEFINE} <= set(codes), codes)

        def kill(machine, item):
            status, _, answers = self.run_at(machine, *item)
            what = f"killed {item[1]} command {item[0]}"
            self.expect(machine, states[answers:answers + 2], what)
            self.assertFalse("put back" in (machine.rollback or ""), what)
            return status

        statuses = self.on_machines(kill, [(number, how) for number in range(1, len(codes) + 1)
                                           for how in ("before", "after")])
        self.assertIn(-signal.SIGKILL, statuses)


class FullDisk(DevicesCase):
    """A call that writes fails while slots are changed; or all do, from one on."""

    CALLS = (("tpm2", b"", {}), ("pkcs11", b"", {"uri": _URI}), ("passphrase", _OLD, {}),
             ("recovery", _SECOND, {}))

    def fill(self, machine, before, number, step):
        """`step` is called with a client, and its reply looked at. Below zero: that call alone."""
        machine.restore(before)
        daemon = machine.start_watched(ARM="/run/armed", AT=abs(number), HOW=28,
                                       **({"STICKY": 1} if number > 0 else {}))
        with machine.connect() as client:
            machine.write("/run/armed", "")
            reply = step(client)
            os.unlink(machine.path("/run/armed"))
            if reply.status == wire.OK:
                daemon.send(signal.SIGHUP)
                _wait(client)
            slots = sorted(slot.label for slot in master.status(client).slots)
            self.assertFalse(master.status(client).is_rotating)
        self.assertEqual(daemon.stop(), 0, daemon.log_text())
        if reply.status != wire.OK:
            self.assertIn("No space left on device", reply.error().message)
        counters = machine.counters()
        state = machine.state()
        self.assertNotIn([], state["slots"].values(), state)
        if reply.status == wire.OK:
            self.assertEqual(sorted(state["slots"]), slots)
        self.assertEqual(machine.value_by_paper(), b"a value")
        return reply.status == wire.OK, len(counters), "new" in state["slots"]

    def fill_all(self, before, step, numbers):
        """(done, counters in the TPM, is there a new slot) of disks that are full from a call on, up
        to one from which on they are not in its way."""
        outcomes = self.on_machines(
            lambda machine, number: self.fill(machine, before, number, step), numbers)
        self.assertIn(False, [is_done for is_done, _, _ in outcomes])
        self.assertIn(True, [is_done for is_done, _, _ in outcomes])
        return set(outcomes)

    def test_a_slot_that_cannot_be_written_is_none_and_leaves_nothing_in_the_tpm(self):
        for method, secret, fields in self.CALLS:
            with self.subTest(method):
                outcomes = self.fill_all(self.before, lambda client, a=(method, "new", secret),
                                         named=fields: master.add_slot(client, *a, **named),
                                         [*range(1, 15), *range(-14, 0)])
                counters = 1 if method == "tpm2" else 0
                # Where not even the folder can be flushed, it is told, and may be there.
                self.assertEqual(outcomes - {(False, counters, True)},
                                 {(False, 0, False), (True, counters, True)})

    def test_a_new_master_key_for_all_kinds_of_slots_is_there_or_not(self):
        def add(label, method, secret=b"", **fields):
            return lambda client: master.added(client, method, label, secret, **fields)

        def rotate(client):
            return master.rotate(client, answers={_find(client, "paper"): _NEXT_PAPER,
                                                  _find(client, "typed"): _OLD,
                                                  _find(client, "second"): _THIRD})

        before = self.made_by(
            define(A), set_value(A, b"a value"), add("paper", "recovery", _PAPER),
            add("typed", "passphrase", _OLD), add("second", "recovery", _SECOND),
            add("chip", "tpm2"), add("token", "pkcs11", uri=_URI))
        self.assertEqual(self.fill_all(before, rotate, [*range(1, 40, 3), *range(-20, 0)]),
                         {(False, 1, False), (True, 1, False)})


class Clock(DevicesCase):
    """A host that takes it for 1970, or for 2200: times are shown to people, and nothing else."""

    EARLY, LATE = 0, 7_258_118_400_000_000

    def run_at(self, machine, when, *steps):
        daemon = machine.start_watched(TIME=when)
        with machine.connect() as client:
            for step in steps:
                step(client)
            created = {slot.label: slot.created for slot in master.status(client).slots}
        self.assertEqual(daemon.stop(), 0, daemon.log_text())
        return created

    def test_a_wrong_clock_locks_nobody_out(self):
        calls = FullDisk.CALLS

        def add(suffix):
            return [lambda client, c=call: master.added(client, c[0], c[0] + suffix, c[1], **c[2])
                    for call in calls]

        def rotate(client):
            answers = {_find(client, "paper"): _NEXT_PAPER}
            for suffix in (" early", " late"):
                answers[_find(client, "passphrase" + suffix)] = _OLD
                answers[_find(client, "recovery" + suffix)] = _THIRD
            master.rotate(client, answers=answers).reader()
            _wait(client)

        def run(machine, _):
            machine.restore(self.before)
            self.run_at(machine, self.LATE, *add(" late"), set_value(A, b"a value"))
            machine.tpm.restart()
            created = self.run_at(machine, self.EARLY, *add(" early"), _wait)
            machine.tpm.restart()
            self.run_at(machine, self.LATE, _wait, rotate)
            machine.tpm.restart()
            self.run_at(machine, self.EARLY, machine.settle)
            state = machine.state()
            return created, state, machine.value_by_paper()

        created, state, value = self.on_machines(run, [None])[0]
        self.assertEqual((created["tpm2 early"], created["tpm2 late"]),
                         (self.EARLY // 1_000_000, self.LATE // 1_000_000))
        self.assertEqual(len(state["slots"]), 2 + 2 * len(calls))
        self.assertNotIn([], state["slots"].values())
        self.assertEqual((state[str(A)][1], value), (b"a value", b"a value"))


if __name__ == "__main__":
    taptest.main()
