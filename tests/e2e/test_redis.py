"""Redis: pulled as a replica would, read to the last byte, loaded for proof, restored into files."""
import json
import os
import re
import shutil
import socket
import subprocess
import threading

import pytest

from redis_fixtures import backup, bs, new_redis, password, redis  # pylint: disable=unused-import
from redis_server import PASSWORD, has_functions, redis_program, redis_version
from store import flip_bit

TYPES = {"string": 7, "list": 3, "set": 3, "zset": 2, "hash": 2, "stream": 1}


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_backup_is_the_servers_own_file(backup, bs, redis, store, diskless):
    redis.cli("CONFIG", "SET", "repl-diskless-sync", diskless)
    backup()
    made = store.backup()
    assert re.fullmatch(r".*/redis/dump-\d{4}-\d\d-\d\d-\d\d-\d\d\.manifest\.json", made.path)
    assert made.manifest["content"]["transfer"]["is_diskless"] == (diskless == "yes")
    assert not made.manifest["warnings"]
    # The vendor's own program agrees with us.
    done = subprocess.run([redis_program("check-rdb"), made.file(".rdb")], capture_output=True, text=True,
                          check=True)
    keys = int(re.search(r"(\d+) keys read", done.stdout)[1])
    content = made.manifest["content"]
    assert content["keys"] == keys
    first = content["databases"][0]
    assert first["db"] == 0 and first["types"] == TYPES
    assert first["keys"] == int(redis.cli("DBSIZE")) == 18
    assert first["expires"] == 2
    assert content["databases"][1] == {"db": 5, "keys": 2, "expires": 0, "types": {"string": 2}}
    assert content["functions"] == (1 if has_functions() else 0)
    assert content["biggest"][0]["key"] in ("long-list", "plain-node", "guess", "large-hash",
                                            "large", "many")
    # The server has never counted us as a replica that holds its data.
    assert redis.info("connected_slaves") == "0"
    assert redis.cli("WAIT", "1", "1") == "0"


def test_it_is_proved_by_loading_it(backup, bs, redis, store):
    backup()
    result = bs.json("verify", "latest", "--level", "3", "--store", store)
    assert '"level": 3' in json.dumps(result), result
    assert bs.listed(store)[0]["level"] == 3
    bs.assert_clean()


def test_the_side_file_has_settings_and_no_secret(backup, redis, store):
    redis.cli("ACL", "SETUSER", "someone", "on", ">s3cret-word", "~*", "+get")
    try:
        backup()
    finally:
        redis.cli("ACL", "DELUSER", "someone")
    with open(store.backup().file(".settings.json"), encoding="utf-8") as file:
        text = file.read()
    side = json.loads(text)
    assert side["settings"]["requirepass"] == "(masked)"
    assert side["settings"]["appendonly"] == "no"
    assert any(re.match(r"user someone on (sanitize-payload )?#\(masked\)", user) for user in side["users"])
    assert not re.search(r"#[0-9a-f]{64}", text) and PASSWORD not in text


def test_a_user_of_its_own_has_just_what_is_printed(bs, redis, store, password):
    url = redis.url.replace("://", "://keeper@")
    rule = bs.ok("check", url, "--sql", "--store", store, "--password-file", password).out
    line = [text for text in rule.splitlines() if text.startswith("ACL SETUSER")][0]
    redis.cli(*line.replace("'>PASSWORD'", ">" + PASSWORD).split())
    try:
        bs.ok("backup", url, "--store", store, "--password-file", password)
        report = bs.json("check", url, "--store", store, "--password-file", password,
                         expect=(0, 3))
        assert "FAILED" not in json.dumps(report) and "_right\", \"result\": \"warning" \
            not in json.dumps(report)
        redis.cli("ACL", "SETUSER", "keeper", "-psync")
        refused = bs.run("backup", url, "--store", store, "--password-file", password, expect=1)
        assert "NOPERM" in refused.err and "check --sql" in refused.err
    finally:
        redis.cli("ACL", "DELUSER", "keeper")
    assert not store.temporary()


def test_a_wrong_password_is_said(bs, redis, store, work):
    path = os.path.join(work, "wrong")
    with open(path, "w", encoding="utf-8") as file:
        file.write("wrong\n")
    os.chmod(path, 0o600)
    result = bs.run("backup", redis.url, "--store", store, "--password-file", path, expect=1)
    assert "WRONGPASS" in result.err and "hint: " in result.err
    result = bs.run("backup", redis.url, "--store", store, expect=1)
    assert "NOAUTH" in result.err and "--password-file" in result.err


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_a_server_that_dies_leaves_no_backup(backup, new_redis, store, diskless):
    server = new_redis("--rdb-key-save-delay", "2000", "--repl-diskless-sync", diskless).start()
    server.many([f"SET key{i} {'x' * 2000}" for i in range(3000)])
    running = []
    thread = threading.Thread(target=lambda: running.append(backup(server=server, expect=1)))
    thread.start()
    while thread.is_alive() and server.info("rdb_bgsave_in_progress") != "1":
        pass
    server.kill()
    thread.join()
    assert re.search(r"ended the connection|closed the connection|reset by peer", running[0].err), \
        running[0]
    assert not store.manifests() and not store.temporary_parts()


