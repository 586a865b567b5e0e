#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt-secretd, stopped at every call that changes a file while it defines, sets, undefines,
redefines, imports, and at its first start: killed, and cut from power. After the next start all
secrets are as before the change or as after it, and as after it if the client had its answer."""

import base64

import taptest
from secretd_case import A, B, C, SecretdCase, define, set_value, undefine


class Changes(SecretdCase):
    def before(self):
        return self.made_by(define(A), set_value(A, b"old value"), define(B))

    def test_a_definition_is_there_or_not(self):
        self.assert_old_or_new(self.before(), [define(C)])

    def test_a_first_value_is_there_or_not(self):
        self.assert_old_or_new(self.before(), [set_value(B, b"first value")])

    def test_a_replaced_value_is_the_old_or_the_new_one(self):
        self.assert_old_or_new(self.before(), [set_value(A, b"new value")])

    def test_an_undefined_secret_is_whole_or_gone(self):
        self.assert_old_or_new(self.before(), [undefine(A)])

    def test_a_redefinition_is_the_old_or_the_new_one(self):
        self.assert_old_or_new(self.before(), [define(A, description="another")])

    # The value is bound to the flag, so it is sealed again in the same change.
    def test_a_redefinition_as_private_keeps_the_value(self):
        self.assert_old_or_new(self.before(), [define(A, private="yes")])

    def test_changes_that_follow_each_other_are_there_one_by_one(self):
        self.assert_old_or_new(self.before(), [undefine(A), define(A), set_value(A, b"again")])


class Starts(SecretdCase):
    def test_a_first_start_leaves_a_master_key_that_stays(self):
        self.assert_old_or_new({}, [define(A), set_value(A, b"first value")], from_start=True)

    def test_a_clear_value_is_never_lost(self):
        before = self.made_by(define(A), define(B))
        before[f"secrets/{A}.base64"] = base64.b64encode(b"in clear")
        self.assert_old_or_new(before, [], from_start=True)


if __name__ == "__main__":
    taptest.main()
