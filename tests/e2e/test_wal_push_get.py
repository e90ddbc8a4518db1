"""archive_command and restore_command: what the server gives us is durable and right, and what we
give it back is either right or a reason to stop, never a quiet loss."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from daemon import wait_for
from postgres import children, give_away
from program import BINARY, binary_for_all, is_alive
from store import Store, flip_bit

SEGMENT_BYTES = 1 << 20      # initdb --wal-segsize=1: sixteen times as quick
SOURCE = "pg"
END = "archive recovery complete"


class Archive:
    """A server that archives into a store, and a base to recover from, made once for all tests."""

    def __init__(self, root, new_server):
        self.root = root
        self.store = Store(os.path.join(root, "store"))
        os.mkdir(self.store.path, 0o700)
        give_away(self.store.path)
        self.server = new_server
        self.base = os.path.join(root, "base")

    @property
    def wal(self):
        return os.path.join(self.store.path, SOURCE, "wal")

    def segments(self):
        return sorted(name for name in os.listdir(self.wal) if name.endswith(".zst"))

    def push_command(self, source=SOURCE, store=None):
        return f"{binary_for_all()} archive-push %p --store {store or self.store} --source {source}"

    def wait_archived(self, server, timeout=30):
        """Switch, and wait until the segment that was just closed is there."""
        name = server.value("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + timeout
        while True:
            done = server.value("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")
            if done[:24] >= name:
                return name
            assert time.monotonic() < deadline, server.log_text()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def model(base_folder):
    """One server's life: 40 rows in ten segments, archived by archive-push, and a base from before."""
    from postgres import Server
    root = os.path.join(base_folder, "wal-model")
    os.mkdir(root, 0o755)
    give_away(root)
    server = Server(os.path.join(root, "pg"))
    archive = Archive(root, server)
    server.initdb("--wal-segsize=1")
    server.start(archive_mode="on", archive_command=archive.push_command(), wal_level="replica",
                 min_wal_size="2MB", max_wal_size="64MB")
    server.sql("CREATE TABLE t (n int, filler text); "
               "ALTER TABLE t ALTER filler SET STORAGE external")
    server.tool("pg_basebackup", "-D", archive.base, "-h", server.root, "-p", str(server.port),
                "-U", "postgres", "-c", "fast", "-X", "none", "--no-sync")
    archive.first = server.value("SELECT pg_walfile_name(pg_current_wal_lsn())")
    for part in range(10):
        server.sql(f"INSERT INTO t SELECT n, (SELECT string_agg(md5(i::text || n), '') FROM "
                   f"generate_series(1, 4000) i) FROM generate_series("
                   f"{part * 4 + 1}, {part * 4 + 4}) n")
        archive.last = archive.wait_archived(server)
    archive.rows = 40
    archive.control = server.identity
    server.stop()
    yield archive
    server.destroy()


@pytest.fixture
def archive(model, work):
    """A copy of the model's store of one's own."""
    own = Archive.__new__(Archive)
    own.root, own.server, own.base = work, model.server, model.base
    own.first, own.last, own.rows = model.first, model.last, model.rows
    own.store = Store(os.path.join(work, "store"))
    subprocess.run(["cp", "-a", model.store.path, own.store.path], check=True)
    return own


