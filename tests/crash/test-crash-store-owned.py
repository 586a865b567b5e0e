#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What guests own in the store, stopped at every call that changes a file (store_runs.py): definition,
value, the copies of guests and lines of the audit are old or new as a whole, and each line is there
once, in an unbroken chain.
"""

import errno

import taptest
from store_runs import A, B, G, H, Change, DiskCase, StoreCase, line_of

# A guest's first key, one more, all of them set again, and the ways out.
_OWNED = [
    [Change(A, "<a-2/>", "-", {G: "copy-1", H: "copy-2"}, line_of(A, 1))],
    [Change(B, "<b/>", "=", {G: "other-1"}), Change(A, "=", "=", {G: "copy-3", H: "longer-copy-4"})],
    "checkpoint",
    [Change(A, "=", "=", {H: "-"}, line_of(A, 2)), Change(B, "-", "=", {G: "-"}, line_of(B, 1))],
    [Change(A, "=", "value-2", {G: "-"}, line_of(A, 3))],
    [Change(A, "-", "-", audit=line_of(A, 4))],
]


class Kill(StoreCase):
    def test_a_kill_before_any_call_leaves_copies_and_audit_old_or_new(self):
        self.expect_old_or_new_after_a_kill(False, _OWNED, "before")

    def test_a_kill_within_any_write_leaves_copies_and_audit_old_or_new(self):
        self.expect_old_or_new_after_a_kill(False, _OWNED, "torn")


class PowerCut(DiskCase):
    def test_a_power_cut_at_any_call_leaves_copies_and_audit_old_or_new(self):
        self.expect_old_or_new_after_a_cut(_OWNED, 8)

    def test_a_power_cut_at_the_start_after_a_kill_leaves_copies_and_audit_old_or_new(self):
        self.cut_the_start_after_each_kill([_OWNED[0], _OWNED[3]])

    def test_a_power_cut_after_a_kill_and_another_change_leaves_that_change(self):
        self.cut_after_a_kill_and_a_change(
            [_OWNED[0]], [[Change(B, "<b/>", "=", {G: "other-1"}, line_of(B, 1))]])


class Failure(DiskCase):
    def test_one_failed_call_breaks_no_promise_about_copies_and_audit(self):
        self.expect_what_was_said(_OWNED, errno.EIO)

    def test_a_full_disk_breaks_no_promise_about_copies_and_audit(self):
        self.expect_what_was_said(_OWNED, errno.ENOSPC, STICKY="1")


if __name__ == "__main__":
    taptest.main()
