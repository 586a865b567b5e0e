#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`./dev vm`'s other half: a shell or one command in the virtual machine of the tests."""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import host
import vm
import vmimage


def _prepare(options):
    images = vmimage.prepare(options.build_root)
    print(f"{images.root}: {os.stat(images.root).st_size >> 20} MiB")
    return 0


def _shell(options):
    is_terminal = sys.stdin.isatty()
    old = subprocess.run(["stty", "-g"], stdout=subprocess.PIPE, check=True).stdout.strip() \
        if is_terminal else None
    try:
        with vm.Machine(options.disks, build_root=options.build_root, console=True) as machine:
            machine.wait_for_console()
    finally:
        if is_terminal:
            subprocess.run(["stty", old], check=False)
    return 0


def _run(options):
    with vm.Machine(options.disks, build_root=options.build_root) as machine:
        for path in options.file:
            machine.put(path, "/work/" + os.path.basename(path))
        machine.run(["mkdir", "-p", "/work"]).check()
        done = machine.run(["bash", "-c", "cd /work && " + options.command],
                           timeout=options.timeout, text=False)
    sys.stdout.buffer.write(done.stdout)
    sys.stdout.flush()
    sys.stderr.buffer.write(done.stderr)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def main():
    parser = argparse.ArgumentParser(prog="dev vm")
    parser.add_argument("--build-root", required=True)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("prepare").set_defaults(do=_prepare)
    shell = commands.add_parser("shell", help="a root shell; leave it with exit")
    shell.set_defaults(do=_shell, disks={"data": 1024})
    run = commands.add_parser("run", help="one command of bash, in /work")
    run.add_argument("--file", action="append", default=[], help="copied to /work first")
    run.add_argument("--timeout", type=int, default=600)
    run.add_argument("command")
    run.set_defaults(do=_run, disks={"data": 1024})
    options = parser.parse_args()
    try:
        return options.do(options)
    except (host.HostError, vmimage.ImageError) as error:
        print(f"dev vm: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
