/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Owns: the file of slots of docs/sealed-format.md, as Python's hmac and OpenSSL made it.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

static const char slots_golden_hex[] =
    "5643534c4f545331000100010000000100000000000000057be082a037bcf7ee1f4df688ab6932d8"
    "0002000105ae59a835d9b282f3f1cb53cfa0e08066666666666666666666666651c7cf9bffa1335d"
    "e66999c729cf4f502659709a1d51130b0a43e73b83066eed9186f930fb427015d276a9bf8a0900e2"
    "0a1b2c3d4e5f60718293a4b5c6d7e8f9000100046469736b000000006553f1000003000470617468"
    "00212f6574632f6c6962766972742f7669727463727970742f6d61737465722e6b657900046d6164"
    "6500037965730005636865636b000c4d357548733158334a6a4d3d4444444444444444444444448d"
    "72f71406279ba1a415c87a810912d1b53775a62696a296156c1f8f8f1a60fc3d4eb90a94058eb36c"
    "280a908d9bab72f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00060000000000006553f1010000555555"
    "555555555555555555e1911d7d11449f599341445a21a4f62d046a19051fb03963b62a4d429eeac4"
    "afde63845969bcf3075eb0699d1043affc1f234ef3f676e8c975ceb7f09ef95315cf96175126162f"
    "dc282bd62bd6865f20";

static inline GBytes *
slots_golden_new(void)
{
    size_t len = (sizeof(slots_golden_hex) - 1) / 2;
    uint8_t *bytes = g_malloc(len);

    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(g_ascii_xdigit_value(slots_golden_hex[2 * i]) << 4 |
                             g_ascii_xdigit_value(slots_golden_hex[2 * i + 1]));
    return g_bytes_new_take(bytes, len);
}
