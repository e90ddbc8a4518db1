"""`check` finds what is wrong before the night does, and its statements really set a role up."""
import contextlib
import json
import os
import re

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest

import plant
from conftest import make_password_file
from postgres import ADMIN_PASSWORD, peer, quoted


@pytest.fixture
def check(bs, password_file):
    """check(server): {name: item} of what `check URL` finds."""
    def run(server, database="webscada", expect=(0, 1, 3), user=plant.ADMIN, password=None):
        items = bs.json("check", server.url(database, user), "--password-file",
                        password or password_file, expect=expect)["checks"]
        for item in items:
            assert item["result"] in ("ok", "note", "warning", "failed")
            if item["result"] in ("warning", "failed"):
                assert item["fix"], f"without a fix: {item}"
        return items
    return run


def those(items, pattern, results=("note", "warning", "failed")):
    return [item for item in items if item["result"] in results and
            re.search(pattern, item["name"] + " " + item["text"] + " " + (item["fix"] or ""),
                      re.I)]


def test_a_good_server(bs, new_server, check, password_file):
    server = new_server(model="full", settings={"fsync": "on"})
    items = check(server, expect=(0, 3))
    assert not those(items, ".", ("failed",)), items
    text = bs.run("check", server.url(plant.DATABASE), "--password-file", password_file,
                  expect=(0, 3)).out
    for item in items:
        assert item["name"] in text


@pytest.mark.parametrize("settings, pattern", [
    ({"wal_level": "minimal", "max_wal_senders": "0"}, "wal_level"),
    ({"max_wal_senders": "0"}, "max_wal_senders|senders"),
    ({"fsync": "off"}, "fsync"),
    ({"full_page_writes": "off"}, "full_page_writes"),
])
def test_settings_that_endanger_a_backup(new_server, check, settings, pattern):
    server = new_server(settings=settings)
    found = those(check(server, "postgres", expect=1), pattern, ("failed",))
    assert found, "not found"


def test_all_senders_taken(bs, new_server, check, work, password_file):
    """Somebody else holds the only one."""
    server = new_server(settings={"max_wal_senders": "1"})
    conn = psycopg2.connect(host=server.root, port=server.port, user="postgres",
                            connection_factory=psycopg2.extras.PhysicalReplicationConnection)
    try:
        assert those(check(server, "postgres"), "sender", ("failed", "warning"))
    finally:
        conn.close()


def test_no_line_for_replication_in_pg_hba(new_server, check):
    server = new_server()
    server.write_hba(["local all postgres trust", "host all all 127.0.0.1/32 scram-sha-256"])
    server.sql("SELECT pg_reload_conf()")
    assert those(check(server, "postgres", expect=1), "pg_hba", ("failed",))


def test_a_role_that_may_not(new_server, check, work, bs):
    server = new_server()
    server.sql("CREATE ROLE schwach LOGIN PASSWORD 'sehr-schwach';"
               "CREATE TABLE geheim (a int)")
    bs.secrets.append("sehr-schwach")
    password = make_password_file(os.path.join(work, "pw"), "sehr-schwach")
    items = check(server, "postgres", expect=1, user="schwach", password=password)
    assert those(items, "replication", ("failed", "warning"))
    assert those(items, "read|select|privilege|right|pg_read_all_data", ("failed", "warning"))


def test_config_files_outside_the_data_folder(new_server, check, work):
    server = new_server(start=False)
    outside = os.path.join(work, "etc")
    os.mkdir(outside, 0o755)
    os.rename(os.path.join(server.data, "pg_hba.conf"), os.path.join(outside, "pg_hba.conf"))
    server.settings["hba_file"] = os.path.join(outside, "pg_hba.conf")
    server.start()
    assert those(check(server, "postgres"), "hba|outside|config")


def test_tables_that_need_to_be_known_about(bs, pg, check, database, work):
    assert those(check(pg, database), "unlogged")
    pg.sql("ALTER TABLE users ENABLE ROW LEVEL SECURITY", database)
    pg.sql("CREATE ROLE leser LOGIN PASSWORD 'nur-ein-leser'")
    try:
        bs.secrets.append("nur-ein-leser")
        password = make_password_file(os.path.join(work, "pw"), "nur-ein-leser")
        items = check(pg, database, expect=1, user="leser", password=password)
        assert those(items, "row.?level|row.?security|rls", ("failed", "warning"))
        assert those(items, "large.objects?", ("failed", "warning"))
    finally:
        pg.sql("DROP ROLE leser")
    assert those(check(pg, plant.ODD_DATABASE), "tablespace", ("ok", "note", "warning"))


def test_too_old_client_programs(bs, configure, work):
    folder = os.path.join(work, "alt")
    os.mkdir(folder)
    for name in ("pg_dump", "pg_dumpall", "pg_restore"):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        os.chmod(path, 0o755)
    items = bs.json("check", "-c", configure(source_more=f", bin_dir: {folder}"),
                    expect=1)["checks"]
    assert those(items, "pg_dump", ("failed",))


def test_a_server_that_is_down(bs, new_server, check, password_file):
    server = new_server()
    server.stop()
    result = bs.run("check", server.url(), "--password-file", password_file, expect=1)
    assert "FAILED" in result.out and "Connection refused" in result.out
    error, hint = result.err.strip().split("\n")[-2:]
    assert re.match("error: 1 of 1 checks failed: postgresql: reachable: .*refused", error), error
    assert hint.startswith("hint: "), hint


