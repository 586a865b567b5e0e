# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every lint program shares: the files of the source tree, reading them, and bad samples.

A rule is a function from the root of a tree to a list of offenders, one line each. Each rule has
two cases: the project keeps it, and it catches a bad sample in a temporary tree (so that a rule
which sees nothing can't pass for one that is kept).
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

SOURCE_ROOT = os.environ.get("SOURCE_ROOT") or os.path.abspath(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD_ROOT = os.environ.get("BUILD_ROOT", "")

_SKIPPED_FOLDERS = {".git", "__pycache__", "build", "corpus", "golden"}
_CODE_FOLDERS = ("src", "tools", "tests", "demo")


def files(root, *suffixes, under=_CODE_FOLDERS):
    """Paths relative to `root` of the files below `under` that end in one of `suffixes`."""
    found = []
    for folder in under:
        for path, folders, names in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(name for name in folders
                                if name not in _SKIPPED_FOLDERS and not name.startswith("build-"))
            found += [os.path.relpath(os.path.join(path, name), root)
                      for name in sorted(names) if name.endswith(suffixes)]
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def scripts(root, *interpreters):
    """Executable files with a first line that names one of `interpreters`, anywhere in the tree."""
    found = []
    for path, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders
                            if name not in _SKIPPED_FOLDERS and not name.startswith("build-"))
        for name in sorted(names):
            full = os.path.join(path, name)
            if os.path.islink(full) or not os.path.isfile(full):
                continue
            with open(full, "rb") as file:
                first = file.readline(200).decode("utf-8", "replace").strip()
            if not first.startswith("#!"):
                continue
            words = first[2:].replace("/usr/bin/env ", "").split()
            if words and os.path.basename(words[0]) in interpreters:
                found.append(os.path.relpath(full, root))
    return found


def run(argv, cwd=None):
    """Returns (exit status, output and errors together); a minute at most."""
    done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300,
                          check=False)
    return done.returncode, done.stdout


def pkg_config_flags(*packages):
    status, text = run(["pkg-config", "--cflags", *packages])
    if status != 0:
        raise RuntimeError(text)
    return text.split()


class BadTree:
    """A temporary tree of `samples`: {path: text}."""

    def __init__(self, samples):
        self._samples = samples
        self._folder = None

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="virtcrypt-lint-")
        for path, text in self._samples.items():
            full = os.path.join(self._folder.name, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
            if text.startswith("#!"):
                os.chmod(full, 0o755)
        return self._folder.name

    def __exit__(self, *_):
        self._folder.cleanup()


class RuleMixin:
    """assert_kept and assert_caught for unittest cases."""

    def assert_kept(self, rule, root=None):
        offenders = rule(root or SOURCE_ROOT)
        if offenders:
            self.fail("\n".join(["offenders:"] + offenders))

    def assert_caught(self, rule, samples, *words):
        with BadTree(samples) as root:
            offenders = rule(root)
        self.assertTrue(offenders, "the bad sample was not caught")
        text = "\n".join(offenders)
        for word in words:
            self.assertIn(word, text)

    def assert_passes(self, rule, samples):
        with BadTree(samples) as root:
            self.assertEqual(rule(root), [])
