#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file ends at 600 lines, a function at 80, with at most 6 parameters.

Exceptions, each with its reason, are in size-exceptions.txt.
"""

import ast
import os
import re
import unittest

import tree
import taptest

FILE_LINES = 600
FUNCTION_LINES = 80
PARAMETERS = 6

_EXCEPTIONS = "tests/lint/size-exceptions.txt"


def _exceptions(root):
    """{"path" or "path:function": reason}"""
    found = {}
    if os.path.exists(os.path.join(root, _EXCEPTIONS)):
        for line in tree.read(root, _EXCEPTIONS).splitlines():
            if line.strip() and not line.startswith("#"):
                what, _, reason = line.partition(" ")
                found[what] = reason.strip()
    return found


def _signature_start(lines, brace):
    """The index of the line with the function's name, given that of its opening brace."""
    depth = 0
    for index in range(brace - 1, -1, -1):
        depth += lines[index].count(")") - lines[index].count("(")
        if depth <= 0:
            return index
    return brace


def _count_parameters(signature):
    inside = signature[signature.index("(") + 1:signature.rindex(")")]
    if inside.strip() in ("", "void"):
        return 0
    depth = 0
    count = 1
    for character in inside:
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            count += 1
    return count


def c_functions(text):
    """(name, lines, parameters) of each function: the formatter puts its braces in column 0."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line != "{" or index == 0 or not lines[index - 1].rstrip().endswith(")"):
            continue
        end = next((n for n in range(index, len(lines)) if lines[n].startswith("}")), None)
        if end is None:
            continue
        start = _signature_start(lines, index)
        name = re.match(r"\W*(?:.*\W)?(\w+)\s*\(", lines[start].split("(")[0] + "(")
        signature = " ".join(lines[start:index])
        yield (name.group(1) if name else lines[start]), end - start + 1, \
            _count_parameters(signature)


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            count = sum(1 for argument in arguments if argument.arg not in ("self", "cls"))
            yield node.name, node.end_lineno - node.lineno + 1, count


def _functions(root, path):
    text = tree.read(root, path)
    return python_functions(text) if path.endswith(".py") else c_functions(text)


def _sources(root):
    return tree.files(root, ".c", ".h", ".py") + [
        path for path in tree.scripts(root, "sh", "bash", "python3") if not path.endswith(".py")]


def long_files(root):
    allowed = _exceptions(root)
    return [f"{path}: {lines} lines"
            for path in _sources(root)
            for lines in [tree.read(root, path).count("\n")]
            if lines > FILE_LINES and path not in allowed]


def long_functions(root):
    allowed = _exceptions(root)
    return [f"{path}: {name} has {lines} lines"
            for path in tree.files(root, ".c", ".py")
            for name, lines, _ in _functions(root, path)
            if lines > FUNCTION_LINES and f"{path}:{name}" not in allowed]


def wide_functions(root):
    allowed = _exceptions(root)
    return [f"{path}: {name} takes {parameters} parameters"
            for path in tree.files(root, ".c", ".py")
            for name, _, parameters in _functions(root, path)
            if parameters > PARAMETERS and f"{path}:{name}" not in allowed]


def stale_exceptions(root):
    offenders = []
    for what, reason in _exceptions(root).items():
        path, _, function = what.partition(":")
        if not reason:
            offenders.append(f"{what}: gives no reason")
        if not os.path.exists(os.path.join(root, path)):
            offenders.append(f"{what}: there is no such file")
        elif function and function not in [name for name, _, _ in _functions(root, path)]:
            offenders.append(f"{what}: there is no such function")
    return offenders


def _function(body_lines, parameters="void"):
    return f"static int\nf({parameters})\n{{\n" + "    g();\n" * body_lines + "}\n"


class Sizes(tree.RuleMixin, unittest.TestCase):
    def test_files_end_at_600_lines(self):
        self.assert_kept(long_files)

    def test_a_longer_file_is_caught(self):
        self.assert_caught(long_files, {"src/util/x.c": "\n" * 601}, "601 lines")

    def test_functions_end_at_80_lines(self):
        self.assert_kept(long_functions)

    def test_a_longer_function_is_caught(self):
        self.assert_caught(long_functions, {"src/util/x.c": _function(80)}, "f has 83 lines")

    def test_a_function_of_80_lines_passes(self):
        self.assert_passes(long_functions, {"src/util/x.c": _function(77)})

    def test_a_longer_python_function_is_caught(self):
        self.assert_caught(long_functions,
                           {"tests/x.py": "def f():\n" + "    g()\n" * 80}, "f has 81 lines")

    def test_functions_take_at_most_6_parameters(self):
        self.assert_kept(wide_functions)

    def test_a_function_with_7_parameters_is_caught(self):
        wide = _function(1, "int a, int b, int c,\n  int (*d)(int, int), int e, int f, int g")
        self.assert_caught(wide_functions, {"src/util/x.c": wide}, "f takes 7 parameters")

    def test_each_exception_has_a_reason_and_an_object(self):
        self.assert_kept(stale_exceptions)

    def test_an_exception_without_reason_or_object_is_caught(self):
        self.assert_caught(stale_exceptions, {_EXCEPTIONS: "src/gone.c\n"},
                           "gives no reason", "no such file")


if __name__ == "__main__":
    taptest.main()
