#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Slots that a TPM 2.0 seals, on a real swtpm: seal, unseal, changed PCRs, a cleared TPM, counters."""

import os
import shutil
import signal
import unittest

import devices
import taptest
import unlocking

_KEY = "00112233445566778899aabbccddeeff" * 2
_ONES = "11" * 32


class Swtpm(unlocking.Case):
    def setUp(self):
        super().setUp()
        self.tpm = devices.Swtpm(self.folder)
        self.addCleanup(self.tpm.stop)
        self.tpm.start()
        self.helper_environment.update(self.tpm.environment)

    def seal(self, pcrs="7", bank="sha256"):
        return self.drive("run", "tpm2-seal", typed=_KEY, pcrs=pcrs, bank=bank)

    def unseal(self, sealed, pcrs="7", bank="sha256"):
        fields = {name: value for name, value in sealed.items() if name != "slots"}
        return self.drive("run", "tpm2-unseal", pcrs=pcrs, bank=bank, **fields)["key"]

    def assert_not_unsealed(self, part, sealed, pcrs="7", bank="sha256"):
        fields = {name: value for name, value in sealed.items() if name != "slots"}
        self.assert_fails(65, part, "run", "tpm2-unseal", pcrs=pcrs, bank=bank, **fields)


class Sealing(Swtpm):
    def test_what_is_sealed_comes_back(self):
        sealed = self.seal()
        self.assertEqual("ecc", sealed["primary-type"])
        self.assertEqual(_KEY, self.unseal(sealed))

    def test_it_comes_back_after_a_reboot(self):
        self.tpm.extend(7)
        sealed = self.seal()
        self.tpm.restart()
        self.tpm.extend(7)
        self.assertEqual(_KEY, self.unseal(sealed))

    def test_nothing_is_left_in_the_tpm(self):
        for _ in range(5):
            self.assertEqual(_KEY, self.unseal(self.seal()))
        for kind in ("transient", "loaded-session"):
            self.assertEqual("", self.tpm.tool("tpm2_getcap", f"handles-{kind}").strip())

    def test_the_key_is_not_in_the_sealed_object_or_on_the_bus(self):
        log = os.path.join(self.folder, "bus")
        self.helper_environment["TCTI"] = f"pcap:{self.tpm.tcti}"
        self.helper_environment["TCTI_PCAP_FILE"] = log
        sealed = self.seal()
        self.assertEqual(_KEY, self.unseal(sealed))
        with open(log, "rb") as file:
            seen = file.read()
        self.assertGreater(len(seen), 1000)
        self.assertNotIn(bytes.fromhex(_KEY), seen)
        self.assertNotIn(bytes.fromhex(_KEY)[:8], seen)

    def test_a_changed_pcr_is_refused_and_named(self):
        sealed = self.seal()
        self.tpm.extend(7)
        self.assert_not_unsealed(
            "PCR 7 changed since the slot was made (firmware or boot configuration): unlock with "
            "another slot, then 'virtcrypt master remove-slot' and 'virtcrypt master add-slot "
            "tpm2' (tpm:session(1):a policy check failed)", sealed)

    def test_other_pcrs_do_not_matter(self):
        sealed = self.seal()
        self.tpm.extend(4)
        self.assertEqual(_KEY, self.unseal(sealed))

    def test_of_several_pcrs_those_that_changed_are_named(self):
        pcrs = "0,2,4,7,8,9,11,12,13,14"
        sealed = self.seal(pcrs=pcrs)
        self.assertEqual(_KEY, self.unseal(sealed, pcrs=pcrs))
        self.tpm.extend(9)
        self.assert_not_unsealed("PCR 9 changed", sealed, pcrs=pcrs)
        self.tpm.extend(14)
        self.assert_not_unsealed("PCRs 9, 14 changed", sealed, pcrs=pcrs)

    def test_another_choice_of_pcrs_does_not_open_it(self):
        self.assert_not_unsealed("PCR 4 changed", self.seal(), pcrs="4")

    def test_the_bank_is_chosen(self):
        sealed = self.seal(bank="sha384")
        self.tpm.extend(7, "sha256")
        self.assertEqual(_KEY, self.unseal(sealed, bank="sha384"))
        self.tpm.extend(7, "sha384", 96)
        self.assert_not_unsealed("PCR 7 changed", sealed, bank="sha384")

    def test_a_bank_that_is_switched_off_is_named(self):
        self.tpm.tool("tpm2_pcrallocate", "sha256:all+sha384:none+sha512:none+sha1:none")
        self.tpm.restart()
        self.assert_fails(8, "the TPM has no PCR 7 in the bank sha384", "run", "tpm2-seal",
                          typed=_KEY, pcrs="7", bank="sha384")

    def test_a_cleared_tpm_is_told_from_a_changed_pcr(self):
        sealed = self.seal()
        self.tpm.tool("tpm2_clear")
        self.assert_not_unsealed(
            "the TPM was cleared since the slot was made, or it is another one: unlock with "
            "another slot, then 'virtcrypt master remove-slot' and 'virtcrypt master add-slot "
            "tpm2'", sealed)

    def test_another_tpm_does_not_open_it(self):
        sealed = self.seal()
        self.tpm.restart("other-tpm")
        self.assert_not_unsealed("it is another one", sealed)

    def test_a_damaged_object_does_not_open(self):
        sealed = self.seal()
        private = sealed["private"]
        sealed["private"] = private[:60] + ("A" if private[60] != "A" else "B") + private[61:]
        self.assert_not_unsealed("integrity check failed", sealed)

    def test_bytes_that_are_no_object_are_refused(self):
        sealed = self.seal()
        sealed["public"] = "//8A"
        self.assert_fails(9, "cannot read the slot's sealed object", "run", "tpm2-unseal", pcrs="7",
                          bank="sha256", **{n: v for n, v in sealed.items() if n != "slots"})

    def test_a_choice_that_is_none_is_refused(self):
        for pcrs in ("", "24", "-1", "7,", "7 8", "x", ",".join(["7"] * 30)):
            self.assert_fails(8, "PCRs are numbers from 0 to 23", "run", "tpm2-seal", typed=_KEY,
                              pcrs=pcrs, bank="sha256")
        for bank in ("", "sha1", "md5"):
            self.assert_fails(8, "the bank of PCRs is sha256, sha384 or sha512", "run", "tpm2-seal",
                              typed=_KEY, pcrs="7", bank=bank)

    def test_an_owner_with_a_password_is_told(self):
        self.tpm.tool("tpm2_changeauth", "-c", "owner", "secret")
        self.assert_fails(29, "tpm2_changeauth -c owner -p PASSWORD", "run", "tpm2-seal",
                          typed=_KEY, pcrs="7", bank="sha256")

    def test_an_owner_who_gets_a_password_later_is_told_and_can_take_it_away(self):
        sealed = self.seal()
        self.tpm.tool("tpm2_changeauth", "-c", "owner", "secret")
        fields = {name: value for name, value in sealed.items() if name != "slots"}
        self.assert_fails(29, "tpm2_changeauth -c owner -p PASSWORD", "run", "tpm2-unseal",
                          pcrs="7", bank="sha256", **fields)
        self.tpm.tool("tpm2_changeauth", "-c", "owner", "-p", "secret")
        self.assertEqual(_KEY, self.unseal(sealed))

    def test_a_tpm_that_is_away_is_told(self):
        self.tpm.stop()
        self.assert_fails(55, "cannot open the TPM 2.0 (swtpm:path=", "run", "tpm2-seal",
                          typed=_KEY, pcrs="7", bank="sha256")

    def test_without_a_setting_no_tpm_but_the_kernels_is_used(self):
        """tctildr's own guesses end with ports that any user may listen on."""
        del self.helper_environment["TCTI"]
        if os.path.exists("/dev/tpmrm0"):
            self.skipTest("this machine has a TPM")
        self.assert_fails(55, "cannot open the TPM 2.0 (device:/dev/tpmrm0)", "run", "tpm2-seal",
                          typed=_KEY, pcrs="7", bank="sha256")


