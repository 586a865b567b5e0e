# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the unittest cases of a module and prints TAP, so that meson counts each behaviour."""

import sys
import traceback
import unittest


class _TapResult(unittest.TestResult):
    def __init__(self, total):
        super().__init__()
        self.number = 0
        print(f"1..{total}", flush=True)

    def _line(self, test, verdict, suffix=""):
        self.number += 1
        name = test.id().split(".", 1)[-1].replace("#", "")
        print(f"{verdict} {self.number} {name}{suffix}", flush=True)

    def _diagnose(self, err):
        for line in "".join(traceback.format_exception(*err)).splitlines():
            print(f"# {line}", flush=True)

    def addSuccess(self, test):
        self._line(test, "ok")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(test, "not ok")
        self._diagnose(err)

    def addError(self, test, err):
        super().addError(test, err)
        self._line(test, "not ok")
        self._diagnose(err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, "ok", f" # SKIP {reason}")

    def addExpectedFailure(self, test, err):
        self._line(test, "not ok", " # TODO expected")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._line(test, "not ok")

    def addSubTest(self, test, subtest, err):
        # A failing subtest fails its test: report it once, with its parameters.
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._line(subtest, "not ok")
            self._diagnose(err)


def main(module="__main__"):
    """Runs every case of `module` (or those whose names contain an argument)."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[module])
    wanted = sys.argv[1:]
    cases = [case for group in suite for case in group
             if not wanted or any(word in case.id() for word in wanted)]
    result = _TapResult(len(cases))
    suite = unittest.TestSuite(cases)
    suite.run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
