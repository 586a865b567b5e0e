# SPDX-License-Identifier: LGPL-2.1-or-later
"""The names that are known in a file, and which names C can't take."""

from dataclasses import dataclass

from source import Position, SourceError

# Keywords of C11 and gnu11, and macros that compilers or the headers we include define.
_TAKEN_BY_C = frozenset("""
    alignas alignof asm auto bool break case char const continue default do double else enum extern
    false float for goto if inline int long noreturn register restrict return short signed sizeof
    static static_assert struct switch thread_local true typedef typeof union unsigned void volatile
    while complex imaginary
    linux unix i386 errno stdin stdout stderr assert offsetof
    NULL TRUE FALSE EOF MIN MAX ABS CLAMP
    int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ssize_t
""".split())


@dataclass(frozen=True)
class Name:
    """`kind` is "constant", "type" or "program"; `item` is what it stands for: an int, a model type
    or, of a typedef, its syntax.Typedef."""
    kind: str
    item: object
    position: Position


def refuse_c_words(name, position, what):
    """A name goes into C as it is."""
    if name in _TAKEN_BY_C:
        raise SourceError(position, f"'{name}' has a meaning in C and can't be {what}")


def member_name(procedure):
    """Of a handler in its table. clang-format takes C++'s operators for what they are in C++."""
    return procedure.name + "_" if procedure.name in ("delete", "new") else procedure.name


class Names:
    """One name means one thing in a file and in what it imports."""

    def __init__(self):
        self._names = {}

    def add(self, name, kind, item, position):
        refuse_c_words(name, position, f"the name of a {kind}")
        self._put(name, Name(kind, item, position))

    def add_all(self, other):
        """The names of an imported file; it may come twice, over two ways."""
        for name, known in other.all():
            if self._names.get(name) != known:
                self._put(name, known)

    def _put(self, name, known):
        if name in self._names:
            raise SourceError(known.position, f"'{name}' is defined already, at "
                              f"{self._names[name].position}")
        self._names[name] = known

    def all(self):
        return self._names.items()

    def find_type(self, name, position):
        known = self._names.get(name)
        if known is None:
            raise SourceError(position, f"the type '{name}' is unknown")
        if known.kind != "type":
            raise SourceError(position, f"'{name}' is a {known.kind}, not a type")
        return known.item

    def value_of(self, token):
        """Of a number, or of a constant by its name."""
        if token.kind == "number":
            return token.value
        known = self._names.get(token.text)
        if known is None:
            raise SourceError(token.position, f"the constant '{token.text}' is unknown")
        if known.kind != "constant":
            raise SourceError(token.position, f"'{token.text}' is a {known.kind}, not a constant")
        return known.item
