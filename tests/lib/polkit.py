# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real polkitd on a system bus, in a private host (host.py), with libvirt's actions and a test's
own rules. The files of the machine's polkit are not read.
"""

import os
import socket

import host

_ACTION = """\
  <action id="{name}">
    <description>{name}</description>
    <message>{name}</message>
    <defaults>
      <allow_any>{answer}</allow_any>
      <allow_inactive>{answer}</allow_inactive>
      <allow_active>{answer}</allow_active>
    </defaults>
  </action>
"""

# Defaults as in libvirt's own file.
_POLICY = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1.0/policyconfig.dtd">
<policyconfig>
{_ACTION.format(name="org.libvirt.unix.monitor", answer="yes")}
{_ACTION.format(name="org.libvirt.unix.manage", answer="auth_admin_keep")}
</policyconfig>
"""

_PREPARE = """\
mount --bind /run/polkit-actions /usr/share/polkit-1/actions &&
mount --bind /run/polkit-rules /usr/share/polkit-1/rules.d &&
mount --bind /run/polkit-none /etc/polkit-1/rules.d &&
mkdir -p /run/dbus /var/lib/polkit-1 && chown polkitd /var/lib/polkit-1
"""

_PROGRAMS = ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/libexec/polkit-1/polkitd")


def _is_listening(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True


def start(machine, rules):
    """Starts both daemons; `rules` is JavaScript (polkit(8))."""
    machine.write("/run/polkit-actions/org.libvirt.unix.policy", _POLICY, 0o644)
    machine.write("/run/polkit-rules/50-test.rules", rules, 0o644)
    os.makedirs(machine.path("/run/polkit-none"), exist_ok=True)
    machine.run(["sh", "-c", _PREPARE]).check()
    machine.start("dbus", ["dbus-daemon", "--system", "--nofork", "--nopidfile"])
    host.wait_for(lambda: _is_listening(machine.path("/run/dbus/system_bus_socket")),
                  "the system bus is there")
    program = next(path for path in _PROGRAMS if os.path.exists(path))
    daemon = machine.start("polkitd", [program])
    host.wait_for(lambda: "Acquired the name" in daemon.log_text(), "polkitd is on the bus")
    return daemon
