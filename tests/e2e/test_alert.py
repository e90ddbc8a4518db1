"""Alarms from end to end: what is found wrong reaches people and programs, once, whatever hangs,
refuses, lies or is killed on the way."""
import contextlib
import datetime
import email.utils
import fcntl
import json
import os
import sqlite3
import subprocess
import threading
import time
import uuid

import pytest

from alert_peers import Alertmanager, MailServer, Recorder, make_certificate, wait_for
from postgres import free_port
from program import Program

PASSWORD = "Sm7p-und-l4ng"
TOKEN = "t0ken-der-nirgends-steht"


@pytest.fixture(scope="session")
def clock(base_folder):
    """clock(seconds): an environment in which it is so much later."""
    library = os.path.join(base_folder, "alert-clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library,
                    os.path.join(os.path.dirname(__file__), "clock_shim.c")], check=True)
    return lambda seconds: {"LD_PRELOAD": library, "CLOCK_SHIFT_S": str(int(seconds))}


@pytest.fixture
def mail():
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture
def hook():
    server = Recorder()
    yield server
    server.stop()


class Site:
    """A plant with one job, whose runs are put into the catalog as `run` would."""

    def __init__(self, work):
        self.work = work
        self.program = Program(work, [], [PASSWORD, TOKEN])
        self.path = os.path.join(work, "blackstart.yaml")
        self.state = os.path.join(work, "state-c")
        self.catalog = os.path.join(self.state, "catalog.db")
        self.count = 0
        self.env = {}
        self.locks = []
        os.makedirs(os.path.join(work, "store"), exist_ok=True)

    def configure(self, channels, more="", site="testwerk", job="pg-daily"):
        lines = [f"site: {site}", "timezone: Europe/Berlin", f"state_dir: {self.state}",
                 f"store: {{ path: {self.work}/store, warn: 99%, critical: 100% }}",
                 "sources: { postgresql: { type: postgres, host: 127.0.0.1, "
                 f"port: {free_port()}, user: x }} }}",
                 f'jobs: {{ {job}: {{ source: postgresql, do: dump, at: "02:00", '
                 "max_age: 30d } }",
                 "alerts:", *(["  " + more] if more else []), "  channels:",
                 *(f"    {name}: {{ {text} }}" for name, text in channels.items())]
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        self.watch()
        return self

    def secret(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def run(self, *args, **kwargs):
        env = {**self.env, **kwargs.pop("env", {})}
        return self.program.run(*args, "-c", self.path, env=env, **kwargs)

    def watch(self, expect=0, **kwargs):
        return self.run("alert", "watch", expect=expect, **kwargs)

    def start(self, *args, **kwargs):
        return self.program.start(*args, "-c", self.path, env=self.env, **kwargs)

    def deliver(self, expect=0, **kwargs):
        return self.run("alert", "deliver", expect=expect, **kwargs)

    def ended(self, state, message=None, job="pg-daily", verb="backup"):
        """A run of the job ended like this."""
        self.count += 1
        now = int(time.time() * 1e6) + int(self.env.get("CLOCK_SHIFT_S", 0)) * 1000000
        with contextlib.closing(sqlite3.connect(self.catalog, timeout=20)) as db, db:
            db.execute("INSERT INTO run (id, job, source, verb, state, started, finished, "
                       "source_bytes, stored_bytes, message, lock_path) "
                       "VALUES (?,?,?,?,?,?,?,0,0,?,?)",
                       (f"{job}-{self.count}", job, "postgresql", verb, state, now,
                        0 if state == "running" else now, message,
                        self.hold_lock() if state == "running" else None))
        return f"{job}-{self.count}"

    def hold_lock(self):
        """The lock of a run whose process lives: ours."""
        path = os.path.join(self.work, f"run-{self.count}.lock")
        self.locks.append(open(path, "w", encoding="ascii"))
        fcntl.flock(self.locks[-1], fcntl.LOCK_EX)
        return path

    def query(self, sql):
        with contextlib.closing(sqlite3.connect(self.catalog, timeout=20)) as db:
            return db.execute(sql).fetchall()

    def waiting(self):
        return self.query("SELECT channel, event FROM outbox WHERE done_at = 0 ORDER BY id")


@pytest.fixture
def site(work):
    made = Site(work)
    yield made
    made.program.end_all()
    for path in [made.catalog, made.catalog + "-wal"]:
        if os.path.exists(path):
            with open(path, "rb") as file:
                data = file.read()
            for secret in (PASSWORD, TOKEN):
                assert secret.encode() not in data, f"{secret} is in {path}"


def mail_channel(server, more=""):
    return (f"type: email, host: 127.0.0.1, port: {server.port}, security: none, "
            f"from: blackstart@plant.example, to: [oncall@plant.example, boss@plant.example]{more}")


# --- e-mail ------------------------------------------------------------------------------------


def test_one_thread_from_raised_to_cleared(site, mail):
    site.configure({"mail": mail_channel(mail)})
    assert mail.raw == [], "success is not told"
    run = site.ended("failed", "no space left on device")
    site.watch()
    site.watch()
    site.ended("failed", "no space left on device")
    site.ended("running")
    site.watch()
    site.ended("ok")
    site.watch()
    first, worse, over = mail.messages
    assert first["Subject"] == "[testwerk] WARNING: pg-daily: the last run failed " \
                               "(0 critical, 1 warning)"
    assert worse["Subject"] == "[testwerk] NOW CRITICAL: pg-daily: the last 2 runs failed " \
                               "(1 critical, 0 warnings)"
    assert over["Subject"].startswith("[testwerk] OVER: pg-daily: ")
    assert over["Subject"].endswith("(no alarm stands)")
    assert worse["References"] == over["References"] == first["Message-ID"]
    assert len({m["Message-ID"] for m in mail.messages}) == 3
    for message in mail.messages:
        assert message["Auto-Submitted"] == "auto-generated"
        assert message.get_content_type() == "multipart/alternative"
        assert email.utils.parsedate_to_datetime(message["Date"]).tzinfo is not None
        assert message["To"] == "oncall@plant.example, boss@plant.example"
    text = first.get_body(("plain",)).get_content()
    assert "no space left on device" in text
    assert f"Next:   blackstart log {run}" in text
    assert "blackstart alert ack job_failed/pg-daily" in text
    assert "no space left on device" in first.get_body(("html",)).get_content()
    assert "after " in over.get_body(("plain",)).get_content()
    assert all(e.rcpt_tos == ["oncall@plant.example", "boss@plant.example"]
               for e in mail.envelopes)


def test_hostile_texts_do_not_break_out(site, mail, hook):
    site.configure({"mail": mail_channel(mail), "hook": f"type: webhook, url: '{hook.url}/'",
                    "phone": f"type: ntfy, url: '{hook.url}/topic'"})
    evil = ("x\r\nBcc: evil@example.org\r\n\r\n.\r\nMAIL FROM:<a@b>\n<script>alert(1)</script>"
            "\x1b[2J\x00 =?UTF-8?Q?=0D=0A?= Füllstand \udc80")
    site.ended("failed", evil.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    site.watch()
    message = mail.messages[0]
    assert message["Bcc"] is None and len(mail.raw) == 1
    assert "MAIL FROM" in message.get_body(("plain",)).get_content()
    html = message.get_body(("html",)).get_content()
    assert "<script>" not in html and "&lt;script&gt;" in html
    for line in mail.raw[0].split(b"\r\n"):
        assert len(line) <= 998 and b"\x1b" not in line
    for request in hook.requests:
        assert "Bcc" not in request["headers"]
    assert json.loads(hook.requests[0]["body"])["alerts"][0]["annotations"]["description"]


def test_a_name_that_is_not_ascii_is_readable(site, mail, hook):
    site.configure({"mail": mail_channel(mail), "phone": f"type: ntfy, url: '{hook.url}/t'"})
    with contextlib.closing(sqlite3.connect(site.catalog)) as db, db:
        db.execute("INSERT INTO channel VALUES ('x', 0, 0, 0, 0, 0, NULL)")
        db.execute("INSERT INTO outbox (channel, event, rule, subject, severity, since, raised_at,"
                   " at, text, criticals_count, warnings_count, attempts, due_at, expires_at,"
                   " done_at, is_given_up) SELECT name, 'raised', 'job_failed', 'pg-täglich', 1, ?1,"
                   " ?1, ?1, 'der Füllstand " + "ü" * 60 + "', 0, 1, 0, 0, ?1 + 1e12, 0, 0 FROM"
                   " (SELECT 'mail' AS name UNION SELECT 'phone')", (int(time.time() * 1e6),))
    site.deliver()
    assert "pg-täglich: der Füllstand " + "ü" * 60 in mail.messages[0]["Subject"]
    assert hook.requests[0]["headers"]["X-Title"].startswith("=?UTF-8?B?")


@pytest.fixture
def secure_mail(work):
    server = MailServer(make_certificate(work), ("blackstart", PASSWORD))
    yield server
    server.stop()


def secure_channel(site, server, ca, security="starttls"):
    password = site.secret("smtp-password", PASSWORD)
    return (f"type: email, host: 127.0.0.1, port: {server.port}, security: {security}, "
            f"user: blackstart, password_file: {password}, ca_file: {ca}, "
            "from: blackstart@plant.example, to: oncall@plant.example")


def test_starttls_and_login(site, secure_mail, work):
    site.configure({"mail": secure_channel(site, secure_mail, f"{work}/cert.pem")})
    result = site.run("alert", "test", "-v", expect=0)
    assert secure_mail.logins == [("blackstart", PASSWORD)]
    assert "a test: this channel works" in secure_mail.subjects()[0]
    assert PASSWORD not in result.text
    site.secret("smtp-password", "wrong")
    result = site.run("alert", "test", expect=1)
    assert "password_file" in result.out, "the hint names the key"


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_tls_from_the_first_byte(site, work):
    server = MailServer(make_certificate(work), ("blackstart", PASSWORD), is_tls=True)
    try:
        site.configure({"mail": secure_channel(site, server, f"{work}/cert.pem", "tls")})
        site.run("alert", "test", expect=0)
        assert len(server.raw) == 1
    finally:
        server.stop()


def test_no_password_without_a_secured_connection(site, mail, secure_mail, work):
    """A server that has lost its STARTTLS, and one whose certificate nobody knows."""
    other = os.path.join(work, "other")
    os.mkdir(other)
    make_certificate(other)
    site.configure({"plain": secure_channel(site, mail, f"{work}/cert.pem"),
                    "other": secure_channel(site, secure_mail, f"{other}/cert.pem")})
    result = site.run("alert", "test", expect=1)
    assert "STARTTLS" in result.out and "ca_file" in result.out
    assert mail.raw == [] and secure_mail.raw == [] and secure_mail.logins == []


# --- servers that misbehave ----------------------------------------------------------------------


def test_a_mail_server_that_reads_and_hangs_up(site, mail, clock):
    site.configure({"mail": mail_channel(mail)})
    mail.behave = lambda: "drop" if mail.attempts < 3 else None
    site.ended("failed", "x")
    site.watch()
    assert mail.attempts == 1 and site.waiting() == [("mail", "raised")]
    site.deliver()
    assert mail.attempts == 1, "not before the retry is due"
    for shift in (11, 11 + 61):
        site.env = clock(shift)
        site.deliver()
    assert mail.attempts == 3 and len(mail.raw) == 1 and site.waiting() == []
    site.env = clock(3000)
    site.deliver()
    assert mail.attempts == 3


def test_what_smtp_cannot_know_is_recognised(site, mail, clock):
    """Taken over, but the answer was lost: sent again with the same Message-ID."""
    site.configure({"mail": mail_channel(mail)})
    mail.behave = lambda: "take and drop" if mail.attempts == 1 else None
    site.ended("failed", "x")
    site.watch()
    site.env = clock(11)
    site.deliver()
    assert len(mail.raw) == 2
    assert mail.messages[0]["Message-ID"] == mail.messages[1]["Message-ID"]
    assert mail.raw[0] == mail.raw[1]


def test_a_refusal_is_told_in_the_servers_words(site, mail):
    site.configure({"mail": mail_channel(mail)})
    mail.behave = lambda: "554 5.7.1 policy says no"
    result = site.run("alert", "test", expect=1)
    assert "policy says no" in result.out


def test_500_and_then_ok(site, hook, clock):
    site.configure({"hook": f"type: webhook, url: '{hook.url}/alerts?x=1', "
                            f"token_file: {site.secret('token', TOKEN)}"})
    hook.behave = lambda request: 500 if len(hook.requests) < 3 else 200
    site.ended("failed", "x")
    site.watch()
    for shift in (11, 75, 400, 2000):
        site.env = clock(shift)
        site.deliver()
    assert len(hook.requests) == 3, "tried until it was taken, and no more"
    assert {request["path"] for request in hook.requests} == {"/alerts?x=1"}
    assert hook.requests[0]["headers"]["Authorization"] == f"Bearer {TOKEN}"
    body = hook.bodies()[2]
    assert body["version"] == "4" and body["status"] == "firing" and body["receiver"] == "hook"
    alert = body["alerts"][0]
    assert alert["labels"] == {"alertname": "BlackstartJobFailed", "name": "pg-daily",
                               "rule": "job_failed", "severity": "warning", "site": "testwerk"}
    assert alert["annotations"]["next_command"].startswith("blackstart log ")
    assert alert["endsAt"] == "0001-01-01T00:00:00Z" and len(alert["fingerprint"]) == 16
    site.ended("ok")
    site.watch()
    over = hook.bodies()[3]
    assert over["status"] == "resolved" and over["groupKey"] == body["groupKey"]
    assert over["alerts"][0]["fingerprint"] == alert["fingerprint"]
    assert over["alerts"][0]["startsAt"] == alert["startsAt"]


def test_a_hanging_webhook_holds_up_nobody(site, mail, hook, clock):
    release = threading.Event()
    hook.behave = lambda request: release
    site.configure({"ahook": f"type: webhook, url: '{hook.url}/'", "mail": mail_channel(mail)})
    site.ended("failed", "x")
    first = site.start("alert", "watch")
    wait_for(lambda: hook.requests, what="the request")
    site.deliver(expect=4)  # one at a time
    first.kill()
    # It failed, so that from now on it comes last: the others do not wait for it.
    site.env = clock(20)
    site.ended("failed", "x")
    began = time.monotonic()
    with contextlib.closing(sqlite3.connect(site.catalog, timeout=20)) as db, db:
        db.execute("INSERT INTO channel VALUES ('ahook', 1, 1, 1, 0, 0, 'timeout')")
    second = site.start("alert", "watch")
    wait_for(lambda: len(mail.raw) == 2, what="the mail")
    assert time.monotonic() - began < 5
    second.kill()
    release.set()
    hook.behave = lambda request: 200
    site.env = clock(8000)
    site.deliver()
    assert site.waiting() == [] and len(mail.raw) == 2


def test_no_redirect_is_followed(site, hook):
    site.configure({"hook": f"type: webhook, url: '{hook.url}/', "
                            f"token_file: {site.secret('token', TOKEN)}"})
    hook.behave = lambda request: 302
    result = site.run("alert", "test", expect=1)
    assert len(hook.requests) == 1 and "Redirects are not followed" in result.out


def test_a_failing_channel_is_told_to_the_others(site, mail, hook, clock):
    site.configure({"mail": mail_channel(mail), "hook": f"type: webhook, url: '{hook.url}/'"})
    hook.behave = lambda request: 503
    site.ended("failed", "x")
    shift = 0
    for step in (0, 11, 61, 301, 0):
        shift += step
        site.env = clock(shift)
        site.watch()
    assert mail.subjects()[-1].startswith(
        "[testwerk] WARNING: hook: messages do not get through this channel")
    assert "503" in mail.messages[-1].get_body(("plain",)).get_content()
    hook.behave = lambda request: 200
    site.run("alert", "test", "hook", expect=0)
    site.watch()
    assert mail.subjects()[-1].startswith("[testwerk] OVER: hook: ")


def test_old_messages_are_given_up(site, mail, clock):
    site.configure({"mail": mail_channel(mail)})
    mail.behave = lambda: "drop"
    site.ended("failed", "x")
    site.watch()
    site.env = clock(3 * 86400)
    mail.behave = lambda: None
    site.deliver()
    assert mail.raw == [] and site.waiting() == []
    assert site.query("SELECT is_given_up FROM outbox WHERE event = 'raised'") == [(1,)]


def test_clocks_that_jump_lose_nothing(site, mail, clock):
    """Written in a year that is not there yet, and sent in one that is over."""
    site.configure({"mail": mail_channel(mail)})
    site.env = clock(20 * 86400)
    site.ended("failed", "x")
    mail.behave = lambda: "drop"
    site.watch()
    mail.behave = lambda: None
    site.env = clock(0)
    site.deliver()
    assert len(mail.raw) == 1 and site.waiting() == []
    site.ended("ok")
    with open(f"{site.state}/lock/alert-deliver.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        site.watch()  # what there is to tell is written, but somebody else delivers
        assert site.waiting() == [("mail", "cleared")]
    site.env = clock(25 * 86400)
    site.watch()
    assert "OVER: pg-daily" in mail.subjects()[-1] and len(mail.raw) == 2


# --- killed ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "sendto"])
def test_killed_at_every_call(site, mail, clock, call):
    """Killed at the first such call, then at the second, and so on until one run gets through:
    nothing is lost, and what is sent twice has the same Message-ID."""
    site.configure({"mail": mail_channel(mail)})
    changes, killed = 0, True
    while killed or changes % 2 == 1:
        changes += 1
        assert changes < 200
        site.ended("failed" if changes % 2 == 1 else "ok", f"change {changes}")
        site.env = clock(20 * changes)
        watching = site.start("alert", "watch", prefix=[
            "strace", "-f", "-o", "/dev/null", "-e", f"trace={call}",
            "-e", f"inject={call}:signal=KILL:when={changes}"])
        killed = watching.wait().code != 0
        site.watch()
    site.env = clock(20 * changes + 4000)
    site.deliver()
    assert site.waiting() == [] and changes > 3
    events = [event for event, in site.query(
        "SELECT event FROM outbox WHERE rule = 'job_failed' ORDER BY id")]
    assert events == ["raised", "cleared"] * (changes // 2)
    seen = {}
    for message, raw in zip(mail.messages, mail.raw):
        assert seen.setdefault(message["Message-ID"], raw) == raw
    assert len(seen) == changes


# --- the other channels ------------------------------------------------------------------------------


def test_a_real_alertmanager(site, hook, work, clock):
    manager = Alertmanager(work, hook.url + "/told")
    try:
        site.configure({"am": f"type: alertmanager, url: '{manager.url}/'"})
        assert manager.alerts() == {}
        site.ended("failed", "no space left")
        site.watch()
        key = ("BlackstartJobFailed", "pg-daily", "warning")
        assert list(manager.alerts()) == [key]
        alert = manager.alerts()[key]
        assert alert["annotations"]["description"] == "no space left"
        ends = datetime.datetime.fromisoformat(alert["endsAt"].replace("Z", "+00:00"))
        left = (ends - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
        assert 200 < left < 245
        assert site.query("SELECT count(*) FROM outbox WHERE event = 'state'") == [(1,)]
        site.watch()
        assert site.query("SELECT count(*) FROM outbox WHERE event = 'state'") == [(1,)]
        # Worse is another alert there, and the former is over.
        site.ended("failed", "no space left")
        site.watch()
        assert list(manager.alerts()) == [("BlackstartJobFailed", "pg-daily", "critical")]
        site.ended("ok")
        site.watch()
        assert manager.alerts() == {}
        told = wait_for(lambda: [b for b in hook.bodies() if b["status"] == "resolved"],
                        what="Alertmanager's own message")
        assert told[-1]["alerts"][0]["labels"]["site"] == "testwerk"
        # Our own webhook has the shape of Alertmanager's.
        theirs = set(told[-1]) | set(told[-1]["alerts"][0])
        site.configure({"hook": f"type: webhook, url: '{hook.url}/ours'"})
        site.ended("failed", "x")
        site.watch()
        ours = [json.loads(r["body"]) for r in hook.requests if r["path"] == "/ours"][0]
        assert set(ours) | set(ours["alerts"][0]) == theirs
        site.configure({"am": f"type: alertmanager, url: '{manager.url}'"})
        site.run("alert", "test", expect=0)
        assert ("BlackstartTest", "blackstart", "none") in manager.alerts()
    finally:
        manager.stop()


def test_ntfy(site, hook):
    site.configure({"phone": f"type: ntfy, url: '{hook.url}/plant', severity: critical"})
    site.ended("failed", "x")
    site.watch()
    assert hook.requests == [], "a warning is not for this channel"
    site.ended("failed", "x")
    site.watch()
    site.ended("ok")
    site.watch()
    first, over = hook.requests
    assert first["path"] == "/plant" and first["headers"]["X-Priority"] == "5"
    assert first["headers"]["X-Title"].startswith("[testwerk] NOW CRITICAL: pg-daily")
    assert "Next:   blackstart log" in first["body"]
    assert over["headers"]["X-Priority"] == "3" and "OVER" in over["headers"]["X-Title"]


def test_heartbeats(site, hook, clock):
    site.configure({"dead-man": f"type: heartbeat, url: '{hook.url}/ping/all'",
                    "hc-daily": f"type: heartbeat, job: pg-daily, url: '{hook.url}/ping/daily'"})
    assert hook.paths() == ["/ping/all"]
    site.ended("running")
    site.watch()
    site.ended("failed", "no space left")
    site.watch()
    started, failed = hook.paths()[1:]
    assert started.startswith("/ping/daily/start?rid=")
    assert failed.startswith("/ping/daily/fail?rid=")
    uuid.UUID(started.partition("rid=")[2])
    assert "no space left" in hook.requests[-1]["body"]
    site.env = clock(61)
    site.ended("failed", "x")
    site.watch()
    assert hook.paths()[3] == "/ping/all/fail", "a critical alarm stands"
    site.env = clock(122)
    site.ended("ok")
    site.watch()
    assert sorted(path.partition("?")[0] for path in hook.paths()[-2:]) == \
        ["/ping/all", "/ping/daily"]
    site.run("alert", "test", "hc-daily", expect=0)
    assert hook.paths()[-1] == "/ping/daily/log", "a test does not count as a success"


def test_the_daily_digest(site, mail, hook, clock):
    site.configure({"mail": mail_channel(mail), "phone": f"type: ntfy, url: '{hook.url}/t'"},
                   'digest: "07:00"')
    site.ended("ok")
    site.watch()
    assert mail.raw == []
    for hour in range(1, 49):
        site.env = clock(hour * 3600)
        if hour % 24 == 20:
            site.ended("ok")
        site.watch()
    digests = [m for m in mail.messages if "the day" in m["Subject"]]
    assert len(digests) == 2 and hook.requests == []
    assert digests[0]["Subject"] == "[testwerk] the day (no alarm stands)"
    text = digests[0].get_body(("plain",)).get_content()
    assert "pg-daily" in text and "last run ok" in text and "No alarm stands." in text


# --- people ----------------------------------------------------------------------------------------------


def test_acknowledge_and_shelve(site, mail, clock):
    site.configure({"mail": mail_channel(mail)})
    site.run("alert", "ack", "job_failed/pg-daily", "--reason", "x", expect=1)
    site.ended("failed", "no space left")
    site.watch()
    shown = site.run("alert", "list", expect=0).out
    assert "warning job_failed/pg-daily: the last run failed" in shown
    assert "next:  blackstart log pg-daily-1" in shown
    site.run("alert", "ack", "job_failed/pg-daily", expect=2)
    site.run("alert", "ack", "job_failed/pg-daily", "--reason", "disk ordered", expect=0)
    site.env = clock(2 * 86400 - 60)
    site.watch()
    assert len(mail.raw) == 1, "no reminder for what somebody looks after"
    site.run("alert", "shelve", "job_failed/pg-daily", "--for", "90d", "--reason", "x", expect=2)
    site.run("alert", "shelve", "job_failed/pg-daily", "--for", "2h", "--reason", "x", expect=0)
    site.ended("failed", "no space left")
    site.watch()
    assert len(mail.raw) == 1
    state = site.run("alert", "list", "--json", expect=0).json["alarms"][0]
    assert state["state"] == "shelved" and state["severity"] == "critical"
    site.run("alert", "unshelve", "job_failed/pg-daily", expect=0)
    site.watch()
    assert "STILL CRITICAL" in mail.subjects()[-1] and len(mail.raw) == 2
    changes = site.run("alert", "list", "--all", "--json", expect=0).json["changes"]
    by_people = [(c["event"], c["why"]) for c in changes if c["who"]]
    assert by_people == [("unshelved", None), ("shelved", "x"), ("acknowledged", "disk ordered")]


def test_reminders_come_once_a_day(site, mail, clock):
    site.configure({"mail": mail_channel(mail)})
    site.ended("failed", "x")
    for hour in range(0, 47, 3):
        site.env = clock(hour * 3600)
        site.watch()
    assert len([s for s in mail.subjects() if "pg-daily: the last run failed" in s]) == 2


def test_testing_tells_what_happened_to_each(site, mail):
    dead = free_port()
    site.configure({"mail": mail_channel(mail),
                    "hook": f"type: webhook, url: 'http://127.0.0.1:{dead}/'"})
    result = site.run("alert", "test", expect=1)
    assert "ok      mail" in result.out and "FAILED  hook" in result.out
    channels = site.run("alert", "test", "--json", expect=1).json["channels"]
    assert [(c["channel"], c["ok"]) for c in channels] == [("mail", True), ("hook", False)]
    site.run("alert", "test", "mail", expect=0)
    site.run("alert", "test", "pager", expect=2)


def test_the_url_itself_may_be_the_secret(site, hook):
    path = site.secret("url", f"{hook.url}/{TOKEN}")
    site.configure({"hook": f"type: webhook, url_file: {path}"})
    hook.behave = lambda request: 500
    result = site.run("alert", "test", "-v", expect=1)
    assert hook.paths() == [f"/{TOKEN}"] and TOKEN not in result.text
    os.chmod(path, 0o644)
    assert "chmod" in site.run("alert", "test", expect=1).out


def test_what_cannot_work_is_found_before(site):
    site.configure({"mail": "type: email, host: mx, from: a@b, to: c@d, user: u, "
                            "password_file: /nowhere/smtp"})
    checked = site.run("config", "check", expect=3).out
    assert "the file '/nowhere/smtp' is not there" in checked
    for channels, more, said in (
            ({"hc": "type: heartbeat, url: 'https://h/x', job: pg-dialy"}, "",
             "there is no job 'pg-dialy'"),
            ({"hc": "type: ntfy, url: 'https://h/x'"}, 'digest: "25:00"', "digest"),
            ({"hc": "type: ntfy, url: 'https://h/x'"}, "rules: { disable: [job_faild] }",
             "Did you mean 'job_failed'?"),
            ({"hc": "type: webhook, url: 'https://u:p@h/x'"}, "", "must not hold a password")):
        with pytest.raises(AssertionError):
            site.configure(channels, more)
        assert said in site.run("config", "check", expect=2).out


def test_a_store_that_is_gone_is_told(site, mail, work):
    site.configure({"mail": mail_channel(mail)})
    os.rename(f"{work}/store", f"{work}/unmounted")
    site.watch()
    assert mail.subjects() == ["[testwerk] CRITICAL: store: the store cannot be used "
                               "(1 critical, 0 warnings)"]
    os.rename(f"{work}/unmounted", f"{work}/store")
    site.watch()
    assert "OVER: store" in mail.subjects()[-1]
