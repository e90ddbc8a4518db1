"""Logical dumps: what lies in the store afterwards, and that it is the whole truth."""
import contextlib
import datetime
import os
import re
import subprocess
import threading

import pytest

import plant
from postgres import ADMIN, ADMIN_PASSWORD, literal, peer, quoted
from store import sha256


def pg_restore(*args, check=True):
    return subprocess.run([os.path.join(peer("client"), "pg_restore"), *args], check=check,
                          capture_output=True, text=True)


def test_the_store_looks_like_the_users_own(dump, bs, store):
    result = dump()
    day = datetime.date.today().isoformat()
    assert store.data_files() == [
        f"postgresql/daily/backup-{day}.dump",
        f"postgresql/daily/backup-{day}.globals.sql",
        f"postgresql/daily/backup-{day}.manifest.json",
    ]
    store.assert_sound()
    assert store.backup().id in result.text
    assert os.path.exists(os.path.join(store.path, ".blackstart/store.json"))
    bs.assert_clean()


def test_the_manifest_says_what_the_contract_says(dump, pg, store):
    before = datetime.datetime.now(datetime.timezone.utc)
    dump()
    backup = store.backup()
    manifest = backup.manifest
    assert manifest["format"] == 1
    assert manifest["kind"] == "dump"
    assert manifest["source"]["name"] == "postgresql"
    assert manifest["source"]["type"] == "postgres"
    assert manifest["source"]["identity"] == pg.identity
    assert isinstance(manifest["source"]["identity"], str)
    assert manifest["source"]["version"] == pg.value("SHOW server_version").split()[0]
    assert manifest["tool"]["name"] == "blackstart"
    assert manifest["warnings"] == []
    times = [manifest[key] for key in ("started", "consistent_at", "finished")]
    for text in times:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert times == sorted(times)
    assert abs(datetime.datetime.fromisoformat(times[0][:-1] + "+00:00") - before).seconds < 60
    assert re.search(r"-\d{8}-\d{6}-[0-9a-f]{4}$", manifest["id"])
    for entry in manifest["files"]:
        path = os.path.join(backup.folder, entry["name"])
        assert entry["bytes"] == os.path.getsize(path)
        assert entry["sha256"] == sha256(path)
        assert entry["compression"] in ("none", "zstd")


def test_rows_in_the_manifest_are_those_of_the_database(dump, pg, store):
    dump()
    assert store.backup().tables() == plant.counts(pg, plant.DATABASE)


def test_the_vendors_tools_read_it(dump, pg, database, store):
    dump(database)
    path = store.backup().file(".dump")
    listing = pg_restore("--list", path).stdout
    assert "TABLE DATA public telemetry_2025_11_03" in listing
    # Restored with nothing but the vendor's program, it is what was there.
    copy = database + "_copy"
    pg.sql(f"CREATE DATABASE {copy} TEMPLATE template0")
    try:
        pg_restore("--exit-on-error", "-h", pg.root, "-p", str(pg.port), "-U", "postgres", "-d",
                   copy, path)
        assert plant.fingerprint(pg, copy) == plant.fingerprint(pg, database)
    finally:
        pg.drop(copy)


def test_globals_hold_roles_and_tablespaces(dump, store):
    dump()
    with open(store.backup().file(".globals.sql"), encoding="utf-8") as file:
        text = file.read()
    assert f"CREATE ROLE {quoted(plant.ODD_ROLE)}" in text
    assert f"CREATE ROLE {ADMIN}" in text
    assert f"CREATE TABLESPACE {quoted(plant.ODD_TABLESPACE)}" in text
    assert ADMIN_PASSWORD not in text and "SCRAM-SHA-256" in text


class Writer:
    """Inserts, deletes and updates without end while something else runs."""

    def __init__(self, server, database):
        self.server, self.database, self.rows, self.is_stopped = server, database, 0, False
        self.thread = threading.Thread(target=self.work)

    def work(self):
        with contextlib.closing(self.server.connect(self.database)) as conn:
            cursor = conn.cursor()
            while not self.is_stopped:
                cursor.execute("INSERT INTO telemetry SELECT '2025-11-05', 1 + g % 200, g, 1 "
                               "FROM generate_series(1, 50) g;"
                               "INSERT INTO alarms (device_id, message) VALUES (1, 'neu');"
                               "DELETE FROM alarms WHERE id = (SELECT min(id) FROM alarms);")
                self.rows += 50

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopped = True
        self.thread.join()


