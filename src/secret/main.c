/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the program virtcrypt-secretd.
 */
#include "daemon/program.h"
#include "secret/daemon.h"

int
main(int argc, char **argv)
{
    return daemon_program_main(&secret_daemon_program, argc, argv);
}
