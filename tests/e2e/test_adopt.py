"""The user's own /backups, written by cron for years: read, proved, counted, and never touched."""
import datetime
import os
import re
import shutil
import subprocess
import time

import pytest

import plant
from postgres import peer


def cron_dump(pg, path, database=plant.DATABASE):
    """What the user's CronJob does."""
    with open(path, "wb") as file:
        subprocess.run([os.path.join(peer("client"), "pg_dump"), "-h", pg.root, "-p", str(pg.port),
                        "-U", "postgres", "-Fc", "-Z1", database], check=True, stdout=file)


@pytest.fixture
def cron_tree(pg, store):
    """Three days of cron's dumps, and things that are none."""
    daily = os.path.join(store.path, "postgresql/daily")
    os.makedirs(daily)
    os.makedirs(os.path.join(store.path, "redis"))
    for day in ("2025-11-23", "2025-11-24", "2025-11-25"):
        # An archive knows the second it was made in.
        time.sleep(1 - time.time() % 1)
        path = os.path.join(daily, f"backup-{day}.dump")
        cron_dump(pg, path, plant.DATABASE if day.endswith("25") else plant.EMPTY_DATABASE)
        at = datetime.datetime.fromisoformat(day + "T02:00:00+00:00").timestamp()
        os.utime(path, (at, at))
    for name in ("postgresql/daily/notes.txt", "postgresql/daily/backup-gestern.dump",
                 "postgresql/daily/backup-2025-11-25.dump.old", "redis/dump-2025-11-25-12-00.rdb",
                 "postgresql/readme"):
        with open(os.path.join(store.path, name), "w", encoding="utf-8") as file:
            file.write("mine\n")
    return store


@pytest.fixture
def cron_store(cron_tree, model_stores):
    """The same where blackstart has made backups before."""
    os.mkdir(os.path.join(cron_tree.path, ".blackstart"), 0o700)
    shutil.copy2(os.path.join(model_stores("dump").path, ".blackstart/store.json"),
                 os.path.join(cron_tree.path, ".blackstart/store.json"))
    return cron_tree


def mine(store):
    """The user's own files, as they are now."""
    return {name: seen for name, seen in store.snapshot().items()
            if not name.startswith(".blackstart/") and not name.endswith("manifest.json")}


def test_a_tree_that_blackstart_never_saw(bs, cron_tree, configure):
    """The first thing its owner types: nothing but their own files is there yet."""
    before = mine(cron_tree)
    assert [entry["proved"] for entry in bs.listed(cron_tree)] == [False] * 3
    bs.ok("verify", "postgresql/daily/backup-2025-11-25.dump", "--level", "1", "--store",
          cron_tree)
    assert mine(cron_tree) == before


def test_a_tree_that_blackstart_never_saw_with_a_config(bs, cron_tree, configure):
    path = configure()
    before = mine(cron_tree)
    assert len(bs.json("list", "-c", path)["backups"]) == 3
    bs.ok("verify", "--all", "--level", "1", "-c", path)
    bs.run("status", "-c", path, expect=(0, 1, 3))
    assert mine(cron_tree) == before


def test_crons_dumps_are_listed_as_unproven(bs, cron_store):
    before = mine(cron_store)
    listed = bs.listed(cron_store)
    assert [entry["id"] for entry in listed] == [
        f"postgresql/daily/backup-2025-11-{day}.dump" for day in (25, 24, 23)]
    assert [entry["proved"] for entry in listed] == [False] * 3
    assert "unproven" in bs.ok("list", "--store", cron_store).out
    assert mine(cron_store) == before
    assert cron_store.manifests() == []


def test_verify_climbs_them_and_writes_the_manifest_beside(bs, pg, cron_store):
    before = mine(cron_store)
    name = "postgresql/daily/backup-2025-11-25.dump"
    # Nobody counted the rows when it was made: level 3 has nothing to compare with.
    result = bs.run("verify", name, "--level", "3", "--store", cron_store, expect=3)
    assert "row counts" in result.err
    assert mine(cron_store) == before, "nothing renamed, nothing changed"
    assert cron_store.manifests() == ["postgresql/daily/backup-2025-11-25.manifest.json"]
    backup = cron_store.backup()
    assert backup.names == ["backup-2025-11-25.dump"]
    assert backup.manifest["kind"] == "dump"
    made = datetime.datetime.fromisoformat(backup.manifest["consistent_at"][:-1] + "+00:00")
    age = datetime.datetime.now(datetime.timezone.utc) - made
    assert age.total_seconds() < 300, "the archive itself says when it was made"
    assert backup.id in result.text
    entry = bs.listed(cron_store)[0]
    assert (entry["id"], entry["proved"]) == (backup.id, True)
    assert entry["level"] == 2
    bs.assert_clean()


