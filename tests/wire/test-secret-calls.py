#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The twelve calls for secrets and both events as bytes: every case is run on virtcrypt-secretd and
on stock libvirtd, with the same assertions, down to all fields of an error."""

import unittest
import uuid

import host
import taptest
import wire
from secretcalls import (ERR_DENIED, ERR_INTERNAL, ERR_INVALID_ARG, ERR_INVALID_SECRET,
                         ERR_NO_SECRET, ERR_RPC, FROM_NONE, FROM_RPC, FROM_SECRET, LIFECYCLE,
                         LIST_MAX, USAGES, VALUE_CHANGED, Client, bad_argument, bad_flags,
                         no_uuid, read_secret, typical_error, xml)


class _Calls:
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.start()

    def setUp(self):
        self.client = self.connect()
        reader = self.client.list_all().reader()
        for _ in range(reader.uint32()):
            self.client.undefine(read_secret(reader)[0]).reader()

    def connect(self, readonly=False):
        client = Client(self.machine.path(self.socket + ("-ro" if readonly else "")))
        self.addCleanup(client.close)
        return client.open()

    def assert_fails(self, reply, expected):
        self.assertEqual(reply.error(), expected)

    def assert_done(self, reply):
        self.assertEqual(reply.reader().rest(), b"")

    # ---- define ----

    def test_define_answers_with_the_secret(self):
        identifier = uuid.uuid4().bytes
        reply = self.client.define(xml(identifier, "/v/1"))
        self.assertEqual(reply.payload, wire.secret(identifier, 1, "/v/1"))

    def test_define_makes_up_a_uuid(self):
        reader = self.client.define(xml()).reader()
        identifier, kind, usage = read_secret(reader)
        self.assertEqual((kind, usage, reader.rest()), (0, "", b""))
        self.assertEqual(uuid.UUID(bytes=identifier).version, 4)

    def test_define_refuses_unknown_flags_before_it_looks_at_the_xml(self):
        self.assert_fails(self.client.define("<secret", 0x200), bad_flags("secretDefineXML", 0x200))
        self.assert_fails(self.client.define("<secret", 0x80000003),
                          bad_flags("secretDefineXML", 0x80000002))

    def test_define_refuses_what_is_no_xml_with_its_place(self):
        error = self.client.define("<secret").error()
        self.assertEqual((error.code, error.domain, error.level, error.int1, error.int2),
                         (35, FROM_SECRET, 2, -1, -1))
        self.assertTrue(error.message.startswith("(definition_of_secret):1: "), error.message)
        self.assertEqual((error.str1, error.str2), ("%s", error.message))

    def test_define_refuses_a_usage_in_use(self):
        first = self.client.defined("/v/1")
        self.assert_fails(
            self.client.define(xml(uuid.uuid4().bytes, "/v/1")),
            typical_error(ERR_INTERNAL, FROM_SECRET, "internal error: %s",
                     f"a secret with UUID {uuid.UUID(bytes=first)} already defined for use with "
                     "/v/1"))

    def test_define_refuses_another_usage_of_the_same_secret(self):
        identifier = self.client.defined("/v/1")
        self.assert_fails(
            self.client.define(xml(identifier, "/v/2")),
            typical_error(ERR_INTERNAL, FROM_SECRET, "internal error: %s",
                     f"a secret with UUID {uuid.UUID(bytes=identifier)} is already defined for use "
                     "with /v/1"))

    def test_define_refuses_to_make_a_private_secret_public(self):
        identifier = self.client.defined("/v/1", flags="private='yes'")
        self.assert_fails(self.client.define(xml(identifier, "/v/1")),
                          typical_error(ERR_INTERNAL, FROM_SECRET, "internal error: %s",
                                   "cannot change private flag on existing secret"))

    def test_define_changes_the_kind_of_usage_if_its_id_stays(self):
        identifier = self.client.defined("same", "ceph")
        self.assertEqual(self.client.define(xml(identifier, "same", "tls")).payload,
                         wire.secret(identifier, 4, "same"))

    # ---- look up ----

    def test_a_secret_is_found_by_uuid(self):
        identifier = self.client.defined("/v/1")
        self.assertEqual(self.client.by_uuid(identifier).payload,
                         wire.secret(identifier, 1, "/v/1"))

    def test_an_unknown_uuid_is_not_found(self):
        self.assert_fails(self.client.by_uuid(bytes(16)), no_uuid(bytes(16)))

    def test_a_secret_is_found_by_every_kind_of_usage(self):
        for kind, (_, number) in USAGES.items():
            with self.subTest(kind):
                identifier = self.client.defined("an id", kind)
                self.assertEqual(self.client.by_usage(number, "an id").payload,
                                 wire.secret(identifier, number, "an id"))

    def test_other_kinds_of_usage_are_not_found(self):
        self.client.defined("an id", "ceph")
        self.client.defined()
        for kind in (0, 1, 3, 6, 99, -1, 2 ** 31 - 1, -2 ** 31):
            for usage in ("an id", ""):
                with self.subTest(kind=kind, usage=usage):
                    self.assert_fails(
                        self.client.by_usage(kind, usage),
                        typical_error(ERR_NO_SECRET, FROM_SECRET, "Secret not found: %s",
                                 f"no secret with matching usage '{usage}'"))

    def test_only_the_uuid_of_a_secret_counts(self):
        identifier = self.client.defined("/v/1")
        reply = self.client.call(wire.GET_XML_DESC,
                                 wire.secret(identifier, 7, "other") + wire.uint32(0))
        self.assertIn("<volume>/v/1</volume>", reply.reader().string())

    def test_the_definition_is_printed_in_canonical_form(self):
        identifier = self.client.defined("a &amp; b", "ceph", "private='yes'", "x")
        self.assertEqual(self.client.dump(identifier).reader().string(), f"""\
