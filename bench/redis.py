"""The rows about Redis: a server of its own, 1.5 million keys of 512 bytes that do not compress, and
as many very small ones.

Groups: redispull, redisverify, redisstream, redisrestore.
"""
import contextlib
import os
import re
import shutil
import signal
import socket as sockets
import subprocess
import time

from cluster import give_away
from measure import BenchError, Contestant, compete, run_once, say
from report import Row, memory_row, ratio_row, speed_row

GROUPS = ["redispull", "redisverify", "redisrestore", "redisstream"]
KEYS = 1_500_000
VALUE_BYTES = 512
STREAM_S = 10
LAG_LIMIT_S = 60

FILL = """
math.randomseed(7)
local bytes = {}
for i = 1, 65536 do bytes[i] = string.char(math.random(0, 255)) end
local pool = table.concat(bytes)
for i = 1, ARGV[1] do
    local at = math.random(1, 65000 - ARGV[2])
    redis.call('SET', 'key:' .. i, string.sub(pool, at, at + ARGV[2] - 17) .. string.format('%016d', i))
end
"""
FILL_SMALL = "for i = 1, ARGV[1] do redis.call('SET', 'k:' .. i, 'v' .. i) end"

CONF = """site: bench
timezone: UTC
state_dir: {state}
store: {{ path: {store} }}
sources:
  redis: {{ type: redis, host: {socket} }}
jobs:
  redis-stream: {{ source: redis, do: stream, continuous: true, keep: 7d }}
"""

NOTES = [
    "Redis: one server, 1.5 million keys of 512 bytes that do not compress (rdbcompression no), "
    "and 1.5 million keys of some 15 bytes. The reader alone is bench/bench_rdb: structure and "
    "checksum, one thread, as redis-check-rdb does; 'verify' also makes the SHA-256 of the file.",
    "The pull ends when the file is durable, verified and has its manifest; redis-cli --rdb writes "
    "it and makes it durable. What the server needs to make the file is in both.",
    "The stream's lag is what the receiver still needed to have all of it durable when "
    f"redis-benchmark had ended after {STREAM_S} s of pipelined SET (100 clients, 16 in flight).",
]


