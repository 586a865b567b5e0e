# SPDX-License-Identifier: LGPL-2.1-or-later
"""The codec part of NAME.c: read, size, encode and clear of every type.

Each of these knows a value by its C expression: `value->x`, `value->x[i]`, `*value->x`.
"""

import model
from resolver import c_number
from text import string


def _pointer(place):
    """The C expression of the address of `place`."""
    return place[1:] if place[0] == "*" else f"&{place}"


def _loop(writer, count, emit):
    writer.block(f"for (uint32_t i = 0; i < {count}; i++)", emit)


def _element_c_type(kind):
    """For g_new0 of arrays."""
    if isinstance(kind, model.Scalar):
        return kind.c_name
    if isinstance(kind, model.Enum):
        return f"enum {kind.name}"
    if isinstance(kind, (model.Struct, model.Union)):
        return f"struct {kind.name}"
    if isinstance(kind, model.String):
        return "char *"
    if isinstance(kind, model.Secret):
        return "struct secret_buf *"
    if isinstance(kind.element, (model.String, model.Secret)):
        return _element_c_type(kind.element)
    if isinstance(kind.element, model.FixedOpaque):
        return "uint8_t *"
    inner = _element_c_type(kind.element)
    return inner + ("*" if inner.endswith("*") else " *")


# ---- reading ----

def _read_into(writer, kind, place, what):
    """Statements that read a value, and return false when that fails."""
    if isinstance(kind, model.Scalar):
        writer.fail_unless(f"xdr_read_{kind.codec}", "reader", what, _pointer(place), "error")
    elif isinstance(kind, model.Enum):
        writer.fail_unless(f"{kind.name}_read", "reader", what, _pointer(place), "error")
    elif isinstance(kind, (model.Struct, model.Union)):
        writer.fail_unless(f"{kind.name}_decode", "reader", _pointer(place), "error")
    elif isinstance(kind, model.String):
        writer.fail_unless("xdr_read_string", "reader", what, kind.max.c_text, f"&{place}", "error")
    elif isinstance(kind, model.Secret):
        writer.fail_unless("xdr_read_secret", "reader", what, kind.max.c_text, f"&{place}", "error")
    elif isinstance(kind, model.FixedOpaque):
        writer.fail_unless("xdr_read_opaque_fixed", "reader", what, place, kind.len.c_text, "error")
    elif isinstance(kind, model.Opaque):
        writer.fail_unless("xdr_read_opaque", "reader", what, kind.max.c_text, f"&{place}",
                           f"&{place}_len", "error")
    else:
        _READ_COMPOUND[type(kind)](writer, kind, place, what)


def _read_fixed_array(writer, kind, place, what):
    _loop(writer, kind.count.c_text,
          lambda body: _read_into(body, kind.element, f"{place}[i]", what))


def _read_array(writer, kind, place, what):
    # The count is checked against what is left of the message before anything is allocated.
    writer.fail_unless("xdr_read_count", "reader", what, kind.max.c_text,
                       str(kind.element.min_size), f"&{place}_len", "error")
    if isinstance(kind.element, model.FixedOpaque):
        writer.line(f"{place} = g_malloc0_n({place}_len, sizeof(*{place}));")
    else:
        writer.line(f"{place} = g_new0({_element_c_type(kind.element)}, {place}_len);")
    _loop(writer, f"{place}_len",
          lambda body: _read_into(body, kind.element, f"{place}[i]", what))


def _read_optional(writer, kind, place, what):
    writer.fail_unless("xdr_read_bool", "reader", what, "&is_present", "error")
    writer.block("if (is_present)", lambda body: _read_present(body, kind, place, what))


def _read_present(writer, kind, place, what):
    element = kind.element
    if isinstance(element, model.FixedOpaque):
        writer.line(f"{place} = g_malloc0({element.len.c_text});")
    elif not isinstance(element, (model.String, model.Secret)):
        writer.line(f"{place} = g_new0({_element_c_type(element)}, 1);")
    _read_into(writer, element, _optional_place(kind, place), what)


_READ_COMPOUND = {model.FixedArray: _read_fixed_array, model.Array: _read_array,
                  model.Optional: _read_optional}


# ---- sizes ----

def _base_size(kind):
    """The part of a value's size that is known without looking at it."""
    if kind.is_fixed:
        return kind.min_size
    if isinstance(kind, (model.Struct, model.Union)):
        return 0
    if isinstance(kind, model.FixedArray):
        return kind.count.value * _base_size(kind.element)
    return 4


def _add_whole_size(writer, kind, place):
    """Adds to `size` all that a value takes."""
    if isinstance(kind, (model.String, model.Secret, model.Opaque)):
        writer.line(f"size += 4 + xdr_padded({_length_of(kind, place)});")
        return
    if _base_size(kind):
        writer.line(f"size += {_base_size(kind)};")
    _add_size(writer, kind, place)


