#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stock virsh and libvirt-python exchange with a real libvirtd, read and written by our codec:
each payload must come back as the same bytes. Once as it was recorded (record.py, recorded/), once
as it is with the libvirt of this machine. usage: test-recorded.py CODEC-ANSWERS [WORD...]
"""

import os
import subprocess
import sys
import unittest

import record
import recorder
import taptest

_ANSWERS = sys.argv.pop(1)
_BOUND_S = 60
_HERE = os.path.dirname(os.path.abspath(__file__))

# What a daemon without authentication and without hypervisor has no reason to send.
_NEVER_SENT = {"connect_event_connection_closed"}
_NEVER_ANSWERED = {"auth_polkit", "connect_get_version", "connect_get_hostname"}  # but with errors


class _Procedure:
    def __init__(self, line):
        self.program, number, self.name, self.args, self.ret = line.split()
        self.number = int(number)
        self.is_event = "_event_" in self.name and not self.name.endswith("_any")


def _procedures():
    text = subprocess.check_output([_ANSWERS, "procedures"], text=True, timeout=_BOUND_S)
    return {procedure.number: procedure for procedure in map(_Procedure, text.splitlines())
            if procedure.program in ("remote_connection", "remote_secret")}


_PROCEDURES = _procedures()


def _type_of(frame):
    """The name of the type that the payload is of."""
    if frame.type == recorder.REPLY and frame.status == recorder.ERROR:
        return "remote_error"
    procedure = _PROCEDURES[frame.procedure]
    return procedure.ret if frame.type == recorder.REPLY else procedure.args


def _is_ours(frame):
    return frame.program == recorder.PROGRAM


def _read(session):
    with open(os.path.join(_HERE, "recorded", session + ".txt"), encoding="utf-8") as file:
        return recorder.parse_frames(file.read())


def _answers(frames):
    lines = "".join(f"{_type_of(frame)} {frame.payload.hex()}\n" for frame in frames)
    done = subprocess.run([_ANSWERS], input=lines, stdout=subprocess.PIPE, text=True,
                          timeout=_BOUND_S, check=True)
    return done.stdout.splitlines()


def _is_broken(frame):
    """Sent by hand to see it refused: too short, or of a procedure that we don't have."""
    return frame.type == recorder.CALL and (
        frame.procedure not in _PROCEDURES or
        frame.procedure == 144 and len(frame.payload) < 8)


class RecordingMixin:
    """The cases that every recording passes; `self.sessions` is {name: frames}."""

    maxDiff = None

    def frames(self):
        return [frame for frames in self.sessions.values() for frame in frames if _is_ours(frame)]

    def payloads(self):
        """Frames with a payload that is of one of our types."""
        return [frame for frame in self.frames()
                if not _is_broken(frame) and _type_of(frame) != "void"]

    def test_every_payload_comes_back_as_the_same_bytes(self):
        payloads = self.payloads()
        self.assertGreater(len(payloads), 50)
        for frame, answer in zip(payloads, _answers(payloads)):
            self.assertEqual(f"{frame}: {answer}", f"{frame}: ok {frame.payload.hex()} 0")

    def test_what_we_hold_for_void_has_no_payload(self):
        for frame in self.frames():
            if not _is_broken(frame) and _type_of(frame) == "void":
                self.assertEqual(frame.payload, b"", str(frame))

    def test_every_procedure_is_there(self):
        frames = self.frames()
        called = {frame.procedure for frame in frames if frame.type == recorder.CALL}
        sent = {frame.procedure for frame in frames if frame.type == recorder.MESSAGE}
        replied = {frame.procedure for frame in frames
                   if frame.type == recorder.REPLY and frame.status == recorder.OK}
        for procedure in _PROCEDURES.values():
            if procedure.is_event:
                self.assertEqual(procedure.number in sent, procedure.name not in _NEVER_SENT,
                                 procedure.name)
            else:
                self.assertIn(procedure.number, called, procedure.name)
                self.assertEqual(procedure.number in replied,
                                 procedure.name not in _NEVER_ANSWERED, procedure.name)

    def test_errors_of_all_kinds_are_there(self):
        codes = {int.from_bytes(frame.payload[:4], "big") for frame in self.frames()
                 if frame.type == recorder.REPLY and frame.status == recorder.ERROR}
        self.assertLessEqual({1, 3, 8, 29, 35, 39, 65, 66, 74}, codes)


class Recorded(RecordingMixin, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sessions = {session: _read(session) for session in record.SESSIONS}

    def test_a_recording_is_written_as_it_was_read(self):
        for session, frames in self.sessions.items():
            with open(os.path.join(_HERE, "recorded", session + ".txt"), encoding="utf-8") as file:
                text = "".join(line for line in file if not line.startswith("#"))
            self.assertEqual(recorder.format_frames(frames), text)


class Live(RecordingMixin, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sessions = {session: record.record(session) for session in record.SESSIONS}


if __name__ == "__main__":
    taptest.main()
