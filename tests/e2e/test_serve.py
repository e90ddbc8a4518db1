"""The daemon on a real Redis, in fast time: runs happen once, whatever is done to it."""
import contextlib
import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

import plant
from daemon import MONDAY, Daemon, build_clock, wait_for
from postgres import ADMIN, ADMIN_PASSWORD
from program import Program
from redis_server import PASSWORD, RedisServer, redis_bin
from store import Store

DAY = 86400


@pytest.fixture(scope="session")
def fast_clock(base_folder):
    return build_clock(base_folder)


@pytest.fixture(scope="module")
def redis(base_folder):
    server = RedisServer(os.path.join(base_folder, "serve-redis"))
    server.start()
    for number in range(50):
        server.cli("SET", f"tag:{number}", "x" * 100)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def big_redis(base_folder):
    """Two megabytes, which at 64 KiB a second is a long run."""
    server = RedisServer(os.path.join(base_folder, "serve-big"), "--rdbcompression", "no")
    server.start()
    for number in range(20):
        server.cli("SETRANGE", f"big:{number}", "100000", "x")
    yield server
    server.kill()


@pytest.fixture
def bs(work):
    program = Program(work, [redis_bin()], [PASSWORD])
    yield program
    program.end_all()
    program.assert_no_secret_on_disk(os.path.join(work, "store"))


@pytest.fixture
def password(work):
    path = os.path.join(work, "password")
    with open(path, "w", encoding="utf-8") as file:
        file.write(PASSWORD + "\n")
    os.chmod(path, 0o600)
    return path


@pytest.fixture
def serve(bs, work, fast_clock, redis, password):
    made = []

    def make(jobs, server=redis, wall=MONDAY, more="", page=None, **kwargs):
        daemon = Daemon(bs, work, fast_clock, server, password, wall)
        daemon.port = page or daemon.port
        made.append(daemon)
        daemon.write(jobs, more, **kwargs)
        bs.ok("backup", server.url, "--store", daemon.store, "--password-file", password,
              "--name", "redis")
        return daemon.start()
    yield make
    for daemon in made:
        if daemon.running and daemon.running.is_running():
            daemon.kill()
        daemon.end_workers()


OFTEN = "every: 60s, keep: 7d"
SLOW = "every: 1h, keep: 7d, rate_limit: 64KiB"


def test_runs_happen_and_are_recorded(serve, bs):
    daemon = serve({"often": OFTEN, "nightly": 'at: "00:02", keep: 7d', "copy": "after: [nightly]"})
    daemon.wait_runs("often", 5, "ok")
    nightly, = daemon.wait_runs("nightly", 1, "ok")
    assert nightly["due"] == (MONDAY + 120) * 1000000 and nightly["attempt"] == 1
    copy, = daemon.wait_runs("copy", 1, "ok")
    assert copy["due"] == nightly["due"] and copy["started"] >= nightly["finished"]
    assert "200 OK" in daemon.ask("/readyz")
    # The same run by hand has the same record, but no due time.
    wait_for(lambda: bs.run("run", "nightly", "-c", daemon.path).code == 0)
    assert daemon.runs("nightly")[-1]["due"] == 0
    daemon.stop()
    daemon.assert_each_due_time_has_one_record("often", 60)
    assert not daemon.runs("often", "running")
    listed = bs.json("list", "often", "-c", daemon.path)["backups"]
    assert len(listed) == len(daemon.runs("often", "ok"))
    rows = bs.json("next", "-c", daemon.path, "--count", "4")["next"]
    assert [row["job"] for row in rows].count("often") == 4 or rows[0]["job"] == "nightly"


def test_a_second_one_is_refused(serve, bs):
    daemon = serve({"often": OFTEN})
    refused = bs.run("serve", "-c", daemon.path, expect=4)
    assert "serves already" in refused.err
    daemon.stop()


