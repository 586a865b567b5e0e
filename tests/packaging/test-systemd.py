#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The units under a real systemd: a second one boots, as the first process of namespaces of its own,
on an overlay of this machine's root in which virtcrypt is installed as the README says."""

import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import host
import taptest

BUILD_ROOT = os.environ["BUILD_ROOT"]

# What is written goes to a tmpfs and is gone with the last process.
_BOOT = r"""
set -e
mount -t tmpfs none "$1"
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
mount --rbind /sys root/sys
mount --rbind /dev root/dev
mount -t tmpfs none root/run
mount -t tmpfs none root/tmp
rm -rf root/etc/systemd/system/*.wants root/etc/libvirt root/etc/default/virtcrypt-secretd
echo uninitialized > root/etc/machine-id
cp -a "$2/." root/
chroot root systemd-sysusers virtcrypt.conf
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' > root/etc/systemd/system/alone.target
# As systemd has it on a host: credentials are mounted beside a service, and come to it that way.
mount --make-rshared root
export container=virtcrypt-test
exec chroot root /lib/systemd/systemd --unit=alone.target
"""

_SECRET = ("<secret ephemeral='no' private='no'><usage type='volume'><volume>/v/1</volume></usage>"
           "</secret>")

_POOL = ("<poolstate><pool type='dir'><name>pool</name>"
         "<uuid>11111111-2222-4333-8444-555555555555</uuid><source/>"
         "<target><path>/srv/pool</path></target></pool></poolstate>")


_KEY = "/etc/libvirt/virtcrypt/master.key"
# virtcryptd would ask every 2 s.
_POLLS_S = 5
_CREDENTIAL = "virtcrypt-master-key"
_CREDENTIAL_FILE = "/etc/credstore.encrypted/" + _CREDENTIAL


def _has_cgroups():
    return any(os.path.exists("/sys/fs/cgroup/" + name) for name in ("systemd", "cgroup.procs"))


class Booted:
    """The second systemd."""

    def __init__(self):
        self._folder = tempfile.mkdtemp(prefix="virtcrypt-systemd-")
        installed = os.path.join(self._folder, "installed")
        root = os.path.join(self._folder, "root")
        os.mkdir(root)
        subprocess.run(["meson", "install", "-C", BUILD_ROOT, "--no-rebuild", "--destdir",
                        installed], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
                       timeout=120)
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             "--cgroup", "--ipc", "--uts", "--net", "bash", "-c", _BOOT, "bash", root, installed],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        try:
            self._pid = host.wait_for(self._find_pid, "a process in the new namespaces")
            host.wait_for(lambda: self.run("systemctl", "is-active", "alone.target").stdout ==
                          "active\n", "systemd has booted", host.RUN_BOUND_S, 0.2)
        except BaseException:
            self.close()
            raise

    def _find_pid(self):
        path = f"/proc/{self._process.pid}/task/{self._process.pid}/children"
        with open(path, encoding="ascii") as file:
            children = file.read().split()
        if self._process.poll() is not None:
            raise host.HostError(f"the second systemd ended with {self._process.returncode}")
        return children[0] if children else None

    def run(self, *argv):
        """A command under that systemd."""
        return subprocess.run(
            ["nsenter", "--target", self._pid, "--mount", "--pid", "--ipc", "--uts", "--net",
             "--cgroup", "--root", "--wd", "--", *argv], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=host.RUN_BOUND_S,
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})

    def state(self, unit="virtcrypt-secretd.service"):
        return self.run("systemctl", "is-active", unit).stdout.strip()

    def close(self):
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)


