"""A day of the calendar on real servers, at 72 times the speed of a day: in a minute its first hour.

BLACKSTART_SOAK_S=1200 is the whole day.
"""
import json
import os
import statistics
import time

import pytest

import plant
from daemon import MONDAY, Daemon, build_clock
from plant import ADMIN, ADMIN_PASSWORD
from redis_fixtures import bs, password, redis  # pylint: disable=unused-import

FAST = 72
SECONDS = int(os.environ.get("BLACKSTART_SOAK_S", "60"))
BEGIN = MONDAY + 55 * 60  # five minutes before the first of the night's jobs
GROWTH_MAX_KB = 256

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
  redis-copy: {{ source: redis, do: rdb, folder: copy, after: [pg-base], keep: 7d }}
  often: {{ source: redis, do: rdb, folder: often, every: 10min, keep: 3h }}
"""


@pytest.fixture
def daemon(bs, work, base_folder, redis, password, pg):
    made = Daemon(bs, work, build_clock(base_folder), redis, password, BEGIN, FAST)
    pg_password = os.path.join(work, "pg-password")
    with open(pg_password, "w", encoding="utf-8") as file:
        file.write(ADMIN_PASSWORD + "\n")
    os.chmod(pg_password, 0o600)
    with open(made.path, "w", encoding="utf-8") as file:
        file.write(CONFIG.format(
            state=made.state, store=made.store, port=made.port, pg_port=pg.port, user=ADMIN,
            pg_password=pg_password, database=plant.EMPTY_DATABASE, redis_port=redis.port,
            redis_password=password))
    bs.ok("backup", redis.url, "--store", made.store, "--password-file", password)
    yield made
    if made.running and made.running.is_running():
        made.kill()
    made.end_workers()


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


@pytest.mark.slow
def test_a_day_of_the_calendar(bs, daemon):
    """Every run is there and well, and the daemon is as large at the end as it was."""
    daemon.set_clock(BEGIN)
    daemon.start()
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
