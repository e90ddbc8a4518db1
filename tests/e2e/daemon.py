"""`blackstart serve` under a clock that runs fast, and what its catalog says."""
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import time

from postgres import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
FAST = 60
MONDAY = 1772406000  # 2026-03-02 00:00 in Berlin


def build_clock(folder):
    path = os.path.join(folder, "fast_clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path,
                    os.path.join(HERE, "fast_clock.c"), "-ldl"], check=True)
    return path


def wait_for(condition, timeout=60, what=None):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not come: {what() if what else condition}")


class Daemon:
    def __init__(self, bs, work, clock, redis, password, wall=MONDAY, fast=FAST):
        self.bs, self.work, self.clock, self.redis = bs, str(work), clock, redis
        self.password, self.fast = password, fast
        self.path = os.path.join(self.work, "blackstart.yaml")
        self.store = os.path.join(self.work, "store")
        self.state = os.path.join(self.work, "state-serve")
        self.catalog = os.path.join(self.state, "catalog.db")
        self.port = free_port()
        self.running = None
        self.set_clock(wall)

    def set_clock(self, wall):
        self.bs.env["FAST_CLOCK"] = (f"{self.fast} {time.time()} "
                                     f"{time.clock_gettime(time.CLOCK_BOOTTIME)} {wall}")

    def now(self):
        _, real, _, wall = map(float, self.bs.env["FAST_CLOCK"].split())
        return wall + (time.time() - real) * self.fast

    def write(self, jobs, more="", host="127.0.0.1", port=None):
        text = f"""site: test
timezone: Europe/Berlin
state_dir: {self.state}
store: {{ path: {self.store} }}
sources:
  redis: {{ type: redis, host: {host}, port: {port or self.redis.port}, password_file: {self.password} }}
web: {{ listen: "127.0.0.1:{self.port}" }}
{more}
jobs:
"""
        for name, keys in jobs.items():
            text += f"  {name}: {{ source: redis, {'' if 'do:' in keys else f'do: rdb, folder: {name}, '}{keys} }}\n"
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, env=None):
        # Only the daemon and what it starts live fast, not the commands of the test.
        shared = {"LD_PRELOAD": self.clock}
        self.running = self.bs.start("serve", "-c", self.path, env={**shared, **(env or {})})
        self.wait_log("serving")
        return self

    def log_text(self):
        """Read without moving the place where the daemon writes on."""
        return os.pread(self.running.err.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    def wait_log(self, text, timeout=60):
        wait_for(lambda: text in self.log_text() or not self.running.is_running(), timeout,
                 lambda: (text, self.log_text()))
        assert text in self.log_text(), self.log_text()

    def stop(self, number=signal.SIGTERM):
        self.running.signal(number)
        result = self.running.wait()
        assert result.code == 0, result
        return result

    def kill(self):
        os.kill(self.running.pid, signal.SIGKILL)
        self.running.wait()

    def rows(self, query, *values):
        with contextlib.closing(sqlite3.connect(f"file:{self.catalog}?mode=ro", uri=True,
                                                timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def runs(self, job, state=None):
        rows = self.rows("SELECT * FROM run WHERE job = ? AND verb IN ('backup', 'wal') "
                         "ORDER BY seq", job)
        return [row for row in rows if state in (None, row["state"])]

    def wait_runs(self, job, count, state=None, timeout=60):
        wait_for(lambda: os.path.exists(self.catalog) and len(self.runs(job, state)) >= count,
                 timeout, lambda: (self.log_text(), self.runs(job)))
        return self.runs(job, state)

    def workers(self):
        return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and
                self.is_worker(pid)]

    def is_worker(self, pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            return False
        return self.path.encode() in words and b"run" in words

    def end_workers(self):
        for pid in self.workers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def ask(self, path):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer:
            peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                         .encode())
            answer = b""
            while piece := peer.recv(65536):
                answer += piece
        return answer.decode()

    def assert_each_due_time_has_one_record(self, job, interval_s):
        """Of a job of `every`: all that were due until what was considered."""
        row, = self.rows("SELECT * FROM schedule WHERE job = ?", job)
        rows = [run for run in self.runs(job) if run["due"]]
        wanted = (row["considered"] - row["begun"]) // (interval_s * 1000000) + 1
        runs = [run["due"] for run in rows if run["attempt"] == 1]
        noted = sum(run["due_count"] for run in rows if run["attempt"] == 0)
        waits = int(row["due"] != 0 and row["due"] not in runs)
        assert len(set(runs)) == len(runs)
        assert len(runs) + noted + waits == wanted, (row, rows)
