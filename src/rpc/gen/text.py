# SPDX-License-Identifier: LGPL-2.1-or-later
"""C as text, laid out as the project's .clang-format wants it: 4 spaces, 100 columns, arguments
filled and aligned behind their parenthesis, return types on a line of their own.
"""

WIDTH = 100
_INDENT = 4


def filled(indent, head, items, tail):
    """Lines of `head` + "a, b, c" + `tail`; what does not fit continues below the first item."""
    column = " " * (indent + len(head))
    lines = []
    line = " " * indent + head
    for index, item in enumerate(items):
        last = index == len(items) - 1
        text = item + (tail if last else ",")
        separator = "" if index == 0 else " "
        if index > 0 and len(line) + len(separator) + len(text) > WIDTH:
            lines.append(line)
            line, separator = column, ""
        line += separator + text
    if not items:
        line += tail
    return lines + [line]


class Writer:
    """Collects the lines of a file."""

    def __init__(self):
        self._lines = []
        self._depth = 0

    def text(self):
        return "\n".join(self._lines).rstrip("\n") + "\n"

    def line(self, text=""):
        self._lines.append(" " * (_INDENT * self._depth) + text if text else "")

    def lines(self, *texts):
        for text in texts:
            self.line(text)

    def indent(self):
        self._depth += 1

    def dedent(self):
        self._depth -= 1

    def filled(self, head, items, tail):
        self._lines += filled(_INDENT * self._depth, head, items, tail)

    def call(self, function, *arguments):
        self.filled(f"{function}(", arguments, ");")

    def fail_unless(self, function, *arguments):
        """if (!function(arguments)) return false;"""
        self.filled(f"if (!{function}(", arguments, "))")
        self.line("    return false;")

    def open(self, text):
        self.line(text + " {")
        self.indent()

    def close(self, tail=""):
        self.dedent()
        self.line("}" + tail)

    def block(self, head, emit):
        """`head` (if, for) and what `emit` writes below it: in braces unless that is one line."""
        body = Writer()
        body._depth = self._depth + 1
        emit(body)
        is_long = len(body._lines) > 1
        self.line(head + (" {" if is_long else ""))
        self._lines += body._lines
        if is_long:
            self.line("}")

    # ---- functions ----

    def declare(self, ret, name, *parameters):
        separator = "" if ret.endswith("*") else " "
        self.filled(f"{ret}{separator}{name}(", parameters, ");")

    def open_function(self, ret, name, *parameters):
        self.line(ret)
        self.filled(f"{name}(", parameters, ")")
        self.line("{")
        self.indent()

    def close_function(self):
        self.close()
        self.line()


def string(value):
    return f'"{value}"'


def banner(writer, path, owns):
    """`owns` are the lines of what the file is, as in every file of the project."""
    writer.line("/* SPDX-License-Identifier: LGPL-2.1-or-later")
    writer.line(" *")
    for line in owns:
        writer.line(f" * {line}")
    writer.line(" *")
    writer.line(f" * Made of {path} by src/rpc/gen (docs/xdr.md): change those, not this file.")
    writer.line(" */")
