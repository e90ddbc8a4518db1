"""The ladder of proof: what each level reaches, and that damage anywhere is found and named."""
import json
import os
import random
import re
import signal

import pytest

import plant
from conftest import make_password_file
from daemon import wait_for
from postgres import children
from store import flip_bit


@pytest.fixture
def model(request, model_stores, work):
    """model(kind): a store with one backup of that kind."""
    return lambda kind: model_stores(kind).copy(os.path.join(work, "store"))


@pytest.mark.parametrize("kind", ["dump", "base"])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_each_level_is_reached_recorded_and_shown(bs, model, kind, level):
    store = model(kind)
    backup = store.backup()
    before = {name: store.snapshot()[name] for name in store.data_files()}
    result = bs.ok("verify", "latest", "--level", level, "--store", store)
    assert backup.id in result.text
    proofs = store.proofs(backup.id)
    assert len(proofs) == 1
    assert re.fullmatch(rf"L{level}-\d{{4}}-\d\d-\d\dT\d{{6}}Z\.json", proofs[0])
    with open(os.path.join(store.path, ".blackstart/proof", backup.id, proofs[0]),
              encoding="utf-8") as file:
        proof = json.load(file)
    assert (proof["result"], proof["level"], proof["backup"]) == ("proved", level, backup.id)
    assert f"L{level}" in bs.ok("list", "--store", store).out
    assert f"L{level}" in bs.ok("show", backup.id, "--store", store).out
    assert bs.listed(store)[0]["level"] == level
    assert {name: store.snapshot()[name] for name in store.data_files()} == before
    bs.assert_clean()


def test_the_highest_level_stays(bs, model):
    store = model("dump")
    bs.ok("verify", "latest", "--level", "3", "--store", store)
    bs.ok("verify", "latest", "--level", "0", "--store", store)
    assert bs.listed(store)[0]["level"] == 3


@pytest.mark.parametrize("kind", ["dump", "base"])
def test_level_3_counts_and_says_so(bs, model, kind, pg):
    store = model(kind)
    text = bs.ok("verify", "latest", "--level", "3", "--store", store).text
    if kind == "dump":
        rows = sum(plant.counts(pg, plant.DATABASE).values())
        digits = re.sub(r"(?<=\d)[  ,.'](?=\d)", "", text)
        assert str(rows) in digits, text


@pytest.mark.parametrize("kind", ["dump", "base"])
@pytest.mark.parametrize("query, is_good", [
    ("SELECT count(*) FROM devices", True),
    ("SELECT count(*) FROM devices WHERE id < 0", False),
    ("SELECT name FROM users WHERE false", False),
    ("SELECT count(*) FROM no_such_table", False),
])
def test_smoke_queries(bs, configure, pg, store, model_stores, work, kind, query, is_good):
    job = {"pg-daily" if kind == "dump" else "pg-base":
           f"source: postgresql, do: {kind}, verify: {{ level: 4, smoke: "
           f"[{{ database: webscada, sql: \"{query}\" }}] }}"}
    path = configure(jobs=job)
    result = bs.run("run", *job, "-c", path, expect=0 if is_good else (1, 3, 6))
    backup = store.backup()
    reached = [int(name[1]) for name in store.proofs(backup.id) if name.startswith("L")]
    if is_good:
        assert max(reached) == 4
    else:
        assert result.code == 6 or "not proved" in result.err, result
        assert not any(level >= 4 for level in reached)
    bs.assert_clean()


@pytest.mark.parametrize("verify, levels", [
    ("", [-1, -1]),                       # nothing is said: nothing is done
    ("verify: { level: 0 }", [0, 0]),     # after each backup
    ("verify: { level: auto }", [1, 1]),
    ("verify: { every: 7d }", [1, -1]),   # the second comes too soon
    ("verify: { smoke: ['SELECT count(*) FROM devices'] }", [4, 4]),
])
def test_what_a_job_says_of_its_proofs(bs, configure, verify, levels):
    path = configure(jobs={"pg-daily": f"source: postgresql, do: dump{', ' if verify else ''}{verify}"})
    for _ in levels:
        bs.ok("run", "pg-daily", "-c", path)
    listed = bs.json("list", "-c", path)["backups"]
    reached = [-1 if row["level"] is None else row["level"] for row in listed]
    assert reached == levels[::-1]


