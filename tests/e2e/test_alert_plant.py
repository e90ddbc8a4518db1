"""Alarms of a real plant: a server that is away, a table that was emptied, a log that stands still
or has a hole, and runs that die."""
import os
import signal
import time

import pytest

import plant
from alert_peers import MailServer, wait_for
from program import Program
from redis_server import PASSWORD, RedisServer, redis_bin
from test_alert import clock  # noqa: F401 (a fixture)
from test_pitr import Site, later
from receiver import Receiver


@pytest.fixture
def mail():
    server = MailServer()
    yield server
    server.stop()


def add_alerts(path, mail, rules=""):
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"alerts:\n  rules: {{ {rules} }}\n  channels:\n    mail: {{ type: email, "
                   f"host: 127.0.0.1, port: {mail.port}, security: none, from: b@plant.example, "
                   "to: o@plant.example }\n")
    return path


def change(path, old, new):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(old, new))


def standing(bs, path):
    return {alarm["alarm"]: alarm for alarm in bs.json("alert", "list", "-c", path)["alarms"]}


def watch(bs, path):
    bs.ok("alert", "watch", "-c", path)
    return standing(bs, path)


def test_a_server_that_is_away(bs, configure, pg, mail):
    path = add_alerts(configure(databases=f"[{plant.EMPTY_DATABASE}]"), mail)
    bs.ok("run", "pg-daily", "-c", path)
    assert watch(bs, path) == {} and mail.raw == []
    change(path, f"port: {pg.port},", "port: 1,")
    failed = bs.run("run", "pg-daily", "-c", path, expect=1)
    alarm = watch(bs, path)["job_failed/pg-daily"]
    said = failed.err.splitlines()[0].removeprefix("error: ")
    assert alarm["severity"] == "warning" and said in alarm["cause"]
    bs.run("run", "pg-daily", "-c", path, expect=1)
    assert watch(bs, path)["job_failed/pg-daily"]["severity"] == "critical"
    # What the alarm says to type works.
    log = bs.ok(*alarm["next_command"].split()[1:], "-c", path).text
    assert "failed" in log
    change(path, "port: 1,", f"port: {pg.port},")
    bs.ok("run", "pg-daily", "-c", path)
    assert watch(bs, path) == {}
    assert [s.split(": ")[0].split("] ")[1] for s in mail.subjects()] == \
        ["WARNING", "NOW CRITICAL", "OVER"]


def test_a_run_that_died(bs, configure, database, pg, mail):
    path = add_alerts(configure(databases=f"[{database}]"), mail)
    running = bs.start("run", "pg-daily", "-c", path)
    wait_for(lambda: "running" in bs.run("status", "-c", path).out, what="the run")
    running.kill()
    alarm = watch(bs, path)["lost/pg-daily"]
    assert alarm["text"] == "the last run was lost" and "killed" in alarm["cause"]
    bs.ok("run", "pg-daily", "-c", path)
    assert watch(bs, path) == {}


def test_a_table_that_was_emptied(bs, configure, database, pg, mail):
    path = add_alerts(configure(databases=f"[{database}]"), mail)
    for _ in range(2):
        bs.ok("run", "pg-daily", "-c", path)
    assert watch(bs, path) == {}
    pg.sql("DELETE FROM users; DELETE FROM documents", database)
    bs.run("run", "pg-daily", "-c", path, expect=(0, 3))
    alarm = watch(bs, path)["suspicious/pg-daily"]
    assert "2 tables are empty now, the first: " + database in alarm["text"]
    assert bs.ok(*alarm["next_command"].split()[1:], "-c", path).out
    # It stays for as long as earlier backups are compared with; people say that it is known.
    bs.run("run", "pg-daily", "-c", path, expect=(0, 3))
    assert "suspicious/pg-daily" in watch(bs, path)
    pg.sql("INSERT INTO users VALUES ('a', 'b', 'c'); INSERT INTO documents VALUES ('x', NULL)",
           database)
    bs.run("run", "pg-daily", "-c", path, expect=(0, 3))
    assert watch(bs, path) == {}


def test_proofs_and_drills_that_are_due(bs, configure, pg, mail, clock):
    path = add_alerts(configure(databases=f"[{plant.EMPTY_DATABASE}]", jobs={
        "pg-daily": 'source: postgresql, do: dump, at: "02:00", max_age: 365d, '
                    "verify: { level: 1, every: 7d }"}), mail, "drill_max_age: 90d")
    bs.ok("run", "pg-daily", "-c", path)
    assert watch(bs, path) == {}
    for days, expected in ((13, set()), (15, {"verify_overdue/pg-daily"}),
                           (91, {"verify_overdue/pg-daily", "drill_overdue/postgresql"})):
        bs.ok("alert", "watch", "-c", path, env=clock(days * 86400))
        assert set(standing(bs, path)) == expected, days
    alarm = standing(bs, path)["verify_overdue/pg-daily"]
    bs.ok(*alarm["next_command"].split()[1:], "-c", path, env=clock(91 * 86400))
    bs.ok("alert", "watch", "-c", path, env=clock(91 * 86400))
    assert set(standing(bs, path)) == {"drill_overdue/postgresql"}