class Counter(Swtpm):
    def define(self, **fields):
        return self.drive("run", "tpm2-nv-define", **fields)

    def call(self, operation, handle, **fields):
        return int(self.drive("run", "tpm2-nv-" + operation, handle=handle, **fields)["counter"])

    def test_a_counter_advances_by_one(self):
        made = self.define()
        handle, value = made["handle"], int(made["counter"])
        self.assertEqual(value, self.call("read", handle))
        self.assertEqual(value + 1, self.call("advance", handle))
        self.assertEqual(value + 2, self.call("advance", handle))
        self.assertEqual(value + 2, self.call("read", handle))

    def test_it_keeps_its_value_over_a_reboot(self):
        made = self.define()
        value = self.call("advance", made["handle"])
        self.tpm.restart()
        self.assertEqual(value, self.call("read", made["handle"]))

    def test_removing_and_making_it_again_does_not_turn_it_back(self):
        made = self.define()
        for _ in range(3):
            value = self.call("advance", made["handle"])
        self.drive("run", "tpm2-nv-remove", handle=made["handle"])
        again = self.define(handle=made["handle"])
        self.assertEqual(made["handle"], again["handle"])
        self.assertGreater(int(again["counter"]), value)

    def test_each_gets_a_handle_of_its_own(self):
        first, second = self.define()["handle"], self.define()["handle"]
        self.assertEqual(int(first) + 1, int(second))
        self.drive("run", "tpm2-nv-remove", handle=first)
        self.assertEqual(first, self.define()["handle"])

    def test_one_that_is_gone_is_told(self):
        handle = self.define()["handle"]
        self.tpm.tool("tpm2_clear")
        self.assert_fails(66, f"the TPM has no counter {int(handle):#x} any more", "run",
                          "tpm2-nv-read", handle=handle)

    def test_a_password_is_needed_where_one_was_given(self):
        handle = self.define(typed=_ONES)["handle"]
        value = int(self.drive("run", "tpm2-nv-read", typed=_ONES, handle=handle)["counter"])
        for operation in ("read", "advance"):
            self.assert_fails(29, "authorization failure", "run", f"tpm2-nv-{operation}",
                              handle=handle)
        self.assertEqual(value, int(self.drive("run", "tpm2-nv-read", typed=_ONES,
                                               handle=handle)["counter"]))

    def test_something_else_is_not_touched(self):
        self.tpm.tool("tpm2_nvdefine", "0x01805600", "-C", "o", "-s", "8", "-a",
                  "authread|authwrite|ownerread|ownerwrite")
        for operation in ("read", "advance", "remove"):
            self.assert_fails(65, "no counter of virtcrypt's", "run", f"tpm2-nv-{operation}",
                              handle=0x01805600)
        self.assertEqual(str(0x01805601), self.define()["handle"])
        self.assert_fails(55, "something at 0x1805600 already", "run", "tpm2-nv-define",
                          handle=0x01805600)

    def test_handles_of_others_are_refused(self):
        for handle in (0x01c00002, 0x01500000, 0x018055ff, 0x01805700, 0, "x"):
            for operation in ("define", "read", "advance", "remove"):
                self.assert_fails(8, "the field 'handle' is no number from", "run",
                                  f"tpm2-nv-{operation}", handle=handle)


