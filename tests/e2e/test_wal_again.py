"""What lies in the archive since long, read again: by `settle --again`, and by `verify --all`."""
import os
import subprocess
import time

import pytest

from archived import DAMAGED, SEGMENT, SOUND, Archive, ArchivingServer
from daemon import build_clock
from program import BINARY
from store import flip_bit

AT_ONCE = 32  # segments of 1 MiB that one thread reads behind each other
RANGES = 3


@pytest.fixture(scope="module")
def log(base_folder):
    """Long enough for several threads; a record crosses from nearly each segment into the next."""
    server = ArchivingServer(os.path.join(base_folder, "again-server"))
    server.sql("CREATE TABLE t (id int, v text)")
    server.sql("SELECT pg_logical_emit_message(true, 'pad', repeat('x', 70000 + n % 7 * 100)) "
               f"FROM generate_series(1, {(AT_ONCE * RANGES + 4) * 15}) n")
    made = server.finish()
    assert len(made.names) > AT_ONCE * RANGES
    yield made
    server.destroy()


def again(wal, expect=0):
    return wal.bs.run("settle", "postgresql", "--again", "--store", wal.store, expect=expect)


def rot(path, offset):
    """A bit changes, and nothing else of the file."""
    times = os.stat(path)
    flip_bit(path, offset)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture
