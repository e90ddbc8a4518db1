"""The table of targets, for the terminal and for docs/performance.md."""
import os
import platform
import time

from measure import ratios

REMARKS = "## Remarks"
NO_REMARKS = "None yet. What stands below this heading is kept when the table is written anew.\n"


class Row:
    """One promise: what is measured against what, and the most (or the least) it may be."""

    def __init__(self, what, against, target, unit="", is_least=False):
        self.what = what
        self.against = against
        self.target = target  # None: shown, not promised
        self.unit = unit
        self.is_least = is_least
        self.value = None     # None: not measured
        self.detail = ""
        self.absolute = ""

    def number(self, value):
        return f"{value:.0f}{self.unit}" if self.unit else f"{value:.2f}"

    def target_text(self):
        sign = ">=" if self.is_least else "<="
        return "-" if self.target is None else f"{sign} {self.target}{self.unit}"

    def value_text(self):
        return "-" if self.value is None else self.number(self.value)

    def verdict(self):
        if self.value is None:
            return "not measured"
        if self.target is None:
            return ""
        # Judged as it is shown, so that nobody reads 1.50 <= 1.5 as missed.
        shown = float(self.number(self.value).removesuffix(self.unit))
        is_reached = shown >= self.target if self.is_least else shown <= self.target
        return "reached" if is_reached else "NOT REACHED"


def absent_lines(contestants):
    """Why something was not measured, a line for each."""
    return [f"not measured: {each.key}: {' '.join(each.absent.split())}" for each in contestants
            if each.absent is not None]


def span(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def ratio_row(what, against, target, ours, peer):
    row = Row(what, against, target)
    if not ours.samples or not peer.samples:
        return row
    row.value, low, high = ratios(ours, peer)
    row.detail = f"{low:.2f} .. {high:.2f}"
    row.absolute = f"{span(ours.median())} / {span(peer.median())}"
    return row


def speed_row(what, against, target, ours, peer):
    """How many times as fast ours is: the peer's time by ours, so more is better."""
    row = Row(what, against, target, is_least=True)
    if not ours.samples or not peer.samples:
        return row
    row.value, low, high = ratios(peer, ours)
    row.detail = f"{low:.2f} .. {high:.2f}"
    row.absolute = f"{span(peer.median())} / {span(ours.median())}"
    return row


def memory_row(what, target, contestants):
    row = Row("peak memory of a worker", what, target, " MiB")
    measured = [each for each in contestants if each.samples]
    if not measured:
        return row
    row.value = max(each.peak_mib() for each in measured)
    row.detail = ", ".join(f"{each.shown} {each.peak_mib():.0f}" for each in measured)
    return row


def time_row(what, target, contestant):
    row = Row(what, "", target, " ms")
    if not contestant.samples:
        return row
    times = contestant.seconds()
    row.value = contestant.median() * 1000
    row.detail = f"{min(times) * 1000:.0f} .. {max(times) * 1000:.0f}"
    return row


COLUMNS = ["what", "against", "target", "measured", "", "single rounds", "medians"]


def cells(row):
    return [row.what, row.against, row.target_text(), row.value_text(), row.verdict(),
            row.detail, row.absolute]


def plain_table(rows):
    lines = [COLUMNS] + [cells(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in lines)


def markdown_table(lines):
    def escape(text):
        return text.replace("|", "\\|").replace("\n", " ")
    head, *rest = lines
    return "\n".join(["| " + " | ".join(map(escape, line)) + " |" for line in
                      [head, ["---"] * len(head), *rest]])


def first_value(path, key):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return "unknown"


def machine():
    memory_kib = int(first_value("/proc/meminfo", "MemTotal").split()[0])
    return [f"{os.cpu_count()} cores, {first_value('/proc/cpuinfo', 'model name')}",
            f"{memory_kib / 1024 / 1024:.1f} GiB of memory",
            f"Linux {platform.release()} {platform.machine()}"]


def timed_table(contestants, figures):
    lines = [["timed", "median", "min .. max", "CPU", "peak memory"]]
    for each in contestants:
        if not each.samples:
            lines.append([each.key, "not measured", "", "", ""])
            continue
        times = each.seconds()
        lines.append([each.key, f"{each.median():.3f} s",
                      f"{min(times):.3f} .. {max(times):.3f} s", f"{each.cpu_median():.2f} s",
                      f"{each.peak_mib():.0f} MiB"])
    for each in figures:
        lines.append([each.key, span(each.median()), f"{span(min(each.samples))} .. "
                      f"{span(max(each.samples))}", "", ""] if each.samples else
                     [each.key, "not measured", "", "", ""])
    return lines


def remarks_of(path):
    """What people wrote under the table that is about to be replaced."""
    try:
        with open(path, encoding="utf-8") as file:
            _, found, text = file.read().partition(REMARKS)
    except FileNotFoundError:
        return NO_REMARKS
    return text.strip() + "\n" if found else NO_REMARKS


def document(rows, contestants, figures, facts, notes, commands, remarks):
    missed = [row for row in rows if row.verdict() == "NOT REACHED"]
    absent = [row for row in rows if row.verdict() == "not measured"]
    parts = [
        "# Performance",
        "Written by `make bench` (`tools/bench --write`); do not edit above the "
        "remarks. Each ratio is the median of ours by the median of the "
        "other's, both from this one run in which they took turns; 'single rounds' are the "
        "smallest and the largest ratio of one round. All read a cluster that is in memory and "
        "write to the same file system, with the fsync that each does by default.",
        f"{len(missed)} of {len(rows)} rows miss their target, {len(absent)} could not be "
        "measured.",
        markdown_table([COLUMNS] + [cells(row) for row in rows]),
        "\n".join(f"- {line}" for line in absent_lines(contestants)),
        "## The machine and the data",
        "\n".join(f"- {fact}" for fact in facts),
        "## How to read it",
        "\n".join(f"- {note}" for note in notes),
        "## Everything that was timed",
        markdown_table(timed_table(contestants, figures)),
        "## The commands",
        "`make bench` repeats all of it on another machine. These are the single commands; `$DIR` "
        "is the bench's own folder, `$SOCKET` the folder of its server's socket with `%2F` for "
        "each `/`:",
        "```\n" + "\n".join(commands) + "\n```",
        REMARKS,
        remarks.strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def today():
    return time.strftime("%Y-%m-%d", time.gmtime())
