#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records what stock virsh and libvirt-python exchange with a real libvirtd: every call for secrets
and for connections that they have, with errors and events. What libvirt's library does not send by
itself is sent by hand. Needs root; from the project's folder:

    PYTHONPATH=tests/lib /usr/bin/python3 tests/wire/record.py

It writes recorded/NAME.txt, one file for each of SESSIONS. Nothing in them is from the machine that
they were recorded on: uuids, values and the token are made up here.
"""

import os
import socket
import struct

import host
import recorder

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded")
_SOCKET = "/run/recorded-sock"
_URI = f"secret:///system?socket={_SOCKET}"
_UUID = "8a3c1e22-90ab-4c5f-9c0d-e1f2a3b4c5d6"

_XML = f"""<secret ephemeral='no' private='no'>
  <uuid>{_UUID}</uuid>
  <description>recorded</description>
  <usage type='ceph'>
    <name>client.recorded secret</name>
  </usage>
</secret>
"""

# virsh's own commands, each in one session with it, as a user would type them.
_VIRSH = f"""\
uri
hostname
version
secret-list
secret-define /run/secret.xml
secret-set-value {_UUID} --file /run/value
secret-get-value {_UUID} --plain
secret-dumpxml {_UUID}
secret-list --ephemeral
secret-list
secret-list --no-private
secret-set-value {_UUID} --file /run/empty
secret-define /run/not.xml
secret-undefine {_UUID}
secret-get-value {_UUID}
secret-undefine {_UUID}
"""

# What virsh has no command for.
_PYTHON = f"""
import libvirt
libvirt.registerErrorHandler(lambda *_: None, None)
def fails(call, *arguments):
    try:
        call(*arguments)
    except libvirt.libvirtError:
        return
    raise SystemExit("did not fail: " + str(arguments))
c = libvirt.open({_URI!r})
c.getType(); c.getURI(); c.isSecure(); c.isEncrypted(); c.isAlive(); c.getLibVersion()
fails(c.getVersion)
fails(c.getHostname)
c.registerCloseCallback(lambda *_: None, None)
c.unregisterCloseCallback()
c.setIdentity({{
    "user-name": "somebody", "unix-user-id": 1000, "unix-group-id": 1001,
    "process-id": 4711, "process-time": 123456789012, "system.token": "0123456789abcdef" * 2}}, 0)
fails(c.setIdentity, {{"unknown": "x"}}, 0)
XML = {_XML!r}
bare = c.secretDefineXML(XML.replace("{_UUID}", "00112233-4455-6677-8899-aabbccddeeff")
                            .split("<usage")[0] + "</secret>", 0)
s = c.secretDefineXML(XML, 0)
assert c.numOfSecrets() == 2 and len(c.listSecrets()) == 2
assert len(c.listAllSecrets(0)) == 2 and len(c.listAllSecrets(1)) == 0
fails(s.value)
s.setValue(b"abc" + bytes(1) + b"d", 0)
assert s.value(0) == b"abc" + bytes(1) + b"d"
s.setValue(bytes(range(256)) * 3, 0)
s.value(0)
c.secretLookupByUUID(s.UUID())
c.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_CEPH, "client.recorded secret")
fails(c.secretLookupByUsage, libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, "/nowhere")
fails(c.secretLookupByUUIDString, "ffffffff-ffff-ffff-ffff-ffffffffffff")
fails(c.secretDefineXML, XML.replace("client.recorded", "other"), 0)
fails(c.secretDefineXML, "<secret", 0)
fails(c.secretDefineXML, XML, 0x80)
fails(s.XMLDesc, 0x80)
bare.undefine(); s.undefine()
private = c.secretDefineXML("<secret ephemeral='yes' private='yes'>"
                            "<uuid>{_UUID}</uuid></secret>", 0)
private.setValue(b"x", 0)
fails(private.value)
assert len(c.listAllSecrets(5)) == 1
private.undefine()
c.close()
readonly = libvirt.openReadOnly({_URI!r})
readonly.numOfSecrets()
readonly.close()
"""

# Two connections: one changes, one is told.
_EVENTS = f"""
import time
import libvirt
libvirt.virEventRegisterDefaultImpl()
c = libvirt.open({_URI!r})
got = []
def until(count):
    end = time.monotonic() + 30
    while len(got) < count:
        libvirt.virEventRunDefaultImpl()
        if time.monotonic() > end:
            raise SystemExit("no event")
