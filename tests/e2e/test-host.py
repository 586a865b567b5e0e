#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/lib/host.py itself: what runs in a private host stays there, and is gone afterwards."""

import os
import subprocess
import sys
import unittest

import libvirt

import host
import taptest

# A test that dies in the middle: its host has a libvirtd and a program that ignores SIGTERM.
_DIES = """
import os, signal, sys
import host
machine = host.Host()
machine.start_reference()
machine.popen(["sh", "-c", "trap '' TERM; sleep 300"])
print(machine._holder.pid, os.readlink(f"/proc/{machine._holder.pid}/ns/mnt"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

_SECRET = "<secret ephemeral='no'><usage type='volume'><volume>/v</volume></usage></secret>"


def _machine_state():
    state = {}
    for top in ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt"):
        state[top] = sorted(os.path.join(path, name) for path, folders, files in os.walk(top)
                            for name in folders + files)
    return state


def _processes_in(namespace):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/ns/mnt") == namespace:
                    found.append(int(entry))
            except OSError:
                pass
    return found


class PrivateHost(unittest.TestCase):
    def test_the_reference_daemon_answers_and_the_machine_is_untouched(self):
        before = _machine_state()
        with host.Host() as machine:
            machine.start_reference()
            connection = libvirt.open(machine.uri("secret", host.REFERENCE_SOCKET))
            connection.secretDefineXML(_SECRET)
            self.assertEqual(connection.numOfSecrets(), 1)
            self.assertEqual(len(os.listdir(machine.path("/etc/libvirt/secrets"))), 1)
            connection.close()
        self.assertEqual(_machine_state(), before)

    def test_two_hosts_do_not_see_each_other(self):
        with host.Host() as one, host.Host() as other:
            one.write("/etc/libvirt/mark", "one")
            self.assertFalse(other.exists("/etc/libvirt/mark"))
            self.assertEqual(one.run(["cat", "/etc/libvirt/mark"]).check().stdout, "one")

    def test_stock_libvirtd_and_virsh_work_inside(self):
        with host.Host() as machine:
            libvirtd = machine.start_libvirtd()
            done = machine.virsh("version").check()
            self.assertIn("Running hypervisor: QEMU", done.stdout)
            self.assertEqual(libvirtd.stop(), 0)

    def test_a_daemon_that_does_not_start_is_an_error_with_its_log(self):
        with host.Host() as machine:
            with self.assertRaisesRegex(host.HostError, "cannot stat|No such file|nonexistent"):
                machine.start("cat", ["cat", "/nonexistent"], "/run/never")

    def test_a_command_that_fails_is_an_error_with_its_output(self):
        with host.Host() as machine:
            with self.assertRaisesRegex(host.HostError, "ended with 3"):
                machine.run(["sh", "-c", "exit 3"]).check()

    def test_nothing_is_left_of_a_host_whose_owner_was_killed(self):
        owner = subprocess.Popen([sys.executable, "-c", _DIES], stdout=subprocess.PIPE, text=True)
        holder, namespace = owner.stdout.readline().split()
        owner.stdout.close()
        self.assertEqual(owner.wait(), -9)
        host.wait_for(lambda: not _processes_in(namespace), f"holder {holder} cleans up")


if __name__ == "__main__":
    taptest.main()
