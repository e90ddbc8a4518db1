"""The receiver: what the server was told of is on our disk, whatever happens in between."""
import glob
import os
import re
import signal
import time

import pytest

JOB = "source: postgresql, do: wal, continuous: true, heartbeat: {heartbeat}{more}"


def poll(what, seconds=20):
    """Until what() is true; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


class Receiver:
    """`run pg-wal` for one server, into <work>/store/postgresql/wal."""

    def __init__(self, bs, path, folder, server):
        self.bs, self.path, self.folder, self.server = bs, path, folder, server
        self.running = None

    def start(self, wait=True):
        self.running = self.bs.start("run", "pg-wal", "-c", self.path, "-v")
        if wait:
            self.wait_streaming()
        return self

    def wait_streaming(self):
        poll(lambda: self.flushed() or not self.running.is_running())
        assert self.running.is_running(), self.running.result()

    def said(self):
        return self.running.result().err

    def wait_said(self, pattern, seconds=20):
        return poll(lambda: re.search(pattern, self.said()), seconds)

    def flushed(self):
        """The last position that the server was told."""
        found = re.findall(r"^debug: flush ([0-9A-F]+/[0-9A-F]+)$", self.said(), re.M)
        return found[-1] if found else None

    def wait_all(self, server=None):
        """Everything that the server has written is acknowledged."""
        server = server or self.server
        lsn = server.value("SELECT pg_current_wal_flush_lsn()")
        poll(lambda: self.flushed() and number(self.flushed()) >= number(lsn))
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


def number(lsn):
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


@pytest.fixture
def receive(bs, work, configure):
    def make(server, more="", heartbeat="off", start=True, **kwargs):
        path = configure(server=server, jobs={"pg-wal": JOB.format(more=more, heartbeat=heartbeat)},
                         **kwargs)
        made = Receiver(bs, path, os.path.join(work, "store/postgresql/wal"), server)
        return made.start() if start else made
    return make


def write(server, rows=1000):
    server.sql("CREATE TABLE IF NOT EXISTS t (id serial, v text);"
               f"INSERT INTO t (v) SELECT repeat(md5(g::text), 10) FROM generate_series(1, {rows}) g")


def assert_same_wal(receiver, server, lsn):
    """Every segment that both have is the same, up to `lsn`; and there is one at least."""
    size = server.value("SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size'")
    end = number(lsn)
    compared = 0
    for name in receiver.names("*.partial"):
        path = os.path.join(server.data, "pg_wal", name[:24])
        if not os.path.exists(path):
            continue
        start = (int(name[8:16], 16) * (2**32 // size) + int(name[16:24], 16)) * size
        with open(path, "rb") as file:
            theirs = file.read()
        ours = receiver.read(name)
        assert len(ours) == size
        upto = min(size, max(0, end - start))
        assert ours[:upto] == theirs[:upto], name
        compared += upto
    assert compared > 0


def test_what_is_received_is_what_the_server_wrote(receive, new_server):
    server = new_server()
    receiver = receive(server)
    write(server, 20000)
    server.sql("SELECT pg_switch_wal()")
    write(server)
    lsn = receiver.wait_all()
    assert_same_wal(receiver, server, lsn)
    result = receiver.stop()
    assert re.search(r"WAL is durable up to [0-9A-F/]+ on timeline 1", result.err), result
    assert result.peak_kb <= 16 * 1024, result.peak_kb
