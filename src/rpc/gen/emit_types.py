# SPDX-License-Identifier: LGPL-2.1-or-later
"""NAME.h: constants, types, their codec functions, and programs with their procedure numbers."""

import model
import text
from resolver import c_number


def declarators(member):
    """The C declarations of a member, one a line."""
    kind, name = member.type, member.name
    if isinstance(kind, model.Opaque):
        return [f"uint8_t *{name};", f"uint32_t {name}_len;"]
    if isinstance(kind, model.Array):
        return [_declare(kind.element, f"*{name}") + ";", f"uint32_t {name}_len;"]
    return [_declare(kind, name) + ";"]


def _declare(kind, name):
    """C declares as things are used, inside out."""
    if isinstance(kind, model.Scalar):
        return _join(kind.c_name, name)
    if isinstance(kind, model.Enum):
        return _join(f"enum {kind.name}", name)
    if isinstance(kind, (model.Struct, model.Union)):
        return _join(f"struct {kind.name}", name)
    if isinstance(kind, model.String):
        return _join("char", f"*{name}")
    if isinstance(kind, model.Secret):
        return _join("struct secret_buf", f"*{name}")
    if isinstance(kind, model.FixedOpaque):
        return _join("uint8_t", f"({name})[{kind.len.c_text}]" if name[0] == "*"
                     else f"{name}[{kind.len.c_text}]")
    if isinstance(kind, model.FixedArray):
        return _declare(kind.element, f"{name}[{kind.count.c_text}]")
    return _declare_optional(kind, name)


def _declare_optional(kind, name):
    """A pointer, NULL when absent; of what is a pointer already, that one."""
    if isinstance(kind.element, (model.String, model.Secret)):
        return _declare(kind.element, name)
    if isinstance(kind.element, model.FixedOpaque):
        return _join("uint8_t", f"*{name}")
    return _declare(kind.element, f"*{name}")


def _join(c_type, name):
    return f"{c_type} {name}"


def pointer_to(kind):
    """The type of a pointer to a value, as in parameters."""
    return f"struct {kind.name} *"


def _constants(writer, module):
    width = max((len(name) for name, _ in module.constants), default=0)
    for name, value in module.constants:
        writer.line(f"#define {name.ljust(width)} {_define_value(value)}")
    if module.constants:
        writer.line()


def _define_value(value):
    return f"({c_number(value)})" if value < 0 else c_number(value)


def _enum(writer, kind):
    writer.open(f"enum {kind.name}")
    for name, value in kind.members:
        writer.line(f"{name} = {c_number(value)},")
    writer.close(";")
    writer.line()


def _struct(writer, kind):
    writer.open(f"struct {kind.name}")
    for member in kind.members:
        writer.lines(*declarators(member))
    writer.close(";")
    writer.line()


def _union(writer, kind):
    writer.open(f"struct {kind.name}")
    writer.lines(*declarators(kind.discriminant))
    if kind.members:
        writer.open("union")
        for member in kind.members:
            lines = declarators(member)
            if len(lines) == 1:
                writer.line(lines[0])
            else:
                writer.open("struct")
                writer.lines(*lines)
                writer.close(";")
        writer.close(" u;")
    writer.close(";")
    writer.line()


def _codec(writer, kind):
    name, pointer = kind.name, pointer_to(kind)
    if isinstance(kind, model.Enum):
        writer.declare("bool", f"{name}_read", "struct xdr_reader *reader", "const char *what",
                       f"enum {name} *ret_value", "GError **error")
        writer.line()
        return
    writer.declare("bool", f"{name}_decode", "struct xdr_reader *reader", f"{pointer}ret_value",
                   "GError **error")
    writer.declare("size_t", f"{name}_encoded_size", f"const {pointer}value")
    writer.declare("void", f"{name}_encode", "struct xdr_writer *writer", f"const {pointer}value")
    writer.declare("void", f"{name}_clear", f"{pointer}value")
    writer.line(f"extern const struct rpc_type {name}_type;")
    writer.line()


def number_constant(program, procedure):
    return f"{program.name}_PROC_{procedure.name}".upper()


def _program(writer, program):
    writer.open(f"enum {program.name}_procedure")
    for procedure in program.procedures:
        writer.line(f"{number_constant(program, procedure)} = {procedure.number},")
    writer.close(";")
    writer.line()
    writer.line(f"extern const struct rpc_program {program.name}_program;")
    writer.line()


def header(module, include_dir):
    """The text of NAME.h."""
    writer = text.Writer()
    text.banner(
        writer, module,
        f"Owns: the types of {module.name} and their codec. *_decode takes a zeroed struct, and "
        "zeroes it again on failure; *_clear frees what a struct holds, wipes @secret members and "
        "zeroes it. Strings are never NULL unless optional; an optional member is NULL when "
        "absent.")
    writer.lines("#pragma once", "", "#include <glib.h>", "#include <stdbool.h>",
                 "#include <stddef.h>", "#include <stdint.h>", "")
    writer.line('#include "rpc/program.h"')
    for imported in module.imports:
        writer.line(f'#include "{include_dir}{imported.name}.h"')
    writer.lines('#include "rpc/xdr.h"', '#include "util/secret_buf.h"', "")
    _constants(writer, module)
    makers = {model.Enum: _enum, model.Struct: _struct, model.Union: _union}
    for kind in module.types:
        makers[type(kind)](writer, kind)
    for kind in module.types:
        _codec(writer, kind)
    if module.program:
        _program(writer, module.program)
    return writer.text()
