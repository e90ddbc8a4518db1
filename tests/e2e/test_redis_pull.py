"""Redis: from which server a copy is taken, and what stands against it."""
import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from redis_fake import SYNC, FakeServer
from redis_fixtures import backup, bs, new_redis, password, redis  # pylint: disable=unused-import
from redis_server import PASSWORD, redis_program, redis_version


@pytest.fixture
def job(bs, store, work, password):
    """job(server, keys): a backup by a configuration file whose source has these keys."""
    def run(server, more="", expect=0):
        path = os.path.join(work, "blackstart.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"site: testwerk\ntimezone: UTC\nstate_dir: {work}/state-c\n"
                       f"store: {{ path: {store} }}\nsources:\n  redis: {{ type: redis, host: "
                       f"127.0.0.1, port: {server.port}, password_file: {password}{more} }}\n"
                       "jobs:\n  rdb: { source: redis, do: rdb, every: 6h }\n")
        return bs.run("run", "rdb", "-c", path, expect=expect)
    return run


@pytest.fixture
def group(new_redis):
    """A master, and a replica that is in touch with it."""
    master = new_redis("--masterauth", PASSWORD).start()
    master.many([f"SET key{i} {i}" for i in range(500)])
    replica = new_redis("--masterauth", PASSWORD, "--replicaof", "127.0.0.1",
                        str(master.port)).start()
    wait_for(lambda: replica.info("master_link_status") == "up")
    wait_for(lambda: "state=online" in (master.info("slave0") or ""))
    return master, replica


def forks(server):
    """How often it has made a file for a replica."""
    return len(re.findall(r"Background (?:saving|RDB transfer) started", server.log_text()))


def transfer(store):
    """Of the newest backup."""
    return manifest(store)["content"]["transfer"]


def manifest(store):
    found = []
    for path in store.manifests():
        with open(os.path.join(str(store), path), encoding="utf-8") as file:
            found.append(json.load(file))
    return max(found, key=lambda made: made["started"])


def test_a_healthy_replica_bears_the_load(backup, group, store):
    master, replica = group
    before = forks(master), forks(replica)
    backup(server=master)
    made = transfer(store)
    assert made["is_from_replica"] and made["replica"] == f"127.0.0.1:{replica.port}"
    assert store.backup().manifest["content"]["keys"] == 500
    assert (forks(master), forks(replica)) == (before[0], before[1] + 1)
    assert made["forks"] == 1 and made["fork_us"] > 0 and made["took_us"] > 0


@pytest.mark.parametrize("trouble", ["password", "right", "link", "history"])
def test_a_replica_that_is_not_fit_is_passed_by(backup, group, store, trouble):
    master, replica = group
    if trouble == "password":
        replica.cli("CONFIG", "SET", "requirepass", "another")
        reason = "WRONGPASS"
    elif trouble == "right":
        replica.cli("ACL", "SETUSER", "default", "-psync")
        reason = "NOPERM"
    elif trouble == "link":
        replica.cli("REPLICAOF", "NO", "ONE")
        wait_for(lambda: master.info("connected_slaves") == "0")
        reason = None
    else:
        # A server that has promoted itself while it is still listed would be another history.
        reason = None
        master.cli("CONFIG", "SET", "repl-timeout", "3600")
        replica.cli("REPLICAOF", "NO", "ONE")
    before = forks(master)
    backup(server=master)
    made = transfer(store)
    assert not made["is_from_replica"] and forks(master) == before + 1
    if reason:
        assert reason in made["replica_refused"]


def test_the_configuration_decides(job, group, store):
    master, _ = group
    job(master, ", prefer_replica: false, transfer: disk")
    made = transfer(store)
    assert not made["is_from_replica"] and not made["is_diskless"]
    master.cli("CONFIG", "SET", "repl-diskless-sync", "no")
    job(master, ", prefer_replica: false, transfer: diskless", expect=3)
    warning = manifest(store)["warnings"][0]
    assert warning["code"] == "not_diskless" and "repl-diskless-sync yes" in warning["text"]
    master.cli("CONFIG", "SET", "repl-diskless-sync", "yes")
    job(master, ", prefer_replica: false, transfer: diskless")
    assert transfer(store)["is_diskless"]


def test_what_the_fork_cost_is_written_down(backup, new_redis, store):
    server = new_redis().start()
    server.many([f"SET key{i} {'x' * 4000}" for i in range(2000)])
    server.cli("CONFIG", "SET", "rdb-key-save-delay", "500")
    running = []
    thread = threading.Thread(target=lambda: running.append(backup(server=server)))
    thread.start()
    wait_for(lambda: server.info("rdb_bgsave_in_progress") == "1")
    server.many([f"SET key{i} {'y' * 4000}" for i in range(2000)])
    thread.join()
    made = transfer(store)
    assert made["took_us"] + made["waited_us"] > 900_000
    assert made["fork_us"] == int(server.info("latest_fork_usec")) > 0
    assert made["copy_on_write_bytes"] == int(server.info("rdb_last_cow_size"))


def test_a_server_that_saves_is_waited_for_within_bounds(job, new_redis, store):
    server = new_redis("--rdb-key-save-delay", "60000").start()
    server.many([f"SET key{i} {i}" for i in range(100)])
    server.cli("BGSAVE")
    result = job(server, ", wait: 1s", expect=4)
    assert "BGSAVE" in result.err and "wait" in result.err
    assert server.info("rdb_bgsave_in_progress") == "1", "we wanted to be turned away by it"
    server.cli("CONFIG", "SET", "rdb-key-save-delay", "0")
    job(server)
    assert store.backup().manifest["content"]["keys"] == 100


