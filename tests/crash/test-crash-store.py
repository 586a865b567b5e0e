#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The store, stopped at every call that changes a file: killed, cut from power, or told of a failure
(store_runs.py). What guests own is in test-crash-store-owned.py.
"""

import errno

import disk
import taptest
from store_runs import A, B, C, FIRST, STRIDE, Change, DiskCase, Expectation, StoreCase

# Each step is a list of changes.
_CHANGES = [
    [Change(A, "=", "value-2")],
    [Change(B, "<b/>", "other-1"), Change(A, "<a-2/>", "value-3"), Change(C, "<c/>", "-")],
    "checkpoint",
    [Change(A, "-", "-")],
    [Change(A, "<a-3/>", "-")],
    [Change(B, "=", "-")],
    [Change(A, "=", "value-4"), Change(B, "-", "-")],
    # Both are written over, one after the other, and nothing follows that would mend it.
    [Change(A, "<a-5/>", "value-5")],
]


class Kill(StoreCase):
    def test_a_kill_before_any_call_leaves_old_or_new(self):
        self.expect_old_or_new_after_a_kill(False, _CHANGES, "before")

    def test_a_kill_within_any_write_leaves_old_or_new(self):
        self.expect_old_or_new_after_a_kill(False, _CHANGES, "torn")

    def test_a_kill_at_the_first_start_leaves_old_or_new(self):
        self.expect_old_or_new_after_a_kill(True, FIRST, "before")


class PowerCut(DiskCase):
    def test_a_power_cut_at_any_call_leaves_old_or_new(self):
        self.expect_old_or_new_after_a_cut(_CHANGES, 14)

    def test_a_power_cut_at_the_first_start_leaves_old_or_new(self):
        before, run = self.record(True, FIRST)
        self.assertEqual((run.status, run.stderr), (0, ""))
        self.cut_at_each_call(before, disk.read_log(self.place.log), Expectation({}, FIRST),
                              run.verdicts, 2)
        print(f"{self.starts} starts")
        self.assertGreater(self.starts, 60 // STRIDE)

    def test_a_power_cut_at_the_start_after_a_kill_leaves_old_or_new(self):
        self.cut_the_start_after_each_kill([_CHANGES[1], [Change(A, "<a-6/>", "value-6")]])


class Failure(DiskCase):
    def test_one_failed_call_breaks_no_promise(self):
        self.expect_what_was_said(_CHANGES, errno.EIO)

    def test_a_full_disk_breaks_no_promise(self):
        self.expect_what_was_said(_CHANGES, errno.ENOSPC, STICKY="1")


if __name__ == "__main__":
    taptest.main()
