#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stock virsh on encrypted images in a dir pool, through libvirtd with the connectors."""

import os

import host
import taptest
import volumes

_POOL = volumes.POOL


class _Images:
    """Of one format."""

    image_format = None

    def make(self, name, **options):
        self.create(name, self.image_format, **options)
        return f"{volumes.TARGET}/{name}"

    # ---- what is made ----

    def test_vol_create_makes_an_encrypted_volume_with_a_key_of_its_own(self):
        path = self.make("made")
        self.assert_encrypted(path, self.image_format)
        key = volumes.key_of(self.machine, self.secret("made"))
        self.assertRegex(key, rb"^[-_A-Za-z0-9]{43}$")
        self.assertEqual(len(self.read_image("made", self.image_format)), 4 * volumes.MIB)

    def test_vol_create_with_a_secret_uses_that(self):
        uuid = "6f0b6f3c-51b6-4e2e-8f5b-27e3f9b4a5d" + ("1" if self.image_format == "raw" else "2")
        self.machine.write("/run/secret.xml", (
            f"<secret private='yes'><uuid>{uuid}</uuid><usage type='volume'><volume>/given/"
            f"{self.image_format}</volume></usage></secret>"))
        self.virsh("secret-define", "/run/secret.xml")
        self.machine.virsh("secret-set-value", uuid, "--plain", "--file", "/dev/stdin",
                           input=b"a person's passphrase", text=False).check()
        self.make("given", encryption=f"<encryption format='luks'><secret type='passphrase' "
                                      f"uuid='{uuid}'/></encryption>")
        self.assertEqual(self.secret("given"), uuid)
        self.assertEqual(len(self.read_image("given", self.image_format)), 4 * volumes.MIB)
        self.virsh("vol-delete", "given", _POOL)
        self.assertIn(uuid, self.secrets())

    def test_vol_create_of_a_name_that_is_taken_is_refused_and_changes_nothing(self):
        path = self.make("taken")
        before = self.machine.read(path)
        self.assertIn("exist", self.refused("vol-create", _POOL, "/run/taken.xml"))
        self.assertEqual(self.machine.read(path), before)

    def test_vol_create_of_clear_under_the_name_of_an_encrypted_volume_is_refused(self):
        path = self.make("held")
        self.assertIn("exist", self.refused("vol-create-as", _POOL, "held", "1M"))
        self.assert_encrypted(path, self.image_format)

    def test_a_refused_creation_leaves_nothing(self):
        before = self.secrets()
        self.machine.write("/run/bad.xml", volumes.volume_xml(
            "bad", self.image_format, encryption="<encryption format='luks'><cipher name='rot' "
                                                 "size='13'/></encryption>"))
        self.refused("vol-create", _POOL, "/run/bad.xml")
        self.assertNotIn("bad", self.names())
        self.assertFalse(self.machine.exists(f"{volumes.TARGET}/bad"))
        self.assertEqual(self.secrets(), before)

    # ---- what is seen ----

    def test_lists_names_and_lookups_agree(self):
        path = self.make("seen")
        self.assertIn("seen", self.names())
        self.assertEqual(self.virsh("vol-path", "seen", _POOL).strip(), path)
        self.assertEqual(self.virsh("vol-name", path).strip(), "seen")
        self.assertEqual(self.virsh("vol-pool", path).strip(), _POOL)
        self.assertEqual(self.virsh("vol-key", "seen", _POOL).strip(), path)

    def test_vol_info_tells_the_size_that_a_guest_sees(self):
        self.make("sized")
        info = self.virsh("vol-info", "sized", _POOL, "--bytes")
        self.assertIn("Type:           file", info)
        self.assertRegex(info, rf"Capacity: +{4 * volumes.MIB} bytes")

    def test_the_xml_names_the_secret_once(self):
        self.make("told")
        encryption = self.element("told", "./target/encryption")
        self.assertEqual(encryption.get("format"), "luks")
        self.assertEqual(len(encryption.findall("secret")), 1)
        self.assertEqual(self.dump("told").count("<encryption"), 1)

    def test_a_volume_made_without_libvirtd_is_known_to_it(self):
        self.machine.write("/run/aside.xml", volumes.volume_xml("aside", self.image_format))
        self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "vol-create", _POOL,
                          "/run/aside.xml"]).check()
        self.assertIn("aside", self.names())
        self.assertIn("Capacity", self.virsh("vol-info", "aside", _POOL))

    # ---- what is changed ----

    def test_vol_resize_grows_what_a_guest_sees(self):
        self.make("grown")
        self.virsh("vol-resize", "grown", "8M", "--pool", _POOL)
        self.assertRegex(self.virsh("vol-info", "grown", _POOL, "--bytes"),
                         rf"Capacity: +{8 * volumes.MIB} bytes")
        self.assertEqual(len(self.read_image("grown", self.image_format)), 8 * volumes.MIB)

    def test_vol_wipe_leaves_nothing_of_the_content(self):
        path = self.make("wiped")
        content = os.urandom(65536)
        self.write_image("wiped", self.image_format, content)
        key = volumes.key_of(self.machine, self.secret("wiped"))
        old = self.machine.read(path)
        self.virsh("vol-wipe", "wiped", _POOL)
        done = self.machine.run(["qemu-img", "convert", "--object",
                                 "secret,id=key,file=/dev/stdin", "--image-opts",
                                 volumes.options(path, self.image_format), "-O", "raw",
                                 "/run/wiped.clear"], input=key, text=False)
        if done.returncode == 0:
            self.assertFalse(content[:512] in self.machine.read("/run/wiped.clear"))
        self.assertFalse(self.machine.read(path) == old)

    def test_vol_delete_takes_file_record_and_key(self):
        path = self.make("gone")
        uuid = self.secret("gone")
        self.virsh("vol-delete", "gone", _POOL)
        self.assertFalse(self.machine.exists(path))
        self.assertFalse(self.machine.exists(f"{volumes.RECORDS}/{_POOL}/gone.xml"))
        self.assertNotIn(uuid, self.secrets())
        self.assertNotIn("gone", self.names())

    def test_a_deleted_volume_can_be_made_again_with_another_key(self):
        self.make("again")
        first = self.secret("again")
        self.virsh("vol-delete", "again", _POOL)
        self.make("again")
        self.assertNotEqual(self.secret("again"), first)

    # ---- what is copied ----

    def test_vol_clone_is_encrypted_with_the_same_secret(self):
        self.make("original")
        content = os.urandom(65536)
        self.write_image("original", self.image_format, content)
        self.virsh("vol-clone", "original", "copy", "--pool", _POOL)
        self.assert_encrypted(f"{volumes.TARGET}/copy", self.image_format)
        self.assertEqual(self.secret("copy"), self.secret("original"))
        self.assertEqual(self.read_image("copy", self.image_format)[:65536], content)

    def test_vol_create_from_without_encryption_is_encrypted_all_the_same(self):
        self.make("source")
        content = os.urandom(65536)
        self.write_image("source", self.image_format, content)
        self.create("derived", "raw", encryption="",
                    command=("vol-create-from", _POOL, "--inputpool", _POOL, "source"))
        self.assert_encrypted(f"{volumes.TARGET}/derived", "raw")
        self.assertEqual(self.read_image("derived", "raw", self.secret("source"))[:65536], content)

    def test_a_clone_of_a_clear_volume_is_encrypted_if_its_xml_says_so(self):
        self.virsh("vol-create-as", _POOL, "clear", "4M")
        self.machine.write(f"{volumes.TARGET}/clear", b"in clear".ljust(4 * volumes.MIB, b"\0"))
        self.create("covered", self.image_format,
                    command=("vol-create-from", _POOL, "--inputpool", _POOL, "clear"))
        self.assert_encrypted(f"{volumes.TARGET}/covered", self.image_format)
        self.assertTrue(self.read_image("covered", self.image_format).startswith(b"in clear"))

    def test_deleting_one_of_two_volumes_with_a_secret_keeps_the_secret(self):
        self.make("first")
        uuid = self.secret("first")
        self.virsh("vol-clone", "first", "second", "--pool", _POOL)
        self.virsh("vol-delete", "first", _POOL)
        self.assertIn(uuid, self.secrets())
        self.assertEqual(len(self.read_image("second", self.image_format)), 4 * volumes.MIB)

    def test_vol_download_and_vol_upload_are_of_the_container(self):
        path = self.make("moved")
        content = os.urandom(65536)
        self.write_image("moved", self.image_format, content)
        self.virsh("vol-download", "moved", "/run/moved.saved", "--pool", _POOL)
        self.assertEqual(self.machine.read("/run/moved.saved"), self.machine.read(path))
        self.write_image("moved", self.image_format, os.urandom(65536))
        self.virsh("vol-upload", "moved", "/run/moved.saved", "--pool", _POOL)
        self.assertTrue(self.read_image("moved", self.image_format).startswith(content))


