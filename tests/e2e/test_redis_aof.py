"""Redis: an append-only file taken as it lies there, read to its last byte, and brought back."""
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from redis_fixtures import bs, new_redis, password  # pylint: disable=unused-import
from redis_server import fill, redis_program, redis_version
from store import flip_bit

IN_PARTS = redis_version() >= (7, 0)
FOLDER = "appendonlydir" if IN_PARTS else ""


@pytest.fixture
def server(new_redis):
    """With data in the base, and in what was added to it."""
    made = new_redis("--appendonly", "yes").start()
    fill(made)
    made.cli("BGREWRITEAOF")
    wait_for(lambda: made.info("aof_rewrite_in_progress") == "0"
             and made.info("aof_rewrite_scheduled") == "0")
    made.many(["MULTI", "SET a 1", "LPUSH b 2 3", "EXEC", "SELECT 3", "SET c 4"])
    return made


@pytest.fixture
def job(bs, store, work, password):
    """job(server): a backup by a configuration that names the folder; the server need not run."""
    def run(server, expect=0):
        path = os.path.join(work, "blackstart.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"site: testwerk\ntimezone: UTC\nstate_dir: {work}/state-c\n"
                       f"store: {{ path: {store} }}\nsources:\n  redis: {{ type: redis, host: "
                       f"127.0.0.1, port: {server.port}, password_file: {password}, aof_dir: "
                       f"{server.data} }}\njobs:\n  aof: {{ source: redis, do: aof, every: 6h }}\n")
        return bs.run("run", "aof", "-c", path, expect=expect)
    return run


def files_of(server):
    """The paths of the files with data, the last one at the end."""
    folder = os.path.join(server.data, FOLDER)
    if not IN_PARTS:
        return [os.path.join(folder, "appendonly.aof")]
    return sorted(os.path.join(folder, name) for name in os.listdir(folder)
                  if not name.endswith(".manifest"))


def test_it_comes_back_as_it_was(bs, server, store, password, new_redis):
    truth = server.digest()
    result = bs.run("backup", server.url, "--kind", "aof", "--store", store, "--password-file",
                    password, expect=0)
    assert "aof" in result.out
    made = store.backup().manifest
    assert made["kind"] == "aof" and made["content"]["aof"]["commands"] >= 6
    assert made["content"]["keys"] >= 20, "of the base"
    assert {os.path.basename(file["name"]) for file in made["files"]} == {
        os.path.basename(path) for path in files_of(server)} | (
            {"appendonly.aof.manifest"} if IN_PARTS else set())
    bs.ok("verify", "latest", "--store", store)
    assert bs.listed(store)[0]["level"] == 1
    other = new_redis("--appendonly", "yes").start()
    other.cli("SET", "old", "data")
    refused = bs.run("restore", "redis", "--kind", "aof", "--store", store, "--to", other.data,
                     expect=5)
    assert str(other.process.pid) in refused.err
    other.stop()
    plan = bs.ok("plan", "restore", "redis", "--kind", "aof", "--store", store, "--to", other.data)
    assert "replaced-TIME" in plan.out
    bs.run("restore", "redis", "--kind", "aof", "--store", store, "--to", other.data, expect=(0, 3))
    other.start()
    assert other.digest() == truth
    assert any(name.startswith("replaced-") for name in os.listdir(other.data))


def test_rewrites_meanwhile_do_no_harm(bs, server, store, password):
    """What is stored belongs together, whatever the server removes and begins meanwhile."""
    is_over = threading.Event()

    def rewrite():
        number = 0
        while not is_over.is_set():
            server.many([f"SET key{number % 100} {'x' * 3000}", "BGREWRITEAOF"])
            number += 1
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(8):
            bs.run("backup", server.url, "--kind", "aof", "--store", store, "--password-file",
                   password, expect=(0, 3))
    finally:
        is_over.set()
        thread.join()
    assert len(store.manifests()) == 8
    bs.run("verify", "--all", "--store", store, expect=(0, 3))
    for parent, _, names in os.walk(str(store)):
        for name in names:
            if name == "appendonly.aof.manifest" or (not IN_PARTS and name == "appendonly.aof"):
                done = subprocess.run([redis_program("check-aof"), os.path.join(parent, name)],
                                      capture_output=True, text=True, check=False)
                assert "is valid" in done.stdout or "truncated" in done.stdout, done


def test_a_stopped_server_has_an_aof_too(job, server, store):
    server.cli("CONFIG", "SET", "appendfsync", "always")
    server.cli("SET", "last", "word")
    server.kill()
    job(server)
    assert store.backup().manifest["kind"] == "aof"


def test_a_torn_tail_is_said_with_its_place(job, server, store, bs):
    server.kill()
    last = files_of(server)[-1]
    os.truncate(last, os.path.getsize(last) - 3)
    done = subprocess.run([redis_program("check-aof"), last], capture_output=True, text=True,
                          check=False)
    place = re.search(r"ok_up_to=(\d+)", done.stdout)[1]
    result = job(server, expect=3)
    assert f"behind byte {place}" in result.err
    assert store.backup().manifest["content"]["aof"]["cut_at"] == int(place)
    assert f"behind byte {place}" in bs.run("verify", "latest", "--store", store,
                                            expect=(0, 3)).text


def test_an_open_transaction_at_the_end_does_not_count(job, server, store):
    server.kill()
    last = files_of(server)[-1]
    place = os.path.getsize(last)
    with open(last, "ab") as file:
        file.write(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nz\r\n$1\r\n1\r\n")
    job(server, expect=3)
    assert store.backup().manifest["content"]["aof"]["cut_at"] == place


DAMAGES = ["base", "command", "blank"]
if IN_PARTS:
    DAMAGES += ["missing", "manifest", "escape", "earlier"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_no_backup(job, server, store, damage):
    server.kill()
    first, last = files_of(server)[0], files_of(server)[-1]
    manifest = os.path.join(server.data, FOLDER, "appendonly.aof.manifest")
    if damage == "base":
        flip_bit(first, 300)
    elif damage == "command":
        with open(last, "ab") as file:
            file.write(b"*2\r\n$-7\r\nGET\r\n")
    elif damage == "blank":
        with open(last, "ab") as file:
            file.write(b"\n*1\r\n$4\r\nPING\r\n")
    elif damage == "missing":
        os.unlink(first)
    elif damage == "manifest":
        with open(manifest, "a", encoding="ascii") as file:
            file.write("file x seq\n")
    elif damage == "escape":
        with open(manifest, "a", encoding="ascii") as file:
            file.write("file ../../etc/passwd seq 99 type i\n")
    else:
        name = os.path.basename(last).replace(".incr", ".9999.incr")
        shutil.copy(last, os.path.join(os.path.dirname(last), name))
        os.truncate(last, os.path.getsize(last) - 3)
        with open(manifest, "a", encoding="ascii") as file:
            file.write(f"file {name} seq 9999 type i\n")
    result = job(server, expect=1)
    assert not store.manifests() and not store.temporary_parts(), result


def test_without_an_aof_it_says_where_to_look(bs, new_redis, store, password):
    made = new_redis().start()
    result = bs.run("backup", made.url, "--kind", "aof", "--store", store, "--password-file",
                    password, expect=1)
    assert "there is no AOF" in result.err and "do: rdb" in result.err


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
