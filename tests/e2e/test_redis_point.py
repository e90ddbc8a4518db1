"""A Redis brought back to a chosen instant: from a base and the stream behind it."""
import datetime
import json
import os
import time

import pytest

from redis_fixtures import bs, password  # pylint: disable=unused-import
from redis_server import RedisServer, fill, redis_version
from redis_stream import Receiver, poll

# These times are told by the server's clock, which is the machine's here.
HOUR_S = 3600


@pytest.fixture
def new_redis(work):
    made = []

    def make(*settings, start=True):
        made.append(RedisServer(os.path.join(work, f"redis{len(made)}"),
                                "--repl-ping-replica-period", "1", *settings))
        return made[-1].start() if start else made[-1]
    yield make
    for server in made:
        server.kill()


@pytest.fixture
def plant(bs, work, password, new_redis):
    """A server that is received, and what is needed to bring it back."""
    return Plant(bs, work, password, new_redis)


class Plant:
    def __init__(self, bs, work, password, new_redis):
        self.bs, self.work, self.new_redis = bs, work, new_redis
        self.server = new_redis()
        self.receiver = Receiver(bs, work, password, self.server)

    def instant(self):
        """Now, with everything before it received, and nothing else within some milliseconds."""
        self.receiver.wait_all()
        time.sleep(0.1)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        time.sleep(0.1)
        return now

    def restore(self, *options, expect=0):
        """A restore into the folder of a new server, which is not started: (result, server)."""
        server = self.new_redis("--appendonly", "yes", start=False)
        return self.bs.run("restore", "redis", "-c", self.receiver.path, "--to", server.data,
                           *options, expect=expect), server

    def restored(self, *options):
        result, server = self.restore(*options)
        return result, server.start()


def test_every_second_comes_back_as_it_was(plant):
    fill(plant.server)
    plant.server.cli("DEL", "brief")
    plant.receiver.start()
    states = []
    for step in range(4):
        plant.server.many([f"SET step {step}", f"RPUSH list-{step} a b c", "SELECT 3", "INCR n",
                           "MULTI", "INCR a", "INCR b", "EXEC", "SELECT 0",
                           f"XADD log * step {step}", "PUBLISH news hello",
                           "EVAL \"redis.call('incr','lua') redis.call('incr','lua2')\" 0"])
        states.append((plant.instant(), plant.server.digest()))
    plant.server.cli("FLUSHALL")
    plant.receiver.wait_all()
    plant.receiver.stop()
    for instant, digest in states:
        result, server = plant.restored("--at", instant, "--ttl", "keep")
        assert server.digest() == digest, result
        assert "the last command is of" in result.out and "asked was" in result.out
        # Nobody hears old messages again.
        incr = os.path.join(server.data, "appendonlydir/appendonly.aof.1.incr.aof")
        if redis_version() >= (7, 0):
            with open(incr, "rb") as file:
                assert b"PUBLISH" not in file.read().upper()
        server.kill()
    # As far as it goes: everything is gone.
    _, server = plant.restored("--at", "latest")
    assert server.info("db0") is None


def test_a_key_with_an_hour_to_live_has_an_hour_again(plant):
    """The trap: its time is absolute, so it would be over at once."""
    plant.server.cli("SET", "base", "1", "PX", "1500")
    plant.receiver.start()
    plant.server.many(["SET stream 1 PX 1500", "SET later 1", "PEXPIRE later 1500",
                       f"SET long 1 EX {HOUR_S}"])
    instant = plant.instant()
    time.sleep(2)
    plant.receiver.stop()
    # As it is usual for an instant.
    _, server = plant.restored("--at", instant)
    left = {key: int(server.cli("PTTL", key)) for key in ("base", "stream", "later")}
    assert all(0 < ms <= 1500 for ms in left.values()), left
    assert int(server.cli("TTL", "long")) > HOUR_S - 30
    server.kill()
    _, server = plant.restored("--at", instant, "--ttl", "keep")
    assert server.cli("EXISTS", "base", "stream", "later") == "0"
    assert server.cli("EXISTS", "long") == "1"
    server.kill()
    result, server = plant.restored("--at", instant, "--ttl", "persist")
    assert [server.cli("TTL", key) for key in ("base", "stream", "later", "long")] == ["-1"] * 4
    assert "no key expires" in result.out


def test_a_backup_of_its_own_can_be_shifted_too(plant):
    plant.server.many(["SET soon 1 PX 1500", "SET for-ever 1"])
    plant.bs.ok("run", "redis-6h", "-c", plant.receiver.path)
    time.sleep(2)
    _, server = plant.restored()
    assert server.cli("KEYS", "*") == "for-ever"
    server.kill()
    result, server = plant.restored("--ttl", "shift")
    assert 0 < int(server.cli("PTTL", "soon")) <= 1500
    assert "1 keys were changed" in result.out