def test_smoke_queries_on_the_command_line(bs, model):
    store = model("dump")
    bs.ok("verify", "latest", "--level", "4", "--store", store,
          "--smoke", "SELECT count(*) FROM devices", "--smoke", "SELECT max(ts) FROM telemetry")
    assert bs.listed(store)[0]["level"] == 4
    bs.run("verify", "latest", "--level", "4", "--store", store,
           "--smoke", "SELECT 0", expect=(1, 6))


def test_smoke_queries_cannot_reach_the_live_server(bs, model, pg):
    """They run in the scratch server: what they write is gone with it."""
    store = model("dump")
    bs.run("verify", "latest", "--level", "4", "--store", store,
           "--smoke", "WITH d AS (DELETE FROM users RETURNING 1) SELECT count(*) FROM d")
    assert pg.value("SELECT count(*) FROM users", plant.DATABASE) == 20


# --- damage ----------------------------------------------------------------------------------

def assert_damage_is_told(bs, store, backup, name, offset, result):
    """Exit 6, the file, a range with the byte in it, and a record that keeps others from it."""
    assert name in result.err, result
    if offset is not None:
        found = re.search(r"byte (\d+) and byte (\d+)", result.err)
        assert found, result
        assert int(found[1]) <= offset <= int(found[2]), result
        assert int(found[2]) - int(found[1]) < 4 << 20
    assert any(proof.startswith("bad-") for proof in store.proofs(backup.id))
    assert bs.listed(store)[0]["damaged"] is True
    assert "damaged" in bs.ok("list", "--store", store).out.lower()


def every_file(kind):
    return {"dump": [".dump", ".globals.sql"],
            "base": ["base.tar.zst", "backup_manifest", "settings.json"]}[kind]


@pytest.mark.parametrize("where", ["first", "last", "random 1", "random 2", "random 3"])
@pytest.mark.parametrize("kind, ending", [
    (kind, ending) for kind in ("dump", "base") for ending in every_file(kind)])
def test_one_flipped_bit_is_found(bs, model, kind, ending, where):
    store = model(kind)
    backup = store.backup()
    path = backup.file(ending)
    size = os.path.getsize(path)
    chance = random.Random(f"{kind} {ending} {where}")
    offset = {"first": 0, "last": size - 1}.get(where, chance.randrange(size))
    flip_bit(path, offset, chance.randrange(8))
    result = bs.run("verify", backup.id, "--level", chance.choice([0, 1]), "--store", store,
                    expect=6)
    assert_damage_is_told(bs, store, backup, os.path.basename(path), offset, result)


@pytest.mark.parametrize("kind, ending", [
    (kind, ending) for kind in ("dump", "base") for ending in every_file(kind)])
@pytest.mark.parametrize("how", ["truncated", "empty", "longer", "deleted"])
def test_a_file_that_is_not_whole_is_found(bs, model, kind, ending, how):
    store = model(kind)
    backup = store.backup()
    path = backup.file(ending)
    if how == "deleted":
        os.unlink(path)
    elif how == "longer":
        with open(path, "ab") as file:
            file.write(b"\0")
    else:
        os.truncate(path, 0 if how == "empty" else os.path.getsize(path) - 1)
    level = 1 if how in ("truncated", "deleted") else 0
    result = bs.run("verify", backup.id, "--level", level, "--store", store, expect=6)
    assert_damage_is_told(bs, store, backup, os.path.basename(path), None, result)