@unittest.skipUnless(_has_cgroups(), "there are no control groups for a second systemd")
class Systemd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.booted = Booted()
        cls.addClassCleanup(cls.booted.close)
        cls.enabled = cls.booted.run("systemctl", "enable", "--now", "virtcrypt-secretd.socket",
                                     "virtcrypt-secretd.service", "virtcryptd.socket",
                                     "virtcryptd.service")

    def setUp(self):
        self.ok("systemctl", "start", "virtcrypt-secretd.socket", "virtcrypt-secretd.service",
                "virtcryptd.socket", "virtcryptd.service")

    def ok(self, *argv):
        done = self.booted.run(*argv)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def define(self):
        self.ok("sh", "-c", f'echo "{_SECRET}" > /tmp/secret.xml')
        shown = self.ok("virtcrypt", "secret-define", "/tmp/secret.xml")
        self.addCleanup(self.booted.run, "virtcrypt", "secret-undefine", shown.split()[1])
        return shown.split()[1]

    def test_what_the_readme_says_starts_the_daemon(self):
        self.assertEqual(self.enabled.returncode, 0, self.enabled.stdout)
        self.assertEqual(self.booted.state(), "active")
        self.assertIn("unlocked", self.ok("virtcrypt", "daemon-status"))

    def test_values_are_set_and_read_within_the_units_confinement(self):
        secret = self.define()
        self.ok("virtcrypt", "secret-set-value", secret, "--generate", "256")
        self.assertEqual(len(self.ok("virtcrypt", "-q", "secret-get-value", secret).strip()), 60)

    def test_it_runs_with_system_calls_filtered_and_few_capabilities(self):
        pid = self.ok("systemctl", "show", "--value", "-p", "MainPID",
                      "virtcrypt-secretd.service").strip()
        status = self.ok("cat", f"/proc/{pid}/status")
        self.assertRegex(status, r"(?m)^Seccomp:\s+2$")
        self.assertRegex(status, r"(?m)^NoNewPrivs:\s+1$")
        # CAP_IPC_LOCK is number 14.
        for name in ("CapPrm", "CapEff", "CapBnd"):
            self.assertRegex(status, rf"(?m)^{name}:\s+0000000000004000$")

    def test_it_runs_as_its_own_user_with_roots_files(self):
        pid = self.ok("systemctl", "show", "--value", "-p", "MainPID",
                      "virtcrypt-secretd.service").strip()
        uid = self.ok("id", "-u", "virtcrypt").strip()
        self.assertNotEqual(uid, "0")
        self.assertRegex(self.ok("cat", f"/proc/{pid}/status"),
                         rf"(?m)^Uid:\s+{uid}\s+{uid}\s+{uid}\s+0$")
        self.assertEqual(self.ok("find", "/etc/libvirt", "-not", "-user", "root"), "")

    def test_its_own_confinement_lacks_nothing(self):
        self.ok("systemctl", "restart", "virtcrypt-secretd.service")
        journal = self.ok("journalctl", "--no-pager", "-t", "virtcrypt-secretd")
        for text in ("stay open to this process", "it goes on as user", "cannot give up"):
            self.assertNotIn(text, journal)

    def test_what_virtcryptd_acts_upon_is_not_its_to_write(self):
        folders = [f"/etc/libvirt/virtcrypt/{name}" for name in ("volumes", "pools", "guests")]
        self.ok("mkdir", "-p", *folders)
        self.ok("systemctl", "restart", "virtcrypt-secretd.service")
        pid = self.ok("systemctl", "show", "--value", "-p", "MainPID",
                      "virtcrypt-secretd.service").strip()
        self.ok("touch", f"/proc/{pid}/root/etc/libvirt/virtcrypt/own")
        for folder in folders:
            self.assertIn("Read-only file system",
                          self.booted.run("touch", f"/proc/{pid}/root{folder}/x").stdout)

    # ---- credentials ----

    def restart(self):
        self.ok("systemctl", "restart", "virtcrypt-secretd.service")

    def put_back_key_file(self):
        self.ok("sh", "-c", f"rm -f {_CREDENTIAL_FILE}; ! test -e {_KEY}.away || "
                            f"mv {_KEY}.away {_KEY}")
        self.restart()

    def add_credential_slot(self):
        self.ok("sh", "-c", "mkdir -p /etc/credstore.encrypted && head -c 32 /dev/urandom | "
                f"systemd-creds encrypt --with-key=host --name={_CREDENTIAL} - {_CREDENTIAL_FILE}")
        self.restart()
        shown = self.ok("virtcrypt", "master", "add-slot", "credential")
        slot = re.search(r"slot ([0-9a-f]{8}) was added", shown).group(1)
        self.addCleanup(self.ok, "virtcrypt", "master", "remove-slot", slot)
        self.addCleanup(self.put_back_key_file)

    def lose_hosts_key(self):
        """What it is encrypted for is gone, as with a TPM that was cleared."""
        self.ok("rm", "/var/lib/systemd/credential.secret")

    def take_key_file(self):
        self.ok("mv", _KEY, _KEY + ".away")

    def test_a_credential_unlocks(self):
        self.add_credential_slot()
        self.take_key_file()
        self.restart()
        self.assertIn("unlocked", self.ok("virtcrypt", "daemon-status"))

    def test_no_credential_is_no_problem(self):
        self.assertEqual(self.booted.state("virtcrypt-credentials.service"), "active")
        done = self.booted.run("virtcrypt", "master", "add-slot", "credential")
        self.assertIn("given neither the credential", done.stdout)

    def test_a_credential_that_is_broken_leaves_the_other_slots(self):
        self.add_credential_slot()
        self.lose_hosts_key()
        self.restart()
        self.assertEqual(self.booted.state("virtcrypt-credentials.service"), "failed")
        self.assertEqual(self.booted.state(), "active")
        self.assertIn("unlocked", self.ok("virtcrypt", "daemon-status"))

    def test_a_credential_that_is_broken_is_named_by_a_daemon_that_stays_locked(self):
        self.add_credential_slot()
        self.lose_hosts_key()
        self.take_key_file()
        self.restart()
        self.assertEqual(self.booted.state(), "active")
        shown = self.ok("virtcrypt", "master", "status")
        self.assertIn("locked", shown)
        self.assertIn("see 'systemctl status virtcrypt-credentials'", shown)

    def test_a_file_that_is_no_credential_makes_no_first_master_key(self):
        """Another slot in its place is not what was asked for, and nothing can be lost yet."""
        self.ok("systemctl", "stop", "virtcryptd.service", "virtcrypt-secretd.service")
        self.ok("mv", "/etc/libvirt", "/etc/libvirt.away")
        self.addCleanup(self.ok, "sh", "-c",
                        "systemctl stop virtcryptd.service virtcrypt-secretd.service && "
                        f"rm -r /etc/libvirt {_CREDENTIAL_FILE} && "
                        "mv /etc/libvirt.away /etc/libvirt")
        self.ok("sh", "-c", "mkdir -p /etc/credstore.encrypted && "
                            f"head -c 32 /dev/urandom > {_CREDENTIAL_FILE}")
        self.ok("systemctl", "start", "virtcrypt-secretd.service")
        self.assertIn("virtcrypt-credentials", self.ok("virtcrypt", "master", "status"))
        self.assertEqual(self.ok("find", "/etc/libvirt", "-name", "master.*"), "")

    def test_credentials_are_gone_when_the_daemon_is(self):
        self.assertEqual(self.booted.state("virtcrypt-credentials.service"), "active")
        self.ok("systemctl", "stop", "virtcrypt-secretd.service")
        host.wait_for(lambda: self.booted.state("virtcrypt-credentials.service") == "inactive",
                      "the unit of credentials has ended", interval=0.2)
        self.assertEqual(self.ok("find", "/run/credentials", "-name", "virtcrypt*"), "")

    # ---- starts and ends ----

    def test_the_first_client_starts_a_daemon_that_was_stopped(self):
        self.ok("systemctl", "stop", "virtcrypt-secretd.service")
        self.assertEqual(self.booted.state(), "inactive")
        self.ok("virtcrypt", "secret-list")
        self.assertEqual(self.booted.state(), "active")

    def test_a_daemon_that_is_killed_comes_back_with_all_values(self):
        secret = self.define()
        self.ok("virtcrypt", "secret-set-value", secret, "--generate", "256")
        value = self.ok("virtcrypt", "secret-get-value", secret)
        self.ok("systemctl", "kill", "--signal=KILL", "virtcrypt-secretd.service")
        self.assertEqual(self.ok("virtcrypt", "secret-get-value", secret), value)

    def test_reload_reads_definitions_and_leaves_the_unit_active(self):
        identifier = "11111111-2222-4333-8444-555555555555"
        self.ok("sh", "-c", f"echo \"<secret><uuid>{identifier}</uuid></secret>\" > "
                            f"/etc/libvirt/secrets/{identifier}.xml")
        self.ok("systemctl", "reload", "virtcrypt-secretd.service")
        host.wait_for(lambda: identifier in self.ok("virtcrypt", "secret-list"),
                      "the new definition is listed")
        self.assertEqual(self.booted.state(), "active")
        self.ok("virtcrypt", "secret-undefine", identifier)

    def test_the_daemons_lines_in_the_journal_have_its_name(self):
        self.ok("touch", "/etc/libvirt/secrets/stray")
        self.addCleanup(self.booted.run, "rm", "/etc/libvirt/secrets/stray")
        self.ok("systemctl", "restart", "virtcrypt-secretd.service")
        host.wait_for(lambda: "stray in the folder of secrets" in self.ok(
            "journalctl", "--no-pager", "-t", "virtcrypt-secretd"), "the line is in the journal",
                      interval=0.2)

    def test_stopping_the_sockets_too_takes_them_away(self):
        self.ok("systemctl", "stop", "virtcrypt-secretd.socket", "virtcrypt-secretd.service")
        self.assertEqual(self.ok("systemctl", "show", "--value", "-p", "Result",
                                 "virtcrypt-secretd.service").strip(), "success")
        done = self.booted.run("virtcrypt", "secret-list")
        self.assertEqual(done.returncode, 1)
        self.assertIn("systemctl start virtcrypt-secretd.socket", done.stdout)

    def test_a_daemon_with_nothing_to_do_ends_when_told_so(self):
        conf = "/etc/libvirt/virtcrypt-secretd.conf"
        # What other cases erased is a reason to go on, as long as it may still be on the disk.
        self.ok("sh", "-c", "echo 'VIRTCRYPT_SECRETD_ARGS=--timeout 1' > "
                            f"/etc/default/virtcrypt-secretd; echo rotation_delay = 0 > {conf}")
        self.addCleanup(self.restart)
        self.addCleanup(self.booted.run, "rm", "/etc/default/virtcrypt-secretd", conf)
        self.restart()
        host.wait_for(lambda: self.booted.state() == "inactive", "the daemon has ended",
                      interval=0.2)
        self.assertEqual(self.booted.state("virtcryptd.service"), "active")
        deadline = time.monotonic() + _POLLS_S
        while time.monotonic() < deadline:
            self.assertEqual(self.booted.state(), "inactive")
            time.sleep(0.2)
        began = time.monotonic()
        self.ok("virtcrypt", "secret-list")
        self.assertLess(time.monotonic() - began, 60 * host.PATIENCE)

    # ---- virtcryptd ----

    def make_pool(self):
        """What libvirt keeps of an active pool."""
        self.ok("sh", "-c", "mkdir -p /run/libvirt/storage /srv/pool && "
                            f"echo \"{_POOL}\" > /run/libvirt/storage/pool.xml")

    def make_volume(self, name):
        self.make_pool()
        shown = self.ok("virtcrypt", "vol-create", "pool", name, "8M", "--format", "qcow2")
        self.addCleanup(self.booted.run, "virtcrypt", "vol-delete", name, "--pool", "pool")
        return shown

    def test_volumes_are_made_within_the_units_confinement(self):
        self.make_volume("a.qcow2")
        self.assertIn("luks", self.ok("qemu-img", "info", "/srv/pool/a.qcow2"))
        self.assertIn("a.qcow2", self.ok("virtcrypt", "vol-list"))
        self.ok("virtcrypt", "vol-delete", "a.qcow2", "--pool", "pool")
        self.assertEqual(self.ok("ls", "/srv/pool"), "")

    def test_the_storage_daemon_runs_with_system_calls_filtered(self):
        pid = self.ok("systemctl", "show", "--value", "-p", "MainPID", "virtcryptd.service").strip()
        status = self.ok("cat", f"/proc/{pid}/status")
        self.assertRegex(status, r"(?m)^Seccomp:\s+2$")
        self.assertRegex(status, r"(?m)^NoNewPrivs:\s+1$")

    def test_a_restart_of_daemons_leaves_opened_volumes_to_their_unit(self):
        self.make_volume("b.qcow2")
        before = self.booted.state("virtcrypt-mappings.service")
        self.ok("systemctl", "restart", "virtcryptd.service", "virtcrypt-secretd.service")
        self.assertEqual((before, self.booted.state("virtcrypt-mappings.service")),
                         ("active", "active"))
        self.assertIn("b.qcow2", self.ok("virtcrypt", "vol-list"))

    def test_opened_volumes_are_closed_while_virtcryptd_still_runs(self):
        self.ok("systemctl", "stop", "virtcrypt-mappings.service")
        self.assertEqual(self.ok("systemctl", "show", "--value", "-p", "Result",
                                 "virtcrypt-mappings.service").strip(), "success")
        order = self.ok("systemctl", "show", "--value", "-p", "After",
                        "virtcrypt-mappings.service").split()
        self.assertIn("virtcryptd.service", order)
        later = self.ok("systemctl", "show", "--value", "-p", "Before",
                        "virtcrypt-mappings.service").split()
        self.assertIn("libvirtd.service", later)
        self.ok("systemctl", "start", "virtcrypt-mappings.service")

    def test_a_storage_daemon_that_is_killed_comes_back_with_its_volumes(self):
        self.make_volume("c.qcow2")
        self.ok("systemctl", "kill", "--signal=KILL", "virtcryptd.service")
        self.assertIn("c.qcow2", self.ok("virtcrypt", "vol-list"))


if __name__ == "__main__":
    taptest.main()