def test_a_plan_says_all_and_touches_nothing(plant):
    plant.receiver.start()
    plant.server.cli("SET", "a", "1")
    instant = plant.instant()
    plant.server.cli("SET", "b", "1")
    plant.receiver.wait_all()
    plant.receiver.stop()
    target = os.path.join(plant.work, "nowhere")
    plan = plant.bs.ok("plan", "restore", "redis", "-c", plant.receiver.path, "--at", instant,
                       "--to", target)
    assert "pieces of the stream" in plan.out and "--ttl shift" in plan.out
    assert "appendonly no" in plan.out and not os.path.exists(target)
    data = plant.bs.json("restore", "redis", "-c", plant.receiver.path, "--at", instant, "--to",
                         target)
    point = data["details"]["point"]
    assert point["is_cut"] is True and point["timeline"] == 1
    reached = datetime.datetime.fromisoformat(point["reached"].replace("Z", "+00:00"))
    assert reached <= datetime.datetime.fromisoformat(instant)
    # The same by its offset.
    _, server = plant.restored("--lsn", point["offset"])
    assert server.cli("KEYS", "*") == "a"


@pytest.mark.parametrize("when, word", [
    ("2020-01-01 00:00:00", "before the first base"),
    ("2100-01-01 00:00:00", "in the future"),
])
def test_what_cannot_be_reached_is_refused_with_what_can(plant, when, word):
    plant.receiver.start()
    plant.server.cli("SET", "a", "1")
    plant.instant()
    plant.receiver.stop()
    result, server = plant.restore("--at", when, expect=5)
    assert word in result.err and "hint: " in result.err and "--at '" in result.err
    assert os.listdir(server.data) == []


def test_a_point_comes_up_whatever_the_server_keeps(plant):
    """With appendonly no, as packages have it, a server looks at dump.rdb alone, and with yes at its AOF."""
    fill(plant.server)
    plant.server.cli("DEL", "brief")
    plant.receiver.start()
    plant.server.many(["SET a 1", "SET brief v PX 1", "SELECT 11", "SET b 2 EX 3600"])
    instant, digest = plant.instant(), plant.server.digest()
    plant.server.cli("FLUSHALL")
    plant.receiver.wait_all()
    plant.receiver.stop()
    server = plant.new_redis("--appendonly", "no")
    server.cli("SET", "old", "1")
    server.cli("SAVE")
    words = ["restore", "redis", "-c", plant.receiver.path, "--at", instant, "--ttl", "keep", "--to"]
    busy = plant.bs.run(*words, server.data, expect=5)
    assert "works in" in busy.err
    server.stop()
    result = plant.bs.ok(*words, server.data)
    aside, = [name for name in os.listdir(server.data) if name.startswith("replaced-")]
    assert os.path.exists(os.path.join(server.data, aside, "dump.rdb"))
    if redis_version() < (7, 0):
        assert "start empty" in result.out and "--appendonly yes" in result.out
        assert not os.path.exists(os.path.join(server.data, "dump.rdb"))
        return
    assert "'dump.rdb' was written by" in result.out and "--appendonly yes" not in result.out
    assert sorted(os.listdir(server.data)) == sorted([aside, "appendonlydir", "dump.rdb"])
    for keeps in ("no", "yes"):
        server.start("--appendonly", keeps)
        poll(lambda: server.digest() == digest)
        server.kill()


def test_a_point_without_a_server_to_write_a_dump(plant):
    """Said, with what to do: an older state must not lie there."""
    plant.receiver.start()
    plant.server.cli("SET", "a", "1")
    instant = plant.instant()
    plant.receiver.stop()
    # No socket has a path as long as this.
    target = os.path.join(plant.work, "x" * 100)
    os.mkdir(target)
    with open(os.path.join(target, "dump.rdb"), "wb") as file:
        file.write(b"old")
    result = plant.bs.run("restore", "redis", "-c", plant.receiver.path, "--at", instant, "--to",
                          target, expect=3 if redis_version() >= (7, 0) else 0)
    assert not os.path.exists(os.path.join(target, "dump.rdb"))
    assert "start empty" in result.out and "--appendonly yes" in result.out


def test_a_piece_that_went_meanwhile_is_no_restore(plant):
    """Damage in the stream is named, and the target is as it was."""
    plant.receiver.start()
    for i in range(20):
        plant.server.cli("SET", f"k{i}", "x" * 200)
    plant.instant()
    plant.receiver.stop()
    name, = plant.receiver.names("*.partial")
    path = os.path.join(plant.receiver.folder, name)
    with open(path, "r+b") as file:
        data = file.read()
        at = data.index(b"k10")
        file.seek(at - 4)
        file.write(b"!")
    end = json.loads(plant.bs.run("window", "redis", "-c", plant.receiver.path, "--json").out)
    assert end["spans"][0]["to_lsn"] != "0/0"
    result, server = plant.restored("--at", "latest")
    # What was whole before the damage comes back, and nothing behind it.
    assert server.cli("EXISTS", "k9") == "1" and server.cli("EXISTS", "k11") == "0", result
