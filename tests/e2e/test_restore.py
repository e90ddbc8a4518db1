"""The way back: beside the live data first, then by promotion."""
import os
import re
import signal
import stat
import time

import pytest

import plant
from conftest import make_password_file
from postgres import ADMIN_PASSWORD, quoted


@pytest.fixture
def target(pg, password_file):
    """Options that name the server to restore to."""
    return ("--to", pg.url(), "--password-file", password_file)


def made(pg, before):
    new = pg.databases() - before
    assert len(new) == 1, new
    return new.pop()


def test_a_dump_is_restored_beside(bs, dump_store, pg, target, truth):
    before = pg.databases()
    result = bs.ok("restore", "postgresql", *target, "--store", dump_store)
    name = made(pg, before)
    try:
        assert name in result.text
        assert name.startswith("webscada_restored_")
        assert "promote" in result.text, "the next command is named"
        assert plant.fingerprint(pg, name) == truth
        assert plant.fingerprint(pg, plant.DATABASE) == truth, "the live one is untouched"
    finally:
        pg.drop(name)


def test_under_a_chosen_name_and_never_over_another(bs, dump_store, pg, target, truth):
    name = """Neu "1" 'ä'"""
    args = ("restore", dump_store.backup().id, *target, "--as", name, "--store", dump_store)
    bs.ok(*args)
    try:
        assert plant.fingerprint(pg, name) == truth
        pg.sql("INSERT INTO users VALUES ('nach', 'dem', 'restore')", name)
        result = bs.run(*args, expect=(1, 5))
        assert "hint:" in result.err
        assert pg.value("SELECT count(*) FROM users", name) == 21
        # Nor over the live one, whose name is the same as the dump's.
        bs.run("restore", dump_store.backup().id, *target, "--as", plant.DATABASE, "--store",
               dump_store, expect=(1, 5))
        assert plant.fingerprint(pg, plant.DATABASE) == truth
    finally:
        pg.drop(name)


@pytest.mark.parametrize("parallel", ["1", "2"])
def test_parallel_or_not_it_is_the_same(bs, dump_store, pg, target, truth, parallel):
    name = "parallel_" + parallel
    bs.ok("restore", "postgresql", *target, "--as", name, "--parallel", parallel, "--store",
          dump_store)
    try:
        assert plant.fingerprint(pg, name) == truth
    finally:
        pg.drop(name)


def test_on_another_server_with_the_roles(bs, dump, store, pg, new_server, password_file):
    """A new machine: roles first, then the database with its owners."""
    dump(plant.ODD_DATABASE)
    other = new_server()
    other.sql(f"DROP ROLE {quoted(plant.ODD_ROLE)}")
    result = bs.run("restore", "postgresql", "--to", other.url(), "--password-file",
                    password_file, "--globals", "--as", "wieder da", "--store", store,
                    expect=(0, 3))
    assert plant.counts(other, "wieder da") == {(plant.ODD_SCHEMA, plant.ODD_TABLE): 500}, result
    owner = other.value("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = "
                        + "$$" + plant.ODD_TABLE + "$$", "wieder da")
    assert owner == plant.ODD_ROLE


def test_on_another_server_without_the_roles_it_says_so(bs, dump, store, new_server,
                                                        password_file):
    dump(plant.ODD_DATABASE)
    other = new_server()
    other.sql(f"DROP ROLE {quoted(plant.ODD_ROLE)}")
    result = bs.run("restore", "postgresql", "--to", other.url(), "--password-file",
                    password_file, "--as", "x", "--store", store, expect=(0, 3, 5))
    assert plant.ODD_ROLE in result.text or "--globals" in result.text, result


def test_plan_changes_nothing_and_tells_all(bs, dump_store, pg, target):
    before = pg.databases()
    result = bs.ok("plan", "restore", "postgresql", *target, "--store", dump_store)
    assert pg.databases() == before
    assert "webscada_restored_" in result.out
    assert re.search(r"\d+(\.\d+)? ?[kMG]i?B", result.out), result
    plan = bs.json("plan", "restore", "postgresql", *target, "--store", dump_store)
    assert "restored" in str(plan)


def test_a_plan_that_cannot_be_done_is_refused(bs, dump_store, base_store, pg, target, work):
    full = os.path.join(work, "full")
    os.mkdir(full)
    with open(os.path.join(full, "mine"), "w", encoding="utf-8"):
        pass
    for verb in (("plan", "restore"), ("restore",)):
        result = bs.run(*verb, "postgresql", "--kind", "base", "--to", full, "--store",
                        base_store, expect=5)
        assert re.search("^error: cannot restore: .*empty", result.err, re.M), result
        assert "hint:" in result.err, result
    plan = bs.json("plan", "restore", "postgresql", "--kind", "base", "--to", full, "--store",
                   base_store, expect=5)
    assert "empty" in plan["obstacles"][0] and plan["hint"]
    assert os.listdir(full) == ["mine"]


# --- promote -----------------------------------------------------------------------------------------

