# SPDX-License-Identifier: LGPL-2.1-or-later
"""A throwaway virtual machine with Debian's kernel, device-mapper, LVM, real libvirt and ours,
under QEMU without KVM.

    with vm.Machine() as machine:
        machine.run(["cryptsetup", "--version"]).check()
        machine.reboot()

Commands run in it by an agent (tests/vm/agent). Its root is read-only with a tmpfs on top: a boot
starts from the same root each time. What the disk `state` holds (/etc/libvirt, /var/lib/libvirt,
/var/cache/libvirt) and further disks outlive reboot() and kill(). Everything is gone with close(),
or with the process that owns the machine. Waits have bounds; a machine that panics or hangs is an
error with the end of its console."""

import base64
import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import host
import vmimage
import vmsaved

# What takes two seconds in a machine that is alone takes a minute where others are busy.
BOOT_BOUND_S = 300 * host.PATIENCE
RUN_BOUND_S = 300 * host.PATIENCE
STOP_BOUND_S = 120 * host.PATIENCE
LIFE_BOUND_S = 3500 * host.PATIENCE

HostError = host.HostError
Result = host.Result

# More processors and a newer one are slower here. The kernel takes it that what has AES has PCLMULQDQ
# too: its GCM breaks off without.
_QEMU = ("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "Nehalem,+aes,+pclmulqdq,+rdrand",
         "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none",
         "-action", "reboot=shutdown")
_KERNEL = ("console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on tsc=reliable "
           "no_timer_check nokaslr cryptomgr.notests apparmor=0")

MIB = 1 << 20


class _Agent:
    """The host's side of tests/vm/agent: any thread may call()."""

    def __init__(self, path, is_alive, why_it_ended):
        self._is_alive = is_alive
        self._why_it_ended = why_it_ended
        self._lock = threading.Lock()
        self._waiting = {0: queue.Queue()}
        self._last = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        host.wait_for(lambda: self._connects(path), f"QEMU makes the socket {path}")
        threading.Thread(target=self._receive, daemon=True).start()

    def _connects(self, path):
        try:
            self._socket.connect(path)
            return True
        except (FileNotFoundError, ConnectionRefusedError):
            if not self._is_alive():
                raise HostError("QEMU ended at once") from None
            return False

    def _receive(self):
        with self._socket.makefile("rb") as stream:
            try:
                for line in stream:
                    answer = json.loads(line)
                    with self._lock:
                        waiting = self._waiting.pop(answer["id"], None)
                    if waiting:
                        waiting.put(answer)
            except OSError:
                pass
        with self._lock:
            left, self._waiting = self._waiting, None
        for waiting in left.values():
            waiting.put(None)

    def wait_until_ready(self, bound):
        return self._wait(self._waiting[0], "the machine boots", bound)

    def _wait(self, answers, what, bound):
        try:
            answer = answers.get(timeout=bound)
        except queue.Empty:
            raise HostError(f"not within {bound} s: {what}\n{self._why_it_ended()}") from None
        if answer is None:
            raise HostError(f"the machine ended before: {what}\n{self._why_it_ended()}")
        return answer

    def begin(self, request):
        answers = queue.Queue()
        with self._lock:
            if self._waiting is None:
                raise HostError(f"the machine has ended: no {request['do']}")
            self._last += 1
            self._waiting[self._last] = answers
            request = {"id": self._last, **request}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            answers.put(None)
        return answers

    def end(self, answers, what, bound):
        answer = self._wait(answers, what, bound)
        if "error" in answer:
            raise HostError(f"{what}: {answer['error']}")
        return answer

    def close(self):
        self._socket.close()


class Job:
    """A command that Machine.begin() has begun."""

    def __init__(self, argv, answers, end, text):
        self._argv = argv
        self._answers = answers
        self._end = end
        self._text = text

    @property
    def has_ended(self):
        return not self._answers.empty()

    def end(self):
        answer = self._end()
        out, err = (base64.b64decode(answer[name]) for name in ("out", "err"))
        if self._text:
            out, err = (content.decode(errors="replace") for content in (out, err))
        if "timeout" in answer:
            raise HostError(f"{self._argv} did not end in time:\n{out}{err}")
        return Result(self._argv, answer["status"], out, err)


def _log_of(name):
    return f"/var/log/{name}.log"


