"""Memory is bounded, whatever the size of what is read."""
import contextlib
import os

import pytest

import plant
from program import Running
from store import Store

LIMIT_KB = 64 << 10


@pytest.fixture(scope="module")
def big_server(base_folder):
    """A few hundred MB: enough that nothing of it can be held."""
    from postgres import Server
    server = Server(os.path.join(base_folder, "big")).initdb().start()
    plant.make_roles(server)
    server.sql("CREATE DATABASE webscada")
    server.sql("""
        CREATE TABLE telemetry (ts timestamptz, tag int, value double precision);
        INSERT INTO telemetry SELECT '2025-01-01'::timestamptz + i * interval '1 s', i % 500,
            random() FROM generate_series(1, 2500000) i;
        CREATE TABLE photos (id int, image bytea);
        ALTER TABLE photos ALTER image SET STORAGE EXTERNAL;
        INSERT INTO photos SELECT i, decode(repeat(md5(i::text), 1500000), 'hex')
            FROM generate_series(1, 5) i;
        """, "webscada")
    yield server
    server.destroy()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dump", "base"])
def test_a_few_hundred_megabytes(bs, big_server, store, password_file, kind):
    size = big_server.value("SELECT pg_database_size('webscada')")
    assert size > 200 << 20
    result = bs.ok("backup", big_server.url("webscada"), "--kind", kind, "--store", store,
                   "--password-file", password_file)
    assert result.peak_kb <= LIMIT_KB, result
    for level in (0, 1, 3):
        result = bs.ok("verify", "latest", "--level", level, "--store", store)
        assert result.peak_kb <= LIMIT_KB, result
    bs.assert_clean()


@pytest.mark.slow
def test_restores_of_a_few_hundred_megabytes(bs, big_server, store, password_file, work):
    for kind in ("dump", "base"):
        bs.ok("backup", big_server.url("webscada"), "--kind", kind, "--store", store,
              "--password-file", password_file)
    data = os.path.join(work, "data")
    result = bs.ok("restore", "postgresql", "--kind", "base", "--to", data, "--store", store)
    assert result.peak_kb <= LIMIT_KB, result
    result = bs.ok("restore", "postgresql", "--kind", "dump", "--to", big_server.url(),
                   "--password-file", password_file, "--as", "wieder", "--store", store)
    assert result.peak_kb <= LIMIT_KB, result
    assert big_server.value("SELECT count(*) FROM telemetry", "wieder") == 2500000


def make_tables(server, database, count):
    """Many tables, a few with rows: what a tenant-per-schema application makes of a database."""
    with contextlib.closing(server.connect(database)) as conn, conn.cursor() as cursor:
        for first in range(0, count, 500):
            cursor.execute("DO $$BEGIN FOR i IN %s..%s LOOP EXECUTE format("
                           "'CREATE TABLE t_%%s (a int)', i); END LOOP; END$$"
                           % (first, min(first + 500, count) - 1))
        cursor.execute("INSERT INTO t_7 SELECT generate_series(1, 77)")


@pytest.mark.slow
@pytest.mark.parametrize("count", [
    20000, pytest.param(100000, marks=pytest.mark.matrix)])
def test_very_many_tables(bs, new_server, store, password_file, count):
    server = new_server(settings={"max_locks_per_transaction": "4096", "autovacuum": "off",
                                  "jit": "off"})
    server.sql("CREATE DATABASE viele")
    make_tables(server, "viele", count)
    result = bs.ok("backup", server.url("viele"), "--store", store, "--password-file",
                   password_file, timeout=900)
    assert result.peak_kb <= LIMIT_KB, result
    told = store.backup().tables()
    assert len(told) == count
    assert told["public", "t_7"] == 77 and sum(told.values()) == 77
    assert bs.ok("list", "--store", store).peak_kb <= LIMIT_KB
    result = bs.ok("verify", "latest", "--level", "1", "--store", store)
    assert result.peak_kb <= LIMIT_KB
    if count <= 20000:
        server.stop()
        result = bs.ok("backup", server.start().url(), "--kind", "base", "--store", store,
                       "--password-file", password_file)
        assert result.peak_kb <= LIMIT_KB, result


def test_status_of_very_many_runs_is_quick(bs, dump_store):
    """100,000 runs in the catalog: status within 50 ms, here with air for a busy machine."""
    import glob
    import sqlite3
    bs.ok("list", "--store", dump_store)
    bs.ok("verify", "latest", "--level", "0", "--store", dump_store)
    path, = glob.glob(os.path.join(bs.state, "blackstart/*/catalog.db"))
    with contextlib.closing(sqlite3.connect(path)) as catalog:
        table = [row[0] for row in catalog.execute("SELECT name FROM sqlite_master WHERE "
                                                   "type = 'table' AND name LIKE '%run%'")][0]
        columns = [row[1] for row in catalog.execute(f"PRAGMA table_info({table})")]
        others = [column for column in columns if column not in ("id", "rowid", "seq")]
        catalog.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
            f"INSERT INTO {table} (id, {', '.join(others)}) SELECT 'x-' || i, {', '.join(others)} "
            f"FROM n, (SELECT * FROM {table} LIMIT 1)")
        catalog.commit()
    times = []
    for _ in range(5):
        times.append(bs.run("status", "--store", dump_store, expect=(0, 1, 3)).seconds)
    assert sorted(times)[2] < 0.2, times


def test_the_measure_itself(bs, work):
    """The peak that these tests read is the peak: a process that takes 200 MB is seen to."""
    running = Running.__new__(Running)
    assert Running.sample and Store
    import subprocess
    running.process = subprocess.Popen(["/usr/bin/python3", "-c",
                                        "x = bytearray(200 << 20); import time; time.sleep(0.5)"])
    running.pid, running.peak_kb = running.process.pid, 0
    while running.process.poll() is None:
        running.sample()
    assert running.peak_kb > 200 << 10