def test_reload_swaps_or_keeps(serve, bs):
    daemon = serve({"often": OFTEN})
    daemon.wait_runs("often", 1)
    with open(daemon.path, encoding="utf-8") as file:
        good = file.read()
    with open(daemon.path, "w", encoding="utf-8") as file:
        file.write(good.replace("keep:", "kep:"))
    daemon.running.signal(signal.SIGHUP)
    daemon.wait_log("the old one stays")
    count = len(daemon.runs("often"))
    daemon.wait_runs("often", count + 2)
    wait_for(lambda: [row for row in daemon.rows("SELECT * FROM alarm WHERE rule = "
                                                 "'config_reload_failed' AND cleared_at = 0")])
    daemon.write({"often": OFTEN, "other": OFTEN})
    daemon.running.signal(signal.SIGHUP)
    daemon.wait_log("was read again")
    daemon.wait_runs("other", 2)
    wait_for(lambda: not daemon.rows("SELECT * FROM alarm WHERE rule = 'config_reload_failed' "
                                     "AND cleared_at = 0"))
    daemon.write({"other": OFTEN})
    daemon.running.signal(signal.SIGHUP)
    wait_for(lambda: not daemon.rows("SELECT * FROM schedule WHERE job = 'often'"))
    daemon.stop()
    daemon.assert_each_due_time_has_one_record("other", 60)


def test_a_killed_daemon_leaves_its_worker_to_the_next(serve, big_redis):
    daemon = serve({"slow": SLOW}, server=big_redis)
    daemon.wait_runs("slow", 1, "running")
    before = daemon.workers()
    daemon.kill()
    assert daemon.workers() == before != []
    daemon.start()
    wait_for(lambda: daemon.runs("slow", "ok"), 120, lambda: daemon.runs("slow"))
    run, = [row for row in daemon.runs("slow") if row["due"] == daemon.runs("slow")[0]["due"]]
    assert run["state"] == "ok" and run["attempt"] == 1
    daemon.stop()


def test_a_restore_goes_first(serve, big_redis):
    """What runs of its source is stopped, what is due waits, and both go on when it has ended.

    That is no failure: it needs no retry to be begun again."""
    daemon = serve({"slow": SLOW + ", retry: false", "often": OFTEN}, server=big_redis)
    daemon.wait_runs("slow", 1, "running")
    # As a restore of somebody at a terminal is known: a row that says it runs, and its lock.
    path = os.path.join(daemon.state, "lock", "run-by-hand.lock")
    now = int(daemon.now() * 1e6)
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with sqlite3.connect(daemon.catalog, timeout=10) as catalog:
            catalog.execute("INSERT INTO run (id, job, source, verb, state, started, finished, source_bytes, "
                            "stored_bytes, lock_path) VALUES ('by-hand', 'restore-redis', 'redis', 'restore', "
                            "'running', ?, 0, 0, 0, ?)", (now, path))
        catalog.close()
        stopped, = daemon.wait_runs("slow", 1, "cancelled")
        daemon.wait_log("job 'slow' is stopped: a restore of 'redis' goes first")
        wait_for(lambda: not daemon.runs("often", "running"))
        count = len(daemon.runs("often"))
        time.sleep(3)  # three minutes of its time
        assert len(daemon.runs("slow")) == 1
        assert not [run for run in daemon.runs("often")[count:] if run["state"] not in ("skipped", "missed")]
    again = daemon.wait_runs("slow", 2)[1]
    assert (again["due"], again["attempt"]) == (stopped["due"], 2)
    daemon.stop()


@pytest.fixture
def mortal_redis(work):
    """Of the test's own; more than a connection's buffers hold, and it says how much there is."""
    server = RedisServer(os.path.join(work, "serve-mortal"), "--rdbcompression", "no",
                         "--repl-diskless-sync", "no")
    server.start()
    for number in range(40):
        server.cli("SETRANGE", f"big:{number}", "1000000", "x")
    yield server
    server.kill()


def test_what_failed_without_a_daemon_is_tried_again_by_the_next(serve, mortal_redis):
    daemon = serve({"slow": SLOW}, server=mortal_redis)
    first, = daemon.wait_runs("slow", 1, "running")
    daemon.kill()
    mortal_redis.kill()
    wait_for(lambda: not daemon.workers())
    failed, = daemon.runs("slow", "failed")
    daemon.start()
    second = wait_for(lambda: daemon.runs("slow")[1:])[0]
    assert (second["due"], second["attempt"]) == (first["due"], 2)
    # A minute after it was found, as if the daemon had seen it end.
    assert second["started"] - failed["finished"] > 40 * 1000000
    daemon.stop()


def progress_of(daemon, text):
    name = 'blackstart_run_progress_ratio{name="slow",source="redis"} '
    found = [line for line in text.splitlines() if line.startswith(name)]
    assert "blackstart_run_progress_ratio{" not in text or len(found) == 1, text
    return float(found[0].removeprefix(name)) if found else None


