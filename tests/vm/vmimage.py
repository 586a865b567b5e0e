# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the virtual machine boots from, made below build/vm and kept there by content:

    packages/   Debian packages, fetched and unpacked, never installed
    kernel/     the kernel and an initramfs that finds the disks by their serials
    root.erofs  the packages of packages.txt with all that they depend on, and the kernel's modules
    ours-*.erofs  what `meson install` installs of one build, and the programs of tests/vm
    host-*/     a machine that ran daemons of one build, saved (vmhost.py)

Of the machine that it is made on nothing else comes in, so that its state does not either."""

import collections
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE_ROOT = os.environ.get("SOURCE_ROOT") or os.path.dirname(os.path.dirname(HERE))
FOLDER = os.path.join(SOURCE_ROOT, "build", "vm")

# What the initramfs loads; the rest comes by itself from the root.
_EARLY_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "erofs", "overlay", "ext4",
                  "loop", "dm_mod")

# Not needed to run, and half of the size. Python's own tests are big.
_LEFT_OUT = re.compile(
    r"^/usr/share/(?:doc|man|info|locale|lintian|help|iso-codes|icons|gdb)(?:/|$)"
    r"|^/usr/lib/python3[^/]*/(?:test|idlelib)(?:/|$)|^/etc/libvirt/|^/\.$")

# What is no package's.
_HOST_FILES = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ld.so.conf",
               "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/pam.d")

# Where udev does not run.
_LVM_CONF = """\
activation {
    udev_sync = 0
    udev_rules = 0
    monitoring = 0
}
devices {
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
    use_devicesfile = 0
}
"""


class ImageError(Exception):
    """Something that the virtual machine needs can't be made or fetched."""


# Paths of what a machine starts from.
Images = collections.namedtuple("Images", "kernel initramfs root ours")


def _run(argv, **options):
    done = subprocess.run(argv, stdin=options.pop("stdin", subprocess.DEVNULL),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          timeout=600, **options)
    if done.returncode != 0:
        raise ImageError(f"{' '.join(argv[:6])} ended with {done.returncode}:\n"
                         f"{(done.stdout + done.stderr).decode(errors='replace')[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def locked(name):
    """One process makes it; the others wait and find it made."""
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, name + ".lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(*parts):
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:24]


def _is_made(path, key):
    try:
        with open(path + ".key", encoding="ascii") as file:
            return file.read() == key and os.path.exists(path)
    except FileNotFoundError:
        return False


def _set_made(path, key):
    with open(path + ".key", "w", encoding="ascii") as file:
        file.write(key)


def _fresh_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def remove_old(prefix, kept):
    """Files or folders of that kind that others, of earlier builds, have not used for an hour."""
    for name in os.listdir(FOLDER):
        other = os.path.join(FOLDER, name)
        if name.startswith(prefix) and other != kept \
                and time.time() - os.stat(other).st_mtime > 3600:
            _run(["rm", "-rf", other])


# ---- packages ----

def _wanted():
    installed, fetched = [], []
    with open(os.path.join(HERE, "packages.txt"), encoding="ascii") as file:
        for line in file:
            line = line.split("#")[0].strip()
            if line.startswith("fetched:"):
                fetched.append(line.split(":")[1].strip())
            elif line:
                installed.append(line)
    return installed, fetched


def _installed_packages():
    """name -> (version, list of lists of alternatives); and what provides what."""
    text = _run(["dpkg-query", "-W", "-f=${Package}\t${db:Status-Status}\t${Version}\t"
                 "${Depends}, ${Pre-Depends}\t${Provides}\n"]).decode()

    def names(words, separator):
        return [re.sub(r"[ (:].*", "", word.strip()) for word in words.split(separator)
                if word.strip()]

    packages, providers = {}, {}
    for line in text.splitlines():
        name, status, version, depends, provides = line.split("\t")
        if status == "installed":
            packages[name] = (version, [names(word, "|") for word in depends.split(",")])
            for virtual in names(provides, ","):
                providers.setdefault(virtual, name)
    return packages, providers