@pytest.fixture
def recover(archive, work):
    """recover(command): start the base with this restore_command; how it went."""
    made = []

    def run(command=None, settings=None, timeout=60):
        from postgres import Server
        server = Server(os.path.join(work, f"rec{len(made)}"))
        made.append(server)
        subprocess.run(["cp", "-a", archive.base, server.data], check=True)
        command = command or f"{binary_for_all()} archive-get %f %p --store {archive.store} --source {SOURCE}"
        with open(os.path.join(server.data, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
            file.write(f"restore_command = '{command}'\nwal_level = replica\n"
                       "hot_standby = off\narchive_mode = off\n")
            for name, value in (settings or {}).items():
                file.write(f"{name} = '{value}'\n")
        with open(os.path.join(server.data, "recovery.signal"), "w", encoding="utf-8"):
            pass
        give_away(os.path.join(server.data, "recovery.signal"))
        with contextlib.suppress(AssertionError):
            server.start()
        server.has_ended = server.process.poll() is not None
        with open(server.log, encoding="utf-8", errors="replace") as file:
            server.text = file.read()
        return server
    yield run
    for server in made:
        server.destroy()


def get(bs, archive, name, to, *options, expect=None, **kwargs):
    return bs.run("archive-get", name, to, "--store", archive.store, "--source", SOURCE, *options,
                  expect=expect, **kwargs)


def push(bs, path, store, expect=None, source=SOURCE, **kwargs):
    return bs.run("archive-push", path, "--store", store, "--source", source, expect=expect,
                  **kwargs)


def plain(archive, name, folder):
    """The segment as the server wrote it, unpacked by zstd itself."""
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        subprocess.run(["zstd", "-dqc", os.path.join(archive.wal, name + ".zst")], check=True,
                       stdout=file)
    return path


def name_of(number, timeline=1):
    per_file = (1 << 32) // SEGMENT_BYTES
    return f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}"


def number_of(name):
    return int(name[8:16], 16) * ((1 << 32) // SEGMENT_BYTES) + int(name[16:24], 16)


def middle(archive):
    return name_of((number_of(archive.first) + number_of(archive.last)) // 2)


# --- recovery --------------------------------------------------------------------------------------


def test_recovers_all_that_was_archived(archive, recover):
    server = recover()
    assert not server.has_ended, server.text
    assert server.value("SELECT count(*) FROM t") == archive.rows
    assert END in server.text
    # The helper of the recovery is nobody's child, and left the folder of the server alone.
    assert [name for name in os.listdir(os.path.join(server.data, "pg_wal"))
            if "blackstart" in name] == []


def test_missing_segment_stops_the_server(archive, recover):
    os.unlink(os.path.join(archive.wal, middle(archive) + ".zst"))
    server = recover()
    assert server.has_ended and END not in server.text, server.text
    assert "FATAL:  could not restore file" in server.text
    assert f"segment {middle(archive)} is missing" in server.text


def test_corrupt_segment_stops_the_server(archive, recover):
    path = os.path.join(archive.wal, middle(archive) + ".zst")
    flip_bit(path, 100)
    server = recover()
    assert server.has_ended and END not in server.text, server.text
    assert "FATAL:  could not restore file" in server.text


def test_corrupt_plain_segment_stops_the_server(bs, archive, recover, work):
    """A raw copy has no checksum but those of its records."""
    name = middle(archive)
    path = plain(archive, name, archive.wal)
    os.unlink(path + ".zst")
    flip_bit(path, 30_000)
    get(bs, archive, name, os.path.join(work, "out"), expect=255)
    server = recover()
    assert server.has_ended and END not in server.text, server.text


def test_sound_copy_takes_the_place_of_a_damaged_one(bs, archive, work):
    name = middle(archive)
    good = plain(archive, name, archive.wal)
    flip_bit(good + ".zst", 100)
    result = get(bs, archive, name, os.path.join(work, "out"), expect=0)
    assert "another copy of it is sound" in result.err
    with open(good, "rb") as a, open(os.path.join(work, "out"), "rb") as b:
        assert a.read() == b.read()


BLOCK = 4096


def record_over_a_block(archive, path):
    """(begin, end) of a record that crosses from one block of a page into the next, in the file."""
    tool = os.path.join(archive.server.bin, "pg_waldump")
    # It fails where the log ends.
    found = subprocess.run([tool, path], check=False, capture_output=True, text=True)
    for line in found.stdout.split("\n"):
        match = re.search(r"len \(rec/tot\): +\d+/ *(\d+), .* lsn: [0-9A-F]+/([0-9A-F]+)", line)
        if match:
            begin = int(match[2], 16) % SEGMENT_BYTES
            end = begin + int(match[1])
            block = end - end % BLOCK
            if begin + 24 < block < end - 16 and block % (2 * BLOCK) == BLOCK \
                    and begin > block - BLOCK:
                return begin, end
    raise AssertionError(f"no record crosses a block within a page: {found}")


def test_tail_that_ends_where_the_power_went(bs, archive, work):
    """What was not synced goes block by block: here the second part of the last record, and all
    behind it. What was acknowledged ended before that record."""
    tail = os.path.join(archive.wal, archive.last + ".partial")
    out = os.path.join(work, "out")
    sound = plain(archive, archive.last, work)
    shutil.copy(sound, tail)
    os.unlink(os.path.join(archive.wal, archive.last + ".zst"))
    begin, end = record_over_a_block(archive, sound)
    block = end - end % BLOCK
    with open(tail, "r+b") as file:
        whole = file.read()
        # The whole record, and zeros behind it: a tail like any other.
        file.seek(end)
        file.write(bytes(SEGMENT_BYTES - end))
    assert "torn" not in get(bs, archive, archive.last, out, expect=0).err
    # A bit of it is wrong, or it lacks something else than a whole block: that is no power failure.
    flip_bit(tail, begin + 30)
    assert "checksum" in get(bs, archive, archive.last, out, expect=255).err
    flip_bit(tail, begin + 30)
    with open(tail, "r+b") as file:
        file.seek(end - 8)
        file.write(bytes(8))
    assert "checksum" in get(bs, archive, archive.last, out, expect=255).err
    with open(tail, "r+b") as file:
        file.seek(block)
        file.write(bytes(end - block))
    assert "torn by a power failure" in get(bs, archive, archive.last, out, expect=0).err
    with open(out, "rb") as file:
        assert file.read() == whole[:block] + bytes(SEGMENT_BYTES - block)


def test_tail_at_the_end_is_served_and_one_in_the_middle_must_be_whole(bs, archive, recover, work):
    last = plain(archive, archive.last, work)
    tail = os.path.join(archive.wal, archive.last + ".partial")
    os.unlink(os.path.join(archive.wal, archive.last + ".zst"))
    shutil.copy(last, tail)
    server = recover()
    assert not server.has_ended, server.text
    assert server.value("SELECT count(*) FROM t") == archive.rows

    # The same with half of it still to come: what is there is served, zeros behind it.
    with open(tail, "r+b") as file:
        file.truncate(8192)
        file.truncate(SEGMENT_BYTES)
    get(bs, archive, archive.last, os.path.join(work, "out"), expect=0)
    assert os.path.getsize(os.path.join(work, "out")) == SEGMENT_BYTES

    # Made, but nothing came: the same as none.
    with open(tail, "r+b") as file:
        file.truncate(0)
        file.truncate(SEGMENT_BYTES)
    get(bs, archive, archive.last, os.path.join(work, "none"), expect=1)

    # With a later segment it would have to be whole.
    later = name_of(number_of(archive.last) + 3)
    shutil.copy(last, os.path.join(archive.wal, later))
    get(bs, archive, archive.last, os.path.join(work, "out"), expect=255)


# --- exit codes --------------------------------------------------------------------------------------


def test_get_says_absent_only_when_that_is_certain(bs, archive, work):
    out = os.path.join(work, "out")
    after = name_of(number_of(archive.last) + 1)
    assert bs.run("archive-get", after, out, "--store", archive.store, "--source", SOURCE).code == 1
    assert get(bs, archive, "00000002.history", out).code == 1
    assert get(bs, archive, name_of(number_of(archive.first), 2), out).code == 1
    get(bs, archive, middle(archive), out, expect=0)
    # A label of a segment is not the segment.
    gone = os.path.join(archive.wal, archive.last + ".zst")
    os.rename(gone, os.path.join(archive.wal, archive.last + ".00000028.backup"))
    assert get(bs, archive, archive.last, out).code == 1
    assert get(bs, archive, archive.last + ".00000028.backup", out).code in (0, 255)


def test_every_doubt_is_255(bs, archive, work):
    out = os.path.join(work, "out")
    after = name_of(number_of(archive.last) + 1)
    for args in (["archive-get"], ["archive-get", after],
                 ["archive-get", after, out, "--nonsense"],
                 ["archive-get", after, out, "-c", os.path.join(work, "no.yaml")],
                 ["archive-get", after, out, "--store", os.path.join(work, "none")],
                 ["archive-get", after, out, "--store", archive.store, "--source", "other"],
                 ["archive-get", after, out, "--store", archive.store, "--source", "../x"],
                 ["archive-get", "RECOVERYXLOG", out, "--store", archive.store, "--source", SOURCE],
                 ["archive-get", middle(archive), os.path.join(work, "no/such/folder"), "--store",
                  archive.store, "--source", SOURCE],
                 ["archive-get", after, out, "--feed", os.path.join(work, "nobody")]):
        assert bs.run(*args).code == 255, args
    # The disk of the store is not mounted: an empty folder is in its place.
    empty = os.path.join(work, "empty")
    os.mkdir(empty)
    assert bs.run("archive-get", after, out, "--store", empty, "--source", SOURCE).code == 255
    os.makedirs(os.path.join(empty, SOURCE, "wal"))
    assert bs.run("archive-get", after, out, "--store", empty, "--source", SOURCE).code == 255
    assert bs.run("archive-get", "00000002.history", out, "--store", empty, "--source",
                  SOURCE).code == 255
    assert not os.path.exists(out)


def test_unreadable_archive_is_a_doubt(bs, archive, work):
    if os.geteuid() != 0:
        pytest.skip("needs another user than the one that has the files")
    after = name_of(number_of(archive.last) + 1)
    out = os.path.join(work, "o")
    os.mkdir(out, 0o777)
    os.chmod(out, 0o777)
    os.chown(archive.wal, 0, 0)
    os.chmod(archive.wal, 0o700)
    for name in (after, middle(archive), "00000002.history"):
        assert get(bs, archive, name, os.path.join(out, "x"), user="postgres").code == 255


def test_store_of_another_site_is_a_doubt(bs, archive, work, configure, pg):
    config = configure(store_path=archive.store, site="elsewhere")
    path = os.path.join(archive.store.path, ".blackstart", "store.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"site": ""', '"site": "here"').replace('"site":""', '"site":"here"'))
    assert bs.run("archive-get", "00000002.history", os.path.join(work, "o"), "-c", config,
                  "--source", "postgresql").code == 255


def test_sigterm_ends_get_like_one(archive, work):
    """A feeder that does not answer: the wait ends by the signal itself, as PostgreSQL expects."""
    path = os.path.join(work, "sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        process = subprocess.Popen([BINARY, "archive-get", archive.last, os.path.join(work, "o"),
                                    "--feed", path], stderr=subprocess.DEVNULL)
        connection, _ = listening.accept()
        with connection:
            assert connection.recv(100) == archive.last.encode() + b"\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == -signal.SIGTERM


def test_feeder_that_goes_away_is_a_doubt(archive, work):
    path = os.path.join(work, "sock")
    for answer in (b"", b"D", b"Dhere it is", b"x"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            process = subprocess.Popen([BINARY, "archive-get", archive.last,
                                        os.path.join(work, "o"), "--feed", path],
                                       stderr=subprocess.DEVNULL)
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)
            assert process.wait(20) == 255, answer
    assert not os.path.exists(os.path.join(work, "o"))


def test_push_codes_stay_below_126(bs, archive, work):
    for args, codes in ((["archive-push"], (2,)),
                        (["archive-push", "/etc/hostname", "--store", archive.store], (2,)),
                        (["archive-push", os.path.join(work, archive.last), "--store",
                          archive.store, "--source", SOURCE], (1,)),
                        (["archive-push", "x", "--store", os.path.join(work, "none")], (1,))):
        assert bs.run(*args).code in codes, args


# --- what a push takes, and what it refuses -----------------------------------------------------------


def test_same_again_is_fine_and_other_content_is_refused(bs, archive, work):
    name = middle(archive)
    path = plain(archive, name, work)
    before = archive.store.snapshot()
    push(bs, path, archive.store, expect=0)
    assert archive.store.snapshot() == before
    flip_bit(path, SEGMENT_BYTES - 200_000)
    for _ in range(2):
        result = push(bs, path, archive.store, expect=6)
        assert "with other content" in result.err
    after = archive.store.snapshot()
    events = [name for name in after if name not in before]
    assert len(events) == 1 and events[0].startswith(f".blackstart/event/{SOURCE}/")
    assert {k: v for k, v in after.items() if k in before} == before


@pytest.mark.parametrize("form", ["", ".partial"])
def test_copy_by_other_hands_counts(bs, archive, work, form):
    """cp's own file, or the receiver's finished tail."""
    name = middle(archive)
    path = plain(archive, name, work)
    os.unlink(os.path.join(archive.wal, name + ".zst"))
    there = os.path.join(archive.wal, name + form)
    shutil.copy(path, there)
    push(bs, path, archive.store, expect=0)
    assert not os.path.exists(os.path.join(archive.wal, name + ".zst"))
    # A tail that is still on its way proves nothing, another content does.
    with open(there, "r+b") as file:
        file.truncate(500_000 if not form else 16384)
        file.truncate(SEGMENT_BYTES)
    push(bs, path, archive.store, expect=0 if form else 6)
    assert os.path.exists(os.path.join(archive.wal, name + ".zst")) == bool(form)
    flip_bit(there, 9000)
    if form:
        os.unlink(os.path.join(archive.wal, name + ".zst"))
        push(bs, path, archive.store, expect=6)


def test_foreign_and_false_segments_are_refused(bs, archive, work):
    name = archive.last
    path = plain(archive, name, work)
    before = archive.store.files()
    # The content of another segment under this name.
    renamed = os.path.join(work, name_of(number_of(name) + 1))
    shutil.copy(path, renamed)
    assert "has the content of segment" in push(bs, renamed, archive.store, expect=1).err
    # Cut short, and too long.
    other = os.path.join(work, "cut", name)
    os.mkdir(os.path.dirname(other))
    for size in (0, 20, 8192, SEGMENT_BYTES - 8192, SEGMENT_BYTES + 8192):
        shutil.copy(path, other)
        os.truncate(other, size)
        os.unlink(os.path.join(archive.wal, name + ".zst")) if \
            os.path.exists(os.path.join(archive.wal, name + ".zst")) else None
        push(bs, other, archive.store, expect=1)
    # Another system, and rubbish in a page in the middle.
    shutil.copy(path, other)
    flip_bit(other, 24)
    result = push(bs, other, archive.store, expect=5)
    assert "is of another system" in result.err and "source adopt" in result.err
    shutil.copy(path, other)
    flip_bit(other, 8192 + 9)
    push(bs, other, archive.store, expect=1)
    assert set(archive.store.files()) <= set(before), "nothing was taken"
    push(bs, path, archive.store, expect=0)


def test_second_server_into_one_folder_is_refused(bs, archive, work):
    from postgres import Server
    server = Server(os.path.join(work, "second")).initdb("--wal-segsize=1")
    try:
        server.start(archive_mode="on", archive_command=archive.push_command(store=archive.store))
        server.sql("CREATE TABLE x AS SELECT 1")
        server.sql("SELECT pg_switch_wal()")
        deadline = time.monotonic() + 30
        while server.value("SELECT failed_count FROM pg_stat_archiver") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.value("SELECT archived_count FROM pg_stat_archiver") == 0
        with open(server.log, encoding="utf-8") as file:
            text = file.read()
        assert "is of another system" in text, text
        # Its histories say nothing of whose they are, but its pg_control does.
        history = os.path.join(server.data, "pg_wal", "00000002.history")
        with open(history, "w", encoding="utf-8") as file:
            file.write("1\t0/3000000\tno recovery target specified\n")
        result = push(bs, "pg_wal/00000002.history", archive.store, expect=5, cwd=server.data)
        assert "is of another system" in result.err
        # And it is not given what is not its own.
        result = get(bs, archive, middle(archive), "pg_wal/RECOVERYXLOG", expect=255,
                     cwd=server.data)
        assert "is of another system" in result.err
        result = get(bs, archive, name_of(number_of(archive.last) + 1), "pg_wal/RECOVERYXLOG",
                     expect=255, cwd=server.data)
        assert "the server that asks is" in result.err
    finally:
        server.destroy()


def test_histories(bs, archive, work):
    path = os.path.join(work, "00000002.history")
    with open(path, "w", encoding="utf-8") as file:
        file.write("1\t0/3000000\tno recovery target specified\n")
    push(bs, path, archive.store, expect=0)
    push(bs, path, archive.store, expect=0)
    get(bs, archive, "00000002.history", os.path.join(work, "h"), expect=0)
    with open(path, encoding="utf-8") as a, open(os.path.join(work, "h"), encoding="utf-8") as b:
        assert a.read() == b.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write("1\t0/4000000\tno recovery target specified\n")
    push(bs, path, archive.store, expect=6)
    with open(os.path.join(work, "00000003.history"), "w", encoding="utf-8") as file:
        file.write("not a history\n")
    push(bs, os.path.join(work, "00000003.history"), archive.store, expect=1)


@pytest.mark.parametrize("text, says", [
    (bytes(42), "does not say where it comes from|line 1"),
    (b"1\t0/30000", "is cut off"),
    (b"what is this\n", "line 1"),
    (b"5\t0/3000000\tof another timeline\n", "00000002.history"),
    (b"", "0 bytes"),
])
def test_damaged_history_is_a_doubt(bs, archive, recover, work, text, says):
    """A server takes a file of zeros for a timeline without parents, and half a number for a whole
    one: it is not given either, and does not start."""
    path = os.path.join(archive.wal, "00000002.history")
    with open(path, "wb") as file:
        file.write(text)
    give_away(path)
    out = os.path.join(work, "out")
    result = get(bs, archive, "00000002.history", out)
    assert result.code == 255 and re.search(says, result.err), result
    assert not os.path.exists(out)
    server = recover()
    assert server.has_ended and END not in server.text, server.text


def test_promotion_archives_its_partial_and_goes_on(bs, archive, recover, work):
    """A restored copy that archives back: on its own timeline it may, the old one stays as it was."""
    before = archive.store.snapshot()
    server = recover(settings={"archive_mode": "on", "archive_command":
                               archive.push_command(store=archive.store)})
    assert not server.has_ended, server.text
    server.sql("INSERT INTO t VALUES (99, 'after')")
    archive.wait_archived(server)
    server.stop()
    after = archive.store.snapshot()
    assert {k: v for k, v in after.items() if k in before} == before
    new = sorted(os.path.basename(name) for name in after if name not in before)
    assert "00000002.history" in new
    assert any(name.startswith("00000002") and name.endswith(".zst") for name in new), new
    partial = os.path.join(work, archive.last + ".partial")
    shutil.copy(plain(archive, archive.last, work), partial)
    push(bs, partial, archive.store, expect=0)
    push(bs, partial, archive.store, expect=0)
    flip_bit(partial, 9000)
    push(bs, partial, archive.store, expect=0)
    ends = [name for name in os.listdir(archive.wal) if ".partial-" in name]
    assert len(ends) == 2 and all(name.endswith(".zst") for name in ends)
    # Recovery follows the new timeline to its end.
    again = recover()
    assert not again.has_ended, again.text
    assert again.value("SELECT count(*) FROM t") == archive.rows + 1


# --- the disk, and sudden ends --------------------------------------------------------------------------


def test_full_disk(bs, archive, work):
    if os.geteuid() != 0:
        pytest.skip("mounts")
    path = os.path.join(work, archive.last)
    plain(archive, archive.last, work)
    full = os.path.join(work, "full")
    os.mkdir(full)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", full], check=True)
    try:
        push(bs, path, full, expect=0)
        os.unlink(os.path.join(full, SOURCE, "wal", archive.last + ".zst"))
        with contextlib.suppress(OSError), open(os.path.join(full, "ballast"), "wb", 0) as file:
            while True:
                file.write(b"x" * 4096)
        result = push(bs, path, full)
        assert 1 <= result.code <= 125, result
        assert os.listdir(os.path.join(full, SOURCE, "wal")) == []
        os.unlink(os.path.join(full, "ballast"))
        push(bs, path, full, expect=0)
    finally:
        subprocess.run(["umount", full], check=True)


def test_killed_push_leaves_nothing_under_the_name(bs, archive, work):
    path = plain(archive, archive.last, work)
    target = os.path.join(archive.wal, archive.last + ".zst")
    os.unlink(target)
    # Slow, so that the kill falls in the middle: every fsync waits.
    running = bs.start("archive-push", path, "--store", archive.store, "--source", SOURCE,
                       prefix=("strace", "-f", "-qq", "-o", os.path.join(work, "trace"),
                               "-e", "inject=fsync:delay_enter=3000000", "-e", "trace=fsync"))
    deadline = time.monotonic() + 20
    while not any(name.startswith(".tmp-") for name in os.listdir(archive.wal)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for pid in children(running.pid):
        os.kill(pid, signal.SIGKILL)
    running.process.wait(20)
    assert not os.path.exists(target)
    push(bs, path, archive.store, expect=0)
    assert os.path.exists(target)


# --- the helper ----------------------------------------------------------------------------------------


def helpers(runtime):
    found = []
    for entry in os.listdir(runtime) if os.path.isdir(runtime) else []:
        if entry.endswith(".lock"):
            with open(os.path.join(runtime, entry), encoding="utf-8") as file:
                pid = re.search(r"\d+", file.read())
            if pid and is_alive(int(pid[0])):
                found.append(int(pid[0]))
    return found


def test_helper_delivers_what_comes_next_and_ends_with_the_store(bs, archive, work):
    data = os.path.join(work, "data")
    runtime = os.path.join(work, "run")
    os.makedirs(os.path.join(data, "pg_wal"))
    os.mkdir(runtime, 0o700)
    env = {"XDG_RUNTIME_DIR": runtime}
    number = number_of(archive.first)
    expected = [name_of(number + step) for step in range(6)]
    target = os.path.join(data, "pg_wal", "RECOVERYXLOG")
    pids = []
    try:
        for name in expected:
            get(bs, archive, name, "pg_wal/RECOVERYXLOG", expect=0, cwd=data, env=env)
            with open(target, "rb") as a, open(plain(archive, name, work), "rb") as b:
                assert a.read() == b.read(), name
            os.unlink(target)
        deadline = time.monotonic() + 10
        while not helpers(os.path.join(runtime, "blackstart")):
            assert time.monotonic() < deadline, "no helper was left behind"
            time.sleep(0.02)
        pids = helpers(os.path.join(runtime, "blackstart"))
        assert len(pids) == 1
        result = get(bs, archive, expected[1], "pg_wal/RECOVERYXLOG", "-v", expect=0, cwd=data,
                     env=env)
        assert "helper: it had" in result.err
        # What it has made ready does not outlive the store, nor hide that a segment has gone.
        os.rename(archive.wal, archive.wal + "-gone")
        assert get(bs, archive, expected[0], "pg_wal/RECOVERYXLOG", cwd=data, env=env).code == 255
        deadline = time.monotonic() + 10
        while any(is_alive(pid) for pid in pids):
            assert time.monotonic() < deadline, "the helper outlives its store"
            time.sleep(0.05)
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def recovering(archive, work):
    """What a server in recovery has, and its helper: call it for the next segments."""
    class Recovering:
        def __init__(self):
            self.data, self.runtime = os.path.join(work, "data"), os.path.join(work, "run")
            self.folder = os.path.join(self.data, "pg_wal")
            self.target = os.path.join(self.folder, "RECOVERYXLOG")
            os.makedirs(self.folder)
            os.mkdir(self.runtime, 0o700)
            self.archive = archive
            self.number = number_of(archive.first)

        def next(self, bs):
            name = name_of(self.number)
            self.number += 1
            get(bs, archive, name, "pg_wal/RECOVERYXLOG", expect=0, cwd=self.data,
                env={"XDG_RUNTIME_DIR": self.runtime})
            assert os.listdir(self.folder) == ["RECOVERYXLOG"]
            with open(self.target, "rb") as a, open(plain(archive, name, work), "rb") as b:
                assert a.read() == b.read(), name
            return os.stat(self.target)

        def helper(self):
            """Its process, when it listens."""
            folder = os.path.join(self.runtime, "blackstart")
            wait_for(lambda: helpers(folder) and self.sockets(), 10, lambda: "a helper")
            return helpers(folder)[0]

        def sockets(self):
            folder = os.path.join(self.runtime, "blackstart")
            return [os.path.join(folder, name) for name in os.listdir(folder)
                    if not name.endswith(".lock")]

        def spares(self):
            """Inode and size of each file without a name that the helper has in pg_wal."""
            found = {}
            for fd in os.scandir(f"/proc/{self.helper()}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    if os.readlink(fd.path).startswith(os.path.realpath(self.folder) + "/#"):
                        st = os.stat(fd.path)
                        found[st.st_ino] = st.st_size
            return found

    plant = Recovering()
    yield plant
    for pid in helpers(os.path.join(plant.runtime, "blackstart")):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_helper_makes_ready_where_it_is_wanted(bs, recovering):
    """The server's own file system gets the segment once: what was made ready there needs no copy,
    and nothing of it is left when all are killed."""
    try:
        os.close(os.open(os.path.dirname(recovering.folder), os.O_TMPFILE | os.O_RDWR))
    except OSError:
        pytest.skip("a file system without O_TMPFILE")
    recovering.next(bs)
    recovering.helper()
    for _ in range(2):
        recovering.next(bs)
    made = set()
    for _ in range(5):
        wait_for(lambda: SEGMENT_BYTES in recovering.spares().values() or made, 10,
                 lambda: "something that is made ready")
        made |= set(recovering.spares())
        st = recovering.next(bs)
        assert st.st_nlink == 1 and st.st_mode & 0o777 == 0o600
        if st.st_ino in made:
            break
    assert st.st_ino in made, "what was made ready was copied"
    # Four made ready and as many empty ones; more than that is closed.
    wait_for(lambda: len(recovering.spares()) <= 8, 10, lambda: f"fewer than {recovering.spares()}")
    os.kill(recovering.helper(), signal.SIGKILL)
    assert os.listdir(recovering.folder) == ["RECOVERYXLOG"]


def test_helper_leaves_a_full_disk_to_the_server(bs, recovering):
    if os.geteuid() != 0:
        pytest.skip("mounts")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SEGMENT_BYTES * 3},mode=0700", "tmpfs",
                    recovering.folder], check=True)
    try:
        for _ in range(6):
            recovering.next(bs)
            recovering.helper()
        assert not any(recovering.spares().values())
    finally:
        os.kill(recovering.helper(), signal.SIGKILL)
        subprocess.run(["umount", "-l", recovering.folder], check=True)


@pytest.mark.parametrize("kind", ["read only", "not empty", "a pipe", "three", "none"])
def test_helper_with_spares_that_will_not_do(bs, recovering, work, kind):
    """The first is asked for a name that is not ready, so that it is the spare that is tried."""
    recovering.next(bs)
    recovering.helper()
    path = os.path.join(work, "spare")
    with open(path, "wb") as file:
        file.write(b"mine" if kind == "not empty" else b"")
    reads, writes = os.pipe()
    spares = {"read only": [os.open(path, os.O_RDONLY)], "not empty": [os.open(path, os.O_RDWR)],
              "a pipe": [writes], "three": [os.open(path, os.O_RDWR) for _ in range(3)],
              "none": []}[kind]
    name = name_of(recovering.number + 6)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(recovering.sockets()[0])
        socket.send_fds(client, [name.encode() + b"\n"], spares)
        answer, got, _, _ = socket.recv_fds(client, 100, 2)
        assert answer == b"D" and len(got) == 1, answer
        with open(got[0], "rb") as a, open(plain(recovering.archive, name, work), "rb") as b:
            a.seek(0)
            assert a.read() == b.read()
    if kind == "not empty":
        with open(path, "rb") as file:
            assert file.read() == b"mine"
    for fd in {reads, writes, *spares}:
        os.close(fd)
    recovering.next(bs)


def test_killed_helper_is_no_loss(bs, archive, work):
    data = os.path.join(work, "data")
    runtime = os.path.join(work, "run")
    os.makedirs(os.path.join(data, "pg_wal"))
    os.mkdir(runtime, 0o700)
    env = {"XDG_RUNTIME_DIR": runtime}
    number = number_of(archive.first)
    for step in range(4):
        get(bs, archive, name_of(number + step), "pg_wal/RECOVERYXLOG", expect=0, cwd=data, env=env)
        for pid in helpers(os.path.join(runtime, "blackstart")):
            os.kill(pid, signal.SIGKILL)


def test_helper_answers_nobody_else(bs, archive, work):
    if os.geteuid() != 0:
        pytest.skip("needs a second user")
    data, runtime = os.path.join(work, "data"), os.path.join(work, "run")
    os.makedirs(os.path.join(data, "pg_wal"))
    os.mkdir(runtime, 0o700)
    get(bs, archive, archive.first, "pg_wal/RECOVERYXLOG", expect=0, cwd=data,
        env={"XDG_RUNTIME_DIR": runtime})
    folder = os.path.join(runtime, "blackstart")
    assert os.stat(folder).st_mode & 0o777 == 0o700
    deadline = time.monotonic() + 10
    while not [name for name in os.listdir(folder) if not name.endswith(".lock")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    path = os.path.join(folder, [n for n in os.listdir(folder) if not n.endswith(".lock")][0])
    out = os.path.join(work, "o")
    os.mkdir(out, 0o777)
    os.chmod(out, 0o777)
    ask = ("archive-get", archive.first, os.path.join(out, "x"), "--feed", path)
    assert bs.run(*ask, user="postgres").code == 255
    # Even where it can be reached, it looks who asks.
    os.chmod(runtime, 0o755)
    os.chmod(folder, 0o755)
    result = bs.run(*ask, user="postgres", expect=255)
    assert "may not ask" in result.err
    assert bs.run(*ask, expect=0).code == 0
