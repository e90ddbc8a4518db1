"""kill -9 at any moment, then an ordinary run: nothing half-made counts, and all remains are swept."""
import os
import random
import shutil
import signal
import time

import pytest

import plant
from test_failures import backup_args


@pytest.fixture(scope="module")
def durations():
    """How long each thing takes undisturbed, so that the moments spread over all of it."""
    return {}


def moments(count, seed):
    chance = random.Random(seed)
    return [round((n + chance.random()) / count, 3) for n in range(count)]


def assert_only_whole_ones(bs, store, before):
    """What `list` knows after the kill is whole, and no more than was there before plus one."""
    listed = bs.listed(store)
    assert len(listed) - before in (0, 1)
    for entry in listed:
        assert entry["proved"], "half a dump is not taken for a file of the user's"
    for backup in store.backups():
        for entry in backup.manifest["files"]:
            assert os.path.getsize(os.path.join(backup.folder, entry["name"])) == entry["bytes"]


@pytest.mark.parametrize("moment", moments(10, "backup"))
@pytest.mark.parametrize("kind", ["dump", "base"])
def test_kill_a_backup(bs, pg, store, password_file, durations, kind, moment):
    args = backup_args(pg, store, password_file, kind, plant.DATABASE if kind == "dump" else "")
    if kind not in durations:
        bs.ok(*args)
        durations[kind] = bs.ok(*args).seconds
    before = len(store.backups())
    running = bs.start(*args)
    time.sleep(durations[kind] * moment)
    left = running.kill()
    assert left == [], "its children ended by themselves"
    assert_only_whole_ones(bs, store, before)
    result = bs.ok(*args)
    store.assert_sound()
    runs = bs.json("catalog", "export", "--store", store)["runs"]
    assert "running" not in {run["state"] for run in runs}
    bs.ok("verify", "latest", "--level", "1", "--store", store)
    bs.assert_clean()
    assert result.seconds < 60


def test_what_a_killed_run_had_finished_is_not_taken_for_a_file_of_the_users(
        bs, pg, store, password_file):
    """Between a dump's own name and its manifest's lie only a few syncs: killed just there."""
    bs.ok(*backup_args(pg, store, password_file, "dump", plant.DATABASE))
    folder = store.backups()[0].folder
    users, ours = "backup-2025-11-24.dump", "backup-2025-11-25.dump"
    dump = next(name for name in os.listdir(folder) if name.endswith(".dump"))
    shutil.copy(os.path.join(folder, dump), os.path.join(folder, users))
    mark = os.path.join(folder, ".tmp-pg-dump-20251125-020000-7f3a-backup-2025-11-25.run")
    open(mark, "x", encoding="ascii").close()
    time.sleep(0.02)  # a file system's clock ticks
    shutil.copy(os.path.join(folder, dump), os.path.join(folder, ours))
    assert unproven(bs, store) == [users]
    os.unlink(mark)
    assert sorted(unproven(bs, store)) == [users, ours]


def unproven(bs, store):
    return [os.path.basename(entry["id"]) for entry in bs.listed(store) if not entry["proved"]]


def test_a_killed_run_is_recorded_as_lost(bs, pg, store, password_file):
    args = backup_args(pg, store, password_file, "dump")
    running = bs.start(*args, "--rate", "1MiB")
    while running.is_running() and not store.temporary_parts():
        time.sleep(0.005)
    running.kill()
    result = bs.ok("list", "--store", store)
    assert "lost" in result.err
    runs = bs.json("catalog", "export", "--store", store)["runs"]
    assert [run["state"] for run in runs] == ["lost"]
    assert "lost" in bs.run("status", "--store", store, expect=(0, 1, 3)).text


def test_reading_does_not_sweep_what_a_live_run_writes(bs, pg, store, password_file, work,
                                                       bin_dirs):
    """Another process lists, verifies, and even backs up another source meanwhile."""
    bs.ok(*backup_args(pg, store, password_file, "dump", plant.EMPTY_DATABASE))
    running = bs.start(*backup_args(pg, store, password_file, "base", ""), "--rate", "20MiB")
    while running.is_running() and not store.temporary_parts():
        time.sleep(0.005)
    bs.ok("list", "--store", store)
    bs.ok("verify", "latest", "--level", "1", "--kind", "dump", "--store", store)
    bs.ok(*backup_args(pg, store, password_file, "dump", plant.EMPTY_DATABASE))
    bs.ok("catalog", "rebuild", "--store", store)
    assert running.is_running(), "too quick to prove anything"
    assert running.wait().code == 0
    store.assert_sound()
    assert len(store.backups()) == 3