def test_counts_are_the_snapshots_while_others_write(dump, pg, database, store):
    """The counts and the dump see one instant: a restore of the dump has exactly these rows."""
    with Writer(pg, database) as writer:
        while writer.rows < 500:
            pass
        dump(database, "--rate", "4MiB")
        assert writer.is_stopped is False
        at_end = writer.rows
    backup = store.backup()
    told = backup.tables()
    assert told["public", "telemetry_2025_11_05"] < 7200 + at_end
    copy = database + "_copy"
    pg.sql(f"CREATE DATABASE {copy} TEMPLATE template0")
    try:
        pg_restore("--exit-on-error", "-h", pg.root, "-p", str(pg.port), "-U", "postgres", "-d",
                   copy, backup.file(".dump"))
        assert plant.counts(pg, copy) == told
    finally:
        pg.drop(copy)


def test_a_second_dump_of_the_day_gets_the_time(dump, store):
    dump()
    first = store.snapshot()
    dump()
    dump()
    names = [os.path.basename(name) for name in store.manifests()]
    day = datetime.date.today().isoformat()
    assert f"backup-{day}.manifest.json" in names
    others = [name for name in names if name != f"backup-{day}.manifest.json"]
    assert len(others) == 2
    for name in others:
        assert re.fullmatch(rf"backup-{day}-\d{{6}}(-\d+)?\.manifest\.json", name)
    after = store.snapshot()
    assert {name: after[name] for name in first} == first
    store.assert_sound()


