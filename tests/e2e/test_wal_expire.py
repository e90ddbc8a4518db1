"""Retention of the write-ahead log: what the window and the kept bases need stays, the rest goes."""
import datetime
import json
import os
import shutil
import time

import pytest

from archived import SEGMENT, Archive
from test_wal_archive import log  # noqa: F401

NOW = datetime.datetime.now(datetime.timezone.utc)


class Kept:
    """A store with bases of several ages on one log; each base begins with a segment of it."""

    def __init__(self, bs, configure, log, store, jobs):
        self.bs, self.log, self.store = bs, log, str(store)
        self.config = configure(store_path=self.store, jobs=jobs)
        self.wal = Archive(self.store, bs)
        self.model = os.path.join(self.store, "model")
        bases = os.path.join(self.store, "postgresql/base")
        [folder] = os.listdir(bases)
        shutil.move(os.path.join(bases, folder), self.model)
        records = os.path.join(self.store, ".blackstart/source/postgresql")
        [record] = os.listdir(records)
        os.rename(os.path.join(records, record), os.path.join(records, log.identity + ".json"))
        self.ids = {}
        with open(os.path.join(self.model, "manifest.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)

    def number(self, index):
        name = self.log.names[index]
        return int(name[8:16], 16) * 4096 + int(name[16:], 16)

    def base(self, days_ago, index, has_wal=True):
        """A base whose log begins in segment `index` and ends in the one behind it."""
        at = NOW - datetime.timedelta(days=days_ago)
        manifest = json.loads(json.dumps(self.manifest))
        for key in ("started", "finished", "consistent_at"):
            manifest[key] = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        manifest["id"] = f"pg-base-{at:%Y%m%d-%H%M%S}-{index:04x}"
        manifest["job"] = "pg-base"
        manifest["source"]["identity"] = self.log.identity
        first = self.number(index) * SEGMENT
        manifest["content"].update(
            system_identifier=self.log.identity, wal_segment_size=SEGMENT, wal_included=has_wal,
            start_lsn=f"0/{first + 40:X}", end_lsn=f"0/{first + SEGMENT + 256:X}")
        folder = os.path.join(self.store, "postgresql/base", f"{at:%Y-%m-%dT%H%M%SZ}")
        shutil.copytree(self.model, folder)
        with open(os.path.join(folder, "manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        self.ids[days_ago] = manifest["id"]

    def settle(self):
        shutil.rmtree(self.model, ignore_errors=True)
        self.bs.ok("settle", "postgresql", "-c", self.config)

    def prune(self, *options, expect=0):
        return self.bs.json("prune", "-c", self.config, *options, expect=expect)

    def left(self):
        """Indexes of the segments that are there."""
        return [self.log.names.index(name[:24]) for name in self.wal.files() if len(name) in (24, 28)]

    def bases(self):
        listed = {entry["id"] for entry in self.bs.json("list", "-c", self.config)["backups"]}
        return {age for age, backup_id in self.ids.items() if backup_id in listed}


@pytest.fixture
def kept(bs, configure, log, base_store):
    def make(base_keep="7d", wal_keep="7d"):
        return Kept(bs, configure, log, base_store, {
            "pg-base": f'source: postgresql, do: base, at: "01:00", keep: {base_keep}',
            "pg-wal": f"source: postgresql, do: wal, continuous: true, keep: {wal_keep}"})
    return make


def test_the_log_reaches_back_to_the_base_before_the_window(kept, log):
    store = kept()
    store.wal.take(log, form=".partial")
    for age, index in ((20, 0), (9, 2), (1, 4)):
        store.base(age, index)
    store.settle()
    told = store.prune()["logs"]
    assert told[0]["segments"] == 2 and told[0]["stored_bytes"] > 0
    whole = list(range(len(log.names) - 1))
    assert store.left() == whole, "a dry run removes nothing"
    assert store.prune("--confirm")["logs"] == told
    assert store.bases() == {9, 1}
    assert store.left() == whole[2:]
    assert store.prune("--confirm")["logs"][0]["segments"] == 0


def test_a_window_longer_than_the_bases_keep(kept, log):
    """The base that the window starts from stays, although its own job would let it go."""
    store = kept(base_keep="2d", wal_keep="7d")
    store.wal.take(log)
    for age, index in ((20, 0), (9, 2), (5, 3), (1, 4)):
        store.base(age, index)
    store.settle()
    store.prune("--confirm")
    assert {9, 1} <= store.bases() and 20 not in store.bases()
    assert store.left()[0] == 2


def test_an_older_base_keeps_only_what_makes_it_consistent(kept, log):
    store = kept(base_keep="30d", wal_keep="3d")
    store.wal.take(log)
    store.base(20, 0, has_wal=False)
    store.base(15, 2, has_wal=True)
    store.base(4, 4)
    store.settle()
    store.prune("--confirm")
    assert store.bases() == {20, 15, 4}
    assert store.left() == [0, 1] + list(range(4, len(log.names)))


def test_a_damaged_base_begins_no_window(kept, log):
    store = kept()
    store.wal.take(log)
    for age, index in ((20, 0), (9, 1), (8, 4), (1, 4)):
        store.base(age, index)
    store.settle()
    store.bs.ok("pin", store.ids[8], "-c", store.config)
    bad = os.path.join(store.store, ".blackstart/proof", store.ids[8])
    os.makedirs(bad)
    with open(os.path.join(bad, f"bad-{NOW:%Y-%m-%dT%H%M%SZ}.json"), "w", encoding="utf-8") as file:
        json.dump({"format": 1, "backup": store.ids[8], "result": "damaged", "level": -1,
                   "at": f"{NOW:%Y-%m-%dT%H:%M:%S.%f}Z", "message": "flipped"}, file)
    store.prune("--confirm")
    assert store.bases() == {9, 8, 1}
    assert store.left()[0] == 1


def test_without_a_base_nothing_goes(kept, log):
    store = kept(wal_keep="1d")
    store.wal.take(log)
    store.settle()
    assert store.prune("--confirm")["logs"][0]["segments"] == 0
    assert len(store.left()) == len(log.names)


def test_an_unreadable_base_holds_everything(kept, log):
    store = kept()
    store.wal.take(log)
    for age, index in ((20, 0), (9, 2), (1, 4)):
        store.base(age, index)
    store.settle()
    [folder] = [name for name in os.listdir(os.path.join(store.store, "postgresql/base"))
                if name.startswith(f"{NOW - datetime.timedelta(days=20):%Y-%m-%d}")]
    with open(os.path.join(store.store, "postgresql/base", folder, "manifest.json"), "w",
              encoding="utf-8") as file:
        file.write("{ half")
    result = store.bs.run("prune", "-c", store.config, "--confirm", expect=1)
    assert "none is removed" in result.err
    assert len(store.left()) == len(log.names)


def test_histories_tails_and_damage_stay(kept, log):
    store = kept()
    store.wal.take(log)
    store.wal.change(log.names[0], 500000, b"\xff\x00\xff\x00\x55")
    history = os.path.join(store.wal.path, "00000002.history")
    with open(history, "w", encoding="ascii") as file:
        file.write("1\t0/1000000\tno recovery target specified\n")
    for age, index in ((20, 0), (9, 3), (1, 4)):
        store.base(age, index)
    shutil.rmtree(store.model)
    store.bs.run("settle", "postgresql", "-c", store.config, expect=6)
    store.prune("--confirm")
    assert os.path.exists(history)
    # The record that is broken may be so in the next segment as well, which then stays, too.
    assert store.left()[0] == 0 and store.left()[-1] == len(log.names) - 1


def test_killed_anywhere_it_leaves_no_hole(kept, log, bs):
    store = kept()
    store.wal.take(log)
    for age, index in ((20, 0), (9, 4), (1, 4)):
        store.base(age, index)
    store.settle()
    delay = 0.01
    while store.left()[0] < 4:
        running = bs.start("prune", "-c", store.config, "--confirm")
        time.sleep(delay)
        running.kill()
        delay += 0.002
        left = store.left()
        assert left == list(range(left[0], len(log.names))), left
        assert left[0] <= 4
    # At most the row of the last one is left over, and finished.
    assert store.prune("--confirm")["logs"][0]["segments"] <= 1
    assert store.prune("--confirm")["logs"][0]["segments"] == 0
    assert bs.json("settle", "postgresql", "-c", store.config)["indexed"] == 0
