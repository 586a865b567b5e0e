# SPDX-License-Identifier: LGPL-2.1-or-later
"""Definitions of types as they are written to types of the model, checked: every name known, every
bound there and sane, nothing that contains itself, @secret on opaque<> alone.
"""

import model
import syntax
from names import refuse_c_words
from source import SourceError

# Nothing on the wire is longer: libvirt's largest message.
LENGTH_MAX = 33554432
_INT_MIN, _INT_MAX, _UNSIGNED_MAX = -2**31, 2**31 - 1, 2**32 - 1
_BOOLS = {"TRUE": 1, "FALSE": 0, "true": 1, "false": 0}


def c_number(value):
    """A number as C source."""
    return f"{value}u" if value > _INT_MAX else f"{value}" if value > _INT_MIN else "INT32_MIN"


class Resolver:
    def __init__(self, names):
        self._names = names
        self._aliases = []  # names of the typedefs that are being looked up

    # ---- definitions ----

    def constant(self, written):
        value = self._names.value_of(written.value)
        if not _INT_MIN <= value <= _UNSIGNED_MAX:
            raise SourceError(written.value.position,
                              f"{value} does not fit into 32 bits, as constants must")
        return value

    def enum(self, written):
        members = []
        values = {}
        for member in written.members:
            value = self._names.value_of(member.value)
            if not _INT_MIN <= value <= _INT_MAX:
                raise SourceError(member.value.position, f"{value} does not fit into an enum")
            if value in values:
                raise SourceError(member.value.position,
                                  f"'{values[value]}' of this enum is {value} already")
            values[value] = member.name
            self._names.add(member.name, "constant", value, member.position)
            members.append((member.name, value))
        return model.Enum(written.name, written.position, members)

    def fill_struct(self, made, written):
        taken = {}
        for declaration in written.members:
            if declaration.base == "void":
                raise SourceError(declaration.position, "void can't be a member of a struct")
            member = self._member(declaration)
            self._claim(taken, member)
            made.members.append(member)

    def fill_union(self, made, written):
        made.discriminant = self._member(written.discriminant)
        if made.discriminant.name == "u":
            raise SourceError(made.discriminant.position,
                              "'u' is what the arms are called in C: name the discriminant else")
        kind = made.discriminant.type
        allowed = [model.SCALARS[name] for name in ("int", "unsigned", "bool")]
        if kind not in allowed and not isinstance(kind, model.Enum):
            raise SourceError(made.discriminant.position,
                              "a union is switched by int, unsigned, bool or an enum")
        taken, values = {}, {}
        for case in written.cases:
            if made.has_default:
                raise SourceError(case.position, "no case can follow 'default'")
            member = None if case.arm.base == "void" else self._member(case.arm)
            self._refuse_annotations(case.arm if member is None else None)
            if member:
                self._claim(taken, member)
            constants = [self._case_value(kind, token, values) for token in case.values]
            made.cases.append(model.Case(constants or None, member))

    @staticmethod
    def _refuse_annotations(declaration):
        if declaration and declaration.annotations:
            annotation = declaration.annotations[0]
            raise SourceError(annotation.position, f"@{annotation.name} has no place at void")

    def _case_value(self, kind, token, values):
        """The C text of a case; `values` are those seen."""
        if kind == model.SCALARS["bool"]:
            if token.text not in _BOOLS:
                raise SourceError(token.position, "a bool is TRUE or FALSE")
            value, c_text = _BOOLS[token.text], str(_BOOLS[token.text])
        else:
            value = self._names.value_of(token)
            c_text = token.text if token.kind == "word" else c_number(value)
        if isinstance(kind, model.Enum):
            if token.text not in [name for name, _ in kind.members]:
                raise SourceError(token.position, f"{token} is no constant of enum {kind.name}")
        elif kind == model.SCALARS["unsigned"] and not 0 <= value <= _UNSIGNED_MAX:
            raise SourceError(token.position, f"{value} does not fit into unsigned")
        elif kind == model.SCALARS["int"] and not _INT_MIN <= value <= _INT_MAX:
            raise SourceError(token.position, f"{value} does not fit into int")
        if value in values:
            raise SourceError(token.position, f"this union has a case {values[value]} already")
        values[value] = token.text
        return c_text

    @staticmethod
    def _claim(taken, member):
        """The C names of a member: an array and opaque<> come with a length."""
        names = [member.name]
        if isinstance(member.type, (model.Array, model.Opaque)):
            names.append(member.name + "_len")
        for name in names:
            if name in taken:
                hint = "" if name == member.name and taken[name] == name else \
                    " (the length of an array or of opaque<> is called NAME_len in C)"
                raise SourceError(member.position, f"there is a member '{name}' already{hint}")
            taken[name] = member.name

    # ---- declarations ----

    def _member(self, declaration):
        if declaration.base == "void":
            raise SourceError(declaration.position, "void has no place here")
        refuse_c_words(declaration.name, declaration.position, "the name of a member")
        return model.Member(declaration.name, self.type_of(declaration), declaration.position)

    def type_of(self, declaration):
        """The model type of a declaration."""
        found = self._shaped(declaration)
        for annotation in declaration.annotations:
            if annotation.name != "secret" or annotation.arguments:
                raise SourceError(annotation.position, "the only annotation of a member is @secret")
            if not isinstance(found, model.Opaque):
                raise SourceError(annotation.position, "@secret is for opaque NAME<MAX> only: key "
                                  "bytes are nothing else")
            found = model.Secret(found.max)
        return found

    def _shaped(self, declaration):
        shape, base = declaration.shape, declaration.base
        if base in ("opaque", "string"):
            return self._bytes(declaration)
        element = self._base(declaration)
        if shape == "plain":
            return element
        if shape == "optional":
            self._refuse_element(declaration, element, (model.Optional, model.Opaque, model.Array,
                                                        model.FixedArray), "optional")
            return model.Optional(element)
        self._refuse_element(declaration, element,
                             (model.Opaque, model.Array, model.FixedArray), "an element")
        if shape == "fixed":
            return model.FixedArray(element, self._bound(declaration))
        return model.Array(element, self._bound(declaration))

    @staticmethod
    def _refuse_element(declaration, element, refused, what):
        if isinstance(element, refused):
            raise SourceError(declaration.base_position,
                              f"'{declaration.base}' can't be {what}: put it into a struct")

    def _bytes(self, declaration):
        name, base = declaration.name, declaration.base
        if declaration.shape == "plain":
            forms = f"{name}<MAX>" if base == "string" else f"{name}[LEN] or {name}<MAX>"
            raise SourceError(declaration.position, f"{base} needs a bound: {forms}")
        if declaration.shape == "fixed" and base == "string":
            raise SourceError(declaration.position,
                              f"a string has no fixed length: write {name}<MAX>")
        bound = self._bound(declaration)
        if base == "string":
            return model.String(bound)
        return model.FixedOpaque(bound) if declaration.shape == "fixed" else model.Opaque(bound)

    def _bound(self, declaration):
        token = declaration.bound
        if token is None:
            raise SourceError(declaration.position, f"'{declaration.name}' needs a bound: "
                              f"{declaration.name}<MAX>; nothing is allocated without one")
        value = self._names.value_of(token)
        if not 1 <= value <= LENGTH_MAX:
            raise SourceError(token.position,
                              f"the bound is {value}, and can be 1 to {LENGTH_MAX}")
        return model.Bound(token.text if token.kind == "word" else str(value), value)

    def _base(self, declaration):
        if declaration.base in model.SCALARS:
            return model.SCALARS[declaration.base]
        found = self._names.find_type(declaration.base, declaration.base_position)
        if not isinstance(found, syntax.Typedef):
            return found
        if found.name in self._aliases:
            raise SourceError(declaration.base_position,
                              f"the type '{found.name}' is defined by itself")
        self._aliases.append(found.name)
        resolved = self.type_of(found.declaration)
        self._aliases.pop()
        return resolved