def free_port():
    with sockets.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class RedisBench:
    def __init__(self, bench):
        self.bench = bench
        self.process = None
        self.receiver = self.target = None
        self.port = free_port()
        self.socket = bench.at("redis.socket")
        self.folder = bench.at("redis")
        self.store = bench.at("out", "redis-store")

    # --- the server ------------------------------------------------------------

    def cli(self, *words):
        return self.bench.runner.output("redis-cli", "-s", self.socket, *words).strip()

    def info(self, field):
        return re.search(rf"^{field}:(\S+)", self.cli("INFO"), re.M)[1]

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        give_away(self.folder)
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket, "--dir", self.folder,
             "--save", "", "--rdbcompression", "no", "--repl-diskless-sync-delay", "0",
             "--logfile", os.path.join(self.folder, "log")],
            stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True,
            **self.bench.runner.who)
        deadline = time.monotonic() + 20
        while True:
            try:
                if self.cli("PING") == "PONG":
                    return
            except BenchError:
                pass
            if time.monotonic() > deadline:
                raise BenchError("the Redis server does not start")
            time.sleep(0.05)

    def fill(self, script, *args):
        self.cli("FLUSHALL")
        say("filling Redis")
        self.cli("EVAL", script, "0", *map(str, args))

    def keys(self):
        return max(1000, int(KEYS * self.bench.options.scale))

    def prepare(self):
        self.start()
        self.fill(FILL, self.keys(), VALUE_BYTES)
        self.cli("SAVE")
        self.large = self.bench.at("redis-large.rdb")
        os.rename(os.path.join(self.folder, "dump.rdb"), self.large)
        self.bench.facts.append(f"Redis: {self.keys()} keys, "
                                f"{os.path.getsize(self.large) / 1e6:.0f} MB as a file; "
                                + self.bench.runner.output("redis-server", "--version").split()[2])

    # --- the groups ------------------------------------------------------------

    def compete(self, group, *contestants):
        self.bench.contestants += contestants
        compete(self.bench.runner, group, contestants, self.bench.options.runs)

    def our_pull(self):
        def prepare():
            shutil.rmtree(self.store, ignore_errors=True)
            os.mkdir(self.store, 0o700)
            give_away(self.store)
        url = "redis://" + self.socket.replace("/", "%2F")
        return self.bench.ours("blackstart backup redis", ["backup", url, "--store", self.store],
                               prepare, shown="redispull")

    def redispull(self):
        ours = self.our_pull()
        theirs = Contestant("redis-cli --rdb", ["redis-cli", "-s", self.socket, "--rdb",
                                                self.bench.at("out", "peer.rdb")])
        self.compete("redispull", ours, theirs)
        self.bench.rows += [
            ratio_row("Redis: pull, verified and durable", "redis-cli --rdb", 1.05, ours, theirs),
            memory_row("Redis: pull", 32, [ours])]

    def redisverify(self):
        tool = self.bench.build_tool("bench_rdb")
        run_once(self.bench.runner, self.our_pull())
        file = self.large
        reader = Contestant("bench_rdb", [tool, file], is_ours=True)
        whole = self.bench.ours("blackstart verify redis", [
            "verify", "latest", "--level", "1", "--store", self.store], shown="redisverify")
        theirs = Contestant("redis-check-rdb", ["redis-check-rdb", file])
        self.compete("redisverify", reader, whole, theirs)
        self.fill(FILL_SMALL, self.keys())
        self.cli("SAVE")
        small = self.bench.at("redis-small.rdb")
        os.rename(os.path.join(self.folder, "dump.rdb"), small)
        small_reader = Contestant("bench_rdb, small keys", [tool, small], is_ours=True)
        small_theirs = Contestant("redis-check-rdb, small keys", ["redis-check-rdb", small])
        self.compete("redisverify", small_reader, small_theirs)
        self.bench.rows += [
            speed_row("Redis: an RDB file's structure and checksum", "redis-check-rdb", 3, reader,
                      theirs),
            speed_row("the same, very small keys", "redis-check-rdb", 3, small_reader,
                      small_theirs),
            speed_row("Redis: verify --level 1, with SHA-256", "redis-check-rdb", None, whole,
                      theirs),
            memory_row("Redis: verify", 32, [whole])]

    # --- the restore over the network ------------------------------------------

    def start_target(self):
        folder, socket = self.bench.at("redis-target"), self.bench.at("redis-target.socket")
        self.stop_target()
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        give_away(folder)
        self.target = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "",
             "--logfile", os.path.join(folder, "log")],
            stdin=subprocess.DEVNULL, cwd=folder, start_new_session=True, **self.bench.runner.who)
        deadline = time.monotonic() + 20
        while not os.path.exists(socket):
            if time.monotonic() > deadline:
                raise BenchError("the target does not start")
            time.sleep(0.02)

    def stop_target(self):
        if self.target is not None:
            os.killpg(self.target.pid, signal.SIGKILL)
            self.target.wait()
            self.target = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.bench.at("redis-target.socket"))

    def redisrestore(self):
        """Until it is a master with the data, in its file too: from our store, and from a master."""
        run_once(self.bench.runner, self.our_pull())
        socket = self.bench.at("redis-target.socket")
        ours = self.bench.ours("blackstart restore redis", [
            "restore", "redis", "--store", self.store, "--to", "redis://" + socket.replace("/", "%2F")],
            self.start_target)
        theirs = Contestant("a replica's full synchronisation", [
            "sh", "-c", f"""redis-cli -s {socket} REPLICAOF 127.0.0.1 {self.port} > /dev/null
until redis-cli -s {socket} INFO replication | grep -q master_link_status:up; do sleep 0.02; done
redis-cli -s {socket} REPLICAOF NO ONE > /dev/null"""], prepare=self.start_target)
        self.compete("redisrestore", ours, theirs)
        self.bench.rows += [
            ratio_row("Redis: restore over the network, until it is a master again",
                      "a fresh replica's full sync", 1.1, ours, theirs),
            memory_row("Redis: restore over the network", 32, [ours])]

    def redisstream(self):
        row = Row("Redis: the stream's lag after pipelined SET at full speed", "itself", 1, " s")
        dropped = Row("Redis: times the link was lost meanwhile", "none", 0, "")
        memory = Row("peak memory of the receiver", "Redis: stream", 32, " MiB")
        self.bench.rows += [row, dropped, memory]
        self.cli("FLUSHALL")
        log = self.start_receiver()
        subprocess.run(["timeout", str(STREAM_S), "redis-benchmark", "-s", self.socket, "-t",
                        "set", "-r", "100000", "-d", "100", "-c", "100", "-P", "16", "-n",
                        "1000000000", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=False)
        end, began = int(self.info("master_repl_offset")), time.monotonic()
        while self.durable(log) < end:
            if time.monotonic() - began > LAG_LIMIT_S or self.receiver.poll() is not None:
                raise BenchError("the receiver does not keep up: " + self.said(log)[-500:])
            time.sleep(0.01)
        row.value = round(time.monotonic() - began, 2)
        row.absolute = f"{end / 1e6 / STREAM_S:.0f} MB a second"
        dropped.value = self.said(log).count("receiving the stream of redis") - 1
        with open(f"/proc/{self.receiver.pid}/status", encoding="ascii") as file:
            memory.value = int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1024
        self.receiver.send_signal(signal.SIGTERM)
        self.receiver.wait(30)

    def start_receiver(self):
        conf, log = self.bench.at("redis.yaml"), self.bench.at("tmp", "redis-stream.log")
        store = self.bench.at("out", "redis-stream")
        self.bench.write(conf, CONF.format(state=self.bench.at("state", "redis"), store=store,
                                           socket=self.socket))
        with open(log, "wb") as file:
            self.receiver = subprocess.Popen(
                [self.bench.options.program, "run", "redis-stream", "-c", conf, "-v"],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.bench.env,
                start_new_session=True, **self.bench.runner.who)
        began = time.monotonic()
        while "receiving the stream of redis" not in self.said(log):
            if time.monotonic() - began > LAG_LIMIT_S or self.receiver.poll() is not None:
                raise BenchError("the receiver does not start: " + self.said(log)[-500:])
            time.sleep(0.05)
        return log

    def said(self, log):
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def durable(self, log):
        found = re.findall(r"durable up to offset (\d+)", self.said(log))
        return int(found[-1]) if found else 0

    def close(self):
        self.stop_target()
        for process in (self.receiver, self.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
