"""A receiver of the write-ahead log that tests start, watch, stop and kill."""
import glob
import json
import os
import re
import signal
import time

JOB = "source: postgresql, do: wal, continuous: true, heartbeat: {heartbeat}{more}"


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
    """`run pg-wal` for one server, into <work>/store/postgresql/wal."""

    def __init__(self, bs, path, folder, server):
        self.bs, self.path, self.folder, self.server = bs, path, folder, server
        self.running = None

    def start(self, wait=True, prefix=()):
        self.running = self.bs.start("run", "pg-wal", "-c", self.path, "-v", prefix=prefix)
        if wait:
            self.wait_streaming()
        return self

    def wait_streaming(self):
        poll(lambda: self.flushed() or not self.running.is_running())
        assert self.running.is_running(), self.running.result()

    def said(self):
        return self.running.result().err

    def wait_said(self, pattern, seconds=20):
        return poll(lambda: re.search(pattern, self.said()), seconds, self.said)

    def flushed(self):
        """The last position that the server was told."""
        found = re.findall(r"^debug: flush ([0-9A-F]+/[0-9A-F]+)$", self.said(), re.M)
        return found[-1] if found else None

    def wait_all(self, server=None, seconds=20):
        """Everything that the server has written is acknowledged."""
        server = server or self.server
        lsn = server.value("SELECT pg_current_wal_flush_lsn()")
        poll(lambda: self.flushed() and number(self.flushed()) >= number(lsn), seconds, self.said)
        return lsn

    def stop(self, expect=0):
        self.running.signal(signal.SIGTERM)
        result = self.running.wait(20)
        assert result.code == expect, result
        return result

    def kill(self):
        assert self.running.kill() == []

    def names(self, pattern="*"):
        return sorted(os.path.basename(name)
                      for name in glob.glob(os.path.join(self.folder, pattern)))

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def tails(self):
        """What is in each; one that is compressed since its name was read is there as that."""
        contents = {}
        for name in self.names("*.partial"):
            try:
                contents[name] = self.read(name)
            except FileNotFoundError:
                assert name[:24] + ".zst" in self.names(), name
        return contents


def number(lsn):
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


def write(server, rows=1000):
    server.sql("CREATE TABLE IF NOT EXISTS t (id serial, v text);"
               f"INSERT INTO t (v) SELECT repeat(md5(g::text), 10) FROM generate_series(1, {rows}) g")


def assert_same_wal(receiver, server, lsn, pattern="*.partial"):
    """Every segment that both have is the same, up to `lsn`; and there is one at least."""
    size = server.value("SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size'")
    end = number(lsn)
    compared = 0
    for name in receiver.names(pattern):
        path = os.path.join(server.data, "pg_wal", name[:24])
        if not os.path.exists(path):
            continue
        start = (int(name[8:16], 16) * (2**32 // size) + int(name[16:24], 16)) * size
        with open(path, "rb") as file:
            theirs = file.read()
        try:
            ours = receiver.read(name)
        except FileNotFoundError:
            continue  # finished, and compressed since its name was read
        assert len(ours) == size
        upto = min(size, max(0, end - start))
        assert ours[:upto] == theirs[:upto], name
        compared += upto
    assert compared > 0


def events(work):
    """What is written down in the store of gaps and the like."""
    found = []
    for name in glob.glob(os.path.join(work, "store/.blackstart/**/*"), recursive=True):
        if os.path.isfile(name) and "event" in name:
            with open(name, encoding="utf-8") as file:
                found.append(json.load(file))
    return found
