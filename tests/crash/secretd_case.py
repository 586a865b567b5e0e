# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd stopped at calls that change a file, for the programs that say what it does
meanwhile: killed, and cut from power; and what a fresh daemon then tells."""

import concurrent.futures
import os
import queue
import shutil
import signal
import time
import unittest
import uuid

import disk
import host
import wire

_INTERPOSE = os.path.join(host.BUILD_ROOT, "tests/crash/crash-interpose.so")
_IS_SLOW = host.PATIENCE > 1

_CONFIG = "/etc/libvirt"
_ARM = "/run/armed"
_LOG = "/run/calls"
_MACHINES = 2
_KILL_STRIDE = 3

A, B, C = (uuid.UUID(f"{letter * 8}-0000-4000-8000-000000000001") for letter in "abc")


def definition(identifier, private="no", description="d"):
    return (f"<secret ephemeral='no' private='{private}'><uuid>{identifier}</uuid>"
            f"<description>{description}</description>"
            f"<usage type='volume'><volume>/{identifier}</volume></usage></secret>")


def define(identifier, **options):
    return lambda client: client.call(
        wire.DEFINE_XML, wire.string(definition(identifier, **options)) + wire.uint32(0)).reader()


def set_value(identifier, value):
    return lambda client: client.call(
        wire.SET_VALUE,
        wire.secret(identifier.bytes) + wire.opaque(value) + wire.uint32(0)).reader()


def undefine(identifier):
    return lambda client: client.call(wire.UNDEFINE, wire.secret(identifier.bytes)).reader()


class Machine(host.Host):
    """A host whose folders of secrets can be put back. `config` is its daemons', and before they are
    asked for the state, and stopped, `settle` is called with a client."""

    config = ""
    settle = staticmethod(lambda client: None)

    def clear(self):
        for name in os.listdir(self.path(_CONFIG)):
            path = os.path.join(self.path(_CONFIG), name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)

    def snapshot(self):
        return disk.Disk(self.path(_CONFIG)).after(disk.choices(0, 0)[0])

    def restore(self, tree):
        self.clear()
        disk.put(tree, self.path(_CONFIG))
        for path in (_ARM, _LOG):
            if self.exists(path):
                os.unlink(self.path(path))

    def start_watched(self, **crash):
        environment = {**host.preloaded(_INTERPOSE), "CRASH_FOLDERS": _CONFIG, "CRASH_LOG": _LOG}
        environment.update({f"CRASH_{name}": str(value) for name, value in crash.items()})
        return self.start_secretd(self.config, env=environment)

    def connect(self):
        return wire.Connection(self.path(host.SECRETD_SOCKET)).open()

    def wait_until_tidy(self):
        """Until what a kill has left of key files is gone. The daemon comes to that behind its start,
        unless a client wants something of its slots before, or it ends: then it is the next one's."""
        host.wait_for(lambda: not [name for name in os.listdir(self.path(_CONFIG + "/virtcrypt"))
                                   if name.startswith("master.key.")], "key files are tidied")

    def calls(self):
        return disk.read_log(self.path(_LOG))

    def state(self):
        """{uuid: (definition, value or None)} as a fresh daemon tells it."""
        daemon = self.start_secretd(self.config)
        try:
            with self.connect() as client:
                self.settle(client)
                token = self.read("/run/libvirt/common/system.token")
                client.call(wire.SET_IDENTITY, wire.typed_params(
                    ("system.token", wire.TYPED_STRING, token)) + wire.uint32(0)).reader()
                return {identifier: self._secret(client, identifier)
                        for identifier in self._list(client)}
        finally:
            if daemon.stop() != 0:
                raise AssertionError(daemon.log_text())

    @staticmethod
    def _list(client):
        reader = client.call(wire.LIST_SECRETS, wire.int32(100)).reader()
        return sorted(reader.string() for _ in range(reader.uint32()))

    @staticmethod
    def _secret(client, identifier):
        packed = wire.secret(uuid.UUID(identifier).bytes) + wire.uint32(0)
        definition = client.call(wire.GET_XML_DESC, packed).reader().string()
        reply = client.call(wire.GET_VALUE, packed)
        if reply.status == wire.OK:
            return definition, reply.reader().opaque()
        text = reply.error().message
        return definition, None if "does not have a value" in text else text


