"""One bad day of a Redis and of the blackstart that receives its stream, by seed.

usage: redis_round.py --seed N --family NAME --work DIR

Clients write (redis_model.py) while the day takes its course; then the data is brought back to
instants and compared with the model: by `restore` into the files of a stopped server, by `restore`
over the network into one that runs, or by hand out of what lies in the store. Prints a JSON line.

  cut       the link to the server is cut, and held up, again and again
  kill      the receiver is killed -9 and started again
  crash     receiver and server are killed -9 at the same instant
  failover  a replica is promoted, and the master is killed
"""
import argparse
import contextlib
import json
import os
import random
import sys
import time
import traceback
from datetime import datetime, timezone

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e")]

from program import Program  # noqa: E402
from redis_model import WRITERS, Wire, Writer, counters, difference, packed, replay, state  # noqa: E402
from redis_server import PASSWORD, RedisServer, has_functions, redis_bin, redis_version  # noqa: E402
from redis_stream import Link, Receiver, commands_of, poll  # noqa: E402

FAMILIES = ["cut", "kill", "crash", "failover"]
INSTANTS = 3
LOSS_MAX_S = 1.0
# A command reaches the receiver a moment after its client has the answer, and its time is that of
# the receiver; more than so much later it may not be.
LATE_S = 0.5
CALM_S = 1.0  # nothing happens at the end of the day for so long
EARLY_S = 0.05


