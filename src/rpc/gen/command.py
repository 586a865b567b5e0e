# SPDX-License-Identifier: LGPL-2.1-or-later
"""The XDR compiler: python3 src/rpc/gen [--include-dir DIR] --out DIR NAME.x

Writes NAME.h and NAME.c, and of a file with a program also NAME_server.[hc] and NAME_client.[hc].
See docs/xdr.md for the language.
"""

import argparse
import os
import sys

import emit_client
import emit_program
import emit_server
import emit_types
from loader import Loader
from source import SourceError


def outputs(module, include_dir):
    """{file name: text}"""
    name = module.name
    made = {f"{name}.h": emit_types.header(module, include_dir),
            f"{name}.c": emit_program.source(module, include_dir)}
    if module.program:
        made[f"{name}_server.h"] = emit_server.header(module, include_dir)
        made[f"{name}_server.c"] = emit_server.source(module, include_dir)
        made[f"{name}_client.h"] = emit_client.header(module, include_dir)
        made[f"{name}_client.c"] = emit_client.source(module, include_dir)
    return made


def main(arguments):
    """Ends the process with the text of an error; nothing is written then."""
    options = argparse.ArgumentParser(description="Compiles an XDR description to C.")
    options.add_argument("input", help="the .x file")
    options.add_argument("--out", required=True, help="the folder to write to")
    options.add_argument("--include-dir", default="rpc/protocol/",
                         help="what generated headers are included as: DIR/NAME.h")
    options.add_argument("--root", default="",
                         help="the folder that names in errors and banners are relative to")
    given = options.parse_args(arguments)
    try:
        module = Loader(given.root).load(os.path.relpath(given.input, given.root or None))
    except SourceError as error:
        sys.exit(str(error))
    for name, text in outputs(module, given.include_dir).items():
        with open(os.path.join(given.out, name), "w", encoding="utf-8") as file:
            file.write(text)

