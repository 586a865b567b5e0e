# SPDX-License-Identifier: LGPL-2.1-or-later
"""The benchmark's tables and its targets. Ratios are of medians of one run on one machine."""


def print_table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  " + "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths))))
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def _number(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def _ratio(a, b):
    return None if a is None or b is None or not b else a / b


def _times(value):
    return "-" if value is None else f"{value:.2f}x"


def _figure(result, name):
    return None if result is None else result[name]


def _calls_table(bench, size):
    rows = [["call", "calls/s libvirtd", "virtcrypt", "ratio", "p50 us libvirtd", "virtcrypt",
             "p99 us libvirtd", "virtcrypt", "CPU us/call libvirtd", "virtcrypt", "ratio"]]
    floors = [(clients, bench.median("floor", "floor", "lookup-uuid", clients, 1))
              for clients in (1, 8)]
    for clients, floor in floors:
        rows.append([f"floor, {clients} client{'s' * (clients > 1)}",
                     _number(_figure(floor, "per_second"), 0), "", "",
                     _number(_figure(floor, "p50_us")), "", _number(_figure(floor, "p99_us")), "",
                     _number(_figure(floor, "daemon_cpu_us")), "", ""])
    keys = []
    for _, via, op, clients, measured in bench.runs:
        if measured == size and via != "floor" and (via, op, clients) not in keys:
            keys.append((via, op, clients))
    for via, op, clients in keys:
        theirs = bench.median("libvirtd", via, op, clients, size)
        ours = bench.median("virtcrypt", via, op, clients, size)
        rate = [_figure(result, "per_second") for result in (theirs, ours)]
        cpu = [_figure(result, "daemon_cpu_us") for result in (theirs, ours)]
        rows.append([f"{op}, {via}, {clients} client{'s' * (clients > 1)}",
                     _number(rate[0], 0), _number(rate[1], 0), _times(_ratio(rate[1], rate[0])),
                     _number(_figure(theirs, "p50_us")), _number(_figure(ours, "p50_us")),
                     _number(_figure(theirs, "p99_us")), _number(_figure(ours, "p99_us")),
                     _number(cpu[0]), _number(cpu[1]), _times(_ratio(cpu[0], cpu[1]))])
    print_table(rows)


def _start_table(bench):
    rows = [["secrets", "start s libvirtd", "virtcrypt", "ratio", "first start virtcrypt",
             "RSS MiB libvirtd", "virtcrypt"]]
    for size in bench.sizes:
        theirs, ours = (bench.start_s(name, size) for name in ("libvirtd", "virtcrypt"))
        rss = [bench.rss_kib.get((name, size)) for name in ("libvirtd", "virtcrypt")]
        rows.append([str(size), _number(theirs, 3), _number(ours, 3), _times(_ratio(theirs, ours)),
                     _number(bench.first_start_s.get(("virtcrypt", size)), 3),
                     *[_number(None if kib is None else kib / 1024) for kib in rss]])
    print_table(rows)


class _Targets:
    """Each is (what, target as text, measured as text, met: True, False or None if unknown)."""

    def __init__(self, bench):
        self._bench = bench
        self.rows = []

    def _value(self, name, figure, via, op, clients, size):
        return _figure(self._bench.median(name, via, op, clients, size), figure)

    def _add(self, what, target, value, met, shown=_times):
        self.rows.append((what, target, shown(value), None if value is None else met(value)))

    def cheap_calls(self, size):
        for via, clients in (("raw", 1), ("raw", 8), ("libvirt", 8)):
            cpu = [self._value(name, "daemon_cpu_us", via, "lookup-uuid", clients, size)
                   for name in ("libvirtd", "virtcrypt")]
            self._add(f"daemon CPU of a cheap call, {via}, {clients} client{'s' * (clients > 1)}, "
                      "times less", ">= 5", _ratio(*cpu), lambda value: value >= 5)
        for op in ("lookup-uuid", "lookup-usage", "get-value"):
            rates = [self._value(name, "per_second", "libvirt", op, 8, size)
                     for name in ("virtcrypt", "libvirtd")]
            self._add(f"calls/s through libvirt.so, 8 clients, {op}", ">= 2.5", _ratio(*rates),
                      lambda value: value >= 2.5)
        floor = _figure(self._bench.median("floor", "floor", "lookup-uuid", 1, 1), "p50_us")
        ours = self._value("virtcrypt", "p50_us", "raw", "lookup-uuid", 1, size)
        self._add("p50 of one client, over the floor", "<= 1.3", _ratio(ours, floor),
                  lambda value: value <= 1.3)

    def flat_lookups(self, small, large):
        for op in ("lookup-uuid", "lookup-usage"):
            for clients in (1, 8):
                p50 = [self._value("virtcrypt", "p50_us", "raw", op, clients, size)
                       for size in (large, small)]
                self._add(f"{op} at {large} over {small} secrets, p50, {clients} "
                          f"client{'s' * (clients > 1)}", "<= 1.5", _ratio(*p50),
                          lambda value: value <= 1.5)

    def lookup_by_usage(self, size):
        rates = [self._value(name, "per_second", "raw", "lookup-usage", 8, size)
                 for name in ("virtcrypt", "libvirtd")]
        self._add(f"lookup by usage at {size}, calls/s, 8 clients", ">= 7", _ratio(*rates),
                  lambda value: value >= 7)

    def starts(self, middle, large):
        starts = [self._bench.start_s(name, middle) for name in ("libvirtd", "virtcrypt")]
        self._add(f"start at {middle}, times faster", ">= 10", _ratio(*starts),
                  lambda value: value >= 10)
        self._add(f"start at {large}, seconds", "< 5", self._bench.start_s("virtcrypt", large),
                  lambda value: value < 5, lambda value: _number(value, 2))
        kib = self._bench.rss_kib.get(("virtcrypt", large))
        self._add(f"memory at {large}, MiB", "< 100", None if kib is None else kib / 1024,
                  lambda value: value < 100, _number)

    def set_value(self, size):
        for clients in (1, 8):
            rates = [self._value(name, "per_second", "raw", "set-value", clients, size)
                     for name in ("virtcrypt", "libvirtd")]
            self._add(f"set-value at {size}, calls/s, {clients} client{'s' * (clients > 1)}",
                      ">= 1", _ratio(*rates), lambda value: value >= 1)


def print_report(bench):
    """Prints all; returns the number of targets missed (those not measured are no misses)."""
    for size in bench.sizes:
        print(f"\n{size} secrets")
        _calls_table(bench, size)
    print("\nStart (warm) and memory")
    _start_table(bench)
    targets = _Targets(bench)
    small, middle, large = min(bench.sizes), 10000, 100000
    targets.cheap_calls(small)
    targets.flat_lookups(small, large)
    targets.lookup_by_usage(middle)
    targets.starts(middle, large)
    targets.set_value(1000)
    print("\nTargets")
    verdicts = {True: "met", False: "MISSED", None: "not measured"}
    print_table([["target", "wanted", "measured", ""]] +
           [[what, target, shown, verdicts[met]] for what, target, shown, met in targets.rows])
    print("  (One client and its daemon share one processor; eight have all.)")
    for note in bench.notes:
        print(f"  {note}")
    return sum(1 for row in targets.rows if row[3] is False)
