#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Slots that a passphrase opens: what a guess costs, and what a slots file can't ask for."""

import base64
import os
import unittest

import host
import taptest
import unlocking

_PASSPHRASE = "correct horse"
_GIB_KIB = 1024 * 1024
_SALT = base64.b64encode(b"somesalt").decode()


def _memory_kib():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("MemTotal:"))


class Derivation(unlocking.Case):
    """The numbers of the reference implementation's tests (version 0x13)."""

    def derive(self, typed, memory, passes, lanes, salt=_SALT):
        return self.drive("run", "argon2id", typed=typed.encode().hex(), salt=salt,
                          memory_kib=memory, passes=passes, lanes=lanes)

    def assert_refused(self, part, code=8, **changed):
        fields = {"salt": _SALT, "memory_kib": 256, "passes": 2, "lanes": 1, **changed}
        self.assert_fails(code, part, "run", "argon2id", typed="70617373776f7264", **fields)

    def test_known_passphrases_give_known_keys(self):
        for typed, salt, memory, passes, lanes, key in (
                ("password", "somesalt", 65536, 2, 1,
                 "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"),
                ("password", "somesalt", 256, 2, 1,
                 "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
                ("password", "somesalt", 256, 2, 2,
                 "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
                ("differentpassword", "somesalt", 65536, 2, 1,
                 "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"),
                ("password", "diffsalt", 65536, 2, 1,
                 "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c")):
            salt = base64.b64encode(salt.encode()).decode()
            self.assertEqual(key, self.derive(typed, memory, passes, lanes, salt)["key"])

    def test_processor_time_is_told(self):
        # The least of some: on a busy machine a short time may have much of others' in it.
        cheap = min(int(self.derive("password", 1024, 1, 1)["cpu-us"]) for _ in range(3))
        dear = int(self.derive("password", 65536, 4, 1)["cpu-us"])
        self.assertGreater(dear, 10 * cheap)

    def test_what_no_slot_needs_is_refused(self):
        self.assert_refused("'memory-kib' is no number from 32 to 1048576",
                            memory_kib=100 * _GIB_KIB)
        self.assert_refused("'memory-kib' is no number", memory_kib=_GIB_KIB + 1)
        self.assert_refused("'memory-kib' is no number", memory_kib=2**64)
        self.assert_refused("'passes' is no number", passes=2**32 - 1)
        self.assert_refused("'passes' is no number", passes=0)
        self.assert_refused("'lanes' is no number", lanes=5)
        self.assert_refused("'lanes' is no number", lanes=0)
        self.assert_refused("more work than any slot needs", code=65, memory_kib=_GIB_KIB,
                            passes=65)

    def test_a_bad_salt_is_refused(self):
        self.assert_refused("Salt is too short", salt="AAAA")
        self.assert_refused("at most 64 bytes", salt=base64.b64encode(b"x" * 65).decode())
        self.assert_refused("is no base64", salt="!")

    def test_a_request_without_a_key_is_refused(self):
        self.assert_fails(8, "the helper needs a key of 1 to 4096 bytes, and got 0", "run",
                          "argon2id", salt=_SALT, memory_kib=256, passes=2, lanes=1)


class Slots(unlocking.Case):
    def setUp(self):
        super().setUp()
        # As in daemons of tests: the cost is chosen as on a very slow processor.
        self.helper_environment.update(host.preloaded(host.SLOW_PROCESSOR))

    def add(self, typed=_PASSPHRASE):
        return self.drive("add", self.slots, "passphrase", typed=typed)

    def test_the_passphrase_opens_and_another_does_not(self):
        made = self.add()
        self.assertEqual(made["id"], self.drive("unlock", self.slots, typed=_PASSPHRASE)["id"])
        for wrong in ("Correct horse", "correct horse ", "c", "x" * 4096):
            self.assert_fails(55, "does not unlock", "unlock", self.slots, typed=wrong)

    def test_a_person_is_needed(self):
        self.add()
        self.assert_fails(55, "no slot that opens without a person", "unlock", self.slots)

    def test_8_to_4096_bytes_are_taken(self):
        for typed in ("12345678", "x" * 4096, "äöüß"):
            self.add(typed)
            self.drive("unlock", self.slots, typed=typed)
            os.unlink(self.slots)

    def test_shorter_and_longer_ones_are_refused(self):
        for typed in ("1234567", "x" * 4097):
            self.assert_fails(8, f"a passphrase has 8 to 4096 bytes, and this one has {len(typed)}",
                              "add", self.slots, "passphrase", typed=typed)
        self.assert_fails(8, "the passphrase is needed", "add", self.slots, "passphrase")
        self.assertFalse(os.path.exists(self.slots))

    def test_two_slots_of_one_passphrase_have_nothing_in_common(self):
        first = self.add()
        os.unlink(self.slots)
        self.assertNotEqual(first["salt"], self.add()["salt"])

    def test_a_slow_processor_gets_the_least_cost(self):
        made = self.add()
        self.assertEqual(("32768", "4"), (made["memory-kib"], made["passes"]))


class Cost(unlocking.Case):
    def test_a_guess_takes_about_two_seconds(self):
        # Where others use caches and memory, the cost is chosen at one speed and found at another.
        for _ in range(4):
            seconds = self.measure_guess()
            if 0.7 < seconds < 6:
                return
            os.unlink(self.slots)
        self.fail(f"a guess takes {seconds} s each time")

    def measure_guess(self):
        """With the cost that a new slot gets."""
        made = self.drive("add", self.slots, "passphrase", typed=_PASSPHRASE)
        memory, passes, lanes = (int(made[name]) for name in ("memory-kib", "passes", "lanes"))
        self.assertGreaterEqual(passes, 4)
        self.assertLessEqual(memory, min(_GIB_KIB, _memory_kib() // 2 + 1))
        self.assertEqual(lanes, min(4, os.sysconf("SC_NPROCESSORS_ONLN")))
        took = self.drive("run", "argon2id", typed=_PASSPHRASE.encode().hex(), salt=made["salt"],
                          memory_kib=memory, passes=passes, lanes=lanes)
        return int(took["cpu-us"]) / lanes / 1e6


if __name__ == "__main__":
    taptest.main()
