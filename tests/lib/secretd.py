# SPDX-License-Identifier: LGPL-2.1-or-later
"""A case that runs virtcrypt-secretd, as root or as others, on a private host of its own, and calls
it as bytes (wire)."""

import os
import shutil
import unittest

import host
import wire

PROGRAM = "/run/bin/virtcrypt-secretd"
CONF = "/etc/libvirt/virtcrypt-secretd.conf"
PID_FILE = "/run/libvirt/virtcrypt-secretd.pid"
DRIVER_LOCK = "/run/libvirt/secrets/driver.pid"


def xml(usage, flags=""):
    return f"<secret {flags}><usage type='ceph'><name>{usage}</name></usage></secret>"


class DaemonCase(unittest.TestCase):
    """One private host a test: daemons must not meet by chance."""

    def setUp(self):
        self.machine = host.Host()
        self.addCleanup(self.machine.close)
        # Where other users can run it.
        os.makedirs(self.machine.path("/run/bin"))
        shutil.copy(os.path.join(host.BUILD_ROOT, "src/secret/virtcrypt-secretd"),
                    self.machine.path(PROGRAM))

    def write_conf(self, text):
        self.machine.write(CONF, text)

    def run_daemon(self, *arguments, **options):
        """To its end, which comes by itself."""
        return self.machine.run([PROGRAM, *arguments], **options)

    def start(self, *arguments, env=None, path=host.SECRETD_SOCKET):
        return self.machine.start("virtcrypt-secretd", [PROGRAM, *arguments], path, env)

    def assert_refused(self, done, *texts):
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        for text in texts:
            self.assertIn(text, done.stderr)

    def open(self, path=host.SECRETD_SOCKET):
        """A client that has opened its connection."""
        client = wire.Connection(self.machine.path(path))
        self.addCleanup(client.close)
        return client.open()

    def define(self, client, usage="an id", flags=""):
        reply = client.call(wire.DEFINE_XML, wire.string(xml(usage, flags)) + wire.uint32(0))
        return reply.reader()._take(16)

    def set_value(self, client, identifier, value):
        client.call(wire.SET_VALUE, wire.secret(identifier) + wire.opaque(value) +
                    wire.uint32(0)).reader()

    def count(self, client):
        return client.call(wire.NUM_OF_SECRETS).reader().int32()

    def pid_in(self, path):
        return int(self.machine.read(path))