def test_a_server_that_sends_a_damaged_file_is_not_believed(bs, redis, store, work):
    """A master that flips one bit, and one that says nonsense."""
    subprocess.run([redis_program("cli"), "-s", redis.socket, "-a", PASSWORD, "--no-auth-warning", "--rdb",
                    os.path.join(work, "good.rdb")], check=True, capture_output=True)
    with open(os.path.join(work, "good.rdb"), "rb") as file:
        data = bytearray(file.read())
    data[len(data) // 2] ^= 4
    for frame in (b"$%d\r\n%b" % (len(data), data), b"$12\r\nno RDB file!", b"+what\r\n"):
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=play_master, args=(listener, frame), daemon=True)
        thread.start()
        result = bs.run("backup", f"redis://127.0.0.1:{listener.getsockname()[1]}", "--store",
                        store, expect=1)
        listener.close()
        assert "damaged file" in result.err or "RDB file" in result.err, result
    assert not store.manifests()


def play_master(listener, frame):
    info = b"redis_version:7.0.15\r\nrole:master\r\n"
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer:
            while words := peer.recv(4096):
                if b"PSYNC" in words:
                    peer.sendall(b"\n+FULLRESYNC " + b"a" * 40 + b" 0\r\n\n\n" + frame)
                elif b"INFO" in words:
                    peer.sendall(b"$%d\r\n%b\r\n" % (len(info), info))
                elif b"CONFIG" in words or b"LIST" in words:
                    peer.sendall(b"*0\r\n")
                else:
                    peer.sendall(b"+OK\r\n")


def test_damage_in_the_store_is_found_with_its_place(backup, bs, store):
    backup()
    path = store.backup().file(".rdb")
    flip_bit(path, os.path.getsize(path) // 2)
    result = bs.run("verify", "latest", "--store", store, expect=6)
    assert "dump-" in result.err and re.search(r"\d", result.err.split(".rdb")[1])
    assert bs.run("restore", "redis", "--store", store, "--to", os.path.join(bs.work, "to"),
                  expect=(1, 6)).code
    os.truncate(path, os.path.getsize(path) // 3)
    bs.run("verify", "--all", "--store", store, expect=6)


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_restore_really_loads(backup, bs, redis, store, new_redis, appendonly):
    """The trap: with appendonly yes a server ignores dump.rdb, starts empty, and overwrites it."""
    truth = redis.digest()
    backup()
    server = new_redis("--appendonly", appendonly).start()
    server.cli("SET", "old", "data")
    server.cli("SAVE")
    refused = bs.run("restore", "redis", "--store", store, "--to", server.data, expect=5)
    assert str(server.process.pid) in refused.err
    server.stop()
    before = sorted(os.listdir(server.data))
    plan = bs.ok("plan", "restore", "redis", "--store", store, "--to", server.data)
    in_parts = redis_version() >= (7, 0)
    assert ("appendonlydir" if in_parts else "appendonly.aof") in plan.out
    assert sorted(os.listdir(server.data)) == before
    result = bs.ok("restore", "redis", "--backup", "latest", "--store", store, "--to", server.data)
    aside = [name for name in os.listdir(server.data) if name.startswith("replaced-")]
    assert len(aside) == 1 and aside[0] in result.out
    assert sorted(os.listdir(os.path.join(server.data, aside[0]))) == before
    server.start()
    assert server.digest() == truth
    assert server.cli("GET", "old") == ""
    # It goes on from there, and a crash loses nothing that was acknowledged.
    server.cli("CONFIG", "SET", "appendfsync", "always")
    server.cli("SET", "new", "data")
    if appendonly == "no":
        server.cli("SAVE")
    server.kill()
    server.start()
    assert server.cli("GET", "new") == "data"


def test_a_restore_changes_nothing_when_it_cannot_finish(backup, bs, store, work):
    backup()
    to = os.path.join(work, "to")
    os.mkdir(to)
    shutil.copy(store.backup().file(".rdb"), os.path.join(to, "dump.rdb"))
    made = store.backup().manifest
    content = made["content"]
    content["databases"][0]["keys"] += 1
    store.backup().rewrite(lambda manifest: manifest["content"].update(content))
    result = bs.run("restore", "redis", "--store", store, "--to", to, expect=6)
    assert "keys" in result.err
    assert os.listdir(to) == ["dump.rdb"]
    bs.run("restore", "redis", "--store", store, expect=2)
    bs.run("restore", "redis", "--store", store, "--to", to, "--database", "x", expect=2)


def test_jobs_of_the_configuration(bs, redis, store, work, password):
    path = os.path.join(work, "blackstart.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"site: testwerk\ntimezone: UTC\nstate_dir: {work}/state-c\n"
                   f"store: {{ path: {store} }}\n"
                   f"sources:\n  redis: {{ type: redis, host: 127.0.0.1, port: {redis.port}, "
                   f"password_file: {password} }}\n"
                   'jobs:\n  redis-6h: { source: redis, do: rdb, cron: "0 */6 * * *", '
                   "keep: { last: 1 }, verify: { level: 3 } }\n")
    bs.ok("config", "check", "-c", path)
    bs.ok("run", "redis-6h", "-c", path)
    bs.ok("run", "redis-6h", "-c", path)
    assert len(store.manifests()) == 1, "retention keeps one"
    assert "redis-6h" in bs.run("status", "-c", path, expect=(0, 3)).out
    assert bs.listed(store)[0]["level"] == 3
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("do: rdb", "do: dump"))
    assert "do: rdb" in bs.run("config", "check", "-c", path, expect=2).text
