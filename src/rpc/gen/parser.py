# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tokens to definitions: the grammar of RFC 4506 section 6.3, with imports and programs of ours.

    import "NAME.x";
    @prefix(PREFIX)
    program NAME = NUMBER version NUMBER {
        @ANNOTATION...
        RET NAME(ARGS) = NUMBER;
    };
"""

import syntax
from lexer import tokens_of
from source import SourceError

_UNSUPPORTED = {
    "float": "float is not supported: use double",
    "quadruple": "quadruple is not supported: use double",
    "char": "char is no XDR type: use int, which has the same bytes, or opaque",
    "short": "short is no XDR type: use int, which has the same bytes",
    "long": "long is no XDR type: use hyper",
}
_SCALARS = ("int", "hyper", "bool", "double")


class _Parser:
    def __init__(self, tokens):
        self._tokens = tokens
        self._next = 0

    # ---- tokens ----

    @property
    def _token(self):
        return self._tokens[self._next]

    def _take(self):
        token = self._token
        if token.kind != "end":
            self._next += 1
        return token

    def _is(self, text):
        return self._token.text == text and self._token.kind not in ("text", "end")

    def _accept(self, text):
        return self._take() if self._is(text) else None

    def _fail(self, wanted):
        raise SourceError(self._token.position, f"{wanted} is expected, not {self._token}")

    def _expect(self, text, what=None):
        if not self._is(text):
            self._fail(what or f"'{text}'")
        return self._take()

    def _expect_name(self, what):
        if self._token.kind == "keyword":
            raise SourceError(self._token.position,
                              f"{self._token} is a word of XDR and can't be {what}")
        if self._token.kind != "word":
            self._fail(what)
        return self._take()

    def _expect_value(self, what):
        if self._token.kind not in ("number", "word"):
            self._fail(what)
        return self._take()

    # ---- a file ----

    def file(self, path):
        found = syntax.File(path)
        while self._token.kind != "end":
            if self._is("import"):
                if found.definitions:
                    raise SourceError(self._token.position,
                                      "imports stand before all definitions")
                found.imports.append(self._import())
            else:
                found.definitions.append(self._definition())
        return found

    def _import(self):
        position = self._take().position
        if self._token.kind != "text":
            self._fail('the file to import, in quotes ("NAME.x"),')
        path = self._take().text[1:-1]
        self._expect(";")
        return syntax.Import(path, position)

    def _definition(self):
        annotations = self._annotations()
        if self._is("program"):
            return self._program(annotations)
        if annotations:
            raise SourceError(annotations[0].position,
                              f"@{annotations[0].name} belongs to a program, a procedure or a "
                              "member, not here")
        makers = {"const": self._const, "enum": self._enum, "struct": self._struct,
                  "union": self._union, "typedef": self._typedef}
        make = makers.get(self._token.text)
        if not make:
            self._fail("const, enum, struct, union, typedef, program or import")
        self._take()
        return make()

    def _annotations(self):
        found = []
        while self._token.kind == "annotation":
            token = self._take()
            arguments = []
            if self._accept("("):
                arguments.append(self._argument())
                while self._accept(","):
                    arguments.append(self._argument())
                self._expect(")")
            if token.text[1:] in [other.name for other in found]:
                raise SourceError(token.position, f"{token.text} is said twice")
            found.append(syntax.Annotation(token.text[1:], tuple(arguments), token.position))
        return tuple(found)

    def _argument(self):
        name = self._expect_name("a name").text
        if self._accept(":"):
            name += ":" + self._expect_name("a name").text
        return name

    # ---- definitions; their first word is taken ----

    def _const(self):
        name = self._expect_name("the name of a constant")
        self._expect("=")
        value = self._expect_value("a number")
        self._expect(";")
        return syntax.Const(name.text, name.position, value)

    def _enum(self):
        name = self._expect_name("the name of an enum")
        self._expect("{")
        members = []
        while True:
            member = self._expect_name("the name of a constant")
            self._expect("=", "'=' and the value")
            members.append(syntax.Const(member.text, member.position,
                                        self._expect_value("a number")))
            if not self._accept(","):
                break
        self._expect("}")
        self._expect(";")
        return syntax.Enum(name.text, name.position, tuple(members))

    def _struct(self):
        name = self._expect_name("the name of a struct")
        self._expect("{")
        members = []
        while not self._is("}"):
            members.append(self._declaration())
            self._expect(";")
        end = self._take()
        if not members:
            raise SourceError(end.position, f"struct {name.text} has no member: where nothing is "
                              "sent, say void")
        self._expect(";")
        return syntax.Struct(name.text, name.position, tuple(members))

    def _union(self):
        name = self._expect_name("the name of a union")
        self._expect("switch")
        self._expect("(")
        discriminant = self._declaration()
        self._expect(")")
        self._expect("{")
        cases = []
        while not self._is("}"):
            cases.append(self._case())
        end = self._take()
        if not cases:
            raise SourceError(end.position, f"union {name.text} has no case")
        self._expect(";")
        return syntax.Union(name.text, name.position, discriminant, tuple(cases))

    def _case(self):
        position = self._token.position
        values = []
        if self._accept("default"):
            self._expect(":")
        else:
            while self._is("case"):
                self._take()
                values.append(self._expect_value("the value of a case"))
                self._expect(":")
            if not values:
                self._fail("'case' or 'default'")
        arm = self._declaration()
        self._expect(";")
        return syntax.Case(tuple(values), arm, position)

    def _typedef(self):
        declaration = self._declaration()
        if declaration.base == "void":
            raise SourceError(declaration.position, "void can't be given a name")
        self._expect(";")
        return syntax.Typedef(declaration)

    # ---- declarations ----

    def _declaration(self):
        annotations = self._annotations()
        start = self._token.position
        base = self._base()
        if base == "void":
            return syntax.Declaration(base, start, "", start, annotations=annotations)
        if self._accept("*"):
            if base in ("opaque", "string"):
                raise SourceError(start, f"{base} can't be optional by itself: give it a name with "
                                  "typedef, and make that optional")
            name = self._expect_name("a name")
            return syntax.Declaration(base, start, name.text, name.position, "optional",
                                      annotations=annotations)
        name = self._expect_name("a name")
        shape, bound = self._shape()
        return syntax.Declaration(base, start, name.text, name.position, shape, bound, annotations)

    def _base(self):
        token = self._take()
        if token.text in _UNSUPPORTED:
            raise SourceError(token.position, _UNSUPPORTED[token.text])
        if token.text == "unsigned":
            if self._token.text in ("char", "short", "long"):
                raise SourceError(self._token.position, _UNSUPPORTED[self._token.text])
            if self._accept("hyper"):
                return "unsigned hyper"
            self._accept("int")
            return "unsigned"
        if token.text in ("struct", "enum", "union"):
            # As in C: `struct NAME member`. Anonymous ones are not supported.
            if self._is("{") or self._is("switch"):
                raise SourceError(token.position, f"this {token.text} needs a definition of its "
                                  "own, with a name")
            return self._expect_name("the name of a type").text
        if token.kind == "word" or token.text in _SCALARS + ("opaque", "string", "void"):
            return token.text
        raise SourceError(token.position, f"a type is expected, not {token}")

    def _shape(self):
        if self._accept("["):
            bound = self._expect_value("the number of elements")
            self._expect("]")
            return "fixed", bound
        if self._accept("<"):
            bound = None if self._is(">") else self._expect_value("the largest number of elements")
            self._expect(">")
            return "variable", bound
        return "plain", None

    # ---- programs ----

    def _program(self, annotations):
        self._take()
        name = self._expect_name("the name of a program")
        self._expect("=", "'=' and the number of the program")
        number = self._expect_value("the number of the program")
        self._expect("version", "'version'")
        version = self._expect_value("the version of the program")
        self._expect("{")
        procedures = []
        while not self._is("}"):
            procedures.append(self._procedure())
        end = self._take()
        if not procedures:
            raise SourceError(end.position, f"program {name.text} has no procedure")
        self._expect(";")
        return syntax.Program(name.text, name.position, number, version, tuple(procedures),
                              annotations)

    def _procedure(self):
        annotations = self._annotations()
        ret = self._procedure_type()
        name = self._expect_name("the name of a procedure")
        self._expect("(")
        args = self._procedure_type()
        self._expect(")")
        self._expect("=", "'=' and the number of the procedure")
        number = self._expect_value("the number of the procedure")
        self._expect(";")
        return syntax.Procedure(name.text, name.position, ret, args, number, annotations)

    def _procedure_type(self):
        if self._token.kind == "word" or self._is("void"):
            return self._take()
        return self._fail("void or the name of a struct")


def parse(path, text):
    """The syntax.File of a file's text; `path` is what errors name it by."""
    return _Parser(tokens_of(path, text)).file(path)
