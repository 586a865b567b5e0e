# SPDX-License-Identifier: LGPL-2.1-or-later
"""NAME_client.h and NAME_client.c: one function for each call."""

import text
from emit_types import number_constant


def _signature(program, procedure):
    parameters = ["struct rpc_client *client"]
    if procedure.args:
        parameters.append(f"const struct {procedure.args.name} *args")
    if procedure.ret:
        parameters.append(f"struct {procedure.ret.name} *ret")
    return [f"{program.prefix}_{procedure.name}_call"] + parameters + ["GError **error"]


def _calls(program):
    return [procedure for procedure in program.procedures if not procedure.is_event]


def header(module, include_dir):
    writer = text.Writer()
    text.banner(
        writer, module,
        f"Owns: the calling side of {module.name}. *ret is zeroed by the caller, filled on success "
        "(clear it) and cleared on failure.")
    writer.lines("#pragma once", "", "#include <glib.h>", "#include <stdbool.h>", "",
                 '#include "rpc/client.h"', f'#include "{include_dir}{module.name}.h"', "")
    program = module.program
    for procedure in _calls(program):
        writer.declare("bool", *_signature(program, procedure))
    return writer.text()


def source(module, include_dir):
    writer = text.Writer()
    text.banner(writer, module, f"Owns: the calls of {module.name}.")
    writer.lines(f'#include "{include_dir}{module.name}_client.h"', "")
    program = module.program
    writer.open_function("static bool", "call", "struct rpc_client *client",
                         f"enum {program.name}_procedure number", "const void *args", "void *ret",
                         "GError **error")
    writer.lines(f"const struct rpc_program *program = &{program.name}_program;", "")
    writer.filled("return rpc_client_call(", [
        "client", "program", "rpc_program_find(program, (int32_t)number)", "args", "ret", "error",
    ], ");")
    writer.close_function()
    for procedure in _calls(program):
        writer.open_function("bool", *_signature(program, procedure))
        writer.filled("return call(", [
            "client", number_constant(program, procedure), "args" if procedure.args else "NULL",
            "ret" if procedure.ret else "NULL", "error",
        ], ");")
        writer.close_function()
    return writer.text()
