# SPDX-License-Identifier: LGPL-2.1-or-later
"""What emitters work from: types with every name looked up, and programs.

`min_size` is the number of bytes that any value takes at least, and takes exactly if `is_fixed`.
`owns_memory` says whether a value has something to free. Named types know the file they are from.
"""

from dataclasses import dataclass, field

from source import Position


@dataclass(frozen=True)
class Scalar:
    c_name: str
    codec: str  # xdr_read_CODEC, xdr_write_CODEC
    min_size: int
    is_fixed = True
    owns_memory = False
    holds_secret = False


SCALARS = {
    "int": Scalar("int32_t", "int32", 4),
    "unsigned": Scalar("uint32_t", "uint32", 4),
    "hyper": Scalar("int64_t", "int64", 8),
    "unsigned hyper": Scalar("uint64_t", "uint64", 8),
    "double": Scalar("double", "double", 8),
    "bool": Scalar("bool", "bool", 4),
}


@dataclass(frozen=True)
class Bound:
    """How it is written in C, and what it is."""
    c_text: str
    value: int


@dataclass(frozen=True)
class String:
    max: Bound
    min_size = 4
    is_fixed = False
    owns_memory = True
    holds_secret = False


@dataclass(frozen=True)
class FixedOpaque:
    len: Bound
    is_fixed = True
    owns_memory = False
    holds_secret = False

    @property
    def min_size(self):
        return (self.len.value + 3) & ~3


@dataclass(frozen=True)
class Opaque:
    max: Bound
    min_size = 4
    is_fixed = False
    owns_memory = True
    holds_secret = False


@dataclass(frozen=True)
class Secret:
    """opaque<> that is marked @secret."""
    max: Bound
    min_size = 4
    is_fixed = False
    owns_memory = True
    holds_secret = True


@dataclass(frozen=True)
class Optional:
    element: object
    min_size = 4
    is_fixed = False
    owns_memory = True

    @property
    def holds_secret(self):
        return self.element.holds_secret


@dataclass(frozen=True)
class FixedArray:
    element: object
    count: Bound

    @property
    def min_size(self):
        return self.count.value * self.element.min_size

    @property
    def is_fixed(self):
        return self.element.is_fixed

    @property
    def owns_memory(self):
        return self.element.owns_memory

    @property
    def holds_secret(self):
        return self.element.holds_secret


@dataclass(frozen=True)
class Array:
    element: object
    max: Bound
    min_size = 4
    is_fixed = False
    owns_memory = True

    @property
    def holds_secret(self):
        return self.element.holds_secret


@dataclass(eq=False)
class Enum:
    name: str
    position: Position
    members: list  # of (name, value)
    min_size = 4
    is_fixed = True
    owns_memory = False
    holds_secret = False


@dataclass(frozen=True)
class Member:
    name: str
    type: object
    position: Position


@dataclass(eq=False)
class Struct:
    """Its members are filled in after it was made: they may lead back to it."""
    name: str
    position: Position
    members: list = field(default_factory=list)
    is_recursive: bool = False
    holds_secret: bool = False

    @property
    def min_size(self):
        return sum(member.type.min_size for member in self.members)

    @property
    def is_fixed(self):
        return all(member.type.is_fixed for member in self.members)

    @property
    def owns_memory(self):
        return any(member.type.owns_memory for member in self.members)


@dataclass(frozen=True)
class Case:
    """`values` as C constants, None for default; `member` is None for void."""
    values: list
    member: Member


@dataclass(eq=False)
class Union:
    name: str
    position: Position
    discriminant: Member = None
    cases: list = field(default_factory=list)
    is_recursive: bool = False
    holds_secret: bool = False
    is_fixed = False

    @property
    def members(self):
        return [case.member for case in self.cases if case.member]

    @property
    def has_default(self):
        return any(case.values is None for case in self.cases)

    @property
    def min_size(self):
        return 4 + min(case.member.type.min_size if case.member else 0 for case in self.cases)

    @property
    def owns_memory(self):
        return any(member.type.owns_memory for member in self.members)


@dataclass(frozen=True)
class Procedure:
    """`args` and `ret` are Struct, or None for void. `acl` is a list of "object:permission"."""
    name: str
    number: int
    args: Struct
    ret: Struct
    flags: list  # names of enum rpc_procedure_flags
    acl: list
    api_name: str
    is_event: bool


@dataclass(frozen=True)
class Program:
    name: str
    prefix: str
    number: int
    version: int
    procedures: list  # sorted by number


@dataclass
class Module:
    """What one .x file defines. `types` are in an order in which C can define them."""
    name: str
    path: str
    imports: list  # of Module
    constants: list = field(default_factory=list)  # of (name, value)
    types: list = field(default_factory=list)
    program: Program = None

    @property
    def inputs(self):
        """The paths of this file and of all that it stands on."""
        found = [self.path]
        for module in self.imports:
            found += [path for path in module.inputs if path not in found]
        return found
