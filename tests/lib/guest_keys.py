# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cases about what becomes of guests' keys: guests.Case with volumes whose keys are generated, and with
settings of virtcryptd's for a whole class."""

import re

import guests
import host
import residue
import volumes

POOL = volumes.POOL
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Where daemons and libvirt write.
_WRITTEN = ("/etc/libvirt", "/run", "/var/lib", "/var/cache", "/var/log")


class Case(guests.Case):
    config = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.libvirtd = next(daemon for daemon in cls.machine.daemons if daemon.name == "libvirtd")
        if cls.config:
            cls.virtcryptd.stop_in_order()
            cls.start_virtcryptd()

    @classmethod
    def start_virtcryptd(cls):
        cls.virtcryptd = cls.machine.start_virtcryptd(cls.config)

    @classmethod
    def start_libvirtd(cls):
        cls.libvirtd = cls.machine.start_libvirtd(connector=True)

    # ---- volumes, secrets and guests ----

    def volume(self, name):
        """A qcow2 volume with a key of its own: (path, secret)."""
        self.told(f"vol-create {POOL} {name} 4M --format qcow2")
        return self.path(name), self.info(name)["secret"]

    def secret(self, key=guests.KEY):
        """One with a value that virtcrypt did not make: its uuid."""
        self.machine.write("/run/t/secret.xml", "<secret private='yes'/>")
        uuid = UUID.search(self.virsh("secret-define", "/run/t/secret.xml")).group(0)
        self.machine.write("/run/t/value", key)
        self.told(f"secret-set-value {uuid} --file /run/t/value --plain")
        return uuid

    def virsh(self, *arguments):
        return self.machine.virsh(*arguments).check().stdout

    def define(self, name, paths, uuid=None, secrets=None, image_format="qcow2"):
        """By stock virsh: a guest with those disks and with the secrets of their volumes. Its uuid."""
        secrets = secrets or [self.info(path.rsplit("/", 1)[1])["secret"] for path in paths]
        xml = self.define_file(name, [
            ("vd" + "abcdef"[number], path, image_format, secret)
            for number, (path, secret) in enumerate(zip(paths, secrets))], uuid=uuid)
        self.virsh("define", xml)
        self.addCleanup(self.forget, name)
        return self.uuid_of(name)

    def sent(self, name, key=guests.KEY):
        """A guest that was defined with the key of its disk: (path, secret)."""
        path = self.luks(name, key)
        xml = self.define_file(name, [("vda", path, "raw", None)])
        told = self.told(f"guest-define {xml} --key vda=-", input=key + "\n")
        self.addCleanup(self.forget, name)
        return path, UUID.search(told).group(0)

    def start(self, name):
        self.virsh("start", name)

    # ---- what becomes of keys ----

    def key(self, uuid, secret):
        """What key-list says of it, or None."""
        return next((key for key in self.objects(f"key-list --guest {uuid} --json")
                     if key["secret"] == secret), None)

    def look(self):
        """Until virtcryptd has looked at all guests once more."""
        self.virtcryptd.stop_in_order()
        self.start_virtcryptd()
        host.wait_for(lambda: self.objects("host-status --json")["virtcryptd"]["guests"]["connected"],
                      "libvirt is watched")

    def wait_until_owned(self, uuid, secret):
        host.wait_for(lambda: secret in self.copies_of(uuid), f"guest {uuid} owns secret {secret}")

    def wait_for_state(self, uuid, secret, state):
        host.wait_for(lambda: (self.key(uuid, secret) or {}).get("state") == state,
                      f"secret {secret} of guest {uuid} is {state}: {self.key(uuid, secret)}")

    def wait_until_erased(self, uuid, secret):
        host.wait_for(lambda: secret not in self.copies_of(uuid), f"secret {secret} is erased")
        # The last of its files goes before the daemon, which writes the audit in between, knows it.
        host.wait_for(lambda: secret not in self.secrets(), f"secret {secret} is listed no more")
        for name in (f"/etc/libvirt/secrets/{secret}.xml", f"/etc/libvirt/secrets/{secret}.key",
                     f"/etc/libvirt/qemu/keys/{uuid}"):
            self.assertFalse(self.machine.exists(name), name)

    def assert_audited(self, secret, event="erase"):
        lines = self.objects(f"audit --verify --json --secret {secret}")
        self.assertIn(event, [line["event"] for line in lines])

    def search(self, key, memory=True):
        """Copies of a key in the host's files and in its daemons' memory."""
        found = residue.Search(key.encode())
        for folder in _WRITTEN:
            found.folder(self.machine.path(folder))
        if memory:
            for daemon in (self.secretd, self.virtcryptd, self.libvirtd):
                found.memory(daemon.pid)
        return found
