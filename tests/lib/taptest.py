# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the unittest cases of a module and prints TAP, so that meson counts each behaviour.

A case is one line; what went wrong follows as `#` lines. Whatever a case prints itself is turned
into `#` lines too: standard output belongs to TAP.
"""

import io
import sys
import unittest


class _Diagnostics(io.TextIOBase):
    """Stands in for sys.stdout while cases run."""

    def __init__(self, stream):
        self._stream = stream
        self._rest = ""

    def writable(self):
        return True

    def write(self, text):
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            self._stream.write(f"# {line}\n")
        self._stream.flush()
        return len(text)

    def end_line(self):
        if self._rest:
            self.write("\n")


class _TapResult(unittest.TestResult):
    def __init__(self, total, stream, diagnostics):
        super().__init__()
        self._number = 0
        self._stream = stream
        self._diagnostics = diagnostics
        self._failed_subtests = set()
        self._print(f"1..{total}")

    def _print(self, line):
        self._diagnostics.end_line()
        self._stream.write(line + "\n")
        self._stream.flush()

    def _line(self, test, verdict, suffix=""):
        self._number += 1
        self._print(f"{verdict} {self._number} {_name(test)}{suffix}")

    def _diagnose(self, test, err):
        # unittest's own text of a failure: without the frames that are unittest's.
        for line in self._exc_info_to_string(err, test).splitlines():
            self._print(f"# {line}")

    def addSuccess(self, test):
        if id(test) not in self._failed_subtests:
            self._line(test, "ok")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._line(test, "not ok")
        self._diagnose(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._line(test, "not ok")
        self._diagnose(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(test, "ok", f" # SKIP {reason}")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._line(test, "not ok", " # TODO expected to fail")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._line(test, "not ok")
        self._print("# passed although it is marked as expected to fail")

    def addSubTest(self, test, subtest, err):
        # One line for the whole test, however many of its subtests fail: the plan counts tests.
        super().addSubTest(test, subtest, err)
        if err is None:
            return
        if id(test) not in self._failed_subtests:
            self._failed_subtests.add(id(test))
            self._line(test, "not ok")
        self._print(f"# {subtest._subDescription()}")
        self._diagnose(test, err)


def _name(test):
    name = test.id()
    if name.startswith("__main__."):
        name = name[len("__main__."):]
    return name.replace("#", "").replace("\n", " ")


def _cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _cases(item)
        else:
            yield item


def main(module="__main__"):
    """Runs every case of `module` (or those whose names contain one of the arguments) and exits:
    0 if all passed. A failure in setUpClass or setUpModule fails, since the plan is not met."""
    wanted = sys.argv[1:]
    cases = [case for case in _cases(unittest.defaultTestLoader.loadTestsFromModule(
             sys.modules[module])) if not wanted or any(word in case.id() for word in wanted)]
    stream = sys.stdout
    diagnostics = _Diagnostics(stream)
    result = _TapResult(len(cases), stream, diagnostics)
    sys.stdout = diagnostics
    try:
        unittest.TestSuite(cases).run(result)
    finally:
        diagnostics.end_line()
        sys.stdout = stream
    if not cases:
        print("# no case matches", flush=True)
    sys.exit(0 if cases and result.wasSuccessful() else 1)
