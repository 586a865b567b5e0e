# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs as they are written to programs of the model: numbers, and what annotations of a
procedure say who may call it, when, and what must stay in secret memory.
"""

import re

import model
from names import refuse_c_words
from source import SourceError

# Annotation -> flag of enum rpc_procedure_flags.
_FLAGS = {
    "readonly": "RPC_PROC_READONLY",
    "priority": "RPC_PROC_PRIORITY",
    "anonymous": "RPC_PROC_NO_AUTH",
    "unopened": "RPC_PROC_NO_OPEN",
}
_WITH_ARGUMENTS = ("acl", "api")
_ALL = tuple(_FLAGS) + ("secret", "event") + _WITH_ARGUMENTS
_PERMISSION = re.compile(r"[a-z_]+:[a-z_]+\Z")


def program(names, written):
    """The model.Program of a syntax.Program."""
    prefix = _prefix(written)
    number = _number(names, written.number, 0, 2**32 - 1, "the number of a program")
    version = _number(names, written.version, 0, 2**32 - 1, "the version of a program")
    procedures = []
    for each in written.procedures:
        made = _procedure(names, each)
        for other in procedures:
            if other.number == made.number:
                raise SourceError(each.number.position,
                                  f"procedure {other.name} has the number {made.number} already")
            if other.name == made.name:
                raise SourceError(each.position, f"there is a procedure '{made.name}' already")
        procedures.append(made)
    return model.Program(written.name, prefix, number, version,
                         sorted(procedures, key=lambda procedure: procedure.number))


def _prefix(written):
    prefix = written.name
    for annotation in written.annotations:
        if annotation.name != "prefix" or len(annotation.arguments) != 1:
            raise SourceError(annotation.position,
                              "the only annotation of a program is @prefix(NAME)")
        prefix = annotation.arguments[0]
    return prefix


def _number(names, token, low, high, what):
    value = names.value_of(token)
    if not low <= value <= high:
        raise SourceError(token.position, f"{what} is {low} to {high}, not {value}")
    return value


def _procedure(names, written):
    refuse_c_words(written.name, written.position, "the name of a procedure")
    said = _annotations(written)
    args = _struct(names, written.args)
    ret = _struct(names, written.ret)
    if "event" in said:
        _check_event(written, said, args, ret)
        acl = []
    else:
        acl = _acl(written, said)
    if "anonymous" in said and "unopened" not in said:
        raise SourceError(said["anonymous"].position, "nothing is opened before authentication: "
                          "say @unopened too")
    _check_secret(written, said, args, ret)
    return model.Procedure(
        name=written.name,
        number=_number(names, written.number, 1, 2**31 - 1, "the number of a procedure"),
        args=args, ret=ret, flags=_flags(said, args, ret), acl=acl,
        api_name=said["api"].arguments[0] if "api" in said else None, is_event="event" in said)


def _annotations(written):
    said = {}
    for annotation in written.annotations:
        name = annotation.name
        if name not in _ALL:
            raise SourceError(annotation.position, f"@{name} is unknown; a procedure can have "
                              + ", ".join("@" + known for known in _ALL))
        if bool(annotation.arguments) != (name in _WITH_ARGUMENTS):
            form = {"acl": "@acl(OBJECT:PERMISSION, ...) or @acl(none)", "api": "@api(NAME)"}
            raise SourceError(annotation.position,
                              f"it is {form[name]}" if name in form else f"@{name} takes nothing")
        if name == "api" and len(annotation.arguments) != 1:
            raise SourceError(annotation.position, "it is @api(NAME), with one name")
        said[name] = annotation
    return said


def _struct(names, token):
    if token.text == "void":
        return None
    found = names.find_type(token.text, token.position)
    if not isinstance(found, model.Struct):
        raise SourceError(token.position, f"'{token.text}' is no struct: a procedure takes and "
                          "gives a struct, or void")
    return found


def _check_event(written, said, args, ret):
    others = [annotation for name, annotation in said.items() if name not in ("event", "secret")]
    if others:
        raise SourceError(others[0].position,
                          f"an event is never called: @{others[0].name} has no place beside @event")
    if ret is not None or args is None:
        raise SourceError(written.position, f"event {written.name} is a message without reply: "
                          "void NAME(STRUCT)")
    if args.holds_secret:
        raise SourceError(written.position, f"event {written.name} carries a secret: events wait "
                          "in queues, so that key bytes are not allowed in them")


def _acl(written, said):
    if "acl" not in said:
        raise SourceError(written.position, f"who may call {written.name}? Say "
                          "@acl(OBJECT:PERMISSION, ...) or @acl(none)")
    arguments = list(said["acl"].arguments)
    if arguments == ["none"]:
        return []
    for permission in arguments:
        if not _PERMISSION.match(permission):
            raise SourceError(said["acl"].position,
                              f"'{permission}' is not of the form OBJECT:PERMISSION")
    return arguments


def _check_secret(written, said, args, ret):
    holders = [kind for kind in (args, ret) if kind and kind.holds_secret]
    if holders and "secret" not in said:
        raise SourceError(written.position, f"procedure {written.name} must be marked @secret: "
                          f"{holders[0].name} holds a @secret member")
    if "secret" in said and not holders:
        raise SourceError(said["secret"].position, f"procedure {written.name} is marked @secret, "
                          "but neither what it takes nor what it gives has a @secret member")


def _flags(said, args, ret):
    flags = [flag for name, flag in _FLAGS.items() if name in said]
    if args and args.holds_secret:
        flags.append("RPC_PROC_SECRET_ARGS")
    if ret and ret.holds_secret:
        flags.append("RPC_PROC_SECRET_RET")
    if "event" in said:
        flags.append("RPC_PROC_EVENT")
    return flags
