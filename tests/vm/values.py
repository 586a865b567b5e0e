#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""In the virtual machine: prints the values of secrets (private ones, too, by libvirt's system
token), a line "UUID BASE64" each. Tests give what it prints to cryptsetup."""

import base64
import sys
import uuid

import secretcalls
import wire

with open("/run/libvirt/common/system.token", encoding="ascii") as file:
    TOKEN = file.read()

with secretcalls.Client("/run/libvirt/virtsecretd-sock") as client:
    client.open()
    client.call(wire.SET_IDENTITY, wire.typed_params(
        ("system.token", wire.TYPED_STRING, TOKEN)) + wire.uint32(0)).reader()
    for name in sys.argv[1:]:
        reply = client.get_value(uuid.UUID(name).bytes)
        print(name, base64.b64encode(reply.reader().opaque()).decode())
