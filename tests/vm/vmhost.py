# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tests do with a virtual machine (vm.py) that is a libvirt host: daemons, pools, guests."""

import base64
import os
import re
import textwrap

import guest
import host
import vm
import vmimage
import vmsaved

BIN = "/usr/local/bin"
SBIN = "/usr/local/sbin"
LIBEXEC = "/usr/local/libexec/virtcrypt"
HOOK = "/etc/libvirt/hooks/qemu.d/virtcrypt"
IMAGES = "/var/lib/libvirt/images"
CONTAINERS = {"lv": "/dev/vg", "dir": IMAGES}
DRIVER_DIR = "/run/virtcrypt/connection-driver"

_LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:stderr"
"""

# There is no systemd, no D-Bus and no virtlogd, unless a test boots with systemd.
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
stdio_handler = "file"
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
"""


class VmHost(vm.Machine):
    """Daemons are those that `meson install` installs."""

    def __init__(self, disks=None, **options):
        super().__init__(disks, **options)
        if "saved" not in options:
            self.write("/etc/libvirt/libvirtd.conf", _LIBVIRTD_CONF)
            self.write("/etc/libvirt/qemu.conf", _QEMU_CONF)

    # ---- daemons ----

    def _start_and_wait(self, name, argv, socket, client, env=None):
        """`client`: a command that succeeds as soon as the daemon answers. One before its socket
        listens would only take time from it, of which a second is little here. (One that was killed
        leaves the socket's name behind.)"""
        daemon = self.start(name, argv, env)
        listens = f"grep -q ' 00010000 .*/run/libvirt/{socket}$' /proc/net/unix"
        done = self.run(["bash", "-c", f"for n in {{1..{int(600 * host.PATIENCE)}}}; do "
                         f"{listens} && {client} >/dev/null 2>&1 && exit; "
                         f"kill -0 {daemon.pid} 2>/dev/null || exit 1; sleep 0.3; done; exit 2"])
        if done.returncode != 0:
            raise host.HostError(f"{name} does not answer:\n{daemon.log_text()}")
        return daemon

    def start_secretd(self, config=""):
        self.write("/etc/libvirt/virtcrypt-secretd.conf", config)
        return self._start_and_wait("virtcrypt-secretd", [f"{SBIN}/virtcrypt-secretd"],
                                    "virtsecretd-sock", "true")

    def start_virtcryptd(self, prefix=()):
        return self._start_and_wait("virtcryptd", [*prefix, f"{SBIN}/virtcryptd"],
                                    "virtcryptd-sock", f"{BIN}/virtcrypt vol-list")

    def start_libvirtd(self, connector=True):
        env = {}
        if connector:
            self.run([f"{LIBEXEC}/link-drivers"]).check()
            env["LIBVIRT_DRIVER_DIR"] = DRIVER_DIR
        return self._start_and_wait("libvirtd", ["libvirtd"], "libvirt-sock",
                                    "virsh -c qemu:///system uri", env)

    def start_all(self):
        self.start_secretd()
        self.start_virtcryptd()
        self.start_libvirtd()

    # ---- secrets ----

    def secret_values(self, *uuids):
        """What the custodian keeps, by its own calls: {uuid: bytes}."""
        if not self.exists("/run/test/values.py"):
            for name in ("lib/host.py", "lib/wire.py", "lib/secretcalls.py", "vm/values.py"):
                self.put(os.path.join(vmimage.SOURCE_ROOT, "tests", name),
                         "/run/test/" + os.path.basename(name))
        printed = self.run(["python3", "/run/test/values.py", *uuids]).check().stdout
        return {name: base64.b64decode(value) for name, value in
                (line.split() for line in printed.splitlines())}

    def secrets(self):
        """The uuids of all."""
        listed = self.virsh("secret-list", uri="secret:///system").check().stdout
        return re.findall(r"^ ([0-9a-f-]{36})", listed, re.M)

    # ---- volumes ----

    def virtcrypt(self, *arguments, **options):
        return self.run([f"{BIN}/virtcrypt", *arguments], **options)

    def create_volume(self, pool, name, encryption="", size=8, tool="virtcrypt"):
        """A volume of `size` MiB by an XML file with that <encryption>."""
        self.write("/run/volume.xml", (
            f"<volume><name>{name}</name><capacity unit='MiB'>{size}</capacity><target>"
            f"<format type='raw'/>{encryption}</target></volume>"))
        return getattr(self, tool)("vol-create", pool, "/run/volume.xml")

    def secret_of(self, pool, name):
        """The uuid that the volume's XML names."""
        xml = self.virtcrypt("vol-dumpxml", name, "--pool", pool).check().stdout
        return re.search(r"<secret [^>]*uuid=['\"]([0-9a-f-]{36})", xml).group(1)

    # ---- pools ----

    def make_volume_group(self, name, disk):
        self.shell(f"vgcreate -q {name} /dev/disk/by-serial/{disk}").check()

    def define_pool(self, name, kind, target, autostart=True):
        """A running pool: `dir`, or `logical` of the volume group that `target` names."""
        source = f"<source><name>{target}</name></source>" if kind == "logical" else ""
        path = f"/dev/{target}" if kind == "logical" else target
        self.write("/run/pool.xml", f"<pool type='{kind}'><name>{name}</name>{source}"
                                    f"<target><path>{path}</path></target></pool>")
        self.shell(("" if source else f"mkdir -p {path}; ") +
                   f"virsh -q pool-define /run/pool.xml; virsh -q pool-start {name}" +
                   (f"; virsh -q pool-autostart {name}" if autostart else "")).check()

    # ---- guests ----

    def define_guest(self, name, disks, autostart=False):
        """`disks`: each a path of a block device, or the inside of a <disk>. Its console is
        the file console(name)."""
        xml = "".join(_disk_xml(disk, "vd" + "abcdef"[number]) for number, disk in enumerate(disks))
        self.write("/run/guest.xml", textwrap.dedent(f"""\
            <domain type='qemu'>
              <name>{name}</name>
              <memory unit='MiB'>16</memory>
              <os><type arch='x86_64' machine='pc'>hvm</type></os>
              <features><acpi/></features>
              <devices>
                {xml}
                <serial type='file'><source path='{self.console(name)}' append='on'/></serial>
                <memballoon model='none'/>
              </devices>
            </domain>
            """))
        self.virsh("define", "/run/guest.xml").check()
        if autostart:
            self.virsh("autostart", name).check()

    @staticmethod
    def console(name):
        return f"/var/lib/libvirt/{name}.console"

    def write_guest(self, device, marker):
        """A program that prints `marker` and counts its boots, at the start of a device."""
        self.run(["dd", f"of={device}", "conv=notrunc,fsync", "status=none"],
                 input=guest.disk(marker)).check()

    def boots(self, name):
        """What guests of that name have printed: a list of (marker, count)."""
        done = self.run(["cat", self.console(name)])
        return [(marker, int(count)) for marker, count in
                re.findall(r"(\S+) \(boot (\d)\)", done.stdout)]

    def wait_for_boot(self, name, marker, count, bound=vm.BOOT_BOUND_S):
        host.wait_for(lambda: (marker, count) in self.boots(name),
                      f"the guest {name} prints {marker} (boot {count}); it printed "
                      f"{self.boots(name)}", bound, 1)


