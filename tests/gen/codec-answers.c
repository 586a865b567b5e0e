/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What our codec says to messages, for tests in Python. Lines "TYPE HEX" of standard input are
 * answered by "ok HEX LEFT" (the value encoded again, and how many bytes followed it) or by
 * "error CODE DOMAIN TEXT". With an argument it lists: `types` the names of all types, `procedures`
 * lines "PROGRAM NUMBER NAME ARGS RET" of the programs, with `void` for what is not there.
 */
#include <stdio.h>
#include <string.h>

#include "codec_types.h"
#include "util/error.h"

enum { LINE_MAX_LEN = 1024 * 1024 };

static void
print_hex(GBytes *bytes)
{
    size_t len;
    const uint8_t *data = g_bytes_get_data(bytes, &len);

    for (size_t i = 0; i < len; i++)
        printf("%02x", data[i]);
}

static void
answer(const struct rpc_type *type, GBytes *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) again = NULL;
    size_t left = 0;
    void *value = codec_type_decode(type, g_bytes_get_data(message, NULL),
                                    g_bytes_get_size(message), &left, &error);

    if (!value) {
        printf("error %d %d %s\n", error_get_code(error), error_get_domain(error), error->message);
        return;
    }
    again = codec_type_encode(type, value);
    codec_type_free(type, value);
    printf("ok ");
    print_hex(again);
    printf(" %zu\n", left);
}

static void
list_types(void)
{
    for (const struct rpc_type *const *type = codec_types(); *type; type++)
        printf("%s\n", (*type)->name);
}

static void
list_procedures(void)
{
    for (const struct rpc_program *const *program = codec_programs(); *program; program++) {
        for (size_t i = 0; i < (*program)->procedure_count; i++) {
            const struct rpc_procedure *procedure = &(*program)->procedures[i];

            printf("%s %d %s %s %s\n", (*program)->name, procedure->number, procedure->name,
                   procedure->args ? procedure->args->name : "void",
                   procedure->ret ? procedure->ret->name : "void");
        }
    }
}

int
main(int argc, char **argv)
{
    g_autofree char *line = g_malloc(LINE_MAX_LEN);

    if (argc == 2) {
        if (g_str_equal(argv[1], "types"))
            list_types();
        else
            list_procedures();
        return 0;
    }
    while (fgets(line, LINE_MAX_LEN, stdin)) {
        const struct rpc_type *type = NULL;
        g_autoptr(GBytes) message = NULL;
        char *blank = strchr(g_strchomp(line), ' ');

        if (blank)
            *blank = '\0';
        type = codec_type_find(line);
        message = codec_hex_parse(blank ? blank + 1 : "");
        if (!type || !message) {
            fprintf(stderr, "codec-answers: not of the form TYPE HEX: %s\n", line);
            return 1;
        }
        answer(type, message);
        fflush(stdout);
    }
    return 0;
}
