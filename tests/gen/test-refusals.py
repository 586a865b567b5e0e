#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the XDR compiler refuses: each with its file, line and column, and a text that says why."""

import unittest

import compiler
import taptest

_BYTES = "struct bytes { @secret opaque key<4>; };\n"
_INT = "struct number { int x; };\n"


def _program(*lines):
    """Two lines come before those given."""
    return (_BYTES + "struct number { int x; };\nprogram p = 1 version 1 {\n"
            + "\n".join(lines) + "\n};\n")


class Refusals(unittest.TestCase):
    maxDiff = None

    def assert_refused(self, text, error, **others):
        """`error` is LINE:COLUMN: TEXT in main.x, or begins with the name of another file."""
        made = compiler.compile_texts(text, **others)
        wanted = error if ".x:" in error.split(": ")[0] else f"main.x:{error}"
        self.assertEqual(made.errors, wanted + "\n")
        self.assertEqual(made.status, 1)
        self.assertEqual(made.outputs, {})

    def assert_compiles(self, text, **others):
        made = compiler.compile_texts(text, **others)
        self.assertEqual(made.errors, "")
        self.assertEqual(made.status, 0)

    # ---- text ----

    def test_a_character_without_meaning(self):
        self.assert_refused("struct s {\n    int x$;\n};\n", "2:10: '$' means nothing here")

    def test_a_comment_without_end(self):
        self.assert_refused("int\n/* for ever\n",
                            "2:1: this comment does not end: '*/' is missing")

    def test_a_number_that_is_none(self):
        for number in ("12x", "09", "0x", "0xg", "-0b1"):
            self.assert_refused(f"const A = {number};\n",
                                f"1:11: '{number}' is no number: write 10, 0x0a or 012")

    def test_columns_are_counted_from_the_line_after_a_long_comment(self):
        self.assert_refused("/* one\n two */ $\n", "2:9: '$' means nothing here")

    # ---- grammar ----

    def test_a_missing_semicolon(self):
        self.assert_refused("struct s { int x }\n", "1:18: ';' is expected, not '}'")

    def test_an_end_too_early(self):
        self.assert_refused("struct s {\n int x;\n",
                            "3:1: a type is expected, not the end of the file")

    def test_an_unknown_definition(self):
        self.assert_refused(
            "class s {};\n",
            "1:1: const, enum, struct, union, typedef, program or import is expected, not 'class'")

    def test_a_word_of_xdr_as_a_name(self):
        self.assert_refused("struct s { int string; };\n",
                            "1:16: 'string' is a word of XDR and can't be a name")

    def test_words_of_programs_are_names_elsewhere(self):
        self.assert_compiles("struct s { int version; int program; int import; };\n")

    def test_an_empty_struct(self):
        self.assert_refused("struct s {\n};\n",
                            "2:1: struct s has no member: where nothing is sent, say void")

    def test_a_struct_inside_a_struct(self):
        self.assert_refused("struct s { struct { int x; } y; };\n",
                            "1:12: this struct needs a definition of its own, with a name")

    def test_types_that_are_not_supported(self):
        for name, hint in (
                ("float", "float is not supported: use double"),
                ("quadruple", "quadruple is not supported: use double"),
                ("char", "char is no XDR type: use int, which has the same bytes, or opaque"),
                ("short", "short is no XDR type: use int, which has the same bytes"),
                ("long", "long is no XDR type: use hyper")):
            self.assert_refused(f"struct s {{ {name} x; }};\n", f"1:12: {hint}")

    def test_unsigned_char(self):
        self.assert_refused(
            "struct s { unsigned char x; };\n",
            "1:21: char is no XDR type: use int, which has the same bytes, or opaque")

    # ---- names ----

    def test_an_unknown_type(self):
        self.assert_refused("struct s {\n    secret x;\n};\n",
                            "2:5: the type 'secret' is unknown")

    def test_a_constant_as_a_type(self):
        self.assert_refused("const N = 1;\nstruct s { N x; };\n",
                            "2:12: 'N' is a constant, not a type")

    def test_an_unknown_constant(self):
        self.assert_refused("struct s { opaque x<MAX>; };\n",
                            "1:21: the constant 'MAX' is unknown", )

    def test_a_type_as_a_bound(self):
        self.assert_refused(_INT + "struct s { opaque x<number>; };\n",
                            "2:21: 'number' is a type, not a constant")

    def test_a_name_that_is_defined_twice(self):
        self.assert_refused("const s = 1;\nstruct s { int x; };\n",
                            "2:8: 's' is defined already, at main.x:1:7")

    def test_a_constant_of_an_enum_that_is_defined_twice(self):
        self.assert_refused("enum a { X = 1 };\nenum b { X = 2 };\n",
                            "2:10: 'X' is defined already, at main.x:1:10")

    def test_a_name_that_an_import_has_too(self):
        self.assert_refused('import "other.x";\nstruct s { int x; };\n',
                            "2:8: 's' is defined already, at other.x:1:7",
                            other="const s = 1;\n")

    def test_two_members_of_one_name(self):
        self.assert_refused("struct s { int x;\n  hyper x; };\n",
                            "2:9: there is a member 'x' already")

    def test_a_member_with_the_name_of_a_length(self):
        self.assert_refused(
            "struct s { opaque x<4>; int x_len; };\n",
            "1:29: there is a member 'x_len' already (the length of an array or of opaque<> is "
            "called NAME_len in C)")

    def test_a_keyword_of_c(self):
        self.assert_refused("struct s { int register; };\n",
                            "1:16: 'register' has a meaning in C and can't be the name of a member")

    def test_a_macro_of_the_compiler(self):
        self.assert_refused("const linux = 1;\n",
                            "1:7: 'linux' has a meaning in C and can't be the name of a constant")

    def test_a_type_with_a_name_of_c(self):
        self.assert_refused("struct size_t { int x; };\n",
                            "1:8: 'size_t' has a meaning in C and can't be the name of a type")

    def test_a_procedure_with_a_name_of_c(self):
        self.assert_refused(
            _program("@acl(none) void goto(void) = 1;"),
            "4:17: 'goto' has a meaning in C and can't be the name of a procedure")

    # ---- constants and bounds ----

    def test_a_constant_that_is_too_large(self):
        self.assert_refused("const A = 0x100000000;\n",
                            "1:11: 4294967296 does not fit into 32 bits, as constants must")

    def test_a_value_that_is_too_large_for_an_enum(self):
        self.assert_refused("enum e { A = 0x80000000 };\n",
                            "1:14: 2147483648 does not fit into an enum")

    def test_two_names_of_one_value_in_an_enum(self):
        self.assert_refused("enum e { A = 1,\n  B = 1 };\n",
                            "2:7: 'A' of this enum is 1 already")

    def test_an_array_without_a_bound(self):
        self.assert_refused("struct s { int x<>; };\n", "1:16: 'x' needs a bound: x<MAX>; nothing "
                            "is allocated without one")

    def test_a_string_without_a_bound(self):
        self.assert_refused("struct s { string x<>; };\n", "1:19: 'x' needs a bound: x<MAX>; "
                            "nothing is allocated without one")
        self.assert_refused("struct s { string x; };\n", "1:19: string needs a bound: x<MAX>")

    def test_opaque_without_a_bound(self):
        self.assert_refused("struct s { opaque x; };\n",
                            "1:19: opaque needs a bound: x[LEN] or x<MAX>")

    def test_a_string_of_fixed_length(self):
        self.assert_refused("struct s { string x[4]; };\n",
                            "1:19: a string has no fixed length: write x<MAX>")

    def test_bounds_that_nothing_can_have(self):
        for bound in ("0", "-1", "33554433"):
            self.assert_refused(f"struct s {{ int x<{bound}>; }};\n",
                                f"1:18: the bound is {bound}, and can be 1 to 33554432")
        self.assert_refused("struct s { int x[0]; };\n",
                            "1:18: the bound is 0, and can be 1 to 33554432")

    def test_more_than_fits_into_a_message(self):
        self.assert_refused(
            "struct a { int x[33554432]; };\n",
            "1:16: 'x' takes at least 134217728 bytes, and the largest message has 33554432")

    # ---- types ----

    def test_a_type_that_holds_itself(self):
        self.assert_refused("struct s { int x;\n  s next; };\n",
                            "2:5: 's' would hold 's' and so itself without end: make it optional "
                            "(*) or an array <>")

    def test_types_that_hold_each_other(self):
        self.assert_refused("struct a { b x; };\nstruct b { a y[2]; };\n",
                            "2:14: 'b' would hold 'a' and so itself without end: make it optional "
                            "(*) or an array <>")

    def test_types_that_hold_each_other_through_an_array_are_fine(self):
        self.assert_compiles("struct a { b x<4>; };\nstruct b { a *y; };\n")

    def test_typedefs_of_each_other(self):
        self.assert_refused("typedef a b;\ntypedef b a;\nstruct s { a x; };\n",
                            "1:9: the type 'a' is defined by itself")

    def test_an_optional_of_an_optional(self):
        self.assert_refused("typedef int *maybe;\nstruct s { maybe *x; };\n",
                            "2:12: 'maybe' can't be optional: put it into a struct")

    def test_an_array_of_arrays(self):
        self.assert_refused("typedef int many<3>;\nstruct s { many x<2>; };\n",
                            "2:12: 'many' can't be an element: put it into a struct")

    def test_optional_bytes_without_a_name(self):
        self.assert_refused("struct s { opaque *x; };\n", "1:12: opaque can't be optional by "
                            "itself: give it a name with typedef, and make that optional")

    def test_void_as_a_member(self):
        self.assert_refused("struct s { void; };\n", "1:12: void can't be a member of a struct")

    def test_void_as_a_typedef(self):
        self.assert_refused("typedef void;\n", "1:9: void can't be given a name")

    # ---- unions ----

    def test_a_union_switched_by_a_string(self):
        self.assert_refused("union u switch (string x<3>) { case 1: void; };\n",
                            "1:24: a union is switched by int, unsigned, bool or an enum")

    def test_a_case_that_is_there_twice(self):
        self.assert_refused("union v switch (int x) {\ncase 1: int a;\ncase 1: int b; };\n",
                            "3:6: this union has a case 1 already")

    def test_a_case_after_default(self):
        self.assert_refused("union v switch (int x) {\ndefault: void;\ncase 1: int b; };\n",
                            "3:1: no case can follow 'default'")

    def test_a_case_of_another_enum(self):
        self.assert_refused(
            "enum e { A = 1 };\nenum f { B = 1 };\n"
            "union v switch (e x) { case B: void; };\n", "3:29: 'B' is no constant of enum e")

    def test_a_case_that_is_no_bool(self):
        self.assert_refused("union v switch (bool x) { case 1: void; };\n",
                            "1:32: a bool is TRUE or FALSE")

    def test_a_case_out_of_range(self):
        self.assert_refused("union v switch (unsigned x) { case -1: void; };\n",
                            "1:36: -1 does not fit into unsigned")
        self.assert_refused("union v switch (int x) { case 0x80000000: void; };\n",
                            "1:31: 2147483648 does not fit into int")

    def test_a_union_without_a_case(self):
        self.assert_refused("union v switch (int x) {\n};\n", "2:1: union v has no case")

    def test_a_discriminant_called_u(self):
        self.assert_refused(
            "union v switch (int u) { case 1: void; };\n",
            "1:21: 'u' is what the arms are called in C: name the discriminant else")

    # ---- secrets ----

    def test_a_secret_that_is_no_opaque(self):
        for member in ("string x<4>", "opaque x[4]", "int x", "int x<4>"):
            self.assert_refused(
                f"struct s {{ @secret {member}; }};\n",
                "1:12: @secret is for opaque NAME<MAX> only: key bytes are nothing else")

    def test_another_annotation_of_a_member(self):
        self.assert_refused("struct s { @readonly int x; };\n",
                            "1:12: the only annotation of a member is @secret")

    def test_a_call_that_takes_a_secret_without_saying_so(self):
        self.assert_refused(
            _program("@acl(none)", "void set(bytes) = 1;"),
            "5:6: procedure set must be marked @secret: bytes holds a @secret member")

    def test_a_call_that_gives_a_secret_deep_below_without_saying_so(self):
        self.assert_refused(
            _BYTES + "struct list { bytes b<2>; list *next; };\n"
            "program p = 1 version 1 {\n@acl(none) list get(void) = 1;\n};\n",
            "4:17: procedure get must be marked @secret: list holds a @secret member")

    def test_a_call_that_says_secret_and_has_none(self):
        self.assert_refused(
            _program("@acl(none) @secret void set(number) = 1;"),
            "4:12: procedure set is marked @secret, but neither what it takes nor what it gives "
            "has a @secret member")

    def test_an_event_that_carries_a_secret(self):
        self.assert_refused(
            _program("@event @secret void changed(bytes) = 1;"),
            "4:21: event changed carries a secret: events wait in queues, so that key bytes are "
            "not allowed in them")

    # ---- programs ----

    def test_two_procedures_of_one_number(self):
        self.assert_refused(
            _program("@acl(none) void a(void) = 7;", "@acl(none) void b(void) = 0x7;"),
            "5:27: procedure a has the number 7 already")

    def test_two_procedures_of_one_name(self):
        self.assert_refused(
            _program("@acl(none) void a(void) = 7;", "@acl(none) void a(void) = 8;"),
            "5:17: there is a procedure 'a' already")

    def test_a_procedure_number_that_none_can_have(self):
        for number in ("0", "-1", "0x80000000"):
            self.assert_refused(
                _program(f"@acl(none) void a(void) = {number};"),
                "4:27: the number of a procedure is 1 to 2147483647, not "
                f"{int(number, 0)}")

    def test_a_procedure_that_takes_a_number(self):
        self.assert_refused(_program("@acl(none) void a(int) = 1;"),
                            "4:19: void or the name of a struct is expected, not 'int'")

    def test_a_procedure_that_takes_an_enum(self):
        self.assert_refused(
            "enum e { A = 1 };\nprogram p = 1 version 1 {\n@acl(none) void a(e) = 1;\n};\n",
            "3:19: 'e' is no struct: a procedure takes and gives a struct, or void")

    def test_a_call_that_says_nothing_of_access(self):
        self.assert_refused(
            _program("@readonly void a(void) = 1;"),
            "4:16: who may call a? Say @acl(OBJECT:PERMISSION, ...) or @acl(none)")

    def test_a_permission_of_another_form(self):
        self.assert_refused(_program("@acl(write) void a(void) = 1;"),
                            "4:1: 'write' is not of the form OBJECT:PERMISSION")

    def test_an_unknown_annotation(self):
        self.assert_refused(
            _program("@acl(none) @fast void a(void) = 1;"),
            "4:12: @fast is unknown; a procedure can have @readonly, @priority, @anonymous, "
            "@unopened, @secret, @event, @acl, @api")

    def test_an_annotation_that_is_said_twice(self):
        self.assert_refused(_program("@acl(none) @readonly @readonly void a(void) = 1;"),
                            "4:22: @readonly is said twice")

    def test_annotations_with_the_wrong_arguments(self):
        self.assert_refused(_program("@acl void a(void) = 1;"),
                            "4:1: it is @acl(OBJECT:PERMISSION, ...) or @acl(none)")
        self.assert_refused(_program("@acl(none) @api void a(void) = 1;"), "4:12: it is @api(NAME)")
        self.assert_refused(_program("@acl(none) @api(a, b) void a(void) = 1;"),
                            "4:12: it is @api(NAME), with one name")
        self.assert_refused(_program("@acl(none) @readonly(x) void a(void) = 1;"),
                            "4:12: @readonly takes nothing")

    def test_an_anonymous_call_on_an_open_connection(self):
        self.assert_refused(
            _program("@acl(none) @anonymous void a(void) = 1;"),
            "4:12: nothing is opened before authentication: say @unopened too")

    def test_an_event_with_rules_for_callers(self):
        self.assert_refused(
            _program("@event @acl(none) void a(number) = 1;"),
            "4:8: an event is never called: @acl has no place beside @event")

    def test_an_event_with_a_reply_or_without_a_message(self):
        for line, column in (("@event number a(number) = 1;", 15),
                             ("@event void a(void) = 1;", 13)):
            self.assert_refused(
                _program(line),
                f"4:{column}: event a is a message without reply: void NAME(STRUCT)")

    def test_an_annotation_of_a_type(self):
        self.assert_refused("@secret struct s { int x; };\n",
                            "1:1: @secret belongs to a program, a procedure or a member, not here")

    def test_another_annotation_of_a_program(self):
        self.assert_refused(
            "@readonly program p = 1 version 1 { @acl(none) void a(void) = 1; };\n",
            "1:1: the only annotation of a program is @prefix(NAME)")

    def test_a_program_without_a_procedure(self):
        self.assert_refused("program p = 1 version 1 {\n};\n", "2:1: program p has no procedure")

    def test_a_second_program(self):
        one = "program {} = 1 version 1 {{ @acl(none) void a(void) = 1; }};\n"
        self.assert_refused(
            one.format("p") + one.format("q"),
            "2:9: this file describes p already: a program has a file of its own")

    # ---- imports ----

    def test_a_file_that_is_not_there(self):
        self.assert_refused('\nimport "gone.x";\n',
                            "2:1: gone.x can't be read: No such file or directory")

    def test_files_that_import_each_other(self):
        self.assert_refused('import "other.x";\n', "other.x:1:1: main.x imports this file itself",
                            other='import "main.x";\n')

    def test_an_import_without_quotes(self):
        self.assert_refused("import other;\n", '1:8: the file to import, in quotes ("NAME.x"), is '
                            "expected, not 'other'")

    def test_an_import_below_a_definition(self):
        self.assert_refused('const A = 1;\nimport "other.x";\n',
                            "2:1: imports stand before all definitions", other="const B = 1;\n")

    def test_an_error_in_an_import_names_that_file(self):
        self.assert_refused('import "other.x";\n', "other.x:2:12: the type 'y' is unknown",
                            other="\nstruct s { y x; };\n")

    def test_a_file_over_two_ways_is_fine(self):
        self.assert_compiles('import "one.x";\nimport "two.x";\nstruct s { t x; };\n',
                             one='import "three.x";\n', two='import "three.x";\n',
                             three="struct t { int x; };\n")


if __name__ == "__main__":
    taptest.main()