def test_how_far_a_run_is_is_a_number(serve, mortal_redis):
    daemon = serve({"slow": SLOW}, server=mortal_redis)

    def metrics():
        return daemon.ask("/metrics").partition("\r\n\r\n")[2]

    first = wait_for(lambda: progress_of(daemon, metrics()))
    text = metrics()
    wait_for(lambda: progress_of(daemon, metrics()) > first)
    assert 0 < first < 1 and daemon.runs("slow", "running")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                             capture_output=True)
    assert checked.returncode == 0 and checked.stdout + checked.stderr == "", checked
    # The worker talks to the daemon that began it; the next one does not know, and says no number.
    daemon.kill()
    daemon.start()
    text = metrics()
    assert daemon.runs("slow", "running") and "blackstart_run_running_since" in text
    assert progress_of(daemon, text) is None
    # Its own second attempt has a number again, and no more once that is over.
    daemon.end_workers()
    daemon.wait_runs("slow", 1, "lost")
    wait_for(lambda: progress_of(daemon, metrics()))
    daemon.end_workers()
    daemon.wait_runs("slow", 2, "lost")
    assert progress_of(daemon, metrics()) is None
    daemon.stop()


def test_a_killed_worker_is_lost_and_tried_again(serve, big_redis):
    daemon = serve({"slow": SLOW}, server=big_redis)
    daemon.wait_runs("slow", 1, "running")
    daemon.end_workers()
    lost, = daemon.wait_runs("slow", 1, "lost")
    second = daemon.wait_runs("slow", 2)[1]
    assert second["due"] == lost["due"] and second["attempt"] == 2
    assert second["started"] - lost["finished"] > 40 * 1000000
    # Both at once: the next process finds that it is dead, and goes on with the third attempt.
    daemon.kill()
    daemon.end_workers()
    daemon.start()
    daemon.wait_runs("slow", 2, "lost")
    assert daemon.wait_runs("slow", 3)[2]["attempt"] == 3
    daemon.stop()


def test_sigterm_ends_a_long_run_cleanly(serve, bs, big_redis):
    daemon = serve({"slow": SLOW}, server=big_redis)
    daemon.wait_runs("slow", 1, "running")
    daemon.stop()
    assert daemon.runs("slow")[0]["state"] == "cancelled"
    assert Store(daemon.store).temporary() == []
    daemon.start()
    second = daemon.wait_runs("slow", 2)[1]
    assert second["due"] == daemon.runs("slow")[0]["due"] and second["attempt"] == 2
    daemon.stop()


def test_a_run_that_takes_too_long_is_ended(serve, big_redis):
    daemon = serve({"slow": SLOW + ", timeout: 2min"}, server=big_redis)
    run, = daemon.wait_runs("slow", 1, "cancelled")
    daemon.wait_log("longer than its timeout of 2 min")
    assert run["attempt"] == 1
    daemon.stop()


def test_a_server_that_is_away_is_tried_again(serve, redis):
    daemon = serve({"hourly": "every: 2h"}, port=1)
    rows = daemon.wait_runs("hourly", 4, "failed", timeout=120)
    assert [row["attempt"] for row in rows] == [1, 2, 3, 4]
    assert len({row["due"] for row in rows}) == 1
    gaps = [(after["started"] - before["finished"]) / 6e7
            for before, after in zip(rows, rows[1:])]
    assert 0.7 < gaps[0] < 2.5 and 3.9 < gaps[1] < 7.5 and 11.9 < gaps[2] < 20
    daemon.stop()


