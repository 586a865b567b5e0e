#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every secret call and its errors, with libvirt-python: through stock libvirtd with the connector
(qemu:///system and secret:///system), directly to virtcrypt-secretd, and, with the very same
assertions, through a stock libvirtd with libvirt's own secret driver."""

import unittest
import uuid

import libvirt

import host
import taptest



def _xml(identifier=None, usage=None, kind="volume", flags="", description=None):
    element = {"volume": "volume", "ceph": "name", "iscsi": "target", "tls": "name", "vtpm": "name"}
    text = f"<secret {flags}>"
    if identifier:
        text += f"<uuid>{identifier}</uuid>"
    if description:
        text += f"<description>{description}</description>"
    if usage:
        text += f"<usage type='{kind}'><{element[kind]}>{usage}</{element[kind]}></usage>"
    return text + "</secret>"


class _Calls:
    """The cases; each way to reach a secret driver is a class below."""

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

    def refused(self, code, call, *arguments, text=None, domain=libvirt.VIR_FROM_SECRET):
        with self.assertRaises(libvirt.libvirtError) as caught:
            call(*arguments)
        error = caught.exception
        self.assertEqual((error.get_error_code(), error.get_error_domain()), (code, domain),
                         error.get_error_message())
        if text:
            self.assertEqual(error.get_error_message(), text)

    # ---- define ----

    def test_a_secret_is_defined_with_the_uuid_that_is_asked_for(self):
        wanted = str(uuid.uuid4())
        secret = self.connection.secretDefineXML(_xml(wanted, "/v/1"))
        self.assertEqual(secret.UUIDString(), wanted)
        self.assertEqual((secret.usageType(), secret.usageID()), (1, "/v/1"))

    def test_a_secret_without_uuid_gets_one(self):
        first = self.connection.secretDefineXML(_xml(None, "/v/1"))
        second = self.connection.secretDefineXML(_xml(None, "/v/2"))
        self.assertNotEqual(first.UUID(), second.UUID())

    def test_every_kind_of_usage_can_be_defined_and_found(self):
        for number, kind in enumerate(("volume", "ceph", "iscsi", "tls", "vtpm"), 1):
            with self.subTest(kind):
                defined = self.connection.secretDefineXML(_xml(None, "id of " + kind, kind))
                found = self.connection.secretLookupByUsage(number, "id of " + kind)
                self.assertEqual(found.UUID(), defined.UUID())
                self.assertEqual(found.usageType(), number)

    def test_a_secret_may_have_no_usage(self):
        secret = self.connection.secretDefineXML(_xml())
        self.assertEqual((secret.usageType(), secret.usageID()), (0, ""))

    def test_a_definition_that_is_no_xml_is_refused(self):
        self.refused(libvirt.VIR_ERR_XML_DETAIL, self.connection.secretDefineXML, "<secret")

    def test_an_unknown_usage_is_refused(self):
        self.refused(libvirt.VIR_ERR_CONFIG_UNSUPPORTED, self.connection.secretDefineXML,
                     "<secret><usage type='door'><name>x</name></usage></secret>")

    def test_a_malformed_uuid_is_refused(self):
        self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, self.connection.secretDefineXML,
                     "<secret><uuid>no uuid</uuid></secret>")

    def test_a_usage_in_use_is_refused(self):
        self.connection.secretDefineXML(_xml(None, "/v/1"))
        self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, self.connection.secretDefineXML,
                     _xml(None, "/v/1"))

    def test_a_redefinition_with_another_usage_is_refused(self):
        identifier = self.connection.secretDefineXML(_xml(None, "/v/1")).UUIDString()
        self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, self.connection.secretDefineXML,
                     _xml(identifier, "/v/2"))

    def test_a_private_secret_can_not_be_made_public(self):
        identifier = self.connection.secretDefineXML(
            _xml(None, "/v/1", flags="private='yes'")).UUIDString()
        self.refused(libvirt.VIR_ERR_INTERNAL_ERROR, self.connection.secretDefineXML,
                     _xml(identifier, "/v/1"),
                     text="internal error: cannot change private flag on existing secret")

    def test_a_redefinition_keeps_the_value(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        secret.setValue(b"kept")
        again = self.connection.secretDefineXML(
            _xml(secret.UUIDString(), "/v/1", description="new"))
        self.assertEqual(again.value(), b"kept")

    def test_validation_against_the_schema_refuses_what_is_not_in_it(self):
        self.refused(libvirt.VIR_ERR_XML_INVALID_SCHEMA, self.connection.secretDefineXML,
                     "<secret><door/></secret>", 1, domain=libvirt.VIR_FROM_XML)

    def test_an_unknown_flag_is_refused(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        secret.setValue(b"value")
        for call, arguments in ((self.connection.secretDefineXML, (_xml(), 1 << 9)),
                                (self.connection.listAllSecrets, (1 << 9,)),
                                (secret.XMLDesc, (1 << 9,)), (secret.value, (1 << 9,)),
                                (secret.setValue, (b"x", 1 << 9))):
            with self.subTest(call.__name__):
                with self.assertRaises(libvirt.libvirtError) as caught:
                    call(*arguments)
                self.assertEqual(caught.exception.get_error_code(), libvirt.VIR_ERR_INVALID_ARG)

    # ---- look up and list ----

    def test_an_unknown_uuid_is_not_found(self):
        wanted = str(uuid.uuid4())
        self.refused(libvirt.VIR_ERR_NO_SECRET, self.connection.secretLookupByUUIDString, wanted,
                     text=f"Secret not found: no secret with matching uuid '{wanted}'")

    def test_an_unknown_usage_is_not_found(self):
        self.refused(libvirt.VIR_ERR_NO_SECRET, self.connection.secretLookupByUsage, 1, "/none",
                     text="Secret not found: no secret with matching usage '/none'")

    def test_a_usage_is_found_only_under_its_type(self):
        self.connection.secretDefineXML(_xml(None, "same", "ceph"))
        self.refused(libvirt.VIR_ERR_NO_SECRET, self.connection.secretLookupByUsage, 1, "same")

    def test_no_secret_is_found_by_usage_type_none(self):
        self.connection.secretDefineXML(_xml())
        self.refused(libvirt.VIR_ERR_NO_SECRET, self.connection.secretLookupByUsage, 0, "")

    def test_all_lists_agree(self):
        defined = {self.connection.secretDefineXML(_xml(None, f"/v/{n}")).UUIDString()
                   for n in range(20)}
        self.assertEqual(self.connection.numOfSecrets(), 20)
        self.assertEqual(set(self.connection.listSecrets()), defined)
        self.assertEqual({secret.UUIDString() for secret in self.connection.listAllSecrets()},
                         defined)

    def test_listed_secrets_say_their_usage(self):
        self.connection.secretDefineXML(_xml(None, "pool", "ceph"))
        [secret] = self.connection.listAllSecrets()
        self.assertEqual((secret.usageType(), secret.usageID()), (2, "pool"))

    def test_the_list_is_filtered_as_asked(self):
        made = {}
        for ephemeral in ("no", "yes"):
            for private in ("no", "yes"):
                flags = f"ephemeral='{ephemeral}' private='{private}'"
                secret = self.connection.secretDefineXML(_xml(None, ephemeral + private,
                                                              flags=flags))
                made[secret.UUIDString()] = (ephemeral, private)
        for flags in range(16):
            wanted = set()
            for identifier, (ephemeral, private) in made.items():
                if (not flags & 3 or flags & (1 if ephemeral == "yes" else 2)) and \
                        (not flags & 12 or flags & (4 if private == "yes" else 8)):
                    wanted.add(identifier)
            with self.subTest(flags=flags):
                self.assertEqual({secret.UUIDString()
                                  for secret in self.connection.listAllSecrets(flags)}, wanted)

    def test_the_definition_is_printed_in_libvirts_form(self):
        secret = self.connection.secretDefineXML(
            "<secret private='yes'><usage type='ceph'><name>a &amp; b</name></usage>"
            "<description>of the &lt;pool&gt;</description></secret>")
        self.assertEqual(secret.XMLDesc(), f"""\
<secret ephemeral='no' private='yes'>
  <uuid>{secret.UUIDString()}</uuid>
  <description>of the &lt;pool&gt;</description>
  <usage type='ceph'>
    <name>a &amp; b</name>
  </usage>
</secret>
""")

    # ---- values ----

    def test_a_value_is_binary(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        value = bytes(range(256))
        secret.setValue(value)
        self.assertEqual(secret.value(), value)

    def test_a_value_can_be_replaced_by_a_shorter_one(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        secret.setValue(b"a long value")
        secret.setValue(b"b")
        self.assertEqual(secret.value(), b"b")

    def test_the_longest_value_is_64_kib(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        value = b"k" * 65536
        secret.setValue(value)
        self.assertEqual(secret.value(), value)
        with self.assertRaises(libvirt.libvirtError) as caught:
            secret.setValue(value + b"k")
        self.assertEqual(caught.exception.get_error_code(), libvirt.VIR_ERR_RPC)
        self.assertEqual(self.connect().secretLookupByUUID(secret.UUID()).value(), value)

    def test_a_secret_without_value_has_none_to_give(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        self.refused(libvirt.VIR_ERR_NO_SECRET, secret.value,
                     text=f"Secret not found: secret '{secret.UUIDString()}' does not have a value")

    def test_a_private_value_is_given_to_nobody(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1", flags="private='yes'"))
        secret.setValue(b"private")
        self.refused(libvirt.VIR_ERR_INVALID_SECRET, secret.value,
                     text="Invalid secret: secret is private")

    def test_an_ephemeral_value_is_given_back_and_not_written(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1", flags="ephemeral='yes'"))
        secret.setValue(b"in memory only")
        self.assertEqual(secret.value(), b"in memory only")
        self.assertEqual([name for name in self.machine.run(
            ["ls", "/etc/libvirt/secrets"]).stdout.split() if secret.UUIDString() in name], [])

    # ---- undefine ----

    def test_an_undefined_secret_is_gone_for_every_call(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        secret.undefine()
        self.assertEqual(self.connection.numOfSecrets(), 0)
        for call, arguments in ((secret.undefine, ()), (secret.value, ()), (secret.XMLDesc, ()),
                                (secret.setValue, (b"x",))):
            with self.subTest(call.__name__):
                self.refused(libvirt.VIR_ERR_NO_SECRET, call, *arguments)

    def test_an_undefined_secret_leaves_no_file(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        secret.setValue(b"value")
        secret.undefine()
        left = self.machine.run(["find", "/etc/libvirt/secrets", "-name",
                                 f"*{secret.UUIDString()}*"]).check().stdout
        self.assertEqual(left, "")

    # ---- connections ----

    def test_a_read_only_connection_reads_definitions_and_changes_nothing(self):
        secret = self.connection.secretDefineXML(_xml(None, "/v/1"))
        secret.setValue(b"value")
        reader = self.connect_read_only()
        self.addCleanup(reader.close)
        seen = reader.secretLookupByUUID(secret.UUID())
        self.assertEqual(seen.XMLDesc(), secret.XMLDesc())
        self.assertEqual(reader.numOfSecrets(), 1)
        for call, arguments in ((reader.secretDefineXML, (_xml(),)), (seen.value, ()),
                                (seen.setValue, (b"x",)), (seen.undefine, ())):
            with self.subTest(call.__name__):
                with self.assertRaises(libvirt.libvirtError) as caught:
                    call(*arguments)
                self.assertEqual(caught.exception.get_error_code(),
                                 libvirt.VIR_ERR_OPERATION_DENIED)

    def test_the_connection_is_alive_and_secure(self):
        self.assertEqual((self.connection.isAlive(), self.connection.isSecure(),
                          self.connection.isEncrypted()), (1, 1, 0))


class _Connector(_Calls):
    @classmethod
    def start(cls):
        cls.machine.start_secretd('value_readback = "any"\n')
        cls.machine.start_libvirtd(connector=True)


class ThroughQemuOfLibvirtd(_Connector, unittest.TestCase):
    def connect(self):
        return libvirt.open(self.machine.uri("qemu"))

    def connect_read_only(self):
        return libvirt.openReadOnly(self.machine.uri("qemu", host.LIBVIRTD_SOCKET + "-ro"))


class ThroughSecretOfLibvirtd(_Connector, unittest.TestCase):
    def connect(self):
        return libvirt.open(self.machine.uri("secret"))

    def connect_read_only(self):
        return libvirt.openReadOnly(self.machine.uri("secret", host.LIBVIRTD_SOCKET + "-ro"))

    def test_a_wrong_path_is_refused_with_the_right_one(self):
        with self.assertRaisesRegex(libvirt.libvirtError, "try secret:///system"):
            libvirt.open("secret+unix:///session?socket=" + self.machine.path(host.LIBVIRTD_SOCKET))


class ThroughLibvirtdToLibvirtsOwnDriver(_Calls, unittest.TestCase):
    """The connector with a stock daemon behind it: it adds and takes away nothing."""

    @classmethod
    def start(cls):
        cls.machine.start_reference()
        cls.machine.start_libvirtd(connector=True,
                                   env={"VIRTCRYPT_SECRETD_SOCKET": host.REFERENCE_SOCKET})

    def connect(self):
        return libvirt.open(self.machine.uri("qemu"))

    def connect_read_only(self):
        return libvirt.openReadOnly(self.machine.uri("qemu", host.LIBVIRTD_SOCKET + "-ro"))


class Directly(_Calls, unittest.TestCase):
    @classmethod
    def start(cls):
        cls.machine.start_secretd('value_readback = "any"\n')

    def connect(self):
        return libvirt.open(self.machine.uri("secret", host.SECRETD_SOCKET))

    def connect_read_only(self):
        return libvirt.openReadOnly(self.machine.uri("secret", host.SECRETD_SOCKET_RO))


class StockLibvirtd(_Calls, unittest.TestCase):
    @classmethod
    def start(cls):
        cls.machine.start_libvirtd()

    def connect(self):
        return libvirt.open(self.machine.uri("qemu"))

    def connect_read_only(self):
        return libvirt.openReadOnly(self.machine.uri("qemu", host.LIBVIRTD_SOCKET + "-ro"))


def setUpModule():
    # Errors are looked at where they are raised; libvirt's own printing is noise.
    libvirt.registerErrorHandler(lambda context, error: None, None)


if __name__ == "__main__":
    taptest.main()