def _closure(wanted):
    """The packages that are installed here and needed by `wanted`, with their versions."""
    packages, providers = _installed_packages()
    found, todo = {}, list(wanted)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        if name not in packages:
            raise ImageError(f"the package {name} is not installed: run 'sudo ./dev setup'")
        found[name], depends = packages[name]
        for alternatives in depends:
            here = [other for other in alternatives if other in packages] or [
                providers[other] for other in alternatives if other in providers]
            todo.extend(here[:1])
    return found


def _fetch(names):
    """Unpacks packages that are not installed; returns their folder. What is there stays: a newer
    version is fetched after `rm -r build/vm`."""
    folder = os.path.join(FOLDER, "packages")
    key = digest(names)
    if _is_made(folder, key):
        return folder
    _fresh_folder(folder)
    try:
        _download(names, folder)
    except ImageError:
        _run(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update"])
        try:
            _download(names, folder)
        except ImageError as error:
            raise ImageError(f"the packages {' '.join(names)}, needed by the virtual machine, "
                             f"can't be fetched: is the mirror reachable?\n{error}") from None
    for package in sorted(os.listdir(folder)):
        if package.endswith(".deb"):
            _run(["dpkg-deb", "-x", os.path.join(folder, package), os.path.join(folder, "root")])
            os.unlink(os.path.join(folder, package))
    _set_made(folder, key)
    return folder


def _download(names, folder):
    real = []
    for name in names:
        if name == "linux-image-cloud-amd64":
            lines = _run(["apt-cache", "depends", name]).decode()
            match = re.search(r"Depends: (linux-image-\S+)", lines)
            if not match:
                raise ImageError(f"apt-cache knows no kernel that {name} depends on")
            name = match.group(1)
        real.append(name)
    # As root, apt-get would leave its work to an account that can't write here.
    _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *real], cwd=folder)


# ---- kernel ----

def _kernel_version(packages):
    versions = os.listdir(os.path.join(packages, "root/lib/modules"))
    if len(versions) != 1:
        raise ImageError(f"{packages} has not one kernel but {versions}")
    return versions[0]


def _modules_in_order(root, version, names):
    order = []
    for name in names:
        for line in _run(["modprobe", "-d", root, "-S", version, "--show-depends", name]) \
                .decode().splitlines():
            words = line.split()
            if words[0] == "insmod" and words[1] not in order:
                order.append(words[1])
    return order


def _make_kernel(packages):
    version = _kernel_version(packages)
    root = os.path.join(packages, "root")
    folder = os.path.join(FOLDER, "kernel")
    with open(os.path.join(HERE, "initramfs-init"), encoding="ascii") as file:
        key = digest(version, file.read(), _EARLY_MODULES)
    if _is_made(folder, key):
        return folder
    _run(["depmod", "-b", root, version])
    tree = _fresh_folder(os.path.join(folder, "tree"))
    for name in ("bin", "dev", "proc", "sys", "modules", "layers", "root"):
        os.mkdir(os.path.join(tree, name))
    shutil.copy("/bin/busybox", os.path.join(tree, "bin/busybox"))
    shutil.copy(os.path.join(HERE, "initramfs-init"), os.path.join(tree, "init"))
    os.chmod(os.path.join(tree, "init"), 0o755)
    order = _modules_in_order(root, version, _EARLY_MODULES)
    for path in order:
        shutil.copy(path, os.path.join(tree, "modules"))
    with open(os.path.join(tree, "modules/order"), "w", encoding="ascii") as file:
        file.writelines(f"{os.path.basename(path)}\n" for path in order)
    files = "\n".join(sorted(os.path.relpath(os.path.join(base, name), tree)
                             for base, folders, names in os.walk(tree)
                             for name in folders + names)) + "\n"
    with open(os.path.join(folder, "initramfs"), "wb") as file:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=tree, input=files.encode(),
                       stdout=file, stderr=subprocess.DEVNULL, check=True, timeout=60)
    shutil.copy(os.path.join(root, f"boot/vmlinuz-{version}"), os.path.join(folder, "vmlinuz"))
    shutil.rmtree(tree)
    _set_made(folder, key)
    return folder


