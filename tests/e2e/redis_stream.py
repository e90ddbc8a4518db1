"""The receiver of a Redis stream, and its archive as anybody may read it."""
import contextlib
import glob
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from redis_server import RedisServer, redis_version

CONFIG = """\
site: testwerk
timezone: Europe/Berlin
state_dir: {work}/state-c
store: {{ path: {store} }}
sources:
  redis: {{ type: redis, host: 127.0.0.1, port: {port}, password_file: {password}{source} }}
jobs:
  redis-stream: {{ source: redis, do: stream, continuous: true, keep: 7d{more} }}
  redis-6h: {{ source: redis, do: rdb, keep: 7d }}
"""


def poll(what, seconds=20, note=lambda: ""):
    """Until what() is true; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"it does not happen{note()}"
        time.sleep(0.02)


class Receiver:
    """`run redis-stream` for one server, into <work>/store/redis/stream."""

    def __init__(self, bs, work, password, server, more="", source=""):
        self.bs, self.work, self.server = bs, work, server
        self.password, self.more, self.source = password, more, source
        self.store = os.path.join(work, "store")
        self.folder = os.path.join(self.store, "redis/stream")
        self.path = os.path.join(work, "blackstart.yaml")
        self.running = None
        self.point_at(server)

    def point_at(self, server):
        """Another server under the same name, as after a failover."""
        self.server = server
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(work=self.work, store=self.store, port=server.port,
                                     password=self.password, more=self.more, source=self.source))

    def start(self, wait=True, env=None):
        self.running = self.bs.start("run", "redis-stream", "-c", self.path, "-v", env=env)
        if wait:
            self.wait_said("receiving the stream of redis")
        return self

    def said(self):
        return self.running.result().err

    def wait_said(self, pattern, seconds=30, count=1):
        def look():
            found = list(re.finditer(pattern, self.said()))
            assert len(found) >= count or self.running.is_running(), self.running.result()
            return found[count - 1] if len(found) >= count else None
        return poll(look, seconds, self.said)

    def durable(self):
        """The last offset that is on the disk, as it said itself."""
        found = re.findall(r"durable up to offset (\d+) of timeline (\d+)", self.said())
        return int(found[-1][0]) if found else 0

    def wait_all(self, server=None, seconds=30):
        """Everything that the server has written is durable here."""
        end = int((server or self.server).info("master_repl_offset"))
        poll(lambda: self.durable() >= end, seconds, lambda: f" up to {end}: {self.said()}")
        return end

    def stop(self, expect=0):
        self.running.signal(signal.SIGTERM)
        result = self.running.wait(20)
        assert result.code == expect, result
        return result

    def kill(self):
        assert self.running.kill() == []

    # --- the archive ---------------------------------------------------------------

    def names(self, pattern="*"):
        return sorted(os.path.basename(name)
                      for name in glob.glob(os.path.join(self.folder, pattern)))

    def piece(self, name):
        path = os.path.join(self.folder, name)
        if name.endswith(".zst"):
            return subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
        with open(path, "rb") as file:
            return file.read()

    def pieces(self, branch=1):
        """[(first offset, bytes)], in order."""
        found = self.names(f"{branch:08X}.*.aof.zst")
        # Killed before the packed one took the tail's place: both are there.
        found += [name for name in self.names(f"{branch:08X}.*.aof.partial")
                  if name.replace(".partial", ".zst") not in found]
        found.sort()
        return [(int(name.split(".")[1], 16), self.piece(name)) for name in found]

    def histories(self):
        found = []
        for name in self.names("*.history"):
            with open(os.path.join(self.folder, name), encoding="utf-8") as file:
                found.append(json.load(file))
        return found

    def commands(self, branch=1):
        """[(offset behind it, time in us, words)] of a branch, without our own SELECT."""
        found = []
        for first, data in self.pieces(branch):
            found += commands_of(first, data)
        return found

    def events(self):
        found = []
        for name in sorted(glob.glob(os.path.join(self.store, ".blackstart/event/redis/*.json"))):
            with open(name, encoding="utf-8") as file:
                found.append(json.load(file))
        return found

    def bases(self):
        found = []
        for name in sorted(glob.glob(os.path.join(self.store, "redis/*.manifest.json"))):
            with open(name, encoding="utf-8") as file:
                found.append(json.load(file))
        return sorted(found, key=lambda base: base["consistent_at"])

    def window(self, expect=(0, 3)):
        return self.bs.json("window", "redis", "-c", self.path, expect=expect)

    def rebuilt(self, root, base=None, branch=1, cut=None):
        """A server over the base and the stream behind it, by nothing but Redis itself."""
        base = base or self.bases()[0]
        start = int(base["content"]["replication"].split()[1])
        file = next(f["name"] for f in base["files"] if f["name"].endswith(".rdb"))
        server = RedisServer(root, "--appendonly", "yes")
        with open(os.path.join(self.store, "redis", file), "rb") as rdb:
            data = rdb.read()
        for first, piece in self.pieces(branch):
            assert first >= start
            piece = piece[:cut] if cut else piece
            data += piece if redis_version() >= (7, 0) else without_notes(piece)
        with open(os.path.join(server.data, "appendonly.aof"), "wb") as aof:
            aof.write(data)
        return server.start()


def without_notes(data):
    """For a server that does not know them: before 7.0 a line that begins with '#' is no AOF."""
    at, found = 0, []
    while at < len(data):
        begin, end = at, data.index(b"\n", at)
        at = end + 1
        if data[begin:begin + 1] == b"#":
            continue
        for _ in range(int(data[begin + 1:end])):
            end = data.index(b"\n", at)
            at = end + 1 + int(data[at + 1:end]) + 2
        found.append(data[begin:at])
    return b"".join(found)


def commands_of(offset, data):
    at, time_us, is_first, found = 0, 0, True, []
    while at < len(data):
        end = data.index(b"\n", at)
        if data[at:at + 1] == b"#":
            line = data[at + 1:end].strip().decode()
            time_us = int(line[3:]) if line.startswith("US:") else time_us
            at = end + 1
            continue
        assert data[at:at + 1] == b"*", data[at:at + 80]
        begin, words = at, []
        count, at = int(data[at + 1:end]), end + 1
        for _ in range(count):
            end = data.index(b"\n", at)
            size = int(data[at + 1:end])
            words.append(data[end + 1:end + 1 + size])
            at = end + 1 + size + 2
        if not is_first:
            offset += at - begin
            found.append((offset, time_us, words))
        is_first = False
    return found


class Link:
    """A road to a server that can be held up or cut, on a port of its own."""

    def __init__(self, port):
        self.target, self.is_held = port, False
        self.limit = None  # so many bytes pass from the server, then it is cut
        self.pairs = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                one, _ = self.server.accept()
            except OSError:
                return
            try:
                two = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                one.close()
                continue
            self.pairs += [one, two]
            for a, b in ((one, two), (two, one)):
                threading.Thread(target=self.carry, args=(a, b, a is two), daemon=True).start()

    def carry(self, a, b, is_counted):
        passed = 0
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                passed += len(data)
                if is_counted and self.limit is not None and passed > self.limit:
                    break
                while self.is_held:
                    time.sleep(0.01)
                b.sendall(data)
        for end in (a, b):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        for end in self.pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.pairs = []
        self.is_held = False

    def close(self):
        self.server.close()
        self.cut()
