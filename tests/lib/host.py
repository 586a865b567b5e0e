# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private host: a mount namespace in which libvirt's folders are empty, so that stock libvirtd and
our daemons run there as on a machine of their own while the machine's libvirt is untouched.

    with host.Host() as machine:
        machine.start_secretd()
        machine.start_libvirtd(connector=True)
        machine.run(["virsh", "-c", "qemu:///system", "secret-list"])

Several hosts can live at a time. Programs of a test reach into one by path(): its files and sockets
are below /proc/PID/root. When the owner ends, however it ends, every process of its hosts is killed
and their files are gone, since they are on tmpfs. Needs root.
"""

import os
import signal
import socket
import struct
import subprocess
import time
import uuid

BUILD_ROOT = os.environ.get("BUILD_ROOT", "")
# Where tests run, keys of persons get cheap keyslots (tests/lib/slow_processor.c).
SLOW_PROCESSOR = os.environ.get("SLOW_PROCESSOR", "")

# A slow machine (sanitizers, emulation, other tests beside) makes every bound too short.
PATIENCE = float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1"))
START_BOUND_S = 60 * PATIENCE
STOP_BOUND_S = 30 * PATIENCE
RUN_BOUND_S = 120 * PATIENCE

SECRETD_SOCKET = "/run/libvirt/virtsecretd-sock"
SECRETD_SOCKET_RO = "/run/libvirt/virtsecretd-sock-ro"
VIRTCRYPTD_SOCKET = "/run/libvirt/virtcryptd-sock"
VIRTCRYPTD_SOCKET_RO = "/run/libvirt/virtcryptd-sock-ro"
LIBVIRTD_SOCKET = "/run/libvirt/libvirt-sock"
REFERENCE_SOCKET = "/run/reference/libvirt-sock"
DRIVER_DIR = "/run/virtcrypt/connection-driver"

_DRIVER_FOLDERS = ("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver",
                   "/usr/lib/aarch64-linux-gnu/libvirt/connection-driver",
                   "/usr/lib/libvirt/connection-driver", "/usr/lib64/libvirt/connection-driver")

# Keeps the namespace until its standard input ends, that is until the owner closes it or dies, and
# takes every process in it along.
_HOLDER = r"""
for folder in /run /etc/libvirt /var/lib /var/cache /var/log; do
    mount -t tmpfs -o mode=0755 private "$folder" || exit 1
done
mkdir -p /run/lock /run/libvirt /var/lib/libvirt/images /var/cache/libvirt /var/log/libvirt || exit 1
# Debian's libvirtd wants this account even if qemu.conf names another.
for kind in passwd group; do
    if ! getent "$kind" libvirt-qemu >/dev/null; then
        line=libvirt-qemu:x:64055:
        [ "$kind" = group ] || line=libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin
        { cat "/etc/$kind"; echo "$line"; } >"/run/$kind" || exit 1
        mount --bind "/run/$kind" "/etc/$kind" || exit 1
    fi
done
echo ready
while read -r _; do :; done
trap '' TERM
# By what the shell can do itself: a program for each process of the machine takes a second.
for round in 1 2 3; do
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        if [ "$pid" != "$$" ] && [ "$entry/ns/mnt" -ef /proc/self/ns/mnt ]; then
            kill -KILL "$pid" 2>/dev/null
        fi
    done
done
exit 0
"""

_LIBVIRTD_CONF = """\
auth_unix_ro = "{auth}"
auth_unix_rw = "{auth}"
unix_sock_dir = "{sockets}"
log_outputs = "{level}:stderr"
"""

# No cgroups, mount namespaces, security labels or virtlogd: none is there in a container.
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


# What libvirtd has asked QEMU about itself, with what it was asked of: another QEMU, libvirt or kernel
# makes libvirtd ask again. Asking is most of what the first guest of a host takes.
_CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"

# As libvirt 9.0.0 writes them.
_POOL_STATE = """\
<poolstate>
  <pool type='{kind}'>
    <name>{name}</name>
    <uuid>{uuid}</uuid>
    <capacity unit='bytes'>0</capacity>
    <allocation unit='bytes'>0</allocation>
    <available unit='bytes'>0</available>
    <source>{source}</source>
    <target>
      <path>{target}</path>
    </target>
  </pool>
