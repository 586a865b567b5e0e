#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The master key of a busy virtcrypt-secretd with 10 000 secrets is rotated, while eight clients
read and set values: no call fails, nothing that was set is lost, and all of it opens afterwards.
And the rotation is locked and unlocked in its middle, and killed and gone on with by another
slot."""

import base64
import os
import random
import signal
import threading
import unittest
import uuid

import host
import mastercalls
import taptest
import wire

COUNT = 10000
CLIENTS = 8
_SECRETS = "/etc/libvirt/secrets"
_CREDENTIALS = "/run/credentials"
_BOUND_S = 120 * host.PATIENCE


def _uuid(number):
    return uuid.UUID(f"5ec4e700-0000-4000-8000-{number:012d}")


def _first_value(number):
    return f"first value of {number}".encode()


def _fill(machine, count):
    """As libvirt keeps them; the first start takes them over."""
    os.makedirs(machine.path(_SECRETS), mode=0o700, exist_ok=True)
    for number in range(count):
        name = f"{_SECRETS}/{_uuid(number)}"
        machine.write(name + ".xml", f"<secret ephemeral='no' private='no'><uuid>{_uuid(number)}"
                                     f"</uuid><usage type='volume'><volume>/{number}</volume>"
                                     "</usage></secret>")
        machine.write(name + ".base64", base64.b64encode(_first_value(number)))


class Client:
    """One that sees values."""

    def __init__(self, machine):
        self._connection = wire.Connection(machine.path(host.SECRETD_SOCKET)).open()
        token = machine.read("/run/libvirt/common/system.token")
        self._connection.call(wire.SET_IDENTITY, wire.typed_params(
            ("system.token", wire.TYPED_STRING, token)) + wire.uint32(0)).reader()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._connection.close()

    def get(self, number):
        return self._connection.call(wire.GET_VALUE, wire.secret(_uuid(number).bytes)
                                     + wire.uint32(0)).reader().opaque()

    def set(self, number, value):
        self._connection.call(wire.SET_VALUE, wire.secret(_uuid(number).bytes) + wire.opaque(value)
                              + wire.uint32(0)).reader()


class Load(threading.Thread):
    """Reads any secret, and sets those of its own: every CLIENTS-th one."""

    def __init__(self, machine, first, count):
        super().__init__()
        self._machine = machine
        self._random = random.Random(first)
        self._first = first
        self._count = count
        self.is_over = threading.Event()
        self.calls = 0
        self.values = {}  # that it set
        self.problem = None

    def run(self):
        try:
            with Client(self._machine) as client:
                while not self.is_over.is_set():
                    self._call(client)
                    self.calls += 1
        except Exception as error:  # pylint: disable=broad-except
            self.problem = error

    def _call(self, client):
        number = self._random.randrange(self._count)
        if number % CLIENTS != self._first:
            value = client.get(number)
            if not value.endswith(f" value of {number}".encode()):
                raise AssertionError(f"{number} has the value {value}")
            return
        value = f"{self.calls}. value of {number}".encode()
        client.set(number, value)
        self.values[number] = value
        if client.get(number) != value:
            raise AssertionError(f"{number} does not have the value that was set")


def _is_over(connection):
    status = mastercalls.status(connection)
    if status.problem or status.locked:
        raise AssertionError(status.problem or status.reason)
    return not status.is_rotating


class Rotation(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def master(self):
        return wire.Connection(self.machine.path(host.SECRETD_SOCKET)).open()

    def expect(self, values, count):
        with Client(self.machine) as client:
            for number in range(count):
                self.assertEqual(client.get(number), values.get(number, _first_value(number)))

    def rotate_under_load(self, reseal):
        loads = [Load(self.machine, first, COUNT) for first in range(CLIENTS)]
        for load in loads:
            load.start()
        try:
            with self.master() as connection:
                before = [load.calls for load in loads]
                mastercalls.rotate(connection, reseal=reseal).reader()
                reply = mastercalls.rotate(connection)
                self.assertIn("values are still being moved", reply.error().message)
                host.wait_for(lambda: _is_over(connection), "the rotation ends", _BOUND_S)
                calls = [load.calls - then for load, then in zip(loads, before)]
        finally:
            for load in loads:
                load.is_over.set()
            for load in loads:
                load.join(_BOUND_S)
        for load, done in zip(loads, calls):
            self.assertIsNone(load.problem)
            self.assertGreater(done, 3, "each was served all the while")
        return {number: value for load in loads for number, value in load.values.items()}

    def test_no_call_of_eight_clients_fails_in_a_rotation_of_10000_secrets(self):
        _fill(self.machine, COUNT)
        daemon = self.machine.start_secretd()
        values = self.rotate_under_load(reseal=False)
        values |= self.rotate_under_load(reseal=True)
        self.expect(values, COUNT)
        daemon.stop_in_order()
        self.machine.start_secretd()
        self.expect(values, COUNT)

    def is_locked_in_its_middle(self, connection):
        """Begins a rotation, locks and unlocks; false if it has ended before that was seen."""
        old = mastercalls.status(connection).key_id
        mastercalls.rotate(connection).reader()
        mastercalls.lock(connection).reader()
        status = mastercalls.status(connection)
        self.assertTrue(status.locked)
        self.assertNotEqual(status.key_id, old)
        mastercalls.unlock(connection).reader()
        if status.is_rotating and mastercalls.status(connection).is_rotating:
            return True
        host.wait_for(lambda: _is_over(connection), "the rotation ends", _BOUND_S)
        return False

    def test_it_goes_on_after_a_lock_and_after_a_kill_by_another_slot(self):
        count = 1000
        _fill(self.machine, count)
        self.machine.write(f"{_CREDENTIALS}/mine", os.urandom(32))
        environment = {"CREDENTIALS_DIRECTORY": _CREDENTIALS}
        daemon = self.machine.start_secretd(env=environment)
        with self.master() as connection:
            mastercalls.added(connection, "credential", name="mine")
            host.wait_for(lambda: self.is_locked_in_its_middle(connection),
                          "a rotation that is locked in its middle", _BOUND_S)
        daemon.send(signal.SIGKILL)
        daemon.wait()
        os.unlink(self.machine.path("/etc/libvirt/virtcrypt/master.key"))
        self.machine.start_secretd(env=environment)
        with self.master() as connection:
            host.wait_for(lambda: _is_over(connection), "the rotation ends", _BOUND_S)
        self.expect({}, count)


if __name__ == "__main__":
    taptest.main()
