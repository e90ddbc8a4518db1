"""The calendar under a clock of our own: a day of it on real servers, and what weeks leave in the store.

BLACKSTART_SOAK_S=1200 lets the whole day pass, at 72 times its speed; else it is the first hour.
"""
import datetime
import json
import os
import statistics
import time

import pytest

import plant
from page_plant import JOBS, PagePlant
from daemon import MONDAY, Daemon, build_clock
from plant import ADMIN, ADMIN_PASSWORD
from redis_fixtures import bs, password, redis  # pylint: disable=unused-import

FAST = 72
SECONDS = int(os.environ.get("BLACKSTART_SOAK_S", "60"))
BEGIN = MONDAY + 55 * 60  # five minutes before the first of the night's jobs
GROWTH_MAX_KB = 256
AFTER = datetime.timedelta(minutes=5)  # a run has ended, and retention looks

CONFIG = """\
site: soak
timezone: Europe/Berlin
state_dir: {state}
store: {{ path: {store} }}
sources:
  postgresql: {{ type: postgres, host: 127.0.0.1, port: {pg_port}, user: {user}, password_file: {pg_password}, databases: [{database}] }}
  redis: {{ type: redis, host: 127.0.0.1, port: {redis_port}, password_file: {redis_password} }}
web: {{ listen: "127.0.0.1:{port}" }}
jobs:
  pg-base: {{ source: postgresql, do: base, at: "01:00", keep: 7d }}
  pg-daily: {{ source: postgresql, do: dump, at: "02:00", keep: 30d, verify: {{ level: 1 }} }}
  redis-6h: {{ source: redis, do: rdb, cron: "0 */6 * * *", keep: 7d }}
"""
OFTEN = """\
  redis-copy: { source: redis, do: rdb, folder: copy, after: [pg-base], keep: 7d }
  often: { source: redis, do: rdb, folder: often, every: 10min, keep: 3h }
"""


@pytest.fixture
def new_daemon(bs, work, base_folder, redis, password, pg):
    made = []

    def make(begin, fast, more=""):
        daemon = Daemon(bs, work, build_clock(base_folder), redis, password, begin, fast)
        made.append(daemon)
        pg_password = os.path.join(work, "pg-password")
        with open(pg_password, "w", encoding="utf-8") as file:
            file.write(ADMIN_PASSWORD + "\n")
        os.chmod(pg_password, 0o600)
        with open(daemon.path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(
                state=daemon.state, store=daemon.store, port=daemon.port, pg_port=pg.port,
                user=ADMIN, pg_password=pg_password, database=plant.EMPTY_DATABASE,
                redis_port=redis.port, redis_password=password) + more)
        bs.ok("backup", redis.url, "--store", daemon.store, "--password-file", password,
              "--name", "other")
        daemon.set_clock(begin)
        return daemon.start()
    yield make
    for daemon in made:
        if daemon.running and daemon.running.is_running():
            daemon.kill()
        daemon.end_workers()


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


@pytest.mark.slow
def test_a_day_of_the_calendar(bs, new_daemon):
    """Every run is there and well, and the daemon is as large at the end as it was."""
    daemon = new_daemon(BEGIN, FAST, OFTEN)
    sizes, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        for path in ("/api/v1/state", "/metrics", "/healthz"):
            assert "200 OK" in daemon.ask(path).splitlines()[0]
        sizes.append(rss_kb(daemon.running.pid))
        time.sleep(0.5)
    daemon.stop()
    quarter = len(sizes) // 4
    grown = statistics.median(sizes[-quarter:]) - statistics.median(sizes[quarter:2 * quarter])
    print(json.dumps({"rss_kb": [sizes[0], max(sizes), sizes[-1]], "grown_kb": grown}))
    assert grown <= GROWTH_MAX_KB, sizes
    runs = daemon.rows("SELECT job, verb, state, message FROM run")
    assert {row["state"] for row in runs} <= {"ok", "warning"}, runs
    done = [row["job"] for row in runs if row["verb"] == "backup"]
    assert done.count("often") >= SECONDS * FAST // 600 - 1
    daemon.assert_each_due_time_has_one_record("often", 600)
    days = SECONDS * FAST // 86400 + 1
    for job in ("pg-base", "pg-daily", "redis-copy"):
        assert 1 <= done.count(job) <= days, done
    six_hourly = (BEGIN - MONDAY + SECONDS * FAST) // (6 * 3600)
    assert done.count("redis-6h") in (max(six_hourly - 1, 0), six_hourly), done
    bs.ok("verify", "--all", "--level", "1", "-c", daemon.path)


class Calendar:
    """The user's calendar over weeks: what the runs leave, by a clock that is set before each."""

    def __init__(self, bs, work, clock):
        self.bs, self.clock = bs, clock
        self.plant = PagePlant(work, bs, jobs={name: rule for name, rule in JOBS.items()
                                               if name != "pg-wal"})
        self.made = {}

    def env(self, at):
        return {"LD_PRELOAD": self.clock, "FAST_CLOCK": (
            f"1 {time.time()} {time.clock_gettime(time.CLOCK_BOOTTIME)} {at.timestamp()}")}

    def run(self, job, source, kind, at):
        """A good run, and then retention, as it follows on every run."""
        self.made[self.plant.backup(job, source, kind, at)] = (job, at)
        self.bs.ok("prune", "--confirm", "-c", self.plant.config,
                   env=self.env(at + AFTER))

    def left(self, at):
        listed = self.bs.json("list", "-c", self.plant.config, env=self.env(at))["backups"]
        return {row["id"] for row in listed}


@pytest.mark.slow
def test_weeks_leave_exactly_what_retention_promises(bs, work, base_folder):
    """Each backup of a job's span is there, each older one is gone; looked at after every day."""
    calendar = Calendar(bs, work, build_clock(base_folder))
    begin = datetime.datetime(2026, 3, 2, tzinfo=datetime.timezone.utc)
    spans = {"pg-daily": (30, False), "pg-base": (7, True), "redis-6h": (7, True)}
    for day in range(33):
        for hour, job, source, kind in ((0, "redis-6h", "redis", "rdb"),
                                        (1, "pg-base", "postgresql", "base"),
                                        (2, "pg-daily", "postgresql", "dump"),
                                        (6, "redis-6h", "redis", "rdb"),
                                        (12, "redis-6h", "redis", "rdb"),
                                        (18, "redis-6h", "redis", "rdb")):
            at = begin + datetime.timedelta(days=day, hours=hour)
            calendar.run(job, source, kind, at)
        promised = set()
        for job, (span, is_base) in spans.items():
            horizon = at + AFTER - datetime.timedelta(days=span)
            made = {when: name for name, (of, when) in calendar.made.items() if of == job}
            promised |= {name for when, name in made.items() if when > horizon}
            older = [when for when in made if when <= horizon]
            # Every second of the span can be reached only from a base that is older than it.
            promised |= {made[max(older)]} if is_base and older else set()
        assert calendar.left(at) == promised, f"day {day}"
    assert len(promised) == 30 + (7 + 1) + (7 * 4 + 1)
