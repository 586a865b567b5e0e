#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The master key by virtcrypt's commands: slots of every kind that needs no device, passphrases typed,
piped and asked for by systemd, locking, rotation, and waiting for it at boot."""

import json
import os
import re
import shutil
import signal
import time
import unittest

import dialogue
import host
import taptest

_VIRTCRYPT = os.path.join(host.BUILD_ROOT, "tools/virtcrypt")
_UUID = "11111111-1111-4111-8111-111111111111"
_XML = f"<secret><uuid>{_UUID}</uuid></secret>"
_FOLDER = "/etc/libvirt/virtcrypt"
# Where else key files may be.
_CONFIG = 'sandbox_paths = [ "/run/keys" ]\n'
_RECOVERY = re.compile(r"^ +((?:[0-9A-Z]{8}-){7}[0-9A-Z]{8})$", re.M)

# Answers by systemd-ask-password come from a file, a line each time.
_ASK = """#!/bin/sh
echo "$*" >>/run/t/asked
head -n 1 /run/t/answers | tr -d '\\n'
sed -i 1d /run/t/answers
"""


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        self.machine.write("/run/keys/none", "")
        self.daemon = self.machine.start_secretd(_CONFIG)
        self.machine.write("/run/t/secret.xml", _XML)
        self.machine.write("/run/t/value", "sealed")
        self.told("secret-define /run/t/secret.xml")
        self.told(f"secret-set-value {_UUID} --file /run/t/value --plain")

    def ours(self, line, **options):
        return self.machine.run([_VIRTCRYPT, *line.split()], **options)

    def told(self, line, **options):
        """What a command that has to succeed prints."""
        done = self.ours(line, **options)
        self.assertEqual(done.returncode, 0, f"{line}: {done.stdout}{done.stderr}")
        return done.stdout

    def assert_fails(self, line, *errors, **options):
        done = self.ours(line, **options)
        self.assertEqual(done.returncode, 1, f"{line}: {done.stdout}")
        for error in errors:
            self.assertIn(error, done.stderr)
        return done

    def typed(self, line, env=None):
        talk = dialogue.Dialogue(self.machine, [_VIRTCRYPT, *line.split()], env=env)
        self.addCleanup(talk.__exit__)
        return talk

    def status(self):
        return json.loads(self.told("master status --json"))

    def slots(self):
        return {slot["label"] or slot["method"]: slot for slot in self.status()["slots"]}

    def add_passphrase(self, label="person", passphrase="a good passphrase"):
        self.told(f"master add-slot passphrase --label {label} --passphrase-fd 0",
                  input=passphrase + "\n")

    def add_recovery(self, label="paper"):
        """Returns the passphrase."""
        talk = self.typed(f"master add-slot recovery --label {label}")
        shown = talk.wait_for("Type the recovery passphrase")
        text = _RECOVERY.search(shown).group(1)
        talk.answer("Type the recovery passphrase: ", text.lower().replace("-", " "))
        status, said = talk.end()
        self.assertEqual(status, 0, said)
        return text

    def value(self):
        return self.ours(f"-q secret-get-value {_UUID} --plain").stdout

    def without_key_file(self):
        """The daemon, started again where the key file is missing."""
        self.daemon.stop()
        shutil.move(self.machine.path(f"{_FOLDER}/master.key"), self.machine.path("/run/t/master.key"))
        self.daemon = self.machine.start_secretd(_CONFIG)
        self.assertTrue(self.status()["locked"])


class Slots(Case):
    def test_a_first_start_has_a_key_file(self):
        status = self.status()
        self.assertFalse(status["locked"])
        self.assertEqual(len(status["key-id"]), 32)
        slot, = status["slots"]
        self.assertEqual((slot["method"], slot["opened"], slot["problem"], slot["needs-person"]),
                         ("key-file", True, None, False))
        self.assertEqual(slot["parameters"]["path"], f"{_FOLDER}/master.key")
        text = self.told("master status")
        self.assertIn(f"Master key:     unlocked by the key-file slot {slot['uuid'][:8]}", text)
        self.assertIn("opened it", text)
        self.assertEqual(self.told("-r master status --json"), self.told("master status --json"))

    def test_a_typed_passphrase_is_asked_for_twice(self):
        talk = self.typed("master add-slot passphrase --label person")
        talk.answer("New passphrase: ", "one two three")
        talk.answer("Repeat the new passphrase: ", "one two four")
        status, said = talk.end()
        self.assertEqual(status, 1)
        self.assertIn("The two values differ; nothing was changed", said)
        self.assertNotIn("person", self.slots())
        talk = self.typed("master add-slot passphrase --label person")
        talk.answer("New passphrase: ", "one two three")
        talk.answer("Repeat the new passphrase: ", "one two three")
        status, said = talk.end()
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"The passphrase slot [0-9a-f]{8} \(person\) was added, and opens")
        self.assertNotIn("one two", said)
        self.told("master test-slot person --passphrase-fd 0", input="one two three\n")
        self.assert_fails("master test-slot person --passphrase-fd 0", "Failed to open the",
                          "does not unlock the passphrase slot", input="one two four\n")

    def test_a_recovery_passphrase_is_shown_once_and_has_to_be_typed(self):
        talk = self.typed("master add-slot recovery --label paper")
        shown = talk.wait_for("Type the recovery passphrase")
        text = _RECOVERY.search(shown).group(1)
        talk.answer("Type the recovery passphrase: ", text[:-1] + ("0" if text[-1] != "0" else "1"))
        status, said = talk.end()
        self.assertEqual(status, 1)
        self.assertIn("group 8 of the recovery passphrase is mistyped, or in a wrong place; nothing "
                      "was changed", said)
        self.assertNotIn("paper", self.slots())
        text = self.add_recovery()
        self.told("master test-slot paper --passphrase-fd 0", input=text + "\n")
        self.assertTrue(self.slots()["paper"]["needs-person"])

    def test_another_recovery_passphrase_changes_nothing(self):
        old = self.add_recovery("old")
        talk = self.typed("master add-slot recovery --label new")
        talk.answer("Type the recovery passphrase: ", old)
        status, said = talk.end()
        self.assertEqual(status, 1)
        self.assertIn("that is another recovery passphrase; nothing was changed", said)
        self.assertNotIn("new", self.slots())

    def test_a_key_file_is_made_and_goes_with_its_slot(self):
        self.told("master add-slot key-file --path /run/keys/stick --label stick")
        self.assertEqual(len(self.machine.read("/run/keys/stick")), 32)
        self.told("master test-slot stick")
        self.assertIn("What is left:", self.told("master remove-slot stick"))
        self.assertFalse(self.machine.exists("/run/keys/stick"))
        self.assertEqual(list(self.slots()), ["key-file"])

    def test_a_key_file_out_of_the_sandbox_names_the_setting(self):
        self.assert_fails("master add-slot key-file --path /run/t/stick",
                          "the daemon is kept from the folder /run/t: name it in sandbox_paths in "
                          "virtcrypt-secretd.conf")

    def test_options_are_for_their_methods(self):
        self.assert_fails("master add-slot key-file", "the path of a key file is needed")
        self.assert_fails("master add-slot passphrase --path /x",
                          "option --path is not for the method 'passphrase'")
        self.assert_fails("master add-slot key-file --path /x --no-counter",
                          "option --no-counter is not for the method 'key-file'")
        self.assert_fails("master add-slot telepathy", "there is no unlock method 'telepathy'")
        self.assert_fails("master add-slot credential",
                          "this service was given neither the credential")
        self.assert_fails("master add-slot passphrase --passphrase-fd 0 --ask-password",
                          "mutually exclusive")
        self.assert_fails("master add-slot passphrase --passphrase-fd 0",
                          "The passphrase is empty; nothing was changed", input="\n")

    def test_a_label_is_only_once(self):
        self.add_passphrase()
        self.assert_fails("master add-slot key-file --path /run/keys/k --label person",
                          "another slot of the master key has the label 'person'")
        self.assertFalse(self.machine.exists("/run/keys/k.next"))

    def test_slots_are_named_by_label_or_part_of_the_uuid(self):
        self.add_passphrase()
        uuid = self.slots()["key-file"]["uuid"]
        self.told(f"master test-slot {uuid}")
        self.told(f"master test-slot {uuid[:6].upper()}")
        self.assert_fails(f"master test-slot {uuid[:3]}", "no slot of the master key has the label")
        self.assert_fails("master remove-slot nosuch", "see 'virtcrypt master status'")

    def test_the_last_slot_that_works_stays(self):
        slot = self.slots()["key-file"]["uuid"]
        self.assert_fails(f"master remove-slot {slot}", "Failed to remove the key-file slot")
        self.add_passphrase()
        self.assert_fails(f"master remove-slot {slot} --passphrase-fd 0",
                          "Failed to remove the key-file slot", input="a wrong one\n")
        self.assertEqual(len(self.slots()), 2)
        talk = self.typed(f"master remove-slot {slot}")
        talk.answer("Passphrase of a slot that stays: ", "a good passphrase")
        status, said = talk.end()
        self.assertEqual(status, 0, said)
        self.assertIn("What is left:", said)
        self.assertEqual(list(self.slots()), ["person"])
        self.assertFalse(self.machine.exists(f"{_FOLDER}/master.key"))

    def test_a_slot_that_opened_has_no_problem_any_more(self):
        self.add_passphrase()
        self.without_key_file()
        self.told("master unlock person --passphrase-fd 0", input="a good passphrase\n")
        self.assertIn("cannot open", self.slots()["key-file"]["problem"])
        shutil.move(self.machine.path("/run/t/master.key"), self.machine.path(f"{_FOLDER}/master.key"))
        self.told("master test-slot " + self.slots()["key-file"]["uuid"])
        self.assertIsNone(self.slots()["key-file"]["problem"])
        self.without_key_file()
        self.told("master unlock person --passphrase-fd 0", input="a good passphrase\n")
        self.told("master rotate --passphrase-fd 0", input="a good passphrase\n")
        self.assertIsNone(self.slots()["key-file"]["problem"])

    def test_a_passphrase_is_changed(self):
        self.add_passphrase()
        self.assert_fails("master change-passphrase person --passphrase-fd 0",
                          "Failed to change the passphrase", input="wrong\nanother\n")
        self.told("master test-slot person --passphrase-fd 0", input="a good passphrase\n")
        talk = self.typed("master change-passphrase person")
        talk.answer("Present passphrase: ", "a good passphrase")
        talk.answer("New passphrase: ", "a better one")
        talk.answer("Repeat the new passphrase: ", "a better one")
        status, said = talk.end()
        self.assertEqual(status, 0, said)
        self.told("master test-slot person --passphrase-fd 0", input="a better one\n")
        self.assert_fails("master test-slot person --passphrase-fd 0", input="a good passphrase\n")
        self.assert_fails("master change-passphrase " + self.slots()["key-file"]["uuid"],
                          "has no passphrase")

    def test_systemd_asks(self):
        self.machine.write("/run/t/systemd-ask-password", _ASK, 0o755)
        self.machine.write("/run/t/answers", "by systemd\nby systemd\n")
        env = {"PATH": "/run/t:/usr/bin:/bin"}
        self.told("master add-slot passphrase --label person --ask-password", env=env)
        asked = self.machine.read("/run/t/asked").decode().splitlines()
        self.assertEqual(len(asked), 2)
        self.assertIn("--timeout=90", asked[0])
        self.assertTrue(asked[0].endswith("-- New passphrase"), asked[0])
        self.machine.write("/run/t/answers", "one\nanother\n")
        self.assert_fails("master add-slot passphrase --ask-password",
                          "The two passphrases differ; nothing was changed", env=env)
        self.machine.write("/run/t/answers", "by systemd\n")
        self.told("master test-slot person --ask-password", env=env)

    def test_others_than_root_see_the_status_alone(self):
        for line in ("master lock", "master test-slot " + self.slots()["key-file"]["uuid"]):
            done = self.machine.run(["setpriv", "--reuid", "nobody", "--clear-groups", _VIRTCRYPT,
                                     "-c", "secret:///system", *line.split()])
            self.assertEqual(done.returncode, 1, done.stdout)
        self.assert_fails("-r master lock", "read only")


class Locked(Case):
    def test_lock_and_unlock_by_the_key_file(self):
        self.assertIn("Master key locked", self.told("master lock"))
        self.assertNotEqual(self.value(), "sealed")
        text = self.told("daemon-status")
        self.assertIn("Unlocked by:    virtcrypt master unlock", text)
        self.assertIn("locked (run 'virtcrypt master unlock')", self.ours("host-status").stdout)
        self.assertIn("Master key:     locked", self.told("master status"))
        self.assertRegex(self.told("master unlock"), "Master key unlocked by the key-file slot")
        self.assertEqual(self.value(), "sealed")
        self.assertIn("The master key is unlocked already", self.told("master unlock"))

    def test_a_start_without_the_key_file_is_unlocked_by_a_typed_passphrase(self):
        self.add_passphrase()
        self.without_key_file()
        self.assertIn("virtcrypt master unlock", self.status()["locked-reason"])
        self.assertIn("cannot open the key file", self.slots()["key-file"]["problem"])
        done = self.assert_fails("master unlock --passphrase-fd 0",
                                 "Failed to unlock the master key", input="wrong\n")
        self.assertNotIn("wrong", done.stderr)
        talk = self.typed("master unlock")
        talk.answer("Passphrase of the master key: ", "a good passphrase")
        status, said = talk.end()
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"Master key unlocked by the passphrase slot \w+ \(person\)")
        self.assertEqual(self.value(), "sealed")

    def test_the_recovery_passphrase_alone_unlocks(self):
        text = self.add_recovery()
        self.without_key_file()
        self.told("master unlock paper --passphrase-fd 0", input=text.lower() + "\n")
        self.assertEqual(self.value(), "sealed")

    def test_a_named_slot_that_fails_says_why(self):
        self.add_passphrase()
        self.without_key_file()
        slot = self.slots()["key-file"]["uuid"]
        self.assert_fails(f"master unlock {slot}", "cannot open the key file")
        shutil.move(self.machine.path("/run/t/master.key"), self.machine.path(f"{_FOLDER}/master.key"))
        self.told(f"master unlock {slot}")


class Rotation(Case):
    def wait_until_moved(self):
        host.wait_for(lambda: not self.status()["rotating"], "values are moved", 60)

    def test_every_slot_opens_the_new_key(self):
        self.add_passphrase()
        old_text = self.add_recovery()
        before = self.status()["key-id"]
        old_file = self.machine.read(f"{_FOLDER}/master.key")
        talk = self.typed("master rotate")
        talk.answer(" (person): ", "a good passphrase")
        shown = talk.wait_for("Type the recovery passphrase")
        text = _RECOVERY.search(shown).group(1)
        talk.answer("Type the recovery passphrase: ", text)
        status, said = talk.end()
        self.assertEqual(status, 0, said)
        self.assertIn("The master key was replaced", said)
        self.wait_until_moved()
        self.assertNotEqual(self.status()["key-id"], before)
        self.assertNotEqual(self.machine.read(f"{_FOLDER}/master.key"), old_file)
        self.assertEqual(self.value(), "sealed")
        self.told("master test-slot person --passphrase-fd 0", input="a good passphrase\n")
        self.told("master test-slot paper --passphrase-fd 0", input=text + "\n")
        self.assert_fails("master test-slot paper --passphrase-fd 0", input=old_text + "\n")
        self.daemon.stop()
        self.daemon = self.machine.start_secretd(_CONFIG)
        self.assertEqual(self.value(), "sealed")

    def test_a_wrong_passphrase_changes_nothing(self):
        self.add_passphrase()
        before = self.status()["key-id"]
        self.assert_fails("master rotate --passphrase-fd 0", "Failed to rotate the master key",
                          input="wrong\n")
        self.assertEqual(self.status()["key-id"], before)
        self.assertFalse(self.machine.exists(f"{_FOLDER}/master.key.next"))
        self.told("master test-slot " + self.slots()["key-file"]["uuid"])

    def test_after_a_failure_both_recovery_passphrases_are_to_be_kept(self):
        self.add_passphrase()
        self.add_recovery()
        talk = self.typed("master rotate")
        talk.answer(" (person): ", "wrong")
        text = _RECOVERY.search(talk.wait_for("Type the recovery passphrase")).group(1)
        talk.answer("Type the recovery passphrase: ", text)
        status, said = talk.end()
        self.assertEqual(status, 1, said)
        self.assertIn("keep the old recovery passphrase and the new one", said)

    def test_slots_can_be_left_out(self):
        self.add_passphrase("one")
        self.add_passphrase("two", "another passphrase")
        slot = self.slots()["key-file"]["uuid"]
        self.assert_fails(f"master rotate --remove-slot one --remove-slot two --remove-slot {slot}",
                          "the new master key would have no slot")
        self.told("master rotate --reseal --remove-slot one --remove-slot two")
        self.wait_until_moved()
        self.assertEqual(list(self.slots()), ["key-file"])
        self.assertEqual(self.value(), "sealed")

    def test_a_locked_key_is_not_rotated(self):
        self.told("master lock")
        self.assert_fails("master rotate", "the master key is locked")


class Wait(Case):
    def test_an_unlocked_key_is_not_waited_for(self):
        self.assertIn("The master key is unlocked", self.told("unlock"))
        self.told("-q unlock --wait --timeout 5")

    def test_without_wait_a_locked_one_fails_at_once(self):
        self.told("master lock")
        self.assert_fails("unlock", "the master key is locked: ")
        self.assertTrue(self.status()["locked"])
        self.assert_fails("unlock --timeout 5", "need --wait")

    def test_the_bound_is_kept(self):
        self.told("master lock")
        start = time.monotonic()
        self.assert_fails("unlock --wait --timeout 1", "after 1 seconds the master key is locked")
        self.assertLess(time.monotonic() - start, 30 * host.PATIENCE)
        self.daemon.stop()
        self.assert_fails("unlock --wait --timeout 1",
                          "after 1 seconds virtcrypt-secretd can't be reached")

    def test_it_ends_when_the_key_is_unlocked(self):
        self.told("master lock")
        waiting = self.machine.popen([_VIRTCRYPT, "-q", "unlock", "--wait", "--timeout", "300"])
        time.sleep(0.7)
        self.assertIsNone(waiting.poll())
        self.told("master unlock")
        self.assertEqual(waiting.wait(host.START_BOUND_S), 0)

    def test_a_daemon_that_starts_later_is_waited_for(self):
        self.daemon.stop(signal.SIGTERM)
        waiting = self.machine.popen([_VIRTCRYPT, "-q", "unlock", "--wait", "--timeout", "300"])
        time.sleep(0.7)
        self.assertIsNone(waiting.poll())
        self.daemon = self.machine.start_secretd(_CONFIG)
        self.assertEqual(waiting.wait(host.START_BOUND_S), 0)

    def test_systemd_is_asked_until_the_answer_is_right(self):
        self.add_passphrase()
        self.machine.write("/run/t/systemd-ask-password", _ASK, 0o755)
        self.machine.write("/run/t/answers", "wrong\na good passphrase\n")
        self.told("master lock")
        done = self.ours("unlock --wait --timeout 100 --ask-password",
                         env={"PATH": "/run/t:/usr/bin:/bin"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("does not unlock the passphrase slot", done.stderr)
        self.assertEqual(self.value(), "sealed")


class Words(Case):
    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)

    def test_commands_of_two_words_have_help_and_errors_like_others(self):
        self.assertIn("NAME\n    master add-slot - ", self.told("master add-slot --help"))
        self.assertEqual(self.told("help master add-slot"), self.told("-q master add-slot --help") + "\n")
        self.assertIn("master rotate", self.told("help master"))
        self.assertIn("master rotate", self.told("master --help"))
        self.assert_fails("master", "command 'master' requires a second word")
        self.assert_fails("master nosuch", "unknown command: 'master nosuch'")
        self.assert_fails("help master nosuch",
                          "command or command group 'master nosuch' doesn't exist")
        self.assert_fails("master test-slot", "command 'master test-slot' requires <slot> option")
        self.assert_fails("master lock extra", "unexpected data 'extra'")


if __name__ == "__main__":
    taptest.main()
