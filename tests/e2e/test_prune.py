"""Retention: what must go goes, and what must never go stays, whatever the policy says."""
import datetime
import os
import random
import time

import pytest

import plant


@pytest.fixture
def past(bs, configure, pg, store):
    """past(keep, days): a config with this policy, and backups of so many days ago."""
    def make(keep, days, levels=None, job="pg-daily"):
        path = configure(databases=f"[{plant.EMPTY_DATABASE}]",
                         jobs={job: f"source: postgresql, do: dump, keep: {keep}"})
        if not store.manifests():
            bs.ok("run", job, "-c", path)
        model = store.backups()[-1]
        return path, {age: store.craft(model, age, level=(levels or {}).get(age)) for age in days}
    return make


def left(store):
    return {backup.id for backup in store.backups()}


def prune(bs, path, *options, expect=0):
    return bs.run("prune", *options, "-c", path, expect=expect)


def test_by_age(bs, store, past):
    path, ids = past("30d", [1, 5, 29, 31, 45, 400])
    shown = prune(bs, path)
    assert len(left(store)) == 7, "without --confirm nothing is removed"
    assert "would remove" in shown.out and "--confirm" in shown.out
    prune(bs, path, "-n", "--confirm")
    assert len(left(store)) == 7
    result = prune(bs, path, "--confirm")
    assert left(store) >= {ids[1], ids[5], ids[29]}
    assert left(store).isdisjoint({ids[31], ids[45], ids[400]})
    for age in (31, 45, 400):
        assert ids[age] in result.out
    store.assert_sound()
    assert {entry["id"] for entry in bs.json("list", "-c", path)["backups"]} == left(store)


def test_the_last_good_one_stays(bs, store, past):
    """The user's find -mtime +30 would have removed everything after a month of failures."""
    path, ids = past("30d", [40, 60])
    newest = store.newest()
    for name in [newest.path, *newest.files]:
        os.unlink(name)
    result = prune(bs, path, "--confirm")
    assert left(store) == {ids[40]}
    assert "last good" in result.out


def test_the_last_good_one_is_not_a_damaged_one(bs, store, past):
    path, ids = past("30d", [40, 60])
    newest = store.newest()
    for name in [newest.path, *newest.files]:
        os.unlink(name)
    damaged = [backup for backup in store.backups() if backup.id == ids[40]][0]
    with open(damaged.file(".dump"), "ab") as file:
        file.write(b"x")
    bs.run("verify", ids[40], "--level", "0", "-c", path, expect=6)
    prune(bs, path, "--confirm")
    assert ids[60] in left(store)


def test_the_only_proved_one_stays(bs, store, past):
    path, ids = past("30d", [40, 60, 80], levels={60: 3})
    result = prune(bs, path, "--confirm")
    assert ids[60] in left(store) and left(store).isdisjoint({ids[40], ids[80]})
    assert "prove" in result.out


def test_a_pinned_one_stays(bs, store, past):
    path, ids = past("30d", [40, 60])
    bs.ok("pin", ids[60], "--reason", "vor dem Umbau", "-c", path)
    prune(bs, path, "--confirm")
    assert ids[60] in left(store) and ids[40] not in left(store)
    bs.ok("unpin", ids[60], "-c", path)
    prune(bs, path, "--confirm")
    assert ids[60] not in left(store)
    result = bs.run("unpin", ids[60], "-c", path, expect=1)
    assert ids[60] in result.err


def test_one_that_is_being_read_stays(bs, store, past):
    """A verification is on its way with it."""
    path, ids = past("30d", [40, 60])
    running = bs.start("verify", ids[60], "--level", "3", "-c", path)
    deadline = time.monotonic() + 5
    while running.is_running() and time.monotonic() < deadline:
        if bs.scratch_left():
            break
        time.sleep(0.005)
    assert running.is_running(), "too quick to be caught"
    result = prune(bs, path, "--confirm")
    assert ids[60] in left(store), result
    assert running.wait().code == 0


@pytest.mark.parametrize("keep, expected", [
    ("{ last: 3 }", {0, 1, 2}),
    ("{ daily: 4 }", {0, 1, 2, 3}),
    ("{ last: 1, weekly: 3 }", None),
    ("{ last: 1, monthly: 3 }", None),
    ("{ last: 1, yearly: 2 }", None),
    ("unlimited", set(range(0, 9)) | {20, 40, 100, 300, 500}),
])
def test_by_counts(bs, store, past, keep, expected):
    days = list(range(1, 9)) + [20, 40, 100, 300, 500]
    path, ids = past(keep, days)
    today = (left(store) - set(ids.values())).pop()
    ages = {backup_id: age for age, backup_id in ids.items()} | {today: 0}
    prune(bs, path, "--confirm")
    kept = {ages[backup_id] for backup_id in left(store)}
    if expected is None:
        now = datetime.datetime.now(datetime.timezone.utc).astimezone(
            __import__("zoneinfo").ZoneInfo("Europe/Berlin"))
        key = {"weekly": lambda d: d.isocalendar()[:2], "monthly": lambda d: (d.year, d.month),
               "yearly": lambda d: (d.year,)}[keep.split()[3].rstrip(":")]
        newest = {}
        for age in sorted(ages.values()):
            newest.setdefault(key(now - datetime.timedelta(days=age)), age)
        count = int(keep.split()[4])
        expected = {0} | set(list(newest.values())[:count])
    assert kept == expected