</poolstate>
"""


class HostError(Exception):
    """A program did not start, did not stop, or a command failed."""


class Result(subprocess.CompletedProcess):
    """Of a command: returncode, stdout, stderr (text unless asked for otherwise)."""

    def check(self):
        if self.returncode != 0:
            raise HostError(f"{self.args} ended with {self.returncode}:\n{self.stdout}{self.stderr}")
        return self


class Daemon:
    """A program that Host.start() runs."""

    def __init__(self, name, process, log):
        self.name = name
        self.log = log
        self._process = process

    @property
    def pid(self):
        return self._process.pid

    @property
    def is_running(self):
        return self._process.poll() is None

    @property
    def returncode(self):
        return self._process.poll()

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def send(self, number):
        self._process.send_signal(number)

    def wait(self, bound=STOP_BOUND_S):
        """Returns the exit status; -N for signal N."""
        try:
            return self._process.wait(timeout=bound)
        except subprocess.TimeoutExpired:
            raise HostError(f"{self.name} did not end within {bound} s; its log:\n"
                            f"{self.log_text()}") from None

    def stop(self, number=signal.SIGTERM, bound=STOP_BOUND_S):
        """Returns the exit status. A daemon that does not end in time is killed, and an error."""
        if not self.is_running:
            return self.returncode
        self.send(number)
        try:
            return self.wait(bound)
        except HostError:
            self._process.kill()
            self._process.wait()
            raise

    def kill(self):
        return self.stop(signal.SIGKILL)

    def stop_in_order(self):
        """Stops it; that it has ended otherwise than with 0 (a sanitizer found something, say) is
        an error."""
        status = self.stop()
        if status != 0:
            raise HostError(f"{self.name} ended with {status}; its log:\n{self.log_text()}")


def libvirt_driver_folder():
    """Where libvirt has its own driver modules."""
    for folder in _DRIVER_FOLDERS:
        if os.path.exists(os.path.join(folder, "libvirt_driver_secret.so")):
            return folder
    raise HostError("libvirt_driver_secret.so was not found: is libvirt-daemon installed?")


def helper_environment():
    """What daemons start the unlock helper of the build folder with."""
    if not BUILD_ROOT:
        return {}
    environment = {"VIRTCRYPT_HELPER_" + name: value
                   for name, value in preloaded(SLOW_PROCESSOR).items()}
    environment["VIRTCRYPT_UNLOCK_HELPER"] = os.path.join(
        BUILD_ROOT, "src/master/virtcrypt-unlock-helper")
    return environment


def preloaded(library):
    """The environment of a program that starts with `library`, whether it is built with a sanitizer
    or not; none if that is empty."""
    if not library:
        return {}
    options = [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": ":".join(filter(None, options))}


def wait_for(condition, what, bound=START_BOUND_S, interval=0.02):
    """Calls `condition` until it returns something true, which is returned."""
    deadline = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise HostError(f"not within {bound} s: {what}")
        time.sleep(interval)


def _content(path):
    """Or None if there is no such file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def answers(path, bound=START_BOUND_S):
    """Whether a daemon on that socket answers AUTH_LIST, the first call of every libvirt client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(bound)
        try:
            client.connect(path)
            client.sendall(struct.pack(">7I", 28, 0x20008086, 1, 66, 0, 0, 0))
            return len(client.recv(64)) > 0
        except (FileNotFoundError, ConnectionError):
            return False
        except TimeoutError:
            raise HostError(f"{path} accepts clients and does not answer in {bound} s") from None


class Host:
    # What a host has of its own; more may be of a subclass.
    namespaces = {"mount": "mnt"}
    # More lines of libvirtd.conf.
    libvirtd_conf = ""

    def __init__(self, build_root=None, within=()):
        """`within`: the command that the host's namespaces begin in; otherwise the test's own."""
        self.build_root = build_root or BUILD_ROOT
        self.daemons = []
        self._holder = subprocess.Popen(
            [*within, "unshare", *(f"--{name}" for name in self.namespaces),
             "--propagation", "private", "bash", "-c", _HOLDER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise HostError("a private mount namespace could not be made; is this root?")
        self.write("/etc/libvirt/qemu.conf", _QEMU_CONF)
        self.folder = self.path("/var/log/private")
        os.mkdir(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- files ----

    def path(self, path):
        """The name by which the test itself reaches `path` of the host."""
        return f"/proc/{self._holder.pid}/root{path}"

    def write(self, path, content, mode=0o600):
        os.makedirs(os.path.dirname(self.path(path)), mode=0o755, exist_ok=True)
        with open(self.path(path), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)

    def read(self, path):
        with open(self.path(path), "rb") as file:
            return file.read()

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def uri(self, driver="qemu", path_of_socket=LIBVIRTD_SOCKET):
        """For a client in the test's own process. Commands in the host just say qemu:///system."""
        return f"{driver}+unix:///system?socket={self.path(path_of_socket)}"

    # ---- programs ----

    def _argv(self, argv):
        return ["nsenter", *(f"--{name}=/proc/{self._holder.pid}/ns/{file}"
                             for name, file in self.namespaces.items()), "--", *argv]

    def _environment(self, extra):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("LIBVIRT_", "VIRSH_", "VIRTCRYPT_", "XDG_"))}
        environment.update({"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        environment.update(preloaded(SLOW_PROCESSOR))
        environment.update(helper_environment())
        environment.update(extra or {})
        return environment

    def popen(self, argv, env=None, **options):
        """A program in the host; its pid is that of the Popen."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self._argv(argv), env=self._environment(env), **options)

    def run(self, argv, env=None, input=None, text=True, timeout=RUN_BOUND_S, **options):
        """Runs a command to its end and returns its Result; check() raises when it failed."""
        if input is None:
            options.setdefault("stdin", subprocess.DEVNULL)
        try:
            done = subprocess.run(self._argv(argv), env=self._environment(env), input=input,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text,
                                  timeout=timeout, check=False, **options)
        except subprocess.TimeoutExpired:
            raise HostError(f"{argv} did not end within {timeout} s\n{self._stacks()}") from None
        return Result(argv, done.returncode, done.stdout, done.stderr)

    def _stacks(self):
        """What the host's processes are at: for the reader of a failure that does not come again."""
        told = ""
        for pid in self.processes():
            try:
                done = subprocess.run(["gdb", "-p", str(pid), "-batch", "-nx", "-ex",
                                       "thread apply all backtrace 20"], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                      encoding="utf-8", errors="replace", timeout=60, check=False)
            except subprocess.TimeoutExpired:
                continue
            told += f"--- process {pid}\n{done.stdout[-8000:]}\n"
        return told

    def virsh(self, *arguments, uri="qemu:///system", **options):
        return self.run(["virsh", "-c", uri, *arguments], **options)

    def start(self, name, argv, wait_for_socket=None, env=None, bound=START_BOUND_S):
        """Starts a daemon with its output in the file Daemon.log (kept over restarts of that name)
        and waits until it answers on `wait_for_socket`."""
        log = os.path.join(self.folder, name + ".log")
        with open(log, "ab") as file:
            process = self.popen(argv, env=env, stdout=file, stderr=file, start_new_session=True)
        daemon = Daemon(name, process, log)
        self.daemons.append(daemon)
        if wait_for_socket:
            self._wait_until_it_answers(daemon, wait_for_socket, bound)
        return daemon

    def _wait_until_it_answers(self, daemon, path, bound):
        def is_ready():
            if not daemon.is_running:
                raise HostError(f"{daemon.name} ended with {daemon.returncode}; its log:\n"
                                f"{daemon.log_text()}")
            return answers(self.path(path))
        try:
            wait_for(is_ready, f"{daemon.name} answers on {path}", bound)
        except HostError as error:
            raise HostError(f"{error}\n{daemon.log_text()}") from None

    # ---- the daemons of this project and of libvirt ----

    def start_secretd(self, config="", args=(), env=None, program=None):
        """virtcrypt-secretd on SECRETD_SOCKET, with `config` as its configuration."""
        self.write("/etc/libvirt/virtcrypt-secretd.conf", config)
        program = program or os.path.join(self.build_root, "src/secret/virtcrypt-secretd")
        return self.start("virtcrypt-secretd", [program, *args], SECRETD_SOCKET, env)

    def start_virtcryptd(self, config="", args=(), env=None, program=None):
        """virtcryptd on VIRTCRYPTD_SOCKET, with `config` as its configuration. It can make volumes
        while virtcrypt-secretd runs too."""
        self.write("/etc/libvirt/virtcryptd.conf", config)
        program = program or os.path.join(self.build_root, "src/guest/virtcryptd")
        return self.start("virtcryptd", [program, *args], VIRTCRYPTD_SOCKET, env)

    def write_pool(self, name, target, kind="dir", source=""):
        """What libvirt keeps of an active pool, for a host without libvirtd."""
        self.write(f"/run/libvirt/storage/{name}.xml", _POOL_STATE.format(
            name=name, uuid=uuid.uuid4(), target=target, kind=kind, source=source))
        os.makedirs(self.path(target), exist_ok=True)

    def link_drivers(self, connector_folder=None, made=DRIVER_DIR):
        """The folder with links to libvirt's drivers and ours, by the script that packages it."""
        self.run(["sh", os.path.join(self.build_root, "packaging/link-drivers"),
                  libvirt_driver_folder(),
                  connector_folder or os.path.join(self.build_root, "src/driver"), made]).check()
        return made

    def start_libvirtd(self, connector=False, env=None, log_level=3):
        """Debian's libvirtd with all its drivers; with `connector`, secrets are virtcrypt's. That
        may be the folder of another build of it."""
        environment = dict(env or {})
        self._put_capabilities()
        if connector:
            environment.setdefault("LIBVIRT_DRIVER_DIR", self.link_drivers(
                connector if isinstance(connector, str) else None))
        self.write("/etc/libvirt/libvirtd.conf",
                   _LIBVIRTD_CONF.format(sockets="/run/libvirt", level=log_level, auth="none")
                   + self.libvirtd_conf)
        return self.start("libvirtd", ["libvirtd"], LIBVIRTD_SOCKET, environment)

    def _kept_capabilities(self):
        return os.path.join(self.build_root, "tests", "qemu-capabilities") if self.build_root else ""

    def _put_capabilities(self):
        kept = self._kept_capabilities()
        if os.path.isdir(kept) and not self.exists(_CAPABILITIES):
            for name in os.listdir(kept):
                with open(os.path.join(kept, name), "rb") as file:
                    self.write(f"{_CAPABILITIES}/{name}", file.read())

    def _keep_capabilities(self):
        kept = self._kept_capabilities()
        for name in os.listdir(self.path(_CAPABILITIES)) if self.exists(_CAPABILITIES) else []:
            path = os.path.join(kept, name)
            content = self.read(f"{_CAPABILITIES}/{name}")
            # One that libvirtd has only begun to write has another name.
            if kept and name.endswith(".xml") and content != _content(path):
                os.makedirs(kept, exist_ok=True)
                new = f"{kept}.{os.getpid()}"
                with open(new, "wb") as file:
                    file.write(content)
                os.rename(new, path)

    def start_reference(self, auth="none"):
        """A second stock libvirtd with nothing but its own secret driver, on REFERENCE_SOCKET: what
        virtcrypt-secretd is compared with. (Not beside start_libvirtd(connector=False): the two
        would want the same secrets.)"""
        drivers = "/run/reference/drivers"
        os.makedirs(self.path(drivers), exist_ok=True)
        link = self.path(drivers + "/libvirt_driver_secret.so")
        if not os.path.lexists(link):
            os.symlink(os.path.join(libvirt_driver_folder(), "libvirt_driver_secret.so"), link)
        self.write("/run/reference/libvirtd.conf",
                   _LIBVIRTD_CONF.format(sockets="/run/reference", level=3, auth=auth))
        return self.start("reference", ["libvirtd", "-f", "/run/reference/libvirtd.conf",
                                        "-p", "/run/reference/libvirtd.pid"],
                          REFERENCE_SOCKET, {"LIBVIRT_DRIVER_DIR": drivers})

    # ---- the end ----

    def processes(self):
        """Pids of all processes in the host, QEMU's among them."""
        mine = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != self._holder.pid:
                try:
                    if os.readlink(f"/proc/{entry}/ns/mnt") == mine:
                        found.append(int(entry))
                except OSError:
                    pass
        return found

    def close(self):
        """Kills what is still running and removes the host with its files and logs."""
        if self._holder is not None:
            self._keep_capabilities()
            self._holder.stdin.close()
            self._holder.wait()
            self._holder.stdout.close()
            self._holder = None
        for daemon in self.daemons:
            daemon.wait()
