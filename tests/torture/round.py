#!/usr/bin/python3
"""One round: a plant, a bad day, the primary's disk destroyed, and our command alone restores.

Prints one JSON object. See tools/torture, which runs many.
"""
import argparse
import datetime
import glob
import json
import os
import random
import subprocess
import sys
import threading
import time
import traceback

import families
from ledger import Broken, check, check_prefix, check_rows, lsn, lsn_text, rows_of
from plant import Plant, Template, copy, peer

PITR_CHANCE = 0.25
BY_HAND_CHANCE = 0.1
SETTLE_FIRST_CHANCE = 0.3
NEW_STATE_CHANCE = 0.15
LIVE_BASE_CHANCE = 0.12
HEARTBEAT_CHANCE = 0.3


class Day:
    """A round's plant, its chance, what happened, and what must hold in the end."""

    def __init__(self, seed, family, plant_args):
        self.seed = seed
        self.chance = random.Random(seed)
        self.family = family or families.ORDER[seed % len(families.ORDER)]
        self.wants_old_timeline = False
        self.read_errors = 0
        self.is_set_back = False
        self.gap_us = 0
        self.from_us = 0  # recovery to a time goes on from here
        self.end = None
        self.events = []
        self.began = time.monotonic()
        self.result = {"seed": seed, "family": self.family, "acked": 0, "unknown": 0, "extra": 0,
                       "lost": 0, "events": self.events, "restores": 0}
        self.plant = Plant(*plant_args, writers_count=self.chance.randint(2, 4),
                           needs_standby=self.family in families.NEEDS_STANDBY,
                           **families.SETTINGS.get(self.family, {}))
        if self.chance.random() < HEARTBEAT_CHANCE:
            self.plant.machine.write_config(self.plant.wire.port, heartbeat="1s")

    def note(self, text):
        self.events.append(f"{time.monotonic() - self.began:.2f} {text}")

    # --- the day ------------------------------------------------------------

    def play(self):
        self.plant.begin()
        self.note("writers go on")
        if self.chance.random() < LIVE_BASE_CHANCE:
            self.note("a base backup under load")
            self.plant.machine.ok("run", "pg-base", is_shimmed=True)
        families.FAMILIES[self.family](self)
        if self.end is None:
            families.go_on(self)
            self.end = self.chance.choice(families.ENDS)
        self.end(self)
        self.plant.stop_writers()
        self.plant.destroy_servers()

    # --- the proof ----------------------------------------------------------

    def promised(self):
        """Acknowledged rows that the newest timeline must have; a failover may orphan others."""
        kept = []
        for line in self.plant.ledger.acked():
            later = [rows for epoch, rows in self.plant.inherited.items() if epoch > line.epoch]
            if all((line.writer, line.seq) in rows and
                   rows[line.writer, line.seq].attempt == line.attempt for rows in later):
                kept.append(line)
        return kept

    def prove(self):
        machine = self.plant.machine
        lines = self.plant.ledger.lines()
        promised = self.promised()
        self.result["acked"] = sum(line.state == "a" for line in lines)
        self.result["unknown"] = sum(line.state == "u" for line in lines)
        self.result["orphaned"] = self.result["acked"] - len(promised)
        self.result["bytes"] = sum(entry.stat().st_size for entry in os.scandir(machine.wal))
        copy(machine.log, os.path.join(self.plant.work, "receiver.log.end"))
        if self.chance.random() < NEW_STATE_CHANCE:
            self.note("the catalog is lost too")
            os.rename(machine.state, machine.state + ".lost")
        if self.chance.random() < SETTLE_FIRST_CHANCE:
            self.note("settle")
            self.settle()

        for _ in range(self.read_errors):
            self.check_read_error(promised)
        server = self.restore("--at", "latest")
        full = rows_of(server)
        try:
            check_rows(full, promised, "restored to latest")
            self.check_flush(server)
        finally:
            self.plant.put_away(server)
        acked = {(line.writer, line.seq, line.attempt) for line in promised}
        self.result["extra"] = sum((*key, row.attempt) not in acked for key, row in full.items())
        if self.wants_old_timeline:
            self.check_old_timeline()
        if self.is_set_back:
            self.check_set_aside()
        if self.gap_us:
            self.check_gap()
        if self.chance.random() < PITR_CHANCE:
            self.check_time(full, lines)
        if self.chance.random() < BY_HAND_CHANCE:
            self.check_by_hand(promised)
        self.check_store()

    def restore(self, *target, **kwargs):
        self.note("restore " + " ".join(target))
        self.result["restores"] += 1
        return self.plant.restore(*target, **kwargs)

    def check_read_error(self, promised):
        """A restore that cannot read the log fails, or has all of it: never less and exit 0."""
        disk = self.plant.machine.disk
        # Behind the segment of the base, so that the server would come up without it.
        names = sorted(name for name in os.listdir(self.plant.machine.wal)
                       if name[:24].isalnum() and name.endswith((".zst", ".partial")))
        name = self.chance.choice(names[2:] or names[-1:])
        count = self.chance.choice([1, 1 << 40, 1 << 40])
        disk.reads = "/wal/" + name
        self.note(f"EIO on reading {name}, {count} times")
        # From the moment on at which the server is about to ask: the plan has read it all before.
        ready = os.path.join(self.plant.next_data(), "recovery.signal")  # until recovery has ended
        is_over = threading.Event()

        def wait_and_fail():
            while not os.path.exists(ready) and not is_over.is_set():
                time.sleep(0.0005)
            disk.fail("read", "EIO", 1, count)
        waiting = threading.Thread(target=wait_and_fail)
        waiting.start()
        try:
            server = self.restore("--at", "latest", is_shimmed=True)
        except Broken as broken:
            # Refusing is right, as long as it is said, and the copy still waits for its log: a
            # server that heard "there is no more" has ended its recovery, with what it had.
            check(broken.name == "exit-restore", broken.name, str(broken))
            check(os.path.exists(ready), "ended-early", "the copy ended its recovery before the "
                  f"log that could not be read: {broken}")
            return
        finally:
            is_over.set()
            waiting.join()
            self.result["read_errors"] = self.result.get("read_errors", 0) + disk.failed("read")
            disk.heal()
        try:
            check_rows(rows_of(server), promised, "restored from a log that could not be read")
            self.check_flush(server)
        finally:
            self.plant.put_away(server)

    def check_flush(self, server):
        """The recovery's end is behind all that was reported as flushed on its timeline."""
        flushed = self.plant.machine.highest_flush()
        check(flushed, "harness", "the receiver logged no flush position")
        branch, end = recovery_end(server)
        wanted = flushed.get(branch, 0)
        self.result["flush"], self.result["end"] = lsn_text(wanted), lsn_text(end)
        if end >= wanted:
            return
        # A flush may end inside a record, which recovery cannot use.
        records = records_between(server, self.plant, branch, end, wanted)
        check(not records, "flush-position", f"recovery ended at {lsn_text(end)} of timeline "
              f"{branch}, {lsn_text(wanted)} was reported as flushed: {records[:2]}")

    def check_old_timeline(self):
        """What a failover orphaned is still there, on the timeline where it was acknowledged."""
        promised = [line for line in self.plant.ledger.acked() if line.epoch == 1]
        server = self.restore("--at", "latest", "--timeline", "1")
        try:
            check_rows(rows_of(server), promised, "restored to timeline 1")
            self.check_flush(server)
        finally:
            self.plant.put_away(server)
        if self.result["orphaned"] > 0:
            check("orphan" in self.plant.machine.log_text(), "orphaned-reported",
                  "the receiver did not say that its tail is orphaned")

    def check_set_aside(self):
        """What the server lost and we had acknowledged is kept beside what it wrote instead."""
        machine = self.plant.machine
        promised = [line for line in self.plant.ledger.acked() if line.epoch == 1]
        kept = glob.glob(os.path.join(machine.wal, "*.partial.diverged-*"))
        check(kept, "evidence", "the tail that differs was not kept")
        self.note("recovery by hand from what was set aside")
        server = self.plant.restore_by_hand(tail=min(kept))
        try:
            check_rows(rows_of(server), promised, "recovered from the tail that was set aside")
        finally:
            self.plant.put_away(server)

    def check_gap(self):
        """No recovery into the gap."""
        code, out, err = self.plant.machine.run(
            "restore", "postgresql", "--at", stamp(self.gap_us), "--to",
            os.path.join(self.plant.work, "gap", "data"))
        check(code == 5 and "hint:" in err, "gap-refused",
              f"a recovery into the gap ended with {code}: {out}{err}")

    def check_time(self, full, lines):
        """Recovery to the second of a commit gives what was committed until then, no more."""
        stamps = sorted(row.commit_us for row in full.values() if row.commit_us > self.from_us)
        if len(stamps) < 3:
            return
        at_us = self.chance.choice(stamps[:-2])
        text = stamp(at_us)
        server = self.restore("--at", text)
        try:
            check_prefix(full, rows_of(server), at_us, lines if self.plant.epoch == 1 else [],
                         f"recovery to {text}")
        finally:
            self.plant.put_away(server)

    def check_by_hand(self, promised):
        self.note("recovery by hand: tar, zstd, cp")
        server = self.plant.restore_by_hand()
        try:
            check_rows(rows_of(server), promised, "recovered by hand")
        finally:
            self.plant.put_away(server)

    def settle(self):
        """All of the log is sound, but for the segment that a gap broke off."""
        code, out, err = self.plant.machine.run("settle", "postgresql")
        check(code in (0, 3) or (code == 6 and self.gap_us and "1 segments" in err), "settle",
              f"exit {code}: {out}{err}")

    def check_store(self):
        machine = self.plant.machine
        self.settle()
        window = machine.json("window", "postgresql", may_warn=True)
        check(window.get("spans"), "window", f"there is no window: {window}")
        check(bool(window.get("gaps")) == bool(self.gap_us), "window",
              f"gaps that are not, or none where one is: {window.get('gaps')}")
        left = [path for path in glob.glob(os.path.join(machine.wal, ".tmp-*"))]
        check(len(left) < 3, "litter", f"temporary files are left: {left}")


