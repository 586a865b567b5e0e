# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files to modules: reads a .x file and what it imports, each once."""

import os

import model
import policy
import resolver
import syntax
from names import Names
from parser import parse
from source import Position, SourceError


class _Loaded:
    """A module and the names it knows."""

    def __init__(self, module, names):
        self.module = module
        self.names = names


class Loader:
    """Paths are relative to `root`, which errors and banners don't show."""

    def __init__(self, root):
        self._root = root
        self._loaded = {}
        self._open_files = []

    def load(self, path):
        """The model.Module of a file."""
        return self._load(path, Position(path, 1, 1)).module

    def _load(self, path, asked_at):
        key = os.path.realpath(os.path.join(self._root, path))
        if key in self._open_files:
            raise SourceError(asked_at, f"{os.path.basename(path)} imports this file itself")
        if key not in self._loaded:
            self._open_files.append(key)
            self._loaded[key] = self._read(path, asked_at)
            self._open_files.pop()
        return self._loaded[key]

    def _read(self, path, asked_at):
        try:
            with open(os.path.join(self._root, path), encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise SourceError(asked_at, f"{path} can't be read: {reason}") from None
        written = parse(path, text)
        names = Names()
        imports = []
        for each in written.imports:
            imported = self._load(os.path.join(os.path.dirname(path), each.path), each.position)
            names.add_all(imported.names)
            imports.append(imported.module)
        name = os.path.splitext(os.path.basename(path))[0]
        module = model.Module(name, path, imports)
        _define(module, names, written.definitions)
        return _Loaded(module, names)


def _define(module, names, definitions):
    """Names first, then what they stand for: a definition may use one that follows it."""
    made = {}
    resolve = resolver.Resolver(names)
    for written in definitions:
        if isinstance(written, syntax.Const):
            value = resolve.constant(written)
            names.add(written.name, "constant", value, written.position)
            module.constants.append((written.name, value))
    for written in definitions:
        if isinstance(written, syntax.Enum):
            made[written.name] = resolve.enum(written)
            names.add(written.name, "type", made[written.name], written.position)
        elif isinstance(written, (syntax.Struct, syntax.Union)):
            kind = model.Struct if isinstance(written, syntax.Struct) else model.Union
            made[written.name] = kind(written.name, written.position)
            names.add(written.name, "type", made[written.name], written.position)
        elif isinstance(written, syntax.Typedef):
            names.add(written.name, "type", written, written.position)
    _fill(resolve, made, definitions)
    module.types = resolver.in_order_of_definition(list(made.values()))
    resolver.check_sizes(module.types)
    resolver.mark(module.types)
    for written in definitions:
        if isinstance(written, syntax.Program):
            if module.program:
                raise SourceError(written.position, f"this file describes {module.program.name} "
                                  "already: a program has a file of its own")
            module.program = policy.program(names, written)
            names.add(written.name, "program", module.program, written.position)


def _fill(resolve, made, definitions):
    for written in definitions:
        if isinstance(written, syntax.Struct):
            resolve.fill_struct(made[written.name], written)
        elif isinstance(written, syntax.Union):
            resolve.fill_union(made[written.name], written)
        elif isinstance(written, syntax.Typedef):
            resolve.type_of(written.declaration)  # one that nothing uses is checked too
