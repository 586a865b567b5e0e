# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where in which file something stands, and the one error of the compiler, which says so."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    file: str
    line: int
    column: int

    def __str__(self):
        return f"{self.file}:{self.line}:{self.column}"


class SourceError(Exception):
    """What is wrong with the text at a position; str() is the message for the user."""

    def __init__(self, position, text):
        super().__init__(f"{position}: {text}")
        self.position = position
        self.text = text
