"""Back to a chosen point: each target brings exactly the commits before it, and what cannot be
reached is refused before anything is touched."""
import datetime
import os
import re
import shutil
import subprocess

import pytest

import program
from conftest import counter
from postgres import ADMIN_PASSWORD, Server, free_port, ids
from program import Program
from store import Store
from receiver import Receiver, poll

ZONE = "Europe/Berlin"


class Site:
    """A server with a receiver, a base that it covers, and what was done after it, with times."""

    def __init__(self, root, bin_dirs, password_file, name, segment_mb=1):
        self.root = os.path.join(root, name)
        os.mkdir(self.root, 0o755)
        self.bs = Program(self.root, bin_dirs, [ADMIN_PASSWORD])
        self.server = Server(os.path.join(self.root, "pg"), settings={
            "track_commit_timestamp": "on", "max_wal_size": f"{max(256, 3 * segment_mb)}MB"})
        self.server.initdb(f"--wal-segsize={segment_mb}")
        self.server.start()
        self.prepare()
        self.store = os.path.join(self.root, "store")
        self.wal = os.path.join(self.store, "postgresql/wal")
        self.config = os.path.join(self.root, "blackstart.yaml")
        self.password_file = password_file
        self.receiver = None
        self.restored = []
        self.write_config(self.server.port)

    def prepare(self):
        self.server.sql("CREATE ROLE webscada SUPERUSER LOGIN PASSWORD "
                        f"'{ADMIN_PASSWORD}'; CREATE TABLE t (id int PRIMARY KEY);"
                        "CREATE UNLOGGED TABLE scratch (id int)")

    def write_config(self, port):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""site: testwerk
timezone: {ZONE}
state_dir: {self.root}/state
store: {{ path: {self.store} }}
sources:
  postgresql: {{ type: postgres, host: 127.0.0.1, port: {port}, user: webscada,
                password_file: {self.password_file}, databases: [postgres] }}
jobs:
  pg-base: {{ source: postgresql, do: base, at: "01:00", keep: 7d }}
  pg-wal: {{ source: postgresql, do: wal, continuous: true, heartbeat: off }}