class Pools(volumes.VolumeCase):
    def test_a_policy_encrypts_what_is_made_without_a_word_of_encryption(self):
        target = "/var/lib/libvirt/images/marked"
        volumes.define_pool(self.machine, "marked", target, "0e7c6c1e-6b0f-4c3c-9d3c-5d8f4d2e7a12")
        self.machine.run([os.path.join(host.BUILD_ROOT, "tools/virtcrypt"), "pool-policy", "marked",
                          "--encrypt", "luks"]).check()
        self.virsh("vol-create-as", "marked", "disk", "4M", "--format", "qcow2")
        self.assert_encrypted(f"{target}/disk", "qcow2")
        self.assertIsNotNone(self.secret("disk", "marked"))
        # What makes a volume and then uploads to it would leave clear text there.
        self.machine.write("/run/clear", b"in clear")
        self.assertIn("would replace the encrypted container", self.refused(
            "vol-upload", "disk", "/run/clear", "--pool", "marked"))
        self.assert_encrypted(f"{target}/disk", "qcow2")
        self.virsh("vol-delete", "disk", "marked")

    def test_a_clone_goes_from_pool_to_pool(self):
        target = "/var/lib/libvirt/images/other"
        volumes.define_pool(self.machine, "other", target, "0e7c6c1e-6b0f-4c3c-9d3c-5d8f4d2e7a13")
        self.create("here", "qcow2")
        self.machine.write("/run/there.xml", volumes.volume_xml("there", "qcow2", encryption=""))
        self.virsh("vol-create-from", "other", "/run/there.xml", "here", "--inputpool", _POOL)
        self.assert_encrypted(f"{target}/there", "qcow2")
        self.assertEqual(self.secret("there", "other"), self.secret("here"))

    def test_a_clone_of_an_encrypted_volume_that_nobody_knows_the_key_of_is_refused(self):
        path = f"{volumes.TARGET}/foreign"
        self.machine.write(path, b"")
        os.truncate(self.machine.path(path), 4 << 20)
        self.machine.run(["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks1",
                          "--pbkdf-force-iterations", "1000", "--key-file", "-", path],
                         input=b"whoever's key", text=False).check()
        self.virsh("pool-refresh", _POOL)
        self.assertIn("vol-adopt", self.refused("vol-clone", "foreign", "copy", "--pool", _POOL))
        self.assertFalse(self.machine.exists(f"{volumes.TARGET}/copy"))

    def test_calls_from_many_clients_at_a_time_do_not_meet(self):
        for number in range(8):
            self.machine.write(f"/run/many{number}.xml", volumes.volume_xml(
                f"many{number}", ("raw", "qcow2")[number % 2]))
        clients = [self.machine.popen(["sh", "-c", (
            f"virsh -q -c qemu:///system vol-create {_POOL} /run/many{number}.xml && "
            f"virsh -q -c qemu:///system vol-dumpxml many{number} {_POOL} && "
            f"virsh -q -c qemu:///system vol-delete many{number} {_POOL}")], stdout=-1, stderr=-1,
            text=True) for number in range(8)]
        for client in clients:
            out, err = client.communicate(timeout=120 * host.PATIENCE)
            self.assertEqual(client.returncode, 0, err)
            self.assertIsNotNone(volumes.secret_of(out))


class Qcow2(_Images, volumes.VolumeCase):
    image_format = "qcow2"


class Raw(_Images, volumes.VolumeCase):
    image_format = "raw"


if __name__ == "__main__":
    taptest.main()
