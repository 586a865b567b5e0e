# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks for what is left of a key: in folders, in files, in the memory of a process. A key is looked
for as it is, in hex and in base64 (wherever in a longer text it may stand), whole and in part."""

import base64
import os
import re
import stat

# A part is so many bytes of the key in a row, at the start, in the middle, at the end and between.
PART = 16

_CHUNK = 16 << 20


def forms(key):
    """{name: bytes} of each form in which `key` might have been written."""
    found = {"raw": key, "hex": key.hex().encode(), "HEX": key.hex().upper().encode()}
    for shift in range(3):
        # What base64 makes of the key after `shift` other bytes, without the characters that those
        # bytes and what follows have a share in.
        text = base64.b64encode(b"\0" * shift + key)
        start = (0, 2, 3)[shift]
        end = (len(key) + shift) * 8 // 6
        found[f"base64+{shift}" if shift else "base64"] = text[start:end]
    return found


class Search:
    """Counts copies of a key in streams of bytes. `counts` maps each form to its whole copies,
    `parts` is the number of further places with PART bytes of it, `places` says where."""

    def __init__(self, key):
        assert len(key) >= PART
        self._forms = forms(key)
        self._parts = re.compile(b"|".join(
            re.escape(key[at:at + PART]) for at in range(0, len(key) - PART + 1)))
        self._overlap = max(len(form) for form in self._forms.values()) - 1
        self.counts = dict.fromkeys(self._forms, 0)
        self.parts = 0
        self.places = []
        self.bytes_seen = 0

    @property
    def copies(self):
        return sum(self.counts.values())

    def __str__(self):
        whole = ", ".join(f"{count} {form}" for form, count in self.counts.items() if count)
        return f"{self.copies} whole copies{whole and f' ({whole})'}, {self.parts} partial"

    def feed(self, stream, place):
        """`stream` has read(n)."""
        rest = b""
        before = (self.copies, self.parts)
        while True:
            chunk = stream.read(_CHUNK)
            if not chunk:
                break
            self.bytes_seen += len(chunk)
            self._count(rest + chunk, len(rest))
            rest = (rest + chunk)[-self._overlap:]
        if (self.copies, self.parts) != before:
            self.places.append(place)

    def _count(self, data, old):
        """Everything in `data` that does not lie wholly in its first `old` bytes."""
        whole = []
        for name, form in self._forms.items():
            at = data.find(form)
            while at >= 0:
                if at + len(form) > old:
                    self.counts[name] += 1
                    whole.append((at, at + len(form)))
                at = data.find(form, at + 1)
        for match in self._parts.finditer(data):
            if match.end() > old and not any(start <= match.start() < end for start, end in whole):
                self.parts += 1

    def folder(self, top):
        """All regular files below `top`, those of other file systems too; no link is followed."""
        for path, _, names in os.walk(top):
            for name in names:
                self.file(os.path.join(path, name))

    def file(self, path):
        try:
            if stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, "rb") as stream:
                    self.feed(stream, path)
        except FileNotFoundError:
            pass

    def memory(self, pid):
        """All memory of a process that it could write: more than a core of it would hold, since
        what is kept out of cores is read as well."""
        with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
                open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                span, mode = line.split()[:2]
                if "w" in mode:
                    start, end = (int(part, 16) for part in span.split("-"))
                    self.feed(_Region(memory, start, end), f"memory of {pid}: {line.strip()}")


class _Region:
    def __init__(self, memory, start, end):
        self._memory = memory
        self._at = start
        self._end = end

    def read(self, count):
        count = min(count, self._end - self._at)
        if count == 0:
            return b""
        self._memory.seek(self._at)
        try:
            data = self._memory.read(count)
        except OSError:
            # Guard pages.
            return b""
        self._at += len(data)
        return data
