"""The continuous stream of a Redis: received, kept through every kind of end, and what it brings."""
import datetime
import json
import os
import signal
import socket
import subprocess
import threading
import time
import types

import pytest

from redis_fixtures import bs, password  # pylint: disable=unused-import
from redis_server import (PASSWORD, RedisServer, fill, has_functions, redis_program,
                          redis_version, sentinel, tls_settings)
from redis_stream import Link, Receiver, commands_of, poll, without_notes
from store import Store, flip_bit


@pytest.fixture
def new_redis(work):
    made = []

    def make(*settings, start=True, **kwargs):
        made.append(RedisServer(os.path.join(work, f"redis{len(made)}"), "--repl-ping-replica-period",
                                "1", *settings, **kwargs))
        return made[-1].start() if start else made[-1]
    yield make
    for server in made:
        server.kill()


@pytest.fixture
def receive(bs, work, password):
    def make(server, start=True, **kwargs):
        made = Receiver(bs, work, password, server, **kwargs)
        return made.start() if start else made
    return make


@pytest.fixture
def rebuild(work):
    """The data as base and stream give it: (digest of all data)."""
    made = []

    def run(receiver, **kwargs):
        made.append(receiver.rebuilt(os.path.join(work, f"again{len(made)}"), **kwargs))
        return made[-1]
    yield run
    for server in made:
        server.kill()


def write(server, name, count=100):
    server.many([f"SET {name}:{i} {i}" for i in range(count)])


# --- what arrives ------------------------------------------------------------------------------


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_what_is_received_is_what_the_server_has(new_redis, receive, rebuild, diskless):
    """Every kind of command, behind a copy that was one fork, by Redis' own way of reading it."""
    server = new_redis("--repl-diskless-sync", diskless)
    fill(server)
    server.cli("DEL", "brief")
    receiver = receive(server)
    server.many(["SET after 1", "SELECT 3", "RPUSH list a b c", "SPOP nothing", "SADD set 1 2 3",
                 "SPOP set", "MULTI", "INCR n", "SELECT 9", "INCR n", "EXEC", "SELECT 0",
                 "EVAL \"redis.call('set','lua','1') redis.call('incr','lua')\" 0",
                 "SET gone 1 PXAT 4102444800000", "XADD stream * a 1", "PUBLISH news hello",
                 f"SET large {'x' * 300000}"])
    if has_functions():
        server.cli("FUNCTION", "LOAD", "#!lua name=more\n"
                   "redis.register_function('g', function() return 1 end)")
    end = receiver.wait_all()
    receiver.stop()
    base, = receiver.bases()
    assert base["job"] == "redis-stream" and base["kind"] == "rdb"
    assert base["content"]["transfer"]["is_diskless"] == (diskless == "yes")
    assert server.info("total_forks") in ("1", None)
    # A Redis has no identity that it could be known by again.
    assert not os.path.exists(os.path.join(receiver.store, ".blackstart/source"))
    commands = receiver.commands()
    assert [words[0] for _, _, words in commands if words[0] != b"ping"][0] == b"SELECT"
    assert commands[-1][0] >= end
    # The offset that a command ends at is the server's own.
    assert int(base["content"]["replication"].split()[1]) + sum(
        len(raw(words)) for _, _, words in commands) == commands[-1][0]
    assert rebuild(receiver).digest() == server.digest()


