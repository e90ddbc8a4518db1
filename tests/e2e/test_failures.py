"""Bad days: each gets a clear error with the right exit code, and nothing that was good is lost."""
import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest

import plant
from conftest import make_password_file
from postgres import ADMIN_PASSWORD, free_port, give_away
from store import Store

KINDS = ["dump", "base"]


def backup_args(server, store, password_file, kind, database=plant.DATABASE):
    return ("backup", server.url(database), "--store", store, "--kind", kind, "--password-file",
            password_file)


def assert_nothing_made(bs, store):
    """No backup, no half of one, no temporary file, and the failure is on record."""
    assert store.data_files() == []
    assert bs.listed(store) == []
    bs.assert_clean()


# --- this machine ------------------------------------------------------------------------------------

def test_a_library_that_is_broken(bs, work, pg, dump_store, password_file):
    """What needs no connection goes on; what does is told what to install."""
    with open(os.path.join(work, "libpq.so.5"), "wb"):
        pass
    broken = {"LD_LIBRARY_PATH": work}
    result = bs.run(*backup_args(pg, dump_store, password_file, "dump"), env=broken, expect=1)
    assert "libpq.so.5: file too short" in result.err
    assert "hint: Install it: apt-get install libpq5." in result.err
    assert len(bs.listed(dump_store)) == 1
    bs.run("verify", "--store", dump_store, "--level", "0", env=broken, expect=0)


# --- the server --------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
def test_wrong_password(bs, pg, store, work, kind):
    wrong = make_password_file(os.path.join(work, "wrong"), "Falsch3s-Wort")
    bs.secrets.append("Falsch3s-Wort")
    result = bs.run(*backup_args(pg, store, wrong, kind), expect=1)
    assert "cannot connect to postgres 'postgresql' at 127.0.0.1:" in result.err
    assert 'password authentication failed for user "webscada"' in result.err
    assert "hint:" in result.err and "password_file" in result.err
    assert store.data_files() == []


def test_no_password_at_all(bs, pg, store):
    result = bs.run("backup", pg.url(plant.DATABASE), "--store", store, expect=1)
    assert "password" in result.err and "hint:" in result.err
    assert result.seconds < 10, "nobody is asked at a terminal"


@pytest.mark.parametrize("kind", KINDS)
def test_host_down(bs, store, password_file, kind):
    result = bs.run("backup", f"postgres://webscada@127.0.0.1:{free_port()}/webscada", "--store",
                    store, "--kind", kind, "--password-file", password_file, expect=1)
    assert "Connection refused" in result.err and "hint:" in result.err
    assert store.data_files() == []


def test_unknown_host(bs, store, password_file):
    result = bs.run("backup", "postgres://webscada@nirgends.invalid/webscada", "--store", store,
                    "--password-file", password_file, expect=1)
    assert "nirgends.invalid" in result.err and "hint:" in result.err


def test_a_server_that_never_answers(bs, store, password_file):
    """Somebody listens and says nothing."""
    import socket
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(5)
        result = bs.run("backup", f"postgres://webscada@127.0.0.1:{sock.getsockname()[1]}/webscada",
                        "--store", store, "--password-file", password_file, expect=1, timeout=60)
    assert "no answer" in result.err or "timeout" in result.err.lower()
    assert result.seconds < 30


def test_unknown_database_and_role(bs, pg, store, password_file):
    result = bs.run(*backup_args(pg, store, password_file, "dump", "gibt_es_nicht"), expect=1)
    assert "gibt_es_nicht" in result.err and "hint:" in result.err
    result = bs.run("backup", pg.url(plant.DATABASE, "niemand"), "--store", store,
                    "--password-file", password_file, expect=1)
    assert "niemand" in result.err


def test_a_role_without_replication(bs, pg, store, password_file):
    result = bs.run("backup", pg.url("postgres", plant.ODD_ROLE), "--kind", "base", "--store",
                    store, "--password-file", password_file, expect=1)
    assert "replication" in result.err.lower() and "hint:" in result.err
    assert store.data_files() == []


