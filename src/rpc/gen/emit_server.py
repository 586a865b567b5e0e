# SPDX-License-Identifier: LGPL-2.1-or-later
"""NAME_server.h and NAME_server.c: what a server fills in (handlers) and calls (events)."""

import text
from emit_types import number_constant
from names import member_name


def _handler(writer, procedure):
    parameters = ["struct rpc_call *call", "void *opaque"]
    if procedure.args:
        # The handler may take a secret out of the arguments.
        const = "" if procedure.args.holds_secret else "const "
        parameters.append(f"{const}struct {procedure.args.name} *args")
    if procedure.ret:
        parameters.append(f"struct {procedure.ret.name} *ret")
    writer.filled(f"enum rpc_outcome (*{member_name(procedure)})(", parameters + ["GError **error"], ");")


def _sender(program, procedure):
    return (f"{program.prefix}_{procedure.name}_send", "struct rpc_connection *connection",
            f"const struct {procedure.args.name} *message")


def _events(program):
    return [procedure for procedure in program.procedures if procedure.is_event]


def header(module, include_dir):
    writer = text.Writer()
    text.banner(
        writer, module,
        f"Owns: the serving side of {module.name}: the table of handlers that a server fills in, "
        "and one function for each event. A handler that is NULL is answered with 'not supported'. "
        "A @secret member of the arguments may be taken: set it to NULL.")
    writer.lines("#pragma once", "", "#include <glib.h>", "",
                 f'#include "{include_dir}{module.name}.h"', '#include "rpc/server.h"', "")
    program = module.program
    writer.open(f"struct {program.name}_handlers")
    for procedure in program.procedures:
        if not procedure.is_event:
            _handler(writer, procedure)
    writer.close(";")
    writer.line()
    for procedure in _events(program):
        writer.declare("void", *_sender(program, procedure))
    return writer.text()


def source(module, include_dir):
    writer = text.Writer()
    text.banner(writer, module, f"Owns: the events of {module.name}, if any.")
    writer.lines(f'#include "{include_dir}{module.name}_server.h"', "")
    program = module.program
    if not _events(program):
        return writer.text()
    writer.open_function("static void", "send_event", "struct rpc_connection *connection",
                         f"enum {program.name}_procedure number", "const void *message")
    writer.lines(f"const struct rpc_program *program = &{program.name}_program;", "")
    writer.call("rpc_connection_send_event", "connection", "program",
                "rpc_program_find(program, (int32_t)number)", "message")
    writer.close_function()
    for procedure in _events(program):
        writer.open_function("void", *_sender(program, procedure))
        writer.call("send_event", "connection", number_constant(program, procedure), "message")
        writer.close_function()
    return writer.text()