libvirt.virEventAddTimeout(100, lambda *_: None, None)
XML = {_XML!r}
s = c.secretDefineXML(XML, 0)
one = c.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE,
                               lambda *event: got.append(event), None)
two = c.secretEventRegisterAny(s, libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED,
                               lambda *event: got.append(event), None)
c.secretDefineXML(XML, 0)
until(1)
s.setValue(b"value", 0)
until(2)
s.undefine()
until(3)
bare = c.secretDefineXML("<secret ephemeral='yes' private='yes'>"
                         "<uuid>00112233-4455-6677-8899-aabbccddeeff</uuid></secret>", 0)
until(4)
bare.undefine()
until(5)
c.secretEventDeregisterAny(one)
c.secretEventDeregisterAny(two)
c.close()
"""

_OPEN = struct.pack(">2I16s", 1, 16, b"secret:///system")
_SECRET = bytes.fromhex(_UUID.replace("-", "")) + struct.pack(">2i", 0, 0)

# (procedure, arguments) of calls that are answered one by one, a connection each list.
_BY_HAND = [
    [
        (110, b""),  # not authenticated, not open: libvirtd asks for no authentication here
        (66, b""),
        (70, b""),
        (1, struct.pack(">2I20sI", 1, 17, b"secret:///session", 0)),
        (1, _OPEN + struct.pack(">I", 0)),
        (110, b""),
        (51, b""),
        (144, b"\0" * 7),
        (140, struct.pack(">i", -1)),
        (140, struct.pack(">i", 16385)),
        (147, struct.pack(">2i", 0, 0)),
        (380, struct.pack(">2i", 2, 0)),
        (381, struct.pack(">i", 7)),
        (1, _OPEN + struct.pack(">I", 0)),
        (2, b""),
    ],
    [
        (66, b""),
        (1, _OPEN + struct.pack(">I", 1)),  # read-only
        (142, struct.pack(">I8sI", 8, b"<secret>", 0)),
        (144, _SECRET + struct.pack(">I4sI", 1, b"x", 0)),
        (145, _SECRET + struct.pack(">I", 0)),
        (146, _SECRET),
        (287, struct.pack(">iI", 0, 0)),
    ],
]


def _run_virsh(machine):
    machine.run(["virsh", "-q", "-c", _URI], input=_VIRSH)


def _run_python(script):
    def run(machine):
        machine.run(["/usr/bin/python3", "-c", script]).check()
    return run


def _run_by_hand(machine):
    for calls in _BY_HAND:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(host.RUN_BOUND_S)
            client.connect(machine.path(_SOCKET))
            for serial, (procedure, arguments) in enumerate(calls):
                client.sendall(struct.pack(
                    ">7I", 28 + len(arguments), recorder.PROGRAM, 1, procedure, recorder.CALL,
                    serial, 0) + arguments)
                length, = struct.unpack(">I", client.recv(4, socket.MSG_WAITALL))
                client.recv(length - 4, socket.MSG_WAITALL)


SESSIONS = {"virsh": _run_virsh, "calls": _run_python(_PYTHON), "events": _run_python(_EVENTS),
            "by-hand": _run_by_hand}


def record(session):
    """The frames of one of SESSIONS, in a host of its own."""
    with host.Host() as machine:
        machine.write("/run/secret.xml", _XML)
        machine.write("/run/not.xml", "<secret><usage type='none'/></secret>")
        machine.write("/run/value", b"key\0bytes\xff")
        machine.write("/run/empty", b"")
        machine.start_reference()
        with recorder.Recorder(machine.path(_SOCKET),
                               machine.path(host.REFERENCE_SOCKET)) as recorded:
            SESSIONS[session](machine)
        return recorded.frames


def main():
    os.makedirs(_FOLDER, exist_ok=True)
    for session in SESSIONS:
        frames = record(session)
        with open(os.path.join(_FOLDER, session + ".txt"), "w", encoding="utf-8") as file:
            file.write(f"# Recorded by tests/wire/record.py: session '{session}' with a stock "
                       "libvirtd. > is to the daemon,\n# < to the client; then the type of the "
                       "frame and the number of the procedure.\n")
            file.write(recorder.format_frames(frames))
        print(f"{session}: {len(frames)} frames")


if __name__ == "__main__":
    main()
