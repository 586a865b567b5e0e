/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the text of a line. Its beginning and its end have fixed forms, so that no parser of JSON
 * is needed to follow the chain:
 *   {"seq":N,MEMBERS,"prev":"64 digits","hash":"64 digits"}
 */
#include "conf/audit_line.h"

#include <string.h>

#include "util/error.h"

#define SEQ_HEAD  "{\"seq\":"
#define PREV_HEAD ",\"prev\":\""
#define PREV_TAIL "\""
#define HASH_HEAD ",\"hash\":\""
#define LINE_TAIL "\"}"
#define ID_HEAD   "\"id\":\""

enum {
    HASH_LEN = AUDIT_HASH_SIZE - 1,
    SEQ_HEAD_LEN = sizeof(SEQ_HEAD) - 1,
    PREV_HEAD_LEN = sizeof(PREV_HEAD) - 1,
    PREV_TAIL_LEN = sizeof(PREV_TAIL) - 1,
    HASH_HEAD_LEN = sizeof(HASH_HEAD) - 1,
    LINE_TAIL_LEN = sizeof(LINE_TAIL) - 1,
    ID_HEAD_LEN = sizeof(ID_HEAD) - 1,
    SEQ_DIGITS_MAX = 20,
    /* What follows the hashed content, and what follows the members. */
    HASH_PART_LEN = HASH_HEAD_LEN + HASH_LEN + LINE_TAIL_LEN,
    END_LEN = PREV_HEAD_LEN + HASH_LEN + PREV_TAIL_LEN + HASH_PART_LEN,
};
G_STATIC_ASSERT(SEQ_HEAD_LEN + SEQ_DIGITS_MAX + 1 + END_LEN + 1 <=
                AUDIT_LINE_MAX - AUDIT_MEMBERS_MAX);

void
audit_line_append_string(GString *members, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(members, '"');
    for (const char *next = valid; *next; next++) {
        if (*next == '"' || *next == '\\')
            g_string_append_printf(members, "\\%c", *next);
        else if ((unsigned char)*next < ' ' || *next == 0x7f)
            g_string_append_printf(members, "\\u%04x", (unsigned char)*next);
        else
            g_string_append_c(members, *next);
    }
    g_string_append_c(members, '"');
}

/* Within a string of JSON a quote has a backslash before it, so that this finds no part of one. */
static const char *
find_id(const char *members, size_t len)
{
    const char *id = g_strstr_len(members, (gssize)len, ID_HEAD);
    char text[UUID_TEXT_SIZE];
    struct uuid uuid;

    if (!id || (id > members && id[-1] != ',') ||
        (size_t)(members + len - id) < ID_HEAD_LEN + UUID_TEXT_SIZE ||
        id[ID_HEAD_LEN + UUID_TEXT_SIZE - 1] != '"')
        return NULL;
    id += ID_HEAD_LEN;
    memcpy(text, id, UUID_TEXT_SIZE - 1);
    text[UUID_TEXT_SIZE - 1] = '\0';
    return uuid_parse(text, &uuid) ? id : NULL;
}

static bool
are_members(const char *members, size_t len)
{
    if (len == 0 || len > AUDIT_MEMBERS_MAX || members[0] != '"')
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)members[i] < ' ')
            return false;
    }
    return find_id(members, len) != NULL;
}

bool
audit_line_are_members(const char *members)
{
    return are_members(members, strlen(members));
}

void
audit_line_find_id(const char *members, char ret_id[UUID_TEXT_SIZE])
{
    const char *id = find_id(members, strlen(members));

    g_assert(id);
    memcpy(ret_id, id, UUID_TEXT_SIZE - 1);
    ret_id[UUID_TEXT_SIZE - 1] = '\0';
}

void
audit_line_chain_init(struct audit_line_chain *chain)
{
    chain->next_seq = 0;
    memset(chain->prev, '0', HASH_LEN);
    chain->prev[HASH_LEN] = '\0';
}

static void
hash_content(const char *text, size_t len, char ret_hash[AUDIT_HASH_SIZE])
{
    g_autofree char *hash =
        g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, len);

    g_strlcpy(ret_hash, hash, AUDIT_HASH_SIZE);
}

