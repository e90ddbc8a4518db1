"""Redis: keys of a backup into a server that runs, by RESTORE."""
import contextlib
import os
import re
import signal
import socket
import threading
import time

import pytest

from postgres import free_port
from redis_fixtures import backup, bs, new_redis, password, redis  # pylint: disable=unused-import
from redis_server import PASSWORD, redis_version
from store import flip_bit

LARGE_BYTES = 40_000_000
MEMORY_KB = 32 * 1024


@pytest.fixture
def restore(bs, store, password):
    def run(server, keys, *options, expect=0, verb=("restore",)):
        return bs.run(*verb, "redis", "--store", store, "--to", server.url, "--password-file",
                      password, "--keys", keys, *options, expect=expect)
    return run


def expires_at(server, key, database=0):
    """In milliseconds, true to the time between two looks at the clock; None: never."""
    script = ("local t, left = redis.call('TIME'), redis.call('PTTL', KEYS[1]) "
              "return left < 0 and left or t[1] * 1000 + math.floor(t[2] / 1000) + left")
    told = int(server.cli("-n", str(database), "EVAL", script, "1", key))
    return told if told >= 0 else None


def is_near(one, other):
    return one == other or (None not in (one, other) and abs(one - other) < 100)


def assert_same_times(one, other):
    """What DEBUG DIGEST does not tell."""
    for database in (0, 5, 9):
        names = one.cli("-n", str(database), "KEYS", "*").split()
        assert sorted(names) == sorted(other.cli("-n", str(database), "KEYS", "*").split())
        for name in names:
            assert is_near(expires_at(one, name, database), expires_at(other, name, database))


class Gate:
    """Stands before a server, and lets nothing more through from the first RESTORE on."""

    def __init__(self, port):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        self.port, self.shut, self.links = port, threading.Event(), []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                self.links += [client, server]
                threading.Thread(target=self.carry, args=(client, server), daemon=True).start()
                threading.Thread(target=self.carry, args=(server, client), daemon=True).start()

    def carry(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                if b"RESTORE" in data:
                    self.shut.set()
                    return
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self):
        for link in [self.listener, *self.links]:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()


def test_all_keys_come_back_as_they_were(backup, redis, new_redis, restore):
    backup()
    target = new_redis().start()
    result = restore(target, "*")
    assert target.digest() == redis.digest() and result.code == 0
    assert_same_times(target, redis)
    written = sum(int(server.cli("-n", str(db), "DBSIZE")) for db in (0, 5, 9) for server in [target])
    assert f"{written} keys written" in result.text, result
    # The groups of a stream are not in the digest.
    groups = [server.cli("XINFO", "GROUPS", "stream") for server in (redis, target)]
    assert groups[0] == groups[1] and "group" in groups[0]


def test_only_what_matches_and_of_one_database(backup, redis, new_redis, restore):
    backup()
    target = new_redis().start()
    restore(target, "l?[mn]g*")
    assert set(target.cli("KEYS", "*").split()) == {"long", "long-list"}
    restore(target, "*", "--db", "5")
    assert target.info("db5").startswith("keys=2,") and target.info("db0").startswith("keys=2,")
    assert target.cli("-n", "5", "GET", "five") == "5"
    result = restore(target, "no-such-key", expect=3)
    assert "no key of the backup matches" in result.err


def test_a_key_that_is_there_stays_unless_told(backup, redis, new_redis, restore):
    backup()
    target = new_redis().start()
    target.many(["SET text newer", "SET mine untouched"])
    result = restore(target, "text")
    assert target.cli("GET", "text") == "newer" and "1 keys were there" in result.text
    restore(target, "text", "--replace")
    assert target.cli("GET", "text") == "hello" and target.cli("GET", "mine") == "untouched"


def test_times_of_expiry(bs, backup, new_redis, restore):
    source, target = new_redis().start(), new_redis().start()
    now_ms = int(time.time() * 1000)
    source.many(["SET over v", f"PEXPIREAT over {now_ms + 1500}", "SET later v",
                 f"PEXPIREAT later {now_ms + 3_600_000}", "SET always v"])
    backup(server=source)
    while int(time.time() * 1000) <= now_ms + 1600:
        time.sleep(0.05)
    result = restore(target, "*", "--ttl", "keep")
    assert set(target.cli("KEYS", "*").split()) == {"later", "always"}
    assert "1 keys not written: their time is over" in result.text
    assert is_near(expires_at(target, "later"), now_ms + 3_600_000)
    restore(target, "*", "--ttl", "shift", "--replace")
    assert target.cli("GET", "over") == "v"
    assert now_ms + 3_601_000 < expires_at(target, "later") < now_ms + 3_660_000
    restore(target, "*", "--ttl", "persist", "--replace")
    assert [target.cli("TTL", key) for key in ("over", "later", "always")] == ["-1"] * 3


