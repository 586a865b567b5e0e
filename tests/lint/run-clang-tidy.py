#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs clang-tidy (checks of /.clang-tidy) on the project's own C sources, one job a processor.

Usage: run-clang-tidy.py BUILD-FOLDER SOURCE-ROOT. Generated code is left out: it is checked where
it is made. Fuzz programs are too: they are compiled in a build folder of their own. Paths through
tests are not analyzed, which is most of the time: each of them runs, with sanitizers as well. The
analyzer gives a function up after a third of the states that it would look at by default: in three
files that took 17 s it takes 7 s then.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

_ANALYZER = [f"--extra-arg={word}" for word in
             ("-Xclang", "-analyzer-config", "-Xclang", "max-nodes=75000")]


def _sources(build, root):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    paths = {os.path.realpath(os.path.join(entry["directory"], entry["file"]))
             for entry in commands}
    wanted = [os.path.join(root, folder) + os.sep for folder in ("src", "tools", "tests")]
    return sorted(path for path in paths if path.startswith(tuple(wanted)))


def _check(build, root, path):
    is_test = path.startswith(os.path.join(root, "tests") + os.sep)
    # Without the analyzer, clang-tidy 14 takes warnings of GLib's own headers for ours.
    checks = ["--checks=-clang-analyzer-*", "--extra-arg=-Wno-format-nonliteral"]
    if not is_test:
        checks = _ANALYZER
    done = subprocess.run(["clang-tidy", "-p", build, "--quiet", *checks, path],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, timeout=300, check=False)
    return path, done.returncode, done.stdout.strip()


def main():
    build, root = (os.path.realpath(argument) for argument in sys.argv[1:3])
    sources = _sources(build, root)
    bad = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for path, status, text in pool.map(lambda path: _check(build, root, path), sources):
            if status != 0 or "warning:" in text or "error:" in text:
                bad += 1
                print(text or f"{path}: clang-tidy ended with status {status}")
    print(f"{len(sources)} sources, {bad} with findings")
    return 0 if sources and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