def test_everything_of_a_config(bs, configure, store):
    path = configure()
    bs.ok("run", "pg-daily", "-c", path)
    items = bs.json("check", "-c", path, expect=(0, 1, 3))["checks"]
    subjects = {item["subject"] for item in items}
    assert any("postgresql" in subject for subject in subjects)
    assert any("store" in subject for subject in subjects)
    assert store.temporary() == []
    before = store.snapshot()
    bs.run("check", "-c", path, expect=(0, 1, 3))
    assert store.snapshot() == before, "a check leaves nothing in the store"


def test_nagios(bs, configure, new_server):
    path = configure()
    result = bs.run("check", "--nagios", "-c", path, expect=(0, 1, 2))
    assert len(result.out.strip().split("\n")) == 1
    assert re.match(r"BLACKSTART (OK|WARNING|CRITICAL)", result.out)
    server = new_server()
    server.stop()
    result = bs.run("check", "--nagios", "-c", configure(server=server), expect=2)
    assert result.out.startswith("BLACKSTART CRITICAL")


# --- check --sql --------------------------------------------------------------------------------------

def run_script(server, sql, work, database="postgres"):
    """By psql, as a person would, with a password typed where it asks for one."""
    script = os.path.join(work, "setup.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write(sql)
    os.chmod(script, 0o644)
    server.tool(client(server, "psql"), "-X", "-v", "ON_ERROR_STOP=1", "-h", server.root, "-p",
                str(server.port), "-U", "postgres", "-d", database, "-f", script,
                input=f"{ADMIN_PASSWORD}\n" * 2, start_new_session=True)


def test_the_statements_make_a_role_that_can_all_of_it(bs, new_server, store, work, password_file):
    """As printed, run by psql: then the role checks clean, dumps and copies, and changes nothing."""
    server = new_server(start=False)
    outside = os.path.join(work, "etc")
    os.mkdir(outside, 0o755)
    os.rename(os.path.join(server.data, "pg_hba.conf"), os.path.join(outside, "pg_hba.conf"))
    server.settings["hba_file"] = os.path.join(outside, "pg_hba.conf")
    server.settings["fsync"] = "on"
    server.start()
    for name in ("webscada", plant.ODD_DATABASE):
        server.sql(f"CREATE DATABASE {quoted(name)}")
        server.sql(f"REVOKE CONNECT ON DATABASE {quoted(name)} FROM PUBLIC")
    plant.fill(server, "webscada", step=100)
    server.sql("CREATE TABLE rows_of_others (a int); INSERT INTO rows_of_others VALUES (1);"
               "ALTER TABLE rows_of_others ENABLE ROW LEVEL SECURITY", "webscada")
    for (oid,) in server.sql("SELECT oid FROM pg_largeobject_metadata", "webscada"):
        server.sql(f"ALTER LARGE OBJECT {oid} OWNER TO {quoted(plant.ODD_ROLE)}", "webscada")
    config = os.path.join(work, "c.yaml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"site": "testwerk", "timezone": "Europe/Berlin", "state_dir": f"{work}/state",
                   "store": {"path": str(store)},
                   "sources": {"postgresql": {
                       "type": "postgres", "host": "127.0.0.1", "port": server.port,
                       "user": "blackstart", "password_file": password_file,
                       "databases": ["webscada", plant.ODD_DATABASE]}},
                   "jobs": {kind: {"source": "postgresql", "do": kind}
                            for kind in ("dump", "base")}}, file)
    sql = bs.ok("check", "postgresql", "--sql", "-c", config).out
    run_script(server, sql, work)
    run_script(server, sql, work)
    assert server.sql("SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
                      "FROM pg_roles WHERE rolname = 'blackstart'") == [
                          (False, False, False, True, True)]

    # The plant's large objects are told, with what cures it.
    items = bs.json("check", "postgresql", "-c", config, expect=1)["checks"]
    failed = those(items, ".", ("failed",))
    assert [item["name"] for item in failed] == ["large_objects"], failed
    assert "GRANT" in failed[0]["fix"] and quoted(plant.ODD_ROLE) in failed[0]["text"]
    server.sql(f"GRANT {quoted(plant.ODD_ROLE)} TO blackstart")
    items = bs.json("check", "postgresql", "-c", config, expect=(0, 3))["checks"]
    # Without storing anything a base backup can be tried from 15 on.
    tried = ("base_backup",) if server.major >= 15 else ()
    for name in (*tried, "config_readable", "replication", "large_objects"):
        assert [item["result"] for item in items if item["name"] == name] == ["ok"], (name, items)

    # Before 14 nobody but a superuser sees the passwords of roles.
    for kind in ("dump", "base"):
        bs.run("run", kind, "-c", config, expect=0 if server.major >= 14 else (0, 3))
    assert store.backup("base")
    assert store.backup("dump").tables("webscada") == plant.counts(server, "webscada")
    store.assert_sound()
    # It reads and changes nothing.
    with contextlib.closing(server.connect("webscada", "blackstart", ADMIN_PASSWORD)) as conn:
        conn.autocommit = True
        for statement in ("DELETE FROM users", "CREATE DATABASE x", "ALTER SYSTEM SET fsync = off",
                          "CREATE ROLE x", "TRUNCATE rows_of_others"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                conn.cursor().execute(statement)


def client(server, name):
    """psql may lie in another folder than the server."""
    path = os.path.join(server.bin, name)
    return path if os.path.exists(path) else os.path.join(peer("client"), name)


def test_the_statements_quote_hard_names(bs, pg):
    sql = bs.ok("check", pg.url(plant.ODD_DATABASE), "--sql").out
    assert quoted(plant.ODD_DATABASE) in sql


def test_json_of_a_failed_check_is_one_object(bs, new_server, password_file):
    server = new_server()
    server.stop()
    result = bs.run("check", server.url(), "--password-file", password_file, "--json", expect=1)
    assert json.loads(result.out)["schema"]