@pytest.mark.parametrize("moment", moments(5, "verify"))
@pytest.mark.parametrize("kind", ["dump", "base"])
def test_kill_a_verification(bs, model_stores, work, durations, kind, moment):
    """Scratch folder and scratch server of the dead run are gone after the next one."""
    store = model_stores(kind).copy(os.path.join(work, "store"))
    args = ("verify", "latest", "--level", "3", "--store", store)
    key = kind + "-verify"
    if key not in durations:
        durations[key] = bs.ok(*args).seconds
    before = store.snapshot()
    running = bs.start(*args)
    time.sleep(durations[key] * moment)
    running.kill()
    bs.ok(*args)
    bs.assert_clean()
    after = store.snapshot()
    assert {name: after.get(name) for name in before} == before


def test_a_stopped_verification_cleans_up(bs, dump_store):
    import signal
    running = bs.start("verify", "latest", "--level", "3", "--store", dump_store)
    while running.is_running() and not bs.scratch_left():
        time.sleep(0.005)
    time.sleep(0.2)
    assert running.is_running()
    running.signal(signal.SIGINT)
    assert running.wait(30).code == 130
    bs.assert_clean()
    assert bs.listed(dump_store)[0]["damaged"] is False


@pytest.mark.parametrize("moment", moments(4, "restore"))
def test_kill_a_restore_of_a_dump(bs, dump_store, pg, password_file, durations, moment, truth):
    """Half of a database never stands where somebody would take it for a whole one."""
    args = ("restore", "postgresql", "--to", pg.url(), "--password-file", password_file, "--store",
            dump_store)
    if "restore" not in durations:
        durations["restore"] = bs.ok(*args, "--as", "ganz").seconds
        pg.drop("ganz")
    before = pg.databases()
    running = bs.start(*args, "--as", "halb")
    time.sleep(durations["restore"] * moment)
    was_running = running.is_running()
    running.kill()
    try:
        if was_running and "halb" in pg.databases() - before:
            # What is there is no candidate for promotion, from its first moment on.
            result = bs.run("promote", "halb", "--confirm", plant.DATABASE, "--to",
                            pg.url("postgres"), "--password-file", password_file, "-n", "--store",
                            dump_store)
            if result.code == 0:
                assert plant.fingerprint(pg, "halb") == truth
            else:
                assert result.code == 5, result
                assert "not complete" in result.err, result
    finally:
        for name in pg.databases() - before:
            pg.drop(name)
    bs.ok(*args, "--as", "wieder")
    try:
        assert plant.fingerprint(pg, "wieder") == truth
    finally:
        for name in pg.databases() - before:
            pg.drop(name)


@pytest.mark.parametrize("moment", moments(4, "adopt"))
def test_kill_while_a_catalog_is_rebuilt(bs, dump_store, moment):
    model = dump_store.backup()
    for age in range(1, 40):
        dump_store.craft(model, age)
    bs.ok("list", "--store", dump_store)
    running = bs.start("catalog", "rebuild", "--store", dump_store)
    time.sleep(0.1 * moment)
    running.kill()
    assert len(bs.listed(dump_store)) == 40


@pytest.mark.parametrize("step", range(1, 7))
def test_killed_at_each_new_name(bs, pg, store, password_file, step):
    """A file that has its name and no manifest is no backup, and the next run takes it away."""
    args = backup_args(pg, store, password_file, "dump", plant.DATABASE)
    bs.ok(*args)
    calls = "rename,renameat,renameat2,linkat"
    bs.run(*args, expect=(0, -signal.SIGKILL), prefix=(
        "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
        "-e", f"inject={calls}:signal=KILL:when={step}"))
    bs.ok(*args)
    store.assert_sound()
