#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our daemon away, hung, killed and back while libvirtd with the connector runs: each call gets a
clear error within a bound, libvirtd is unharmed, and all is well when the daemon is back. And many
clients at once."""

import os
import signal
import threading
import time
import unittest

import libvirt

import host
import taptest

# SECRET_OPEN_BOUND_S and SECRET_OPEN_SILENCE_S of the connector, with time for a slow machine.
_OPEN_BOUND_S = 10 + 5 * host.PATIENCE
_SILENCE_BOUND_S = 15 + 10 * host.PATIENCE

_AWAY = ("secrets are kept by virtcrypt-secretd, which cannot be reached: Failed to connect socket "
         "to '/run/libvirt/virtsecretd-sock': (No such file or directory|Connection refused) "
         r"\(start it: systemctl start virtcrypt-secretd.socket\)")
_MUTE = "virtcrypt-secretd does not answer on '/run/libvirt/virtsecretd-sock'"


def _xml(usage):
    return f"<secret><usage type='volume'><volume>{usage}</volume></usage></secret>"


class _Outage:
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.secretd = cls.machine.start_secretd('value_readback = "any"\n')
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)

    def setUp(self):
        if not self.secretd.is_running:
            self.start()
        self.connection = libvirt.open(self.machine.uri(self.driver))
        self.addCleanup(self.connection.close)
        for secret in self.connection.listAllSecrets():
            secret.undefine()

    def start(self):
        type(self).secretd = self.machine.start_secretd('value_readback = "any"\n')

    def assert_libvirtd_is_well(self):
        self.assertTrue(self.libvirtd.is_running)
        began = time.monotonic()
        self.machine.virsh("list", "--all", timeout=20 * host.PATIENCE).check()
        # Who waits for a daemon that hangs takes _OPEN_BOUND_S.
        self.assertLess(time.monotonic() - began, 9 * host.PATIENCE)

    def test_each_call_says_that_our_daemon_is_away_and_how_to_start_it(self):
        secret = self.connection.secretDefineXML(_xml("/v/1"))
        secret.setValue(b"value")
        self.secretd.stop()
        calls = ((self.connection.numOfSecrets, ()), (self.connection.listSecrets, ()),
                 (self.connection.listAllSecrets, ()),
                 (self.connection.secretLookupByUUID, (secret.UUID(),)),
                 (self.connection.secretLookupByUsage, (1, "/v/1")),
                 (self.connection.secretDefineXML, (_xml("/v/2"),)), (secret.XMLDesc, ()),
                 (secret.setValue, (b"other",)), (secret.value, ()), (secret.undefine, ()))
        for call, arguments in calls:
            with self.subTest(call.__name__):
                with self.assertRaisesRegex(libvirt.libvirtError, _AWAY) as caught:
                    call(*arguments)
                self.assertEqual(caught.exception.get_error_code(), libvirt.VIR_ERR_SYSTEM_ERROR)
        self.assert_libvirtd_is_well()
        self.start()
        self.assertEqual(secret.value(), b"value")

    def test_a_connection_that_was_open_before_works_again_at_once(self):
        secret = self.connection.secretDefineXML(_xml("/v/1"))
        secret.setValue(b"value")
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.secretd.stop(number)
            self.start()
            self.assertEqual(secret.value(), b"value")

    def test_a_change_right_after_a_restart_is_made(self):
        secret = self.connection.secretDefineXML(_xml("/v/1"))
        for number in range(10):
            self.secretd.kill()
            self.start()
            secret.setValue(b"value %d" % number)
            self.assertEqual(secret.value(), b"value %d" % number)

    def test_a_client_can_connect_while_our_daemon_is_away(self):
        self.secretd.stop()
        connection = libvirt.open(self.machine.uri(self.driver))
        self.addCleanup(connection.close)
        with self.assertRaisesRegex(libvirt.libvirtError, _AWAY):
            connection.numOfSecrets()
        self.start()
        self.assertEqual(connection.numOfSecrets(), 0)

    def test_a_call_to_a_daemon_that_hangs_ends_with_an_error(self):
        self.connection.numOfSecrets()
        self.secretd.send(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with self.assertRaises(libvirt.libvirtError) as caught:
                self.connection.numOfSecrets()
            took = time.monotonic() - began
            self.assert_libvirtd_is_well()
        finally:
            self.secretd.send(signal.SIGCONT)
        self.assertRegex(str(caught.exception), _MUTE)
        self.assertLess(took, _SILENCE_BOUND_S + _OPEN_BOUND_S)
        self.assertEqual(self.connection.numOfSecrets(), 0)

    def test_many_calls_to_a_daemon_that_hangs_leave_nothing_behind(self):
        threads_before = self.threads_of_libvirtd()
        self.secretd.send(signal.SIGSTOP)
        try:
            errors = _at_once(12, lambda number: self.count_secrets())
            self.assertEqual(len([error for error in errors if error]), 12)
            self.assert_libvirtd_is_well()
        finally:
            self.secretd.send(signal.SIGCONT)
        host.wait_for(lambda: self.threads_of_libvirtd() <= threads_before + 20,
                      "the threads that waited end")
        host.wait_for(self.counts_none, "our daemon answers again", interval=0.2)

    def test_eight_clients_at_once_get_what_they_ask_for(self):
        def work(number):
            connection = libvirt.open(self.machine.uri(self.driver))
            for turn in range(15):
                secret = connection.secretDefineXML(_xml(f"/v/{number}/{turn}"))
                value = os.urandom(40)
                secret.setValue(value)
                found = connection.secretLookupByUsage(1, f"/v/{number}/{turn}")
                assert found.UUID() == secret.UUID()
                assert found.value() == value
                if turn % 2:
                    secret.undefine()
            connection.close()
        self.assertEqual(_at_once(8, work), [None] * 8)
        self.assertEqual(self.connection.numOfSecrets(), 8 * 8)

    def test_eight_clients_survive_restarts_of_our_daemon(self):
        secret = self.connection.secretDefineXML(_xml("/v/shared"))
        secret.setValue(b"shared")
        served = [0] * 8
        are_connected = threading.Barrier(9, timeout=host.RUN_BOUND_S)
        is_over = threading.Event()

        def work(number):
            connection = libvirt.open(self.machine.uri(self.driver))
            mine = connection.secretLookupByUUID(secret.UUID())
            are_connected.wait()
            while not is_over.is_set():
                try:
                    assert mine.value() == b"shared"
                    served[number] += 1
                except libvirt.libvirtError:
                    time.sleep(0.05)
            # Whatever went on meanwhile.
            assert mine.value() == b"shared"
            connection.close()

        def restart(_number):
            are_connected.wait()
            begun = time.monotonic()
            try:
                # Longer where it is so slow that somebody had no turn yet.
                while time.monotonic() < begun + 3 or (
                        not all(served) and time.monotonic() < begun + host.START_BOUND_S):
                    time.sleep(0.5)
                    self.secretd.kill()
                    self.start()
            finally:
                is_over.set()
        self.assertEqual(_at_once(9, lambda n: restart(n) if n == 8 else work(n)), [None] * 9)
        self.assertTrue(all(served), served)
        self.assert_libvirtd_is_well()

    def test_clients_that_come_and_go_leave_no_connection_in_libvirtd(self):
        def turn():
            for _ in range(20):
                connection = libvirt.open(self.machine.uri(self.driver))
                connection.listAllSecrets()
                connection.close()
        turn()
        before = len(os.listdir(f"/proc/{self.libvirtd.pid}/fd"))
        turn()
        host.wait_for(lambda: len(os.listdir(f"/proc/{self.libvirtd.pid}/fd")) <= before,
                      f"libvirtd has at most {before} descriptors")

    def counts_none(self):
        try:
            return self.connection.numOfSecrets() == 0
        except libvirt.libvirtError:
            return False

    def count_secrets(self):
        connection = libvirt.open(self.machine.uri(self.driver))
        try:
            connection.numOfSecrets()
        finally:
            connection.close()

    def threads_of_libvirtd(self):
        return len(os.listdir(f"/proc/{self.libvirtd.pid}/task"))


def _at_once(count, work):
    """Runs work(0) to work(count - 1) in threads; returns what each raised, or None."""
    raised = [None] * count

    def run(number):
        try:
            work(number)
        except Exception as error:  # handed to the test
            raised[number] = error
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


class ThroughQemuOfLibvirtd(_Outage, unittest.TestCase):
    driver = "qemu"


class ThroughSecretOfLibvirtd(_Outage, unittest.TestCase):
    driver = "secret"


def setUpModule():
    libvirt.registerErrorHandler(lambda context, error: None, None)


if __name__ == "__main__":
    taptest.main()
