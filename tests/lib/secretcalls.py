# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls for secrets as bytes (wire), and the errors that libvirt answers with."""

import uuid

import wire

LIST_ALL, REGISTER, DEREGISTER = 287, 380, 381
LIFECYCLE, VALUE_CHANGED = 382, 383
LIST_MAX = 16384

FROM_NONE, FROM_RPC, FROM_SECRET = 0, 7, 30
ERR_INTERNAL, ERR_INVALID_ARG, ERR_DENIED, ERR_RPC = 1, 8, 29, 39
ERR_INVALID_SECRET, ERR_NO_SECRET = 65, 66

# By name: the element of the id, and virSecretUsageType.
USAGES = {"volume": ("volume", 1), "ceph": ("name", 2), "iscsi": ("target", 3), "tls": ("name", 4),
          "vtpm": ("name", 5)}


def xml(identifier=None, usage=None, kind="volume", flags="", description=None):
    text = f"<secret {flags}>"
    if identifier:
        text += f"<uuid>{uuid.UUID(bytes=identifier)}</uuid>"
    if description:
        text += f"<description>{description}</description>"
    if usage is not None:
        element = USAGES[kind][0]
        text += f"<usage type='{kind}'><{element}>{usage}</{element}></usage>"
    return text + "</secret>"


def typical_error(code, domain, class_text, detail):
    """What libvirt fills in for nearly every error."""
    return wire.Error(code, domain, class_text.replace("%s", detail), 2, class_text, detail, None,
                      -1, -1)


def bad_argument(message, function, parameter):
    """What libvirt's functions of the API fill in for an argument they do not take."""
    return wire.Error(ERR_INVALID_ARG, FROM_SECRET, message, 2, function, parameter, None, 0, 0)


def no_uuid(identifier):
    return typical_error(ERR_NO_SECRET, FROM_SECRET, "Secret not found: %s",
                    f"no secret with matching uuid '{uuid.UUID(bytes=identifier)}'")


def bad_flags(function, flags):
    return bad_argument(f"unsupported flags (0x{flags:x}) in function {function}", function,
                         "flags")


class Client(wire.Connection):
    """The calls for secrets by name; each returns the reply."""

    def define(self, xml, flags=0):
        return self.call(wire.DEFINE_XML, wire.string(xml) + wire.uint32(flags))

    def defined(self, *arguments, **options):
        """Defines a new secret and returns its uuid."""
        identifier = uuid.uuid4().bytes
        self.define(xml(identifier, *arguments, **options)).reader()
        return identifier

    def dump(self, identifier, flags=0):
        return self.call(wire.GET_XML_DESC, wire.secret(identifier) + wire.uint32(flags))

    def set_value(self, identifier, value, flags=0):
        return self.call(wire.SET_VALUE,
                         wire.secret(identifier) + wire.opaque(value) + wire.uint32(flags))

    def get_value(self, identifier, flags=0):
        return self.call(wire.GET_VALUE, wire.secret(identifier) + wire.uint32(flags))

    def undefine(self, identifier):
        return self.call(wire.UNDEFINE, wire.secret(identifier))

    def by_uuid(self, identifier):
        return self.call(wire.LOOKUP_BY_UUID, identifier)

    def by_usage(self, kind, usage):
        return self.call(wire.LOOKUP_BY_USAGE, wire.int32(kind) + wire.string(usage))

    def count(self):
        return self.call(wire.NUM_OF_SECRETS).reader().int32()

    def list(self, most):
        return self.call(wire.LIST_SECRETS, wire.int32(most))

    def list_all(self, flags=0, need_results=1):
        return self.call(LIST_ALL, wire.int32(need_results) + wire.uint32(flags))

    def register(self, event, only=None):
        return self.call(REGISTER, wire.int32(event) + wire.optional(
            only and wire.secret(only)))

    def registered(self, event, only=None):
        return self.register(event, only).reader().int32()

    def deregister(self, callback):
        return self.call(DEREGISTER, wire.int32(callback))

    def told(self, count):
        """Waits for so many events and returns them as (procedure, callback, uuid, rest)."""
        while len(self.events) < count:
            received = self.receive()
            if received.type == wire.MESSAGE and received.program == wire.REMOTE:
                self.events.append(received)
        told, self.events = self.events, []
        return [(event.procedure, event.payload[:4], event.payload[4:20], event.payload[20:])
                for event in told]


def read_secret(reader):
    return reader._take(16), reader.int32(), reader.string()