char *
audit_line_format(struct audit_line_chain *chain, const char *members)
{
    GString *line = g_string_new(NULL);

    g_string_printf(line, SEQ_HEAD "%" G_GUINT64_FORMAT ",%s" PREV_HEAD "%s" PREV_TAIL,
                    chain->next_seq, members, chain->prev);
    hash_content(line->str, line->len, chain->prev);
    chain->next_seq++;
    g_string_append_printf(line, HASH_HEAD "%s" LINE_TAIL, chain->prev);
    return g_string_free(line, FALSE);
}

static bool
take_literal(const char **next, const char *literal, size_t len)
{
    if (memcmp(*next, literal, len) != 0)
        return false;
    *next += len;
    return true;
}

static bool
take_hash(const char **next, char ret_hash[AUDIT_HASH_SIZE])
{
    for (size_t i = 0; i < HASH_LEN; i++) {
        if (!g_ascii_isdigit((*next)[i]) && ((*next)[i] < 'a' || (*next)[i] > 'f'))
            return false;
    }
    memcpy(ret_hash, *next, HASH_LEN);
    ret_hash[HASH_LEN] = '\0';
    *next += HASH_LEN;
    return true;
}

/* In the one way that it is written: no leading zeros. */
static bool
take_seq(const char **next, const char *end, uint64_t *ret_seq)
{
    char digits[SEQ_DIGITS_MAX + 1] = "";
    size_t len = 0;

    while (*next + len < end && len < SEQ_DIGITS_MAX && g_ascii_isdigit((*next)[len]))
        len++;
    memcpy(digits, *next, len);
    if (len == 0 || (len > 1 && digits[0] == '0') ||
        !g_ascii_string_to_unsigned(digits, 10, 0, UINT64_MAX, ret_seq, NULL))
        return false;
    *next += len;
    return *next < end && *(*next)++ == ',';
}

bool
audit_line_parse(const char *text, size_t len, struct audit_line *ret_line)
{
    struct audit_line line = {0};
    char hash[AUDIT_HASH_SIZE];
    const char *next = text;
    const char *end;
    const char *id;

    if (len < SEQ_HEAD_LEN + END_LEN || len >= AUDIT_LINE_MAX)
        return false;
    end = text + len - END_LEN;
    if (!take_literal(&next, SEQ_HEAD, SEQ_HEAD_LEN) || !take_seq(&next, end, &line.seq) ||
        !are_members(next, (size_t)(end - next)))
        return false;
    id = find_id(next, (size_t)(end - next));
    memcpy(line.id, id, UUID_TEXT_SIZE - 1);
    if (!take_literal(&end, PREV_HEAD, PREV_HEAD_LEN) || !take_hash(&end, line.prev) ||
        !take_literal(&end, PREV_TAIL, PREV_TAIL_LEN) ||
        !take_literal(&end, HASH_HEAD, HASH_HEAD_LEN) || !take_hash(&end, line.hash) ||
        !take_literal(&end, LINE_TAIL, LINE_TAIL_LEN))
        return false;
    hash_content(text, len - HASH_PART_LEN, hash);
    if (strcmp(hash, line.hash) != 0)
        return false;
    *ret_line = line;
    return true;
}

bool
audit_line_verify(struct audit_line_chain *chain, const char *text, size_t len, GError **error)
{
    struct audit_line line;

    if (!audit_line_parse(text, len, &line)) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "the line that should have number %" G_GUINT64_FORMAT
                  " is no line of an audit, or was changed: its hash is not that of its content",
                  chain->next_seq);
        return false;
    }
    if (line.seq != chain->next_seq) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "line %" G_GUINT64_FORMAT " stands where %" G_GUINT64_FORMAT
                  " should: lines were removed, added or moved",
                  line.seq, chain->next_seq);
        return false;
    }
    if (strcmp(line.prev, chain->prev) != 0) {
        error_set(error, ERROR_FROM_SECRET, ERROR_INVALID_SECRET,
                  "line %" G_GUINT64_FORMAT
                  " does not follow the line before it, which was replaced",
                  line.seq);
        return false;
    }
    chain->next_seq++;
    g_strlcpy(chain->prev, line.hash, sizeof(chain->prev));
    return true;
}
