"""A Redis that runs gets its data back over the network: we are its master for that long."""
import json
import os
import random
import re
import signal
import time

import pytest

from redis_fixtures import backup, bs, new_redis, password, redis  # pylint: disable=unused-import
from redis_server import PASSWORD, redis_version, sentinel, tls_settings
from redis_stream import Receiver, poll
from store import flip_bit, sha256

LARGE_BYTES = 24_000_000  # more than the buffers between two sockets hold
LARGE_KEYS = 2000
AOF = ["--appendonly", "yes"]
BOTH_AOF = pytest.mark.parametrize("aof", [AOF, []], ids=["aof", "rdb"])
# Whether there is memory for old and new at once decides how the server loads.
BOTH_LOADS = pytest.mark.parametrize("is_tight", [False, True], ids=["swapdb", "disabled"])


def name_of(server):
    return f"127.0.0.1:{server.port}"


@pytest.fixture
def restore(bs, store, password):
    """The restore of the newest backup of source redis into a server."""
    class Restore:
        def words(self, server, *options, what="redis"):
            confirm = [f"--confirm={name_of(server)}"] if server.info("db0") else []
            return ["restore", what, "--store", str(store), "--to", server.url, "--password-file",
                    password, *confirm, *options]

        def run(self, server, *options, expect=0, what="redis", **kwargs):
            return bs.run(*self.words(server, *options, what=what), expect=expect, **kwargs)

        def start(self, server, *options):
            return bs.start(*self.words(server, *options), "-v")

        def refused(self, server, *options, verb=("plan", "restore"), expect=5):
            words = [word for word in self.words(server, *options)[1:] if "--confirm" not in word]
            return bs.run(*verb, *words, expect=expect)
    return Restore()


def old_data(server):
    server.many(["SET old data", "SET other old", "SELECT 2", "RPUSH list 1 2 3"])
    return server.digest()


def assert_same(one, other):
    """What has expired goes when a server is a master, and not at once."""
    poll(lambda: one.digest() == other.digest())


def assert_as_master(server):
    """A master again, with its settings as they were."""
    assert server.cli("ROLE").splitlines()[0] == "master"
    assert server.cli("CONFIG", "GET", "masterauth").splitlines()[1:] in ([], [""])
    assert server.cli("CONFIG", "GET", "repl-diskless-load").splitlines()[1] == "disabled"


def start_again(server, *settings):
    """After a crash: what its files hold."""
    server.kill()
    return server.start(*settings)


# --- it comes back ------------------------------------------------------------------------------------

@BOTH_AOF
@BOTH_LOADS
def test_all_of_it_comes_back_and_stays(bs, backup, redis, new_redis, restore, aof, is_tight):
    backup()
    limit = ["--maxmemory", str(int(redis.info("used_memory")) + 300_000)] if is_tight else []
    server = new_redis(*aof, *limit).start()
    old_data(server)
    plan = bs.ok("plan", *restore.words(server))
    assert ("what it has stays until it has loaded" in plan.out) != is_tight
    result = restore.run(server)
    assert_same(server, redis)
    assert "and is a master" in result.out and "as in the file" in result.out
    assert ("AOF anew" if aof else "its RDB file") in result.out
    if redis_version() >= (7, 0):
        assert "lib" in server.cli("FUNCTION", "LIST")
    assert_as_master(server)
    server.cli("SET", "new", "write")
    server.cli("DEL", "new")
    assert_same(start_again(server), redis)


def test_what_was_there_is_kept_and_comes_back(bs, backup, redis, new_redis, restore, store):
    backup()
    server = new_redis().start()
    digest = old_data(server)
    result = restore.run(server)
    kept = re.search(r"'blackstart restore (\S+) --to", result.out).group(1)
    assert_same(server, redis)
    restore.run(server, what=kept)
    assert server.digest() == digest
    assert len(bs.listed(store)) == 3
    shown = bs.shown(store, kept)
    assert shown["source"] == "redis-replaced" and shown["pinned"], shown


def test_an_empty_server_needs_no_confirmation(bs, backup, redis, new_redis, restore, store):
    backup()
    server = new_redis().start()
    os.chmod(store, 0o500)
    restore.run(server)
    assert_same(server, redis)
    assert_same(start_again(server), redis)
    result = restore.run(new_redis().start(), "--confirm=x:1", expect=2)
    assert "nothing live would be replaced" in result.err


def test_live_data_needs_its_name_typed(bs, backup, new_redis, restore, store):
    backup()
    server = new_redis().start()
    digest = old_data(server)
    result = restore.refused(server, verb=("restore",))
    assert f"--confirm={name_of(server)}" in result.err
    result = bs.run(*restore.words(server)[:-1], "--confirm=127.0.0.1:1", expect=2)
    assert f"which is {name_of(server)}" in result.err
    assert server.digest() == digest and len(bs.listed(store)) == 1
    plan = bs.json("plan", *restore.words(server))["replaces"]
    assert plan == name_of(server)


