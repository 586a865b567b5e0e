# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the parser makes of a file: its definitions as they are written, names not yet looked up.

A bound or a value is a Token (a number or the name of a constant).
"""

from dataclasses import dataclass, field

from lexer import Token
from source import Position


@dataclass(frozen=True)
class Annotation:
    name: str
    arguments: tuple
    position: Position


@dataclass(frozen=True)
class Declaration:
    """`base` is a keyword or a type's name; `shape` is plain, optional, fixed or variable; void has
    no name. `bound` is None for `<>`."""
    base: str
    base_position: Position
    name: str
    position: Position
    shape: str = "plain"
    bound: Token = None
    annotations: tuple = ()


@dataclass(frozen=True)
class Import:
    path: str
    position: Position


@dataclass(frozen=True)
class Const:
    name: str
    position: Position
    value: Token


@dataclass(frozen=True)
class Enum:
    name: str
    position: Position
    members: tuple  # of Const


@dataclass(frozen=True)
class Struct:
    name: str
    position: Position
    members: tuple  # of Declaration


@dataclass(frozen=True)
class Case:
    values: tuple  # of Token, empty for `default`
    arm: Declaration
    position: Position


@dataclass(frozen=True)
class Union:
    name: str
    position: Position
    discriminant: Declaration
    cases: tuple


@dataclass(frozen=True)
class Typedef:
    declaration: Declaration

    @property
    def name(self):
        return self.declaration.name

    @property
    def position(self):
        return self.declaration.position


@dataclass(frozen=True)
class Procedure:
    name: str
    position: Position
    ret: Token
    args: Token
    number: Token
    annotations: tuple


@dataclass(frozen=True)
class Program:
    name: str
    position: Position
    number: Token
    version: Token
    procedures: tuple
    annotations: tuple


@dataclass
class File:
    path: str
    imports: list = field(default_factory=list)
    definitions: list = field(default_factory=list)
