#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls of virtcryptd, with virtcrypt-secretd beside it: what is answered, and what is refused
to clients that ask for too much, for what is not theirs, or for nonsense."""

import os
import struct
import time
import unittest

import host
import taptest
import volumecalls
import wire
from volumecalls import Client, Volume, ref, xml

POOL, FOLDER = "default", "/var/lib/libvirt/images"
NOBODY = 65534


class VolumeCase(unittest.TestCase):
    """One host for a class. Each test finds no volume and leaves none."""

    # Of virtcryptd.
    environment = None

    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        cls.secretd = cls.machine.start_secretd()
        cls.addClassCleanup(cls.secretd.stop_in_order)
        cls.start_daemon()
        cls.addClassCleanup(lambda: cls.daemon.stop_in_order())
        cls.machine.write_pool(POOL, FOLDER)

    @classmethod
    def start_daemon(cls):
        cls.daemon = cls.machine.start_virtcryptd(env=cls.environment)

    def setUp(self):
        self.client = self.connect()
        self.addCleanup(self.expect_no_trace)

    def connect(self, path=host.VIRTCRYPTD_SOCKET):
        client = Client(self.machine.path(path))
        self.addCleanup(client.close)
        return client.open()

    def expect_no_trace(self):
        with Client(self.machine.path(host.VIRTCRYPTD_SOCKET)).open() as client:
            for volume in client.volumes():
                client.finish(client.delete(volume.pool, volume.name))
        self.assertEqual(self.files(FOLDER), [])
        self.assertEqual(self.files("/etc/libvirt/secrets"), [])

    def files(self, folder):
        return sorted(os.listdir(self.machine.path(folder)))

    def assert_error(self, reply, code, text, domain=volumecalls.FROM_STORAGE):
        error = reply.error()
        self.assertEqual((error.code, error.domain), (code, domain), error)
        self.assertIn(text, error.message)


class Answers(VolumeCase):
    def test_a_volume_is_made_with_a_key_of_its_own(self):
        made = self.client.created(POOL, xml("a.qcow2"))
        self.assertEqual((made.pool, made.name, made.path), (POOL, "a.qcow2", FOLDER + "/a.qcow2"))
        self.assertEqual((made.kind, made.is_generated, made.is_open, made.state),
                         (0, True, False, None))
        self.assertEqual(len(self.files("/etc/libvirt/secrets")), 2)
        self.assertEqual(self.files(FOLDER), ["a.qcow2"])

    def test_it_is_found_by_name_and_by_path(self):
        made = self.client.created(POOL, xml("a.raw", kind="raw"))
        self.assertEqual(Volume.read(self.client.get(POOL, "a.raw").reader()), made)
        found = self.client.ask(volumecalls.GET_BY_PATH, wire.string(made.path))
        self.assertEqual(Volume.read(found.reader()), made)

    def test_it_is_described(self):
        self.client.created(POOL, xml("a.qcow2", mib=16))
        text = self.client.ask(volumecalls.GET_XML_DESC,
                               ref(POOL, "a.qcow2") + wire.uint32(0)).reader().string()
        self.assertIn("<capacity unit='bytes'>16777216</capacity>", text)
        self.assertIn("<secret type='passphrase' uuid='", text)
        reader = self.client.ask(volumecalls.GET_INFO,
                                 ref(POOL, "a.qcow2") + wire.uint32(1)).reader()
        self.assertEqual((reader.int32(), reader.uint64()), (0, 16777216))
        self.assertGreater(reader.uint64(), 0)
        self.assertGreater(reader.uint64(), 0)

    def test_deleting_it_deletes_its_secret(self):
        self.client.created(POOL, xml("a.qcow2"))
        self.client.finish(self.client.delete(POOL, "a.qcow2"))
        self.assertEqual(self.files("/etc/libvirt/secrets"), [])
        self.assert_error(self.client.get(POOL, "a.qcow2"), volumecalls.ERR_NO_VOL, "a.qcow2")

    def test_volumes_are_listed_by_pages(self):
        names = [f"v{n}.raw" for n in range(5)]
        for name in reversed(names):
            self.client.created(POOL, xml(name, mib=4, kind="raw"))
        for most in (1, 2, 4, 5, 6, 1000):
            with self.subTest(most=most):
                self.assertEqual([volume.name for volume in self.client.volumes(POOL, most)], names)
        self.assertEqual(self.client.volumes("elsewhere"), [])

    def test_the_daemon_tells_its_state(self):
        self.client.created(POOL, xml("a.qcow2"))
        version, pid, volumes, pending, clients, custodian = self.client.status()
        self.assertRegex(version, r"^\d+\.\d+\.\d+$")
        self.assertEqual((pid, volumes, pending), (self.daemon.pid, 1, 0))
        self.assertGreaterEqual(clients, 1)
        # It is asked with a bound of two seconds, within which a busy machine may not answer.
        if custodian is not None:
            host.wait_for(lambda: self.client.status()[5] is None, f"no word of: {custodian}")

    def test_the_policy_of_a_pool_is_kept(self):
        def policy():
            return self.client.ask(volumecalls.POOL_POLICY, wire.string(POOL)).reader().string()
        self.assertEqual(policy(), "none")
        for wanted in ("luks", "none"):
            self.client.ask(volumecalls.SET_POOL_POLICY,
                            wire.string(POOL) + wire.string(wanted)).reader()
            self.assertEqual(policy(), wanted)
        self.assert_error(self.client.ask(volumecalls.SET_POOL_POLICY,
                                          wire.string(POOL) + wire.string("rot13")),
                          volumecalls.ERR_INVALID_ARG, "'rot13' is no policy")

    def test_what_is_encrypted_is_wanted_and_what_is_not_is_left_to_libvirt(self):
        for encryption, wanted in (("<encryption format='luks'/>", 1), ("", 0)):
            reply = self.client.ask(volumecalls.WANTS, wire.string(POOL)
                                    + wire.string(xml("a", encryption=encryption))
                                    + wire.optional(None) + wire.uint32(0))
            self.assertEqual(reply.reader().uint32(), wanted)


@unittest.skipIf(host.PATIENCE > 1, "a minute of processor time with sanitizers")
class Strong(VolumeCase):
    environment = {"LD_PRELOAD": ""}

    def test_a_key_that_a_person_typed_makes_a_job_that_takes_longer_than_a_second(self):
        """Its keyslot has the strong cost."""
        began = time.monotonic()
        job = volumecalls.Job.read(self.client.create(POOL, xml("a.raw", kind="raw"),
                                                      key=b"correct horse").reader())
        self.assertFalse(job.is_done)
        self.assertLess(time.monotonic() - began, 20 * host.PATIENCE)
        reply = self.client.ask(volumecalls.JOB_WAIT, wire.uint64(job.number))
        volume = self.client.finish(reply).volume
        self.assertFalse(volume.is_generated)


class Refusals(VolumeCase):
    def test_other_uris_are_refused(self):
        for uri, text in (("secret:///system", "secret:///system"),
                          ("storage:///session", "try storage:///system"),
                          ("storage://host/system", "storage://host/system")):
            client = wire.Connection(self.machine.path(host.VIRTCRYPTD_SOCKET))
            self.addCleanup(client.close)
            client.call(wire.AUTH_LIST).reader()
            error = client.call(wire.OPEN, wire.optional(wire.string(uri)) + wire.uint32(0)).error()
            self.assertIn(text, error.message)

    def test_read_only_clients_can_look_and_change_nothing(self):
        self.client.created(POOL, xml("a.qcow2"))
        looker = self.connect(host.VIRTCRYPTD_SOCKET_RO)
        self.assertEqual(len(looker.volumes()), 1)
        looker.get(POOL, "a.qcow2").reader()
        self.assertEqual(looker.status()[2], 1)
        for procedure, payload in (
                (volumecalls.CREATE, volumecalls.create_args(POOL, xml("b"))),
                (volumecalls.DELETE, ref(POOL, "a.qcow2") + wire.uint32(0)),
                (volumecalls.REKEY, ref(POOL, "a.qcow2") + wire.uint32(0)),
                (volumecalls.OPEN, volumecalls.open_args(POOL, "a.qcow2")),
                (volumecalls.GUEST_PREPARE, wire.string("<domain/>")),
                (volumecalls.GUEST_RELEASE, bytes(16)),
                (volumecalls.JOB_CANCEL, wire.uint64(1)),
                (volumecalls.SET_POOL_POLICY, wire.string(POOL) + wire.string("luks"))):
            self.assert_error(looker.ask(procedure, payload), volumecalls.ERR_DENIED,
                              "read only access prevents")

    def test_who_has_not_authenticated_gets_nothing(self):
        """There is no polkit in this host: only root is let in."""
        stranger = self.connect_as(NOBODY)
        self.assertEqual(stranger.call(wire.AUTH_LIST).payload, wire.uint32(1) + wire.uint32(2))
        for procedure, payload in ((volumecalls.STATUS, b""),
                                   (volumecalls.CREATE, volumecalls.create_args(POOL, xml("b")))):
            reply = stranger.call(procedure, payload, program=volumecalls.PROGRAM)
            self.assert_error(reply, 39, "authentication required", domain=7)

    def connect_as(self, user):
        """The kernel notes the effective user; only root can reach the folder by its full name."""
        path = self.machine.path(host.VIRTCRYPTD_SOCKET)
        before = os.getcwd()
        os.chdir(os.path.dirname(path))
        os.seteuid(user)
        try:
            client = wire.Connection(os.path.basename(path))
        finally:
            os.seteuid(0)
            os.chdir(before)
        self.addCleanup(client.close)
        return client

    def test_lengths_beyond_the_bounds_are_refused(self):
        for payload, text in (
                (volumecalls.create_args(POOL, xml("a"), key=bytes(65537)), "above the maximum"),
                (wire.string(POOL) + wire.uint32(0x7fffffff) + bytes(64), "virtcrypt_volume"),
                (wire.uint32(0xffffffff), "virtcrypt_volume")):
            self.assert_error(self.client.ask(volumecalls.CREATE, payload), 39, text, domain=7)
        for most in (0, 1001, 0xffffffff):
            self.assert_error(self.client.page(most=most), volumecalls.ERR_INVALID_ARG,
                              "it is 1 to 1000")

    def test_unknown_flags_are_refused(self):
        self.assert_error(self.client.create(POOL, xml("a"), flags=1 << 19),
                          volumecalls.ERR_INVALID_ARG, "unsupported flags (0x80000) of create")
        self.assert_error(self.client.ask(volumecalls.DELETE, ref(POOL, "a") + wire.uint32(1)),
                          volumecalls.ERR_INVALID_ARG, "unsupported flags (0x1) of delete")

    def test_names_that_leave_the_folder_of_records_are_refused(self):
        for pool, name in (("..", "secrets"), (POOL, "../../secrets/x"), ("a/b", "c"), ("", "")):
            for procedure in (volumecalls.GET, volumecalls.DELETE, volumecalls.GET_INFO):
                reply = self.client.ask(procedure, ref(pool, name) + wire.uint32(0))
                self.assertEqual(reply.error().domain in (5, volumecalls.FROM_STORAGE), True, reply)

    def test_what_is_no_dm_crypt_volume_can_not_be_opened(self):
        self.client.created(POOL, xml("a.qcow2"))
        self.assert_error(self.client.ask(volumecalls.OPEN, volumecalls.open_args(POOL, "a.qcow2")),
                          volumecalls.ERR_OPERATION_INVALID, "is no dm-crypt volume")
        guest = wire.string("g") + bytes(16) + wire.int32(-1)
        self.assert_error(
            self.client.ask(volumecalls.OPEN, volumecalls.open_args(POOL, "a.qcow2", guest, True)),
            volumecalls.ERR_INVALID_ARG, "for a guest or for a transfer")

    def test_calls_without_waiting_for_answers_have_a_limit_and_hinder_nobody(self):
        count = 150
        for serial in range(count):
            self.client.post(volumecalls.STATUS, serial=serial)
        began = time.monotonic()
        self.connect().status()
        self.assertLess(time.monotonic() - began, 10 * host.PATIENCE)
        replies = [self.client.reply() for _ in range(count)]
        refused = [reply for reply in replies if reply.status]
        self.assertLess(len(refused), count)
        for reply in refused:
            self.assert_error(reply, volumecalls.ERR_BUSY, "calls under way")


class Jobs(VolumeCase):
    # A job for a typed key takes about a second.
    environment = {"SLOWER": "8"}

    def wait_until_idle(self):
        def is_idle():
            with Client(self.machine.path(host.VIRTCRYPTD_SOCKET)).open() as client:
                return client.status()[3] == 0
        host.wait_for(is_idle, "nothing is half done")

    def test_a_job_of_others_is_unknown(self):
        job = volumecalls.Job.read(self.client.create(POOL, xml("a.raw", kind="raw"),
                                                      key=b"correct horse").reader())
        other = self.connect()
        for procedure in (volumecalls.JOB_WAIT, volumecalls.JOB_CANCEL):
            self.assert_error(other.ask(procedure, wire.uint64(job.number)),
                              volumecalls.ERR_INVALID_ARG, f"no job {job.number}")
        # One that ended before its first answer is known to nobody any more.
        if not job.is_done:
            self.client.finish(self.client.ask(volumecalls.JOB_WAIT, wire.uint64(job.number)))

    def test_a_job_whose_client_goes_leaves_a_whole_volume_or_nothing(self):
        for pause in (0, 0.05, 0.5, 1.2):
            with self.subTest(pause=pause):
                client = Client(self.machine.path(host.VIRTCRYPTD_SOCKET)).open()
                client.post(volumecalls.CREATE, volumecalls.create_args(
                    POOL, xml("a.raw", kind="raw"), key=b"correct horse"))
                time.sleep(pause)
                client.close()
                self.wait_until_idle()
                host.wait_for(lambda: self.is_consistent(), "a whole volume or nothing")
                for volume in self.client.volumes():
                    self.client.finish(self.client.delete(volume.pool, volume.name))

    def is_consistent(self):
        count = len(self.client.volumes())
        return (len(self.files(FOLDER)), len(self.files("/etc/libvirt/secrets"))) in (
            ((0, 0),) if count == 0 else ((1, 2),))

    def test_a_terminated_daemon_cancels_its_jobs_and_ends_in_order(self):
        self.client.post(volumecalls.CREATE, volumecalls.create_args(
            POOL, xml("a.raw", kind="raw"), key=b"correct horse"))
        time.sleep(0.2)
        began = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - began, 20 * host.PATIENCE)
        self.start_daemon()
        self.client = self.connect()
        self.assertTrue(self.is_consistent())

    def test_a_killed_daemon_leaves_nothing_half_made(self):
        self.client.post(volumecalls.CREATE, volumecalls.create_args(
            POOL, xml("a.raw", kind="raw"), key=b"correct horse"))
        time.sleep(0.5)
        self.daemon.kill()
        self.start_daemon()
        self.client = self.connect()
        host.wait_for(self.is_consistent, "a whole volume or nothing")

    def test_bytes_that_are_no_message_end_the_connection_alone(self):
        for raw in (struct.pack(">I", 0xffffffff), struct.pack(">I", 4), b"\0" * 64):
            with wire.Connection(self.machine.path(host.VIRTCRYPTD_SOCKET)) as client:
                client.send(raw)
                self.assertTrue(client.is_closed())
        self.client.status()


class Custodian(VolumeCase):
    def test_without_the_custodian_what_needs_no_key_works_and_the_rest_says_what_to_do(self):
        self.client.created(POOL, xml("a.qcow2"))
        self.assertEqual(self.secretd.stop(), 0)
        try:
            self.assertEqual(len(self.client.volumes()), 1)
            self.assertIn("systemctl start virtcrypt-secretd", self.client.status()[5])
            self.assert_error(self.client.create(POOL, xml("b.qcow2")),
                              volumecalls.ERR_OPERATION_FAILED, "systemctl start virtcrypt-secretd")
            self.assertEqual(self.files(FOLDER), ["a.qcow2"])
        finally:
            type(self).secretd = self.machine.start_secretd()
        self.client.created(POOL, xml("b.qcow2"))

    def test_a_daemon_that_starts_before_its_custodian_says_so_and_serves(self):
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.secretd.stop(), 0)
        try:
            self.start_daemon()
            host.wait_for(lambda: "can be made or opened now" in self.daemon.log_text(),
                          "it warns")
            self.client = self.connect()
            self.assertEqual(self.client.volumes(), [])
        finally:
            type(self).secretd = self.machine.start_secretd()
        self.client.created(POOL, xml("a.qcow2"))


if __name__ == "__main__":
    taptest.main()
