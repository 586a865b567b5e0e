#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The counting behind `dev check` itself: nothing that went wrong may vanish from its last line."""

import json
import os
import unittest

import tree
import results
import taptest


def _run(stdout, result="OK", returncode=0, stderr=""):
    return {"name": "unit - program", "stdout": stdout, "stderr": stderr, "result": result,
            "returncode": returncode}


class Results(unittest.TestCase):
    def test_passed_cases_are_counted_one_by_one(self):
        count = results.count_program(_run("1..2\nok 1 /a\nok 2 /b\n"))
        self.assertEqual((count.passed, count.failed), (2, []))

    def test_a_failed_case_keeps_its_diagnostics(self):
        count = results.count_program(
            _run("1..2\nok 1 /a\nnot ok 2 /b\n# expected 1\n# got 2\n", "FAIL", 1))
        self.assertEqual(count.passed, 1)
        self.assertEqual(count.failed[0], ("unit - program: /b", ["# expected 1", "# got 2"]))

    def test_a_skipped_case_counts_as_neither(self):
        count = results.count_program(_run("1..1\nok 1 /a # SKIP no KVM here\n"))
        self.assertEqual((count.passed, count.failed), (0, []))
        self.assertEqual(count.skipped, [("unit - program: /a", "no KVM here")])

    def test_a_program_that_dies_halfway_has_failed(self):
        count = results.count_program(_run("1..3\nok 1 /a\n", "ERROR", -11, "Segmentation fault"))
        self.assertEqual(len(count.failed), 1)
        self.assertIn("ended after 1 of 3 cases", count.failed[0][0])
        self.assertIn("Segmentation fault", count.failed[0][1])

    def test_a_program_without_a_case_has_failed(self):
        count = results.count_program(_run("", "SKIP"))
        self.assertIn("ran no case", count.failed[0][0])

    def test_a_timeout_after_all_cases_has_failed(self):
        count = results.count_program(_run("1..1\nok 1 /a\n", "TIMEOUT", -15))
        self.assertIn("TIMEOUT", count.failed[0][0])

    def test_a_bad_exit_status_after_all_cases_has_failed(self):
        count = results.count_program(_run("1..1\nok 1 /a\n", "ERROR", 1, "LeakSanitizer: leak"))
        self.assertEqual(len(count.failed), 1)
        self.assertIn("LeakSanitizer: leak", count.failed[0][1])

    def test_a_log_that_is_not_there_has_failed(self):
        count = results.count_file("/nonexistent.json", "/nonexistent.log")
        self.assertEqual(len(count.failed), 1)

    def test_steps_and_suites_add_up(self):
        with tree.BadTree({"a.json": json.dumps(_run("1..1\nok 1 /a\n")) + "\n",
                           "b.log": "why it failed\n"}) as root:
            cases = os.path.join(root, "cases.tsv")
            with open(cases, "w", encoding="utf-8") as file:
                file.write(f"suites\ttests\t{root}/a.json\t{root}/a.log\n"
                           f"step\tbuild\tok\t{root}/a.log\n"
                           f"step\tcppcheck\tfailed\t{root}/b.log\n")
            count = results.count_all(cases)
        self.assertEqual(count.passed, 2)
        self.assertEqual(count.failed, [("cppcheck", ["why it failed"])])


if __name__ == "__main__":
    taptest.main()