def stamp(us):
    at = datetime.datetime.fromtimestamp(us // 1000000, datetime.timezone.utc)
    return at.strftime("%Y-%m-%d %H:%M:%S") + f".{us % 1000000:06}+00"


def recovery_end(server):
    """(timeline, LSN) where the recovery of a restored server ended, from its history file."""
    newest = max(glob.glob(os.path.join(server.data, "pg_wal", "????????.history")))
    with open(newest, encoding="ascii") as file:
        branch, end = [line.split()[:2] for line in file if line.strip()][-1]
    return int(branch), lsn(end)


def records_between(server, plant, branch, start, end):
    """Whole records of a timeline from `start` on that end before `end`."""
    folder = os.path.join(plant.work, "dump")
    copy(plant.machine.wal, folder)
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith(".zst"):
            subprocess.run(["zstd", "-dqf", path, "-o", path[:-4]], check=True)
        elif name.endswith(".partial") and not os.path.exists(path[:-8]):
            os.rename(path, path[:-8])
    dump = subprocess.run([os.path.join(server.bin, "pg_waldump"), "-p", folder, "-t", str(branch),
                           "-s", lsn_text(start), "-e", lsn_text(end)], check=False,
                          capture_output=True, text=True)
    return [line for line in dump.stdout.split("\n") if line.startswith("rmgr:")]


def play(args):
    tools = os.path.join(os.path.dirname(os.path.realpath(args.binary)), "tests", "torture")
    template = Template(args.template, args.binary, tools)
    began = time.monotonic()
    day = Day(args.seed, args.family, (args.work, template, args.binary, tools))
    result = day.result
    try:
        day.plant.machine.mutant = args.mutant
        day.play()
        day.prove()
    except Broken as broken:
        result["broken"], result["text"] = broken.name, str(broken)
    except Exception:  # pylint: disable=broad-except
        result["broken"], result["text"] = "harness", traceback.format_exc()
    finally:
        day.plant.end()
    result["restarts"] = day.plant.restarts
    result["seconds"] = round(time.monotonic() - began, 2)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--template", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--family", choices=sorted(families.FAMILIES))
    parser.add_argument("--mutant")
    parser.add_argument("--make-template", action="store_true")
    args = parser.parse_args()
    if args.make_template:
        tools = os.path.join(os.path.dirname(os.path.realpath(args.binary)), "tests", "torture")
        Template(args.template, args.binary, tools).make()
        return 0
    result = play(args)
    json.dump(result, sys.stdout)
    print()
    return 1 if "broken" in result else 0


if __name__ == "__main__":
    sys.exit(main())
