# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark's secrets as functions of their index (load_secrets.c makes the same ones), and
folders filled with them in libvirt's own format, which both daemons read."""

import base64
import os

_MASK = (1 << 64) - 1


def _mix(x):
    x = (x + 0x9e3779b97f4a7c15) & _MASK
    x = ((x ^ (x >> 30)) * 0xbf58476d1ce4e5b9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94d049bb133111eb) & _MASK
    return x ^ (x >> 31)


def uuid_bytes(index):
    uuid = bytearray(_mix(index * 2).to_bytes(8, "big") + _mix(index * 2 + 1).to_bytes(8, "big"))
    uuid[6] = (uuid[6] & 0x0f) | 0x40
    uuid[8] = (uuid[8] & 0x3f) | 0x80
    return bytes(uuid)


def uuid_text(index):
    digits = uuid_bytes(index).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def usage(index):
    return f"/bench/volume-{index:08d}.qcow2"


def xml(index):
    return ("<secret ephemeral='no' private='no'>\n"
            f"  <uuid>{uuid_text(index)}</uuid>\n"
            "  <usage type='volume'>\n"
            f"    <volume>{usage(index)}</volume>\n"
            "  </usage>\n"
            "</secret>\n")


def _write(path, text):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def fill(folder, count):
    """Makes `folder` hold `count` secrets, each with a value of 32 bytes."""
    os.makedirs(folder, mode=0o700)
    for index in range(count):
        name = os.path.join(folder, uuid_text(index))
        value = (uuid_bytes(index) * 2)[:32]
        _write(name + ".xml", xml(index).encode())
        _write(name + ".base64", base64.b64encode(value))
