/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: a program that changes a store step by step, for the crash tests.
 *
 *   store-steps [--small-journal] ROOT STEP ...
 *
 * The store is in folders below ROOT: secrets, journal, qemu/keys (guests' copies) and lib
 * (audit.log). With --small-journal the journal, if there is none, is made with room for a few
 * changes only.
 *
 * A STEP is "UUID XML VALUE COPIES AUDIT" (for each of XML and VALUE: "=" keeps the file, "-"
 * removes it, another text is its content; COPIES are "GUEST:VALUE,..." likewise, or "="; AUDIT is
 * the id of a line, or "="), "checkpoint", "list", or several changes at once, joined by "+". What
 * became of it is printed, after the monotonic clock's nanoseconds: "done" or "error TEXT" for each
 * change, the list as "UUID XML VALUE", "SECRET/GUEST VALUE", "audit LINE" and "end".
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "secret/journal.h"
#include "secret/store.h"
#include "secret/store_change.h"
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

static void
parse_copies(const char *text, struct store_change *change)
{
    g_auto(GStrv) copies = g_strsplit(strcmp(text, "=") == 0 ? "" : text, ",", -1);

    for (char **copy = copies; *copy; copy++) {
        enum store_action action = STORE_KEEP;
        g_autoptr(GBytes) key = NULL;
        char *value = strchr(*copy, ':');
        struct uuid guest;

        if (!value)
            g_error("'%s' is no copy", *copy);
        *value = '\0';
        if (!uuid_parse(*copy, &guest))
            g_error("'%s' is no guest", *copy);
        parse_part(value + 1, &action, &key);
        store_change_add_owner(change, &guest, action, key);
    }
}

static struct store_change
parse_change(const char *step)
{
    g_auto(GStrv) words = g_strsplit(step, " ", -1);
    struct store_change change = {0};

    if (g_strv_length(words) != 5 || !uuid_parse(words[0], &change.uuid))
        g_error("'%s' is no step", step);
    parse_copies(words[3], &change);
    if (strcmp(words[4], "=") != 0)
        change.audit = g_strdup_printf("\"event\":\"test\",\"id\":\"%s\"", words[4]);
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
list_owned(struct store *store)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) owned = store_list_owned(store, &error);

    for (guint i = 0; owned && i < owned->len; i++) {
        const struct store_owned *copy = &g_array_index(owned, struct store_owned, i);
        g_autoptr(GBytes) key = store_read_owned_key(store, &copy->secret, &copy->guest, NULL);
        char secret[UUID_TEXT_SIZE];
        char guest[UUID_TEXT_SIZE];

        printf("%s/%s", uuid_format(&copy->secret, secret), uuid_format(&copy->guest, guest));
        print_part(true, key);
        printf("\n");
    }
    if (error)
        report(error);
}

static void
list_audit(struct store *store)
{
    g_autoptr(GError) error = NULL;
    bool more = false;
    g_autoptr(GPtrArray) lines = store_read_audit(store, 0, 1000, &more, &error);

    for (guint i = 0; lines && i < lines->len; i++)
        printf("audit %s\n", (const char *)g_ptr_array_index(lines, i));
    if (error)
        report(error);
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
    list_owned(store);
    list_audit(store);
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

static struct store *
open_store(const char *root, bool is_small, struct loop *loop, GError **error)
{
    g_autofree char *dir = g_build_filename(root, "secrets", NULL);
    g_autofree char *journal_dir = g_build_filename(root, "journal", NULL);
    g_autofree char *guests_dir = g_build_filename(root, "qemu", "keys", NULL);
    g_autofree char *audit = g_build_filename(root, "lib", "audit.log", NULL);
    const struct store_params params = {
        .dir = dir,
        .journal_dir = journal_dir,
        .guests_dir = guests_dir,
        .audit = audit,
        .loop = loop,
    };

    if (is_small)
        make_small_journal(journal_dir);
    return store_open(&params, error);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(loop_t) loop = loop_new(&error);
    struct program program = {.loop = loop};
    bool is_small = argc > 1 && strcmp(argv[1], "--small-journal") == 0;
    char **words = argv + 1 + is_small;

    /* Before the next step begins. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!words[0] || !loop) {
        fprintf(stderr, "usage: %s ROOT STEP ...\n", argv[0]);
        return 2;
    }
    program.store = open_store(words[0], is_small, loop, &error);
    if (!program.store) {
        fprintf(stderr, "%s\n", error->message);
        return 1;
    }
    for (char **step = words + 1; *step; step++)
        make_step(&program, *step);
    store_free(program.store);
    return 0;
}
