# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two private hosts on a network of their own, between which guests migrate.

    with twohosts.TwoHosts() as hosts:
        hosts.one.virsh("migrate", "--live", "guest", hosts.two.libvirt_uri)

Each has a name, an address, a uuid and an sshd that lets the other one's root in; /srv is one folder
of both. `ssh` of a host is the real one, with the host's own configuration and none of whoever runs
the test.
"""

import os
import shutil
import uuid

import host

SHARED = "/srv"

_NETWORK = "10.77.0"
_SSH = "/run/ssh"

_SSHD_CONFIG = f"""\
HostKey {_SSH}/host
AuthorizedKeysFile {_SSH}/authorized
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
"""

_SSH_WRAPPER = f"""\
#!/bin/sh
exec {_SSH}/real-ssh -F none -i {_SSH}/user -o UserKnownHostsFile={_SSH}/known "$@"
"""


class NetworkHost(host.Host):
    namespaces = {"mount": "mnt", "uts": "uts", "net": "net"}

    def __init__(self, name, number, **options):
        super().__init__(**options)
        self.name = name
        self.address = f"{_NETWORK}.{number}"
        # Two hosts of one uuid are one to libvirt, which refuses to migrate between them.
        self.libvirtd_conf = f'host_uuid = "{uuid.uuid4()}"\n'
        self.shell(f"hostname {name} && ip link set lo up")

    @property
    def pid(self):
        """Of a process that has the host's namespaces."""
        return self._holder.pid

    @property
    def libvirt_uri(self):
        """By which the other host reaches this one."""
        return f"qemu+ssh://root@{self.name}/system"

    def shell(self, script):
        return self.run(["bash", "-e", "-c", script]).check()

    def start_sshd(self, hosts):
        for key in ("host", "user"):
            self.shell(f"mkdir -p {_SSH} && ssh-keygen -q -t ed25519 -N '' -f {_SSH}/{key}")
        os.makedirs(self.path("/run/sshd"), mode=0o755, exist_ok=True)
        self.write(f"{_SSH}/sshd_config", _SSHD_CONFIG)
        shutil.copy("/usr/bin/ssh", self.path(f"{_SSH}/real-ssh"))
        self.write(f"{_SSH}/ssh", _SSH_WRAPPER, mode=0o755)
        self.write("/run/hosts", "127.0.0.1 localhost\n" + "".join(
            f"{other.address} {other.name}\n" for other in hosts), mode=0o644)
        self.shell(f"mount --bind {_SSH}/ssh /usr/bin/ssh && mount --bind /run/hosts /etc/hosts")
        return self.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", f"{_SSH}/sshd_config"])

    def trust(self, other):
        """Lets the other host's root in, and knows that host."""
        self.write(f"{_SSH}/authorized", other.read(f"{_SSH}/user.pub"))
        key = other.read(f"{_SSH}/host.pub").decode()
        self.write(f"{_SSH}/known", f"{other.name},{other.address} {key}")

    def answers(self, other):
        """Whether the other host's sshd lets this one in."""
        return self.run(["ssh", "-o", "BatchMode=yes", f"root@{other.name}", "true"]).returncode == 0


class TwoHosts:
    def __init__(self, build_root=None):
        self.one = self.two = None
        try:
            self.one = NetworkHost("one", 1, build_root=build_root)
            self.one.shell(f"mount -t tmpfs -o mode=0755 shared {SHARED}")
            # From there it has the folder.
            self.two = NetworkHost("two", 2, build_root=build_root, within=(
                "nsenter", f"--mount=/proc/{self.one.pid}/ns/mnt", "--"))
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self):
        self.one.shell("ip link add other type veth peer name other "
                       f"netns /proc/{self.two.pid}/ns/net")
        for machine in self.both:
            machine.shell(f"ip address add {machine.address}/24 dev other && ip link set other up")
            machine.start_sshd(self.both)
        self.one.trust(self.two)
        self.two.trust(self.one)
        for here, there in (self.both, self.both[::-1]):
            host.wait_for(lambda here=here, there=there: here.answers(there),
                          f"{there.name} lets {here.name} in")

    @property
    def both(self):
        return [self.one, self.two]

    def start_daemons(self, secretd="", virtcryptd=""):
        """All of them, with the connectors; `secretd` and `virtcryptd` are configurations."""
        for machine in self.both:
            machine.start_secretd(secretd)
            machine.start_virtcryptd(virtcryptd)
            machine.start_libvirtd(connector=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        # The second one's mounts were made from the first one's.
        for machine in (self.two, self.one):
            if machine:
                machine.close()