@pytest.fixture
def restored(bs, dump, store, pg, database, password_file):
    """A live database, and beside it the restored one of an hour ago."""
    dump(database)
    pg.sql("DELETE FROM alarms; DROP TABLE documents", database)
    before = pg.databases()
    bs.ok("restore", "postgresql", "--to", pg.url(), "--password-file", password_file, "--store",
          store)
    name = made(pg, before)
    yield name
    for left in pg.databases() - before | {name}:
        if left.startswith("plant_"):
            pg.drop(left)


def promote(bs, pg, store, password_file, name, *options, **kwargs):
    return bs.run("promote", name, "--to", pg.url("postgres"), "--password-file", password_file,
                  "--store", store, *options, **kwargs)


def test_promote_swaps_and_keeps_the_broken_one(bs, pg, store, database, restored, password_file,
                                                truth):
    broken = plant.fingerprint(pg, database)
    others = pg.databases()
    holder = pg.connect(database)       # the application is still connected
    result = promote(bs, pg, store, password_file, restored, f"--confirm={database}", expect=0)
    assert plant.fingerprint(pg, database) == truth
    kept = pg.databases() - others
    assert len(kept) == 1 and restored not in pg.databases()
    kept = kept.pop()
    try:
        assert kept in result.text, "where the broken one is now"
        pg.sql(f"ALTER DATABASE {quoted(kept)} ALLOW_CONNECTIONS true")
        assert plant.fingerprint(pg, kept) == broken
    finally:
        pg.drop(kept)
    with pytest.raises(Exception):
        holder.cursor().execute("SELECT 1")
    # The new one takes connections of everybody.
    pg.connect(database).close()
    pg.connect(database, plant.ODD_ROLE, ADMIN_PASSWORD).close()


@pytest.mark.parametrize("options", [(), ("--confirm=Plant",), ("--confirm=",),
                                     ("--confirm=postgres",)])
def test_promote_without_the_right_name_is_refused(bs, pg, store, database, restored,
                                                   password_file, options):
    before = pg.databases()
    result = promote(bs, pg, store, password_file, restored, *options)
    assert result.code in ((5, 2) if options == ("--confirm=",) else (5,)), result
    assert "confirm" in result.err
    assert pg.databases() == before


def test_promote_as_a_rehearsal_changes_nothing(bs, pg, store, database, restored, password_file):
    before = pg.databases()
    result = promote(bs, pg, store, password_file, restored, f"--confirm={database}", "-n",
                     expect=0)
    assert database in result.out and pg.databases() == before
    holder = pg.connect(database)
    promote(bs, pg, store, password_file, restored, f"--confirm={database}", "-n", expect=0)
    holder.cursor().execute("SELECT 1")
    holder.close()


def test_promote_of_a_restore_that_was_killed_as_it_began(bs, pg, store, database, restored,
                                                          password_file):
    """The database is made, and has no mark yet: it is shut, and no candidate."""
    assert restored in pg.databases()
    pg.sql('CREATE DATABASE "eben erst" ALLOW_CONNECTIONS false CONNECTION LIMIT 0')
    try:
        result = promote(bs, pg, store, password_file, "eben erst", f"--confirm={database}",
                         expect=5)
        assert "not complete" in result.err and 'DROP DATABASE "eben erst"' in result.err, result
    finally:
        pg.drop("eben erst")


def test_promote_of_what_is_not_there(bs, pg, store, database, restored, password_file):
    result = promote(bs, pg, store, password_file, "nicht_da", f"--confirm={database}")
    assert result.code in (1, 5) and "nicht_da" in result.err
    result = promote(bs, pg, store, password_file, restored, "--confirm=nicht_da")
    assert result.code in (1, 5) and "nicht_da" in result.err


# --- base --------------------------------------------------------------------------------------------

SKIP = ("live_values",)     # unlogged: not in a base backup


def without_unlogged(fingerprint):
    return {key: value for key, value in fingerprint.items() if key[-1] not in SKIP}


@pytest.mark.parametrize("is_new", [True, False])
def test_a_base_is_restored_into_a_folder(bs, base_store, work, truth, adopt_server, is_new):
    data = os.path.join(work, "r", "data")
    if not is_new:
        os.makedirs(data)
    result = bs.ok("restore", "postgresql", "--kind", "base", "--to", data, "--store", base_store)
    assert data in result.text
    assert stat.S_IMODE(os.stat(data).st_mode) == 0o700
    if os.geteuid() == 0:
        import pwd
        owner = pwd.getpwnam("postgres").pw_uid
        for parent, folders, names in os.walk(data):
            for name in folders + names:
                assert os.lstat(os.path.join(parent, name)).st_uid == owner, name
    os.chmod(os.path.dirname(data), 0o755)
    server = adopt_server(os.path.join(work, "server"), data).start()
    assert plant.fingerprint(server, plant.DATABASE, SKIP) == without_unlogged(truth)
    assert plant.counts(server, plant.DATABASE)["public", "live_values"] == 0
    assert plant.counts(server, plant.ODD_DATABASE) == {(plant.ODD_SCHEMA, plant.ODD_TABLE): 500}
    place = server.value("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE "
                         "spcname NOT LIKE 'pg\\_%'")
    assert place.startswith(os.path.dirname(data)), "not into the live server's tablespace"


