#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""virtcrypt's tables of commands, its man page and its bash completion name the same commands and
options."""

import os
import re
import unittest

import tree
import taptest

_MAN_PAGE = "docs/man/virtcrypt.1"
_COMPLETION = "tools/bash-completion/virtcrypt"

# "master status" is a name, too.
_COMMAND = re.compile(r'\.name = "([a-z-]+(?: [a-z-]+)?)"')
# OPTION_SECRET and the like are macros for options that many commands have.
_OPTION = re.compile(r'\{\s*"([a-z0-9-]+)",\s*OPTION_[A-Z]+,|'
                     r'\bOPTION_(SECRET|VOL|POOL|PASSPHRASE_FD|ASK_PASSWORD)\b(?! *\\)')
# One for several: what the header that owns it has takes its place.
_OPTIONS_HEADER = "tools/unlock_input.h"
_OPTIONS = "UNLOCK_INPUT_OPTIONS"
_GLOBAL_OPTION = re.compile(r'\{"([a-z]+)", (?:no|required)_argument,')


def table(root):
    """{command: [its options, in order]}; "" stands for the options before a command."""
    commands = {}
    for path in tree.files(root, ".c", under=("tools",)):
        # virtcrypt-recover is a program of its own.
        if os.path.basename(path).startswith("recover"):
            continue
        text = tree.read(root, path)
        if _OPTIONS in text:
            several = _OPTION.findall(tree.read(root, _OPTIONS_HEADER).replace("\\\n", ""))
            text = text.replace(_OPTIONS, ", ".join(
                f'{{"{name}", OPTION_FLAG,' for name, _ in several))
        starts = list(_COMMAND.finditer(text))
        ends = [start.start() for start in starts[1:]] + [len(text)]
        for start, end in zip(starts, ends):
            commands[start.group(1)] = [
                option.group(1) or option.group(2).lower().replace("_", "-")
                for option in _OPTION.finditer(text, start.end(), end)]
        globals_ = _GLOBAL_OPTION.findall(text)
        if globals_:
            commands[""] = globals_
    return commands


def _completed(root):
    text = tree.read(root, _COMPLETION)
    completed = {command: options.replace("--", "").split()
                 for command, options in re.findall(r'\["?([a-z -]+)"?\]="([^"]*)"', text)}
    known = re.search(r'"((?:--[a-z]+ ?)+)" -- "\$cur"', text)
    if known:
        completed[""] = known.group(1).replace("--", "").split()
    return completed


def missing_in_completion(root):
    wanted = table(root)
    completed = _completed(root)
    return [f"{_COMPLETION}: {command or 'global'}: {completed.get(command)}, not {options}"
            for command, options in wanted.items()
            if sorted(options) != sorted(completed.get(command, ["(none)"]))
            or options[:1] != completed[command][:1]] + [
        f"{_COMPLETION}: there is no command {command}"
        for command in completed if command not in wanted]


def _man_sections(root):
    text = tree.read(root, _MAN_PAGE).replace("\\-", "-")
    sections = {}
    # A command with several forms has a section for each. The first word of commands of two is none.
    first_words = {command.split()[0] for command in table(root) if " " in command}
    for name, body in re.findall(r'^\.SS "?([a-z-]+(?: [a-z-]+)?)(.*?)(?=^\.S[SH]|\Z)', text,
                                 re.M | re.S):
        if name.split()[0] not in first_words:
            name = name.split()[0]
        sections[name] = sections.get(name, "") + body
    options = re.search(r"^\.SH OPTIONS(.*?)^\.SH", text, re.M | re.S)
    sections[""] = options.group(1) if options else ""
    return sections


def missing_in_man_page(root):
    sections = _man_sections(root)
    wanted = table(root)
    return [f"{_MAN_PAGE}: {command or 'global'}: --{option}"
            for command, options in wanted.items()
            for option in options
            if not re.search(rf"--{option}(?![a-z-])", sections.get(command, ""))] + [
        f"{_MAN_PAGE}: there is no section on {command}"
        for command in wanted if command not in sections] + [
        f"{_MAN_PAGE}: there is no command {section}"
        for section in sections if section not in wanted]


def completion_warnings(root):
    status, text = tree.run(["shellcheck", "--format=gcc", os.path.join(root, _COMPLETION)])
    return text.splitlines() if status != 0 else []


_SAMPLE = '''
{.name = "paint", .options = {OPTION_SECRET, {"twice", OPTION_FLAG, 0, "x"}}},
{"quiet", no_argument, NULL, 'q'},
'''
_SAMPLE_MAN = ('.SH OPTIONS\n\\-\\-quiet\n.SH COMMANDS\n'
               '.SS "paint SECRET"\n\\-\\-secret \\-\\-twice\n.SH END\n')
_SAMPLE_COMPLETION = '[paint]="--secret --twice"\n"--quiet" -- "$cur"\n'


def _sample(**changed):
    files = {"tools/x.c": _SAMPLE, _MAN_PAGE: _SAMPLE_MAN, _COMPLETION: _SAMPLE_COMPLETION}
    files.update({{"man": _MAN_PAGE, "completion": _COMPLETION}[name]: text
                  for name, text in changed.items()})
    return files


class Commands(tree.RuleMixin, unittest.TestCase):
    def test_the_tables_are_found(self):
        commands = table(tree.SOURCE_ROOT)
        self.assertGreaterEqual(len(commands), 10)
        self.assertEqual(commands["secret-get-value"], ["secret", "plain"])
        self.assertIn("readonly", commands[""])

    def test_completion_knows_every_command_and_option(self):
        self.assert_kept(missing_in_completion)

    def test_what_completion_does_not_know_is_caught(self):
        self.assert_passes(missing_in_completion, _sample())
        self.assert_caught(missing_in_completion, _sample(
            completion='[paint]="--secret"\n[draw]="--secret"\n"--quiet" -- "$cur"\n'),
            "paint", "no command draw")

    def test_an_option_that_completion_takes_for_the_first_is_caught(self):
        self.assert_caught(missing_in_completion, _sample(
            completion='[paint]="--twice --secret"\n"--quiet" -- "$cur"\n'), "paint")

    def test_completion_has_no_warning(self):
        self.assert_kept(completion_warnings)

    def test_a_completion_with_a_warning_is_caught(self):
        self.assert_caught(completion_warnings,
                           {_COMPLETION: "# shellcheck shell=bash\nrm -rf $1/*\n"}, "SC2086")

    def test_the_man_page_has_every_command_and_option(self):
        self.assert_kept(missing_in_man_page)

    def test_what_the_man_page_does_not_have_is_caught(self):
        self.assert_passes(missing_in_man_page, _sample())
        self.assert_caught(missing_in_man_page, _sample(
            man='.SH OPTIONS\n\\-\\-loud\n.SH COMMANDS\n.SS "paint S"\n\\-\\-secret\n'
                '.SS draw\n.SH END\n'),
            "paint: --twice", "global: --quiet", "no command draw")


if __name__ == "__main__":
    taptest.main()