def test_no_walsender_free(bs, new_server, store, password_file):
    server = new_server(settings={"max_wal_senders": "0", "wal_level": "minimal"})
    result = bs.run(*backup_args(server, store, password_file, "base", ""), expect=1)
    assert "max_wal_senders" in result.text or "wal_level" in result.text
    assert "hint:" in result.err
    assert store.data_files() == []


@pytest.fixture
def slow_server(new_server):
    """A server with enough data for something to happen while it is read."""
    return new_server(model="full")


@pytest.fixture
def slow_backup(bs, slow_server, store, password_file):
    """Start a backup that takes some seconds, and wait until it is in the middle."""
    def start(kind, *options, at=0.0):
        running = bs.start(*backup_args(slow_server, store, password_file, kind, "webscada"),
                           "--rate", {"dump": "1MiB", "base": "12MiB"}[kind], *options)
        deadline = time.monotonic() + 20
        while running.is_running() and time.monotonic() < deadline:
            size = sum(os.path.getsize(os.path.join(store.path, name))
                       for name in store.temporary() if name.endswith((".dump", ".zst")))
            if size > 0:
                break
            time.sleep(0.02)
        time.sleep(at)
        assert running.is_running(), running.wait()
        return running
    return start


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_is_killed_in_the_middle(bs, slow_server, slow_backup, store, password_file,
                                            kind):
    running = slow_backup(kind)
    slow_server.kill()
    result = running.wait(60)
    assert result.code == 1, result
    assert "server" in result.err or "connection" in result.err.lower()
    assert_nothing_made(bs, store)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(slow_server.data, "postmaster.pid"))
    slow_server.start()
    bs.ok(*backup_args(slow_server, store, password_file, kind, "webscada"))
    store.assert_sound()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["fast shutdown", "backend terminated"])
def test_the_server_goes_away_politely(bs, slow_server, slow_backup, store, kind, how):
    running = slow_backup(kind)
    if how == "fast shutdown":
        slow_server.process.send_signal(signal.SIGINT)
    else:
        slow_server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                        "backend_type IN ('client backend', 'walsender') "
                        "AND pid <> pg_backend_pid()")
    result = running.wait(60)
    assert result.code == 1, result
    assert_nothing_made(bs, store)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_nothing_behind(bs, slow_backup, store, kind, number):
    running = slow_backup(kind)
    running.signal(number)
    result = running.wait(20)
    assert result.code == 130, result
    assert "error:" in result.err
    assert_nothing_made(bs, store)
    runs = bs.json("catalog", "export", "--store", store)["runs"]
    assert [run["state"] for run in runs if run["verb"] == "backup"] == ["cancelled"]


@pytest.mark.parametrize("kind", KINDS)
def test_two_at_once(bs, slow_server, slow_backup, store, password_file, kind):
    running = slow_backup(kind)
    result = bs.run(*backup_args(slow_server, store, password_file, kind, "webscada"), expect=4)
    assert "running" in result.err and "hint:" in result.err
    assert result.seconds < 5
    assert running.wait().code == 0
    store.assert_sound()
    assert len(store.backups()) == 1


def test_two_kinds_at_once_are_two_jobs(bs, slow_server, slow_backup, store, password_file):
    running = slow_backup("base")
    bs.ok(*backup_args(slow_server, store, password_file, "dump", "webscada"))
    assert running.wait().code == 0
    store.assert_sound()
    assert len(store.backups()) == 2


# --- whose store, whose cluster ----------------------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
def test_another_cluster_under_the_same_name(bs, configure, new_server, pg, store, kind):
    """A rebuilt server, or the wrong host in the config: its backups must not join the others."""
    job = {"job": f"source: postgresql, do: {kind}"}
    bs.ok("run", "job", "-c", configure(jobs=job))
    other = new_server(is_other=True)
    other.sql("CREATE DATABASE webscada")
    path = configure(server=other, jobs=job)
    before = store.data_files()
    result = bs.run("run", "job", "-c", path, expect=5)
    assert "source adopt" in result.err
    assert pg.identity in result.err and other.identity in result.err
    assert store.data_files() == before
    bs.ok("source", "adopt", "postgresql", "-c", path)
    bs.ok("run", "job", "-c", path)
    assert len(store.backups()) == 2


