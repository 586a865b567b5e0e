#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `meson install` puts where, and that systemd and libvirtd's start can use it."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

import taptest

BUILD_ROOT = os.environ["BUILD_ROOT"]

# Below the prefix, in any library folder of the machine.
_EXPECTED = (
    "sbin/virtcrypt-recover",
    "sbin/virtcrypt-secretd",
    "sbin/virtcryptd",
    "bin/virtcrypt",
    "libexec/virtcrypt/link-drivers",
    "libexec/virtcrypt/virtcrypt-unlock-helper",
    "lib/systemd/system/virtcrypt-credentials.service",
    "lib/systemd/system/virtcrypt-mappings.service",
    "lib/systemd/system/virtcrypt-secretd.service",
    "lib/systemd/system/virtcrypt-secretd.socket",
    "lib/systemd/system/virtcrypt-secretd-ro.socket",
    "lib/systemd/system/virtcryptd.service",
    "lib/systemd/system/virtcryptd.socket",
    "lib/systemd/system/virtcryptd-ro.socket",
    "lib/sysusers.d/virtcrypt.conf",
    "lib/systemd/system/libvirtd.service.d/virtcrypt.conf",
    "share/bash-completion/completions/virtcrypt",
    "share/bash-completion/completions/virtcrypt-recover",
    "share/man/man1/virtcrypt.1",
    "share/man/man5/virtcrypt-secretd.conf.5",
    "share/man/man5/virtcryptd.conf.5",
    "share/man/man8/virtcrypt-recover.8",
    "share/man/man8/virtcrypt-secretd.8",
    "share/man/man8/virtcryptd.8",
)


def _run(*argv, **options):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120, check=False, **options)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="virtcrypt-install-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.dest = os.path.join(cls.folder, "dest")
        done = _run("meson", "install", "-C", BUILD_ROOT, "--no-rebuild", "--destdir", cls.dest)
        if done.returncode != 0:
            raise RuntimeError(done.stdout)
        cls.files = [os.path.relpath(os.path.join(path, name), cls.dest)
                     for path, _, names in os.walk(cls.dest) for name in names]
        cls.prefix = os.path.join(cls.dest, "usr/local")

    def unit_folder(self):
        return os.path.join(self.prefix, "lib/systemd/system")

    def test_programs_units_and_manual_pages_are_installed(self):
        installed = {os.path.relpath(os.path.join(self.dest, name), self.prefix)
                     for name in self.files}
        self.assertEqual([name for name in _EXPECTED if name not in installed], [])

    def test_the_connectors_are_installed_in_a_folder_of_their_own(self):
        for kind in ("secret", "storage"):
            connectors = [name for name in self.files
                          if name.endswith(f"/libvirt_driver_{kind}.so")]
            self.assertEqual(len(connectors), 1, connectors)
            self.assertIn("/virtcrypt/connection-driver/", connectors[0])

    def test_libvirt_finds_the_hook(self):
        link = os.path.join(self.dest, "etc/libvirt/hooks/qemu.d/virtcrypt")
        target = self.dest + os.readlink(link)
        self.assertTrue(os.access(target, os.X_OK), target)

    def test_nothing_is_installed_outside_the_prefix_and_the_configuration(self):
        strays = [name for name in self.files if not name.startswith(("usr/local/", "etc/"))]
        self.assertEqual(strays, [])

    def test_no_placeholder_is_left_in_an_installed_text(self):
        for name in self.files:
            if os.path.islink(os.path.join(self.dest, name)):
                continue
            with open(os.path.join(self.dest, name), "rb") as file:
                text = file.read()
            if not text.startswith(b"\x7fELF"):
                self.assertIsNone(re.search(rb"@[a-z_]+@", text), name)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
    def test_systemd_accepts_the_units(self):
        units = os.path.join(self.folder, "units")
        shutil.copytree(self.unit_folder(), units, ignore=shutil.ignore_patterns("*.d"))
        for name in os.listdir(units):
            path = os.path.join(units, name)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            # The programs are in the staging folder, not where the units will find them.
            with open(path, "w", encoding="utf-8") as file:
                file.write(text.replace("/usr/local/sbin", self.prefix + "/sbin")
                           .replace("/usr/local/bin", self.prefix + "/bin"))
        done = _run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                    *[os.path.join(units, name) for name in sorted(os.listdir(units))])
        ours = [line for line in done.stdout.splitlines() if "virtcrypt" in line]
        self.assertEqual(ours, [])
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_unit_with_a_mistake_would_not_be_accepted(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        path = os.path.join(self.folder, "virtcrypt-bad.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write("[Service]\nExecStart=/nonexistent/program\n")
        done = _run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path)
        self.assertIn("virtcrypt-bad", done.stdout)

    def test_the_daemon_tells_systemd_when_it_is_ready(self):
        conf = os.path.join(self.folder, "secretd.conf")
        listener_path = os.path.join(self.folder, "notify")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f'unix_sock_dir = "{self.folder}/sockets"\n')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(listener_path)
            notify.settimeout(30)
            script = ('mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/libvirt && '
                      'exec "$@"')
            daemon = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
                 os.path.join(self.prefix, "sbin/virtcrypt-secretd"), "-f", conf],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=dict(os.environ, NOTIFY_SOCKET=listener_path))
            try:
                messages = b""
                while b"READY=1" not in messages:
                    messages += notify.recv(4096) + b"\n"
            finally:
                daemon.terminate()
                output, _ = daemon.communicate(timeout=30)
        self.assertEqual(daemon.returncode, 0, output)