def test_a_value_larger_than_our_memory(backup, new_redis, restore):
    source, target = new_redis("--rdbcompression", "no").start(), new_redis().start()
    source.cli("SETRANGE", "large", str(LARGE_BYTES - 4), "last")
    source.cli("SET", "small", "s")
    backup(server=source)
    result = restore(target, "*")
    assert target.cli("STRLEN", "large") == str(LARGE_BYTES)
    assert target.digest() == source.digest()
    assert result.peak_kb <= MEMORY_KB, result


def test_a_damaged_file_writes_nothing(backup, new_redis, restore, store):
    source, target = new_redis().start(), new_redis().start()
    source.cli("SET", "a", "1" * 5000)
    backup(server=source)
    file = store.backup().file(".rdb")
    flip_bit(file, os.path.getsize(file) // 2)
    result = restore(target, "*", expect=6)
    assert "nothing was written" in result.err and target.cli("DBSIZE") == "0"


def test_a_server_that_refuses(backup, redis, new_redis, restore):
    backup()
    target = new_redis().start()
    target.many(["SET mine 1", "CONFIG SET maxmemory 1"])
    result = restore(target, "*", expect=1)
    assert " 0 of" in result.err and "OOM" in result.err and target.cli("GET", "mine") == "1"
    target.many(["CONFIG SET maxmemory 0", f"CONFIG SET masterauth {PASSWORD}",
                 f"REPLICAOF 127.0.0.1 {redis.port}"])
    result = restore(target, "*", expect=5)
    assert "is a replica" in result.text
    result = restore(target, "*", expect=5, verb=("plan", "restore"))
    assert "is a replica" in result.text


@pytest.mark.parametrize("how", ["cut", "interrupted"])
def test_an_end_in_the_middle_says_what_is_there(bs, backup, redis, new_redis, store, password,
                                                 how):
    backup()
    target = new_redis().start()
    gate = Gate(target.port)
    process = bs.start("restore", "redis", "--store", store, "--to", gate.url, "--password-file",
                       password, "--keys", "*")
    assert gate.shut.wait(20)
    if how == "cut":
        gate.close()
    else:
        process.signal(signal.SIGINT)
    result = process.wait(20)
    assert result.code == (1 if how == "cut" else 130), result
    assert re.search(r"\b0 of \d+ keys are known to be written", result.err), result
    assert target.cli("DBSIZE") == "0"
    gate.close()


def test_a_cluster_takes_what_is_its_own(backup, redis, new_redis, restore):
    backup()
    nodes = []
    for i in range(2):
        # Before 7.0 the port of the cluster's bus is the server's and 10000.
        bus = ["--cluster-port", str(free_port())] if redis_version() >= (7, 0) else []
        nodes.append(new_redis("--cluster-enabled", "yes", *bus).start())
        nodes[i].cli("CLUSTER", "ADDSLOTS", *map(str, range(i * 8192, (i + 1) * 8192)))
    nodes[0].cli("CLUSTER", "MEET", "127.0.0.1", str(nodes[1].port),
                 *(bus[1:] or [str(nodes[1].port + 10000)]))
    deadline = time.monotonic() + 30
    while any("cluster_state:ok" not in node.cli("CLUSTER", "INFO") for node in nodes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    results = [restore(node, "*", "--db", "0", expect=3) for node in nodes]
    for result in results:
        assert "belong to other nodes of the cluster" in result.err
    assert sum(int(node.cli("DBSIZE")) for node in nodes) == int(redis.cli("DBSIZE"))


def test_options_that_have_no_meaning(bs, backup, new_redis, restore, store, tmp_path):
    backup()
    bs.run("restore", "redis", "--store", store, "--to", str(tmp_path / "d"), "--replace",
           expect=2)
    result = bs.run("restore", "redis", "--store", store, "--to", str(tmp_path / "d"), "--keys",
                    "*", expect=2)
    assert "--to redis://HOST:PORT" in result.err
    result = bs.run("restore", "redis", "--store", store, "--to", "redis://127.0.0.1:1",
                    "--keys", "*", expect=1)
    assert "cannot connect" in result.err
