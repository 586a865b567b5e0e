#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at every call that changes a file while slots of its master key are
added, removed and changed, and while a store of an earlier release gets slots: killed, and cut from
power. After the next start the slots are those of before or those of after, and every value opens."""

import os

import mastercalls as master
import taptest
import wire
from secretd_case import A, B, Machine, SecretdCase, define, set_value

_CONFIG = "/etc/libvirt"
_OWN = _CONFIG + "/virtcrypt"
_SECOND = _OWN + "/second.key"
_SECRET_PROGRAM, _GENERATION_STATUS = 0x56435253, 9
_OLD, _NEW = b"an old passphrase", b"a new passphrase"

# What docs/sealed-format.md has as test vectors: a value under the master key itself.
_KEY = bytes(range(32))
_SEALED = ("56435345414c4544000100010000000c00112233445566778899aabbccddeeff0000000000000007d7b070c1"
           "f81fe9619c4a8da58364b57ffdc565573751ed7acc1ac67a9bf785dc7be082a037bcf7ee1f4df688ab6932d8"
           "111111111111111111111111749502304cf95a5ecfabcedae2549c5f104ab2127710f65e4c8c31e2ee22e849"
           "de59c78b02a6cb7a5bb309baa94f555a22222222222222222222222275249581781a30a05806b3027bff4387"
           "8e8e370965d91c2860bc295d")
_SEALED_UUID = "00112233-4455-6677-8899-aabbccddeeff"
_XML = (f"<secret ephemeral='no' private='yes'><uuid>{_SEALED_UUID}</uuid>"
        "<usage type='volume'><volume>/srv/a.img</volume></usage></secret>")


def _find(client, label):
    return next(slot.id for slot in master.status(client).slots if slot.label == label)


def _add(label, path):
    return lambda client: master.added(client, "key-file", label, path=path)


def _remove(label):
    return lambda client: master.remove_slot(client, _find(client, label)).reader()


def _settled(client):
    """What was under the master key itself is under a generation."""
    def is_settled():
        reader = client.call(_GENERATION_STATUS, program=_SECRET_PROGRAM).reader()
        return reader.uint64() > 0 and reader.uint32() == 0
    master.wait_until(is_settled)


class Slots(Machine):
    """Its state holds the slots, and that each of them opens."""

    def settle(self, client):  # pylint: disable=method-hidden
        self.slots = {
            slot.label: [passphrase for passphrase in (_OLD, _NEW) if slot.needs_person and
                         master.test_slot(client, slot.id, passphrase).status == wire.OK]
            or master.test_slot(client, slot.id).status == wire.OK
            for slot in master.status(client).slots}

    def state(self):
        state = super().state()
        return {**state, "slots": self.slots}


class SlotsCase(SecretdCase):
    MACHINE = Slots

    def expect(self, machine, allowed, what):
        super().expect(machine, allowed, what)
        self.assertNotIn(False, machine.slots.values(), what)
        names = set(os.listdir(machine.path(_OWN)))
        self.assertFalse({name for name in names if name.startswith("master.slots")} -
                         {"master.slots"}, what)
        self.assertIn("master.slots", names, what)

    def before(self, *steps):
        return self.made_by(define(A), set_value(A, b"first value"), *steps)


class Changes(SlotsCase):
    def test_a_slot_is_added_or_not(self):
        self.assert_old_or_new(self.before(), [_add("second", _SECOND)])

    def test_a_slot_is_removed_or_not(self):
        self.assert_old_or_new(self.before(_add("second", _SECOND)), [_remove("")])


class Passphrases(SlotsCase):
    def test_a_passphrase_is_the_old_or_the_new_one(self):
        before = self.before(lambda client: master.added(client, "passphrase", "typed", _OLD))
        self.assert_old_or_new(before, [lambda client: master.change_passphrase(
            client, _find(client, "typed"), _OLD, _NEW).reader()])


class Migration(SlotsCase):
    def legacy(self):
        return {"virtcrypt": None, "virtcrypt/master.key": _KEY, "secrets": None,
                f"secrets/{_SEALED_UUID}.xml": _XML.encode(),
                f"secrets/{_SEALED_UUID}.key": bytes.fromhex(_SEALED)}

    def test_values_under_the_key_itself_get_slots(self):
        self.assert_old_or_new(self.legacy(), [], from_start=True)

    def test_generations_of_before_get_slots(self):
        """A store that was moved, without its slots, is one of the release before."""
        def make(machine, _):
            machine.restore(self.legacy())
            daemon = machine.start_secretd(machine.config)
            with machine.connect() as client:
                _settled(client)
            self.assertEqual(daemon.stop(), 0)
            return machine.snapshot()
        before = self.on_machines(make, [None])[0]
        self.assertEqual(before["virtcrypt/master.key"], _KEY)
        for name in ("virtcrypt/master.slots", "virtcrypt/index"):
            before.pop(name, None)
        self.assert_old_or_new(before, [define(B)], from_start=True)


if __name__ == "__main__":
    taptest.main()
