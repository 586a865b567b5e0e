#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls that a connection consists of, at our daemon and at a real libvirtd: authentication,
opening, features, identity, read-only connections, closing. Where our daemon means to differ, a test
says so.
"""

import os
import socket
import unittest

import taptest
import wire

_VALUE = b"\x01wire\x00value"
_UUID = bytes(range(16))
_XML = """<secret ephemeral='no' private='{private}'>
  <uuid>00010203-0405-0607-0809-0a0b0c0d0e0f</uuid>
</secret>
"""
_SECRET = wire.secret(_UUID)


def _open(client, name, flags=0):
    return client.call(wire.OPEN, wire.optional(None if name is None else wire.string(name))
                       + wire.uint32(flags))


class Opening(wire.Compared):
    def test_root_need_not_authenticate(self):
        with self.side.connect() as client:
            reader = client.call(wire.AUTH_LIST).reader()
            self.assertEqual((1, 0, b""), (reader.uint32(), reader.uint32(), reader.rest()))

    def test_polkit_that_was_not_offered_is_refused(self):
        with self.side.opened() as client:
            reply = client.call(wire.AUTH_POLKIT)
            self.assertEqual(wire.ERROR, reply.status)

    def test_the_uri_is_that_of_open(self):
        for uri in ("secret:///system", "secret:///system?a=b"):
            with self.side.connect() as client:
                _open(client, uri).reader()
                self.assertEqual(uri, client.call(wire.GET_URI).reader().string())

    def test_other_uris_are_refused(self):
        for uri, code, domain, text in (
                ("qemu:///system", 5, 0, "no connection driver available for qemu:///system"),
                ("SECRET:///system", 5, 0, "no connection driver available for SECRET:///system"),
                ("secret+unix:///system", 5, 0, "no connection driver available for secret+unix:"),
                ("secret:///session", 1, 0,
                 "internal error: unexpected secret URI path '/session', try secret:///system"),
                ("secret:///", 1, 0, "unexpected secret URI path '/', try secret:///system")):
            with self.subTest(uri=uri), self.side.connect() as client:
                self.assert_error(_open(client, uri), code, domain, text)

    def test_open_can_be_repeated_after_a_refusal(self):
        with self.side.connect() as client:
            self.assertEqual(wire.ERROR, _open(client, "foo:///system").status)
            self.assertEqual(wire.OK, _open(client, "secret:///system").status)

    def test_a_second_open_is_refused(self):
        with self.side.opened() as client:
            self.assert_error(_open(client, "secret:///system"), 1, 7,
                              "internal error: connection already open")

    def test_unknown_bits_of_open_are_ignored(self):
        with self.side.connect() as client:
            _open(client, "secret:///system", 0xfffffffe).reader()
            self.assertEqual("secret", client.call(wire.GET_TYPE).reader().string())

    def test_calls_before_open_are_refused(self):
        with self.side.connect() as client:
            for number, arguments in (
                    (wire.GET_TYPE, b""), (wire.GET_HOSTNAME, b""), (wire.GET_URI, b""),
                    (wire.IS_SECURE, b""), (wire.REGISTER_CLOSE_CALLBACK, b""),
                    (wire.SUPPORTS_FEATURE, wire.int32(14)), (wire.LOOKUP_BY_UUID, _UUID),
                    (wire.SET_IDENTITY, wire.typed_params() + wire.uint32(0))):
                with self.subTest(number=number):
                    self.assert_error(client.call(number, arguments), 1, 7, "connection not open")

    def test_arguments_are_looked_at_before_the_state(self):
        with self.side.connect() as client:
            self.assert_error(client.call(wire.LOOKUP_BY_UUID, b"1"), 39, 7, "Unable to decode")

    def test_features(self):
        with self.side.connect() as client:
            self.assertEqual(1, client.call(wire.SUPPORTS_FEATURE, wire.int32(10)).reader().int32())
            client.open()
            for number in (0, 1, 5, 8, 9, 10, 14, 15, 16, 99, -1):
                with self.subTest(number=number):
                    reader = client.call(wire.SUPPORTS_FEATURE, wire.int32(number)).reader()
                    self.assertEqual(int(number in (8, 10, 14, 15)), reader.int32())

    def test_facts(self):
        with self.side.opened() as client:
            self.assertEqual("secret", client.call(wire.GET_TYPE).reader().string())
            self.assertEqual(1, client.call(wire.IS_SECURE).reader().int32())
            self.assertGreaterEqual(client.call(wire.GET_LIB_VERSION).reader().uint64(), 9000000)

    def test_close_callbacks_come_and_go_as_often_as_one_likes(self):
        with self.side.opened() as client:
            for number in (360, 360, 361, 361, 361):
                self.assertEqual(b"", client.call(number).reader().rest())

    def test_close_is_answered_first(self):
        with self.side.opened() as client:
            self.assertEqual(b"", client.call(wire.CLOSE).reader().rest())
            self.assertTrue(client.is_closed())


class ReadOnly(wire.Compared):
    """By socket and by flag: the same refusals."""

    def connections(self):
        return (("socket", self.side.connect_ro().open()), ("flag", self.side.opened(flags=1)))

    def test_changes_and_values_are_refused(self):
        for how, client in self.connections():
            for number, arguments, api in (
                    (wire.DEFINE_XML, wire.string("<secret/>") + wire.uint32(0),
                     "virSecretDefineXML"),
                    (wire.DEFINE_XML, wire.string("nonsense") + wire.uint32(77),
                     "virSecretDefineXML"),
                    (wire.UNDEFINE, _SECRET, "virSecretUndefine"),
                    (wire.SET_VALUE, _SECRET + wire.opaque(b"x") + wire.uint32(0),
                     "virSecretSetValue"),
                    (wire.GET_VALUE, _SECRET + wire.uint32(0), "virSecretGetValue")):
                with self.subTest(how=how, number=number):
                    self.assert_error(
                        client.call(number, arguments), 29, 30,
                        f"operation forbidden: read only access prevents {api}")
            client.close()

    def test_arguments_are_looked_at_before_that(self):
        for how, client in self.connections():
            with self.subTest(how=how):
                arguments = _SECRET + wire.opaque(bytes(65537)) + wire.uint32(0)
                self.assert_error(client.call(wire.SET_VALUE, arguments), 39, 7,
                                  "Unable to decode")
            client.close()

    def test_looking_is_allowed(self):
        for how, client in self.connections():
            with self.subTest(how=how):
                self.assertEqual(0, client.call(wire.NUM_OF_SECRETS).reader().int32())
                self.assert_error(client.call(wire.LOOKUP_BY_UUID, _UUID), 66, 30,
                                  "no secret with matching uuid")
                self.assertEqual(0, client.call(380, wire.int32(0) + wire.uint32(0)).status)
            client.close()


class Identity(wire.Compared):
    def set(self, client, *params):
        return client.call(wire.SET_IDENTITY, wire.typed_params(*params) + wire.uint32(0))

    def test_the_fields_of_libvirt_are_taken(self):
        with self.side.opened() as client:
            for params in ((), (("unix-user-id", wire.TYPED_ULLONG, 5),
                                ("user-name", wire.TYPED_STRING, "x")),
                           (("process-id", wire.TYPED_LLONG, 5),
                            ("process-time", wire.TYPED_ULLONG, 5),
                            ("unix-group-id", wire.TYPED_ULLONG, 5),
                            ("group-name", wire.TYPED_STRING, "x"),
                            ("sasl-user-name", wire.TYPED_STRING, "x"),
                            ("x509-distinguished-name", wire.TYPED_STRING, "x"),
                            ("selinux-context", wire.TYPED_STRING, "x"))):
                with self.subTest(params=params):
                    self.assertEqual(b"", self.set(client, *params).reader().rest())

    def test_an_unknown_field(self):
        with self.side.opened() as client:
            self.assert_error(self.set(client, ("foo", wire.TYPED_ULLONG, 5)), 74, 0,
                              "argument unsupported: parameter 'foo' not supported")
            self.assert_error(self.set(client, ("", wire.TYPED_STRING, "x")), 74, 0,
                              "parameter '' not supported")

    def test_a_field_of_another_type(self):
        with self.side.opened() as client:
            for param, text in (
                    (("unix-user-id", wire.TYPED_STRING, "5"),
                     "invalid type 'string' for parameter 'unix-user-id', expected 'ullong'"),
                    (("process-id", wire.TYPED_ULLONG, 5),
                     "invalid type 'ullong' for parameter 'process-id', expected 'llong'"),
                    (("user-name", wire.TYPED_INT, 5),
                     "invalid type 'int' for parameter 'user-name', expected 'string'"),
                    (("user-name", wire.TYPED_BOOL, 1),
                     "invalid type 'boolean' for parameter 'user-name', expected 'string'")):
                with self.subTest(param=param):
                    self.assert_error(self.set(client, param), 8, 0, text)

    def test_a_field_twice(self):
        with self.side.opened() as client:
            param = ("unix-user-id", wire.TYPED_ULLONG, 5)
            self.assert_error(self.set(client, param, param), 8, 0,
                              "parameter 'unix-user-id' occurs multiple times")

    def test_more_fields_than_there_may_be(self):
        with self.side.opened() as client:
            params = [("unix-user-id", wire.TYPED_ULLONG, 5)] * 21
            self.assert_error(self.set(client, *params), 39, 7, "Unable to decode")

    def test_an_unknown_type_of_a_field(self):
        with self.side.opened() as client:
            arguments = (wire.uint32(1) + wire.string("user-name") + wire.int32(9) + wire.uint32(0)
                         + wire.uint32(0))
            self.assert_error(client.call(wire.SET_IDENTITY, arguments), 39, 7, "Unable to decode")

    def make_private_secret(self, client):
        client.call(wire.DEFINE_XML,
                    wire.string(_XML.format(private="yes")) + wire.uint32(0)).reader()
        client.call(wire.SET_VALUE, _SECRET + wire.opaque(_VALUE) + wire.uint32(0)).reader()

    def test_the_system_token_gives_a_private_value_until_the_next_identity(self):
        token = self.side.host.read("/run/libvirt/common/system.token")
        self.assertRegex(token, rb"\A[0-9a-f]{32}\Z")
        with self.side.opened() as client:
            self.make_private_secret(client)

            def get_value():
                return client.call(wire.GET_VALUE, _SECRET + wire.uint32(0))
            self.assert_error(get_value(), 65, 30, "secret is private")
            self.set(client, ("system.token", wire.TYPED_STRING, "0" * 32)).reader()
            self.assert_error(get_value(), 65, 30, "secret is private")
            self.set(client, ("unix-user-id", wire.TYPED_ULLONG, 1000),
                     ("system.token", wire.TYPED_STRING, token)).reader()
            self.assertEqual(_VALUE, get_value().reader().opaque())
            self.set(client, ("unix-user-id", wire.TYPED_ULLONG, 1000)).reader()
            self.assert_error(get_value(), 65, 30, "secret is private")
            client.call(wire.UNDEFINE, _SECRET).reader()


class OursAlone(unittest.TestCase):
    """Where our daemon means to differ."""

    @classmethod
    def setUpClass(cls):
        cls.side = wire.ours('auth_unix_rw = "none"\nunix_sock_rw_perms = "0777"\n')

    @classmethod
    def tearDownClass(cls):
        cls.side.host.close()

    def test_open_without_a_name_means_our_uri(self):
        for name in (None, ""):
            with self.side.connect() as client:
                _open(client, name).reader()
                self.assertEqual("secret:///system", client.call(wire.GET_URI).reader().string())

    def test_what_follows_a_goodbye_is_not_answered(self):
        with self.side.opened() as client:
            client.send(wire.message(wire.CLOSE, serial=1) + wire.message(wire.AUTH_LIST, serial=2))
            self.assertEqual(1, client.reply().serial)
            with self.assertRaises(wire.Closed):
                client.reply()

    def test_hostname_and_version_are_known(self):
        with self.side.opened() as client:
            self.assertEqual(socket.gethostname(),
                             client.call(wire.GET_HOSTNAME).reader().string())
            self.assertGreater(client.call(wire.GET_VERSION).reader().uint64(), 0)

    def test_polkit_that_was_not_offered_is_an_authentication_error(self):
        with self.side.opened() as client:
            self.assertEqual(45, client.call(wire.AUTH_POLKIT).error().code)

    def test_a_token_shown_by_an_ordinary_user_is_worth_nothing(self):
        token = self.side.host.read("/run/libvirt/common/system.token")
        with self.side.opened() as root:
            root.call(wire.DEFINE_XML,
                      wire.string(_XML.format(private="yes")) + wire.uint32(0)).reader()
            root.call(wire.SET_VALUE, _SECRET + wire.opaque(_VALUE) + wire.uint32(0)).reader()
        # The kernel notes the effective user; only root can reach the folder by its full name.
        before = os.getcwd()
        os.chdir(os.path.dirname(self.side.path))
        os.seteuid(65534)
        try:
            client = wire.Connection("virtsecretd-sock")
        finally:
            os.seteuid(0)
            os.chdir(before)
        with client:
            client.open()
            client.call(wire.SET_IDENTITY, wire.typed_params(
                ("system.token", wire.TYPED_STRING, token)) + wire.uint32(0)).reader()
            self.assertEqual(65, client.call(wire.GET_VALUE, _SECRET + wire.uint32(0)).error().code)


for case in (Opening, ReadOnly, Identity):
    wire.on_both(case, globals())
del case, Opening, ReadOnly, Identity

if __name__ == "__main__":
    taptest.main()
