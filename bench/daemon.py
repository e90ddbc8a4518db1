"""What the daemon costs while nothing happens, and how fast its page is, with years of runs behind it.

Group: daemon. Sources are at a port where nobody listens; no job is due while it is measured.
"""
import http.client
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import time

from cluster import give_away
from history import fill_catalog
from measure import BenchError, say
from redis import free_port
from report import Row

GROUPS = ["daemon"]
JOBS = 20
IDLE_S = 60       # four looks of the alarms
STATES = 15
MOVED_S = 1.1     # what changed is shown after a second at most

NOTES = [
    "The daemon had 20 daily jobs of which none came due. Its memory is what /proc says of it after the "
    "first answer, its share of a core is its own and that of the children it waited for. The page's "
    "state was made anew for each request: the catalog had changed."]


class DaemonBench:
    def __init__(self, bench):
        self.bench = bench
        self.process = None
        self.port = free_port()
        self.state = bench.at("out", "daemon-state")
        self.config = bench.at("daemon.yaml")
        self.errors = bench.at("daemon.log")

    def write_config(self, jobs):
        store = self.bench.at("out", "daemon-store")
        for folder in (store, self.state):
            os.makedirs(folder, exist_ok=True)
            give_away(folder)
        far = time.gmtime(time.time() + 12 * 3600)  # no job is due near now
        lines = [f"site: bench\ntimezone: UTC\nstate_dir: {self.state}\nstore: {{ path: {store} }}",
                 f"web: {{ listen: '127.0.0.1:{self.port}' }}", "sources:",
                 "  redis: { type: redis, host: 127.0.0.1, port: 1 }", "jobs:"]
        for number in range(jobs):
            lines.append(f"  job{number}: {{ source: redis, do: rdb, folder: f{number}, "
                         f"at: '{far.tm_hour:02}:{number % 60:02}', keep: 7d }}")
        self.bench.write(self.config, "\n".join(lines) + "\n")

    def read_config(self):
        """Milliseconds of the shortest command there is, which looks at the store and ends."""
        argv = [self.bench.options.program, "-c", self.config, "serve", "--look"]
        return statistics.median(self.bench.runner.timed(argv).seconds * 1e3
                                 for _ in range(2 * self.bench.options.runs))

    def catalog(self):
        return os.path.join(self.state, "catalog.db")

    def start(self):
        """Seconds until it has said that it serves."""
        with open(self.errors, "wb") as errors:
            began = time.perf_counter()
            self.process = subprocess.Popen(
                [self.bench.options.program, "-c", self.config, "serve"], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=errors, env=self.bench.runner.env,
                start_new_session=True, **self.bench.runner.who)
            while True:
                with open(self.errors, encoding="utf-8") as file:
                    text = file.read()
                if re.search(r"^serving ", text, re.M):
                    return time.perf_counter() - began
                if self.process.poll() is not None or time.perf_counter() - began > 30:
                    raise BenchError(f"the daemon does not serve: {text}")
                time.sleep(0.001)

    def stop(self):
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    close = stop

    def get(self, **headers):
        """The state of the page: seconds, and bytes of its body."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.connect()
        began = time.perf_counter()
        client.request("GET", "/api/v1/state", headers=headers)
        answer = client.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - began
        client.close()
        if answer.status != 200:
            raise BenchError(f"the page answers {answer.status}: {body[:200]}")
        return seconds, len(body)

    def touch(self):
        with sqlite3.connect(self.catalog(), timeout=10) as database:
            database.execute("INSERT OR REPLACE INTO watch_mark (name, at, value) VALUES ('bench', ?, NULL)",
                             (time.time_ns() // 1000,))
        database.close()

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^VmRSS:\s+(\d+)", file.read(), re.M)[1]) * 1024 / 1e6

    def daemon(self):
        rows = [Row("a command with a configuration of 1,000 jobs", "", 50, " ms"),
                Row("the same, of 20 jobs", "", 5, " ms"),
                Row("daemon: start to ready, 100,000 runs", "", 200, " ms"),
                Row("daemon, idle with 20 jobs: memory (RSS)", "", 10, " MB"),
                Row("the same: share of a core, percent", "", 0.1),
                Row("`/api/v1/state` made anew, 100,000 runs, ms", "", 5),
                Row("the same, compressed", "", 30, " kB")]
        self.bench.rows += rows
        if not self.bench.wants("daemon"):
            return
        self.write_config(1000)
        rows[0].value = self.read_config()
        self.write_config(JOBS)
        rows[1].value = self.read_config()
        self.start()
        self.stop()
        fill_catalog(self.catalog(), 100_000)
        ready = []
        for _ in range(self.bench.options.runs):
            ready.append(self.start() * 1e3)
            if len(ready) < self.bench.options.runs:
                self.stop()
        say("daemon: idle")
        self.get()
        time.sleep(20)
        began, cpu = time.monotonic(), self.cpu_s()
        time.sleep(IDLE_S)
        share = (self.cpu_s() - cpu) * 100 / (time.monotonic() - began)
        rss, states = self.rss_mb(), []
        for _ in range(STATES):
            self.touch()
            time.sleep(MOVED_S)
            states.append(self.get()[0] * 1e3)
        self.touch()
        time.sleep(MOVED_S)
        packed = self.get(**{"Accept-Encoding": "gzip"})[1] / 1e3
        values = [statistics.median(ready), rss, share, statistics.median(states), packed]
        for row, value in zip(rows[2:], values):
            row.value = value
        rows[3].detail = f"{rss:.1f} MB"
        rows[5].detail = f"{min(states):.2f} .. {max(states):.2f}"
        self.stop()