class Day:
    def __init__(self, seed, family, work):
        self.random, self.family, self.work = random.Random(seed), family, work
        self.result = {"compared": 0, "bounded": 0, "restored": 0, "refused": 0, "loss_s": None, "operations": 0}
        self.bs = Program(work, [redis_bin()], [PASSWORD])
        self.password = os.path.join(work, "password")
        with open(self.password, "w", encoding="utf-8") as file:
            file.write(PASSWORD + "\n")
        os.chmod(self.password, 0o600)
        self.servers = []
        self.master = self.new_server("--appendonly", "yes", "--save", "")
        self.link = Link(self.master.port)
        self.port = self.master.port  # where clients write
        self.receiver = Receiver(self.bs, work, self.password, self.master)
        self.disturbed = []  # spans of time in which the stream was late
        self.writers = [Writer(number, f"{seed}/{number}", lambda: self.port)
                        for number in range(WRITERS)]

    def new_server(self, *settings, folder=None):
        root = os.path.join(self.work, folder or f"r{len(self.servers)}")
        self.servers.append(RedisServer(root, "--repl-ping-replica-period", "1",
                                        "--repl-backlog-size", "64mb", *settings))
        return self.servers[-1].start()

    def through_link(self, server):
        """The receiver comes by our road, where it can be held up."""
        port, server.port = server.port, self.link.port
        self.receiver.point_at(server)
        server.port = port

    # --- the day --------------------------------------------------------------------------

    def live(self):
        if self.family == "failover":
            self.replica = self.new_server("--replicaof", "127.0.0.1", str(self.master.port),
                                           "--masterauth", PASSWORD, "--appendonly", "yes")
            poll(lambda: self.replica.info("master_link_status") == "up")
        self.through_link(self.master)
        self.receiver.start()
        began = time.time()
        for writer in self.writers:
            writer.start()
        self.breathe(0.4)
        getattr(self, "day_of_" + self.family)()
        calm = time.time()
        time.sleep(CALM_S)
        for writer in self.writers:
            writer.pause()
        ended = time.time()
        for writer in self.writers:
            assert writer.problem is None, f"a client was told: {writer.problem}"
        self.receiver.wait_all(self.master)
        self.settle(ended)
        self.receiver.stop(expect=0)
        return began, calm, ended

    def breathe(self, seconds):
        time.sleep(seconds * (0.5 + self.random.random()))

    def settle(self, since):
        """From then on until now the stream was late, or may have been."""
        self.disturbed.append((since, time.time()))

    def day_of_cut(self):
        for _ in range(self.random.randint(2, 4)):
            since = time.time()
            if self.random.random() < 0.5:
                self.link.is_held = True
                self.breathe(0.3)
            self.link.cut()
            self.receiver.wait_said(
                "receiving the stream of redis", count=self.starts() + 1)
            self.receiver.wait_all()
            self.settle(since)
            self.breathe(0.3)

    def starts(self):
        return self.receiver.said().count("receiving the stream of redis")

    def day_of_kill(self):
        for _ in range(self.random.randint(1, 3)):
            since = time.time()
            self.receiver.kill()
            self.receiver.start()
            self.receiver.wait_all()
            self.settle(since)
            self.breathe(0.3)

    def day_of_crash(self):
        self.breathe(0.8)
        self.receiver.running.process.kill()
        self.master.kill()
        killed = time.time()
        self.receiver.running.process.wait()
        self.link.cut()
        self.lose_power()
        done = [list(writer.done) for writer in self.writers]
        self.result["loss_s"] = round(self.loss(killed, done), 3)
        assert self.result["loss_s"] <= LOSS_MAX_S, f"{self.result['loss_s']} s are lost"
        self.master.start()
        self.receiver.start(wait=False)
        poll(lambda: self.starts() > 0 and len(self.receiver.bases()) >= 2, 60,
             self.receiver.said)
        self.settle(killed - LATE_S)

    def lose_power(self):
        """Of the tail only what was synced is there afterwards, as the receiver itself said."""
        durable = self.receiver.durable()
        for name in self.receiver.names("*.partial"):
            path = os.path.join(self.receiver.folder, name)
            with open(path, "rb") as file:
                data = file.read()
            os.truncate(path, end_of(data, int(name.split(".")[1], 16), durable))

    def loss(self, killed, done):
        """How long before the end the oldest acknowledged operation was that is not in the store."""
        with self.rebuilt(None) as wire:
            has = counters(wire, self.writers)
        lost = [life[count].acked for life, count in zip(done, has)
                if count < len(life) and life[count].acked]
        return max([killed - acked for acked in lost], default=0.0)

    def day_of_failover(self):
        since = time.time()
        if self.random.random() < 0.5:
            for writer in self.writers:
                writer.pause()
            poll(lambda: self.replica.info("master_repl_offset")
                 == self.master.info("master_repl_offset"))
        self.master.kill()
        self.receiver.running.kill()
        self.replica.cli("REPLICAOF", "NO", "ONE")
        self.master, self.port = self.replica, self.replica.port
        for writer in self.writers:
            writer.may_write.set()
        self.link.cut()
        self.link.target = self.replica.port
        self.through_link(self.replica)
        self.receiver.start()
        self.breathe(0.5)
        self.receiver.wait_all()
        self.settle(since - LATE_S)

    # --- the day after --------------------------------------------------------------------

    @contextlib.contextmanager
    def rebuilt(self, instant):
        """A connection to a server that has the data of that instant, brought back in one of the ways."""
        way = self.random.choice([Restored, Fed, Rebuilt])
        made = way(self, instant)
        try:
            wire = made.__enter__()
            self.result["restored"] += way is not Rebuilt
        except Refused as refusal:
            # What was lost cannot be brought back, and what there is of it is compared by hand.
            assert instant is not None and any(
                since <= instant <= until for since, until in self.disturbed), refusal
            self.result["refused"] += 1
            made = Rebuilt(self, instant)
            wire = made.__enter__()
        try:
            yield wire
        finally:
            made.__exit__(None, None, None)

    def check_counts(self, has, at, is_bounded):
        """What each client had done by then, and nothing that it did later."""
        for writer, count in zip(self.writers, has):
            assert count <= writer.count_sent(at + EARLY_S), \
                f"client {writer.number}: operation {count} was sent after the instant"
            least = writer.count_acked(at - LATE_S)
            assert not is_bounded or count >= least, \
                f"client {writer.number}: {count} operations, {least} were acknowledged"

    def compare(self, instant, is_bounded):
        """At an instant; None: as far as the store goes."""
        at = instant if instant is not None else time.time()
        with self.rebuilt(instant) as wire:
            has = counters(wire, self.writers)
            self.check_counts(has, at, is_bounded)
            model = Wire(self.reference.port)
            model.ask("FLUSHALL")
            if has_functions():
                model.ask("FUNCTION", "FLUSH")
            replay(model, self.writers, has, at)
            is_same = state(model) == state(wire)
            assert is_same, f"operations {has} make something else: {difference(wire, model)}"
            model.close()
        self.result["compared"] += 1
        self.result["bounded"] += is_bounded

    def judge(self, began, calm, ended):
        self.reference = self.new_server("--save", "")
        self.result["operations"] = sum(len(writer.done) for writer in self.writers)
        self.compare(None, True)
        instants = [calm + LATE_S + (ended - calm - LATE_S) * self.random.random()]
        instants += [began + (ended - began) * self.random.random() for _ in range(INSTANTS - 1)]
        for instant in instants:
            is_late = any(since < instant and instant - LATE_S < until
                          for since, until in self.disturbed)
            self.compare(instant, not is_late)

    def end(self):
        for writer in self.writers:
            writer.is_over.set()
        self.bs.end_all()
        self.link.close()
        for server in self.servers:
            server.kill()


class Refused(Exception):
    """`restore` says that the instant lies in a gap."""


class Restored:
    """A server over the files that `restore` has made."""

    def __init__(self, day, instant):
        self.day, self.instant, self.server = day, instant, None

    def new_server(self):
        root = os.path.join(self.day.work, f"again{len(os.listdir(self.day.work))}")
        keeps = self.day.random.choice(["yes", "no"]) if redis_version() >= (7, 0) else "yes"
        return RedisServer(root, "--appendonly", keeps)

    def restore(self, to, *options):
        at = "latest"
        if self.instant is not None:
            at = datetime.fromtimestamp(self.instant, timezone.utc).isoformat()
        result = self.day.bs.run("restore", "redis", "-c", self.day.receiver.path, "--at", at,
                                 "--ttl", "keep", "--to", to, *options)
        if result.code == 5 and "lies in a gap of the stream" in result.err:
            raise Refused(result.err)
        assert result.code in (0, 3), result

    def bring_back(self):
        self.restore(self.server.data)
        self.server.start()

    def __enter__(self):
        self.server = self.new_server()
        try:
            self.bring_back()
        except Exception:
            self.server.kill()
            raise
        self.wire = Wire(self.server.port)
        return self.wire

    def __exit__(self, *_):
        if self.server:
            self.server.kill()


