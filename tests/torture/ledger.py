"""What the clients were promised, and whether a restored cluster keeps it."""
import collections
import os
import re

Line = collections.namedtuple("Line", "state writer epoch seq attempt hash before_us after_us")
Row = collections.namedtuple("Row", "attempt hash is_whole commit_us")

ROWS = """SELECT writer, seq, attempt, hash,
                 hash = md5(writer || ':' || seq || ':' || attempt || ':' || pad),
                 (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint
            FROM torture"""


class Broken(Exception):
    """A promise that was not kept; `name` is that of the assertion."""

    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name = name


def check(is_kept, name, text):
    if not is_kept:
        raise Broken(name, text)


def lsn(text):
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def lsn_text(value):
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:08X}"


class Ledger:
    """The files that the writers keep in one folder: ledger-N."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, writer):
        return os.path.join(self.folder, f"ledger-{writer}")

    def lines(self):
        found = []
        for name in sorted(os.listdir(self.folder)):
            match = re.fullmatch(r"ledger-(\d+)", name)
            if not match:
                continue
            with open(os.path.join(self.folder, name), encoding="ascii") as file:
                for text in file.read().split("\n")[:-1]:
                    state, epoch, seq, attempt, digest, before_us, after_us = text.split()
                    found.append(Line(state, int(match[1]), int(epoch), int(seq), int(attempt),
                                      digest, int(before_us), int(after_us)))
        return found

    def acked(self):
        return [line for line in self.lines() if line.state == "a"]

    def size(self):
        """Grows whenever a client gets an answer."""
        return sum(os.path.getsize(os.path.join(self.folder, name))
                   for name in os.listdir(self.folder) if name.startswith("ledger-"))


def rows_of(server):
    """All rows of a server: (writer, seq) -> Row."""
    return {(row[0], row[1]): Row(*row[2:]) for row in server.sql(ROWS)}


def is_there(rows, line):
    row = rows.get((line.writer, line.seq))
    return row is not None and (row.attempt, row.hash) == (line.attempt, line.hash)


def check_rows(rows, promised, what):
    """Every promised row is there as it was sent, none is half, and no writer has a hole."""
    lost = [line for line in promised if not is_there(rows, line)]
    check(not lost, "acked-rows", f"{what}: {len(lost)} of {len(promised)} acknowledged rows are "
          f"lost, the first: {lost[:3]}")
    half = [key for key, row in rows.items() if not row.is_whole]
    check(not half, "row-hash", f"{what}: {len(half)} rows are not what was sent: {half[:3]}")
    highest, count = collections.Counter(), collections.Counter()
    for writer, seq in rows:
        highest[writer] = max(highest[writer], seq)
        count[writer] += 1
    holes = {writer: (count[writer], highest[writer]) for writer in count
             if count[writer] != highest[writer]}
    check(not holes, "holes", f"{what}: rows are missing between others: {holes} (there, highest)")


def check_prefix(full, rows, at_us, lines, what):
    """`rows`, recovered to `at_us`, are those of `full` that were committed until then."""
    wanted = {key for key, row in full.items() if row.commit_us <= at_us}
    check(set(rows) == wanted, "pitr-prefix",
          f"{what}: {len(set(rows) - wanted)} rows too many, {len(wanted - set(rows))} too few")
    # The clients' own clock, which does not trust the server's stamps.
    early = [line for line in lines if line.state != "u" and line.after_us < at_us
             and not is_there(rows, line)]
    late = [line for line in lines if line.before_us > at_us and is_there(rows, line)]
    check(not early and not late, "pitr-clock", f"{what}: acknowledged before and not there: "
          f"{early[:2]}; sent after and there: {late[:2]}")