@pytest.mark.parametrize("kind", ["dump", "base"])
def test_a_damaged_backup_is_not_restored(bs, model, pg, password_file, work, kind):
    store = model(kind)
    backup = store.backup()
    path = backup.file(".dump" if kind == "dump" else "base.tar.zst")
    flip_bit(path, os.path.getsize(path) // 2)
    before = pg.databases()
    if kind == "dump":
        result = bs.run("restore", backup.id, "--to", pg.url(), "--password-file", password_file,
                        "--as", "never_there", "--store", store, expect=(1, 6))
        assert pg.databases() == before, "nothing half-restored stays"
    else:
        data = os.path.join(work, "restored")
        result = bs.run("restore", backup.id, "--to", data, "--store", store, expect=(1, 6))
        assert not os.path.exists(os.path.join(data, "global/pg_control"))
    assert os.path.basename(path) in result.err


def test_a_dump_that_would_restore_to_something_else(bs, model, pg, password_file):
    """One digit of a constraint in the archive's own text: pg_restore sees nothing wrong in it."""
    store = model("dump")
    backup = store.backup()
    path = backup.file(".dump")
    with open(path, "rb") as file:
        at = file.read().index(b"severity < 5") + len("severity < ")
    flip_bit(path, at, 3)
    before = pg.databases()
    result = bs.run("restore", backup.id, "--to", pg.url(), "--password-file", password_file,
                    "--as", "never_there", "--store", store, expect=6)
    assert os.path.basename(path) in result.err
    assert pg.databases() == before


def test_a_swapped_file_is_found(bs, dump_store, base_store):
    """Sound in itself, of the same length, but not the one that was backed up."""
    backup = dump_store.newest("dump")
    path = backup.file(".globals.sql")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("LOGIN", "login", 1))
    bs.run("verify", backup.id, "--level", "3", "--store", dump_store, expect=6)


def test_level_3_finds_rows_that_are_missing(bs, model):
    """The dump is whole by its hashes; only its count of rows differs from the manifest's."""
    store = model("dump")
    backup = store.backup()

    def change(manifest):
        for row in manifest["content"]["databases"][0]["tables"]:
            if row[1] == "alarms":
                row[2] += 1
    backup.rewrite(change)
    bs.ok("verify", backup.id, "--level", "2", "--store", store)
    result = bs.run("verify", backup.id, "--level", "3", "--store", store, expect=6)
    assert "alarms" in result.err and "2001" in result.err.replace(" ", ""), result
    assert bs.listed(store)[0]["damaged"] is True


# --- the manifest and the catalog --------------------------------------------------------------

@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', "\0" * 100, "x" * 5000,
                                  '{"format": 1, "id": "../../etc/passwd"}'])
def test_a_manifest_that_cannot_be_read_is_shown(bs, model, text):
    store = model("dump")
    backup = store.backup()
    with open(backup.path, "w", encoding="utf-8") as file:
        file.write(text)
    result = bs.run("list", "--store", store, expect=(0, 3))
    assert os.path.basename(backup.path) in result.text, "not passed over in silence"
    bs.run("verify", "--all", "--level", "0", "--store", store, expect=(1, 3, 6))
    bs.run("verify", "latest", "--store", store, expect=(1, 6))
    assert os.path.exists(backup.file(".dump")) if backup.names else True


def test_a_changed_hash_in_the_manifest_is_a_mismatch(bs, model):
    store = model("dump")
    backup = store.backup()
    backup.rewrite(lambda manifest: manifest["files"][0].update(sha256="0" * 64))
    bs.run("verify", backup.id, "--level", "0", "--store", store, expect=6)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", ""])
def test_a_manifest_cannot_reach_outside_its_folder(bs, model, name):
    store = model("dump")
    backup = store.backup()
    backup.rewrite(lambda manifest: manifest["files"][0].update(name=name))
    bs.run("verify", "--all", "--level", "0", "--store", store, expect=(1, 3, 6))


def test_without_its_manifest_a_backup_is_unproven(bs, model):
    """A dump without manifest is a file of the user's, listed as such."""
    store = model("dump")
    os.unlink(store.backup().path)
    listed = bs.listed(store)
    assert [entry["proved"] for entry in listed] == [False]


@pytest.mark.parametrize("how", ["deleted", "garbage", "truncated", "empty", "another database"])
def test_the_catalog_is_only_an_index(bs, model, how, work):
    store = model("dump")
    bs.ok("verify", "latest", "--level", "1", "--store", store)
    bs.ok("pin", store.backup().id, "--reason", "vor dem Umbau", "--store", store)
    before = bs.listed(store)
    found = [os.path.join(parent, name) for parent, _, names in os.walk(bs.state)
             for name in names if name.startswith("catalog.db")]
    assert found
    for path in found:
        if how == "deleted" or not path.endswith(".db"):
            os.unlink(path)
        elif how == "garbage":
            with open(path, "wb") as file:
                file.write(os.urandom(20000))
        elif how == "truncated":
            os.truncate(path, 5000)
        elif how == "empty":
            os.truncate(path, 0)
        else:
            import sqlite3
            os.unlink(path)
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE backups (other text)")
    result = bs.run("list", "--store", store)
    if result.code != 0:
        assert "catalog" in result.err and "hint:" in result.err, result
        bs.ok("catalog", "rebuild", "--store", store)
    assert bs.listed(store) == before


