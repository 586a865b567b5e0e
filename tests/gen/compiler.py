# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the XDR compiler: as a build does, in a process of its own, or quicker in this one."""

import os
import subprocess
import sys
import tempfile

SOURCE_ROOT = os.environ["SOURCE_ROOT"]
HERE = os.path.join(SOURCE_ROOT, "tests", "gen")
_BOUND_S = 60

sys.path.append(os.path.join(SOURCE_ROOT, "src", "rpc", "gen"))
import command  # pylint: disable=wrong-import-position


class Compiled:
    def __init__(self, status, errors, outputs):
        self.status = status
        self.errors = errors  # what was said on standard error
        self.outputs = outputs  # {name: text}


def _read_outputs(folder):
    outputs = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            outputs[name] = file.read()
    return outputs


def run(path, root="", include_dir="rpc/protocol/"):
    """Compiles the file at `path` as a build does; what it makes is read and removed again."""
    with tempfile.TemporaryDirectory(prefix="virtcrypt-gen-") as folder:
        done = subprocess.run(
            [sys.executable, "-B", os.path.join(SOURCE_ROOT, "src", "rpc", "gen"), "--out", folder,
             "--root", root, "--include-dir", include_dir, path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=_BOUND_S, check=False)
        return Compiled(done.returncode, done.stderr, _read_outputs(folder))


def compile_texts(main, **others):
    """Compiles `main` as main.x, with `others` as NAME.x beside it, in this process."""
    with tempfile.TemporaryDirectory(prefix="virtcrypt-gen-") as folder:
        out = os.path.join(folder, "out")
        os.mkdir(out)
        for name, text in {"main": main, **others}.items():
            with open(os.path.join(folder, name + ".x"), "w", encoding="utf-8") as file:
                file.write(text)
        try:
            command.main(["--out", out, "--root", folder, os.path.join(folder, "main.x")])
        except SystemExit as end:
            # Python ends with 1 and the text on standard error.
            return Compiled(1, f"{end.code}\n", _read_outputs(out))
        return Compiled(0, "", _read_outputs(out))