class Fed(Restored):
    """A server that ran, and that `restore` was the master of; then it lost its power."""

    def bring_back(self):
        self.server.start()
        self.restore(self.server.url, "--password-file", self.day.password)
        self.server.kill()
        self.server.start()


class Rebuilt:
    """A server over a base and the stream behind it, as far as an instant, out of plain files."""

    def __init__(self, day, instant):
        self.day, self.receiver, self.instant = day, day.receiver, instant
        self.server = None

    def base_and_branch(self):
        """The newest base before the instant, and the branch it stands on."""
        histories = {one["branch"]: one for one in self.receiver.histories()}
        found = None
        for base in self.receiver.bases():
            replid, offset = base["content"]["replication"].split()
            branch = [one for one in histories.values() if one["replication_id"] == replid]
            if branch and (self.instant is None or seconds(base["consistent_at"]) <= self.instant):
                found = base, branch[-1], int(offset)
        assert found, "there is no base before the instant"
        return found, histories

    def commands(self):
        """[(offset, time, words)] from the base on, over the branches that lead on from it."""
        (base, branch, start), histories = self.base_and_branch()
        chain = [branch]
        while True:
            children = [one for one in histories.values() if one["parent"] == chain[-1]["branch"]]
            if not children:
                break
            chain.append(children[-1])
        found = []
        for index, one in enumerate(chain):
            end = int(chain[index + 1]["from"]) if index + 1 < len(chain) else None
            for first, data in self.receiver.pieces(one["branch"]):
                for offset, time_us, words in commands_of(first, whole(data)):
                    if offset > start and (end is None or offset <= end):
                        found.append((offset, time_us, words))
            start = max(start, end or 0)
        return base, found

    def __enter__(self):
        base, commands = self.commands()
        name = next(f["name"] for f in base["files"] if f["name"].endswith(".rdb"))
        with open(os.path.join(self.receiver.store, "redis", name), "rb") as file:
            data = [file.read()]
        data.append(packed(("SELECT", base["content"].get("stream_db", "0"))))
        depth = 0
        pending = []
        for _, time_us, words in commands:
            if self.instant is not None and time_us > self.instant * 1e6 and depth == 0:
                break
            pending.append(packed(words))
            depth += {b"MULTI": 1, b"EXEC": -1}.get(words[0].upper(), 0)
            if depth == 0:
                data += pending
                pending = []
        root = os.path.join(self.day.work, f"again{len(os.listdir(self.day.work))}")
        self.server = RedisServer(root, "--appendonly", "yes")
        with open(os.path.join(self.server.data, "appendonly.aof"), "wb") as file:
            file.write(b"".join(data))
        self.server.start()
        self.wire = Wire(self.server.port)
        return self.wire

    def __exit__(self, *_):
        if self.server:
            self.server.kill()


def end_of(data, offset, wanted):
    """Where in a piece that begins at an offset the wanted one lies."""
    at, is_first = 0, True
    while at < len(data):
        begin = at
        end = data.index(b"\n", at)
        at = end + 1
        if data[begin:begin + 1] == b"#":
            continue
        for _ in range(int(data[begin + 1:end])):
            end = data.find(b"\n", at)
            if end < 0:
                return begin
            at = end + 1 + int(data[at + 1:end]) + 2
        # The first command is a SELECT of our own, which does not count.
        offset += 0 if is_first else at - begin
        is_first = False
        if offset > wanted:
            return begin
    return len(data)


def whole(data):
    """Up to the last whole command: a tail may have been torn."""
    try:
        commands_of(0, data)
        return data
    except (ValueError, AssertionError, IndexError):
        pass
    at = len(data)
    while (at := data.rfind(b"\n", 0, at)) > 0:
        try:
            commands_of(0, data[:at + 1])
            return data[:at + 1]
        except (ValueError, AssertionError, IndexError):
            continue
    return b""


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].replace("usage: ", ""))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--family", choices=FAMILIES)
    parser.add_argument("--work", required=True)
    args = parser.parse_args()
    family = args.family or FAMILIES[args.seed % len(FAMILIES)]
    day = Day(args.seed, family, args.work)
    began = time.monotonic()
    try:
        day.judge(*day.live())
    except Exception as error:  # pylint: disable=broad-except
        day.result["broken"] = type(error).__name__
        day.result["text"] = f"{error}\n{traceback.format_exc()}"
    finally:
        day.end()
    print(json.dumps({"seed": args.seed, "family": family,
                      "took_s": round(time.monotonic() - began, 1), **day.result}))
    return 1 if "broken" in day.result else 0


if __name__ == "__main__":
    sys.exit(main())