def test_times_of_expiry(backup, new_redis, restore):
    source, server = new_redis().start(), new_redis().start()
    source.many(["SET over v PX 4000", "SET later v EX 3600", "SET always v"])
    backup(server=source)
    poll(lambda: source.cli("EXISTS", "over") == "0")
    restore.run(server, "--ttl", "shift")
    assert set(server.cli("KEYS", "*").split()) == {"over", "later", "always"}
    assert 3590 < int(server.cli("TTL", "later")) <= 3600
    restore.run(server, "--ttl", "persist")
    assert [server.cli("TTL", key) for key in ("over", "later", "always")] == ["-1"] * 3
    restore.run(server, "--ttl", "keep")
    poll(lambda: set(server.cli("KEYS", "*").split()) == {"later", "always"})


def test_its_replicas_get_it_too(backup, redis, new_redis, restore):
    backup()
    server = new_redis().start()
    old_data(server)
    replica = new_redis("--replicaof", "127.0.0.1", str(server.port), "--masterauth", PASSWORD).start()
    poll(lambda: replica.digest() == server.digest() and server.info("connected_slaves") == "1")
    result = restore.run(server)
    assert "its 1 replicas take the data over" in result.out
    poll(lambda: replica.info("master_link_status") == "up" and
         replica.digest() == redis.digest())


@pytest.mark.redis_since(6, 2)
@BOTH_AOF
def test_an_instant_of_the_stream(bs, work, password, new_redis, aof):
    """The base, and then commands, as its master sends them."""
    source = new_redis("--repl-ping-replica-period", "1").start()
    source.many(["SET base 1", "SET soon v EX 100"])
    receiver = Receiver(bs, work, password, source).start()
    source.many(["SELECT 3", "INCR n", "MULTI", "INCR a", "INCR b", "EXEC", "SELECT 0",
                 "XADD log * k v", f"SET large {'x' * 70000}", "SET later v EX 3600"])
    receiver.wait_all()
    time.sleep(0.1)
    digest, instant = source.digest(), time.time()
    time.sleep(0.1)
    source.cli("FLUSHALL")
    receiver.wait_all()
    receiver.stop()
    server = new_redis(*aof).start()
    old_data(server)
    words = ["redis", "-c", receiver.path, "--to", server.url, "--password-file", password,
             f"--confirm={name_of(server)}", "--ttl", "keep",
             "--at", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(instant)) + f".{int(instant % 1 * 1e6):06d}Z"]
    plan = bs.run("plan", "restore", *words, expect=0)
    assert "pieces of the stream" in plan.out
    result = bs.run("restore", *words, expect=0)
    assert server.digest() == digest, result
    assert "the last command is of" in result.out
    assert_as_master(server)
    assert start_again(server).digest() == digest


# --- what stands against it ----------------------------------------------------------------------------

