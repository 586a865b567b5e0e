#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest is defined with its key by the real daemons, and virtcryptd, virtcrypt-secretd or libvirtd is
stopped at every call of its own that changes a file meanwhile.

When all run again, there is neither a guest without its key nor a key without its guest.
"""

import os
import signal

import guests
import host
import taptest

_INTERPOSE = os.path.join(host.BUILD_ROOT, "tests/crash/crash-interpose.so")
_ARM = "/run/armed"
_STOPS_MAX = 100
# What is hindered once is tried again after half a minute.
_WHOLE_BOUND_S = 240 * host.PATIENCE

# Where everything is slow (sanitizers), what goes wrong in any run is looked for, and not every run.
_STRIDE = 5 if host.PATIENCE > 1 else 1


class Definition(guests.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.libvirtd = next(daemon for daemon in cls.machine.daemons if daemon.name == "libvirtd")
        # QEMU is asked what it can do once, by a libvirtd that hands it no library.
        cls.machine.virsh("domcapabilities").check()

    def _start(self, name, env=None):
        starts = {"virtcryptd": self.machine.start_virtcryptd,
                  "secretd": self.machine.start_secretd,
                  "libvirtd": lambda env: self.machine.start_libvirtd(connector=True, env=env)}
        setattr(type(self), name, starts[name](env=env))

    def _start_watched(self, name, folders, at):
        getattr(self, name).stop()
        self._start(name, {**host.preloaded(_INTERPOSE), "CRASH_FOLDERS": folders,
                           "CRASH_ARM": _ARM, "CRASH_AT": str(at), "CRASH_HOW": "before"})
        self.wait_until_watched()

    def _define(self, guest):
        path = self.luks(guest)
        xml = self.define_file(guest, [("vda", path, "raw", None)])
        self.machine.write(_ARM, "")
        done = self.ours("guest-define", xml, "--key", "vda=/run/t/key")
        os.unlink(self.machine.path(_ARM))
        return done

    def _has_key(self, guest):
        """It is the guest's, and opens its disk."""
        keys = self.objects(f"key-list --guest {guest} --json")
        copies = self.copies_of(self.uuid_of(guest))
        return [key["state"] for key in keys] == ["bound"] and \
            copies == [key["secret"] for key in keys] and \
            self.ours("guest-check", guest).returncode == 0

    def _has_nothing(self, guest, secrets):
        return self.secrets() == secrets and guest not in self.told("guest-list")

    def _is_whole(self, guest, secrets):
        if self.machine.virsh("domuuid", guest).returncode == 0:
            return self._has_key(guest)
        return self._has_nothing(guest, secrets)

    def _stop_at(self, name, folders, at):
        """Whether there was anything left to be stopped at, and whether the guest is there."""
        guest = f"{name}{at}"
        secrets = self.secrets()
        self._start_watched(name, folders, at)
        done = self._define(guest)
        if done.returncode != 0:
            host.wait_for(lambda: not getattr(self, name).is_running,
                          f"{name} is stopped at {at}: {done.stderr}")
        # One that has answered may be stopped right behind that, while it still seems to run.
        was_stopped = getattr(self, name).stop() == -signal.SIGKILL
        self._start(name)
        self.wait_until_watched()
        host.wait_for(lambda: self._is_whole(guest, secrets),
                      f"{name} was stopped at {at}; then {guest} is whole", _WHOLE_BOUND_S)
        return was_stopped, self.machine.virsh("domuuid", guest).returncode == 0

    def _restart(self, name):
        getattr(self, name).stop()
        self._start(name)
        self.wait_until_watched()

    def _stop_everywhere(self, name, folders):
        self.addCleanup(self._restart, name)
        ends = set()
        for at in range(1, _STOPS_MAX, _STRIDE):
            was_stopped, is_there = self._stop_at(name, folders, at)
            ends.add(is_there)
            if not was_stopped:
                self.assertGreater(at, 3)
                return ends
        return self.fail("it is stopped for ever")

    def test_virtcryptd_may_stop_at_any_write(self):
        self.assertEqual(self._stop_everywhere("virtcryptd", "/etc/libvirt/virtcrypt"),
                         {True, False})

    def test_the_custodian_may_stop_at_any_write(self):
        self.assertEqual(self._stop_everywhere("secretd", "/etc/libvirt"), {True, False})

    def test_libvirtd_may_stop_at_any_write(self):
        self.assertEqual(self._stop_everywhere("libvirtd", "/etc/libvirt/qemu"), {True, False})


if __name__ == "__main__":
    taptest.main()