def _add_size(writer, kind, place):
    """Adds to `size` what a value takes beyond its base size."""
    if kind.is_fixed:
        return
    if isinstance(kind, (model.Struct, model.Union)):
        writer.line(f"size += {kind.name}_encoded_size({_pointer(place)});")
    elif isinstance(kind, (model.String, model.Secret, model.Opaque)):
        writer.line(f"size += xdr_padded({_length_of(kind, place)});")
    elif isinstance(kind, model.Optional):
        writer.block(f"if ({place})", lambda body: _add_whole_size(
            body, kind.element, _optional_place(kind, place)))
    elif isinstance(kind, model.FixedArray):
        _loop(writer, kind.count.c_text,
              lambda body: _add_size(body, kind.element, f"{place}[i]"))
    elif kind.element.is_fixed:
        writer.line(f"size += (size_t){place}_len * {kind.element.min_size};")
    else:
        _loop(writer, f"{place}_len",
              lambda body: _add_whole_size(body, kind.element, f"{place}[i]"))


def _length_of(kind, place):
    return {model.String: f"strlen({place})", model.Secret: f"secret_buf_len({place})",
            model.Opaque: f"{place}_len"}[type(kind)]


def _optional_place(kind, place):
    if isinstance(kind.element, (model.String, model.Secret, model.FixedOpaque)):
        return place
    return f"*{place}"


# ---- writing ----

def _write(writer, kind, place):
    if isinstance(kind, model.Scalar):
        writer.call(f"xdr_write_{kind.codec}", "writer", place)
    elif isinstance(kind, model.Enum):
        writer.call("xdr_write_int32", "writer", f"(int32_t){place}")
    elif isinstance(kind, (model.Struct, model.Union)):
        writer.call(f"{kind.name}_encode", "writer", _pointer(place))
    elif isinstance(kind, model.Secret):
        writer.call("xdr_write_opaque", "writer", f"secret_buf_bytes({place})",
                    f"secret_buf_len({place})")
    elif isinstance(kind, (model.String, model.Opaque)):
        writer.call("xdr_write_opaque", "writer", place, _length_of(kind, place))
    elif isinstance(kind, model.FixedOpaque):
        writer.call("xdr_write_opaque_fixed", "writer", place, kind.len.c_text)
    elif isinstance(kind, model.Optional):
        writer.call("xdr_write_bool", "writer", f"{place} != NULL")
        writer.block(f"if ({place})",
                     lambda body: _write(body, kind.element, _optional_place(kind, place)))
    else:
        _write_array(writer, kind, place)


def _write_array(writer, kind, place):
    count = kind.count.c_text if isinstance(kind, model.FixedArray) else f"{place}_len"
    if isinstance(kind, model.Array):
        writer.call("xdr_write_uint32", "writer", count)
    _loop(writer, count, lambda body: _write(body, kind.element, f"{place}[i]"))


# ---- clearing ----

def _clear(writer, kind, place):
    if not kind.owns_memory:
        return
    if isinstance(kind, (model.Struct, model.Union)):
        writer.call(f"{kind.name}_clear", _pointer(place))
    elif isinstance(kind, model.Secret):
        writer.call("secret_buf_free", place)
    elif isinstance(kind, (model.String, model.Opaque)):
        writer.call("g_free", place)
    elif isinstance(kind, model.Optional):
        _clear_optional(writer, kind.element, place)
    elif isinstance(kind, model.FixedArray):
        _clear_elements(writer, kind, kind.count.c_text, place)
    else:
        _clear_elements(writer, kind, f"{place}_len", place)
        writer.call("g_free", place)


def _clear_optional(writer, element, place):
    if isinstance(element, (model.String, model.Secret)):
        _clear(writer, element, place)
        return
    if element.owns_memory:
        writer.block(f"if ({place})", lambda body: _clear(body, element, f"*{place}"))
    writer.call("g_free", place)


def _clear_elements(writer, kind, count, place):
    if kind.element.owns_memory:
        _loop(writer, count, lambda body: _clear(body, kind.element, f"{place}[i]"))


# ---- one function each ----

def _needs_flag(kind):
    while isinstance(kind, (model.FixedArray, model.Array)):
        kind = kind.element
    return isinstance(kind, model.Optional)


def _what(kind, member):
    return string(f"{kind.name}.{member.name}")


def _read_function(writer, kind):
    writer.open_function("static bool", f"read_{kind.name}", "struct xdr_reader *reader",
                         f"struct {kind.name} *value", "GError **error")
    if any(_needs_flag(member.type) for member in kind.members):
        writer.lines("bool is_present;", "")
    if isinstance(kind, model.Struct):
        for member in kind.members:
            _read_into(writer, member.type, f"value->{member.name}", _what(kind, member))
    else:
        what = _what(kind, kind.discriminant)
        _read_into(writer, kind.discriminant.type, f"value->{kind.discriminant.name}", what)
        refuse = f"return xdr_refuse_value({what}, value->{kind.discriminant.name}, error);"
        _switch(writer, kind, lambda body, member: _read_into(
            body, member.type, f"value->u.{member.name}", _what(kind, member)), [refuse])
    writer.line("return true;")
    writer.close_function()


