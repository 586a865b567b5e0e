/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a program that changes a store step by step, for the crash tests.
 *
 *   store-steps [--small-journal] FOLDER JOURNAL-FOLDER STEP ...
 *
 * With --small-journal the journal, if there is none, is made with room for a few changes only.
 *
 * A STEP is "UUID XML VALUE" (for each of the two: "=" keeps the file, "-" removes it, another text
 * is its content), "checkpoint", "list", or several changes at once, joined by "+". What became of
 * it is printed, after the monotonic clock's nanoseconds: "done" or "error TEXT" for each change,
 * the list as "UUID XML VALUE" and "end".
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "secret/journal.h"
#include "secret/store.h"
#include "util/error.h"
#include "util/file.h"
#include "util/loop.h"

enum { SMALL_CAPACITY = 16 * 512 };

struct program {
    struct loop *loop;
    struct store *store;
    guint waiting;
};

static void
report(const GError *error)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%lld%09ld %s%s\n", (long long)now.tv_sec, now.tv_nsec, error ? "error " : "done",
           error ? error->message : "");
}

static void
parse_part(const char *text, enum store_action *ret_action, GBytes **ret_content)
{
    if (strcmp(text, "=") == 0) {
        *ret_action = STORE_KEEP;
    } else if (strcmp(text, "-") == 0) {
        *ret_action = STORE_REMOVE;
    } else {
        *ret_action = STORE_WRITE;
        *ret_content = g_bytes_new(text, strlen(text));
    }
}

static struct store_change
parse_change(const char *step)
{
    g_auto(GStrv) words = g_strsplit(step, " ", -1);
    struct store_change change = {0};

    if (g_strv_length(words) != 3 || !uuid_parse(words[0], &change.uuid))
        g_error("'%s' is no step", step);
    parse_part(words[1], &change.xml_action, &change.xml);
    parse_part(words[2], &change.key_action, &change.key);
    return change;
}

static void
note_done(void *opaque, const GError *error)
{
    struct program *program = opaque;

    report(error);
    if (--program->waiting == 0)
        loop_quit(program->loop);
}

static void
make_changes(struct program *program, const char *step)
{
    g_auto(GStrv) changes = g_strsplit(step, "+", -1);

    if (g_strv_length(changes) == 1) {
        g_autoptr(GError) error = NULL;
        struct store_change change = parse_change(step);

        store_commit(program->store, &change, &error);
        report(error);
        return;
    }
    for (char **next = changes; *next; next++) {
        struct store_change change = parse_change(*next);

        program->waiting++;
        store_submit(program->store, &change, note_done, program);
    }
    store_drain(program->store);
}

static void
print_part(bool has, GBytes *bytes)
{
    if (!has)
        printf(" -");
    else if (!bytes)
        printf(" ?");
    else
        printf(" %.*s", (int)g_bytes_get_size(bytes), (const char *)g_bytes_get_data(bytes, NULL));
}

static void
list(struct store *store)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) entries = store_list(store, &error);

    for (guint i = 0; entries && i < entries->len; i++) {
        const struct store_entry *entry = &g_array_index(entries, struct store_entry, i);
        g_autoptr(GBytes) xml = store_read_xml(store, &entry->uuid, NULL);
        g_autoptr(GBytes) key = store_read_key(store, &entry->uuid, NULL);
        char uuid[UUID_TEXT_SIZE];

        printf("%s", uuid_format(&entry->uuid, uuid));
        print_part(entry->has_xml, xml);
        print_part(entry->has_key, key);
        printf("\n");
    }
    if (error)
        report(error);
    printf("end\n");
}

static void
make_step(struct program *program, const char *step)
{
    if (strcmp(step, "list") == 0) {
        list(program->store);
    } else if (strcmp(step, "checkpoint") == 0) {
        g_autoptr(GError) error = NULL;

        store_checkpoint(program->store, &error);
        report(error);
    } else {
        make_changes(program, step);
    }
}

/* As another version might have made it. */
static void
make_small_journal(const char *folder)
{
    g_auto(file_fd) fd = file_open_dir(folder, true, 0700, NULL);

    journal_free(journal_open(fd, "journal", SMALL_CAPACITY, NULL));
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(loop_t) loop = loop_new(&error);
    struct program program = {.loop = loop};

    /* Before the next step begins. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 3 && strcmp(argv[1], "--small-journal") == 0) {
        make_small_journal(argv[3]);
        argc--;
        argv++;
    }
    if (argc < 3 || !loop) {
        fprintf(stderr, "usage: %s FOLDER JOURNAL-FOLDER STEP ...\n", argv[0]);
        return 2;
    }
    program.store = store_open(argv[1], argv[2], loop, &error);
    if (!program.store) {
        fprintf(stderr, "%s\n", error->message);
        return 1;
    }
    for (int i = 3; i < argc; i++)
        make_step(&program, argv[i]);
    store_free(program.store);
    return 0;
}