""")

    def receive(self):
        self.receiver = Receiver(self.bs, self.config, self.wal, self.server).start()
        return self

    def run(self, *args, expect=0):
        return self.bs.run(*args, "-c", self.config, expect=expect)

    def base(self):
        self.run("run", "pg-base")

    def insert(self, number):
        """One row, and when, by whom and up to where it was committed."""
        self.server.sql(f"INSERT INTO t VALUES ({number})")
        at, xid = self.server.sql("SELECT pg_xact_commit_timestamp(xmin), xmin::text FROM t "
                                  f"WHERE id = {number}")[0]
        return {"at": at, "xid": xid,
                "lsn": self.server.value("SELECT pg_current_wal_insert_lsn()")}

    def restore(self, *target, expect=0, verb=("restore",), to=None, start=True,
                source="postgresql"):
        to = to or os.path.join(self.root, f"restored{next(counter)}")
        # A port of our own: somebody else's tests may be about to take the first free one.
        starting = ["--start", "--port", str(free_port())] if start else []
        result = self.run(*verb, source, *target, "--to", to, *starting, expect=expect)
        if expect in (0, 3) and start and verb == ("restore",):
            self.restored.append(to)
        return result

    def ids_at(self, *target, expect=0, **kwargs):
        """Restore, start, and see which rows there are."""
        result = self.restore(*target, expect=expect, **kwargs)
        data = self.restored[-1]
        port = int(re.search(r"port (\d+) of this machine", result.out)[1])
        copy = Server(self.root, data=data)
        copy.root, copy.port = data, port
        rows = [row[0] for row in copy.sql("SELECT id FROM t ORDER BY id")]
        assert copy.value("SHOW archive_mode") == "off"
        assert copy.value("SELECT pg_is_in_recovery()") is False
        self.end(data)
        return rows, result

    def end(self, data):
        subprocess.run([os.path.join(self.server.bin, "pg_ctl"), "-D", data, "-m", "immediate",
                        "-s", "stop"], check=True, **ids())
        shutil.rmtree(data)
        self.restored.remove(data)

    def destroy(self):
        for data in list(self.restored):
            self.end(data)
        self.bs.end_all()
        self.server.destroy()
        shutil.rmtree(self.root, ignore_errors=True)


def stamp(at, micros=0):
    """As a person would type it, in UTC with an offset."""
    at = at.astimezone(datetime.timezone.utc) + datetime.timedelta(microseconds=micros)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f+00:00")


@pytest.fixture(scope="module")
def site(base_folder, bin_dirs, password_file):
    """Rows 1 to 6 after the base, a restore point behind 3, the tail is not finished."""
    made = Site(base_folder, bin_dirs, password_file, "pitr").receive()
    made.base()
    made.done = {}
    for number in range(1, 7):
        made.done[number] = made.insert(number)
        if number == 3:
            made.server.sql("SELECT pg_create_restore_point('after three')")
        if number in (2, 4):
            made.server.sql("SELECT pg_switch_wal()")
    made.receiver.wait_all()
    yield made
    made.destroy()


# --- what is covered --------------------------------------------------------

def test_a_base_beside_the_receiver_has_no_log_of_its_own(site):
    backup = Store(site.store).backup()
    assert backup.manifest["content"]["wal_included"] is False
    assert int(backup.manifest["content"]["next_xid"]) <= int(site.done[1]["xid"])
    assert backup.warnings() == []


def test_a_base_without_log_is_proved_with_the_archive(site):
    result = site.run("verify", "latest", "--kind", "base", "--level", "3")
    assert "WAL from" in result.text and "is whole" in result.text, result


def test_a_base_without_log_is_restored_with_the_archive(site):
    result = site.restore("--kind", "base")
    assert "database 'postgres'" in result.out, result
    site.end(site.restored[-1])


def test_the_window_is_told(site):
    result = site.run("window", "postgresql")
    assert re.match(r"postgresql can be brought back to any second from \S+ \S+ \S+ to", result.out)
    window = site.run("window", "--json").json
    assert len(window["spans"]) == 1 and window["gaps"] == []
    assert window["spans"][0]["current"] is True
    last = site.done[6]["at"].astimezone(datetime.timezone.utc)
    assert window["spans"][0]["to"].startswith(last.strftime("%Y-%m-%dT%H:%M:%S.%f")), window


def test_the_status_answers_with_the_window(site):
    result = site.run("status")
    assert re.search(r"Can we recover\?  Yes: 'postgresql' to any second since ", result.out), result
    jobs = {job["job"]: job for job in site.run("status", "--json").json["jobs"]}
    window = site.run("window", "--json").json["spans"][0]
    assert jobs["pg-wal"]["window_from"] == window["from"]
    assert jobs["pg-wal"]["window_to"] == window["to"]
    assert jobs["pg-wal"]["running"] is True and jobs["pg-wal"]["abnormal"] is None


def test_what_only_looks_needs_no_password(site):
    """The file with it may be gone with the machine; the store still knows what can be had."""
    with open(site.config, encoding="utf-8") as file:
        text = file.read()
    try:
        with open(site.config, "w", encoding="utf-8") as file:
            file.write(text.replace(site.password_file, os.path.join(site.root, "no-secret")))
        assert "to any second since" in site.run("status").out
        assert "to any second from" in site.run("window").out
    finally:
        site.write_config(site.server.port)


def test_a_receiver_that_does_not_run_is_abnormal(site):
    site.receiver.stop()
    try:
        jobs = {job["job"]: job for job in site.run("status", "--json", expect=3).json["jobs"]}
        assert "nothing is received" in jobs["pg-wal"]["abnormal"]
        assert jobs["pg-wal"]["next_command"] == "blackstart run pg-wal"
    finally:
        site.receiver.start()


# --- each target ------------------------------------------------------------

def test_a_time_brings_exactly_the_commits_before_it(site):
    rows, result = site.ids_at("--at", stamp(site.done[3]["at"]))
    assert rows == [1, 2, 3], result
    assert "last commit" in result.out and "0.000 s before the target" in result.out, result
    assert re.search(r"replayed to [0-9A-F]+/[0-9A-F]+ on timeline 1", result.out), result
    assert "'public.scratch' of database 'postgres' is unlogged" in result.out, result
    assert "database 'postgres': 2 tables, 3 rows" in result.out, result


def test_a_microsecond_earlier_brings_one_less(site):
    rows, _ = site.ids_at("--at", stamp(site.done[3]["at"], -1))
    assert rows == [1, 2]


def test_an_excluded_time_stops_before_it(site):
    rows, _ = site.ids_at("--at", stamp(site.done[5]["at"]), "--exclusive")
    assert rows == [1, 2, 3, 4]


def test_a_transaction(site):
    rows, _ = site.ids_at("--xid", site.done[4]["xid"])
    assert rows == [1, 2, 3, 4]


def test_a_restore_point(site):
    rows, _ = site.ids_at("--point", "after three")
    assert rows == [1, 2, 3]


def test_a_place(site):
    rows, _ = site.ids_at("--lsn", site.done[5]["lsn"], "--exclusive")
    assert rows == [1, 2, 3, 4, 5]


def test_latest_has_what_the_tail_has(site):
    rows, result = site.ids_at("--at", "latest")
    assert rows == [1, 2, 3, 4, 5, 6], result


def test_behind_the_last_commit_is_the_end_and_is_said(site):
    now = datetime.datetime.now(datetime.timezone.utc)
    rows, result = site.ids_at("--at", stamp(now), expect=3)
    assert rows == [1, 2, 3, 4, 5, 6]
    assert "is behind the last commit that is known" in result.err, result


# --- what is refused --------------------------------------------------------

def refused(site, *target, code=5):
    result = site.restore(*target, verb=("plan", "restore"), expect=code)
    assert not os.path.exists(result.args[result.args.index("--to") + 1])
    return result.text


def test_impossible_targets_are_refused_with_the_nearest(site):
    tomorrow = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    assert "before the first base backup" in refused(site, "--at", "2020-01-01 00:00:00+00")
    assert "--at '" in refused(site, "--at", "2020-01-01 00:00:00+00")
    assert "in the future" in refused(site, "--at", stamp(tomorrow))
    assert "Did you mean 'after three'" in refused(site, "--point", "after thre")
    assert "behind the end of the log" in refused(site, "--lsn", "FF/0")
    assert "nothing is known of timeline 9" in refused(site, "--at", "latest", "--timeline", "9")


def test_local_times_that_are_none_or_two(site):
    twice = refused(site, "--at", "2026-10-25 02:30:00", code=2)
    assert "exists twice" in twice and "+02:00" in twice and "+01:00" in twice
    assert "does not exist" in refused(site, "--at", "2026-03-29 02:30:00", code=2)


def test_a_local_time_says_its_zone(site):
    at = site.done[2]["at"].astimezone(datetime.timezone.utc)
    local = subprocess.run(["date", "-d", f"@{at.timestamp():.6f}", "+%Y-%m-%d %H:%M:%S.%6N"],
                           env={"TZ": ZONE}, check=True, capture_output=True, text=True).stdout
    result = site.restore("--at", local.strip(), verb=("plan", "restore"))
    assert f"in the zone {ZONE}" in result.err, result
    assert "recover along timeline 1 to" in result.out, result


def test_targets_exclude_each_other(site):
    assert "exclude each other" in refused(site, "--at", "latest", "--lsn", "0/1", code=2)
    assert "needs a target" in refused(site, "--exclusive", code=2)


def test_plan_touches_nothing_and_tells_the_steps(site):
    result = site.restore("--at", stamp(site.done[3]["at"]), verb=("plan", "restore"))
    to = result.args[result.args.index("--to") + 1]
    assert not os.path.exists(to)
    assert "recover along timeline 1" in result.out
    assert "at most" in result.out and "segments" in result.out, result


# --- the live place ---------------------------------------------------------

def test_a_restored_folder_takes_the_place_of_the_live_one(new_server, bs, work):
    live = new_server(settings={"archive_mode": "on"})
    copy = os.path.join(work, "copy")
    live.sql("CREATE TABLE mark AS SELECT 'live' AS says")
    store, password = os.path.join(work, "store"), os.path.join(work, "password")
    with open(password, "w", encoding="utf-8") as file:
        file.write(ADMIN_PASSWORD)
    os.chmod(password, 0o600)
    bs.ok("backup", live.url(), "--kind", "base", "--store", store, "--password-file", password)
    live.sql("UPDATE mark SET says = 'broken'")
    bs.ok("restore", "postgresql", "--kind", "base", "--store", store, "--to", copy)

    def promote(*args, expect):
        return bs.run("promote", copy, *args, "--store", store, expect=expect)
    assert "--confirm=" in promote(expect=5).err
    assert "a server runs in" in promote(f"--confirm={live.data}", expect=5).err
    live.stop()
    assert "no data directory" in promote(f"--confirm={work}", expect=5).err
    promote(f"--confirm={live.data}", "-n", expect=0)
    assert os.path.exists(copy), "a dry run"
    result = promote(f"--confirm={live.data}", expect=0)
    kept = [name for name in os.listdir(live.root) if ".before-" in name]
    assert len(kept) == 1 and not os.path.exists(copy), result
    live.start()
    assert live.value("SELECT says FROM mark") == "live"
    assert live.value("SHOW archive_mode") == "on"
    assert live.value("SHOW max_logical_replication_workers") != "0", "set apart no more"
    live.stop()
    old = Server(os.path.join(work, "old"), data=os.path.join(live.root, kept[0]))
    assert old.start().value("SELECT says FROM mark") == "broken"
    old.destroy()


def test_another_system_is_not_replaced(new_server, bs, work, base_store):
    other = new_server(start=False, is_other=True)
    copy = os.path.join(work, "copy")
    bs.ok("restore", "postgresql", "--kind", "base", "--store", base_store, "--to", copy)
    result = bs.run("promote", copy, f"--confirm={other.data}", "--store", base_store, expect=5)
    assert "of another system" in result.err
    assert os.path.exists(copy) and os.path.exists(other.data)


# --- several timelines, and holes -------------------------------------------

@pytest.fixture
def branching(base_folder, bin_dirs, password_file):
    made = []

    def make(name):
        made.append(Site(base_folder, bin_dirs, password_file, name).receive())
        made[-1].base()
        return made[-1]
    yield make
    for site in made:
        site.destroy()


def later(site, number):
    """A row in a segment of its own."""
    done = site.insert(number)
    site.server.sql("SELECT pg_switch_wal()")
    return done


def test_a_missing_segment_in_the_middle_is_refused_before_anything_is_written(branching):
    site = branching("hole")
    done = {number: later(site, number) for number in range(1, 5)}
    site.insert(5)
    site.receiver.wait_all()
    site.receiver.stop()
    # The index knows all of it before one goes, however late the settling came.
    site.run("settle", "postgresql")
    lsn = done[3]["lsn"]
    found = site.server.value(f"SELECT pg_walfile_name('{lsn}')")
    names = [name for name in os.listdir(site.wal) if name.startswith(found)]
    assert names, (found, os.listdir(site.wal))
    for name in names:
        os.unlink(os.path.join(site.wal, name))
    window = site.run("window", "--json", expect=3).json
    assert len(window["gaps"]) == 1 and found in window["gaps"][0]["text"], (
        window["gaps"], names, sorted(os.listdir(site.wal)))
    # Before the hole all is well, in it and behind it nothing can be promised.
    assert site.ids_at("--at", stamp(done[1]["at"]))[0] == [1]
    for at in (stamp(done[3]["at"]), stamp(done[4]["at"])):
        text = refused(site, "--at", at)
        assert found in text and "gap" in text, text
    assert "does not lead to the end" in refused(site, "--at", "latest")


def test_a_promoted_standby_is_followed_and_the_times_before_it_stay(branching):
    site = branching("failover")
    standby = Server(os.path.join(site.root, "standby"), settings=site.server.settings)
    site.server.tool("pg_basebackup", "-D", standby.data, "-h", site.server.root, "-p",
                     str(site.server.port), "-U", "postgres", "-R", "-X", "stream", "-c", "fast")
    standby.start()
    try:
        before = later(site, 1)
        lsn = site.server.value("SELECT pg_current_wal_flush_lsn()")
        poll(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"))
        site.receiver.wait_all()
        site.receiver.stop()
        site.server.stop()
        standby.sql("SELECT pg_promote()")
        site.write_config(standby.port)
        old, site.server = site.server, standby
        site.receiver = Receiver(site.bs, site.config, site.wal, standby).start()
        after = site.insert(2)
        last = site.insert(3)
        site.receiver.wait_all()
        window = site.run("window", "--json").json
        assert [t["timeline"] for t in window["timelines"] if t["on_main"]] == [1, 2], window
        assert site.ids_at("--at", stamp(before["at"]))[0] == [1]
        rows, result = site.ids_at("--at", stamp(after["at"]))
        assert rows == [1, 2] and "on timeline 2" in result.out, result
        rows, result = site.ids_at("--at", "latest")
        assert rows == [1, 2, 3], result
        # The old one by its number: nothing of the new one.
        rows, result = site.ids_at("--at", "latest", "--timeline", "1")
        assert rows == [1] and "on timeline 1" in result.out, result
        assert last["at"] > after["at"]
        site.server = old
    finally:
        standby.destroy()


def test_a_rehearsal_that_archives_here_is_not_followed(branching):
    site = branching("rehearsal")
    first = later(site, 1)
    later(site, 2)
    site.insert(3)
    site.receiver.wait_all()
    # The copy is brought to the first row, promoted, and archives what it does on timeline 2.
    result = site.restore("--at", stamp(first["at"]))
    data = site.restored[-1]
    port = int(re.search(r"port (\d+) of this machine", result.out)[1])
    copy = Server(os.path.join(site.root, "copy"), data=data)
    copy.root, copy.port = data, port
    copy.sql("INSERT INTO t VALUES (99); SELECT pg_switch_wal(); INSERT INTO t VALUES (100)")
    current = copy.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    for name in os.listdir(os.path.join(data, "pg_wal")):
        path = os.path.join(data, "pg_wal", name)
        if name.startswith("00000002") and name < current:  # "." sorts before the digits
            site.bs.ok("archive-push", path, "--store", site.store, "--source", "postgresql")
    site.end(data)
    fourth = site.insert(4)
    site.receiver.wait_all()
    shown = site.run("window")
    assert "timeline 2 left timeline 1 at" in shown.out and "a side branch" in shown.out
    assert "taken for a side branch" in shown.err
    rows, result = site.ids_at("--at", "latest")
    assert rows == [1, 2, 3, 4] and "on timeline 1" in result.out, result
    assert site.ids_at("--at", stamp(fourth["at"]))[0] == [1, 2, 3, 4]


def test_a_quiet_server_can_be_brought_back_to_now(branching):
    """The heartbeat's commits are what a target in a quiet time stops at."""
    site = branching("quiet")
    site.insert(1)
    site.receiver.stop()
    with open(site.config, encoding="utf-8") as file:
        text = file.read()
    with open(site.config, "w", encoding="utf-8") as file:
        file.write(text.replace("heartbeat: off", "heartbeat: 1s"))
    site.receiver = Receiver(site.bs, site.config, site.wal, site.server).start()

    def last_commit():
        return site.run("window", "--json").json["spans"][-1]["to"]
    first = poll(last_commit)
    second = poll(lambda: last_commit() > first and last_commit())
    at = datetime.datetime.fromisoformat(second.replace("Z", "+00:00"))
    rows, result = site.ids_at("--at", stamp(at, -1000))
    assert rows == [1] and "is behind the last commit" not in result.err, result


def test_the_server_need_not_reach_the_program(site, work, monkeypatch):
    """It lies where only root can enter: the server's user is given a copy."""
    if os.geteuid() != 0:
        pytest.skip("only root can hide something from the server's user")
    hidden = os.path.join(work, "hidden")
    os.mkdir(hidden, 0o700)
    monkeypatch.setattr(program, "BINARY", shutil.copy(program.BINARY, hidden))
    rows, _ = site.ids_at("--at", stamp(site.done[2]["at"]))
    assert rows == [1, 2]
