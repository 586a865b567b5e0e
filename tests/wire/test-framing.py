#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Messages that no library sends, at our daemon and at a real libvirtd: lengths, programs,
procedures, types, statuses, arguments, descriptors, keepalive. The same assertions for both.
"""

import os
import time

import taptest
import wire
from wire import message


class Framing(wire.Compared):
    def assert_closes(self, raw):
        with self.side.opened() as client:
            try:
                client.send(raw)
            except wire.Closed:
                return
            self.assertTrue(client.is_closed())

    def test_a_length_that_holds_no_head_closes(self):
        for length in (0, 3, 4, 5, 20, 27):
            with self.subTest(length=length):
                self.assert_closes(wire.uint32(length) + bytes(24))

    def test_a_length_beyond_the_maximum_closes(self):
        for length in (wire.MESSAGE_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff):
            with self.subTest(length=length):
                self.assert_closes(wire.uint32(length) + bytes(24))

    def test_garbage_closes(self):
        self.assert_closes(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)

    def test_the_largest_message_is_taken(self):
        with self.side.opened() as client:
            reply = client.call(wire.AUTH_LIST, bytes(wire.MESSAGE_MAX - wire.HEADER_SIZE))
            self.assertEqual(1, reply.reader().uint32())

    def test_a_call_in_single_bytes(self):
        with self.side.opened() as client:
            for byte in message(wire.GET_TYPE, serial=77):
                client.send(bytes([byte]))
                time.sleep(0.002)
            reply = client.reply()
            self.assertEqual(77, reply.serial)
            self.assertEqual("secret", reply.reader().string())

    def test_calls_in_one_packet_are_all_answered(self):
        with self.side.opened() as client:
            client.send(b"".join(message(wire.GET_TYPE, serial=number) for number in range(200)))
            serials = sorted(client.reply().serial for _ in range(200))
            self.assertEqual(list(range(200)), serials)

    def test_a_reply_echoes_program_version_procedure_and_serial(self):
        with self.side.opened() as client:
            reply = client.call(wire.GET_TYPE, serial=0xfffffffe)
            self.assertEqual((wire.REMOTE, 1, wire.GET_TYPE, wire.REPLY, 0xfffffffe, wire.OK),
                             (reply.program, reply.version, reply.procedure, reply.type,
                              reply.serial, reply.status))

    def test_an_unknown_program(self):
        with self.side.opened() as client:
            reply = client.call(1, program=0x1234)
            error = self.assert_error(reply, 39, 7, "Cannot find program 4660 version 1")
            self.assertEqual(0x1234, reply.program)
            self.assertEqual(("%s", error.message, None, -1, -1),
                             (error.str1, error.str2, error.str3, error.int1, error.int2))

    def test_an_unknown_version(self):
        with self.side.opened() as client:
            reply = client.call(wire.AUTH_LIST, version=7)
            self.assert_error(reply, 39, 7, "Cannot find program 536903814 version 7")
            self.assertEqual(7, reply.version)

    def test_unknown_procedures(self):
        with self.side.opened() as client:
            for number in (0, -5, 99999, -2147483648):
                with self.subTest(number=number):
                    reply = client.call(number)
                    self.assert_error(reply, 39, 7, f"unknown procedure: {number}")
                    self.assertEqual(number, reply.procedure)

    def test_an_event_is_no_procedure(self):
        with self.side.opened() as client:
            for number in (362, 382, 383):
                self.assert_error(client.call(number), 39, 7, f"unknown procedure: {number}")

    def test_a_procedure_of_another_driver_is_not_supported(self):
        with self.side.opened() as client:
            for number in (7, 51):
                self.assert_error(client.call(number), 3, 20,
                                  "this function is not supported by the connection driver")

    def test_a_call_with_a_status(self):
        with self.side.opened() as client:
            for status in (1, 2, 77):
                self.assert_error(client.call(wire.AUTH_LIST, status=status), 39, 7,
                                  f"Unexpected message status {status}")
            self.assert_error(client.call(99999, status=1), 39, 7, "Unexpected message status 1")

    def test_types_that_are_no_calls_are_dropped(self):
        with self.side.opened() as client:
            for kind in (wire.REPLY, wire.MESSAGE, wire.STREAM, wire.HOLE, 7, 99, 0xffffffff):
                with self.subTest(kind=kind):
                    client.send(message(wire.AUTH_LIST, type=kind, serial=1))
                    self.assertEqual(5, client.call(wire.AUTH_LIST, serial=5).serial)

    def test_arguments_that_end_early(self):
        with self.side.opened() as client:
            for arguments in (b"", b"123", bytes(15)):
                self.assert_error(client.call(wire.LOOKUP_BY_UUID, arguments), 39, 7,
                                  "Unable to decode message payload")

    def test_lengths_in_arguments_that_lie(self):
        with self.side.opened() as client:
            for length in (1, 5, 4194305, 0x7fffffff, 0xffffffff):
                arguments = wire.uint32(length) + b""
                self.assert_error(client.call(wire.DEFINE_XML, arguments), 39, 7,
                                  "Unable to decode message payload")

    def test_a_value_beyond_its_maximum(self):
        with self.side.opened() as client:
            arguments = wire.secret(bytes(16)) + wire.opaque(bytes(65537)) + wire.uint32(0)
            self.assert_error(client.call(wire.SET_VALUE, arguments), 39, 7,
                              "Unable to decode message payload")

    def test_an_optional_flag_that_is_neither(self):
        with self.side.connect() as client:
            self.assert_error(client.call(wire.OPEN, wire.uint32(2)), 39, 7,
                              "Unable to decode message payload")

    def test_bytes_after_the_arguments_are_ignored(self):
        with self.side.opened() as client:
            for rest in (b"1", b"123", b"1234567890ab"):
                self.assertEqual(1, client.call(wire.AUTH_LIST, rest).reader().uint32())

    def test_descriptors_with_a_call_are_closed(self):
        with self.side.opened() as client:
            client.send(message(wire.GET_TYPE, wire.uint32(2), type=wire.CALL_WITH_FDS))
            ends = []
            for _ in range(2):
                reading, writing = os.pipe()
                client.send_descriptor(writing)
                os.close(writing)
                ends.append(reading)
            self.assertEqual("secret", client.reply().reader().string())
            for reading in ends:
                self.assertEqual(b"", os.read(reading, 1))
                os.close(reading)
            self.assertEqual("secret", client.call(wire.GET_TYPE).reader().string())

    def test_a_call_that_could_have_descriptors_and_has_none(self):
        with self.side.opened() as client:
            self.assertEqual("secret", client.call(wire.GET_TYPE, wire.uint32(0),
                                                   type=wire.CALL_WITH_FDS).reader().string())

    def test_a_count_of_descriptors_that_is_missing_or_too_large_closes(self):
        self.assert_closes(message(wire.GET_TYPE, type=wire.CALL_WITH_FDS))
        self.assert_closes(message(wire.GET_TYPE, wire.uint32(33), type=wire.CALL_WITH_FDS))

    def test_errors_of_calls_with_descriptors(self):
        with self.side.opened() as client:
            def call(*arguments, **options):
                return client.call(*arguments, type=wire.CALL_WITH_FDS, **options)
            self.assert_error(call(9999, wire.uint32(0)), 39, 7, "unknown procedure: 9999")
            self.assert_error(call(1, wire.uint32(0), program=5), 39, 7, "Cannot find program 5")
            self.assert_error(call(wire.LOOKUP_BY_UUID, wire.uint32(0)), 39, 7, "Unable to decode")


class Keepalive(wire.Compared):
    def assert_pong(self, client, ping):
        client.send(ping)
        reply = client.receive()
        self.assertEqual((wire.KEEPALIVE, 1, 2, wire.MESSAGE, 0, 0, b""),
                         (reply.program, reply.version, reply.procedure, reply.type, reply.serial,
                          reply.status, reply.payload))

    def test_a_ping_is_answered_at_any_time(self):
        with self.side.connect() as client:
            self.assert_pong(client, wire.PING)
            client.open()
            self.assert_pong(client, wire.PING)

    def test_an_odd_ping_is_answered(self):
        with self.side.opened() as client:
            self.assert_pong(client, message(1, b"abcd", serial=9, type=wire.MESSAGE,
                                             program=wire.KEEPALIVE))
            self.assert_pong(client, message(1, status=1, type=wire.MESSAGE,
                                             program=wire.KEEPALIVE))

    def test_other_keepalive_messages_are_dropped(self):
        with self.side.opened() as client:
            client.send(message(3, type=wire.MESSAGE, program=wire.KEEPALIVE))
            client.send(message(1, type=wire.MESSAGE, program=wire.KEEPALIVE, version=2))
            client.send(wire.PONG)
            self.assertEqual("secret", client.call(wire.GET_TYPE).reader().string())

    def test_a_ping_as_a_call_is_an_unknown_program(self):
        with self.side.opened() as client:
            self.assert_error(client.call(1, program=wire.KEEPALIVE), 39, 7,
                              "Cannot find program 1801807216 version 1")

    def test_the_daemon_pings_who_asked_for_keepalive(self):
        with self.side.opened() as client:
            self.assertEqual(1, client.call(wire.SUPPORTS_FEATURE, wire.int32(10)).reader().int32())
            ping = client.receive(bound=30 * wire.PATIENCE)
            self.assertEqual((wire.KEEPALIVE, 1, wire.MESSAGE, 0),
                             (ping.program, ping.procedure, ping.type, ping.serial))


for case in (Framing, Keepalive):
    wire.on_both(case, globals())
del case, Framing, Keepalive

if __name__ == "__main__":
    taptest.main()
