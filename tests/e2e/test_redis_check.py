"""Redis: what `check` finds, each under a name that programs can rely on, with what to type."""
import os
import socket
import subprocess
import time

import pytest

from redis_fixtures import bs, new_redis, password, redis  # pylint: disable=unused-import
from redis_server import PASSWORD, redis_program, redis_version, sentinel

WORKS = ["reachable", "auth", "version", "replication_right", "settings_right", "role",
         "persistence", "appendonly", "memory", "overcommit", "repl_timeout", "backlog",
         "output_buffer"]


@pytest.fixture
def checked(bs, store, password):
    """checked(url): what check says of a server, by name."""
    def run(url, *options, has_password=True, expect=(0, 1, 3)):
        secret = ["--password-file", password] if has_password else []
        report = bs.json("check", url, "--store", store, *secret, *options, expect=expect)
        return {item["name"]: item for item in report["checks"] if item["subject"] == "redis"}
    return run


def test_all_is_looked_at(checked, redis):
    found = checked(redis.url)
    assert set(WORKS) <= set(found), found
    forks = redis.info("latest_fork_usec"), redis.info("total_forks")
    assert found["replication_right"]["result"] == "ok"
    # The question was put so that it costs the server nothing.
    checked(redis.url)
    assert forks == (redis.info("latest_fork_usec"), redis.info("total_forks"))
    assert redis.info("connected_slaves") == "0"
    assert redis.info("rdb_bgsave_in_progress") == "0"


def test_each_right_that_is_missing_is_named(checked, bs, redis, store, password):
    url = redis.url.replace("://", "://keeper@")
    rule = bs.ok("check", url, "--sql", "--store", store, "--password-file", password).out
    line = [text for text in rule.splitlines() if text.startswith("ACL SETUSER")][0]
    redis.cli(*line.replace("'>PASSWORD'", ">" + PASSWORD).split())
    try:
        found = checked(url)
        assert set(WORKS) <= set(found)
        for name in ("replication_right", "settings_right", "auth"):
            assert found[name]["result"] == "ok", found[name]
        assert "sentinel" not in found
        for right, name in (("-psync", "replication_right"), ("-replconf", "replication_right"),
                            ("-config|get", "settings_right"), ("-pubsub|numsub", "sentinel"),
                            ("-info", "info_right")):
            # Before 7.0 a part of a command can be given, but not taken.
            words = [right] if "|" not in right or redis_version() >= (7, 0) else \
                ["-" + right[1:].split("|")[0]]
            redis.cli("ACL", "SETUSER", "keeper", *words)
            item = checked(url)[name]
            assert item["result"] != "ok" and item["fix"].endswith("--sql"), item
            redis.cli("ACL", "SETUSER", "keeper", "+" + right[1:])
    finally:
        redis.cli("ACL", "DELUSER", "keeper")


def test_hidden_commands_are_named(checked, bs, new_redis, store, password):
    server = new_redis("--rename-command", "PSYNC", "").start()
    item = checked(server.url)["replication_right"]
    assert item["result"] == "failed" and "unknown command" in item["text"]
    assert "rename-command" in item["fix"] and "managed" in item["fix"]
    result = bs.run("backup", server.url, "--store", store, "--password-file", password, expect=1)
    assert "unknown command" in result.err and "rename-command" in result.err


def test_settings_that_will_hurt(checked, new_redis):
    server = new_redis("--repl-timeout", "10", "--min-replicas-to-write", "1", "--appendonly",
                       "yes", "--repl-backlog-size", "16kb").start()
    server.cli("WAIT", "1", "1")
    # A replica was here once: from then on the server counts what is written.
    other = new_redis("--masterauth", PASSWORD, "--replicaof", "127.0.0.1", str(server.port)).start()
    wait_for(lambda: other.info("master_link_status") == "up")
    wait_for(lambda: server.info("min_slaves_good_slaves") == "1")
    writer = subprocess.Popen([redis_program("benchmark"), "-s", server.socket, "-a", PASSWORD,
                               "-t", "set", "-n", "100000000", "-d", "500", "-q"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: int(server.info("master_repl_offset")) > 1 << 20)
        found = checked(server.url)
    finally:
        writer.kill()
        writer.wait()
    assert found["repl_timeout"]["result"] == "warning"
    assert found["repl_timeout"]["fix"] == "redis-cli CONFIG SET repl-timeout 60"
    assert found["min_replicas"]["result"] == "warning"
    assert found["wait_users"]["result"] == "note" and "1 times" in found["wait_users"]["text"]
    assert found["appendonly"]["result"] == "note" and "loads the AOF alone" \
        in found["appendonly"]["text"]
    assert found["backlog"]["result"] == "warning", found["backlog"]
    size = int(found["backlog"]["fix"].rsplit(" ", 1)[1])
    assert size > 15 * 60 * 100_000
    # What is printed to type does it.
    for name in ("repl_timeout", "backlog"):
        assert server.cli(*found[name]["fix"].split()[1:]) == "OK"
    found = checked(server.url)
    assert found["repl_timeout"]["result"] == found["backlog"]["result"] == "ok"


def test_a_server_that_keeps_nothing(checked, redis, new_redis):
    assert checked(redis.url)["appendonly"]["result"] == "warning"
    server = new_redis(password=None).start()
    server.cli("CONFIG", "SET", "save", "900 1")
    found = checked(server.url, has_password=False)
    assert found["appendonly"]["result"] == "ok"
    assert found["auth"]["result"] == "note" and "requirepass" in found["auth"]["fix"]


def test_a_replica_without_its_master(checked, new_redis):
    server = new_redis("--replicaof", "127.0.0.1", "1").start()
    found = checked(server.url)
    assert found["role"]["result"] == "failed"
    assert "NOMASTERLINK" in found["replication_right"]["text"]


def test_nobody_there_and_no_way_in(checked, redis):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = checked(f"redis://127.0.0.1:{port}", expect=1)
    assert found["reachable"]["result"] == "failed" and found["reachable"]["fix"]
    found = checked(redis.url, has_password=False, expect=1)
    assert found["reachable"]["result"] == "ok"
    assert found["auth"]["result"] == "failed" and "--password-file" in found["auth"]["fix"]


def test_a_sentinel_and_a_cluster_are_seen(checked, new_redis, work):
    server = new_redis().start()
    with sentinel(server, os.path.join(work, "sentinel")):
        item = checked(server.url)["sentinel"]
    assert item["result"] == "note" and "SENTINEL REMOVE" in item["fix"]
    node = new_redis("--cluster-enabled", "yes").start()
    found = checked(node.url)
    assert found["cluster"]["result"] == "note"
    assert found["replication_right"]["result"] == "ok"


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