# ---- what types contain ----

def _named_within(kind):
    """The struct or union whose bytes stand in place in a value of `kind`."""
    while isinstance(kind, model.FixedArray):
        kind = kind.element
    return kind if isinstance(kind, (model.Struct, model.Union)) else None


def _named_below(kind):
    """The same, and also over pointers."""
    while isinstance(kind, (model.FixedArray, model.Array, model.Optional)):
        kind = kind.element
    return kind if isinstance(kind, (model.Struct, model.Union)) else None


def in_order_of_definition(types):
    """`types`, each after those that it holds in place; one that holds itself is an error."""
    done, open_types = [], []

    def visit(kind):
        if kind in done or kind not in types:
            return
        open_types.append(kind)
        for member in kind.members if not isinstance(kind, model.Enum) else ():
            inner = _named_within(member.type)
            if inner in open_types:
                raise SourceError(member.position, f"'{kind.name}' would hold '{inner.name}' and "
                                  "so itself without end: make it optional (*) or an array <>")
            if inner:
                visit(inner)
        open_types.pop()
        done.append(kind)

    for enum_first in (True, False):
        for kind in types:
            if isinstance(kind, model.Enum) == enum_first:
                visit(kind)
    return done


def check_sizes(types):
    """`types` are in order: nothing contains itself any more."""
    for kind in types:
        for member in kind.members if not isinstance(kind, model.Enum) else ():
            if member.type.min_size > LENGTH_MAX:
                raise SourceError(member.position, f"'{member.name}' takes at least "
                                  f"{member.type.min_size} bytes, and the largest message has "
                                  f"{LENGTH_MAX}")


def _reachable(kind):
    found, waiting = [], [kind]
    while waiting:
        for member in waiting.pop().members:
            inner = _named_below(member.type)
            if inner and inner not in found:
                found.append(inner)
                waiting.append(inner)
    return found


def _has_secret_member(kind):
    return any(isinstance(_element(member.type), model.Secret) for member in kind.members)


def _element(kind):
    while isinstance(kind, (model.FixedArray, model.Array, model.Optional)):
        kind = kind.element
    return kind


def mark(types):
    """Sets is_recursive and holds_secret of structs and unions."""
    for kind in types:
        if not isinstance(kind, model.Enum):
            below = _reachable(kind)
            kind.is_recursive = kind in below
            kind.holds_secret = any(_has_secret_member(one) for one in below + [kind])