def test_jobs_are_judged_one_by_one(bs, store, past, configure):
    """A good dump of one job is no reason to remove the last of another."""
    past("30d", [40])
    model = store.newest()
    other = store.craft(model, 50, job="weekly")
    path = configure(databases=f"[{plant.EMPTY_DATABASE}]", jobs={
        "pg-daily": "source: postgresql, do: dump, keep: 30d",
        "weekly": "source: postgresql, do: dump, keep: 30d"})
    prune(bs, path, "--confirm")
    assert other in left(store)
    gone = store.craft(model, 55, job="nobody-knows")
    prune(bs, path, "--confirm")
    assert gone in left(store), "a job that is in no config has no policy"


def test_a_clock_set_back_removes_nothing(bs, store, past):
    """The newest backups lie in the future: they are neither old nor unknown."""
    path, ids = past("30d", [-3, -400, 2])
    before = left(store)
    prune(bs, path, "--confirm")
    assert left(store) == before
    bs.ok("run", "pg-daily", "-c", path)
    assert len(left(store)) == len(before) + 1
    bs.ok("status", "-c", path)


def test_a_clock_set_far_ahead_leaves_the_last(bs, store, past):
    """All backups look ancient: one good one remains per job all the same."""
    path, _ = past("1h", [100, 200, 300])
    newest = store.newest()
    for name in [newest.path, *newest.files]:
        os.unlink(name)
    prune(bs, path, "--confirm")
    assert len(left(store)) == 1


def test_a_run_prunes_after_it_has_read_the_new_one_back(bs, store, past):
    path, ids = past("30d", [20, 40, 50])
    bs.ok("run", "pg-daily", "-c", path)
    assert ids[20] in left(store) and left(store).isdisjoint({ids[40], ids[50]})
    assert store.proofs(store.newest().id), "the new one was proved before"


def test_a_failed_run_prunes_nothing(bs, store, past, configure):
    path, ids = past("30d", [20, 40])
    broken = configure(user="nobody_here", databases=f"[{plant.EMPTY_DATABASE}]",
                       jobs={"pg-daily": "source: postgresql, do: dump, keep: 30d"})
    bs.run("run", "pg-daily", "-c", broken, expect=1)
    assert set(ids.values()) <= left(store)



def test_prune_of_base_backups(bs, configure, base_store, store):
    path = configure(jobs={"pg-base": "source: postgresql, do: base, keep: { last: 1 }"})
    bs.ok("run", "pg-base", "-c", path)
    first = store.backup()
    bs.ok("run", "pg-base", "-c", path)
    prune(bs, path, "--confirm")
    assert len(store.backups()) == 1 and store.backup().id != first.id
    assert not os.path.exists(first.folder), "not even an empty folder stays"
    store.assert_sound()


@pytest.mark.parametrize("moment", range(6))
def test_a_killed_prune_is_finished_by_the_next(bs, store, past, moment):
    path, ids = past("30d", list(range(31, 61)))
    total = len(left(store))
    running = bs.start("prune", "--confirm", "-c", path)
    chance = random.Random(moment)
    stop_at = total - 1 - chance.randrange(25)
    deadline = time.monotonic() + 20
    while running.is_running() and time.monotonic() < deadline:
        if len(store.manifests()) <= stop_at:
            break
    running.kill()
    # Whatever looks whole is whole.
    for backup in store.backups():
        for entry in backup.manifest["files"]:
            assert os.path.getsize(os.path.join(backup.folder, entry["name"])) == entry["bytes"]
    prune(bs, path, "--confirm")
    assert left(store).isdisjoint(set(ids.values()))
    store.assert_sound()
    assert [name for name in store.files() if name.startswith(".blackstart/prune/")] == []


def test_pin_survives_a_lost_catalog(bs, store, past):
    path, ids = past("30d", [40, 60])
    bs.ok("pin", ids[60], "--reason", "Abnahme 'ä'", "-c", path)
    bs.ok("catalog", "rebuild", "-c", path)
    entry = [e for e in bs.json("list", "-c", path)["backups"] if e["id"] == ids[60]][0]
    assert (entry["pinned"], entry["pin_reason"]) == (True, "Abnahme 'ä'")
    prune(bs, path, "--confirm")
    assert ids[60] in left(store)


def test_without_a_config(bs, store, past):
    """The store knows its jobs; only how long must be said."""
    _, ids = past("30d", [1, 10, 40, 50])
    assert "--keep" in bs.run("prune", "--store", store, expect=2).err
    before = left(store)
    shown = bs.json("prune", "--store", store, "--keep", "30d")
    assert left(store) == before and shown["dry_run"]
    gone = {verdict["id"] for verdict in shown["verdicts"] if not verdict["kept"]}
    assert gone == {ids[40], ids[50]}
    bs.ok("prune", "pg-daily", "--store", store, "--keep", "30d", "--confirm")
    assert left(store) == before - gone
    store.assert_sound()