@pytest.fixture
def streaming(base_folder, bin_dirs, password_file, mail):
    made = Site(base_folder, bin_dirs, password_file, "alerts")
    change(made.config, "continuous: true, heartbeat: off", "continuous: true, heartbeat: 1s, "
           "max_age: 6s")
    add_alerts(made.config, mail)
    made.receive()
    made.base()
    yield made
    made.destroy()


def test_a_log_that_stands_still(streaming, mail):
    site = streaming
    wait_for(lambda: watch(site.bs, site.config) == {}, what="a quiet plant")
    before = len(mail.raw)
    site.receiver.kill()
    alarm = wait_for(lambda: watch(site.bs, site.config).get("wal_stalled/postgresql"),
                     what="the alarm")
    assert alarm["severity"] == "critical" and alarm["cause"] == "no receiver runs"
    assert alarm["next_command"] == "blackstart run pg-wal"
    assert any("CRITICAL: postgresql: the log stands still" in subject
               for subject in mail.subjects()[before:])
    assert "lost/pg-wal" in standing(site.bs, site.config), "its process died without a word"
    site.receiver = Receiver(site.bs, site.config, site.wal, site.server).start()
    # It runs and receives again: both are over, though a receiver's run never ends well.
    wait_for(lambda: watch(site.bs, site.config) == {}, what="the end of the alarms")
    assert any("OVER: postgresql" in subject for subject in mail.subjects())
    site.receiver.stop()


def test_a_hole_in_the_log(streaming, mail):
    site = streaming
    done = {number: later(site, number) for number in range(1, 5)}
    site.insert(5)
    site.receiver.wait_all()
    site.receiver.stop()
    site.run("settle", "postgresql")
    assert "wal_gap/postgresql" not in watch(site.bs, site.config)
    lsn = done[3]["lsn"]
    found = site.server.value(f"SELECT pg_walfile_name('{lsn}'::pg_lsn - 1)")
    for name in os.listdir(site.wal):
        if name.startswith(found):
            os.unlink(os.path.join(site.wal, name))
    alarm = watch(site.bs, site.config)["wal_gap/postgresql"]
    assert alarm["severity"] == "critical" and found in alarm["cause"]
    assert alarm["next_command"] == "blackstart window postgresql"


def test_the_stream_of_a_redis_that_stands_still(work, mail, bin_dirs):
    server = RedisServer(os.path.join(work, "redis"))
    server.start("--repl-ping-replica-period", "1")
    bs = Program(work, [redis_bin()], [PASSWORD])
    password = os.path.join(work, "redis-password")
    with open(password, "w", encoding="utf-8") as file:
        file.write(PASSWORD + "\n")
    os.chmod(password, 0o600)
    path = os.path.join(work, "redis.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"site: testwerk\ntimezone: Europe/Berlin\nstate_dir: {work}/state-r\n"
                   f"store: {{ path: {work}/store-r }}\nsources:\n  cache: {{ type: redis, "
                   f"host: 127.0.0.1, port: {server.port}, password_file: {password} }}\njobs:\n"
                   "  rdb: { source: cache, do: rdb, every: 6h }\n"
                   "  changes: { source: cache, do: stream, continuous: true, max_age: 8s }\n")
    add_alerts(path, mail)
    try:
        running = bs.start("run", "changes", "-c", path)
        server.cli("SET", "a", "1")
        # Also while nothing is written: the server says each second that it is there.
        wait_for(lambda: any(name.endswith(".partial") for _, _, names in
                             os.walk(f"{work}/store-r") for name in names), what="the stream")
        until = time.monotonic() + 10
        wait_for(lambda: time.monotonic() > until and watch(bs, path) == {}, timeout=30,
                 what="ten quiet seconds")
        running.kill()
        alarm = wait_for(lambda: watch(bs, path).get("wal_stalled/cache"), timeout=30,
                         what="the alarm")
        assert alarm["next_command"] == "blackstart run changes"
        running = bs.start("run", "changes", "-c", path)
        wait_for(lambda: watch(bs, path) == {}, timeout=30, what="the end of it")
        running.signal(signal.SIGTERM)
        running.wait()
    finally:
        bs.end_all()
        server.kill()
