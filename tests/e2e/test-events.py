#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Events of secrets as libvirt's clients get them: through libvirtd with the connector, directly,
and from stock libvirtd; and through the connector across restarts of our daemon."""

import os
import threading
import time
import unittest

import libvirt

import host
import taptest

_DEFINED, _UNDEFINED = libvirt.VIR_SECRET_EVENT_DEFINED, libvirt.VIR_SECRET_EVENT_UNDEFINED
_LIFECYCLE = libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE
_VALUE_CHANGED = libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED

# Long enough for an event that should not come to show itself.
_QUIET_S = 0.5


def _xml(usage, identifier=""):
    return (f"<secret>{identifier and f'<uuid>{identifier}</uuid>'}"
            f"<usage type='volume'><volume>{usage}</volume></usage></secret>")


class _Listener:
    """Registers for events on a connection and collects them."""

    def __init__(self, connection, secret=None, lifecycle=True, values=True):
        self.seen = []
        self._connection = connection
        self._ids = []
        if lifecycle:
            self._ids.append(connection.secretEventRegisterAny(
                secret, _LIFECYCLE, self._on_lifecycle, None))
        if values:
            self._ids.append(connection.secretEventRegisterAny(
                secret, _VALUE_CHANGED, self._on_value_changed, None))

    def _on_lifecycle(self, _connection, secret, event, detail, _opaque):
        self.seen.append((secret.UUIDString(), secret.usageType(), secret.usageID(), event, detail))

    def _on_value_changed(self, _connection, secret, _opaque):
        self.seen.append((secret.UUIDString(), "value changed"))

    def wait_for(self, count):
        host.wait_for(lambda: len(self.seen) >= count, f"{count} events; so far: {self.seen}",
                      bound=20 * host.PATIENCE)
        return list(self.seen)

    def stop(self):
        while self._ids:
            self._connection.secretEventDeregisterAny(self._ids.pop())


class _Events:
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.start()

    def setUp(self):
        self.connection = self.connect()
        self.addCleanup(self.connection.close)
        for secret in self.connection.listAllSecrets():
            secret.undefine()

    def listen(self, **arguments):
        listener = _Listener(self.connection, **arguments)
        self.addCleanup(listener.stop)
        return listener

    def test_definition_value_and_end_of_a_secret_are_told_in_order(self):
        listener = self.listen()
        secret = self.connection.secretDefineXML(_xml("/v/1"))
        secret.setValue(b"value")
        self.connection.secretDefineXML(_xml("/v/1", secret.UUIDString()))
        secret.undefine()
        name = secret.UUIDString()
        seen = listener.wait_for(4)
        self.assertEqual([event for event in seen if event[1] != "value changed"],
                         [(name, 1, "/v/1", _DEFINED, 0), (name, 1, "/v/1", _DEFINED, 0),
                          (name, 1, "/v/1", _UNDEFINED, 0)])
        self.assertEqual([event for event in seen if event[1] == "value changed"],
                         [(name, "value changed")])

    def test_changes_by_another_client_are_told(self):
        listener = self.listen()
        other = self.connect()
        other.secretDefineXML(_xml("/v/1"))
        other.close()
        self.assertEqual(listener.wait_for(1)[0][2:], ("/v/1", _DEFINED, 0))

    def test_one_kind_of_event_alone_can_be_asked_for(self):
        listener = self.listen(lifecycle=False)
        secret = self.connection.secretDefineXML(_xml("/v/1"))
        secret.setValue(b"value")
        listener.wait_for(1)
        time.sleep(_QUIET_S)
        self.assertEqual(listener.seen, [(secret.UUIDString(), "value changed")])

    def test_events_of_one_secret_alone_can_be_asked_for(self):
        mine = self.connection.secretDefineXML(_xml("/v/mine"))
        listener = self.listen(secret=mine)
        self.connection.secretDefineXML(_xml("/v/other")).setValue(b"value")
        mine.setValue(b"value")
        listener.wait_for(1)
        time.sleep(_QUIET_S)
        self.assertEqual(listener.seen, [(mine.UUIDString(), "value changed")])

    def test_nothing_is_told_after_deregistration(self):
        listener = self.listen()
        self.connection.secretDefineXML(_xml("/v/1"))
        listener.wait_for(1)
        listener.stop()
        self.connection.secretDefineXML(_xml("/v/2"))
        time.sleep(_QUIET_S)
        self.assertEqual(len(listener.seen), 1)

    def test_every_client_is_told(self):
        connections = [self.connect() for _ in range(4)]
        listeners = [_Listener(connection) for connection in connections]
        self.connection.secretDefineXML(_xml("/v/1"))
        for listener, connection in zip(listeners, connections):
            self.assertEqual(listener.wait_for(1)[0][2], "/v/1")
            listener.stop()
            connection.close()

    def test_a_client_that_leaves_without_a_word_is_forgotten(self):
        done = self.machine.run(["timeout", "-s", "KILL", "1", "virsh", "-c", self.virsh_uri,
                                 "secret-event", "--event", "lifecycle", "--loop"])
        self.assertEqual(done.returncode, -9 if done.returncode < 0 else 137)
        listener = self.listen()
        self.connection.secretDefineXML(_xml("/v/1"))
        self.assertEqual(listener.wait_for(1)[0][2], "/v/1")

    def test_virsh_prints_them(self):
        watcher = self.machine.popen(
            ["virsh", "-c", self.virsh_uri, "secret-event", "--event", "lifecycle", "--timeout",
             "20"], stdout=-1, stderr=-2, text=True)
        listener = self.listen()
        names = []

        def told():
            names.append(self.connection.secretDefineXML(_xml(f"/v/{len(names)}")).UUIDString())
            return watcher.poll() is not None
        host.wait_for(told, "virsh is told of a definition", interval=0.2)
        output, _ = watcher.communicate()
        listener.wait_for(len(names))
        self.assertEqual(watcher.returncode, 0, output)
        self.assertRegex(output, r"event 'lifecycle' for secret [0-9a-f-]{36}: Defined")
        self.assertIn(output.split("secret ")[1].split(":")[0], names)


class Directly(_Events, unittest.TestCase):
    virsh_uri = "secret:///system"

    @classmethod
    def start(cls):
        cls.machine.start_secretd()

    def connect(self):
        return libvirt.open(self.machine.uri("secret", host.SECRETD_SOCKET))


class StockLibvirtd(_Events, unittest.TestCase):
    virsh_uri = "qemu:///system"

    @classmethod
    def start(cls):
        cls.machine.start_libvirtd()

    def connect(self):
        return libvirt.open(self.machine.uri("qemu"))


class ThroughSecretOfLibvirtd(_Events, unittest.TestCase):
    virsh_uri = f"secret:///system?socket={host.LIBVIRTD_SOCKET}"

    @classmethod
    def start(cls):
        cls.machine.start_secretd()
        cls.machine.start_libvirtd(connector=True)

    def connect(self):
        return libvirt.open(self.machine.uri("secret"))


class ThroughQemuOfLibvirtd(_Events, unittest.TestCase):
    virsh_uri = "qemu:///system"

    @classmethod
    def start(cls):
        cls.secretd = cls.machine.start_secretd()
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)

    def connect(self):
        return libvirt.open(self.machine.uri("qemu"))

    def restart(self, how):
        how(type(self).secretd)
        type(self).secretd = self.machine.start_secretd()

    def defined_until_told(self, listener, prefix):
        """Defines secrets until one is told of; returns how many it took."""
        count = 0
        before = len(listener.seen)

        def told():
            nonlocal count
            if len(listener.seen) > before:
                return True
            self.connection.secretDefineXML(_xml(f"{prefix}/{count}"))
            count += 1
            return False
        host.wait_for(told, "an event after the restart", bound=20 * host.PATIENCE, interval=0.1)
        return count

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.libvirtd.pid}/fd"))

    def test_events_come_again_after_our_daemon_was_stopped_and_started(self):
        listener = self.listen()
        self.connection.secretDefineXML(_xml("/v/before"))
        listener.wait_for(1)
        self.restart(lambda daemon: daemon.stop())
        self.defined_until_told(listener, "/v/stopped")

    def test_events_come_again_after_our_daemon_was_killed(self):
        listener = self.listen()
        self.restart(lambda daemon: daemon.kill())
        self.defined_until_told(listener, "/v/killed")

    def test_a_filter_still_holds_after_a_restart(self):
        mine = self.connection.secretDefineXML(_xml("/v/mine"))
        listener = self.listen(secret=mine, lifecycle=False)
        self.restart(lambda daemon: daemon.stop())

        def told():
            self.connection.secretDefineXML(_xml("/v/other", other)).setValue(b"value")
            mine.setValue(b"value")
            return listener.seen
        other = self.connection.secretDefineXML(_xml("/v/other")).UUIDString()
        host.wait_for(told, "an event", bound=20 * host.PATIENCE, interval=0.1)
        time.sleep(_QUIET_S)
        self.assertEqual(set(listener.seen), {(mine.UUIDString(), "value changed")})

    def test_no_event_comes_twice_after_restarts(self):
        listener = self.listen(values=False)
        for _ in range(3):
            self.restart(lambda daemon: daemon.stop())
        self.defined_until_told(listener, "/v/again")
        time.sleep(_QUIET_S)
        self.connection.secretDefineXML(_xml("/v/once"))

        def told():
            return [event[2] for event in listener.seen if event[2] == "/v/once"]
        host.wait_for(told, "the event")
        time.sleep(_QUIET_S)
        self.assertEqual(told(), ["/v/once"])

    def test_restarts_leave_no_connection_behind_in_libvirtd(self):
        listener = self.listen()
        self.connection.numOfSecrets()
        before = self.descriptors()
        for _ in range(8):
            self.restart(lambda daemon: daemon.stop())
            self.defined_until_told(listener, "/v/leak")
            for secret in self.connection.listAllSecrets():
                secret.undefine()
        host.wait_for(lambda: self.descriptors() <= before,
                      f"libvirtd has at most {before} descriptors")

    def test_a_registration_that_ends_while_our_daemon_is_down_ends(self):
        listener = self.listen()
        type(self).secretd.stop()
        listener.stop()
        type(self).secretd = self.machine.start_secretd()
        other = self.listen()
        self.defined_until_told(other, "/v/down")
        self.assertEqual(listener.seen, [])

    def test_registering_while_our_daemon_is_down_is_a_clear_error(self):
        type(self).secretd.stop()
        try:
            with self.assertRaisesRegex(libvirt.libvirtError, "virtcrypt-secretd"):
                _Listener(self.connection)
        finally:
            type(self).secretd = self.machine.start_secretd()

    def test_libvirtd_says_that_events_are_lost_and_come_again(self):
        listener = self.listen()
        self.restart(lambda daemon: daemon.stop())
        self.defined_until_told(listener, "/v/said")
        self.assertIn("the connection to virtcrypt-secretd", self.libvirtd.log_text())
        host.wait_for(lambda: "events of secrets come again from" in self.libvirtd.log_text(),
                      "libvirtd's log says that events are back")


def _run_events():
    while True:
        libvirt.virEventRunDefaultImpl()


def setUpModule():
    libvirt.registerErrorHandler(lambda context, error: None, None)
    libvirt.virEventRegisterDefaultImpl()
    # An event loop sleeps until something is registered: give it a clock.
    libvirt.virEventAddTimeout(100, lambda timer, opaque: None, None)
    threading.Thread(target=_run_events, daemon=True).start()


if __name__ == "__main__":
    taptest.main()
