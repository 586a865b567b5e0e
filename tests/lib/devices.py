# SPDX-License-Identifier: LGPL-2.1-or-later
"""A TPM (a real swtpm) and PKCS#11 tokens (a real SoftHSM) in a folder of a test, and the environment
that programs and daemons find them by.
"""

import glob
import os
import shutil
import subprocess
import time

PATIENCE = float(os.environ.get("VIRTCRYPT_TEST_PATIENCE", "1"))
_BOUND_S = 120 * PATIENCE
_MODULES = glob.glob("/usr/lib/*/softhsm/libsofthsm2.so") + ["/usr/lib/softhsm/libsofthsm2.so"]


class DeviceError(Exception):
    pass


def run(*argv, env=None):
    """A tool's output; it has to succeed."""
    done = subprocess.run(argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
                                     **(env or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=_BOUND_S)
    if done.returncode != 0:
        raise DeviceError(f"{argv}: {done.stdout}")
    return done.stdout


def is_listening(path):
    """Whether there is a socket to connect to, and not only its name."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        return any(line.split()[3] == "00010000" and line.endswith(f" {path}\n") for line in file)


class Swtpm:
    """`environment` is the unlock helper's; its socket's path stays the same over restarts."""

    def __init__(self, folder):
        self._folder = folder
        self._socket = os.path.join(folder, "swtpm")
        self.process = None
        self.tcti = f"swtpm:path={self._socket}"
        self.environment = {"TCTI": self.tcti}

    def start(self, state="tpm"):
        """As a reboot does it: PCRs are as after a reset; the rest is what the state holds."""
        folder = os.path.join(self._folder, state)
        os.makedirs(folder, exist_ok=True)
        control = self._socket + ".ctrl"
        for path in (self._socket, control):
            if os.path.exists(path):
                os.unlink(path)
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}",
             "--server", f"type=unixio,path={self._socket}", "--ctrl", f"type=unixio,path={control}",
             "--flags", "not-need-init,startup-clear"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        end = time.monotonic() + _BOUND_S
        while not (is_listening(self._socket) and is_listening(control)):
            if time.monotonic() > end or self.process.poll() is not None:
                raise DeviceError("swtpm does not start")
            time.sleep(0.02)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=_BOUND_S)
            self.process = None

    def restart(self, state="tpm"):
        self.stop()
        self.start(state)

    def tool(self, *words):
        return run(*words, env={"TPM2TOOLS_TCTI": self.tcti})

    def extend(self, pcr, bank="sha256", digits=64):
        self.tool("tpm2_pcrextend", f"{pcr}:{bank}={'a5' * (digits // 2)}")


class SoftHsm:
    """`environment` is the unlock helper's, and that of all tools."""

    PIN = "1234567"
    _SO_PIN = "7654321"

    def __init__(self, folder):
        self._tokens = os.path.join(folder, "tokens")
        config = os.path.join(folder, "softhsm2.conf")
        os.mkdir(self._tokens)
        with open(config, "w", encoding="ascii") as file:
            file.write(f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\n"
                       "log.level = ERROR\n")
        self.environment = {"SOFTHSM2_CONF": config}

    def become(self, other):
        """It has the tokens of that one, as they are now."""
        shutil.rmtree(self._tokens)
        shutil.copytree(other._tokens, self._tokens)

    def make_token(self, label):
        run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", self.PIN,
            "--so-pin", self._SO_PIN, env=self.environment)

    def remove_token(self, label):
        run("softhsm2-util", "--delete-token", "--token", label, env=self.environment)

    def tool(self, label, *words):
        return run("pkcs11-tool", "--module", _MODULES[0], "--token-label", label, "--login",
                   "--pin", self.PIN, *words, env=self.environment)

    def make_key(self, label, name, number, kind="AES:32", privacy=("--private",)):
        self.tool(label, "--keygen", "--key-type", kind, "--label", name, "--id", number,
                  "--sensitive", *privacy)