class Daemon:
    """A program that Machine.start() runs; its pid is one of the machine."""

    def __init__(self, machine, name, pid):
        self.name = name
        self.pid = pid
        self.log = _log_of(name)
        self._machine = machine

    def log_text(self):
        return self._machine.read(self.log).decode(errors="replace")

    def _status(self, bound):
        return self._machine.call({"do": "wait", "pid": self.pid, "timeout": bound},
                                  f"the state of {self.name}", bound + 30)["status"]

    @property
    def is_running(self):
        return self._status(0) is None

    def stop(self, name="TERM", bound=STOP_BOUND_S):
        """Returns the exit status; -N for signal N."""
        self._machine.run(["kill", f"-{name}", str(self.pid)])
        status = self._status(bound)
        if status is None:
            raise HostError(f"{self.name} did not end within {bound} s:\n{self.log_text()}")
        return status

    def kill(self):
        return self.stop("KILL")


class Machine:
    """`disks`: name -> MiB. A disk is /dev/disk/by-serial/NAME, empty at first; but `state` is made
    an ext4 and mounted. `console`: the serial port is the caller's terminal, with a shell.
    `saved`: a folder that save() made: it goes on as that machine, with its disks and memory."""

    def __init__(self, disks=None, memory=1024, build_root=None, console=False, saved=None):
        self._images = vmimage.prepare(build_root or host.BUILD_ROOT)
        self._memory = memory
        self._console = console
        self._process = None
        self._agent = None
        self._boots = 0
        runs = os.path.join(vmimage.FOLDER, "run")
        os.makedirs(runs, exist_ok=True)
        _remove_left_overs(runs)
        self.folder = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=runs)
        self.daemons = {}
        self.disks = {}
        if saved:
            self._go_on(vmsaved.Saved(saved))
        else:
            for name, size in {"state": 256, **(disks or {})}.items():
                self.add_disk(name, size)
            self.boot()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the machine ----

    def add_disk(self, name, size):
        """For the next boot."""
        path = os.path.join(self.folder, name + ".disk")
        with open(path, "wb") as file:
            file.truncate(size * MIB)
        if name == "state":
            subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True, timeout=60)
        self.disks[name] = path

    def _argv(self, init, words, agent):
        append = f"{_KERNEL} vm.init={init} {words}" + (" vm.shell" if self._console else "")
        # Someone is there before the agent looks, or looks again after a save.
        argv = [*_QEMU, "-m", str(self._memory), "-kernel", self._images.kernel,
                "-initrd", self._images.initramfs, "-append", append,
                "-qmp", f"unix:{self._monitor_path},server=on,wait=off",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,path={agent},server=on,wait=on",
                "-device", "virtserialport,chardev=agent,name=agent"]
        serial = ("stdio,id=serial,signal=off" if self._console
                  else f"file,id=serial,path={self.console_path},append=on")
        argv += ["-chardev", serial, "-serial", "chardev:serial"]
        drives = [("root", self._images.root, "on"), ("ours", self._images.ours, "on"),
                  *((name, path, "off") for name, path in self.disks.items())]
        for name, path, is_readonly in drives:
            argv += ["-drive", f"file={path},format=raw,if=none,id={name},cache=unsafe,"
                               f"discard=unmap,readonly={is_readonly}",
                     "-device", f"virtio-blk-pci,drive={name},serial={name}"]
        return argv

    @property
    def _monitor_path(self):
        return os.path.join(self.folder, "monitor")

    @property
    def console_path(self):
        return os.path.join(self.folder, "console.log")

    def console_text(self):
        if self._console or not os.path.exists(self.console_path):
            return ""
        with open(self.console_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def boot(self, systemd=False, words=""):
        """Starts it; returns after what seconds the agent answered. `words`: of the kernel's
        command line."""
        started = time.monotonic()
        self.daemons = {}
        self._start("/lib/systemd/systemd" if systemd else "/usr/lib/vm/init", words)
        self._until_ready(lambda: self._agent.wait_until_ready(BOOT_BOUND_S))
        return time.monotonic() - started

    def _start(self, init, words="", more=()):
        self._boots += 1
        agent = os.path.join(self.folder, f"agent-{self._boots}")
        # Ends with its owner, and anyway after a time: a machine that hangs stays in no one's way.
        keep = ["setpriv", "--pdeathsig", "TERM", "timeout", *(["--foreground"] * self._console),
                "-s", "KILL", str(int(LIFE_BOUND_S * (100 if self._console else 1))),
                "setpriv", "--pdeathsig", "KILL"]
        log = None if self._console else open(os.path.join(self.folder, "qemu.log"), "ab")
        self._process = subprocess.Popen(
            [*keep, *self._argv(init, words, agent), *more], stdout=log, stderr=log,
            stdin=None if self._console else subprocess.DEVNULL)
        if log:
            log.close()
        self._until_ready(lambda: self._connect(agent))

    def _connect(self, path):
        self._agent = _Agent(path, lambda: self._process.poll() is None, self._ends_of_logs)

    def _until_ready(self, wait):
        try:
            wait()
        except HostError:
            self.kill()
            raise

    def save(self, folder):
        """Ends it, and keeps what it is at this moment, what runs in it included, for `saved`."""
        known = {"memory": self._memory,
                 "daemons": [(name, daemon.pid) for name, daemon in self.daemons.items()]}
        vmsaved.save(self._monitor_path, self.disks, known, folder)
        self.kill()

    def _go_on(self, saved):
        self._memory = saved.known["memory"]
        self.disks = saved.copy_disks(self.folder)
        self._start("/usr/lib/vm/init", more=saved.argv)
        self._until_ready(lambda: self.run(["date", "-s", f"@{time.time():.0f}"]).check())
        self.daemons = {name: Daemon(self, name, pid) for name, pid in saved.known["daemons"]}

    def _ends_of_logs(self):
        text = ""
        for name in ("qemu.log", "console.log"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += f"--- {name}\n{file.read()[-3000:]}\n"
        return text

    def power_off(self, bound=STOP_BOUND_S):
        """In order: what systemd or a person would do, except that daemons are the test's own."""
        self.begin(["sh", "-c", "sync; umount -a -t ext4; mount -o remount,ro /state; "
                                "echo 1 >/proc/sys/kernel/sysrq; echo o >/proc/sysrq-trigger"])
        self.wait_for_end(bound)

    def wait_for_end(self, bound):
        try:
            self._process.wait(bound)
        except subprocess.TimeoutExpired:
            self.kill()
            raise HostError(f"the machine did not end within {bound} s\n"
                            f"{self._ends_of_logs()}") from None
        self._close_agent()

    def reboot(self, **options):
        """Ends it in order and starts it again on the same disks."""
        self.power_off()
        return self.boot(**options)

    def kill(self):
        """The power is cut. What the machine's kernel has not written is lost."""
        if self._process and self._process.poll() is None:
            # `timeout` passes it on.
            self._process.terminate()
            self._process.wait(STOP_BOUND_S)
        self._close_agent()

    def wait_for_console(self):
        """With `console`: until the shell has ended."""
        self._process.wait()

    def _close_agent(self):
        if self._agent:
            self._agent.close()
            self._agent = None

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- in the machine ----

    def call(self, request, what, bound):
        if self._agent is None:
            raise HostError(f"the machine is off: {what}")
        return self._agent.end(self._agent.begin(request), what, bound)

    def begin(self, argv, env=None, input=None, text=True, timeout=RUN_BOUND_S):
        """Begins a command and returns its Job, whose end() gives the Result."""
        given = input.encode() if isinstance(input, str) else input or b""
        agent = self._agent
        answers = agent.begin({"do": "run", "argv": list(argv), "env": env or {},
                               "input": base64.b64encode(given).decode(), "timeout": timeout})
        return Job(list(argv), answers, lambda: agent.end(answers, f"{argv}", timeout + 30), text)

    def run(self, argv, **options):
        """Runs a command to its end and returns its Result; check() raises when it failed."""
        return self.begin(argv, **options).end()

    def shell(self, script, **options):
        """A piece of bash; the first command of it that fails ends it."""
        return self.run(["bash", "-e", "-o", "pipefail", "-c", script], **options)

    def virsh(self, *arguments, uri="qemu:///system", **options):
        return self.run(["virsh", "-c", uri, *arguments], **options)

    def read(self, path):
        answer = self.call({"do": "read", "path": path}, f"reading {path}", RUN_BOUND_S)
        return base64.b64decode(answer["content"])

    def write(self, path, content, mode=0o600):
        content = content.encode() if isinstance(content, str) else content
        self.call({"do": "write", "path": path, "mode": mode,
                   "content": base64.b64encode(content).decode()}, f"writing {path}",
                  RUN_BOUND_S)

    def exists(self, path):
        return self.run(["test", "-e", path, "-o", "-L", path]).returncode == 0

    def put(self, path, target):
        """Copies a file of the host in, with its mode."""
        with open(path, "rb") as file:
            self.write(target, file.read(), os.stat(path).st_mode & 0o777)

    def start(self, name, argv, env=None):
        """Starts a daemon with its output in Daemon.log (kept over restarts of that name)."""
        answer = self.call({"do": "start", "argv": list(argv), "env": env or {},
                            "log": _log_of(name)}, f"starting {name}", RUN_BOUND_S)
        self.daemons[name] = Daemon(self, name, answer["pid"])
        return self.daemons[name]


def _remove_left_overs(runs):
    """Of owners that were killed."""
    for name in os.listdir(runs):
        if not os.path.exists(f"/proc/{name.split('-')[0]}"):
            shutil.rmtree(os.path.join(runs, name), ignore_errors=True)