<secret ephemeral='no' private='yes'>
  <uuid>{uuid.UUID(bytes=identifier)}</uuid>
  <description>x</description>
  <usage type='ceph'>
    <name>a &amp; b</name>
  </usage>
</secret>
""")

    def test_dump_refuses_flags_before_it_looks_for_the_secret(self):
        self.assert_fails(self.client.dump(bytes(16), 4), bad_flags("secretGetXMLDesc", 4))
        self.assert_fails(self.client.dump(bytes(16)), no_uuid(bytes(16)))

    # ---- values ----

    def test_a_value_is_set_and_given_back(self):
        identifier = self.client.defined("/v/1")
        self.assert_done(self.client.set_value(identifier, b"abc\0d"))
        self.assertEqual(self.client.get_value(identifier).payload,
                         bytes.fromhex("00000005616263006400 0000"))

    def test_the_longest_value_is_65536_bytes(self):
        identifier = self.client.defined("/v/1")
        longest = bytes(range(256)) * 256
        self.assert_done(self.client.set_value(identifier, longest))
        error = self.client.set_value(identifier, longest + b"x").error()
        self.assertEqual((error.code, error.domain, error.str1), (ERR_RPC, FROM_RPC, "%s"))
        self.assertTrue(error.message.startswith("Unable to decode message payload"))
        self.assertEqual(self.client.get_value(identifier).reader().opaque(), longest)

    def test_an_empty_value_is_refused_before_anything_else(self):
        expected = bad_argument("value in virSecretSetValue must not be NULL", "virSecretSetValue",
                                 "value")
        identifier = self.client.defined("/v/1")
        self.assert_fails(self.client.set_value(identifier, b""), expected)
        self.assert_fails(self.client.set_value(identifier, b"", 4), expected)
        self.assert_fails(self.client.set_value(bytes(16), b""), expected)

    def test_set_value_refuses_flags_and_unknown_secrets(self):
        self.assert_fails(self.client.set_value(bytes(16), b"x", 4),
                          bad_flags("secretSetValue", 4))
        self.assert_fails(self.client.set_value(bytes(16), b"x"), no_uuid(bytes(16)))

    def test_get_value_refuses_flags_and_unknown_secrets(self):
        self.assert_fails(self.client.get_value(bytes(16), 1), bad_flags("secretGetValue", 1))
        self.assert_fails(self.client.get_value(bytes(16)), no_uuid(bytes(16)))

    def test_a_secret_without_value_has_none_to_give(self):
        identifier = self.client.defined("/v/1")
        self.assert_fails(
            self.client.get_value(identifier),
            typical_error(ERR_NO_SECRET, FROM_SECRET, "Secret not found: %s",
                     f"secret '{uuid.UUID(bytes=identifier)}' does not have a value"))

    def identify(self, client, *params):
        self.assert_done(client.call(wire.SET_IDENTITY,
                                     wire.typed_params(*params) + wire.uint32(0)))

    def token(self):
        return self.machine.read("/run/libvirt/common/system.token").decode()

    def test_a_private_value_is_for_those_who_show_the_system_token(self):
        refusal = typical_error(ERR_INVALID_SECRET, FROM_SECRET, "Invalid secret: %s",
                           "secret is private")
        identifier = self.client.defined("/v/1", flags="private='yes'")
        # Private comes before its absence.
        self.assert_fails(self.client.get_value(identifier), refusal)
        self.assert_done(self.client.set_value(identifier, b"private"))
        self.assert_fails(self.client.get_value(identifier), refusal)
        self.identify(self.client, ("system.token", wire.TYPED_STRING, "0" * 32))
        self.assert_fails(self.client.get_value(identifier), refusal)
        self.identify(self.client, ("system.token", wire.TYPED_STRING, self.token()))
        self.assertEqual(self.client.get_value(identifier).reader().opaque(), b"private")
        # An identity replaces the one before.
        self.identify(self.client, ("unix-user-id", wire.TYPED_ULLONG, 0))
        self.assert_fails(self.client.get_value(identifier), refusal)

    # ---- undefine ----

    def test_an_undefined_secret_is_gone(self):
        identifier = self.client.defined("/v/1")
        self.client.set_value(identifier, b"x").reader()
        self.assert_done(self.client.undefine(identifier))
        for reply in (self.client.undefine(identifier), self.client.by_uuid(identifier),
                      self.client.get_value(identifier), self.client.dump(identifier),
                      self.client.set_value(identifier, b"x")):
            self.assert_fails(reply, no_uuid(identifier))
        self.client.defined("/v/1")

    # ---- lists ----

    def test_secrets_are_counted_and_listed(self):
        self.assertEqual(self.client.count(), 0)
        made = {self.client.defined(f"/v/{n}") for n in range(5)}
        self.assertEqual(self.client.count(), 5)
        for most in (0, 1, 4, 5, 6, LIST_MAX):
            reader = self.client.list(most).reader()
            listed = {uuid.UUID(reader.string()).bytes for _ in range(reader.uint32())}
            self.assertEqual((len(listed), reader.rest()), (min(most, 5), b""))
            self.assertLessEqual(listed, made)

    def test_a_list_has_its_bounds(self):
        self.assert_fails(self.client.list(-1),
                          typical_error(ERR_RPC, FROM_RPC, "%s", "maxuuids must be non-negative"))
        self.assert_fails(self.client.list(LIST_MAX + 1),
                          typical_error(ERR_RPC, FROM_RPC, "%s",
                                        "maxuuids > REMOTE_SECRET_LIST_MAX"))

    def test_all_secrets_are_listed_with_their_usages(self):
        made = {(self.client.defined("one", "ceph"), 2, "one"), (self.client.defined(), 0, "")}
        for need_results in (1, 7, -1):
            reader = self.client.list_all(0, need_results).reader()
            listed = {read_secret(reader) for _ in range(reader.uint32())}
            self.assertEqual((listed, reader.uint32(), reader.rest()), (made, 2, b""))

    def test_secrets_are_counted_without_a_list(self):
        self.client.defined("/v/1")
        self.client.defined("/v/2", flags="private='yes'")
        self.assertEqual(self.client.list_all(0, 0).payload, wire.uint32(0) + wire.uint32(2))
        self.assertEqual(self.client.list_all(4, 0).payload, wire.uint32(0) + wire.uint32(1))

    def test_the_list_is_filtered(self):
        made = {}
        for ephemeral in (1, 2):
            for private in (4, 8):
                flags = (f"ephemeral='{'yes' if ephemeral == 1 else 'no'}' "
                         f"private='{'yes' if private == 4 else 'no'}'")
                identifier = self.client.defined(f"{ephemeral}{private}", flags=flags)
                made[identifier] = ephemeral | private
        for flags in range(16):
            with self.subTest(flags=flags):
                reader = self.client.list_all(flags).reader()
                listed = {read_secret(reader)[0] for _ in range(reader.uint32())}
                self.assertEqual(listed, {
                    identifier for identifier, kinds in made.items()
                    if (not flags & 3 or flags & kinds & 3) and
                    (not flags & 12 or flags & kinds & 12)})

    def test_the_list_refuses_unknown_flags(self):
        for need_results in (0, 1):
            self.assert_fails(self.client.list_all(0x21f, need_results),
                              bad_flags("secretConnectListAllSecrets", 0x210))

    # ---- events ----

    def test_changes_are_told_once_they_are_done(self):
        lifecycle = wire.int32(self.client.registered(0))
        value = wire.int32(self.client.registered(1))
        identifier = self.client.defined("/v/1")
        self.client.set_value(identifier, b"x").reader()
        self.client.define(xml(identifier, "/v/1")).reader()
        self.client.undefine(identifier).reader()
        name = wire.int32(1) + wire.string("/v/1")
        self.assertEqual(
            sorted(self.client.told(4)),
            sorted([(LIFECYCLE, lifecycle, identifier, name + bytes(8)),
                    (VALUE_CHANGED, value, identifier, name),
                    (LIFECYCLE, lifecycle, identifier, name + bytes(8)),
                    (LIFECYCLE, lifecycle, identifier, name + wire.int32(1) + bytes(4))]))

    def test_an_event_has_serial_1_and_no_usage_if_there_is_none(self):
        self.client.registered(0)
        identifier = self.client.defined()
        while not self.client.events:
            self.client.events.append(self.client.receive())
        [event] = self.client.events
        self.assertEqual((event.program, event.version, event.type, event.serial, event.status),
                         (wire.REMOTE, 1, wire.MESSAGE, 1, wire.OK))
        self.assertEqual(event.payload[4:], identifier + bytes(16))

    def test_events_of_one_secret_are_told_alone(self):
        other, mine = self.client.defined("/v/1"), self.client.defined("/v/2")
        self.client.registered(1, mine)
        self.client.set_value(other, b"x").reader()
        self.client.set_value(mine, b"x").reader()
        self.assertEqual([event[2] for event in self.client.told(1)], [mine])

    def test_events_of_a_secret_that_does_not_exist_yet_are_told(self):
        identifier = uuid.uuid4().bytes
        self.client.registered(0, identifier)
        self.client.defined("/v/other")
        self.client.define(xml(identifier, "/v/1")).reader()
        self.assertEqual([event[2] for event in self.client.told(1)], [identifier])

    def test_a_refused_change_is_not_told(self):
        identifier = self.client.defined("/v/1")
        self.client.registered(0)
        self.client.registered(1)
        self.client.define(xml(identifier, "/v/2")).error()
        self.client.set_value(identifier, b"").error()
        self.client.undefine(bytes(16)).error()
        self.client.undefine(identifier).reader()
        self.assertEqual([event[3][-8:-4] for event in self.client.told(1)], [wire.int32(1)])

    def test_every_registration_has_a_number_of_its_own(self):
        numbers = [self.client.registered(0), self.client.registered(1),
                   self.client.registered(0, bytes(16)), self.client.registered(0, b"x" * 16)]
        self.assertEqual(sorted(set(numbers)), numbers)
        self.assert_done(self.client.deregister(numbers[1]))
        self.assertGreater(self.client.registered(1), numbers[-1])

    def test_nothing_is_told_after_deregistration(self):
        number = self.client.registered(0)
        other = self.connect()
        other.registered(0)
        self.assert_done(self.client.deregister(number))
        self.client.defined("/v/1")
        other.told(1)
        self.client.count()
        self.assertEqual(self.client.events, [])

    def test_an_unknown_event_is_refused(self):
        for event in (-1, 2, 2 ** 31 - 1):
            self.assert_fails(self.client.register(event),
                              typical_error(ERR_INTERNAL, FROM_RPC, "internal error: %s",
                                       f"unsupported secret event ID {event}"))

    def test_the_same_registration_twice_is_refused(self):
        for only in (None, b"x" * 16):
            self.client.registered(0, only)
            self.assert_fails(self.client.register(0, only),
                              typical_error(ERR_INVALID_ARG, FROM_NONE, "invalid argument: %s",
                                       "event callback already tracked"))

    def test_an_unknown_registration_can_not_be_ended(self):
        ended = self.client.registered(0)
        self.client.deregister(ended).reader()
        others = self.connect().registered(0) + 1000
        # (libvirt speaks of a "node device event callback" here.)
        for number in (ended, others, -1):
            error = self.client.deregister(number).error()
            self.assertEqual((error.code, error.domain), (ERR_INTERNAL, FROM_RPC))
            self.assertTrue(error.message.endswith(f"event callback {number} not registered"))

    # ---- read-only ----

    def test_a_read_only_client_is_refused_before_its_arguments_are_looked_at(self):
        reader = self.connect(readonly=True)
        for reply, function in ((reader.define("<secret", 0x200), "virSecretDefineXML"),
                                (reader.set_value(bytes(16), b"", 4), "virSecretSetValue"),
                                (reader.get_value(bytes(16), 4), "virSecretGetValue"),
                                (reader.undefine(bytes(16)), "virSecretUndefine")):
            self.assert_fails(reply, typical_error(
                ERR_DENIED, FROM_SECRET, "operation forbidden: %s",
                f"read only access prevents {function}"))

    def test_a_read_only_client_looks_up_lists_and_is_told(self):
        reader = self.connect(readonly=True)
        reader.registered(0)
        identifier = self.client.defined("/v/1")
        self.assertEqual([event[2] for event in reader.told(1)], [identifier])
        self.assertEqual(reader.by_uuid(identifier).payload, wire.secret(identifier, 1, "/v/1"))
        self.assertEqual(reader.by_usage(1, "/v/1").payload, wire.secret(identifier, 1, "/v/1"))
        self.assertEqual(reader.dump(identifier).payload, self.client.dump(identifier).payload)
        self.assertEqual(reader.count(), 1)
        self.assertEqual(reader.list_all(0, 0).payload, wire.uint32(0) + wire.uint32(1))


class Virtcrypt(_Calls, unittest.TestCase):
    socket = host.SECRETD_SOCKET

    @classmethod
    def start(cls):
        daemon = cls.machine.start_secretd('value_readback = "any"\n')
        cls.addClassCleanup(daemon.stop_in_order)


class Libvirtd(_Calls, unittest.TestCase):
    socket = host.REFERENCE_SOCKET

    @classmethod
    def start(cls):
        cls.machine.start_reference()


if __name__ == "__main__":
    taptest.main()
