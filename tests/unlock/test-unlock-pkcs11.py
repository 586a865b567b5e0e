#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Slots that a key on a PKCS#11 token opens, on a real SoftHSM by way of p11-kit."""

import os
import shutil
import unittest

import devices
import taptest
import unlocking

_KEY = "00112233445566778899aabbccddeeff" * 2


class SoftHsm(unlocking.Case):
    def setUp(self):
        super().setUp()
        self.hsm = devices.SoftHsm(self.folder)
        self.helper_environment.update(self.hsm.environment)
        self.pin = self.put("pin", self.hsm.PIN + "\n")
        self.hsm.make_token("lab")
        self.hsm.make_key("lab", "wrapping", "01")
        self.uri = f"pkcs11:token=lab;object=wrapping?pin-source={self.pin}"

    def wrap(self, uri=None):
        wrapped = self.drive("run", "pkcs11-wrap", typed=_KEY, uri=uri or self.uri)
        return wrapped["iv"], wrapped["wrapped"]

    def unwrap(self, iv, wrapped, uri=None):
        return self.drive("run", "pkcs11-unwrap", uri=uri or self.uri, iv=iv, wrapped=wrapped)["key"]

    def assert_not_wrapped(self, code, part, uri):
        self.assert_fails(code, part, "run", "pkcs11-wrap", typed=_KEY, uri=uri)

    def assert_not_unwrapped(self, code, part, iv, wrapped, uri=None):
        self.assert_fails(code, part, "run", "pkcs11-unwrap", uri=uri or self.uri, iv=iv,
                          wrapped=wrapped)


class Wrapping(SoftHsm):
    def test_what_is_wrapped_comes_back(self):
        self.assertEqual(_KEY, self.unwrap(*self.wrap()))

    def test_each_time_is_another_iv(self):
        self.assertNotEqual(self.wrap(), self.wrap())

    def test_the_key_can_be_named_in_other_ways(self):
        wrapped = self.wrap()
        for uri in (f"pkcs11:token=lab;id=%01?pin-source={self.pin}",
                    f"pkcs11:token=lab;type=secret-key?pin-source={self.pin}",
                    f"pkcs11:object=wrapping;model=SoftHSM%20v2?pin-source={self.pin}",
                    f"pkcs11:token=lab;object=wrapping?pin-source=file:{self.pin}",
                    f"pkcs11:token=lab;object=wrapping?pin-source=file://{self.pin}",
                    f"pkcs11:token=lab;object=wrapping?module-name=softhsm2&pin-source={self.pin}"):
            self.assertEqual(_KEY, self.unwrap(*wrapped, uri), uri)

    def test_another_key_does_not_unwrap_it(self):
        wrapped = self.wrap()
        self.hsm.make_key("lab", "other", "02")
        self.assert_not_unwrapped(
            9, "the key on the token may not be the one that the slot was made with: cannot decrypt "
               "by the token: CKR_", *wrapped,
            f"pkcs11:token=lab;object=other?pin-source={self.pin}")

    def test_changed_bytes_do_not_unwrap(self):
        iv, wrapped = self.wrap()
        changed = ("A" if wrapped[0] != "A" else "B") + wrapped[1:]
        self.assert_not_unwrapped(9, "cannot decrypt by the token: CKR_", iv, changed)

    def test_bytes_of_another_length_are_refused(self):
        iv, wrapped = self.wrap()
        self.assert_not_unwrapped(65, "not the length", iv, wrapped[:-4])
        self.assert_not_unwrapped(65, "not the length", iv[:-4], wrapped)
        self.assert_not_unwrapped(8, "at most 48 bytes", iv, wrapped + "AAAA")

    def test_a_key_that_is_gone_is_told(self):
        wrapped = self.wrap()
        self.hsm.tool("lab", "--delete-object", "--type", "secrkey", "--label", "wrapping")
        self.assert_not_unwrapped(
            66, "the token 'lab' has no AES key that the URI fits: it was removed", *wrapped)

    def test_a_token_that_is_gone_is_told(self):
        wrapped = self.wrap()
        self.hsm.remove_token("lab")
        self.assert_not_unwrapped(55, "no token fits 'pkcs11:token=lab;object=wrapping", *wrapped)

    def test_a_key_of_another_kind_is_not_taken(self):
        self.hsm.make_key("lab", "generic", "03", "GENERIC:32")
        self.assert_not_wrapped(66, "has no AES key",
                                f"pkcs11:token=lab;object=generic?pin-source={self.pin}")

    def test_a_uri_that_fits_several_keys_is_refused(self):
        self.hsm.make_key("lab", "other", "02")
        self.assert_not_wrapped(8, "fits several AES keys of the token 'lab': add object= or id=",
                                f"pkcs11:token=lab?pin-source={self.pin}")

    def test_a_uri_that_fits_several_tokens_is_refused_before_any_gets_the_pin(self):
        self.hsm.make_token("second")
        self.assert_not_wrapped(8, "2 tokens fit",
                                f"pkcs11:model=SoftHSM%20v2;object=wrapping?pin-source={self.pin}")


