#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The script `dev`: what a new user meets first. Set-up is run with stand-ins for dpkg-query and
apt-get (mounted over the real ones in a namespace of its own), since a test can't install packages.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

import taptest

SOURCE_ROOT = os.environ["SOURCE_ROOT"]
_DEV = os.path.join(SOURCE_ROOT, "dev")

_DPKG_QUERY = """#!/bin/sh
# Says that everything is installed but the packages named in the file `missing`.
for package; do :; done
if grep -qx "$package" "{folder}/missing"; then exit 1; fi
echo installed
"""

# "Installs" by emptying `missing`, unless `broken` is there; notes its arguments and whether
# services were allowed to start.
_APT_GET = """#!/bin/sh
echo "$@" >> "{folder}/calls"
[ -x /usr/sbin/policy-rc.d ] && /usr/sbin/policy-rc.d || echo "services denied: $?" >> "{folder}/calls"
echo "frontend: $DEBIAN_FRONTEND" >> "{folder}/calls"
case " $* " in
*" update "*) rm -f "{folder}/stale"; exit 0 ;;
esac
if [ -e "{folder}/stale" ] || [ -e "{folder}/broken" ]; then
    echo "E: Unable to locate package" >&2
    exit 100
fi
: > "{folder}/missing"
"""


def _dev(*arguments, program=_DEV, **options):
    return subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False, **options)


class Usage(unittest.TestCase):
    def test_help_names_every_command(self):
        done = _dev("help")
        self.assertEqual(done.returncode, 0)
        for command in ("setup", "build", "demo", "check", "bench", "fuzz"):
            self.assertRegex(done.stdout, rf"(?m)^  {command}\b")

    def test_an_unknown_command_is_named_and_fails(self):
        done = _dev("chekc")
        self.assertEqual(done.returncode, 1)
        self.assertIn("unknown command 'chekc'", done.stdout)

    def test_demo_and_check_say_that_they_need_root(self):
        # A copy that user "nobody" may read, wherever the sources are.
        folder = tempfile.mkdtemp(prefix="virtcrypt-dev-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        program = shutil.copy(_DEV, folder)
        for command in ("demo", "check", "bench"):
            done = _dev(command, program=program, cwd=folder, user=65534, group=65534,
                        extra_groups=[])
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"'{command}' needs root: run 'sudo ./dev {command}'", done.stdout)

    def test_fuzz_refuses_seconds_that_are_no_number(self):
        done = _dev("fuzz", "soon")
        self.assertEqual(done.returncode, 1)
        self.assertIn("'soon' is not a number of seconds", done.stdout)

    def test_the_package_list_has_one_package_a_line_in_no_doubt(self):
        with open(os.path.join(SOURCE_ROOT, "packaging/debian-packages.txt"),
                  encoding="utf-8") as file:
            lines = [line.split("#")[0].strip() for line in file]
        packages = [line for line in lines if line]
        self.assertEqual([name for name in packages if " " in name], [])
        self.assertEqual(len(packages), len(set(packages)))
        self.assertNotIn("libvirt-daemon-system", packages)


class SetUp(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="virtcrypt-dev-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.write("missing", "")
        for name, text in (("dpkg-query", _DPKG_QUERY), ("apt-get", _APT_GET)):
            path = self.write(name, text.format(folder=self.folder))
            os.chmod(path, 0o755)
        # A copy: `dev` writes its logs beside itself.
        shutil.copy(_DEV, self.folder)
        os.mkdir(os.path.join(self.folder, "packaging"))
        shutil.copy(os.path.join(SOURCE_ROOT, "packaging/debian-packages.txt"),
                    os.path.join(self.folder, "packaging"))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def calls(self):
        path = os.path.join(self.folder, "calls")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def run_setup(self):
        """Runs `dev setup` where no policy for services exists; returns (process, left behind)."""
        script = ('mount --bind "$1/dpkg-query" /usr/bin/dpkg-query && '
                  'mount --bind "$1/apt-get" /usr/bin/apt-get && '
                  'mkdir "$1/sbin" && cp -a /usr/sbin/. "$1/sbin" && rm -f "$1/sbin/policy-rc.d" && '
                  'mount --bind "$1/sbin" /usr/sbin && "$1/dev" setup; status=$?; '
                  'ls /usr/sbin/policy-rc.d 2>/dev/null; exit $status')
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
             self.folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=60, check=False)

    def test_nothing_is_run_when_every_package_is_there(self):
        done = self.run_setup()
        self.assertEqual((done.returncode, done.stdout, self.calls()), (0, "", ""))

    def test_missing_packages_are_installed_without_a_question(self):
        self.write("missing", "valgrind\n")
        done = self.run_setup()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("Installing 1 Debian packages", done.stdout)
        calls = self.calls()
        self.assertIn("--no-install-recommends", calls)
        self.assertIn("frontend: noninteractive", calls)
        self.assertRegex(calls, r"install valgrind\n")

    def test_no_service_may_start_while_packages_are_installed(self):
        self.write("missing", "dbus\n")
        done = self.run_setup()
        self.assertIn("services denied: 101", self.calls())
        self.assertNotIn("policy-rc.d", done.stdout)

    def test_a_stale_list_of_packages_is_updated_once(self):
        self.write("missing", "valgrind\n")
        self.write("stale", "")
        done = self.run_setup()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.calls().count(" update"), 1)

    def test_a_failed_installation_shows_why_and_fails(self):
        self.write("missing", "valgrind\n")
        self.write("broken", "")
        done = self.run_setup()
        self.assertEqual(done.returncode, 1)
        self.assertIn("Unable to locate package", done.stdout)
        self.assertIn("could not be installed", done.stdout)


if __name__ == "__main__":
    taptest.main()