def change_manifest(store, **content):
    found = [os.path.join(store, "redis", name) for name in os.listdir(os.path.join(store, "redis"))
             if name.endswith(".manifest.json")]
    with open(found[0], encoding="utf-8") as file:
        manifest = json.load(file)
    manifest["content"].update(content)
    os.chmod(found[0], 0o600)
    with open(found[0], "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    return found[0]


def test_what_the_server_cannot_take_is_seen_before(bs, backup, new_redis, restore, store):
    backup()
    few = new_redis("--databases", "4").start()
    small = new_redis("--maxmemory", "100kb").start()
    assert "only 4 databases" in restore.refused(few).err
    assert "maxmemory is" in restore.refused(small).err
    server = new_redis().start()
    digest = old_data(server)
    change_manifest(store, modules=["search"])
    result = restore.refused(server, verb=("restore",))
    assert "module 'search'" in result.err and "MODULE LOAD" in result.err
    change_manifest(store, modules=[], rdb_version=99)
    result = restore.refused(server, verb=("restore",))
    assert "cannot load the file" in result.err
    assert server.digest() == digest


def test_a_replica_and_a_cluster_are_refused(backup, new_redis, restore):
    backup()
    master = new_redis().start()
    replica = new_redis("--replicaof", "127.0.0.1", str(master.port), "--masterauth", PASSWORD).start()
    poll(lambda: replica.info("master_link_status") == "up")
    assert f"a replica of 127.0.0.1:{master.port}" in restore.refused(replica).err
    cluster = new_redis("--cluster-enabled", "yes").start()
    result = restore.refused(cluster)
    assert "a node of a cluster" in result.err and "--keys" in result.err


def test_a_sentinel_would_elect_another(backup, new_redis, restore, work):
    backup()
    server = new_redis().start()
    with sentinel(server, os.path.join(work, "sentinel")):
        result = restore.refused(server)
    assert "1 Sentinels watch" in result.err and "SENTINEL REMOVE" in result.err


@pytest.mark.redis_since(7, 0)
def test_rights_are_missing(bs, backup, new_redis, store, work):
    backup()
    server = new_redis().start()
    digest = old_data(server)
    path = os.path.join(work, "limited")
    with open(path, "w", encoding="utf-8") as file:
        file.write("limited-Geh3im")
    os.chmod(path, 0o600)
    words = ["restore", "redis", "--store", store, "--password-file", path,
             "--to", f"redis://agent@{name_of(server)}", f"--confirm={name_of(server)}"]
    server.cli("ACL", "SETUSER", "agent", "on", ">limited-Geh3im", "~*", "+@all", "-config|set",
               "-config|get")
    result = bs.run(*words, expect=(1, 4, 5))
    assert "+config|set" in result.err
    server.cli("ACL", "SETUSER", "agent", "+config", "-replicaof")
    result = bs.run(*words, expect=(1, 4, 5))
    assert "+replicaof" in result.err
    assert server.digest() == digest
    assert_as_master(server)


def test_a_damaged_file_does_not_reach_the_server(bs, backup, new_redis, restore, store):
    backup()
    server = new_redis().start()
    digest = old_data(server)
    found = [name for name in os.listdir(os.path.join(store, "redis")) if name.endswith(".rdb")]
    flip_bit(os.path.join(store, "redis", found[0]), 300)
    result = restore.run(server, expect=6)
    assert "the server was not touched" in result.err and len(bs.listed(store)) == 1
    assert server.digest() == digest and server.info("role") == "master"
    assert "MASTER <-> REPLICA" not in server.log_text()


# --- what happens on the way --------------------------------------------------------------------------

def large_backup(backup, new_redis):
    source = new_redis("--rdbcompression", "no").start()
    chance = random.Random(5)
    source.many([f"SET k{n} {chance.randbytes(LARGE_BYTES // LARGE_KEYS // 2).hex()}"
                 for n in range(LARGE_KEYS)])
    digest = source.digest()
    backup(server=source)
    source.kill()
    return digest


def tight(is_tight):
    """Memory for the new alone."""
    return ["--maxmemory", str(2 * LARGE_BYTES)] if is_tight else []


@pytest.fixture
def caught(backup, new_redis, restore):
    """A restore in the middle of sending the file: server, its old digest, the new one, the run."""
    def attempt(aof, is_tight):
        server = new_redis(*aof, *tight(is_tight)).start()
        old = old_data(server)
        server.cli("CONFIG", "SET", "repl-timeout", "1")
        run = restore.start(server)
        poll(lambda: "phase: sending" in run.result().err)
        # The file is larger than what the sockets hold.
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        if run.is_running() and "phase: loading" not in run.result().err:
            return server, old, run
        server.process.send_signal(signal.SIGCONT)
        run.wait()
        server.kill()
        return None

    def make(aof, is_tight):
        digest = large_backup(backup, new_redis)
        for _ in range(10):
            caught = attempt(aof, is_tight)
            if caught:
                server, old, run = caught
                return server, old, digest, run
        raise AssertionError("the file was sent each time before it could be stopped")
    return make


@BOTH_AOF
@BOTH_LOADS
def test_the_link_is_cut_on_the_way(caught, aof, is_tight):
    """The server gives up, connects again, and gets all of it."""
    server, _, digest, run = caught(aof, is_tight)
    run.signal(signal.SIGSTOP)
    server.process.send_signal(signal.SIGCONT)
    poll(lambda: re.search("Timeout (receiving|connecting)|timed? ?out", server.log_text(), re.I), 30)
    run.signal(signal.SIGCONT)
    result = run.wait()
    assert result.code == 0, result
    assert server.digest() == digest
    assert_as_master(server)
    assert start_again(server, "--maxmemory", "0").digest() == digest


@BOTH_AOF
@BOTH_LOADS
def test_stopped_on_the_way(caught, aof, is_tight):
    """The old data is there, the server a master, and its files hold it."""
    server, old, _, run = caught(aof, is_tight)
    run.signal(signal.SIGINT)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGCONT)
    result = run.wait()
    assert result.code != 0 and "the server has its old data, as before" in result.err, result.err
    assert server.digest() == old
    assert_as_master(server)
    if aof:
        poll(lambda: server.info("aof_enabled") == "1" and
             server.info("aof_rewrite_in_progress") == "0" and
             server.info("aof_rewrite_scheduled") == "0")
        assert start_again(server).digest() == old


