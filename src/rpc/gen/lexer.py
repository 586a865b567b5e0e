# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text of a .x file to tokens: RFC 4506 section 6.1 with `@annotations` and quoted file names."""

import re
from dataclasses import dataclass

from source import Position, SourceError

# `import`, `program` and `version` are none of these: they mean something in their places only, so
# that a member may be called `version`.
KEYWORDS = frozenset((
    "bool", "case", "const", "default", "double", "enum", "float", "hyper", "int", "opaque",
    "quadruple", "string", "struct", "switch", "typedef", "union", "unsigned", "void"))

_TOKEN = re.compile(r"""
    (?P<blank>[ \t\r\n]+)
  | (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<open_comment>/\*)
  | (?P<word>[A-Za-z][A-Za-z0-9_]*)
  | (?P<number>-?[0-9][A-Za-z0-9_]*)
  | (?P<annotation>@[A-Za-z]*)
  | (?P<text>"[^"\n]*")
  | (?P<mark>[{}()\[\]<>;,:=*])
""", re.VERBOSE | re.DOTALL)
_NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z")


@dataclass(frozen=True)
class Token:
    """`kind` is "word", "keyword", "number", "annotation", "text", "end" or the mark itself."""
    kind: str
    text: str
    position: Position

    def __str__(self):
        return "the end of the file" if self.kind == "end" else f"'{self.text}'"

    @property
    def value(self):
        """Of a number."""
        digits = self.text.lstrip("-")
        base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
        return int(digits, base) * (-1 if self.text[0] == "-" else 1)


def _kind(name, text, position):
    if name == "word":
        return "keyword" if text in KEYWORDS else "word"
    if name == "mark":
        return text
    if name == "number" and not _NUMBER.match(text):
        raise SourceError(position, f"'{text}' is no number: write 10, 0x0a or 012")
    return name


def tokens_of(file, text):
    """All tokens of a file; the last one is of kind "end"."""
    found = []
    line, line_start, offset = 1, 0, 0
    while offset < len(text):
        position = Position(file, line, offset - line_start + 1)
        match = _TOKEN.match(text, offset)
        if not match:
            raise SourceError(position, f"{text[offset]!r} means nothing here")
        name, part = match.lastgroup, match.group()
        if name == "open_comment":
            raise SourceError(position, "this comment does not end: '*/' is missing")
        if name not in ("blank", "comment"):
            found.append(Token(_kind(name, part, position), part, position))
        if "\n" in part:
            line += part.count("\n")
            line_start = offset + part.rindex("\n") + 1
        offset = match.end()
    found.append(Token("end", "", Position(file, line, offset - line_start + 1)))
    return found