# ---- root ----

def _compiled(path):
    """Python's compiled form, which no package lists; without it each start compiles anew."""
    folder, name = os.path.split(path)
    cache = os.path.join(folder, "__pycache__")
    stem = name[:-3] + ".cpython-3"
    try:
        return [os.path.join(cache, other) for other in os.listdir(cache)
                if other.startswith(stem)]
    except FileNotFoundError:
        return []


def _package_files(names):
    """Real paths: what a package calls /bin/x is /usr/bin/x."""
    parents, paths = {}, set()
    for path in _run(["dpkg", "-L", *names]).decode().splitlines():
        if not path.startswith("/") or _LEFT_OUT.search(path):
            continue
        parent, name = os.path.split(path)
        if parent not in parents:
            parents[parent] = os.path.realpath(parent)
        real = os.path.join(parents[parent], name)
        if not os.path.lexists(real) or (os.path.islink(real) and parent == "/"):
            continue
        paths.add(real)
        if real.endswith(".py"):
            paths.update(_compiled(real))
    return paths


def _copy_tree(paths, tree):
    names = "\0".join(sorted(path.lstrip("/") for path in paths if path != "/")) + "\0"
    with subprocess.Popen(["tar", "-C", "/", "-c", "--no-recursion", "--null", "-T", "/dev/stdin"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pack, \
            subprocess.Popen(["tar", "-C", tree, "-x", "-p"], stdin=pack.stdout) as unpack:
        pack.stdin.write(names.encode())
        pack.stdin.close()
        if unpack.wait(600) != 0 or pack.wait(60) != 0:
            raise ImageError("the files of packages could not be copied")


def _write(tree, path, text, mode=0o644):
    path = os.path.join(tree, path.lstrip("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def _enable(tree, unit):
    """What `systemctl enable` does."""
    with open(os.path.join(tree, unit), encoding="utf-8") as file:
        targets = re.findall(r"^WantedBy=(\S+)", file.read(), re.M)
    for target in targets:
        folder = os.path.join(tree, f"etc/systemd/system/{target}.wants")
        os.makedirs(folder, exist_ok=True)
        os.symlink("/" + unit, os.path.join(folder, os.path.basename(unit)))


def _configure(tree):
    """The machine's own settings, instead of those of the host."""
    for name in ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "var/lib/libvirt/images",
                 "var/cache/libvirt", "var/log/libvirt", "var/tmp", "etc/libvirt"):
        os.makedirs(os.path.join(tree, name), exist_ok=True)
    for name in ("tmp", "var/tmp"):
        os.chmod(os.path.join(tree, name), 0o1777)
    if not os.path.lexists(os.path.join(tree, "var/run")):
        os.symlink("/run", os.path.join(tree, "var/run"))
    _write(tree, "/usr/lib/vm/lvm.conf", _LVM_CONF)
    _write(tree, "/etc/hostname", "vm\n")
    _write(tree, "/etc/hosts", "127.0.0.1 localhost vm\n")
    _write(tree, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    _write(tree, "/etc/fstab", "")
    for kind, lines in (("passwd", "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false\n"),
                        ("group", "libvirt-qemu:x:64055:\nlibvirt:x:64056:\n")):
        path = os.path.join(tree, "etc", kind)
        with open(path, "r+", encoding="utf-8") as file:
            names = {line.split(":")[0] for line in file}
            file.writelines(line + "\n" for line in lines.splitlines()
                            if line.split(":")[0] not in names)
    for unit in ("libvirtd.service", "libvirtd.socket", "libvirtd-ro.socket"):
        _enable(tree, "lib/systemd/system/" + unit)
    _write(tree, "/etc/shadow", "root::19000:0:99999:7:::\n", 0o600)


def _make_root(packages):
    installed, _ = _wanted()
    names = _closure(installed)
    with open(__file__, encoding="utf-8") as file:
        key = digest(_kernel_version(packages), sorted(names.items()), file.read())
    path = os.path.join(FOLDER, "root.erofs")
    if _is_made(path, key):
        return path
    tree = _fresh_folder(os.path.join(FOLDER, "root"))
    paths = _package_files(names)
    for own in _HOST_FILES:
        paths.update(os.path.join(base, name) for base, folders, files in os.walk(own)
                     for name in folders + files)
        paths.add(own)
    _copy_tree([path for path in paths if os.path.lexists(path)], tree)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink("/" + name):
            os.symlink(os.readlink("/" + name), os.path.join(tree, name))
    _run(["cp", "-a", os.path.join(packages, "root/."), tree + "/.unpacked"])
    unpacked = os.path.join(tree, ".unpacked")
    shutil.rmtree(os.path.join(unpacked, "boot"), ignore_errors=True)
    # Unpacked packages have real folders where the machine has links to /usr.
    for name in ("bin", "sbin", "lib"):
        if os.path.isdir(os.path.join(unpacked, name)):
            _run(["cp", "-a", os.path.join(unpacked, name, "."),
                  os.path.join(tree, "usr", name) if os.path.islink(os.path.join(tree, name))
                  else os.path.join(tree, name)])
            shutil.rmtree(os.path.join(unpacked, name))
    _run(["cp", "-a", unpacked + "/.", tree])
    shutil.rmtree(unpacked)
    _configure(tree)
    _run(["ldconfig", "-r", tree])
    _make_erofs(path, tree)
    shutil.rmtree(tree)
    _set_made(path, key)
    return path


def _make_erofs(path, tree):
    _run(["mkfs.erofs", "--all-root", "-x-1", path + ".new", tree])
    os.rename(path + ".new", path)


# ---- ours ----

def _make_ours(build_root):
    """One image for each state of a build: a machine that runs keeps the one it started from."""
    with open(os.path.join(build_root, "meson-info/intro-installed.json"),
              encoding="utf-8") as file:
        sources = sorted(json.load(file).items())
    programs = [os.path.join(HERE, name) for name in ("agent", "agent.service", "init")]
    # A link that is installed stands there by what it points to.
    stats = [(path, os.stat(path)) for path in [source for source, _ in sources] + programs
             if os.path.isabs(path)]
    key = digest(sources, [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats])
    path = os.path.join(FOLDER, f"ours-{key}.erofs")
    if os.path.exists(path):
        os.utime(path)
        return path
    tree = _fresh_folder(os.path.join(FOLDER, "ours"))
    _run(["meson", "install", "-C", build_root, "--no-rebuild", "--quiet", "--destdir", tree])
    for name in ("agent", "init"):
        _run(["install", "-D", "-m", "755", os.path.join(HERE, name),
              os.path.join(tree, "usr/lib/vm", name)])
    units = "usr/local/lib/systemd/system"
    _run(["install", "-D", "-m", "644", os.path.join(HERE, "agent.service"),
          os.path.join(tree, units, "vm-agent.service")])
    for name in os.listdir(os.path.join(tree, units)):
        if os.path.isfile(os.path.join(tree, units, name)):
            _enable(tree, os.path.join(units, name))
    _make_erofs(path, tree)
    shutil.rmtree(tree)
    remove_old("ours-", path)
    return path


def prepare(build_root):
    """Fetches and makes what is missing, and returns the Images for that build."""
    if os.uname().machine != "x86_64":
        raise ImageError("the virtual machine is an amd64 one: it is not made on other processors")
    with locked("images"):
        packages = _fetch(_wanted()[1])
        kernel = _make_kernel(packages)
        root = _make_root(packages)
        ours = _make_ours(build_root)
    return Images(os.path.join(kernel, "vmlinuz"), os.path.join(kernel, "initramfs"), root, ours)