def test_after_an_upgrade_the_old_backups_can_be_restored(bs, configure, new_server, store,
                                                          password_file, work):
    """A new cluster under the old name, as pg_upgrade or a rebuild makes it."""
    servers = [new_server(), new_server(is_other=True)]
    for number, server in enumerate(servers):
        server.sql("CREATE DATABASE webscada")
        server.sql(f"CREATE TABLE von AS SELECT {number} AS server", "webscada")
    jobs = {"d": "source: postgresql, do: dump, keep: 30d", "b": "source: postgresql, do: base"}
    old, new = (configure(server=server, jobs=jobs, name=f"{n}.yaml")
                for n, server in enumerate(servers))
    for job in jobs:
        bs.ok("run", job, "-c", old)
    for job in jobs:
        refused = bs.run("run", job, "-c", new, expect=5)
        assert "blackstart source adopt postgresql" in refused.err, refused
    bs.ok("source", "adopt", "postgresql", "-c", new)
    for job in jobs:
        bs.ok("run", job, "-c", new)
    listed = bs.json("list", "-c", new)["backups"]
    assert len(listed) == 4
    by_identity = {b.manifest["source"]["identity"]: b for b in store.backups("dump")}
    assert set(by_identity) == {server.identity for server in servers}
    for number, server in enumerate(servers):
        name = f"wieder_{number}"
        bs.ok("restore", by_identity[server.identity].id, "--to", servers[1].url(),
              "--password-file", password_file, "--as", name, "-c", new)
        assert servers[1].value("SELECT server FROM von", name) == number
    bs.ok("verify", "--all", "--level", "1", "-c", new)
    newest = bs.json("show", "latest", "-c", new)["manifest"]
    assert newest["source"]["identity"] == servers[1].identity


@pytest.fixture
def shifted(bs, work):
    """shifted(seconds): the environment of a blackstart whose wall clock is so far ahead."""
    library = os.path.join(work, "clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    os.path.join(os.path.dirname(__file__), "clock_shim.c")], check=True)
    return lambda seconds: {"LD_PRELOAD": library, "CLOCK_SHIFT_S": str(seconds)}


def test_the_clock_is_set_back_between_two_runs(bs, configure, store, shifted):
    """Two days ahead for a while: nothing is overwritten, removed, or taken for lost."""
    ahead = shifted(2 * 86400)
    path = configure(jobs={"d": 'source: postgresql, do: dump, at: "02:00", keep: 1d',
                           "b": "source: postgresql, do: base, keep: 1d"})
    for job in ("d", "b"):
        bs.ok("run", job, "-c", path, env=ahead)
    before = store.snapshot()
    assert {name for name in before if "manifest" in name}
    for job in ("d", "b"):
        bs.ok("run", job, "-c", path)
        bs.ok("run", job, "-c", path)
    after = store.snapshot()
    assert {name: after.get(name) for name in before} == before
    assert len(store.backups("dump")) == 3 and len(store.backups("base")) == 3
    store.assert_sound()
    for verb in (("list",), ("status",), ("prune",)):
        result = bs.run(*verb, "-c", path, expect=(0, 3))
        assert "lost" not in result.text, result
    bs.ok("verify", "--all", "--level", "0", "-c", path)
    # The catalog can be made again from backups of tomorrow.
    bs.ok("catalog", "rebuild", "-c", path)
    assert len(bs.json("list", "-c", path)["backups"]) == 6
    # What was good tomorrow does not hide what fails today.
    refused = configure(jobs={"d": "source: postgresql, do: dump"}, user="niemand")
    bs.run("run", "d", "-c", refused, expect=1)
    job, = (job for job in bs.json("status", "-c", path, expect=(0, 1, 3))["jobs"]
            if job["job"] == "d")
    assert job["last_run"]["state"] == "failed", job


def test_a_store_of_another_site(bs, configure, store):
    bs.ok("run", "pg-daily", "-c", configure(site="nord"))
    before = store.files()
    result = bs.run("run", "pg-daily", "-c", configure(site="sued"), expect=5)
    assert "nord" in result.err and "sued" in result.err and "hint:" in result.err
    assert store.files() == before


def test_a_store_of_a_newer_format(bs, dump_store, pg, password_file):
    path = os.path.join(dump_store.path, ".blackstart/store.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"format": 1', '"format": 99').replace('"format":1',
                                                                       '"format":99'))
    result = bs.run(*backup_args(pg, dump_store, password_file, "dump"), expect=(1, 5))
    assert "hint:" in result.err


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_damaged_store_json(bs, dump_store, pg, password_file, text):
    with open(os.path.join(dump_store.path, ".blackstart/store.json"), "w",
              encoding="utf-8") as file:
        file.write(text)
    before = dump_store.data_files()
    result = bs.run(*backup_args(pg, dump_store, password_file, "dump"), expect=(1, 5))
    assert "store.json" in result.err
    assert dump_store.data_files() == before


