"""The keeper of the WAL under `serve`, on a real PostgreSQL: begun, killed, its server away."""
import json
import os
import signal
import time

import pytest

from daemon import Daemon, build_clock, wait_for
from postgres import ADMIN, ADMIN_PASSWORD
from receiver import write

JOBS = """  pg-base: { source: pg, do: base, every: 1d, keep: 7d }
  pg-wal: { source: pg, do: wal, continuous: true, heartbeat: 1s, max_age: 20s, keep: 7d }
"""


@pytest.fixture
def daemon(bs, work, base_folder, new_server):
    server = new_server(settings={"wal_level": "replica"})
    made = Daemon(bs, work, build_clock(base_folder), server, None, fast=1)
    made.set_clock(time.time())
    password = os.path.join(work, "pg-password")
    with open(password, "w", encoding="utf-8") as file:
        file.write(ADMIN_PASSWORD + "\n")
    os.chmod(password, 0o600)
    with open(made.path, "w", encoding="utf-8") as file:
        file.write(f"""site: test
timezone: Europe/Berlin
state_dir: {made.state}
store: {{ path: {made.store} }}
sources:
  pg: {{ type: postgres, host: 127.0.0.1, port: {server.port}, user: {ADMIN}, password_file: {password} }}
web: {{ listen: "127.0.0.1:{made.port}" }}
jobs:
{JOBS}""")
    made.server = server
    bs.ok("run", "pg-base", "-c", made.path)
    yield made
    if made.running and made.running.is_running():
        made.kill()
    made.end_workers()


def link(daemon):
    answer = daemon.ask("/api/v1/state").partition("\r\n\r\n")[2]
    job, = [job for job in json.loads(answer)["jobs"] if job["job"] == "pg-wal"]
    return job["link"] or {"state": None}


def metric(daemon, name):
    for line in daemon.ask("/metrics").splitlines():
        if line.startswith(name + "{"):
            return float(line.split()[-1])
    return None


def wait_link(daemon, state):
    return wait_for(lambda: link(daemon)["state"] == state and link(daemon), 60,
                    lambda: (link(daemon), daemon.log_text()))


def segments(daemon):
    folder = os.path.join(daemon.store, "pg", "wal")
    return [name for name in os.listdir(folder) if len(name.split(".")[0]) == 24
            and not name.endswith(".partial")] if os.path.exists(folder) else []


def alarms(daemon, rule):
    return daemon.rows("SELECT * FROM alarm WHERE rule = ? AND severity > 0", rule)


@pytest.mark.slow
def test_the_receiver_is_kept(daemon, bs):
    daemon.start()
    wait_link(daemon, "connected")
    text = bs.run("status", "-c", daemon.path, expect=0).out
    assert "connected for" in text, text
    write(daemon.server, 20000)
    daemon.server.sql("SELECT pg_switch_wal()")
    wait_for(lambda: segments(daemon), 60, daemon.log_text)
    assert metric(daemon, "blackstart_wal_connected") == 1
    assert metric(daemon, "blackstart_wal_lag_bytes") is not None
    # Killed, it comes again, and what was written meanwhile arrives.
    victim, = [pid for pid in daemon.workers()
               if b"--base" not in open(f"/proc/{pid}/cmdline", "rb").read()]
    os.kill(victim, signal.SIGKILL)
    daemon.wait_log("job 'pg-wal' ended: its process was ended by signal 9")
    before = set(segments(daemon))
    write(daemon.server, 3000)
    daemon.server.sql("SELECT pg_switch_wal()")
    wait_for(lambda: set(segments(daemon)) - before, 60, daemon.log_text)
    wait_link(daemon, "connected")


@pytest.mark.slow
def test_its_server_is_away(daemon, bs):
    daemon.start()
    wait_link(daemon, "connected")
    write(daemon.server, 100)
    daemon.server.stop(signal.SIGINT)
    state = wait_link(daemon, "waiting")
    assert state["why"] and state["next_try"], state
    assert metric(daemon, "blackstart_wal_connected") == 0
    assert metric(daemon, "blackstart_wal_lag_bytes") is None
    text = bs.run("status", "-c", daemon.path, expect=3).out
    assert "waiting to reconnect for" in text and "! pg-wal: not connected for" in text, text
    assert "blackstart check pg" in text, text
    wait_for(lambda: alarms(daemon, "wal_stalled"), 90, lambda: daemon.rows("SELECT * FROM alarm"))
    daemon.server.start()
    wait_link(daemon, "connected")
    write(daemon.server, 100)
    wait_for(lambda: not alarms(daemon, "wal_stalled"), 120,
             lambda: daemon.rows("SELECT * FROM alarm"))
