#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Eight clients define, set, read, redefine and undefine secrets at random while virtcrypt-secretd
is reloaded, stopped and killed again and again. What was answered is what is read back, at once and
after the next start; what had no answer is as before or as after.

VIRTCRYPT_TEST_SECONDS and VIRTCRYPT_TEST_SEED make it longer, and repeat what the clients choose.
"""

import dataclasses
import os
import random
import signal
import threading
import time
import unittest
import uuid

import host
import taptest
import wire

_CLIENTS = 8
_SECRETS = 3  # of each client
_SECONDS = float(os.environ.get("VIRTCRYPT_TEST_SECONDS", "8"))
_SEED = os.environ.get("VIRTCRYPT_TEST_SEED") or str(random.randrange(1 << 32))
_CHANGES_MIN = 100
_BOUND_S = _SECONDS + 60 * host.PATIENCE

# Some fit into one sector when sealed, and are written over the old ones; others get new files.
_VALUE_SIZES = (32, 32, 32, 64, 400, 5000)


@dataclasses.dataclass(frozen=True)
class State:
    """Of a secret; None stands for one that is not defined."""
    description: str
    is_private: bool
    is_ephemeral: bool
    value: bytes

    def xml(self, identifier):
        flags = {True: "yes", False: "no"}
        return (f"<secret ephemeral='{flags[self.is_ephemeral]}' private='{flags[self.is_private]}'>"
                f"<uuid>{identifier}</uuid><description>{self.description}</description>"
                f"<usage type='volume'><volume>/{identifier}</volume></usage></secret>")


def _after_restart(state):
    return None if state and state.is_ephemeral else state


class Gone(Exception):
    """The daemon ended before it answered."""


class Client(threading.Thread):
    def __init__(self, test, number):
        super().__init__()
        self._test = test
        self._random = random.Random(f"{_SEED} {number}")
        # What each may be; more than one only between a change without answer and the next start.
        self._allowed = {uuid.UUID(int=number << 64 | 4 << 76 | 8 << 60 | at): {None}
                         for at in range(_SECRETS)}
        self.changes = 0
        self.failure = None

    def run(self):
        try:
            while not self._test.is_over:
                self._live_with_one_daemon()
            self._expect_restart()
            self._test.start_is_done.wait(host.START_BOUND_S)
            self._connect_and_compare()
        except BaseException as error:  # for the test's thread
            self.failure = error

    def _live_with_one_daemon(self):
        try:
            self._connect_and_compare()
            while not self._test.is_over:
                self._change(self._random.choice(list(self._allowed)))
        except Gone:
            self._expect_restart()
            time.sleep(0.02)

    def _expect_restart(self):
        self._allowed = {identifier: {_after_restart(state) for state in states}
                         for identifier, states in self._allowed.items()}

    def _connect_and_compare(self):
        try:
            self._client = wire.Connection(self._test.machine.path(host.SECRETD_SOCKET)).open()
            token = self._test.machine.read("/run/libvirt/common/system.token")
            self._call(wire.SET_IDENTITY, wire.typed_params(
                ("system.token", wire.TYPED_STRING, token)) + wire.uint32(0)).reader()
        except (OSError, wire.Closed) as error:
            raise Gone from error
        for identifier, allowed in self._allowed.items():
            found = self._read(identifier)
            if found not in allowed:
                raise AssertionError(f"{identifier} is {found}, not one of {allowed}")
            self._allowed[identifier] = {found}

    def _call(self, procedure, payload):
        try:
            return self._client.call(procedure, payload)
        except (OSError, wire.Closed) as error:
            raise Gone from error

    def _read(self, identifier):
        packed = wire.secret(identifier.bytes) + wire.uint32(0)
        reply = self._call(wire.GET_XML_DESC, packed)
        if reply.status == wire.ERROR:
            assert "no secret with matching uuid" in reply.error().message, reply.error()
            return None
        xml = reply.reader().string()
        reply = self._call(wire.GET_VALUE, packed)
        if reply.status == wire.ERROR:
            assert "does not have a value" in reply.error().message, reply.error()
        return State(xml.split("<description>")[1].split("</description>")[0],
                     "private='yes'" in xml, "ephemeral='yes'" in xml,
                     reply.reader().opaque() if reply.status == wire.OK else None)

    def _choose(self, old):
        """The next state, and the call that leads to it."""
        choice = self._random.random()
        if old and choice < 0.1:
            return None, wire.UNDEFINE, lambda _: b""
        if old and choice < 0.75:
            value = self._random.randbytes(self._random.choice(_VALUE_SIZES))
            return (dataclasses.replace(old, value=value), wire.SET_VALUE,
                    lambda _: wire.opaque(value) + wire.uint32(0))
        new = State(self._random.choice(("a", "b", "longer")),
                    bool(old and old.is_private) or self._random.random() < 0.2,
                    self._random.random() < 0.15, old.value if old else None)
        return new, wire.DEFINE_XML, lambda identifier: wire.string(new.xml(identifier)) + wire.uint32(0)

    def _change(self, identifier):
        old, = self._allowed[identifier]
        new, procedure, payload = self._choose(old)
        head = b"" if procedure == wire.DEFINE_XML else wire.secret(identifier.bytes)
        self._allowed[identifier] = {old, new}
        self._call(procedure, head + payload(identifier)).reader()
        self._allowed[identifier] = {new}
        self.changes += 1
        found = self._read(identifier)
        if found != new:
            raise AssertionError(f"{identifier} is {found} after it was made {new}")


class Clients(unittest.TestCase):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.is_over = False
        self.start_is_done = threading.Event()

    def disturb(self, chance, daemon):
        """What happens to the daemon; the one that runs then."""
        how = chance.choice((signal.SIGHUP, signal.SIGHUP, signal.SIGKILL, signal.SIGKILL,
                             signal.SIGTERM))
        if how == signal.SIGHUP:
            daemon.send(how)
            return daemon
        self.assertIn(daemon.stop(how), (0, -how), daemon.log_text())
        return self.machine.start_secretd()

    def test_what_was_answered_is_what_is_read(self):
        print(f"seed {_SEED}")
        chance = random.Random(_SEED)
        daemon = self.machine.start_secretd()
        clients = [Client(self, number + 1) for number in range(_CLIENTS)]
        for client in clients:
            client.start()
        begun = time.monotonic()
        # On a busy machine most of the time is that of starts.
        while not any(client.failure for client in clients) and (
                time.monotonic() - begun < _SECONDS
                or sum(client.changes for client in clients) <= _CHANGES_MIN
                and time.monotonic() - begun < _BOUND_S):
            time.sleep(chance.uniform(0.05, 0.6))
            daemon = self.disturb(chance, daemon)
        # The last one starts on what a killed one left, and is asked for all.
        self.is_over = True
        daemon.kill()
        daemon = self.machine.start_secretd()
        self.start_is_done.set()
        for client in clients:
            client.join(host.STOP_BOUND_S)
            self.assertFalse(client.is_alive())
        failures = [client.failure for client in clients if client.failure]
        self.assertEqual(failures, [], daemon.log_text())
        print(f"{sum(client.changes for client in clients)} changes")
        self.assertGreater(sum(client.changes for client in clients), _CHANGES_MIN)
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    taptest.main()