def _disk_xml(disk, target):
    if "<" not in disk:
        disk = f"<driver name='qemu' type='raw'/><source dev='{disk}'/>"
    kind = "volume" if "pool=" in disk else "file" if "file=" in disk else "block"
    return f"<disk type='{kind}' device='disk'>{disk}<target dev='{target}' bus='virtio'/></disk>"


def start_host():
    """All daemons run; there are a folder pool `dir` and a logical pool `lv` on the disk `data`.
    The first of a build boots and is saved, and all go on from there."""
    saved = _saved_path()
    with vmimage.locked("host"):
        if not os.path.exists(saved):
            _save_host(saved)
        os.utime(saved)
    return VmHost(saved=saved)


def _saved_path():
    """By all that goes into it: images, and what is done with them."""
    sources = []
    for path in (vm.__file__, vmsaved.__file__, __file__):
        with open(path, encoding="utf-8") as file:
            sources.append(file.read())
    images = vmimage.prepare(host.BUILD_ROOT)
    # The image of our programs has its content's name.
    made = [os.stat(path).st_mtime_ns for path in (images.kernel, images.initramfs, images.root)]
    return os.path.join(vmimage.FOLDER, "host-" + vmimage.digest(*made, images.ours, *sources))


def _save_host(folder):
    with VmHost({"data": 512}) as machine:
        machine.start_all()
        machine.make_volume_group("vg", "data")
        machine.define_pool("lv", "logical", "vg")
        machine.define_pool("dir", "dir", IMAGES)
        # libvirtd asks QEMU what it can, once.
        machine.virsh("domcapabilities", "--virttype", "qemu").check()
        machine.save(folder)
    vmimage.remove_old("host-", folder)


class VmHostMixin:
    """Of a class of cases with self.machine, a start_host() of their own or their module's."""

    machine = None

    @classmethod
    def setUpClass(cls):
        if not cls.machine:
            cls.machine = start_host()
            cls.addClassCleanup(cls.machine.close)

    def assert_refused(self, done, *texts):
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for text in texts:
            self.assertRegex(done.stderr, text)

    def ciphertext(self, pool, name):
        return f"{CONTAINERS[pool]}/{name}.crypt"
