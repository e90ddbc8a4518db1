"""A million segments for one store: the index's rows, and a file for each.

The base backup is a real one, moved into the past, so that all segments lie between it and now.
The index is that of src/catalog/catalog.c, table `piece`. Times are UTC microseconds.
"""
import datetime
import glob
import json
import os
import shutil
import sqlite3

from cluster import give_away

SEGMENT_BYTES = 16 * 1024 * 1024
SECONDS_EACH = 10
SOUND = 1


def name_of(timeline, number):
    per_id = 0x1_0000_0000 // SEGMENT_BYTES
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def text_of(stamp):
    return f"{stamp:%Y-%m-%dT%H:%M:%S.%fZ}"


def age(manifest_path, by):
    """Move a backup into the past; the segment in which its log begins, and when it is whole."""
    with open(manifest_path, encoding="utf-8") as file:
        manifest = json.load(file)
    for key in ("started", "finished", "consistent_at"):
        then = datetime.datetime.fromisoformat(manifest[key].replace("Z", "+00:00")) - by
        manifest[key] = text_of(then)
    with open(manifest_path, "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    high, low = manifest["content"]["start_lsn"].split("/")
    return ((int(high, 16) << 32) + int(low, 16)) // SEGMENT_BYTES, then


def rows(first, count, began):
    began_us = int(began.timestamp() * 1e6)
    for number in range(first, first + count):
        at = began_us + (number - first) * SECONDS_EACH * 1_000_000
        yield ("postgresql", 1, number, SOUND, 0, 4_000_000, at, (number + 1) * SEGMENT_BYTES,
               100, at, at + (SECONDS_EACH - 1) * 1_000_000, None)


def fill(store, state, count, rebuild):
    """Make `count` segments behind the store's only base; a time near the end of them.

    `rebuild` runs a command on the store, which makes the catalog anew.
    """
    manifest = glob.glob(os.path.join(store, "postgresql", "base", "*", "manifest.json"))[0]
    first, began = age(manifest, datetime.timedelta(seconds=count * SECONDS_EACH + 3600))
    shutil.rmtree(state, ignore_errors=True)
    rebuild()
    folder = os.path.join(store, "postgresql", "wal")
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o700)
        give_away(folder)
    at = os.open(folder, os.O_RDONLY)
    for number in range(first, first + count):
        path = name_of(1, number) + ".zst"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=at))
    os.close(at)
    catalog = glob.glob(os.path.join(state, "**", "catalog.db"), recursive=True)[0]
    with sqlite3.connect(catalog) as database:
        database.execute("DELETE FROM piece")
        database.executemany("INSERT INTO piece (source, branch, number, state, is_stored_plain,"
                             " stored_bytes, modified, end_position, commits, first_time,"
                             " last_time, message) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                             rows(first, count, began))
    database.close()
    for path in glob.glob(catalog + "*"):
        give_away(path)
    return text_of(began + datetime.timedelta(seconds=count * SECONDS_EACH * 3 // 4))
