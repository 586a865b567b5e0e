#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The helper's question to polkit, answered by a real polkitd."""

import os
import subprocess
import unittest

import host
import polkit
import taptest
import unlocking

_RULES = """\
polkit.addRule(function(action, subject) {
    if (action.id == "org.libvirt.unix.manage" && subject.user == "daemon")
        return polkit.Result.YES;
    if (subject.user == "games")
        return polkit.Result.NO;
    return polkit.Result.NOT_HANDLED;
});
"""
_MANAGER, _BANNED, _NOBODY = 1, 5, 65534


class Polkit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = host.Host()
        cls.addClassCleanup(cls.machine.close)
        polkit.start(cls.machine, _RULES)

    def ask(self, uid, action="org.libvirt.unix.manage", asked_uid=None, **changed):
        """About a process of `uid`; "yes" or the error's line."""
        process = subprocess.Popen(["setpriv", f"--reuid={uid}", "--clear-groups", "sleep", "600"])
        try:
            with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
                start = file.read().rsplit(")", 1)[1].split()[19]
            fields = {"pid": process.pid, "start-time": start, "action": action,
                      "uid": uid if asked_uid is None else asked_uid, **changed}
            answer = self.machine.run([unlocking.DRIVER, "run", "polkit",
                                       *(f"{name}={value}" for name, value in fields.items())],
                                      env={"UNLOCK_TIMEOUT_MS": "60000"}, input="")
            return "yes" if answer.returncode == 0 else answer.stdout.strip()
        finally:
            process.kill()
            process.wait()

    def test_who_is_allowed_gets_a_yes(self):
        self.assertEqual("yes", self.ask(_MANAGER))
        self.assertEqual("yes", self.ask(_NOBODY, "org.libvirt.unix.monitor"))

    def test_who_is_not_allowed_gets_the_codes_that_clients_know(self):
        self.assertEqual("error 45: access denied by policy: action 'org.libvirt.unix.manage' for "
                         "user 5", self.ask(_BANNED))
        self.assertEqual("error 94: no polkit agent available to authenticate action "
                         "'org.libvirt.unix.manage'", self.ask(_NOBODY))

    def test_actions_of_others_are_not_asked_about(self):
        for action in ("org.freedesktop.systemd1.manage-units", "org.libvirt", "", "org.virtcryptx"):
            self.assertIn("actions of libvirt and virtcrypt alone", self.ask(_MANAGER, action))

    def test_an_action_that_polkit_does_not_know_is_no(self):
        self.assertIn("error 45: cannot ask polkit about action 'org.virtcrypt.none'",
                      self.ask(_MANAGER, "org.virtcrypt.none"))

    def test_a_process_is_named_with_its_start(self):
        self.assertIn("'start-time' is no number", self.ask(_MANAGER, **{"start-time": 0}))
        self.assertIn("'pid' is no number", self.ask(_MANAGER, pid=0))
        self.assertIn("'uid' is no number", self.ask(_MANAGER, asked_uid=-1))


if __name__ == "__main__":
    taptest.main()
