# SPDX-License-Identifier: LGPL-2.1-or-later
"""python3 src/rpc/gen: see command.py."""

import sys

import command

command.main(sys.argv[1:])