def test_a_base_is_restored_and_started(bs, base_store, work, truth, pg, adopt_server):
    from postgres import free_port
    data = os.path.join(work, "data")
    port = free_port()
    result = bs.ok("restore", "postgresql", "--kind", "base", "--to", data, "--start", "--port",
                   port, "--store", base_store)
    server = adopt_server(os.path.join(work, "server"), data)
    try:
        assert str(port) in result.text
        pid_file = os.path.join(data, "postmaster.pid")
        with open(pid_file, encoding="utf-8") as file:
            lines = file.read().split("\n")
        server.root, server.port = lines[4], int(lines[3])
        assert server.port == port
        assert plant.fingerprint(server, plant.DATABASE, SKIP) == without_unlogged(truth)
        assert server.value("SHOW archive_mode") == "off"
        assert server.value("SHOW synchronous_standby_names") == ""
        assert not server.value("SELECT pg_is_in_recovery()")
    finally:
        server.root = os.path.join(work, "server")
        server.tool("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", check=False)


@pytest.mark.parametrize("content", ["a file", "a folder", "a data folder"])
def test_a_folder_that_is_not_empty_is_refused(bs, base_store, work, content):
    data = os.path.join(work, "data")
    os.makedirs(data)
    if content == "a folder":
        os.mkdir(os.path.join(data, "x"))
    else:
        name = "PG_VERSION" if content == "a data folder" else "x"
        with open(os.path.join(data, name), "w", encoding="utf-8") as file:
            file.write("15\n")
    before = os.listdir(data)
    result = bs.run("restore", "postgresql", "--kind", "base", "--to", data, "--store", base_store,
                    expect=5)
    assert "hint:" in result.err and os.listdir(data) == before


@pytest.mark.parametrize("moment", [0.02, 0.08, 0.2, 0.4])
def test_a_killed_restore_cannot_start(bs, base_store, work, adopt_server, truth, moment):
    """pg_control comes last: half a cluster is not taken for a whole one."""
    data = os.path.join(work, "data")
    args = ("restore", "postgresql", "--kind", "base", "--to", data, "--store", base_store)
    running = bs.start(*args)
    time.sleep(moment)
    was_running = running.is_running()
    running.kill()
    server = adopt_server(os.path.join(work, "server"), data)
    if was_running and os.path.isdir(data):
        is_whole = os.path.exists(os.path.join(data, "global/pg_control"))
        if not is_whole:
            with pytest.raises((AssertionError, FileNotFoundError)):
                server.start()
            server.stop(signal.SIGQUIT)
            if os.listdir(data):
                result = bs.run(*args, expect=5)
                assert "hint:" in result.err
    # To another folder it works at once, whatever became of the first.
    again = os.path.join(work, "again")
    bs.ok(*args[:5], again, *args[6:])
    server = adopt_server(os.path.join(work, "server2"), again).start()
    assert plant.fingerprint(server, plant.DATABASE, SKIP) == without_unlogged(truth)


def test_an_interrupted_restore_leaves_nothing_that_starts(bs, base_store, work):
    data = os.path.join(work, "data")
    running = bs.start("restore", "postgresql", "--kind", "base", "--to", data, "--store",
                       base_store)
    time.sleep(0.1)
    if running.is_running():
        running.signal(signal.SIGINT)
        result = running.wait()
        assert result.code in (0, 130), result
        if result.code == 130:
            assert not os.path.exists(os.path.join(data, "global/pg_control"))
    else:
        running.wait()


def test_a_base_and_a_dump_need_different_targets(bs, dump_store, base_store, pg, work,
                                                  password_file):
    bs.run("restore", "postgresql", "--kind", "base", "--to", pg.url(), "--password-file",
           password_file, "--store", base_store, expect=(2, 5))


def test_restore_of_what_is_not_there(bs, dump_store, target):
    for word in ("nicht_da", "pg-daily-20200101-000000-0000"):
        result = bs.run("restore", word, *target, "--store", dump_store, expect=(1, 2))
        assert word in result.err and "hint:" in result.err
    result = bs.run("restore", "postgresql", *target, "--database", "nicht_da", "--store",
                    dump_store, expect=(1, 2, 5))
    assert "nicht_da" in result.err and "webscada" in result.err


def test_wrong_password_at_the_target(bs, dump_store, pg, work):
    wrong = make_password_file(os.path.join(work, "wrong"), "falsch-falsch")
    bs.secrets.append("falsch-falsch")
    result = bs.run("restore", "postgresql", "--to", pg.url(), "--password-file", wrong, "--store",
                    dump_store, expect=1)
    assert "password authentication failed" in result.err and "hint:" in result.err