def test_a_replica_that_has_lost_its_master_is_waited_for(job, new_redis, store):
    server = new_redis("--replicaof", "127.0.0.1", "1").start()
    result = job(server, ", wait: 1s", expect=4)
    assert "out of touch with its master" in result.err
    timer = threading.Timer(2, lambda: server.cli("REPLICAOF", "NO", "ONE"))
    timer.start()
    job(server)
    timer.join()
    assert store.manifests()


def test_a_file_that_cannot_be_made_is_tried_twice_and_no_oftener(bs, new_redis, store, password):
    server = new_redis("--repl-diskless-sync", "no").start()
    server.cli("SET", "key", "value")
    shutil.rmtree(server.data)
    result = bs.run("backup", server.url, "--store", store, "--password-file", password, expect=1)
    assert "waiting for the file" in result.err and "log says why" in result.err
    assert "another attempt" in result.err
    assert forks(server) == 2
    assert not store.manifests()


def test_writes_meanwhile_fill_no_buffer(bs, new_redis, store, password):
    """Since 6.2 nothing is kept for one who wants the file alone; before, the loop is ended."""
    server = new_redis("--client-output-buffer-limit", "replica", "1mb", "1mb", "1").start()
    server.many([f"SET key{i} {'x' * 100}" for i in range(4000)])
    server.cli("CONFIG", "SET", "rdb-key-save-delay", "500")
    writer = subprocess.Popen([redis_program("benchmark"), "-s", server.socket, "-a", PASSWORD,
                               "-t", "set", "-n", "100000000", "-d", "2000", "-q"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        is_kept = redis_version() < (6, 2)
        before = forks(server)
        result = bs.run("backup", server.url, "--store", store, "--password-file", password,
                        expect=1 if is_kept else 0)
    finally:
        writer.kill()
        writer.wait()
    if is_kept:
        assert "client-output-buffer-limit" in result.err
        assert forks(server) - before <= 2
    else:
        assert store.backup().manifest["content"]["keys"] >= 4000


# ---- what no real server does ---------------------------------------------------------------------

@pytest.fixture(scope="module")
def good(redis, base_folder):
    path = os.path.join(base_folder, "good.rdb")
    subprocess.run([redis_program("cli"), "-s", redis.socket, "-a", PASSWORD, "--no-auth-warning",
                    "--rdb", path], check=True, capture_output=True)
    with open(path, "rb") as file:
        return file.read()


def announced(data, length=None):
    return SYNC + b"\n\n$%d\r\n" % (len(data) if length is None else length) + data


@pytest.mark.parametrize("what, says", [
    ("stops", r"ended the connection after \d+ bytes"),
    ("stops marked", r"ended the connection after \d+ bytes"),
    ("says too much", "after \\d+ bytes"),
    ("says too little", "ends before its end|more than the file|ended"),
    ("garbage", "RDB file"),
    ("no length", "does not announce an RDB file"),
    ("length out of range", "does not announce an RDB file"),
    ("endless line", "no line of text"),
    ("no answer", "no answer to it"),
    ("nothing", "closed the connection"),
])
def test_a_server_that_lies(bs, store, good, what, says):
    mark = b"m" * 40
    answers = {
        "stops": announced(good[:len(good) // 2], len(good)),
        "stops marked": SYNC + b"$EOF:" + mark + b"\r\n" + good,
        "says too much": announced(good, len(good) + 1),
        "says too little": announced(good[:-20]),
        "garbage": SYNC + b"$EOF:" + mark + b"\r\n" + os.urandom(5000) + mark,
        "no length": SYNC + b"$\r\n",
        "length out of range": SYNC + b"$99999999999999999999\r\n",
        "endless line": b"+" + b"x" * 100000,
        "no answer": b"+HELLO\r\n",
        "nothing": b"",
    }
    with FakeServer(answers[what]) as server:
        result = bs.run("backup", server.url, "--store", store, expect=1)
    assert re.search(says, result.err), result
    assert not store.manifests() and not store.temporary_parts()


def test_what_comes_behind_the_file_is_not_part_of_it(bs, store, good):
    """Before 6.2 the stream begins there, even for one who wants the file alone."""
    with FakeServer(announced(good + b"*1\r\n$4\r\nPING\r\n", len(good))) as server:
        bs.ok("backup", server.url, "--store", store)
    with open(store.backup().file(".rdb"), "rb") as file:
        assert file.read() == good


@pytest.mark.parametrize("answer, code, says", [
    (b"-NOPERM this user has no permissions to run the 'psync' command\r\n", 1, "check --sql"),
    (b"-ERR unknown command 'PSYNC'\r\n", 1, "rename-command"),
    (SYNC + b"-ERR BGSAVE failed, replication can't continue\r\n", 1, "log says why"),
])
def test_refusals_are_explained(bs, store, answer, code, says):
    with FakeServer(answer) as server:
        result = bs.run("backup", server.url, "--store", store, expect=code)
    assert says in result.err
    assert server.asked == (2 if b"BGSAVE" in answer else 1)


def test_what_passes_is_waited_for(bs, store, good):
    """It loads, has no link to its master, fails to fork once: then there is a backup."""
    answers = [b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
               SYNC + b"-ERR BGSAVE failed, replication can't continue\r\n", announced(good)]
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    down = b"-MASTERDOWN Link with MASTER is down\r\n"
    with FakeServer(*answers, ping=[loading, down]) as server:
        bs.run("backup", server.url, "--store", store, expect=0)
    assert server.asked == 3
    assert transfer(store)["forks"] == 2


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