def raw(words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def test_the_stream_begins_although_the_first_ack_comes_too_early(new_redis, receive):
    """A server that has not buried its child yet drops it: one alone, and nothing ever comes."""
    server = new_redis("--repl-diskless-sync", "yes", "--hz", "1", "--dynamic-hz", "no",
                       "--repl-timeout", "2")
    receiver = receive(server)
    began = time.monotonic()
    write(server, "early")
    receiver.wait_all()
    # And later ones keep the link: without them it is cut after repl-timeout.
    poll(lambda: time.monotonic() - began > 5)
    write(server, "late")
    receiver.wait_all()
    receiver.stop()
    assert receiver.said().count("receiving the stream of redis") == 1


def test_wait_does_not_count_us_and_failover_does_not_choose_us(new_redis, receive):
    server = new_redis()
    receiver = receive(server)
    write(server, "a")
    receiver.wait_all()
    # On one connection, since WAIT speaks of its own writes.
    answers = server.cli(stdin="SET b 1\nWAIT 1 300\n").splitlines()
    assert answers == ["OK", "0"]
    if redis_version() >= (6, 2):
        server.cli("FAILOVER", "TIMEOUT", "300", check=False)
    poll(lambda: server.info("master_failover_state") in ("no-failover", None))
    assert server.info("role") == "master"
    write(server, "still")
    receiver.wait_all()
    assert "lag=0" in server.cli("INFO", "replication") or "lag=1" in server.cli(
        "INFO", "replication")
    receiver.stop()


def test_a_sentinel_does_not_take_us_for_a_replica(new_redis, receive, work):
    server = new_redis()
    receiver = receive(server)
    assert server.info("connected_slaves") == "1"
    with sentinel(server, os.path.join(work, "sentinel")) as port:
        def ask(*words):
            return subprocess.run([redis_program("cli"), "-p", str(port), *words],
                                  capture_output=True, text=True, check=False).stdout

        def has_asked():
            answer = ask("SENTINEL", "MASTER", "plant").splitlines()
            return "run_id" in answer or ("runid" in answer and answer[answer.index("runid") + 1])
        poll(has_asked, note=lambda: ask("SENTINEL", "MASTER", "plant"))
        assert ask("SENTINEL", "REPLICAS", "plant").strip() == ""
        assert "num-slaves\n0" in ask("SENTINEL", "MASTER", "plant")
    receiver.stop()


def test_the_stream_of_a_replica_begins_in_the_database_that_is_in_force(new_redis, receive,
                                                                          rebuild):
    """It sends no SELECT: only the copy's repl-stream-db says that it is number 5."""
    master = new_redis()
    replica = new_redis("--replicaof", "127.0.0.1", str(master.port), "--masterauth", PASSWORD)
    poll(lambda: replica.info("master_link_status") == "up")
    master.cli("-n", "5", "SET", "before", "1")
    poll(lambda: replica.cli("-n", "5", "GET", "before") == "1")
    receiver = receive(replica)
    master.cli("-n", "5", "SET", "after", "1")
    receiver.wait_all(master)
    receiver.stop()
    words = [words for _, _, words in receiver.commands() if words[0] != b"ping"]
    assert words[0] == [b"SET", b"after", b"1"]
    assert rebuild(receiver).digest() == master.digest()


# --- links that break ------------------------------------------------------------------------------


def test_after_a_cut_it_goes_on_where_it_was(new_redis, receive, rebuild):
    server = new_redis()
    receiver = receive(server)
    write(server, "a")
    receiver.wait_all()
    for round_ in range(3):
        server.cli("CLIENT", "KILL", "TYPE", "replica")
        write(server, f"cut{round_}")
        receiver.wait_said("receiving the stream of redis", count=round_ + 2)
        receiver.wait_all()
    receiver.stop()
    assert server.info("sync_full") == "1" and server.info("sync_partial_ok") == "3"
    assert len(receiver.bases()) == 1 and receiver.events() == []
    assert rebuild(receiver).digest() == server.digest()
    # What was written meanwhile has no time of its own: that is kept, and shown.
    assert sum(piece.count(b"#OUT:") for _, piece in receiver.pieces()) == 3
    assert any("the link was down" in text for text in receiver.window()["warnings"])


def test_a_hole_is_named_and_a_new_base_taken(new_redis, receive, rebuild):
    """While nobody received, more was written than the server's backlog holds."""
    server = new_redis("--repl-backlog-size", "16384")
    receiver = receive(server)
    write(server, "before")
    receiver.wait_all()
    last = receiver.stop()
    assert "durable up to" in last.err
    write(server, "lost", 2000)
    receiver.start()
    write(server, "behind")
    receiver.wait_all()
    receiver.stop()
    event, = receiver.events()
    assert event["kind"] == "gap" and "repl-backlog-size" in event["text"]
    first, second = receiver.bases()
    assert int(event["from_position"]) < int(event["to_position"]) == int(
        second["content"]["replication"].split()[1])
    window = receiver.window(expect=3)
    assert len(window["gaps"]) == 1 and len(window["spans"]) == 2
    assert [span["backup"] for span in window["spans"]] == [first["id"], second["id"]]
    text = receiver.bs.run("window", "redis", "-c", receiver.path, expect=3).out
    assert "gap" in text


def test_a_server_that_starts_anew_begins_a_new_history(new_redis, receive):
    """kill -9 of the server: its replication id is another, its data is gone."""
    server = new_redis()
    receiver = receive(server)
    write(server, "first")
    receiver.wait_all()
    server.kill()
    server.start()
    write(server, "second")
    receiver.wait_said("receiving the stream of redis", count=2, seconds=40)
    write(server, "third")
    poll(lambda: len(receiver.histories()) == 2)
    receiver.wait_said(r"durable up to offset \d+ of timeline 2")
    receiver.stop()
    one, two = receiver.histories()
    assert (one["branch"], one["parent"]) == (1, 0) and (two["branch"], two["parent"]) == (2, 0)
    assert one["replication_id"] != two["replication_id"]
    assert [event["kind"] for event in receiver.events()] == ["gap"]
    assert len(receiver.bases()) == 2
    keys = {words[1] for _, _, words in receiver.commands(1) if words[0] == b"SET"}
    assert keys == {b"first:%d" % i for i in range(100)}
    window = receiver.window(expect=3)
    assert [span["timeline"] for span in window["spans"]] == [1, 2] and len(window["gaps"]) == 1
    assert window["gaps"][0]["after"] == window["spans"][0]["to"]
    assert window["gaps"][0]["before"] == window["spans"][1]["from"]


def pair(new_redis):
    """A master, and a replica of it on a road that can be held up; both in a plant's hands."""
    master = new_redis("--repl-diskless-sync", "yes")
    road = Link(master.port)
    replica = new_redis("--replicaof", "127.0.0.1", str(road.port), "--masterauth", PASSWORD)
    poll(lambda: replica.info("master_link_status") == "up")
    return master, road, replica


def test_a_failover_is_a_branch_and_needs_no_new_copy(new_redis, receive, rebuild, work):
    master, road, replica = pair(new_redis)
    fill(master)
    receiver = receive(master)
    write(master, "before")
    receiver.wait_all()
    poll(lambda: replica.info("master_repl_offset") == master.info("master_repl_offset"))
    master.kill()
    road.close()
    replica.cli("REPLICAOF", "NO", "ONE")
    receiver.stop()
    receiver.point_at(replica)
    receiver.start()
    write(replica, "behind")
    receiver.wait_all()
    receiver.stop()
    assert len(receiver.bases()) == 1 and receiver.events() == []
    one, two = receiver.histories()
    assert two["parent"] == 1 and two["reason"] == "failover"
    assert two["replication_id"] == replica.info("master_replid")
    last = receiver.commands(1)[-1][0]
    assert int(two["from"]) == last
    # The two branches one behind the other are the whole story.
    first = b"".join(data for _, data in receiver.pieces(1))
    again = RedisServer(os.path.join(work, "both"), "--appendonly", "yes")
    base, = receiver.bases()
    file = next(f["name"] for f in base["files"] if f["name"].endswith(".rdb"))
    with open(os.path.join(receiver.store, "redis", file), "rb") as rdb:
        stream = first + b"".join(data for _, data in receiver.pieces(2))
        data = rdb.read() + (stream if redis_version() >= (7, 0) else without_notes(stream))
    with open(os.path.join(again.data, "appendonly.aof"), "wb") as aof:
        aof.write(data)
    try:
        assert again.start().digest() == replica.digest()
    finally:
        again.kill()
    span, = receiver.window()["spans"]
    assert span["current"] and span["backup"] == base["id"] and span["timeline"] == 2


def test_what_a_promoted_server_never_had_is_kept_as_a_dead_branch(new_redis, receive):
    """We were ahead of it: our tail is evidence, and nothing of it is in the new history."""
    master, road, replica = pair(new_redis)
    receiver = receive(master)
    write(master, "common")
    poll(lambda: replica.info("master_repl_offset") == master.info("master_repl_offset"))
    road.is_held = True
    fork = int(replica.info("master_repl_offset"))
    write(master, "dead")
    receiver.wait_all()
    master.kill()
    road.close()
    replica.cli("REPLICAOF", "NO", "ONE")
    receiver.stop()
    receiver.point_at(replica)
    receiver.start()
    write(replica, "new")
    receiver.wait_all()
    receiver.stop()
    event, = receiver.events()
    assert event["kind"] == "diverged" and int(event["from_position"]) == fork
    assert "--timeline 1" in event["text"]
    one, two = receiver.histories()
    assert two["parent"] == 1 and int(two["from"]) == fork
    assert any(words[1].startswith(b"dead:") for _, _, words in receiver.commands(1)
               if words[0] == b"SET")
    assert not any(words[1].startswith(b"dead:") for _, _, words in receiver.commands(2)
                   if words[0] == b"SET")
    window = receiver.window()
    assert {span["timeline"] for span in window["spans"]} == {1, 2}
    # The common part is in the backlog of the new one: no new copy, no hole.
    assert len(receiver.bases()) == 1 and window["gaps"] == []


# --- ends that nobody asked for --------------------------------------------------------------------


class Writer:
    """Writes numbered keys without a pause, and remembers when each was answered."""

    def __init__(self, server):
        self.server, self.answered, self.is_over = server, [], False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        with socket.socket(socket.AF_UNIX) as conn:
            conn.connect(self.server.socket)
            conn.sendall(f"AUTH {PASSWORD}\r\n".encode())
            assert conn.recv(100) == b"+OK\r\n"
            number = 0
            while not self.is_over:
                try:
                    conn.sendall(f"SET n:{number} {number}\r\n".encode())
                    if conn.recv(100) != b"+OK\r\n":
                        return
                except OSError:
                    return
                self.answered.append(time.time())
                number += 1
                time.sleep(0.001)

    def stop(self):
        self.is_over = True
        self.thread.join()


def numbers(receiver, branch=1):
    return [int(words[2]) for _, _, words in receiver.commands(branch)
            if words[0] == b"SET" and words[1].startswith(b"n:")]


def test_a_killed_receiver_goes_on_behind_its_last_whole_command(new_redis, receive, rebuild):
    server = new_redis()
    receiver = receive(server)
    writer = Writer(server)
    for round_ in range(3):
        poll(lambda: len(writer.answered) > 700 * (round_ + 1))
        receiver.kill()
        receiver.start()
    poll(lambda: len(writer.answered) > 700 * 4)
    writer.stop()
    receiver.wait_all()
    receiver.stop()
    assert numbers(receiver) == list(range(len(writer.answered)))
    assert server.info("sync_full") == "1" and receiver.events() == []
    assert rebuild(receiver).digest() == server.digest()
    assert not [name for name in receiver.names() if "damaged" in name]


def test_no_more_than_a_second_is_lost_when_both_are_killed(new_redis, receive):
    """What the server had answered, and the dead receiver had not on the disk."""
    server = new_redis()
    receiver = receive(server)
    worst = 0
    for _ in range(3):
        writer = Writer(server)
        poll(lambda: len(writer.answered) > 800)
        server.process.send_signal(signal.SIGSTOP)
        receiver.running.process.kill()
        killed = time.time()
        receiver.running.process.wait()
        server.kill()
        writer.stop()
        kept = numbers(receiver, len(receiver.histories()))
        assert kept == list(range(len(kept)))
        lost = writer.answered[len(kept):]
        worst = max(worst, killed - lost[0] if lost else 0)
        server.start()
        receiver.start()
        poll(lambda: server.info("connected_slaves") == "1")
    print(f"lost at most {worst:.2f} s")
    assert worst <= 1.0
    receiver.stop()


def test_a_transaction_is_never_cut(new_redis, receive, rebuild):
    """Pieces end each second, the link is cut, the receiver killed: each ends outside of MULTI."""
    server = new_redis("--repl-backlog-size", "512mb")
    receiver = receive(server, more=", piece_age: 1s")
    writer = subprocess.Popen(
        [redis_program("benchmark"), "-s", server.socket, "-a", PASSWORD, "-q", "-n", "400000",
         "-c", "4", "EVAL", "for i=1,20 do redis.call('incr', 'k' .. i) end", "0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(3):
            count = len(receiver.names("*.zst"))
            poll(lambda: len(receiver.names("*.zst")) > count + 1)
            receiver.kill()
            receiver.start()
            server.cli("CLIENT", "KILL", "TYPE", "replica")
    finally:
        writer.kill()
        writer.wait()
    poll(lambda: server.cli("CLIENT", "LIST", "TYPE", "normal").count("\n") == 0)
    receiver.wait_all(seconds=60)
    receiver.stop()
    assert len(receiver.names("*.zst")) >= 6
    end = None
    for first, data in receiver.pieces():
        commands = commands_of(first, data)
        words = [words[0].upper() for _, _, words in commands]
        assert words.count(b"MULTI") == words.count(b"EXEC")
        assert end is None or first == end, (receiver.names(), first, end)
        end = commands[-1][0] if commands else first
    assert rebuild(receiver).digest() == server.digest()


def test_a_torn_tail_is_cut_at_its_last_whole_command(new_redis, receive, rebuild):
    """Whatever prefix of the file a crash leaves: the rest comes again from the server."""
    server = new_redis()
    receiver = receive(server)
    write(server, "a", 300)
    receiver.wait_all()
    receiver.stop()
    name, = receiver.names("*.partial")
    path = os.path.join(receiver.folder, name)
    whole = receiver.piece(name)
    for cut in (len(whole) - 1, len(whole) - 40, len(whole) // 2, 130):
        with open(path, "r+b") as file:
            file.truncate(cut)
        receiver.start().wait_all()
        receiver.stop()
    assert rebuild(receiver).digest() == server.digest()
    assert server.info("sync_full") == "1"
    # Bytes that are no commands are cut off too, and kept for who wants to look.
    with open(path, "ab") as file:
        file.write(b"\0" * 5000)
    receiver.start().wait_all()
    receiver.stop()
    assert len(receiver.names("*.damaged-*")) == 1
    assert rebuild(receiver).digest() == server.digest()


# --- what can be brought back ----------------------------------------------------------------------


def test_the_window_reaches_to_now_and_a_rebuilt_catalog_knows_it(new_redis, receive):
    server = new_redis()
    receiver = receive(server, more=", piece_age: 1s")
    for number in range(3):
        write(server, f"a{number}")
        receiver.wait_all()
        poll(lambda: len(receiver.names("*.zst")) > number)
    window = receiver.window(expect=0)
    span, = window["spans"]
    assert span["current"] and span["backup"] == receiver.bases()[0]["id"]
    assert receiver.bs.json("status", "-c", receiver.path, expect=(0, 3))
    text = receiver.bs.run("status", "-c", receiver.path, expect=(0, 3)).out
    assert "to any second since" in text, text
    receiver.stop()
    before = receiver.window(expect=0)
    receiver.bs.ok("catalog", "rebuild", "-c", receiver.path)
    after = receiver.window(expect=(0, 3))
    assert after["spans"] == before["spans"] and after["segments"] == before["segments"]
    result = receiver.bs.ok("settle", "redis", "-c", receiver.path)
    assert "0 tails" in result.out
    assert receiver.window(expect=0)["not_sound"] == 0


def test_a_piece_that_is_gone_or_damaged_is_a_gap(new_redis, receive):
    server = new_redis()
    receiver = receive(server, more=", piece_age: 1s")
    for number in range(4):
        write(server, f"a{number}")
        receiver.wait_all()
        poll(lambda: len(receiver.names("*.zst")) > number)
    receiver.stop()
    packed = receiver.names("*.zst")
    path = os.path.join(receiver.folder, packed[2])
    whole = receiver.window()
    flip_bit(path, 60)
    result = receiver.bs.run("settle", "redis", "--again", "-c", receiver.path, expect=6)
    assert packed[2] in result.err
    assert receiver.window(expect=3)["spans"] != whole["spans"]
    flip_bit(path, 60)
    receiver.bs.ok("settle", "redis", "--again", "-c", receiver.path)
    assert receiver.window() == whole
    flip_bit(path, 60)
    receiver.bs.ok("catalog", "rebuild", "-c", receiver.path)
    result = receiver.bs.run("settle", "redis", "-c", receiver.path, expect=6)
    assert packed[2] in result.err
    window = receiver.window(expect=3)
    span, = window["spans"]
    assert int(packed[2].split(".")[1], 16) == int(span["to_lsn"])
    assert any("damaged" in text for text in window["warnings"])
    os.remove(os.path.join(receiver.folder, packed[1]))
    receiver.bs.run("settle", "redis", "-c", receiver.path, expect=6)
    span, = receiver.window(expect=3)["spans"]
    assert int(packed[1].split(".")[1], 16) == int(span["to_lsn"])


def test_times_are_the_servers(bs, new_redis, receive, work):
    """Our own clock is an hour ahead: people name times by the one that the plant's server has."""
    library = os.path.join(work, "clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    os.path.join(os.path.dirname(__file__), "clock_shim.c")], check=True)
    server = new_redis()
    receiver = receive(server, start=False)
    receiver.start(env={"LD_PRELOAD": library, "CLOCK_SHIFT_S": "3600"})
    began = time.time()
    write(server, "a")
    receiver.wait_all()
    receiver.stop()
    assert "clock" in receiver.said()
    times = [at / 1e6 for _, at, words in receiver.commands() if words[0] == b"SET"]
    assert times and all(began - 2 < at < time.time() + 2 for at in times)
    base, = receiver.bases()
    assert base["consistent_at"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began + 60))


def test_a_user_with_the_rights_that_check_prints_is_enough(bs, new_redis, receive):
    server = new_redis()
    rule = bs.ok("check", server.url.replace("://", "://keeper@"), "--sql", "--store",
                 os.path.join(bs.work, "store"), "--password-file",
                 os.path.join(bs.work, "password")).out
    line = [text for text in rule.splitlines() if text.startswith("ACL SETUSER")][0]
    server.cli(*line.replace("'>PASSWORD'", ">" + PASSWORD).split())
    receiver = receive(server, source=", user: keeper")
    write(server, "a")
    receiver.wait_all()
    result = receiver.stop()
    assert "NOPERM" not in result.err


# --- bases and retention ---------------------------------------------------------------------------


def test_a_base_is_taken_beside_the_stream_when_one_is_due(new_redis, receive, work):
    server = new_redis()
    server.cli("-n", "7", "SET", "other", "1")
    receiver = receive(server, more=", base_every: 10s")
    writer = Writer(server)
    receiver.wait_said("a new base is due")
    receiver.wait_said("the new base is stored")
    writer.stop()
    receiver.wait_all()
    receiver.stop()
    first, second = receiver.bases()
    assert second["job"] == first["job"] == "redis-stream"
    place, offset = second["content"]["replication"].split()
    assert place == receiver.histories()[0]["replication_id"]
    ends = {end for end, _, _ in receiver.commands()}
    assert int(offset) in ends and len(receiver.histories()) == 1
    span, = receiver.window(expect=0)["spans"]
    assert span["backup"] == first["id"] and span["current"]
    # What comes behind its place, in the database that it says, is all that it lacks.
    rdb = next(f["name"] for f in second["files"] if f["name"].endswith(".rdb"))
    again = RedisServer(os.path.join(work, "again"), "--appendonly", "yes")
    with open(os.path.join(again.data, "appendonly.aof"), "wb") as aof:
        with open(os.path.join(receiver.store, "redis", rdb), "rb") as file:
            aof.write(file.read())
        aof.write(raw([b"SELECT", second["content"]["stream_db"].encode()]))
        for end, _, words in receiver.commands():
            if end > int(offset):
                aof.write(raw(words))
    try:
        assert again.start().digest() == server.digest()
    finally:
        again.kill()


def test_a_base_of_another_job_counts(new_redis, receive):
    server = new_redis()
    receiver = receive(server)
    write(server, "a")
    receiver.bs.ok("run", "redis-6h", "-c", receiver.path)
    write(server, "b")
    receiver.wait_all()
    receiver.bs.run("run", "redis-stream", "-c", receiver.path, expect=4)
    receiver.bs.ok("run", "redis-stream", "--base", "-c", receiver.path)
    assert [base["job"] for base in receiver.bases()] == ["redis-stream", "redis-6h",
                                                          "redis-stream"]
    assert len(receiver.window(expect=0)["spans"]) == 1
    result = receiver.bs.run("run", "redis-6h", "--base", "-c", receiver.path, expect=2)
    assert "--base" in result.err
    receiver.stop()


def test_retention_keeps_what_the_window_needs(bs, new_redis, receive, work):
    """Two days on, with one day to keep: the newest base older than that, and what came since."""
    server = new_redis()
    receiver = receive(server, more=", piece_age: 1s")
    for number in range(4):
        write(server, f"a{number}")
        receiver.wait_all()
        poll(lambda: len(receiver.names("*.zst")) > number)
        if number == 1:
            bs.ok("run", "redis-stream", "--base", "-c", receiver.path)
    receiver.stop()
    with open(receiver.path, encoding="utf-8") as file:
        text = file.read()
    with open(receiver.path, "w", encoding="utf-8") as file:
        file.write(text.replace("keep: 7d", "keep: 1d"))
    library = os.path.join(work, "clock.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library,
                    os.path.join(os.path.dirname(__file__), "clock_shim.c")], check=True)
    later = {"LD_PRELOAD": library, "CLOCK_SHIFT_S": str(2 * 86400)}
    first, second = receiver.bases()
    base_at = int(second["content"]["replication"].split()[1])
    pieces = receiver.names("*.zst")
    gone = [name for name in pieces
            if int(bs_note(receiver, name)["to"]) <= base_at]
    assert gone and len(gone) < len(pieces)
    planned = bs.run("prune", "-c", receiver.path, expect=0, env=later).out
    assert "would remove" in planned and receiver.names("*.zst") == pieces
    bs.ok("prune", "--confirm", "-c", receiver.path, env=later)
    assert [base["id"] for base in receiver.bases()] == [second["id"]]
    assert receiver.names("*.zst") == [name for name in pieces if name not in gone]
    span, = receiver.window(expect=0)["spans"]
    assert span["backup"] == second["id"]
    # Again: there is nothing more to remove.
    bs.ok("prune", "--confirm", "-c", receiver.path, env=later)
    assert receiver.names("*.zst") == [name for name in pieces if name not in gone]


def test_a_jobs_own_retention_knows_how_far_the_stream_reaches_back(bs, new_redis, receive):
    """`keep: { last: 1 }` of the rdb job, and two days of the stream: both bases are needed."""
    server = new_redis()
    receiver = receive(server, start=False)
    with open(receiver.path, encoding="utf-8") as file:
        text = file.read()
    with open(receiver.path, "w", encoding="utf-8") as file:
        file.write(text.replace("keep: 7d", "keep: 2d", 1).replace("keep: 7d", "keep: { last: 1 }"))
    for _ in range(2):
        bs.ok("run", "redis-6h", "-c", receiver.path)
        first = Store(receiver.store).backups("rdb")[0]
        old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=3)
        first.rewrite(lambda manifest: manifest.update(
            consistent_at=old.strftime("%Y-%m-%dT%H:%M:%S.000000Z")))
        bs.ok("catalog", "rebuild", "-c", receiver.path)
    assert len(receiver.bases()) == 2
    bs.ok("run", "redis-6h", "-c", receiver.path)
    # Of the two that are younger the last one is kept, by the job's own word.
    assert [base["id"] for base in receiver.bases()][0] == first.id
    assert len(receiver.bases()) == 2


def bs_note(receiver, name):
    """The note behind the frames of a piece."""
    with open(os.path.join(receiver.folder, name), "rb") as file:
        data = file.read()
    at = data.rindex((0x184D2A50).to_bytes(4, "little"))
    size = int.from_bytes(data[at + 4:at + 8], "little")
    return json.loads(data[at + 12:at + 8 + size])


def test_a_copy_in_vain_is_not_asked_for_again_at_once(new_redis, receive, store):
    """Each costs the server a fork: the next one comes ten minutes later, and that is said."""
    server = new_redis()
    server.cli("DEBUG", "POPULATE", "20000", "key", "1000")
    road = Link(server.port)
    road.limit = 300_000
    receiver = receive(server, start=False)
    receiver.point_at(types.SimpleNamespace(port=road.port))
    receiver.start(wait=False)
    receiver.wait_said("the last full copy was in vain: the next is asked for at")
    assert server.info("total_forks") in ("1", None)
    assert store.manifests() == [] and receiver.names() == []
    receiver.stop()
    # A new run may: somebody has looked at it.
    road.limit = None
    receiver.start()
    write(server, "a")
    receiver.wait_all(server)
    receiver.stop()
    road.close()
    assert len(receiver.bases()) == 1 and server.info("total_forks") in ("2", None)
    assert store.temporary() == []


def test_two_receivers_of_one_source_are_refused(bs, new_redis, receive):
    server = new_redis()
    receiver = receive(server)
    result = bs.run("run", "redis-stream", "-c", receiver.path, expect=4)
    assert "redis-stream" in result.err
    receiver.stop()


def test_settings_that_count_us_are_said(new_redis, receive):
    server = new_redis("--min-replicas-to-write", "1")
    receiver = receive(server)
    receiver.wait_said("min-replicas-to-write")
    receiver.stop()


@pytest.mark.slow
def test_a_server_that_falls_silent_is_left(new_redis, receive):
    """Stopped, not dead: the connection stays, and nothing comes."""
    server = new_redis()
    receiver = receive(server)
    write(server, "a")
    receiver.wait_all()
    server.process.send_signal(signal.SIGSTOP)
    try:
        receiver.wait_said("has said nothing for", seconds=90)
    finally:
        server.process.send_signal(signal.SIGCONT)
    receiver.wait_said("receiving the stream of redis", count=2, seconds=60)
    write(server, "b")
    receiver.wait_all()
    receiver.stop()
    assert len(receiver.bases()) == 1


@pytest.mark.redis_since(7, 0)
def test_by_hand_as_the_documentation_says(new_redis, receive, work):
    """The pieces are files that Redis' own programs read, and cut at a second."""
    server = new_redis()
    fill(server)
    receiver = receive(server, more=", piece_age: 1s")
    write(server, "early")
    receiver.wait_all()
    poll(lambda: receiver.names("*.zst"))
    wanted = server.digest()
    second = int(time.time())
    poll(lambda: time.time() >= second + 1)
    write(server, "late")
    receiver.wait_all()
    receiver.stop()
    base, = receiver.bases()
    rdb = next(f["name"] for f in base["files"] if f["name"].endswith(".rdb"))
    again = RedisServer(os.path.join(work, "hand"), "--appendonly", "yes")
    aof = os.path.join(again.data, "appendonly.aof")
    subprocess.run(f"""cd {receiver.store}/redis && ( cat {rdb}
                   for piece in stream/00000001.*.aof.zst; do zstd -dcq "$piece"; done
                   cat stream/00000001.*.aof.partial ) > {aof}""", shell=True, check=True)
    done = subprocess.run([redis_program("check-aof"), "--truncate-to-timestamp", str(second), aof],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    try:
        assert again.start().digest() == wanted
        assert again.cli("EXISTS", "early:0", "late:0") == "1"
    finally:
        again.kill()


def test_a_folder_that_is_taken_away_is_not_begun_anew(new_redis, receive, work):
    """Another disk was mounted there, or none: nothing is written in vain, and it is said."""
    server = new_redis()
    receiver = receive(server)
    write(server, "a")
    receiver.wait_all()
    aside = os.path.join(work, "aside")
    os.rename(receiver.folder, aside)
    os.mkdir(receiver.folder, 0o700)
    write(server, "b")
    receiver.wait_said("was taken away while it was written")
    receiver.wait_said("is not in .* any more")
    assert server.info("sync_full") == "1" and receiver.names() == []
    os.rmdir(receiver.folder)
    os.rename(aside, receiver.folder)
    receiver.wait_said("receiving the stream of redis", count=2)
    receiver.wait_all()
    receiver.stop()
    assert len(receiver.bases()) == 1 and receiver.events() == []
    keys = {words[1] for _, _, words in receiver.commands() if words[0] == b"SET"}
    assert len(keys) == 200


def test_all_of_it_by_tls(new_redis, bs, work, password):
    """Base, stream and questions; a server whose certificate another authority signed is refused."""
    port, (ca, cert, key), settings = tls_settings(work)
    server = new_redis(*settings, "--tls-auth-clients", "yes")
    plain, server.port = server.port, port
    own = f", sslmode: verify-full, sslrootcert: {ca}, sslcert: {cert}, sslkey: {key}"
    receiver = Receiver(bs, work, password, server, source=own).start()
    server.port = plain
    server.many(["SET a 1", "MULTI", "INCR n", "INCR m", "EXEC"])
    receiver.wait_all()
    assert len(receiver.bases()) == 1
    words = [words[0] for _, _, words in commands_of(*receiver.pieces(1)[-1])]
    assert b"EXEC" in words
    receiver.stop()
    other = os.path.join(work, "other")
    os.mkdir(other)
    _, (foreign, _, _), _ = tls_settings(other)
    server.port = port
    refused = Receiver(bs, work, password, server, source=own.replace(ca, foreign))
    refused.start(wait=False)
    refused.wait_said("certificate is not accepted")
    refused.kill()
