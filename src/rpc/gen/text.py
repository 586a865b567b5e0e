# SPDX-License-Identifier: LGPL-2.1-or-later
"""C as text, laid out as the project's .clang-format wants it: 4 spaces, 100 columns, arguments
filled and aligned behind their parenthesis, return types on a line of their own.
"""

WIDTH = 100
_INDENT = 4


def filled(indent, head, items, tail):
    """Lines of `head` + "a, b, c" + `tail`. What does not fit continues below the first item; if
    an item is too long for that, all of them go below `head`, indented once."""
    pieces = [item + (tail if index == len(items) - 1 else ",")
              for index, item in enumerate(items)]
    if not pieces:
        return [" " * indent + head + tail]
    column = indent + len(head)
    if column + max(len(piece) for piece in pieces) <= WIDTH:
        return _flow(" " * indent + head, " " * column, pieces)
    start = " " * (indent + _INDENT)
    return [" " * indent + head] + _flow(start, start, pieces)


def _flow(first, others, pieces):
    """`pieces` in as few lines as they take, the first one after `first`."""
    lines = [first + pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + 1 + len(piece) <= WIDTH:
            lines[-1] += " " + piece
        else:
            lines.append(others + piece)
    return lines


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
        body = self.written(emit)
        is_long = len(body) > 1
        self.line(head + (" {" if is_long else ""))
        self._lines += body
        if is_long:
            self.line("}")

    def written(self, emit):
        """The lines that `emit` writes, one step deeper than now, for `paste`."""
        body = Writer()
        body._depth = self._depth + 1
        emit(body)
        return body._lines

    def paste(self, lines):
        self._lines += lines

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


def _paragraph(writer, words):
    writer.lines(*_flow(" * ", " * ", words.split()))


def banner(writer, module, owns):
    """`owns` says what the file is, as in every file of the project."""
    writer.line("/* SPDX-License-Identifier: LGPL-2.1-or-later")
    writer.line(" *")
    _paragraph(writer, owns)
    writer.line(" *")
    _paragraph(writer, "Made by src/rpc/gen (docs/xdr.md) of " + ", ".join(module.inputs)
               + ": change those, not this file.")
    writer.line(" */")