def test_a_missing_store_is_not_made_for_reading(bs, work):
    path = os.path.join(work, "vertippt")
    for verb in (("list",), ("verify", "latest"), ("status",), ("catalog", "rebuild"),
                 ("show", "latest")):
        result = bs.run(*verb, "--store", path, expect=(1, 2, 5))
        assert "vertippt" in result.err
    assert not os.path.exists(path)


def test_a_store_that_is_not_mounted(bs, configure, work, store):
    """The disk is missing and its folder is empty: it is not taken for an empty store."""
    os.mkdir(store.path)
    path = configure(store_more=", require_mount: true")
    result = bs.run("run", "pg-daily", "-c", path, expect=5)
    assert "mount" in result.err and "hint:" in result.err
    assert os.listdir(store.path) == []


def test_a_store_that_is_mounted(bs, configure, tmpfs):
    folder = tmpfs(64)
    bs.ok("run", "pg-daily", "-c", configure(store_path=folder, store_more=", require_mount: true"))


def test_a_read_only_store(bs, pg, tmpfs, password_file, dump):
    folder = tmpfs(64)
    store = Store(folder)
    args = backup_args(pg, store, password_file, "dump")
    bs.ok(*args)
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    before = store.snapshot()
    result = bs.run(*args, expect=(1, 5))
    assert "read-only" in result.err.lower() or "writable" in result.err, result
    assert "hint:" in result.err
    # What is there can still be looked at and restored.
    assert len(bs.listed(store)) == 1
    bs.ok("show", "latest", "--store", store)
    bs.run("plan", "restore", "postgresql", "--to", pg.url(), "--password-file", password_file,
           "--store", store, expect=(0, 3))
    assert store.snapshot() == before


def test_a_store_nobody_may_write(bs, pg, work, password_file):
    """As an ordinary user: a folder that belongs to somebody else."""
    folder = os.path.join(work, "fremd")
    os.mkdir(folder, 0o755)
    for path in (bs.home, bs.state):
        give_away(path)
    copy = make_password_file(os.path.join(work, "pw"), ADMIN_PASSWORD)
    give_away(copy)
    if os.geteuid() != 0:
        os.chmod(folder, 0o555)
    result = bs.run(*backup_args(pg, folder, copy, "dump"), user="postgres", expect=(1, 5))
    assert "fremd" in result.err and "hint:" in result.err
    assert os.listdir(folder) == []


def test_a_store_that_is_a_file(bs, pg, work, password_file):
    path = os.path.join(work, "datei")
    with open(path, "w", encoding="utf-8"):
        pass
    result = bs.run(*backup_args(pg, path, password_file, "dump"), expect=(1, 2, 5))
    assert "datei" in result.err