def test_all_of_them_at_once(bs, cron_store):
    before = mine(cron_store)
    bs.ok("verify", "--all", "--level", "1", "--store", cron_store)
    assert mine(cron_store) == before
    assert len(cron_store.manifests()) == 3
    assert {entry["level"] for entry in bs.listed(cron_store)} == {1}


@pytest.mark.parametrize("how", ["truncated", "garbage", "empty", "plain SQL"])
def test_one_that_is_broken_is_found_out(bs, cron_store, how):
    """pg_dump was killed, or the disk was full: cron never noticed."""
    name = "postgresql/daily/backup-2025-11-25.dump"
    path = os.path.join(cron_store.path, name)
    if how == "truncated":
        os.truncate(path, os.path.getsize(path) * 2 // 3)
    else:
        with open(path, "wb") as file:
            file.write({"garbage": os.urandom(5000), "empty": b"",
                        "plain SQL": b"--\n-- PostgreSQL database dump\n--\n"}[how])
    before = mine(cron_store)
    result = bs.run("verify", name, "--level", "1", "--store", cron_store, expect=6)
    assert "backup-2025-11-25" in result.err or "postgresql-dump-" in result.err
    assert mine(cron_store) == before
    listed = bs.listed(cron_store)
    found = [entry for entry in listed if "backup-2025-11-25" in entry["manifest"]]
    assert len(found) == 1 and (found[0]["damaged"] or not found[0]["proved"]), listed
    # It is not what a restore takes.
    bs.run("restore", "postgresql", "--store", cron_store, expect=(1, 5))


def test_an_adopted_one_is_restored(bs, pg, cron_store, password_file, truth):
    bs.ok("verify", "postgresql/daily/backup-2025-11-25.dump", "--level", "1", "--store",
          cron_store)
    backup = cron_store.backup()
    bs.run("restore", backup.id, "--to", pg.url(), "--password-file", password_file, "--as",
           "adoptiert", "--store", cron_store, expect=(0, 3))
    try:
        assert plant.fingerprint(pg, "adoptiert") == truth
    finally:
        pg.drop("adoptiert")


def test_an_unproven_one_is_not_restored_blindly(bs, pg, cron_store, password_file):
    result = bs.run("restore", "postgresql/daily/backup-2025-11-25.dump", "--to", pg.url(),
                    "--password-file", password_file, "--store", cron_store, expect=5)
    assert "verify" in result.err


def test_our_dumps_join_theirs(bs, dump, cron_store):
    """A first run into the user's tree: its name, beside theirs, over none of them."""
    before = mine(cron_store)
    dump()
    after = mine(cron_store)
    assert {name: after[name] for name in before} == before
    assert len(bs.listed(cron_store)) == 4


def test_todays_name_taken_by_cron(bs, dump, pg, cron_store):
    day = datetime.date.today().isoformat()
    path = os.path.join(cron_store.path, f"postgresql/daily/backup-{day}.dump")
    cron_dump(pg, path, plant.EMPTY_DATABASE)
    before = mine(cron_store)
    dump()
    after = mine(cron_store)
    assert {name: after[name] for name in before} == before
    new = set(after) - set(before)
    assert all(re.search(rf"backup-{day}-\d{{6}}\.", name) for name in new), new


def test_retention_counts_them_only_when_proved(bs, configure, cron_store, pg):
    path = configure(jobs={"pg-daily": "source: postgresql, do: dump, keep: { last: 1 }"})
    before = mine(cron_store)
    bs.ok("prune", "--confirm", "-c", path)
    assert mine(cron_store) == before, "unproven files are the user's"
    bs.ok("verify", "--all", "--level", "1", "-c", path)
    bs.ok("prune", "--confirm", "-c", path)
    left = {name for name in mine(cron_store) if name.endswith(".dump")}
    assert "postgresql/daily/backup-2025-11-25.dump" in left
    assert "postgresql/daily/backup-2025-11-23.dump" not in left
    assert "postgresql/daily/backup-gestern.dump" in left
    assert {"postgresql/daily/notes.txt", "redis/dump-2025-11-25-12-00.rdb"} <= set(
        mine(cron_store))
