"""The alarms as the daemon has them: a tick never waits, whatever the channels do."""
import os
import signal
import subprocess
import threading
import time

import pytest

from alert_peers import wait_for
from daemon import Daemon, build_clock
from program import BINARY, Program
from redis_server import PASSWORD, RedisServer, redis_bin
from test_alert import hook, mail, mail_channel, site  # noqa: F401 (fixtures)

TICKER = os.path.join(os.path.dirname(os.path.abspath(BINARY)), "tests/notify/ticker")


class Ticker:
    def __init__(self, site):
        self.out = open(os.path.join(site.work, "ticks"), "w+", encoding="ascii")
        self.err = open(os.path.join(site.work, "ticker-said"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [TICKER, "-c", site.path], stdin=subprocess.PIPE, stdout=self.out, stderr=self.err,
            env={**site.program.env, "BLACKSTART": os.path.abspath(BINARY)})

    def ticks(self):
        """How long each took, in seconds."""
        with open(self.out.name, encoding="ascii") as file:
            return [int(line.split()[1]) / 1e6 for line in file if line.endswith("\n")]

    def wait_ticks(self, count):
        until = len(self.ticks()) + count
        wait_for(lambda: len(self.ticks()) >= until or self.process.poll() is not None,
                 what="the ticks")
        assert self.process.poll() is None, self.said()

    def know(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def memory_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(file.read().split("VmRSS:")[1].split()[0])

    def children(self):
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", encoding="utf-8") as file:
                        fields = file.read().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == self.process.pid:
                    found.append((int(entry), fields[0]))
        return found

    def said(self):
        with open(self.err.name, encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.said()
        self.out.close()
        self.err.close()
        self.process.stdin.close()


@pytest.fixture
def ticking(site):  # noqa: F811
    made = []

    def start():
        made.append(Ticker(site))
        made[-1].wait_ticks(2)
        return made[-1]
    yield start
    for ticker in made:
        if ticker.process.poll() is None:
            ticker.process.kill()
            ticker.process.wait()


def test_a_tick_never_waits_for_a_channel(site, mail, hook, ticking):  # noqa: F811
    release = threading.Event()
    hook.behave = lambda request: release
    site.configure({"ahook": f"type: webhook, url: '{hook.url}/'", "mail": mail_channel(mail)})
    ticker = ticking()
    site.ended("failed", "x")
    wait_for(lambda: hook.requests, what="the webhook's request")
    before = len(ticker.ticks())
    ticker.wait_ticks(40)
    assert max(ticker.ticks()[before:]) < 0.5, "it went on while the webhook hung"
    release.set()
    wait_for(lambda: len(mail.raw) == 1 and not site.waiting(), what="the mail")
    ticker.wait_ticks(3)
    assert ticker.children() == [], "what delivered is reaped"
    ticker.stop()


def test_what_only_the_daemon_knows(site, mail, ticking):  # noqa: F811
    site.configure({"mail": mail_channel(mail)})
    ticker = ticking()
    for line, subject in (
            ("jump -7200", "WARNING: daemon: the clock was set back by 2 h 0 min"),
            ("config line 3: unknown key 'prot'", "WARNING: daemon: the configuration could not be"),
            ("stall pg-daily", "WARNING: pg-daily: the run that goes on has said nothing")):
        count = len(mail.raw)
        ticker.know(line)
        wait_for(lambda: len(mail.raw) > count, what=line)
        assert subject in mail.subjects()[-1]
    # Whoever is no daemon leaves these as they are.
    site.watch()
    assert len(site.run("alert", "list", "--json").json["alarms"]) == 3
    for line in ("config", "stall"):
        count = len(mail.raw)
        ticker.know(line)
        wait_for(lambda: len(mail.raw) > count, what=line)
        assert "OVER" in mail.subjects()[-1]
    site.run("alert", "ack", "clock_jump/daemon", "--reason", "seen", expect=0)
    wait_for(lambda: "OVER: daemon: the clock" in mail.subjects()[-1], what="the end of it")
    ticker.stop()


def test_stopped_while_it_delivers(site, hook, ticking):  # noqa: F811
    """It ends at once, and the next process sends what waits."""
    release = threading.Event()
    hook.behave = lambda request: release
    site.configure({"hook": f"type: webhook, url: '{hook.url}/'"})
    ticker = ticking()
    site.ended("failed", "x")
    wait_for(lambda: hook.requests, what="the request")
    began = time.monotonic()
    ticker.stop()
    assert time.monotonic() - began < 1.5
    assert site.waiting() == [("hook", "raised")]
    release.set()


@pytest.mark.slow
def test_memory_stays_flat(site, mail, ticking):  # noqa: F811
    site.configure({"mail": mail_channel(mail)})
    ticker = ticking()
    for number in range(10):
        site.ended("failed" if number % 2 == 0 else "ok", "x" * 400)
        ticker.wait_ticks(4)
    before = ticker.memory_kb()
    for number in range(60):
        site.ended("failed" if number % 2 == 0 else "ok", "x" * 400)
        ticker.wait_ticks(4)
    assert ticker.memory_kb() <= before + 300
    wait_for(lambda: len(mail.raw) == 70, what="every message")
    ticker.stop()


@pytest.fixture
def daemon(work, hook, mail, base_folder):  # noqa: F811
    """`serve` in fast time, with a job of a Redis each ten minutes of it."""
    server = RedisServer(os.path.join(work, "redis"))
    server.start()
    bs = Program(work, [redis_bin()], [PASSWORD])
    password = os.path.join(work, "password")
    with open(password, "w", encoding="utf-8") as file:
        file.write(PASSWORD + "\n")
    os.chmod(password, 0o600)
    made = Daemon(bs, work, build_clock(work), server, password)
    made.write({"often": "every: 10min, max_age: 30d"},
               f"alerts:\n  channels:\n    ahook: {{ type: webhook, url: '{hook.url}/' }}\n"
               f"    mail: {{ {mail_channel(mail)} }}\n"
               f"    beat: {{ type: heartbeat, job: often, url: '{hook.url}/often' }}\n")
    bs.ok("backup", server.url, "--store", made.store, "--password-file", password,
          "--name", "redis")
    yield made
    if made.running and made.running.is_running():
        made.kill()
    made.end_workers()
    bs.end_all()
    server.kill()


@pytest.mark.slow
def test_through_serve(daemon, mail, hook):  # noqa: F811
    hook.behave = lambda request: 200 if "often" in request["path"] else 503
    daemon.start()
    daemon.wait_runs("often", 2, "ok")
    wait_for(lambda: [p for p in hook.paths() if p.startswith("/often?")], what="the heartbeat")
    assert mail.raw == []
    daemon.redis.kill()
    wait_for(lambda: any("WARNING: often: the last run failed" in s for s in mail.subjects()),
             timeout=90, what="the alarm")
    failed = daemon.runs("often", "failed")
    assert len({run["due"] for run in failed}) < len(failed) or len(failed) == 1, \
        "all attempts at one due time are one failure"
    text = daemon.ask("/metrics").partition("\r\n\r\n")[2]
    assert 'blackstart_run_last_status{name="often",source="redis"} 0' in text
    assert subprocess.run(["promtool", "check", "metrics"], input=text.encode(),
                          capture_output=True).returncode == 0
    wait_for(lambda: any("WARNING: ahook: messages do not get through" in s
                         for s in mail.subjects()), timeout=90, what="the failing channel's alarm")
    daemon.kill()
    daemon.end_workers()
    daemon.redis.start()
    daemon.start()
    wait_for(lambda: any("OVER: often: " in s for s in mail.subjects()), timeout=90,
             what="the end of it")
    daemon.stop()
    seen = {}
    for message, raw in zip(mail.messages, mail.raw):
        assert seen.setdefault(message["Message-ID"], raw) == raw
    raised = [s for s in mail.subjects() if "WARNING: often: the last run failed" in s]
    assert len(raised) == 1, mail.subjects()