# --- the disk is full --------------------------------------------------------------------------------

@pytest.fixture
def tmpfs(work):
    """Small disks. Without the right to mount one the test fails: it proves nothing else."""
    mounted = []

    def mount(size_mib, size_bytes=None):
        path = os.path.join(work, f"disk{len(mounted)}")
        os.mkdir(path)
        size = size_bytes if size_bytes is not None else size_mib << 20
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", path],
                       check=True, capture_output=True)
        mounted.append(path)
        return path
    yield mount
    for path in mounted:
        subprocess.run(["umount", path], check=False)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.6, 0.9, 0.97, 0.995])
@pytest.mark.parametrize("kind", KINDS)
def test_disk_full(bs, pg, tmpfs, model_stores, password_file, kind, part):
    """The disk ends at some point of the backup: an error, no remains, and then it works again."""
    model = model_stores(kind).backup()
    # tmpfs counts pages; the folders and store.json need a few besides.
    need = sum(-(-os.path.getsize(path) // 4096) * 4096 for path in [model.path, *model.files])
    folder = tmpfs(0, size_bytes=max(4096, int(need * part) // 4096 * 4096) + 4096)
    store = Store(folder)
    args = backup_args(pg, store, password_file, kind,
                       plant.DATABASE if kind == "dump" else "")
    result = bs.run(*args, expect=1)
    assert "No space left" in result.err or "no space" in result.err.lower(), result
    assert folder in result.err or "store" in result.err
    assert store.data_files() == [], store.files()
    subprocess.run(["mount", "-o", f"remount,size={need * 3 + (1 << 20)}", folder], check=True)
    bs.ok(*args)
    store.assert_sound()
    assert len(bs.listed(store)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_disk_full_does_not_touch_what_was_there(bs, pg, tmpfs, model_stores, password_file, kind):
    model = model_stores(kind).backup()
    need = sum(-(-os.path.getsize(path) // 4096) * 4096 for path in [model.path, *model.files])
    store = Store(tmpfs(0, size_bytes=int(need * 1.5)))
    args = backup_args(pg, store, password_file, kind, plant.DATABASE if kind == "dump" else "")
    bs.ok(*args)
    before = store.snapshot()
    bs.run(*args, expect=1)
    assert store.snapshot() == before
    assert len(bs.listed(store)) == 1
    bs.run("verify", "latest", "--level", "1", "--store", store, expect=(0, 1))
    bs.ok("list", "--store", store)


def test_state_folder_full(bs, pg, store, tmpfs, password_file):
    """Catalog and log cannot be written: a clear error, not a crash."""
    folder = tmpfs(0, size_bytes=32768)
    with contextlib.suppress(OSError), open(os.path.join(folder, "filler"), "wb", 0) as file:
        while True:
            file.write(b"x" * 4096)
    result = bs.run(*backup_args(pg, store, password_file, "dump"),
                    env={"XDG_STATE_HOME": folder}, expect=1)
    assert folder in result.err or "catalog" in result.err
    assert store.temporary() == []


def test_scratch_disk_full(bs, dump_store, base_store, tmpfs):
    """No room for the scratch server: not tested, which says nothing about the backup."""
    folder = tmpfs(4)
    os.chmod(folder, 0o1777)
    for store in (dump_store, base_store):
        bs.run("verify", "latest", "--level", "2", "--store", store, env={"TMPDIR": folder},
               expect=1)
        assert bs.listed(store)[0]["damaged"] is False
        assert os.listdir(folder) == []


def test_a_restore_to_a_full_disk(bs, base_store, tmpfs):
    folder = tmpfs(8)
    data = os.path.join(folder, "data")
    result = bs.run("restore", "postgresql", "--kind", "base", "--to", data, "--store", base_store,
                    expect=(1, 5))
    assert "space" in result.err.lower()
    assert not os.path.exists(os.path.join(data, "global/pg_control"))


def test_stdout_full(bs, dump_store):
    """'list > /dev/full' did not print its list, so it did not succeed."""
    from program import BINARY
    code = subprocess.run([BINARY, "list", "--store", str(dump_store)], env=bs.env, check=False,
                          stdout=open("/dev/full", "wb"), stderr=subprocess.PIPE)
    assert code.returncode == 1 and b"error:" in code.stderr


# --- upgrades and older tools ---------------------------------------------------------------------------

def test_too_old_client_programs_are_refused_at_once(bs, configure, store, work):
    """A pg_dump older than the server: said before anything starts."""
    folder = os.path.join(work, "alt")
    os.mkdir(folder)
    for name in ("pg_dump", "pg_dumpall", "pg_restore"):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        os.chmod(path, 0o755)
    result = bs.run("run", "pg-daily", "-c", configure(source_more=f", bin_dir: {folder}"),
                    expect=1)
    assert "9.6" in result.err and "hint:" in result.err
    assert store.data_files() == []


def test_a_tool_that_dies_in_the_middle(bs, configure, store, work):
    """pg_dump is killed by the kernel after half of its output: half a dump is no dump."""
    from postgres import peer
    folder = os.path.join(work, "bin")
    os.mkdir(folder)
    for name in ("pg_dumpall", "pg_restore"):
        os.symlink(os.path.join(peer("client"), name), os.path.join(folder, name))
    path = os.path.join(folder, "pg_dump")
    real = os.path.join(peer("client"), "pg_dump")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/bash\n[ "$1" = --version ] && exec {real} --version\n'
                   f'case "$*" in *nonexistent*) exec {real} "$@";; esac\n'
                   f'{real} "$@" | head -c 60000\nkill -9 $$\n')
    os.chmod(path, 0o755)
    result = bs.run("run", "pg-daily", "-c", configure(source_more=f", bin_dir: {folder}"),
                    expect=1)
    assert "pg_dump" in result.err and "signal 9" in result.err.lower().replace("sigkill",
                                                                               "signal 9")
    assert store.data_files() == []


def test_what_pg_dump_warns_of_is_kept(bs, configure, store, work):
    """Warnings with exit 0 go to the manifest, and the run ends with 3."""
    from postgres import peer
    folder = os.path.join(work, "bin")
    os.mkdir(folder)
    for name in ("pg_dumpall", "pg_restore"):
        os.symlink(os.path.join(peer("client"), name), os.path.join(folder, name))
    path = os.path.join(folder, "pg_dump")
    real = os.path.join(peer("client"), "pg_dump")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/bash\n[ "$1" = --version ] && exec {real} --version\n'
                   f'case "$*" in *nonexistent*) exec {real} "$@";; esac\n'
                   f'echo "pg_dump: warning: Rost am Ventil" >&2\nexec {real} "$@"\n')
    os.chmod(path, 0o755)
    bs.run("run", "pg-daily", "-c", configure(source_more=f", bin_dir: {folder}"), expect=3)
    backup = store.backup()
    assert "Rost am Ventil" in str(backup.manifest["warnings"])


@pytest.mark.slow
def test_a_table_that_goes_away_while_it_is_dumped(bs, pg, database, store, password_file):
    """DDL while the backup runs is the plant's right; the backup may fail but not lie."""
    stop = threading.Event()

    def work():
        with contextlib.closing(pg.connect(database)) as conn:
            cursor = conn.cursor()
            n = 10
            while not stop.is_set():
                cursor.execute(f"CREATE TABLE flucht_{n} AS SELECT 1 AS a;"
                               f"DROP TABLE IF EXISTS flucht_{max(n - 3, 0)}")
                n += 1
    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(3):
            result = bs.run(*backup_args(pg, store, password_file, "dump", database),
                            expect=(0, 1, 3))
    finally:
        stop.set()
        thread.join()
    if result.code != 1:
        bs.run("verify", "latest", "--level", "3", "--store", store, expect=(0, 3))
    store.assert_sound()