class Pin(SoftHsm):
    def test_a_wrong_pin_is_told(self):
        wrapped = self.wrap()
        self.put("pin", "0000000")
        self.assert_not_unwrapped(
            45, f"the token 'lab' refuses the PIN in {self.pin}: CKR_PIN_INCORRECT. Correct that "
                "file before the token locks itself", *wrapped)
        self.put("pin", self.hsm.PIN)
        self.assertEqual(_KEY, self.unwrap(*wrapped))

    def test_without_a_pin_the_remedy_is_told(self):
        self.assert_not_wrapped(66, "the URI needs ?pin-source=FILE",
                                "pkcs11:token=lab;object=wrapping")

    def test_a_key_that_the_token_gives_to_all_needs_no_pin(self):
        self.hsm.make_key("lab", "public", "04", privacy=())
        uri = "pkcs11:token=lab;object=public"
        self.assertEqual(_KEY, self.unwrap(*self.wrap(uri), uri))

    def test_a_pin_file_that_others_can_read_is_refused(self):
        self.put("pin", self.hsm.PIN, mode=0o640)
        self.assert_not_wrapped(55, f"is open to others (mode 0640): run 'chmod 600 {self.pin}'",
                                self.uri)

    def test_a_pin_file_of_somebody_else_is_refused(self):
        os.chown(self.pin, 65534, 0)
        self.assert_not_wrapped(55, "belongs to user 65534", self.uri)

    def test_a_pin_file_that_is_no_file_is_refused(self):
        link = os.path.join(self.folder, "link")
        os.symlink(self.pin, link)
        self.assert_not_wrapped(38, "cannot open the PIN file",
                                f"pkcs11:token=lab;object=wrapping?pin-source={link}")
        fifo = os.path.join(self.folder, "fifo")
        os.mkfifo(fifo, 0o600)
        self.assert_not_wrapped(55, "is not a regular file",
                                f"pkcs11:token=lab;object=wrapping?pin-source={fifo}")

    def test_a_file_that_is_no_pin_is_not_sent_to_the_token(self):
        self.put("pin", "x" * 300)
        self.assert_not_wrapped(55, "has 300 bytes; a PIN has 1 to 255", self.uri)
        self.put("pin", "")
        self.assert_not_wrapped(55, "has 0 bytes", self.uri)

    def test_a_pin_source_that_is_no_path_is_refused(self):
        for source in ("pin", "|cat%20/etc/passwd", "http://x/"):
            self.assert_not_wrapped(8, "is the absolute path of a file with the PIN",
                                    f"pkcs11:token=lab;object=wrapping?pin-source={source}")


class Uri(SoftHsm):
    def test_what_is_no_uri_is_refused(self):
        self.assert_not_wrapped(8, "such as 'pkcs11:token=TOKEN;object=KEY", "file:/etc/passwd")
        self.assert_not_wrapped(8, "is no PKCS#11 URI", "pkcs11:token=%zz")
        self.assert_not_wrapped(8, "has an attribute 'surprise' that is not known",
                                "pkcs11:token=lab;surprise=1")

    def test_a_uri_of_something_else_than_a_secret_key_is_refused(self):
        self.assert_not_wrapped(8, "names no secret key", "pkcs11:token=lab;type=private")

    def test_a_pin_or_a_program_in_the_uri_is_refused(self):
        self.assert_not_wrapped(8, "put the PIN into a file that only root can read",
                                f"pkcs11:token=lab;object=wrapping?pin-value={self.hsm.PIN}")
        self.assert_not_wrapped(8, "with module-path is not taken",
                                "pkcs11:token=lab;object=wrapping?module-path=/tmp/evil.so")

    def test_a_misspelt_pin_is_not_repeated(self):
        """Nor one in a slots file that somebody else wrote."""
        wrapped = self.wrap()
        for uri in (f"pkcs11:token=lab;object=wrapping?pin-vaule={self.hsm.PIN}",
                    f"pkcs11:token=lab;object=wrapping?pin-source={self.hsm.PIN}",
                    f"pkcs11:token=lab;object=wrapping;pin={self.hsm.PIN}"):
            for words, typed in ((("run", "pkcs11-wrap"), _KEY),
                                 (("add", self.slots, "pkcs11"), "")):
                with self.assertRaises(unlocking.Failed) as raised:
                    self.drive(*words, typed=typed, uri=uri)
                self.assertNotIn(self.hsm.PIN, raised.exception.output)
            self.assert_not_unwrapped(8, "PKCS#11 URI", *wrapped, uri)


class Slots(SoftHsm):
    def test_a_slot_opens_by_the_token_alone(self):
        made = self.drive("add", self.slots, "pkcs11", uri=self.uri)
        self.assertEqual(made["id"], self.drive("unlock", self.slots)["id"])

    def test_the_slots_file_holds_no_pin(self):
        self.drive("add", self.slots, "pkcs11", uri=self.uri)
        with open(self.slots, "rb") as file:
            self.assertNotIn(self.hsm.PIN.encode(), file.read())
        self.assert_fails(8, "put the PIN into a file that only root can read", "add", self.slots,
                          "pkcs11", uri=f"pkcs11:token=lab;object=wrapping?pin-value={self.hsm.PIN}")
        self.assert_fails(8, "a URI with module-path is not taken", "add", self.slots, "pkcs11",
                          uri="pkcs11:token=lab?module-path=/tmp/evil.so")
        self.assert_fails(8, "the parameter 'uri' of a pkcs11 slot is needed", "add", self.slots,
                          "pkcs11")

    def test_another_slot_opens_while_the_token_is_away(self):
        made = self.drive("add", self.slots, "pkcs11", uri=self.uri)
        self.drive("add", self.slots, "key-file", path=os.path.join(self.folder, "key"))
        self.hsm.remove_token("lab")
        opened = self.drive("unlock", self.slots)
        self.assertEqual(made["id"], opened["id"])
        self.assertIn("no token fits", opened["slots"][0])

    def test_a_renewed_slot_opens_by_the_same_key(self):
        made = self.drive("add", self.slots, "pkcs11", uri=self.uri)
        renewed = self.drive("renew", self.slots, "0")
        self.assertNotEqual(made["wrapped"], renewed["wrapped"])
        self.assertEqual(made["id"], self.drive("unlock", self.slots)["id"])


if __name__ == "__main__":
    for program in ("softhsm2-util", "pkcs11-tool"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is missing: see packaging/debian-packages.txt")
    taptest.main()