class SecretdCase(unittest.TestCase):
    MACHINE = Machine

    @classmethod
    def setUpClass(cls):
        cls.machines = queue.Queue()
        for _ in range(_MACHINES):
            machine = cls.MACHINE()
            cls.addClassCleanup(machine.close)
            cls.machines.put(machine)

    def on_machines(self, function, items):
        """Calls function(machine, item) for all, so many at a time as there are machines."""
        def call(item):
            machine = self.machines.get()
            try:
                return function(machine, item)
            finally:
                self.machines.put(machine)
        with concurrent.futures.ThreadPoolExecutor(_MACHINES) as pool:
            return list(pool.map(call, items))

    def made_by(self, *steps):
        """The files of a host on which a daemon did these."""
        def make(machine, _):
            machine.restore({})
            daemon = machine.start_secretd(machine.config)
            with machine.connect() as client:
                for step in steps:
                    step(client)
                machine.settle(client)
            self.assertEqual(daemon.stop(), 0)
            return machine.snapshot()
        return self.on_machines(make, [None])[0]

    def run_steps(self, machine, before, steps, from_start=False, **crash):
        """Starts on the files `before`, does the steps, stops. Returns the exit status, when each
        answer came, and when the daemon was armed."""
        machine.restore(before)
        answers = []
        armed = time.monotonic_ns()
        try:
            daemon = machine.start_watched(**crash, **({} if from_start else {"ARM": _ARM}))
        except host.HostError:
            daemon = machine.daemons[-1]
            if daemon.is_running:
                raise
        if daemon.is_running and steps:
            try:
                # One that is watched from its start may be stopped before it is asked.
                with machine.connect() as client:
                    armed = armed if from_start else time.monotonic_ns()
                    machine.write(_ARM, "")
                    for step in steps:
                        step(client)
                        answers.append(time.monotonic_ns())
            except (wire.Closed, ConnectionRefusedError):
                pass
        status = daemon.stop()
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(daemon.log_text())
        return status, answers, armed

    def expect(self, machine, allowed, what):
        state = machine.state()
        self.assertIn(state, allowed, what)
        names = os.listdir(machine.path(_CONFIG + "/secrets"))
        self.assertEqual([name for name in names if not name.endswith((".xml", ".key"))], [], what)

    def assert_old_or_new(self, before, steps, from_start=False):
        """The whole of it: kills at each call and in each write, then power cuts. With no steps it
        is the start itself that is watched."""
        def plan(machine, count):
            status, answers, armed = self.run_steps(machine, before, steps[:count], from_start)
            self.assertEqual((status, len(answers)), (0, count))
            calls = machine.calls()
            return machine.state(), calls, sum(call.time > armed for call in calls)

        plans = self.on_machines(plan, range(len(steps) + 1))
        states = [state for state, _, _ in plans]
        _, calls, count = plans[-1]
        self.assertGreater(count, 5)
        # What a kill leaves is what cut() starts from when all was kept, so each third shows that
        # it is; a write that a kill tears is in none of them.
        kills = [(number, "before") for number in range(1, count + 2, _KILL_STRIDE)]
        kills += [(number, "torn") for number, call in enumerate(calls[-count:], 1)
                  if call.name == "write" and not call.words[2].startswith("z")]

        def kill(machine, item):
            number, how = item
            status, answers, _ = self.run_steps(machine, before, steps, from_start, AT=number,
                                                HOW=how)
            self.expect(machine, states[len(answers):len(answers) + 2],
                        f"killed {how} call {number}")
            return status

        statuses = self.on_machines(kill, kills[::8 if _IS_SLOW else 1])
        self.assertIn(-signal.SIGKILL, statuses)
        self.cut(before, steps, from_start, states)

    def cut(self, before, steps, from_start, states):
        """One run, and a start on each of what the disk may have held in it."""
        def record(machine, _):
            machine.restore(before)
            holder = disk.Disk(machine.path(_CONFIG))
            # Those files are the run's: run_steps must not make them anew.
            machine.restore = lambda tree: None
            try:
                _, answers, armed = self.run_steps(machine, before, steps, from_start)
            finally:
                del machine.restore
            trees = {}
            for call in [*machine.calls(), None]:
                answered = sum(not call or answer < call.time for answer in answers)
                if not call or call.time > armed:
                    for choice in disk.choices(len(trees), 1):
                        tree = holder.after(choice)
                        trees.setdefault((disk.digest(tree), answered), (
                            {path: content if content is None else bytes(content)
                             for path, content in tree.items()},
                            f"{choice} was kept, cut in {call or 'nothing'}"))
                if call:
                    holder.apply(call)
            return [(tree, answered, what) for (_, answered), (tree, what) in trees.items()]

        def start(machine, item):
            tree, answered, what = item
            machine.restore(tree)
            self.expect(machine, states[answered:answered + 2], what)

        trees = self.on_machines(record, [None])[0]
        self.assertGreater(len(trees), 5)
        self.on_machines(start, trees[::20 if _IS_SLOW else 1])
