#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt's commands that make and show volumes, judged by stock virsh and cryptsetup."""

import json
import unittest

import host
import taptest
import virtcrypt
import volumes

_POOL = volumes.POOL


class Create(virtcrypt.Case):
    def test_one_line_makes_an_encrypted_volume(self):
        self.assertEqual(self.told(f"vol-create {_POOL} one 10M"), "Vol one created\n\n")
        info = self.info("one")
        self.assertEqual((info["encryption"], info["type"], info["capacity"]),
                         ("raw", "file", 10 << 20))
        self.assertTrue(info["secret-is-generated"])
        key = volumes.key_of(self.machine, info["secret"])
        self.assertRegex(key.decode(), r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertTrue(self.opens("one", key))
        self.assertFalse(self.opens("one", "another key"))

    def test_libvirt_sees_it_at_once(self):
        self.told(f"vol-create {_POOL} seen 1M --format qcow2")
        xml = self.machine.virsh("vol-dumpxml", "seen", _POOL).check().stdout
        self.assertEqual(volumes.secret_of(xml), self.info("seen")["secret"])
        self.told(f"vol-delete seen {_POOL}")
        self.assertNotIn("seen", self.machine.virsh("vol-list", _POOL).check().stdout)

    def test_a_key_is_read_from_a_file(self):
        self.told(f"vol-create {_POOL} file 10M --key /run/t/key")
        self.assertTrue(self.opens("file", virtcrypt.KEY))
        self.assertFalse(self.info("file")["secret-is-generated"])

    def test_a_key_is_read_from_a_pipe(self):
        self.assertEqual(self.told(f"vol-create {_POOL} pipe 10M --key -",
                                   input=virtcrypt.KEY + "\n"), "Vol pipe created\n\n")
        self.assertTrue(self.opens("pipe", virtcrypt.KEY))

    def test_a_key_is_the_value_of_a_secret(self):
        self.told(f"vol-create {_POOL} first 10M")
        secret = self.info("first")["secret"]
        self.told(f"vol-create {_POOL} second 10M --secret {secret}")
        self.assertEqual(self.info("second")["secret"], secret)
        self.assertTrue(self.opens("second", volumes.key_of(self.machine, secret)))

    def test_virshs_form_takes_a_file_of_xml(self):
        self.machine.write("/run/t/v.xml", volumes.volume_xml("xml", "qcow2"))
        self.assertEqual(self.told(f"vol-create {_POOL} /run/t/v.xml"),
                         "Vol xml created from /run/t/v.xml\n\n")
        self.assertEqual(self.info("xml")["encryption"], "qcow2")

    def test_a_cipher_can_be_chosen(self):
        self.told(f"vol-create {_POOL} cipher 10M --cipher aes-128-cbc-essiv:sha256")
        dump = self.machine.run(["cryptsetup", "luksDump", self.path("cipher")]).check().stdout
        self.assertRegex(dump, r"Cipher mode:\s+cbc-essiv:sha256")
        self.assertRegex(dump, r"MK bits:\s+128")

    def test_a_volume_is_a_layer_on_another(self):
        self.told(f"vol-create {_POOL} base 4M --format qcow2")
        self.told(f"vol-create {_POOL} layer 4M --format qcow2 --backing-vol base")
        xml = self.told(f"vol-dumpxml layer {_POOL} --xpath //backingStore/path")
        self.assertEqual(xml, f"<path>{self.path('base')}</path>\n\n")

    def test_the_xml_can_be_looked_at_first(self):
        xml = self.told(f"vol-create {_POOL} looked 10M --format dm-crypt --print-xml")
        self.assertIn("<encryption format='luks2' engine='dm-crypt'/>", xml)
        self.assertIn("<capacity>10485760</capacity>", xml)
        self.assert_fails(f"vol-info looked {_POOL}", "failed to get vol 'looked'")

    def test_the_policy_of_the_pool_says_what_is_made(self):
        self.told(f"pool-policy {_POOL} --encrypt dm-crypt")
        self.addCleanup(self.told, f"pool-policy {_POOL} --encrypt none")
        self.assertIn("engine='dm-crypt'",
                      self.told(f"vol-create {_POOL} policy 10M --print-xml"))
        self.assertIn("<encryption format='luks'/>",
                      self.told(f"vol-create {_POOL} policy 10M --format raw --print-xml"))

    def test_mistakes_are_said_before_anything_is_made(self):
        before = self.secrets()
        for arguments, errors in (
                ("", ["command 'vol-create' requires <pool> option"]),
                (_POOL, ["requires <name> and <capacity>, or <file>"]),
                (f"{_POOL} nosize", ["Failed to open file 'nosize': No such file or directory",
                                     f"say its size: vol-create {_POOL} nosize SIZE"]),
                (f"{_POOL} x 10Q", ["Malformed size 10Q", "unknown suffix 'Q'"]),
                (f"{_POOL} x -- -1", ["Malformed size -1"]),
                (f"{_POOL} x 1M --format vmdk", ["the format 'vmdk' can't be encrypted"]),
                (f"{_POOL} x 1M --cipher aes", ["the cipher 'aes' is not of the form"]),
                (f"{_POOL} x 1M --secret abc", ["the secret 'abc' is not named by its UUID"]),
                (f"{_POOL} x 1M --key /nosuch", ["Failed to open file '/nosuch'"]),
                (f"{_POOL} x 1M --key /dev/null", ["The key is empty"]),
                (f"{_POOL} x 1M --key a --secret b",
                 ["Options --key and --secret are mutually exclusive"]),
                (f"{_POOL} x 1M --file y", ["--file names the volume's XML"]),
                (f"{_POOL} --capacity 1M", ["requires <name> option"]),
                (f"{_POOL} x 1M --backing-vol-format raw", ["needs --backing-vol"]),
                (f"{_POOL} x 1M --backing-vol nosuch", ["failed to get vol 'nosuch'"]),
                ("nosuch x 1M", ["Failed to create vol x", "no storage pool with matching name"]),
                (f"{_POOL} a/b 1M", ["Failed to create vol a/b"])):
            with self.subTest(arguments):
                self.assert_fails(f"vol-create {arguments}", *errors)
        self.assertEqual(self.secrets(), before)

    def test_a_volume_that_exists_stays(self):
        self.told(f"vol-create {_POOL} twice 1M")
        before = self.machine.read(self.path("twice"))
        self.assert_fails(f"vol-create {_POOL} twice 1M", "Failed to create vol twice",
                          "storage volume 'twice' exists already")
        self.assertEqual(self.machine.read(self.path("twice")), before)


class Show(virtcrypt.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, image_format in (("a", "raw"), ("b", "qcow2")):
            cls.machine.run([virtcrypt.PROGRAM, "vol-create", _POOL, name, "10M", "--format",
                             image_format]).check()

    def virsh(self, line):
        return self.machine.virsh(*line.split()).check().stdout

    def test_what_virsh_prints_is_printed(self):
        for line in ("vol-path a {}", "vol-path --pool {} --vol b", "vol-list {}",
                     "vol-path /var/lib/libvirt/images/pool/a", "-q vol-list {}"):
            with self.subTest(line):
                line = line.format(_POOL)
                self.assertEqual(self.told(line), self.virsh(line))

    def test_information_begins_as_virshs(self):
        for line in ("vol-info a {}", "vol-info b {} --bytes", "vol-info b {} --physical --bytes"):
            with self.subTest(line):
                line = line.format(_POOL)
                theirs = self.virsh(line).rstrip("\n").splitlines()
                self.assertEqual(self.told(line).splitlines()[:len(theirs)], theirs)

    def test_errors_are_virshs(self):
        for line in (f"vol-info nosuch {_POOL}", "vol-info nosuch",
                     "vol-path", f"vol-list {_POOL} x y", "vol-info a --nosuch",
                     f"vol-resize a 1Q {_POOL}"):
            with self.subTest(line):
                theirs = self.machine.virsh(*line.split())
                ours = self.ours(*line.split())
                self.assertEqual(ours.returncode, theirs.returncode)
                self.assertEqual(ours.stderr.splitlines()[0], theirs.stderr.splitlines()[0])

    def test_the_list_of_all_pools_names_the_pool(self):
        self.assertRegex(self.told("vol-list"), rf"\A Pool +Name +Path\n-+\n {_POOL} +a +"
                         rf"{self.path('a')}\n {_POOL} +b +{self.path('b')}\n\n\Z")

    def test_details_tell_the_encryption(self):
        self.assertRegex(self.told(f"vol-list {_POOL} --details"),
                         r"\n a +\S+ +file +10\.00 MiB +\S+ \S+ +raw +- +-\n")

    def test_the_list_is_there_as_json(self):
        listed = json.loads(self.told(f"vol-list {_POOL} --json"))
        self.assertEqual([(volume["name"], volume["encryption"]) for volume in listed],
                         [("a", "raw"), ("b", "qcow2")])
        self.assertNotIn("capacity", listed[0])
        detailed = json.loads(self.told("vol-list --json --details"))
        self.assertEqual(detailed[0], self.info("a"))

    def test_a_part_of_the_xml_can_be_picked(self):
        self.assertEqual(self.told(f"vol-dumpxml a {_POOL} --xpath //name"), "<name>a</name>\n\n")

    def test_a_readonly_connection_changes_nothing(self):
        self.assertIn("Name:", self.told(f"-r vol-info a {_POOL}"))
        self.assert_fails(f"-r vol-delete a {_POOL}", "Failed to delete vol a")
        self.assertIn("Name:", self.told(f"vol-info a {_POOL}"))

    def test_both_daemons_have_a_state(self):
        state = json.loads(self.told("host-status --json"))
        self.assertEqual(state["virtcryptd"]["volumes"], 2)
        self.assertFalse(state["virtcrypt-secretd"]["locked"])
        self.assertIn("virtcryptd: 2 volumes", self.told("host-status"))


class NobodyThere(unittest.TestCase):
    def test_what_to_start_is_said(self):
        with host.Host() as machine:
            done = machine.run([virtcrypt.PROGRAM, "vol-list"])
            self.assertEqual((done.returncode, done.stderr), (1, (
                "error: failed to connect to the hypervisor\nerror: Failed to connect socket to "
                "'/run/libvirt/virtcryptd-sock': No such file or directory\nerror: virtcryptd does "
                "not run; start it by 'systemctl start virtcryptd.socket'\n")))

    def test_a_host_with_one_daemon_is_not_well(self):
        with host.Host() as machine:
            machine.start_secretd()
            done = machine.run([virtcrypt.PROGRAM, "host-status"])
            self.assertEqual(done.returncode, 1)
            self.assertIn("virtcrypt-secretd: master key unlocked", done.stdout)
            self.assertIn("virtcryptd: not available", done.stdout)

    def test_the_socket_of_the_other_daemon_is_refused(self):
        with host.Host() as machine:
            done = machine.run([virtcrypt.PROGRAM, "-c",
                                f"secret:///system?socket={host.SECRETD_SOCKET}", "vol-list"])
            self.assertEqual(done.returncode, 1)
            self.assertIn("is that of virtcrypt-secretd, but the command is for virtcryptd",
                          done.stderr)


if __name__ == "__main__":
    taptest.main()
