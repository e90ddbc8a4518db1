"""Years of history for one store: runs in the catalog, and manifests of backups long past.

The catalog is made by the program itself (any command on the store); rows of the table `run` are
then inserted as src/catalog/catalog.c declares it. Times are UTC microseconds.
"""
import datetime
import glob
import json
import os
import sqlite3

from cluster import give_away

DAY_US = 24 * 3600 * 1_000_000
JOBS = [f"plant{number}-{kind}" for number in range(4) for kind in ("dump", "base")]
STATES = ["ok"] * 17 + ["warning", "failed", "missed"]
VERBS = ["backup"] * 6 + ["verify"] * 3 + ["prune"]


def run_rows(count, newest_us):
    """Runs of several jobs, evenly over ten years, as they would have come one after the other."""
    step = 3650 * DAY_US // count
    for number in range(count):
        job = JOBS[number % len(JOBS)]
        state = STATES[number * 7 % len(STATES)]
        started = newest_us - (count - number) * step
        stamp = datetime.datetime.fromtimestamp(started / 1e6, datetime.timezone.utc)
        identifier = f"{job}-{stamp:%Y%m%d-%H%M%S}-{number % 65536:04x}"
        verb = VERBS[number * 3 % len(VERBS)]
        is_good = state in ("ok", "warning")
        yield (identifier, job, job.partition("-")[0], verb, state, started, started + 40_000_000,
               identifier if is_good and verb == "backup" else None,
               5_000_000_000 if is_good else 0, 700_000_000 if is_good else 0,
               None if state == "ok" else "cannot connect: the server is starting up",
               None, f"log/{identifier}.log", f"lock/run-{identifier}.lock")


def fill_catalog(path, count):
    newest_us = int(datetime.datetime.now().timestamp() * 1e6)
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO run (id, job, source, verb, state, started, finished, backup_id,"
            " source_bytes, stored_bytes, message, hint, log_path, lock_path)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", run_rows(count, newest_us))
    database.close()
    for name in glob.glob(path + "*"):
        give_away(name)


def add_manifests(store, count):
    """Backups of the past: the manifest of a real one under other names; status reads no more."""
    model = sorted(glob.glob(os.path.join(store, "*", "base", "*", "manifest.json")))[0]
    base = os.path.dirname(os.path.dirname(model))
    with open(model, encoding="utf-8") as file:
        manifest = json.load(file)
    first = datetime.datetime(2020, 1, 1, 1, tzinfo=datetime.timezone.utc)
    for number in range(count):
        stamp = first + datetime.timedelta(hours=36 * number)
        folder = os.path.join(base, f"{stamp:%Y-%m-%dT%H%M%SZ}")
        manifest["id"] = f"{manifest['job']}-{stamp:%Y%m%d-%H%M%S}-{number:04x}"
        for key in ("started", "finished", "consistent_at"):
            manifest[key] = f"{stamp:%Y-%m-%dT%H:%M:%S.%fZ}"
        os.mkdir(folder, 0o700)
        path = os.path.join(folder, "manifest.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        os.chmod(path, 0o600)
        give_away(folder)
        give_away(path)