def test_a_keeper_is_started_again(serve):
    daemon = serve({"often": OFTEN, "stream": "do: stream, continuous: true, keep: 7d"})
    daemon.wait_runs("stream", 1, "running")
    victim, = [pid for pid in daemon.workers()
               if b"stream" in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")]
    os.kill(victim, signal.SIGKILL)
    daemon.wait_runs("stream", 1, "lost")
    wait_for(lambda: daemon.runs("stream", "running"), 60, lambda: daemon.runs("stream"))
    daemon.wait_log("job 'stream' ended: its process was ended by signal 9")
    # It dies with the daemon, and the next one begins its own.
    daemon.kill()
    wait_for(lambda: not [pid for pid in daemon.workers()
                          if b"stream" in open(f"/proc/{pid}/cmdline", "rb").read()])
    daemon.start()
    wait_for(lambda: daemon.runs("stream", "running"))
    daemon.stop()
    assert not daemon.runs("stream", "running")


def test_a_month_off_is_one_row(serve):
    daemon = serve({"often": OFTEN})
    daemon.wait_runs("often", 2)
    daemon.stop()
    daemon.set_clock(MONDAY + 30 * DAY)
    daemon.start()
    missed, = daemon.wait_runs("often", 1, "missed")
    assert 43000 < missed["due_count"] < 43300
    daemon.wait_runs("often", 2, "ok")
    daemon.stop()
    daemon.assert_each_due_time_has_one_record("often", 60)


def test_maintenance_holds_and_lets_go(serve, bs):
    daemon = serve({"often": OFTEN})
    daemon.wait_runs("often", 1, "ok")
    fast = {"LD_PRELOAD": daemon.clock}
    bs.run("maintenance", "on", "-c", daemon.path, expect=2, env=fast)
    bs.ok("maintenance", "on", "--for", "2h", "--reason", "new switch", "-c", daemon.path, env=fast)
    daemon.wait_runs("often", 1, "skipped")
    count = len(daemon.runs("often", "ok"))
    wait_for(lambda: daemon.runs("often", "skipped")[-1]["due_count"] > 2)
    assert len(daemon.runs("often", "ok")) == count
    bs.ok("maintenance", "off", "-c", daemon.path, env=fast)
    daemon.wait_runs("often", count + 1, "ok")
    audit = [row["action"] for row in daemon.rows("SELECT * FROM audit ORDER BY seq")]
    assert audit == ["maintenance on", "maintenance off"]
    daemon.stop()
    daemon.assert_each_due_time_has_one_record("often", 60)


def test_a_port_that_is_taken(serve):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        daemon = serve({"often": OFTEN}, page=other.getsockname()[1])
        daemon.wait_log("no page: ")
        daemon.wait_runs("often", 2, "ok")
    daemon.wait_log("the page is at")
    assert "200 OK" in daemon.ask("/healthz")
    daemon.stop()


def alarms(daemon, rule):
    return daemon.rows("SELECT * FROM alarm WHERE rule = ? AND cleared_at = 0", rule)


@pytest.fixture
def small_disk(work):
    path = os.path.join(work, "state-serve")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", path], check=True,
                   capture_output=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_no_room_for_the_catalog(serve, small_disk):
    """First an alarm; when nothing can be written any more it is said, and nothing is forgotten."""
    daemon = serve({"often": OFTEN})
    daemon.wait_runs("often", 2, "ok")
    filler = os.path.join(small_disk, "filler")
    with open(filler, "wb", buffering=0) as file:
        left = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        file.write(bytes(max(0, left - (200 << 10))))
        alarm, = wait_for(lambda: alarms(daemon, "storage_above"))
        assert alarm["subject"] == "state_dir" and small_disk in alarm["next_command"]
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
    daemon.wait_log("nothing can be recorded, and no alarm be raised: ")
    wait_for(lambda: "503" in daemon.ask("/readyz"))
    assert "no space left for catalog" in daemon.ask("/readyz")
    assert "200 OK" in daemon.ask("/healthz")
    first = json.loads(daemon.ask("/api/v1/state").partition("\r\n\r\n")[2])["abnormal"][0]
    assert first["subject"] == "blackstart" and first["severity"] == "critical"
    assert "no space left" in first["cause"] and first["next_command"] == f"df -h {small_disk}"
    time.sleep(3)  # three minutes of its time, in which runs come due
    assert daemon.log_text().count("nothing can be recorded") == 1
    count = len(daemon.runs("often", "ok"))
    os.unlink(filler)
    daemon.wait_log("the catalog can be written again")
    wait_for(lambda: "200 OK" in daemon.ask("/readyz"))
    daemon.wait_runs("often", count + 2, "ok")
    wait_for(lambda: not alarms(daemon, "storage_above"))
    daemon.stop()
    daemon.assert_each_due_time_has_one_record("often", 60)


def test_a_damaged_catalog_is_set_aside(serve, bs):
    daemon = serve({"often": OFTEN})
    daemon.wait_runs("often", 3, "ok")
    daemon.stop()
    with open(daemon.catalog, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(random.Random(1).randbytes(size - 4096))
    daemon.start()
    daemon.wait_runs("often", 2, "ok")
    aside, = [name for name in os.listdir(daemon.state)
              if "damaged" in name and not name.endswith(("-wal", "-shm"))]
    wait_for(lambda: len(daemon.rows("SELECT * FROM backup")) >= 5)
    alarm, = wait_for(lambda: alarms(daemon, "catalog_damaged"))
    assert aside in alarm["cause"] and alarm["next_command"].startswith("rm ")
    os.unlink(os.path.join(daemon.state, aside))
    wait_for(lambda: not alarms(daemon, "catalog_damaged"))
    daemon.stop()


def test_the_service_manager_is_told(serve, work):
    path = os.path.join(work, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        daemon = serve({"often": OFTEN})
        daemon.stop()
        daemon.start({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "20000000"})
        said = manager.recv(4096).decode()
        while "READY=1" not in said:
            said += manager.recv(4096).decode()
        while "WATCHDOG=1" not in said:
            said += manager.recv(4096).decode()
        daemon.running.signal(signal.SIGHUP)
        while "RELOADING=1\nMONOTONIC_USEC=" not in said:
            said += manager.recv(4096).decode()
        said = ""
        while "READY=1" not in said:
            said += manager.recv(4096).decode()
        daemon.running.signal(signal.SIGTERM)
        while "STOPPING=1" not in said:
            said += manager.recv(4096).decode()
        daemon.running.wait()


@pytest.mark.slow
def test_killed_again_and_again(serve, bs):
    rounds = int(os.environ.get("BLACKSTART_KILLS", "20"))
    seed = int(os.environ.get("BLACKSTART_SEED", "1"))
    luck = random.Random(seed)
    daemon = serve({"often": OFTEN, "half": "every: 90s, keep: 7d", "copy": "after: [half]"})
    for _ in range(rounds):
        daemon.wait_runs("often", 1)
        wait_for(lambda end=daemon.now() + luck.uniform(5, 150): daemon.now() > end)
        if luck.random() < 0.4:
            for pid in daemon.workers():
                os.kill(pid, signal.SIGKILL)
        else:
            daemon.kill()
            if luck.random() < 0.5:
                daemon.end_workers()
            daemon.start()
    daemon.wait_runs("often", len(daemon.runs("often")) + 1)
    daemon.stop()
    daemon.start()
    daemon.stop()
    for job, interval_s in (("often", 60), ("half", 90)):
        assert not daemon.runs(job, "running")
        daemon.assert_each_due_time_has_one_record(job, interval_s)
    assert daemon.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]
    raised = daemon.rows("SELECT rule, subject, raised_at, event, channel, count(*) AS times "
                         "FROM outbox GROUP BY rule, subject, raised_at, event, channel")
    assert all(row["times"] == 1 for row in raised)
    assert len(bs.json("list", "-c", daemon.path)["backups"]) > 3
    # By the same clock, or retention would find everything too old.
    bs.ok("run", "often", "-c", daemon.path, env={"LD_PRELOAD": daemon.clock})
    bs.ok("verify", "--all", "--level", "1", "-c", daemon.path)
    Store(daemon.store).assert_sound()
    listed = {row["id"] for row in bs.json("list", "-c", daemon.path)["backups"]}
    # What the catalog calls good is there.
    for job in ("often", "half", "copy"):
        for row in daemon.runs(job):
            assert row["state"] not in ("ok", "warning") or row["backup_id"] in listed


def test_postgresql_too(serve, pg, work):
    daemon = serve({"often": OFTEN})
    password = os.path.join(work, "pg-password")
    with open(password, "w", encoding="utf-8") as file:
        file.write(ADMIN_PASSWORD + "\n")
    os.chmod(password, 0o600)
    with open(daemon.path, encoding="utf-8") as file:
        text = file.read()
    source = (f"sources:\n  pg: {{ type: postgres, host: 127.0.0.1, port: {pg.port}, user: {ADMIN}, "
              f"databases: [{plant.EMPTY_DATABASE}], password_file: {password} }}\n")
    with open(daemon.path, "w", encoding="utf-8") as file:
        file.write(text.replace("sources:\n", source) +
                   "  dump: { source: pg, do: dump, every: 2min, keep: 7d, verify: { level: 1 } }\n")
    daemon.running.signal(signal.SIGHUP)
    daemon.wait_runs("dump", 2, "ok")
    assert {row["level"] for row in daemon.rows("SELECT level FROM backup WHERE job = 'dump'")} <= {
        -1, 1}
    daemon.stop()
    daemon.assert_each_due_time_has_one_record("dump", 120)


def standing(daemon, text):
    return [row for row in daemon.rows("SELECT * FROM alarm WHERE severity > 0")
            if text in (row["text"] or "") + (row["cause"] or "")]


def test_a_store_that_comes_later(serve, work, redis, bs):
    """Not there, then of another site, then ours: told each time, and begun by itself."""
    daemon = serve({"often": OFTEN})
    daemon.stop()
    ours, other = os.path.join(work, "ours"), os.path.join(work, "other")
    os.rename(daemon.store, ours)
    with open(daemon.path, encoding="utf-8") as file:
        config = file.read()
    with open(daemon.path, "w", encoding="utf-8") as file:
        file.write(config.replace(daemon.store, other).replace("site: test", "site: elsewhere"))
    bs.ok("run", "often", "-c", daemon.path)
    with open(daemon.path, "w", encoding="utf-8") as file:
        file.write(config.replace(daemon.store + " }", daemon.store + ", require_mount: true }"))
    daemon.start()
    wait_for(lambda: standing(daemon, "not mounted") or standing(daemon, "mount"), 60,
             lambda: daemon.rows("SELECT * FROM alarm"))
    answer = daemon.ask("/api/v1/state")
    assert " 503 " in answer.splitlines()[0] and daemon.store in answer, answer
    assert "blackstart_store_usable 0" in daemon.ask("/metrics")
    daemon.stop()
    with open(daemon.path, "w", encoding="utf-8") as file:
        file.write(config)
    os.rename(other, daemon.store)
    daemon.start()
    wait_for(lambda: standing(daemon, "elsewhere"), 60, lambda: daemon.rows("SELECT * FROM alarm"))
    assert "elsewhere" in daemon.ask("/api/v1/state")
    os.rename(daemon.store, other)
    os.rename(ours, daemon.store)
    daemon.wait_log("the store can be used again")
    wait_for(lambda: not standing(daemon, "elsewhere"))
    before = len(daemon.runs("often", "ok"))
    daemon.wait_runs("often", before + 1, "ok")
    assert " 200 " in daemon.ask("/api/v1/state").splitlines()[0]


class HangingMount:
    """A file system whose server took the mount and never answers: whoever touches it waits."""

    def __init__(self, path):
        self.path = path.encode()
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fd},rootmode=40000,user_id=0,group_id=0".encode()
        if self.libc.mount(b"hang", self.path, b"fuse", 0, options) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    def end(self):
        """What lies below is there again, and those who wait are told that nobody is."""
        if self.fd is not None:
            detach = 2
            assert self.libc.umount2(self.path, detach) == 0
            os.close(self.fd)
            self.fd = None


def is_caught(daemon):
    """Is the daemon itself in a call to what hangs?"""
    with open(f"/proc/{daemon.running.pid}/stack", encoding="ascii") as file:
        return "fuse_" in file.read()


def hang(daemon, text, attempts=3):
    """The store's mount hangs, and the daemon says so.

    A child of its asks the store first. What hits a moment between that and a call of the
    daemon's own is for the service manager's watchdog, and no reason to fail; each time is.
    """
    for _ in range(attempts):
        mount = HangingMount(daemon.store)
        wait_for(lambda: text in daemon.log_text() or is_caught(daemon), 60,
                 lambda: daemon.log_text())
        if text in daemon.log_text():
            return mount
        mount.end()
    raise AssertionError(f"caught {attempts} times: {daemon.log_text()}")


@pytest.mark.fuse
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_store_that_hangs(serve, when):
    daemon = serve({"often": OFTEN})
    if when == "before":
        daemon.stop()
        mount = HangingMount(daemon.store)
    else:
        mount = hang(daemon, "does not answer: its mount hangs")
    try:
        if when == "before":
            daemon.start()
            daemon.wait_log("does not answer: its mount hangs")
        wait_for(lambda: standing(daemon, "does not answer"), 60,
                 lambda: daemon.rows("SELECT * FROM alarm"))
        answer = daemon.ask("/api/v1/state")
        assert " 503 " in answer.splitlines()[0] and "does not answer" in answer, answer
        daemon.running.signal(signal.SIGHUP)
        daemon.wait_log("the configuration was read again")
    finally:
        mount.end()
    daemon.wait_log("the store can be used again")
    wait_for(lambda: not standing(daemon, "does not answer"))
    before = len(daemon.runs("often", "ok"))
    daemon.wait_runs("often", before + 1, "ok")
    assert " 200 " in daemon.ask("/api/v1/state").splitlines()[0]
