# SPDX-License-Identifier: LGPL-2.1-or-later
"""NAME.c: the codec, and of each program its table of procedures with the stubs that call the
handlers of a server.
"""

import emit_codec
import text
from emit_types import number_constant
from names import member_name


def _invoke(writer, program, procedure):
    writer.open_function("static enum rpc_outcome", f"invoke_{procedure.name}",
                         "const void *handlers", "struct rpc_call *call", "void *opaque",
                         "void *args", "void *ret", "GError **error")
    writer.lines(f"const struct {program.name}_handlers *table = handlers;", "",
                 f"if (!table->{member_name(procedure)})",
                 f"    return rpc_refuse_missing({text.string(_shown_name(procedure))}, error);")
    arguments = ["call", "opaque"]
    arguments += ["args"] if procedure.args else []
    arguments += ["ret"] if procedure.ret else []
    writer.filled(f"return table->{member_name(procedure)}(", arguments + ["error"], ");")
    writer.close_function()


def _shown_name(procedure):
    return procedure.api_name or procedure.name


def _entry(writer, program, procedure):
    writer.line("{")
    writer.indent()
    writer.line(f".number = {number_constant(program, procedure)},")
    if procedure.flags:
        writer.line(f".flags = {' | '.join(procedure.flags)},")
    writer.line(f".name = {text.string(procedure.name)},")
    if procedure.api_name:
        writer.line(f".api_name = {text.string(procedure.api_name)},")
    writer.line(f".acl = {text.string(' '.join(procedure.acl))},")
    for name, kind in (("args", procedure.args), ("ret", procedure.ret)):
        if kind:
            writer.line(f".{name} = &{kind.name}_type,")
    if not procedure.is_event:
        writer.line(f".invoke = invoke_{procedure.name},")
    writer.close(",")


def _table(writer, program):
    name = f"{program.name}_procedures"
    writer.line(f"static const struct rpc_procedure {name}[] = {{")
    writer.indent()
    for procedure in program.procedures:
        _entry(writer, program, procedure)
    writer.close(";")
    writer.line()
    writer.line(f"const struct rpc_program {program.name}_program = {{")
    writer.indent()
    writer.lines(f".name = {text.string(program.name)},", f".number = {program.number:#010x},",
                 f".version = {program.version},", f".procedures = {name},",
                 f".procedure_count = G_N_ELEMENTS({name}),")
    writer.close(";")
    writer.line()


def source(module, include_dir):
    """The text of NAME.c."""
    writer = text.Writer()
    owns = (f"Owns: the codec of the types of {module.name}; every length is checked against its "
            "bound and against what is left of the message before anything is allocated.")
    if module.program:
        owns += " Owns too: the table of procedures, with what the protocol allows to whom."
    text.banner(writer, module, owns)
    writer.line(f'#include "{include_dir}{module.name}.h"')
    writer.line()
    writer.line("#include <string.h>")
    writer.line()
    if module.program:
        writer.line(f'#include "{include_dir}{module.name}_server.h"')
        writer.line()
    emit_codec.codec(writer, module)
    if module.program:
        for procedure in module.program.procedures:
            if not procedure.is_event:
                _invoke(writer, module.program, procedure)
        _table(writer, module.program)
    return writer.text()
