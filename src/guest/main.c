/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the program virtcryptd.
 */
#include "daemon/program.h"
#include "guest/daemon.h"

int
main(int argc, char **argv)
{
    return daemon_program_main(&virtcryptd_program, argc, argv);
}