@BOTH_LOADS
def test_we_die_on_the_way_and_the_next_run_takes_over(bs, caught, restore, is_tight):
    server, _, digest, run = caught(AOF, is_tight)
    run.kill()
    server.process.send_signal(signal.SIGCONT)
    poll(lambda: server.info("master_link_status") == "down" and
         server.info("master_sync_in_progress") == "0")
    words = [word for word in restore.words(server) if "--confirm" not in word]
    result = bs.run(*words, expect=3)
    assert "an earlier restore died while it was the master" in result.err
    assert server.digest() == digest
    assert_as_master(server)


def test_the_server_dies_on_the_way(caught):
    server, old, _, run = caught(AOF, False)
    server.kill()
    result = run.wait()
    assert result.code != 0 and "does not answer any more" in result.err, result
    assert server.start().digest() == old


def forge_version(store):
    """A file that the server must refuse, and that our own look at it does not stop."""
    folder = os.path.join(store, "redis")
    name = next(name for name in os.listdir(folder) if name.endswith(".rdb"))
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    assert data[:5] == b"REDIS" and data[-8:] == bytes(8), "it must have no checksum"
    data[5:9] = b"0099"
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(data)
    manifest = change_manifest(store)
    with open(manifest, encoding="utf-8") as file:
        text = json.load(file)
    for entry in text["files"]:
        if entry["name"] == name:
            entry["sha256"] = sha256(path)
            entry.pop("crc32c", None)
    with open(manifest, "w", encoding="utf-8") as file:
        json.dump(text, file)


@BOTH_LOADS
def test_a_server_that_lost_its_data_is_not_made_a_master(backup, new_redis, restore, store, bs, is_tight):
    """The trap: an empty master with an AOF would write its emptiness there, over all it had."""
    source = new_redis("--rdbchecksum", "no").start()
    source.cli("SET", "a", "1")
    backup(server=source, expect=(0, 3))
    forge_version(store)
    server = new_redis(*AOF, *(["--maxmemory", "2mb"] if is_tight else [])).start()
    old = old_data(server)
    result = restore.run(server, expect=(1, 4, 5, 6, 7))
    if server.info("role") == "master":
        assert "the server has its old data, as before" in result.err, result
        assert server.digest() == old
    else:
        assert "left as a replica" in result.err and "before-restore-" in result.err, result
    # Whatever it says, its files have what they had.
    assert start_again(server, *AOF).digest() == old


def test_the_way_back_to_us_can_be_named(bs, store, backup, redis, new_redis, restore):
    backup()
    server = new_redis().start()
    restore.run(server, "--listen", "127.0.0.2")
    assert_same(server, redis)
    assert "127.0.0.2" in server.log_text()
    for option in ("--owner", "--as", "--database"):
        result = restore.run(server, option, "root", expect=2)
        assert f"{option} is not for a Redis server that runs" in result.err
    result = bs.run("restore", "redis", "--store", store, "--to", server.data, "--listen", "127.0.0.1", expect=2)
    assert "--listen is for" in result.err
    result = restore.run(server, "--listen", "192.0.2.1", expect=(1, 2, 4))
    assert "cannot listen at 192.0.2.1" in result.err
    assert_same(server, redis)
    assert_as_master(server)


@pytest.mark.redis_since(6, 0)
@pytest.mark.parametrize("has_certificate", [True, False])
def test_tls_in_both_directions(bs, backup, redis, new_redis, store, password, work, has_certificate):
    """tls-replication: the server connects to us by TLS, shows its certificate and checks ours."""
    backup()
    port, (ca, cert, key), settings = tls_settings(work)
    server = new_redis(*settings, "--tls-replication", "yes").start()
    own = f", sslcert: {cert}, sslkey: {key}" if has_certificate else ""
    config = os.path.join(work, "tls.yaml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"site: testwerk\ntimezone: UTC\nstate_dir: {work}/state-tls\nstore: {{ path: {store} }}\nsources:\n"
                   f"  redis: {{ type: redis, host: 127.0.0.1, port: {port}, sslmode: verify-full, "
                   f"sslrootcert: {ca}{own} }}\njobs:\n  manual: {{ source: redis, do: rdb }}\n")
    old = old_data(server)
    if not has_certificate:
        server.cli("CONFIG", "SET", "tls-auth-clients", "no")
    result = bs.run("restore", "redis", "-c", config, "--to", f"rediss://127.0.0.1:{port}",
                    "--password-file", password, f"--confirm=127.0.0.1:{port}",
                    expect=0 if has_certificate else 5)
    if has_certificate:
        assert_same(server, redis)
        assert_as_master(server)
    else:
        assert "sslcert" in result.err and "tls-replication" in result.err
        assert server.digest() == old