def _switch(writer, kind, emit, otherwise):
    """`emit` writes what a member needs; `otherwise` are lines for a value without a case. Cases
    that need the same are written once."""
    bodies = []
    for case in kind.cases:
        member = case.member
        body = writer.written(lambda inner, member=member: emit(inner, member)) if member else []
        labels = [f"case {value}:" for value in case.values] if case.values else ["default:"]
        known = next((other for other in bodies if other[1] == body), None)
        if known:
            known[0].extend(labels)
        else:
            bodies.append((labels, body))
    cast = "(int)" if kind.discriminant.type == model.SCALARS["bool"] else ""
    writer.line(f"switch ({cast}value->{kind.discriminant.name}) {{")
    for labels, body in bodies:
        writer.lines(*labels)
        writer.paste(body)
        writer.line("    break;")
    if not kind.has_default:
        writer.line("default:")
        writer.lines(*("    " + line for line in otherwise))
    writer.line("}")


def _decode_function(writer, kind):
    writer.open_function("bool", f"{kind.name}_decode", "struct xdr_reader *reader",
                         f"struct {kind.name} *ret_value", "GError **error")
    read = (f"read_{kind.name}(", ["reader", "ret_value", "error"])
    if kind.is_recursive:
        writer.lines("bool is_read;", "")
        writer.fail_unless("xdr_enter", "reader", string(kind.name), "error")
        writer.filled("is_read = " + read[0], read[1], ");")
        writer.lines("xdr_leave(reader);", "if (is_read)")
    else:
        writer.filled("if (" + read[0], read[1], "))")
    writer.lines("    return true;", f"{kind.name}_clear(ret_value);", "return false;")
    writer.close_function()


def _size_function(writer, kind):
    writer.open_function("size_t", f"{kind.name}_encoded_size", f"const struct {kind.name} *value")
    if isinstance(kind, model.Struct):
        base = sum(_base_size(member.type) for member in kind.members)
        if kind.is_fixed:
            writer.line(f"return {base};")
            writer.close_function()
            return
        writer.lines(f"size_t size = {base};", "")
        for member in kind.members:
            _add_size(writer, member.type, f"value->{member.name}")
    else:
        writer.lines("size_t size = 4;", "")
        _switch(writer, kind,
                lambda body, member: _add_whole_size(body, member.type, f"value->u.{member.name}"),
                ["g_assert_not_reached();"])
    writer.line("return size;")
    writer.close_function()


def _encode_function(writer, kind):
    writer.open_function("void", f"{kind.name}_encode", "struct xdr_writer *writer",
                         f"const struct {kind.name} *value")
    if isinstance(kind, model.Struct):
        for member in kind.members:
            _write(writer, member.type, f"value->{member.name}")
    else:
        _write(writer, kind.discriminant.type, f"value->{kind.discriminant.name}")
        _switch(writer, kind,
                lambda body, member: _write(body, member.type, f"value->u.{member.name}"),
                ["g_assert_not_reached();"])
    writer.close_function()


def _clear_function(writer, kind):
    writer.open_function("void", f"{kind.name}_clear", f"struct {kind.name} *value")
    if isinstance(kind, model.Struct):
        for member in kind.members:
            _clear(writer, member.type, f"value->{member.name}")
    elif kind.owns_memory:
        _clear_arms(writer, kind)
    writer.line(f"*value = (struct {kind.name}){{0}};")
    writer.close_function()


def _clear_arms(writer, kind):
    """Arms without memory, and values without a case, need nothing."""
    owners = [case for case in kind.cases if case.member and case.member.type.owns_memory]
    if len(owners) == 1 and owners[0].values and len(owners[0].values) == 1:
        member = owners[0].member
        writer.block(f"if ({_is(kind.discriminant, owners[0].values[0])})",
                     lambda body: _clear(body, member.type, f"value->u.{member.name}"))
        return
    _switch(writer, kind,
            lambda body, member: _clear(body, member.type, f"value->u.{member.name}"), ["break;"])


def _is(discriminant, value):
    """The C condition that a discriminant has a value."""
    place = f"value->{discriminant.name}"
    if discriminant.type == model.SCALARS["bool"]:
        return place if value == "1" else "!" + place
    return f"{place} == {value}"


def _enum_function(writer, kind):
    writer.open_function("bool", f"{kind.name}_read", "struct xdr_reader *reader",
                         "const char *what", f"enum {kind.name} *ret_value", "GError **error")
    writer.lines("int32_t number;", "",
                 "if (!xdr_read_int32(reader, what, &number, error))", "    return false;",
                 "switch (number) {")
    for name, value in kind.members:
        writer.line(f"case {name}:")
    writer.lines(f"    *ret_value = (enum {kind.name})number;", "    return true;",
                 "default:", "    return xdr_refuse_value(what, number, error);", "}")
    writer.close_function()


def codec(writer, module):
    """All functions of the codec of a module."""
    for kind in module.types:
        if isinstance(kind, model.Enum):
            _enum_function(writer, kind)
    for kind in module.types:
        if isinstance(kind, model.Enum):
            continue
        _read_function(writer, kind)
        _decode_function(writer, kind)
        _size_function(writer, kind)
        _encode_function(writer, kind)
        _clear_function(writer, kind)
        writer.line(f"RPC_TYPE_DEFINE({kind.name});")
        writer.line()
