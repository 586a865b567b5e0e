#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt's commands for guests and their keys, with real libvirtd, QEMU and cryptsetup."""

import json
import os
import re
import subprocess
import unittest

import guests
import host
import taptest
import virtcrypt

_WRONG = "/run/t/wrong"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Define(guests.Case):
    """guest-define and guest-create."""

    def assert_nothing_is_left(self, name, secrets):
        self.assertNotEqual(self.machine.virsh("domuuid", name).returncode, 0)
        self.assertEqual(self.secrets(), secrets)
        self.assertNotIn(name, self.told("guest-list"))

    def test_a_guest_and_its_keys_are_defined_in_one_call(self):
        path = self.luks("one")
        xml = self.define_file("one", [("vda", path, "raw", None)])
        self.addCleanup(self.forget, "one")
        told = self.told(f"guest-define {xml} --key vda=/run/t/key")
        self.assertRegex(told, rf"\ADomain 'one' defined from {xml}\n"
                               rf"Key of {path} stored as secret [-0-9a-f]{{36}}\n\n\Z")
        secret = _UUID.search(told).group(0)
        uuid = self.uuid_of("one")
        self.assertIn(secret, self.machine.virsh("dumpxml", "one").check().stdout)
        self.assertEqual(self.copies_of(uuid), [secret])
        self.assertFalse(self.machine.exists(f"/etc/libvirt/secrets/{secret}.key"))
        keys = self.objects("key-list --guest one --json")
        self.assertEqual([(key["secret"], key["guest"], key["guest-name"], key["volume"],
                           key["origin"], key["state"]) for key in keys],
                         [(secret, uuid, "one", path, "sent", "bound")])
        listed = [item for item in self.objects("guest-list --json") if item["name"] == "one"]
        self.assertEqual(listed, [{"uuid": uuid, "name": "one", "state": "shut off",
                                   "persistent": True, "keys": 1, "missing": 0, "orphaned": 0,
                                   "erase-at": None}])
        self.machine.virsh("start", "one").check()

    def test_keys_come_from_a_file_and_from_a_pipe_at_a_time(self):
        first, second = self.luks("file"), self.luks("pipe", "the other key")
        xml = self.define_file("both", [("vda", first, "raw", None), ("vdb", second, "raw", None)])
        self.addCleanup(self.forget, "both")
        self.told(f"guest-define {xml} --key vda=/run/t/key --key={second}=-",
                  input="the other key\n")
        self.assertEqual([item["state"] for item in self.objects("guest-check both --json")],
                         ["ok", "ok"])

    def test_a_guest_is_created_paused(self):
        path = self.luks("made")
        xml = self.define_file("made", [("vda", path, "raw", None)])
        self.addCleanup(self.forget, "made")
        told = self.told(f"guest-create {xml} --key vda=/run/t/key --paused")
        self.assertIn(f"Domain 'made' created from {xml}\n", told)
        self.assertEqual(self.machine.virsh("domstate", "made").check().stdout.strip(), "paused")
        self.assertEqual(len(self.copies_of(self.uuid_of("made"))), 1)

    def test_quiet_means_quiet(self):
        path = self.luks("quiet")
        xml = self.define_file("quiet", [("vda", path, "raw", None)])
        self.addCleanup(self.forget, "quiet")
        self.assertEqual(self.told(f"-q guest-define {xml} --key vda=/run/t/key"), "")

    def test_a_wrong_key_leaves_nothing(self):
        path = self.luks("wrong")
        xml = self.define_file("wrong", [("vda", path, "raw", None)])
        secrets = self.secrets()
        self.assert_fails(f"guest-define {xml} --key vda={_WRONG}",
                          f"Failed to define domain from {xml}")
        self.assert_nothing_is_left("wrong", secrets)

    def test_what_libvirt_refuses_leaves_nothing(self):
        path = self.luks("bad")
        xml = self.define_file("bad", [("vda", path, "raw", None)])
        content = self.machine.read(xml).decode().replace("<devices>", "<devices><nosuch/>")
        self.machine.write(xml, content)
        secrets = self.secrets()
        self.assert_fails(f"guest-define {xml} --validate --key vda=/run/t/key",
                          f"Failed to define domain from {xml}")
        self.assert_nothing_is_left("bad", secrets)

    def test_mistakes_are_said_before_anything_is_done(self):
        xml = self.define_file("mistake", [("vda", "/nosuch", "raw", None)])
        secrets = self.secrets()
        for arguments, errors in (
                ("", ["command 'guest-define' requires <file> option"]),
                ("/nosuch.xml", ["Failed to open file '/nosuch.xml'"]),
                (f"{xml} --key", ["expected syntax: --key <string>"]),
                (f"{xml} --key vda", ["--key takes VOLUME=FILE, VOLUME=- or VOLUME=generate"]),
                (f"{xml} --key vda=/nosuch", ["Failed to read the key of the volume 'vda'",
                                              "Failed to open file '/nosuch'"]),
                (f"{xml} --key vda=/dev/null", ["The key is empty"]),
                (f"{xml} --key vda=/run/t/key --key vda=generate",
                 ["names a key of the volume 'vda' twice"]),
                (f"{xml} --key vda=- --key vdb=-", ["standard input holds one key"]),
                (f"{xml} --key vdz=/run/t/key", ["Failed to define domain", "vdz"])):
            with self.subTest(arguments):
                self.assert_fails(f"guest-define {arguments}", *errors)
        self.assert_nothing_is_left("mistake", secrets)

    def test_a_key_is_in_no_argument_and_no_log(self):
        key = "a-key-that-nobody-else-has-0987654321"
        self.machine.write("/run/t/special", key)
        path = self.luks("special", key)
        xml = self.define_file("special", [("vda", path, "raw", None)])
        self.addCleanup(self.forget, "special")
        seen = []
        process = self.machine.popen([virtcrypt.PROGRAM, "guest-define", xml, "--key",
                                      "vda=/run/t/special"], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            for pid in self.machine.processes():
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        seen.append(file.read())
                except OSError:
                    pass
        self.assertEqual(process.returncode, 0)
        logs = [daemon.log_text().encode() for daemon in (self.secretd, self.virtcryptd)]
        for text in [*seen, *logs, self.machine.virsh("dumpxml", "special", text=False).stdout]:
            self.assertNotIn(key.encode(), text)


class Keys(guests.Case):
    """key-*, guest-check and audit."""

    def defined(self, name):
        """A guest with a key of its own: (path of its disk, secret)."""
        path = self.luks(name)
        xml = self.define_file(name, [("vda", path, "raw", None)])
        told = self.told(f"guest-define {xml} --key vda=/run/t/key")
        self.addCleanup(self.forget, name)
        return path, _UUID.search(told).group(0)

    def secret(self, usage):
        """A secret with a value that no guest owns."""
        self.machine.write("/run/t/secret.xml", "<secret ephemeral='no' private='yes'><usage "
                           f"type='volume'><volume>{usage}</volume></usage></secret>")
        uuid = _UUID.search(self.told("secret-define /run/t/secret.xml")).group(0)
        self.told(f"secret-set-value {uuid} --generate 256")
        return uuid

    def test_a_secret_is_bound_and_unbound_by_hand(self):
        self.defined("hand")
        uuid = self.uuid_of("hand")
        secret = self.secret("/by/hand")
        self.assertEqual(self.told(f"key-bind {secret} hand"),
                         f"Secret {secret} bound to domain 'hand'\n\n")
        self.assertIn(secret, self.copies_of(uuid))
        self.assertIn((secret, "manual"), [(key["secret"], key["origin"]) for key in
                                           self.objects("key-list --guest hand --json")])
        self.assertEqual(self.told(f"key-unbind {secret} {uuid}"),
                         f"Secret {secret} unbound from domain '{uuid}'\n\n")
        self.assertNotIn(secret, self.copies_of(uuid))
        self.assertTrue(self.machine.exists(f"/etc/libvirt/secrets/{secret}.key"))

    def test_a_secret_is_named_by_its_usage(self):
        self.defined("usage")
        secret = self.secret("/by/usage")
        self.told("key-bind /by/usage usage")
        self.assertIn(secret, self.copies_of(self.uuid_of("usage")))
        self.assert_fails("key-bind /no/usage usage", "failed to get secret '/no/usage'",
                          "no secret with matching usage '/no/usage'")

    def test_keys_are_listed_of_a_volume(self):
        path, secret = self.defined("volume")
        self.defined("novolume")
        self.assertEqual([key["secret"] for key in self.objects(f"key-list --volume {path} --json")],
                         [secret])
        self.assertRegex(self.told(f"key-list --volume {path}"),
                         rf"\A Secret +Guest +Volume +Origin +State +Erased at, or held because\n-+\n"
                         rf" {secret} +volume +{path} +sent +bound +-\n\n\Z")
        self.assertEqual(self.objects("key-list --volume /nosuch --json"), [])

    def test_an_unknown_guest_is_said_to_be_unknown(self):
        for line in ("guest-check nosuch", "key-list --guest nosuch"):
            self.assert_fails(line, "failed to get domain 'nosuch'",
                              "no domain with matching name 'nosuch'")

    def test_the_check_of_a_guest_that_would_start(self):
        path, secret = self.defined("starts")
        self.assertRegex(self.told("guest-check starts"),
                         rf"\A Place +Volume +Secret +State +Message\n-+\n disk vda +{path} +{secret} "
                         r"+ok +-\n\n\Z")
        self.assertEqual([(item["place"], item["volume"], item["secret"], item["state"])
                          for item in self.objects("guest-check starts --json")],
                         [("disk vda", path, secret, "ok")])

    def test_the_check_of_a_guest_whose_key_is_wrong(self):
        _, secret = self.defined("wrongkey")
        self.told(f"secret-set-value {secret} --file {_WRONG} --plain")
        done = self.ours("guest-check", "wrongkey", "--json")
        self.assertEqual((done.returncode, done.stderr),
                         (1, "error: Domain 'wrongkey' would not start\n"))
        self.assertEqual([item["state"] for item in json.loads(done.stdout)], ["wrong"])
        self.assertNotEqual(self.machine.virsh("start", "wrongkey").returncode, 0)

    def test_the_check_of_a_guest_whose_key_is_missing(self):
        _, secret = self.defined("nokey")
        self.told(f"secret-undefine {secret}")
        done = self.ours("guest-check", "nokey", "--json")
        self.assertEqual((done.returncode, [item["state"] for item in json.loads(done.stdout)]),
                         (1, ["missing"]))

    def test_a_key_that_is_used_is_not_erased(self):
        _, secret = self.defined("used")
        self.assert_fails(f"key-erase {secret}", f"Failed to erase secret {secret}")
        self.assertEqual(self.copies_of(self.uuid_of("used")), [secret])

    def test_a_readonly_connection_changes_nothing(self):
        _, secret = self.defined("readonly")
        self.assertIn("readonly", self.told("-r guest-list"))
        self.assert_fails(f"-r key-unbind {secret} readonly", "Failed to unbind secret")
        self.assertEqual(self.copies_of(self.uuid_of("readonly")), [secret])

    def test_the_state_of_the_host_counts_guests_and_keys(self):
        self.defined("counted")
        state = json.loads(self.told("host-status --json"))["virtcryptd"]["guests"]
        self.assertEqual((state["libvirt"], state["connected"], state["problem"]),
                         ("qemu:///system", True, None))
        self.assertGreaterEqual(state["guests"], 1)
        self.assertGreaterEqual(state["keys"], 1)
        self.assertIn("libvirt is watched", self.told("host-status"))


class Gone(guests.Case):
    """Guests that are gone: orphans, key-erase, audit."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.virtcryptd.stop_in_order()
        cls.virtcryptd = cls.machine.start_virtcryptd("erase_delay_undefine = 1\n")
        cls.wait_until_watched()

    def undefined(self, name):
        """A guest, called as its image, that was undefined: (its uuid, path of its disk, secret)."""
        path = self.luks(name)
        name = os.path.basename(name)
        xml = self.define_file(name, [("vda", path, "raw", None)])
        secret = _UUID.search(self.told(f"guest-define {xml} --key vda=/run/t/key")).group(0)
        uuid = self.uuid_of(name)
        self.machine.virsh("undefine", name).check()
        return uuid, path, secret

    def orphans(self):
        return {key["secret"]: key for key in self.objects("key-list --orphaned --json")}

    def test_an_orphan_is_listed_and_erased_by_hand_which_the_audit_shows(self):
        uuid, path, secret = self.undefined("orphan")
        host.wait_for(lambda: secret in self.orphans(), "the key is orphaned")
        orphan = self.orphans()[secret]
        self.assertEqual((orphan["guest-name"], orphan["volume"], orphan["state"]),
                         ("orphan", path, "orphaned"))
        self.assertIn("guest 'orphan' was undefined", orphan["reason"])
        self.assertIn(secret, self.told("key-list --guest orphan"))
        self.assertEqual(self.told(f"key-erase {secret}"), f"Secret {secret} erased\n\n")
        self.assertNotIn(secret, self.secrets())
        self.assertEqual(self.copies_of(uuid), [])
        lines = self.objects(f"audit --verify --json --secret {secret}")
        self.assertEqual([(line["event"], line["secret"]) for line in lines][-1], ("erase", secret))
        self.assertIn(secret, self.told(f"audit --guest {uuid}"))

    def test_a_key_is_held_while_the_folder_of_its_volume_is_not_mounted(self):
        folder = f"{guests.IMAGES}/away"
        self.machine.run(["mkdir", folder]).check()
        self.machine.run(["mount", "-t", "tmpfs", "none", folder]).check()
        _, path, secret = self.undefined("away/disk")
        host.wait_for(lambda: secret in self.orphans(), "the key is orphaned")
        self.machine.run(["umount", "--lazy", folder]).check()
        self.assertFalse(self.machine.exists(path))
        _, gone, marker = self.undefined("marker")  # looks later than that one erase its key
        os.unlink(self.machine.path(gone))
        host.wait_for(lambda: marker not in self.secrets(), "the other key is erased")
        self.assertEqual(self.orphans()[secret]["volume"], path)

    def test_a_key_goes_with_its_volume(self):
        uuid, path, secret = self.undefined("whole")
        os.unlink(self.machine.path(path))
        host.wait_for(lambda: secret not in self.secrets(), "the key is erased")
        self.assertEqual(self.copies_of(uuid), [])
        told = self.told(f"audit --verify --secret {secret}")
        self.assertRegex(told, r"\A Time +Event +Secret +Guest +Generation +Reason\n")
        self.assertIn("guest 'whole' was undefined, its volume is gone", told)
        self.assertRegex(told, r"\nAll \d+ records are whole and in their order\n")


class Audit(guests.Case):
    with_libvirtd = False

    def erased(self):
        self.machine.write("/run/t/a.xml", "<secret ephemeral='no' private='no'/>")
        secret = _UUID.search(self.told("secret-define /run/t/a.xml")).group(0)
        self.told(f"secret-set-value {secret} --generate 256")
        self.told(f"secret-undefine {secret}")
        return secret

    def test_a_broken_line_is_named(self):
        log = "/var/lib/libvirt/virtcrypt/audit.log"
        secrets = [self.erased() for _ in range(3)]
        self.assertEqual([line["secret"] for line in self.objects("audit --verify --json")], secrets)
        self.secretd.stop_in_order()
        before = self.machine.read(log)
        self.assertEqual(before.count(b"\n"), 3)
        self.machine.write(log, before.replace(secrets[1].encode(), secrets[0].encode()))
        self.secretd = self.machine.start_secretd()
        done = self.ours("audit", "--verify", "--json")
        self.assertEqual(done.returncode, 1)
        self.assertIn("error: The audit is broken at line 2\n", done.stderr)
        self.assertEqual([sorted(line)[:1] for line in json.loads(done.stdout)][1], ["damaged"])
        self.assertEqual(self.ours("audit").returncode, 0)
        self.secretd.stop_in_order()
        self.machine.write(log, b"".join(before.splitlines(True)[1:]))
        self.secretd = self.machine.start_secretd()
        self.assert_fails("audit --verify", "The audit is broken at line 1")

    def test_a_secret_of_the_audit_goes_by_its_uuid(self):
        self.assert_fails("audit --secret /by/usage", "the secret '/by/usage' is not named by its "
                          "UUID")


class Elsewhere(unittest.TestCase):
    """What guest-migrate refuses before anything is done."""

    def test_a_way_that_carries_no_keys_is_refused(self):
        with host.Host() as machine:
            machine.start_secretd()
            machine.start_virtcryptd()
            for uri, text in (("qemu+tls://far/system", "keys travel by ssh only"),
                              ("qemu+ssh://far/session", "its path must be /system"),
                              ("far", "it is none")):
                done = machine.run([virtcrypt.PROGRAM, "guest-migrate", "g", uri])
                self.assertEqual(done.returncode, 1)
                self.assertIn(text, done.stderr)


if __name__ == "__main__":
    taptest.main()
