#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that are not root, at our daemon and at a real libvirtd, judged by a real polkitd: who is
let in, what is refused until then, and the codes of refusals, which virsh acts on.
"""

import os
import unittest

import host
import polkit
import taptest
import wire

# Users that every Debian has.
_MANAGER, _BANNED, _NOBODY = 1, 5, 65534

_RULES = """\
polkit.addRule(function(action, subject) {
    if (action.id == "org.libvirt.unix.manage" && subject.user == "daemon")
        return polkit.Result.YES;
    if (subject.user == "games")
        return polkit.Result.NO;
    return polkit.Result.NOT_HANDLED;
});
"""


def _start_reference(machine):
    polkit.start(machine, _RULES)
    machine.start_reference(auth="polkit")


def _start_ours(machine):
    polkit.start(machine, _RULES)
    machine.start_secretd('auth_unix_rw = "polkit"\nauth_unix_ro = "polkit"\n')


def _start_ours_as_its_own_user(machine):
    """polkitd answers it about itself alone: a helper asks."""
    polkit.start(machine, _RULES)
    daemon = machine.start_secretd('auth_unix_rw = "polkit"\nauth_unix_ro = "polkit"\n',
                                   ["--user", "nobody"])
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        assert f"Uid:\t{_NOBODY}\t{_NOBODY}\t{_NOBODY}\t0\n" in file.read()


class Polkit(wire.Compared):
    def connect_as(self, user, path):
        """The kernel notes the effective user; only root can reach the folder by its full name."""
        before = os.getcwd()
        os.chdir(os.path.dirname(path))
        os.seteuid(user)
        try:
            client = wire.Connection(os.path.basename(path))
        finally:
            os.seteuid(0)
            os.chdir(before)
        self.addCleanup(client.close)
        return client

    def assert_refused(self, client, code):
        error = client.call(wire.AUTH_POLKIT).error()
        self.assertEqual((code, 60), (error.code, error.domain), error)
        self.assert_error(client.call(wire.OPEN, wire.optional(None) + wire.uint32(0)), 39, 7,
                          "authentication required")

    def test_polkit_is_offered_to_users_and_none_to_root(self):
        for user, kind in ((0, 0), (_NOBODY, 2)):
            client = self.connect_as(user, self.side.path)
            reader = client.call(wire.AUTH_LIST).reader()
            self.assertEqual((1, kind), (reader.uint32(), reader.uint32()))

    def test_calls_before_authentication_are_refused(self):
        client = self.connect_as(_MANAGER, self.side.path)
        for number, arguments in (
                (wire.OPEN, wire.optional(None) + wire.uint32(0)), (wire.CLOSE, b""),
                (wire.SUPPORTS_FEATURE, wire.int32(10)), (wire.GET_TYPE, b""),
                (wire.SET_VALUE, b"no arguments"), (wire.SET_IDENTITY, b"")):
            with self.subTest(number=number):
                self.assert_error(client.call(number, arguments), 39, 7,
                                  "authentication required")
        self.assert_error(client.call(99999), 39, 7, "unknown procedure: 99999")
        client.send(wire.PING)
        self.assertEqual(wire.KEEPALIVE, client.receive().program)

    def test_a_user_whom_a_rule_lets_in(self):
        client = self.connect_as(_MANAGER, self.side.path)
        client.call(wire.AUTH_LIST).reader()
        self.assertEqual(1, client.call(wire.AUTH_POLKIT).reader().int32())
        client.call(wire.OPEN, wire.optional(wire.string("secret:///system"))
                    + wire.uint32(0)).reader()
        self.assertEqual("secret", client.call(wire.GET_TYPE).reader().string())

    def test_a_user_whom_a_rule_keeps_out(self):
        self.assert_refused(self.connect_as(_BANNED, self.side.path), 45)
        self.assert_refused(self.connect_as(_BANNED, self.side.path_ro), 45)

    def test_a_user_who_would_have_to_type_a_password(self):
        self.assert_refused(self.connect_as(_NOBODY, self.side.path), 94)

    def test_everybody_may_look(self):
        client = self.connect_as(_NOBODY, self.side.path_ro)
        self.assertEqual(1, client.call(wire.AUTH_POLKIT).reader().int32())
        client.call(wire.OPEN, wire.optional(wire.string("secret:///system"))
                    + wire.uint32(0)).reader()
        self.assertEqual(0, client.call(wire.NUM_OF_SECRETS).reader().int32())
        self.assertEqual(29, client.call(wire.UNDEFINE, wire.secret(bytes(16))).error().code)


class PolkitByReference(Polkit, unittest.TestCase):
    make_side = staticmethod(
        lambda: wire.Side("libvirtd", _start_reference, host.REFERENCE_SOCKET))


class PolkitByOurs(Polkit, unittest.TestCase):
    make_side = staticmethod(
        lambda: wire.Side("virtcrypt-secretd", _start_ours, host.SECRETD_SOCKET))


class PolkitByOurOwnUser(Polkit, unittest.TestCase):
    make_side = staticmethod(
        lambda: wire.Side("virtcrypt-secretd", _start_ours_as_its_own_user, host.SECRETD_SOCKET))


del Polkit

if __name__ == "__main__":
    taptest.main()
