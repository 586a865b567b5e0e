#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our codec beside bytes that Python's struct made, and beside those that were observed between
virsh and libvirtd. usage: test-bytes.py CODEC-ANSWERS [WORD...]
"""

import os
import subprocess
import sys
import unittest

import compiler
import messages
import taptest
from messages import (array, boolean, double, fixed, int32, int64, opaque, optional, text, uint32)

_PROGRAM = sys.argv.pop(1)
_BOUND_S = 60
_RPC = "error 39 7 "

# Payloads as they were seen, word by word.
_OBSERVED = {
    "remote_auth_list_ret": "00000001 00000000",
    "remote_connect_supports_feature_args": "0000000a",
    "remote_connect_supports_feature_ret": "00000001",
    "remote_connect_open_args":
        "00000001 0000000e 71656d75 3a2f2f2f 73797374 656d0000 00000000",
    "remote_secret_define_xml_ret":
        "8a3c1e22 90ab4c5f 9c0de1f2 a3b4c5d6 00000001 00000004 2f762f61",
    "remote_secret_set_value_args":
        "8a3c1e22 90ab4c5f 9c0de1f2 a3b4c5d6 00000001 00000004 2f762f61 "
        "00000005 61626300 64000000 00000000",
    "remote_secret_get_value_args":
        "8a3c1e22 90ab4c5f 9c0de1f2 a3b4c5d6 00000001 00000004 2f762f61 00000000",
    "remote_secret_get_value_ret": "00000005 61626300 64000000",
    "remote_secret_event_lifecycle_msg":
        "00000000 8a3c1e22 90ab4c5f 9c0de1f2 a3b4c5d6 00000000 00000000 00000000 00000000",
}


def _ask(asked):
    """The answers to (type, bytes) pairs."""
    done = subprocess.run(
        [_PROGRAM], input="".join(f"{name} {message.hex()}\n" for name, message in asked),
        stdout=subprocess.PIPE, text=True, timeout=_BOUND_S, check=True)
    return done.stdout.splitlines()


def _types():
    return subprocess.check_output([_PROGRAM, "types"], text=True, timeout=_BOUND_S).split()


class Bytes(unittest.TestCase):
    maxDiff = None

    def assert_same(self, asked):
        answers = _ask(asked)
        self.assertEqual(len(answers), len(asked))
        for (name, message), answer in zip(asked, answers):
            self.assertEqual(f"{name} {answer}", f"{name} ok {message.hex()} 0")

    def assert_answer(self, name, message, answer):
        self.assertEqual(_ask([(name, message)]), [answer])

    def test_every_type_has_a_message(self):
        self.assertEqual(sorted(_types()), sorted({name for name, _ in messages.MESSAGES}))

    def test_what_python_packed_comes_back_as_the_same_bytes(self):
        self.assert_same(messages.MESSAGES)

    def test_what_was_observed_comes_back_as_the_same_bytes(self):
        self.assert_same([(name, bytes.fromhex(words)) for name, words in _OBSERVED.items()])

    def test_python_packs_what_was_observed(self):
        packed = {name: [] for name in _OBSERVED}
        for name, message in messages.MESSAGES:
            packed.get(name, []).append(message)
        event = int32(0) + messages.secret(usage_type=0, usage="") + int32(0) + int32(0)
        packed["remote_secret_event_lifecycle_msg"].append(event)
        packed["remote_secret_define_xml_ret"].append(messages.secret())
        for name, words in _OBSERVED.items():
            self.assertIn(bytes.fromhex(words), packed[name], name)

    def test_the_golden_messages_are_those_of_python(self):
        with open(os.path.join(compiler.HERE, "golden", "messages.txt"), encoding="utf-8") as file:
            self.assertEqual(file.read(), messages.lines(),
                             "messages.py changed: run it, to write golden/messages.txt")

    def test_the_fuzzer_starts_from_every_message(self):
        folder = os.path.join(compiler.SOURCE_ROOT, "tests", "fuzz", "corpus", "rpc-codec")
        found = {}
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = file.read()
        self.assertEqual(found, messages.corpus(), "run messages.py, to write the corpus")

    def test_bytes_after_a_value_are_left_to_the_caller(self):
        for name, message in messages.MESSAGES:
            self.assert_answer(name, message + b"\0\0\0\1later", f"ok {message.hex()} 9")

    def test_padding_may_hold_anything(self):
        padded = opaque(b"abcde")[:-3] + b"\1\2\3"
        self.assert_answer("remote_secret_get_value_ret", padded,
                           f"ok {opaque(b'abcde').hex()} 0")

    # ---- bounds ----

    def test_the_longest_value_of_a_secret_passes_and_a_longer_one_does_not(self):
        longest = opaque(b"\x5a" * 65536)
        self.assert_answer("remote_secret_get_value_ret", longest, f"ok {longest.hex()} 0")
        self.assert_answer("remote_secret_get_value_ret", opaque(b"\x5a" * 65537), _RPC +
                           "remote_secret_get_value_ret.value: 65537 is above the maximum of 65536")

    def test_the_longest_list_passes_and_a_longer_one_does_not(self):
        longest = array([int32(0)] * 20)
        self.assert_answer("remote_auth_list_ret", longest, f"ok {longest.hex()} 0")
        self.assert_answer("remote_auth_list_ret", array([int32(0)] * 21), _RPC +
                           "remote_auth_list_ret.types: 21 is above the maximum of 20")

    def test_limits_are_those_of_libvirt(self):
        uuid = fixed(messages.UUID)
        for name, before, limit in (
                ("remote_secret_define_xml_args", b"", 4194304),
                ("remote_secret_set_value_args", messages.secret(), 65536),
                ("remote_connect_list_secrets_ret", b"", 16384),
                ("remote_connect_list_all_secrets_ret", b"", 16384),
                ("remote_connect_set_identity_args", b"", 20),
                ("remote_secret_lookup_by_usage_args", int32(1), 4194304),
                ("remote_secret_undefine_args", uuid + int32(1), 4194304)):
            answer, = _ask([(name, before + uint32(limit + 1))])
            self.assertTrue(answer.startswith(_RPC) and answer.endswith(
                f": {limit + 1} is above the maximum of {limit}"), answer)
            answer, = _ask([(name, before + uint32(limit))])
            self.assertIn("the message ends early", answer)

    # ---- what is refused ----

    def test_a_message_that_ends_early(self):
        self.assert_answer("remote_connect_is_secure_ret", b"\0\0\0", _RPC + "remote_connect_is_"
                           "secure_ret.secure: the message ends early: 4 bytes are needed and 3 "
                           "are left")
        self.assert_answer("remote_connect_get_type_ret", uint32(5) + b"secre", _RPC + "remote_"
                           "connect_get_type_ret.type: the message ends early: 8 bytes are needed "
                           "and 5 are left")

    def test_more_elements_than_the_message_has_bytes_for(self):
        self.assert_answer("remote_connect_list_all_secrets_ret", uint32(16384) + bytes(23), _RPC +
                           "remote_connect_list_all_secrets_ret.secrets: the message ends early: "
                           "16384 of at least 24 bytes are announced and 23 bytes are left")

    def test_a_text_with_a_nul_byte(self):
        self.assert_answer("remote_secret_define_xml_args", opaque(b"<a\0/>") + uint32(0), _RPC +
                           "remote_secret_define_xml_args.xml: the text holds a NUL byte")

    def test_a_flag_that_is_neither_0_nor_1(self):
        self.assert_answer("remote_connect_open_args", uint32(2) + text("x") + uint32(0), _RPC +
                           "remote_connect_open_args.name: 2 is none of the values that are "
                           "allowed")

    def test_a_number_that_is_none_of_an_enum(self):
        self.assert_answer("remote_auth_list_ret", array([int32(3)]), _RPC +
                           "remote_auth_list_ret.types: 3 is none of the values that are allowed")
        self.assert_answer("remote_auth_list_ret", array([int32(-1)]), _RPC +
                           "remote_auth_list_ret.types: -1 is none of the values that are allowed")

    def test_a_discriminant_without_a_case(self):
        self.assert_answer(
            "remote_connect_set_identity_args", array([messages.param("a", 8, b"")]) + bytes(8),
            _RPC + "remote_typed_param_value.type: 8 is none of the values that are allowed")

    def test_lists_may_be_64_long_and_no_longer(self):
        def arrays(length):
            whole = messages.sample_arrays()
            start = whole.index(uint32(2) + messages.scalars())
            end = start + 4 + len(messages.sample_list(1)) + len(messages.sample_list(3))
            return whole[:start] + array([messages.sample_list(length)]) + whole[end:]
        self.assert_same([("sample_arrays", arrays(64))])
        self.assert_answer("sample_arrays", arrays(65),
                           _RPC + "sample_list: more than 64 of them hold each other")

    def test_lists_that_follow_each_other_are_counted_apart(self):
        lists = array([messages.sample_list(64)] * 3)
        whole = messages.sample_arrays()
        start = whole.index(uint32(2) + messages.scalars())
        end = start + 4 + len(messages.sample_list(1)) + len(messages.sample_list(3))
        self.assert_same([("sample_arrays", whole[:start] + lists + whole[end:])])

    def test_numbers_at_their_ends(self):
        for value in (0, -1, 2**31 - 1, -2**31):
            self.assert_same([("sample_point", int32(value) + int32(-1))])
        unions = messages.sample_unions(int32(0) + int32(-2**31), int32(3), boolean(False),
                                        uint32(0xf0000000) + double(float("inf")))
        self.assert_same([("sample_unions", unions)])
        whole = messages.sample_arrays()
        for value in (2**63 - 1, -2**63, 0):
            self.assert_same([("sample_arrays", whole.replace(int64(4), int64(value), 1))])

    def test_absent_and_empty_differ(self):
        for name in (optional(None), optional(text(""))):
            self.assert_same([("remote_connect_open_args", name + uint32(0))])


if __name__ == "__main__":
    taptest.main()