@pytest.mark.parametrize("kind", ["dump", "base"])
def test_a_rebuilt_catalog_says_the_same(bs, model, kind):
    store = model(kind)
    bs.ok("verify", "latest", "--level", "1", "--store", store)
    bs.ok("pin", store.backup().id, "--store", store)
    before = bs.listed(store), bs.shown(store)
    bs.ok("catalog", "rebuild", "--store", store)
    assert (bs.listed(store), bs.shown(store)) == before


def test_another_machine_reads_the_store_alone(bs, model, work, bin_dirs):
    """Lose catalog, machine and config: the store says it all."""
    from program import Program
    store = model("dump")
    bs.ok("verify", "latest", "--level", "1", "--store", store)
    os.mkdir(os.path.join(work, "other"))
    other = Program(os.path.join(work, "other"), bin_dirs, [])
    other.ok("catalog", "rebuild", "--store", store)
    assert other.listed(store) == bs.listed(store)


# --- leaving nothing behind -----------------------------------------------------------------------

def test_a_missing_program_says_nothing_about_the_backup(bs, configure, store, work):
    """No server program: it could not be tested, which is no damage."""
    os.mkdir(os.path.join(work, "nobin"))
    bs.ok("run", "pg-daily", "-c", configure())
    path = configure(source_more=f", bin_dir: {work}/nobin", name="other.yaml")
    result = bs.run("verify", "latest", "--level", "2", "-c", path, expect=1)
    assert "hint:" in result.err
    assert bs.json("list", "-c", path)["backups"][0]["damaged"] is False
    assert not any(name.startswith("bad-") for name in store.proofs(store.backup().id))


def test_verify_needs_no_live_server(bs, model):
    """Everything is in the store: nobody is asked."""
    store = model("base")
    bs.ok("verify", "latest", "--level", "3", "--store", store)


def test_verify_with_nothing_in_the_store(bs, work):
    os.mkdir(os.path.join(work, "empty"))
    result = bs.run("verify", "latest", "--store", os.path.join(work, "empty"), expect=(1, 5))
    assert "hint:" in result.err


def test_verify_all(bs, dump, base, store):
    dump()
    dump(plant.EMPTY_DATABASE)
    base()
    result = bs.ok("verify", "--all", "--level", "0", "--store", store)
    for backup in store.backups():
        assert backup.id in result.text
        assert len(store.proofs(backup.id)) == 1
    path = store.backups("base")[0].file("base.tar.zst")
    flip_bit(path, 1000)
    result = bs.run("verify", "--all", "--level", "0", "--store", store, expect=6)
    assert "base.tar.zst" in result.text
    for backup in store.backups("dump"):
        assert len([p for p in store.proofs(backup.id) if p.startswith("bad")]) == 0


def test_a_failure_is_said_when_verify_all_is_stopped(bs, dump, base, store):
    """It is held back for the end, where the only one is the command's own error."""
    base()
    dump()
    damaged = store.backups("dump")[0]  # the newest one, which is first
    flip_bit(damaged.file(".dump"), 1000)
    running = bs.start("verify", "--all", "--level", "3", "--store", store)
    wait_for(lambda: any("postgres" in name_of(pid) for pid in children(running.pid)), 30,
             lambda: f"a scratch server; verify itself: {running.process.poll()}")
    running.signal(signal.SIGINT)
    result = running.wait(60)
    assert result.code not in (0, 3, 6), result
    assert os.path.basename(damaged.file(".dump")) in result.err and "damaged" in result.err, result


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def test_the_password_is_not_needed(bs, model, work, pg):
    """A wrong password file is no obstacle to reading the store."""
    make_password_file(os.path.join(work, "wrong"), "falsch")
    store = model("dump")
    bs.ok("verify", "latest", "--level", "2", "--store", store)
