#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts test cases for `dev check` from the JSON logs that `meson test` writes.

A program that prints no case, ends badly without saying so, or is killed counts as one failed
case: nothing that went wrong can vanish from the last line.
"""

import json
import os
import re
import sys

_CASE = re.compile(r"^(not ok|ok)\b\s*\d*\s*(?:- )?([^#]*)(?:#\s*(skip|todo)\S*\s*(.*))?", re.I)
_PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*skip\S*\s*(.*))?", re.I)
_DIAGNOSTICS_MAX = 60


class Count:
    """Passed and skipped cases as numbers, failed ones as (name, diagnostic lines)."""

    def __init__(self):
        self.passed = 0
        self.skipped = []
        self.failed = []

    def add(self, other):
        self.passed += other.passed
        self.skipped += other.skipped
        self.failed += other.failed


def _read_tap(program, stdout, count):
    """Adds the cases of one program; returns (cases seen, cases planned or None)."""
    planned = None
    seen = 0
    open_failure = None
    for line in stdout.splitlines():
        plan = _PLAN.match(line)
        case = _CASE.match(line)
        if plan:
            planned = int(plan.group(1))
            if planned == 0 and plan.group(2) is not None:
                count.skipped.append((program, plan.group(2)))
                seen = -1
        elif case:
            seen += 1
            open_failure = None
            name = f"{program}: {case.group(2).strip()}"
            directive = (case.group(3) or "").lower()
            if directive == "skip" and case.group(1) == "ok":
                count.skipped.append((name, case.group(4)))
            elif directive == "todo" and case.group(1) == "not ok":
                count.skipped.append((name, case.group(4)))
            elif case.group(1) == "ok" and not directive:
                count.passed += 1
            else:
                open_failure = []
                count.failed.append((name, open_failure))
        elif line.lower().startswith("bail out!"):
            count.failed.append((f"{program}: {line}", []))
        elif open_failure is not None and line.startswith("#"):
            open_failure.append(line)
    return seen, planned


def count_program(run):
    """Counts one program's entry of meson's JSON log."""
    count = Count()
    program = run["name"]
    seen, planned = _read_tap(program, run.get("stdout") or "", count)
    stderr = (run.get("stderr") or "").splitlines()[-_DIAGNOSTICS_MAX:]
    ended_badly = run["result"] in ("TIMEOUT", "INTERRUPT", "ERROR", "FAIL")
    if seen == -1:
        pass
    elif seen == 0:
        count.failed.append((f"{program}: ran no case ({run['result']})", stderr))
    elif planned is not None and seen < planned:
        count.failed.append((f"{program}: ended after {seen} of {planned} cases "
                             f"({run['result']}, exit status {run['returncode']})", stderr))
    elif ended_badly and not count.failed:
        count.failed.append((f"{program}: {run['result']}, exit status {run['returncode']}", stderr))
    elif count.failed and stderr:
        count.failed[-1][1].extend(["# standard error:"] + stderr)
    return count


def count_file(path, log):
    """Counts a whole JSON log; a missing or empty one is one failed case."""
    count = Count()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            runs = [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError) as error:
        runs = []
        count.failed.append((f"{os.path.basename(path)}: {error}", _tail(log)))
    else:
        if not runs:
            count.failed.append((f"{os.path.basename(path)}: no test ran", _tail(log)))
    for run in runs:
        count.add(count_program(run))
    return count


def _tail(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()[-_DIAGNOSTICS_MAX:]
    except OSError as error:
        return [str(error)]


def count_all(cases_path):
    """Counts what `dev check` noted: single steps and logs of whole suites."""
    total = Count()
    with open(cases_path, encoding="utf-8") as file:
        for line in file:
            kind, name, third, log = line.rstrip("\n").split("\t")
            if kind == "suites":
                count = count_file(third, log)
                for failure in range(len(count.failed)):
                    case, lines = count.failed[failure]
                    count.failed[failure] = (f"[{name}] {case}", lines)
                total.add(count)
            elif third == "ok":
                total.passed += 1
            else:
                total.failed.append((name, _tail(log)))
    return total


def _print_brief(path, log, seconds):
    count = count_file(path, log)
    verdict = "FAILED" if count.failed else "ok    "
    skipped = f", {len(count.skipped)} skipped" if count.skipped else ""
    print(f"{verdict}  {seconds} s, {count.passed} passed{skipped}, {len(count.failed)} failed")
    for name, reason in count.skipped:
        print(f"  skipped: {name}: {reason or 'no reason given'}")


def _print_summary(cases_path):
    total = count_all(cases_path)
    for name, lines in total.failed:
        print(f"\nFAILED {name}")
        shown = lines[-_DIAGNOSTICS_MAX:]
        for line in shown:
            print(f"    {line}")
    print()
    print(f"{total.passed} passed, {len(total.failed)} failed")
    return 0 if total.passed and not total.failed else 1


def main():
    if sys.argv[1] == "--brief":
        _print_brief(sys.argv[2], sys.argv[3], sys.argv[4])
        return 0
    return _print_summary(sys.argv[2])


if __name__ == "__main__":
    sys.exit(main())