def rotten(log, wal):
    """All sound, the first ones compressed; then the third one changes."""
    wal.take(log, *range(5), form=".partial")
    wal.take(log, 5, 6, 7)
    wal.settle()
    rows = wal.rows()
    name = log.names[2] + ".zst"
    path = os.path.join(wal.path, name)
    rot(path, os.path.getsize(path) // 2)
    return name, path, rows


def test_what_has_rotted_since_is_found_when_it_is_read_again(log, wal, rotten):
    name, path, rows = rotten
    assert wal.settle()["damaged"] == 0, "what is known to be sound is not read each time"
    result = again(wal, expect=6)
    assert name in result.err and "segments of its log are damaged" in result.err
    assert wal.states()[2] == DAMAGED and wal.states().count(SOUND) == len(rows) - 1
    assert [row for index, row in enumerate(wal.rows()) if index != 2] == rows[:2] + rows[3:]
    flip_bit(path, os.path.getsize(path) // 2)
    assert f"{len(rows)} segments of its log read again, 0 damaged" in again(wal).out
    assert [row[:3] + row[4:] for row in wal.rows()] == [row[:3] + row[4:] for row in rows]


def test_reading_again_changes_no_more_than_what_it_finds(log, wal):
    """It goes on for long, beside the settling of what arrives: that is none of its business."""
    wal.take(log, 0, 1, 2, 3, form=".partial")
    wal.settle()
    wal.take(log, 4, 5, form=".partial")
    files, rows = wal.files(), wal.rows()
    os.rename(os.path.join(wal.path, files[0]), os.path.join(wal.store, "elsewhere"))
    again(wal)
    assert wal.files() == files[1:] and wal.rows() == rows
    wal.settle()
    assert len(wal.rows()) > len(rows)


@pytest.mark.parametrize("more", [[], ["--again"]])
def test_a_log_that_is_not_there_is_no_sound_one(log, wal, bs, work, more):
    wal.take(log, 0)
    wal.settle()
    result = bs.run("settle", "postgres", *more, "--store", wal.store, expect=1)
    assert "no log of a source 'postgres'" in result.err and "blackstart list" in result.err
    assert result.out == ""
    # One that the configuration knows may still come.
    path = os.path.join(work, "blackstart.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""site: plant
timezone: UTC
state_dir: {work}/state
store: {{ path: {wal.store} }}
sources:
  new: {{ type: postgres, host: 127.0.0.1, port: 5, user: nobody }}
""")
    result = bs.run("settle", "new", *more, "-c", path, expect=3)
    assert "source 'new' has no log yet" in result.err


def test_verify_all_reads_the_logs(log, wal, bs, rotten):
    name, path, rows = rotten
    result = bs.run("verify", "--all", "--store", wal.store, "--level", "0", expect=6)
    assert "DAMAGED log of 'postgresql'" in result.out and name in result.err
    assert result.err.count("segments of its log are damaged") == 1, "it is said once"
    for words, none in ((["--kind", "base"], "no backup of kind 'base'"),
                        (["--source", "other"], "no backup of source 'other'")):
        assert none in bs.run("verify", "--all", "--store", wal.store, *words, expect=3).err
    flip_bit(path, os.path.getsize(path) // 2)
    wal.settle()
    assert wal.states().count(SOUND) == len(rows)
    log_read, = bs.json("verify", "--all", "--store", wal.store)["logs"]
    assert log_read == {"source": "postgresql", "checked": len(rows), "damaged": 0, "warnings": []}


def wake(process):
    process.stdin.write(b"x\n")
    process.stdin.flush()
    time.sleep(0.05)


def test_the_receivers_settle_reads_a_little_of_what_is_there_every_ten_minutes(wal, bs, work, rotten):
    """All of it in its turn: what has rotted is found without anybody asking, and said once."""
    name, _, rows = rotten
    now = f"{time.time()} {time.clock_gettime(time.CLOCK_BOOTTIME)} {time.time()}"
    env = {**bs.env, "LD_PRELOAD": build_clock(work), "FAST_CLOCK": f"1200 {now}"}
    process = subprocess.Popen([BINARY, "settle", "postgresql", "--store", wal.store, "--follow"],
                               stdin=subprocess.PIPE, env=env, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while DAMAGED not in wal.states():
            assert time.monotonic() < deadline
            wake(process)
        enough = time.monotonic() + 1.5 * 0.5 * len(rows)
        while time.monotonic() < enough:
            wake(process)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.decode().count(name) == 1, said.decode()
    assert wal.states() == [DAMAGED if index == 2 else SOUND for index in range(len(rows))]


@pytest.mark.parametrize("segment, offset", [
    (0, 300000),
    (AT_ONCE - 1, SEGMENT - 100),   # of a record that goes on in the next range
    (AT_ONCE, 200),                 # the rest of it
    (AT_ONCE, SEGMENT // 2),
    (AT_ONCE + 30, 5000),
    (AT_ONCE * 2, 1),               # the page's magic
    (AT_ONCE * RANGES, 400000),
])
def test_several_threads_find_what_is_found_in_order(log, wal, bs, work, segment, offset):
    """The same as one finds who reads all of it for the first time."""
    facts = "number, state, stored_bytes, end_position, commits, message"
    wal.take(log)
    wal.settle()
    sound = wal.rows(facts)
    rot(os.path.join(wal.path, log.names[segment]), offset)
    again(wal, expect=6)
    other = Archive(os.path.join(work, "other"), bs)
    for name in wal.files():
        os.link(os.path.join(wal.path, name), os.path.join(other.path, name))
    other.settle(expect=6)
    damaged = [row for row in wal.rows(facts) if row[1] == DAMAGED]
    assert damaged and damaged == [row for row in other.rows(facts) if row[1] == DAMAGED]
    numbers = {row[0] for row in damaged}
    assert [row for row in wal.rows(facts) if row[0] not in numbers] == \
        [row for row in sound if row[0] not in numbers]
    rot(os.path.join(wal.path, log.names[segment]), offset)
    again(wal)
    assert wal.rows(facts) == sound


def test_what_comes_and_goes_while_it_is_read(log, wal):
    """A file that is gone is no damage; one that was put there anew is read, and its row made new."""
    wal.take(log)
    wal.settle()
    rows = wal.rows()
    os.unlink(os.path.join(wal.path, log.names[AT_ONCE]))
    os.utime(os.path.join(wal.path, log.names[AT_ONCE + 3]), (4711, 4711))
    result = again(wal)
    assert f"{len(log.names) - 1} segments of its log read again, 0 damaged" in result.out
    assert wal.rows() == rows
    assert wal.rows("modified")[AT_ONCE + 3] == (4711 * 1_000_000,)