class LinkDrivers(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="virtcrypt-link-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.theirs = self.make("theirs", "libvirt_driver_qemu.so", "libvirt_driver_secret.so",
                                "libvirt_driver_storage.so")
        self.ours = self.make("ours", "libvirt_driver_secret.so", "libvirt_driver_storage.so")
        self.made = os.path.join(self.folder, "run/made")

    def make(self, name, *files):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        for file in files:
            with open(os.path.join(path, file), "w", encoding="utf-8"):
                pass
        return path

    def link(self, theirs=None):
        return _run("sh", os.path.join(BUILD_ROOT, "packaging/link-drivers"),
                    theirs or self.theirs, self.ours, self.made)

    def links(self):
        return {name: os.path.dirname(os.readlink(os.path.join(self.made, name)))
                for name in os.listdir(self.made)}

    def test_only_the_secret_and_the_storage_driver_are_replaced(self):
        self.assertEqual(self.link().returncode, 0)
        self.assertEqual(self.links(), {"libvirt_driver_qemu.so": self.theirs,
                                        "libvirt_driver_secret.so": self.ours,
                                        "libvirt_driver_storage.so": self.ours})

    def test_a_driver_that_an_upgrade_brought_or_took_is_followed(self):
        self.link()
        os.rename(os.path.join(self.theirs, "libvirt_driver_qemu.so"),
                  os.path.join(self.theirs, "libvirt_driver_ch.so"))
        self.assertEqual(self.link().returncode, 0)
        self.assertEqual(sorted(self.links()), ["libvirt_driver_ch.so", "libvirt_driver_secret.so",
                                                "libvirt_driver_storage.so"])

    def test_without_the_connector_libvirt_keeps_its_own_driver_and_says_so(self):
        os.unlink(os.path.join(self.ours, "libvirt_driver_secret.so"))
        done = self.link()
        self.assertEqual(done.returncode, 0)
        self.assertIn("libvirt keeps secrets itself", done.stdout)
        self.assertEqual(self.links()["libvirt_driver_secret.so"], self.theirs)

    def test_without_the_storage_connector_libvirt_keeps_its_own_driver_and_says_so(self):
        os.unlink(os.path.join(self.ours, "libvirt_driver_storage.so"))
        done = self.link()
        self.assertEqual(done.returncode, 0)
        self.assertIn("does not know encrypted volumes", done.stdout)
        self.assertEqual(self.links()["libvirt_driver_storage.so"], self.theirs)

    def test_a_libvirt_without_storage_stays_without(self):
        os.unlink(os.path.join(self.theirs, "libvirt_driver_storage.so"))
        self.assertEqual(self.link().returncode, 0)
        self.assertNotIn("libvirt_driver_storage.so", self.links())

    def test_a_missing_folder_of_libvirt_is_named_and_the_old_links_stay(self):
        self.link()
        done = self.link(theirs="/nonexistent/drivers")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent/drivers", done.stdout)
        self.assertEqual(len(self.links()), 3)


if __name__ == "__main__":
    taptest.main()
