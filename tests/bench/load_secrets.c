/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the benchmark's secrets as functions of their index, and blocking socket input and output.
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* SplitMix64 (Steele, Lea, Flood 2014): spreads indices over all 64 bits. */
static uint64_t
mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void
load_secret_uuid(uint32_t index, uint8_t ret_uuid[16])
{
    uint64_t halves[2] = {mix((uint64_t)index * 2), mix((uint64_t)index * 2 + 1)};

    for (int i = 0; i < 16; i++)
        ret_uuid[i] = (uint8_t)(halves[i / 8] >> (56 - 8 * (i % 8)));
    ret_uuid[6] = (uint8_t)((ret_uuid[6] & 0x0f) | 0x40);
    ret_uuid[8] = (uint8_t)((ret_uuid[8] & 0x3f) | 0x80);
}

void
load_secret_uuid_text(uint32_t index, char ret_text[LOAD_UUID_TEXT_SIZE])
{
    uint8_t uuid[16];
    size_t length = 0;

    load_secret_uuid(index, uuid);
    for (int i = 0; i < 16; i++) {
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        length += (size_t)snprintf(ret_text + length, LOAD_UUID_TEXT_SIZE - length, "%s%02x", dash,
                                   uuid[i]);
    }
}

void
load_secret_usage(uint32_t index, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "/bench/volume-%08u.qcow2", index);
}

void
load_secret_xml(uint32_t index, char *ret_text, size_t size)
{
    char uuid[LOAD_UUID_TEXT_SIZE];
    char usage[64];

    load_secret_uuid_text(index, uuid);
    load_secret_usage(index, usage, sizeof(usage));
    snprintf(ret_text, size,
             "<secret ephemeral='no' private='no'>\n"
             "  <uuid>%s</uuid>\n"
             "  <usage type='volume'>\n"
             "    <volume>%s</volume>\n"
             "  </usage>\n"
             "</secret>\n",
             uuid, usage);
}

int
load_connect(const char *path, char *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(error, LOAD_ERROR_SIZE, "socket path %s is too long", path);
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    snprintf(error, LOAD_ERROR_SIZE, "cannot connect to %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

bool
load_write_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *pos = bytes;

    while (len > 0) {
        ssize_t done = send(fd, pos, len, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        pos += done;
        len -= (size_t)done;
    }
    return true;
}

bool
load_read_all(int fd, void *bytes, size_t len)
{
    uint8_t *pos = bytes;

    while (len > 0) {
        ssize_t done = recv(fd, pos, len, 0);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        pos += done;
        len -= (size_t)done;
    }
    return true;
}