class Slots(Swtpm):
    def add_both(self):
        """A TPM slot first, then a key file."""
        made = self.drive("add", self.slots, "tpm2")
        self.drive("add", self.slots, "key-file", path=os.path.join(self.folder, "key"))
        return made

    def test_a_slot_opens_by_pcr_7_of_sha256_if_nothing_else_was_asked(self):
        made = self.drive("add", self.slots, "tpm2")
        self.assertEqual(("7", "sha256"), (made["pcrs"], made["bank"]))
        self.tpm.extend(4)
        self.assertEqual(made["id"], self.drive("unlock", self.slots)["id"])
        self.tpm.extend(7)
        self.assert_fails(55, "PCR 7 changed", "unlock", self.slots)

    def test_another_slot_opens_after_pcrs_changed(self):
        made = self.add_both()
        self.tpm.extend(7)
        opened = self.drive("unlock", self.slots)
        self.assertEqual(made["id"], opened["id"])
        self.assertIn("PCR 7 changed", opened["slots"][0])

    def test_another_slot_opens_after_the_tpm_was_cleared(self):
        made = self.add_both()
        self.tpm.tool("tpm2_clear")
        opened = self.drive("unlock", self.slots)
        self.assertEqual(made["id"], opened["id"])
        self.assertIn("the TPM was cleared", opened["slots"][0])

    def unlock_within_2_s(self):
        """None where the bound, which is the key file's too, is too short on a busy machine."""
        self.timeout_ms = 2000
        try:
            return self.drive("unlock", self.slots)
        except unlocking.Failed:
            return None

    def test_another_slot_opens_while_the_tpm_hangs(self):
        made = self.add_both()
        self.tpm.process.send_signal(signal.SIGSTOP)
        try:
            opened = self.unlock_within_2_s()
            if not opened:
                self.timeout_ms = 20000
                opened = self.drive("unlock", self.slots)
        finally:
            self.tpm.process.send_signal(signal.SIGCONT)
        self.assertEqual(made["id"], opened["id"])
        self.assertIn("virtcrypt-unlock-helper did not finish tpm2-unseal within",
                      opened["slots"][0])

    def test_a_slot_that_was_removed_takes_its_counter_along(self):
        made = self.add_both()
        self.drive("run", "tpm2-nv-read", handle=made["counter"])
        self.drive("remove", self.slots, "0")
        self.assert_fails(66, "the TPM has no counter", "run", "tpm2-nv-read",
                          handle=made["counter"])

    def test_a_renewed_slot_keeps_its_counter_and_has_a_new_key(self):
        made = self.add_both()
        before = int(self.drive("run", "tpm2-nv-advance", handle=made["counter"])["counter"])
        renewed = self.drive("renew", self.slots, "0")
        self.assertEqual(made["counter"], renewed["counter"])
        self.assertNotEqual(made["private"], renewed["private"])
        self.assertEqual(before, int(self.drive("run", "tpm2-nv-read",
                                                handle=made["counter"])["counter"]))
        self.assertEqual(made["id"], self.drive("unlock", self.slots)["id"])

    def test_a_slot_without_a_counter_can_be_had(self):
        made = self.drive("add", self.slots, "tpm2", counter="none")
        self.assertEqual("none", made["counter"])
        self.assertEqual("", self.tpm.tool("tpm2_getcap", "handles-nv-index").strip())
        self.drive("add", self.slots, "key-file", path=os.path.join(self.folder, "key"))
        self.drive("remove", self.slots, "0")

    def test_somebody_elses_counter_is_not_taken(self):
        self.assert_fails(8, "is 'none' or left out", "add", self.slots, "tpm2", counter="25187840")
        self.assertFalse(os.path.exists(self.slots))


if __name__ == "__main__":
    if not shutil.which("swtpm"):
        raise SystemExit("swtpm is not installed: see packaging/debian-packages.txt")
    taptest.main()