def test_names_use_the_sites_zone(bs, configure, pg, store):
    """Half a day ahead of UTC: the file is called by the day there, the manifest's times are UTC."""
    for zone, hours in (("Pacific/Kiritimati", 14), ("Etc/GMT+12", -12)):
        bs.ok("run", "pg-daily", "-c", configure(zone=zone))
        there = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        assert f"postgresql/daily/backup-{there:%Y-%m-%d}.dump" in store.data_files()
        assert store.newest().manifest["started"].startswith(
            datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H"))


def test_hard_names(bs, dump, pg, store):
    dump(plant.ODD_DATABASE)
    backup = store.backup()
    assert backup.database()["name"] == plant.ODD_DATABASE
    assert backup.tables() == {(plant.ODD_SCHEMA, plant.ODD_TABLE): 500}
    assert "TABLE DATA" in pg_restore("--list", backup.file(".dump")).stdout
    bs.ok("verify", "latest", "--level", "3", "--store", store)
    assert plant.counts(pg, plant.ODD_DATABASE) == backup.tables()


def test_an_empty_database(bs, dump, store):
    dump(plant.EMPTY_DATABASE)
    backup = store.backup()
    assert backup.tables() == {}
    bs.ok("verify", "latest", "--level", "3", "--store", store)
    assert any(name.startswith("L3-") for name in store.proofs(backup.id))


def test_several_databases_in_one_job(bs, configure, store):
    path = configure(databases=f"[webscada, {plant.EMPTY_DATABASE}, "
                               f"{literal(plant.ODD_DATABASE)}]")
    bs.ok("run", "pg-daily", "-c", path)
    backup = store.backup()
    stem = os.path.basename(backup.path)[:-len(".manifest.json")]
    assert sorted(backup.names) == sorted([
        f"{stem}.globals.sql", f"{stem}.webscada.dump", f"{stem}.leer.dump",
        f"{stem}.Werk%20%22S%C3%BCd%22%201%27a%20%2550.dump"])
    assert sum(backup.tables(plant.ODD_DATABASE).values()) == 500
    store.assert_sound()
    bs.ok("verify", "latest", "--level", "3", "-c", path)


def test_all_databases_when_none_is_named(bs, dump, pg, store):
    dump("")
    told = {d["name"] for d in store.backup().manifest["content"]["databases"]}
    assert {plant.DATABASE, plant.ODD_DATABASE, plant.EMPTY_DATABASE, "postgres"} <= told
    assert "template0" not in told


def test_directory_format(bs, dump, pg, store):
    dump(plant.DATABASE, "--format", "directory", "--parallel", "2")
    backup = store.backup()
    tocs = [path for path in backup.files if path.endswith("/toc.dat")]
    assert len(tocs) == 1
    assert "TABLE DATA" in pg_restore("--list", os.path.dirname(tocs[0])).stdout
    assert backup.tables() == plant.counts(pg, plant.DATABASE)
    store.assert_sound()
    bs.ok("verify", "latest", "--level", "3", "--store", store)
    bs.assert_clean()


def test_a_view_that_cannot_be_dumped_by_rights_fails_loudly(bs, pg, database, store, work):
    """Row security without BYPASSRLS: rows would be missing without a word; refuse instead."""
    from conftest import make_password_file
    pg.sql("CREATE ROLE rls_reader LOGIN PASSWORD 'zeilen-leser'")
    try:
        pg.sql("GRANT pg_read_all_data TO rls_reader" if pg.major >= 14 else
               "GRANT USAGE ON SCHEMA public TO rls_reader;"
               "GRANT SELECT ON ALL TABLES IN SCHEMA public TO rls_reader;"
               "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO rls_reader", database)
        # No large objects, which the role may not read either.
        pg.sql("SELECT lo_unlink(content) FROM documents;"
               "ALTER TABLE users ENABLE ROW LEVEL SECURITY", database)
        bs.secrets.append("zeilen-leser")
        password = make_password_file(os.path.join(work, "rls-password"), "zeilen-leser")
        result = bs.run("backup", pg.url(database, "rls_reader"), "--store", store,
                        "--password-file", password, expect=(1, 5))
        assert "row-level security" in result.err or "BYPASSRLS" in result.err, result
        assert "users" in result.err
        assert "hint:" in result.err
        assert store.data_files() == []
    finally:
        pg.sql("DROP OWNED BY rls_reader", database)
        pg.sql("DROP ROLE rls_reader")


def test_large_objects_without_rights_fail_loudly(bs, pg, database, store, work):
    from conftest import make_password_file
    pg.sql("CREATE ROLE lo_reader LOGIN PASSWORD 'objekt-leser'")
    try:
        pg.sql("GRANT pg_read_all_data TO lo_reader" if pg.major >= 14 else
               "GRANT USAGE ON SCHEMA public TO lo_reader;"
               "GRANT SELECT ON ALL TABLES IN SCHEMA public TO lo_reader;"
               "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO lo_reader", database)
        bs.secrets.append("objekt-leser")
        password = make_password_file(os.path.join(work, "lo-password"), "objekt-leser")
        result = bs.run("backup", pg.url(database, "lo_reader"), "--store", store,
                        "--password-file", password, expect=(1, 5))
        assert "large object" in result.err
        assert store.data_files() == []
    finally:
        pg.sql("DROP OWNED BY lo_reader", database)
        pg.sql("DROP ROLE lo_reader")


def test_unlogged_tables_are_in_a_dump(dump, store):
    dump()
    backup = store.backup()
    assert backup.tables()["public", "live_values"] == 200
    assert ["public", "live_values"] in backup.database()["unlogged"]


def test_a_dump_by_an_ordinary_user_of_the_machine(bs, pg, store, work, password_file):
    """The program itself needs no root: run by the server's user, with folders of his own."""
    from postgres import give_away
    for path in (bs.home, bs.state, bs.scratch, work):
        give_away(path)
    copy = os.path.join(work, "password")
    with open(password_file, encoding="utf-8") as file, open(copy, "w", encoding="utf-8") as to:
        to.write(file.read())
    os.chmod(copy, 0o600)
    give_away(copy)
    for kind in ("dump", "base"):
        bs.ok("backup", pg.url(plant.DATABASE), "--store", store, "--kind", kind,
              "--password-file", copy, user="postgres")
        bs.ok("verify", "latest", "--level", "3", "--kind", kind, "--store", store,
              user="postgres")
    bs.assert_clean()


@pytest.mark.parametrize("way", [
    # Older client libraries look for the home in the user database, not in HOME.
    "pgpassfile", pytest.param("pgpass in home", marks=pytest.mark.since(15))])
def test_libpqs_own_ways_to_the_password(bs, pg, store, work, way):
    path = os.path.join(work, "pass") if way == "pgpassfile" else os.path.join(bs.home, ".pgpass")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"127.0.0.1:{pg.port}:*:{ADMIN}:{ADMIN_PASSWORD}\n")
    os.chmod(path, 0o600)
    env = {"PGPASSFILE": path} if way == "pgpassfile" else {}
    bs.ok("backup", pg.url(plant.DATABASE), "--store", store, env=env)
    store.assert_sound()
