"""The archive of the write-ahead log: what a server's own `cp` put there and what the receiver left,
settled, checked and indexed; the index made again; retention."""
import glob
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from archived import DAMAGED, SEGMENT, SOUND, ArchivingServer
from postgres import ROOT
from program import BINARY


@pytest.fixture(scope="module")
def log(base_folder):
    server = ArchivingServer(os.path.join(base_folder, "wal-server"))
    server.sql("CREATE TABLE t (id int, v text)")
    for n in range(3):
        server.sql(f"INSERT INTO t VALUES ({n}, 'x')")
        server.sql("SELECT pg_logical_emit_message(true, 'pad', repeat('x', 700000))")
    server.sql("SELECT pg_create_restore_point('before the flood')")
    server.sql("SELECT pg_logical_emit_message(true, 'big', repeat('y', 2500000))")
    server.sql("INSERT INTO t VALUES (9, 'x')")
    made = server.finish()
    assert len(made.names) >= 6
    yield made
    server.destroy()


def plain_of(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dc", path], check=True, capture_output=True).stdout
    with open(path, "rb") as file:
        return file.read()


def test_the_users_own_files_are_adopted_and_read(log, wal):
    wal.take(log)
    said = wal.settle()
    assert said["adopted"] == said["checked"] == len(log.names)
    assert wal.files() == log.names
    assert set(wal.states()) == {SOUND}
    assert [name for *_, name in wal.marks()] == ["before the flood"]
    # Every commit counts once, where its record ends, and the big record's middle has none.
    rows = wal.rows("end_position, commits")
    assert sum(commits for _, commits in rows) >= 8
    assert any(end == 0 and commits == 0 for end, commits in rows)
    again = wal.settle()
    assert (again["adopted"], again["checked"], again["damaged"]) == (0, 0, 0)


def test_finished_tails_become_segments(log, wal):
    wal.take(log, form=".partial")
    said = wal.settle()
    assert said["settled"] == len(log.names) - 1
    # The newest one may still grow.
    assert wal.files() == [n + ".zst" for n in log.names[:-1]] + [log.names[-1] + ".partial"]
    assert wal.states() == [SOUND] * (len(log.names) - 1)
    for index, name in enumerate(log.names[:-1]):
        path = os.path.join(wal.path, name + ".zst")
        subprocess.run(["zstd", "-t", "-q", path], check=True)
        assert plain_of(path) == plain_of(log.path(index))


def test_the_same_index_whether_raw_or_compressed_and_after_a_rebuild(log, wal, bs):
    facts = "number, end_position, commits, first_time, last_time"
    wal.take(log)
    wal.settle()
    raw, raw_marks = wal.rows(facts), wal.marks()
    shutil.rmtree(wal.path)
    os.mkdir(wal.path)
    wal.take(log, form=".partial")
    wal.take(log, -1, form="")
    wal.settle()
    assert wal.rows(facts) == raw and wal.marks() == raw_marks
    before = wal.rows()
    said = bs.json("catalog", "rebuild", "--store", wal.store)
    assert said["log_segments"] == len(log.names)
    assert wal.rows() == before and wal.marks() == raw_marks
    # Of ours only the notes were read: the rebuild does not see what is wrong in the frames.
    first = os.path.join(wal.path, log.names[0] + ".zst")
    wal.change(log.names[0] + ".zst", os.path.getsize(first) // 2, b"\xff\x00\xff\x00")
    bs.ok("catalog", "rebuild", "--store", wal.store)
    assert wal.rows() == before


def test_a_timeline_that_was_left_is_finished_by_its_childs_history(log, wal):
    """Its last tail is whole only where the child has left it behind its end."""
    wal.take(log, 0, form=".partial")
    segment = int(log.names[0][16:], 16)
    history = os.path.join(wal.path, "00000002.history")
    with open(history, "w", encoding="ascii") as file:
        file.write(f"1\t0/{segment * SEGMENT + 0x800:X}\tno recovery target specified\n")
    assert wal.settle()["settled"] == 0
    with open(history, "w", encoding="ascii") as file:
        file.write(f"1\t0/{(segment + 1) * SEGMENT:X}\tno recovery target specified\n")
    assert wal.settle()["settled"] == 1
    with open(history, "w", encoding="ascii") as file:
        file.write("what is this\n")
    assert any("00000002.history" in text for text in wal.settle(expect=3)["warnings"])


def damage_flip(wal, name):
    wal.change(name, 300000, b"\xff\x00\xff\x00\x55")


def damage_cut(wal, name):
    path = os.path.join(wal.path, name)
    os.truncate(path, 400000)
    os.utime(path, (time.time() - 3600,) * 2)


def damage_zeros(wal, name):
    wal.change(name, 0, bytes(SEGMENT))


def damage_foreign(wal, name):
    wal.change(name, 24, (4711).to_bytes(8, "little"))


def damage_misnamed(wal, name):
    other = next(n for n in wal.files() if n != name)
    shutil.copyfile(os.path.join(wal.path, other), os.path.join(wal.path, name))


def damage_swapped(wal, name):
    """With the one behind it: each under the other's name."""
    path = os.path.join(wal.path, name)
    other = os.path.join(wal.path, wal.files()[wal.files().index(name) + 1])
    os.rename(path, path + ".aside")
    os.rename(other, path)
    os.rename(path + ".aside", other)


@pytest.mark.parametrize("damage, says", [
    (damage_flip, "is damaged at"),
    (damage_cut, "400000 of 1048576 bytes"),
    (damage_zeros, "begins with zeros"),
    (damage_foreign, "of another system, 4711 and not"),
    (damage_misnamed, "another place in the log"),
    (damage_swapped, "another place in the log"),
])
def test_what_is_damaged_is_named_and_never_removed(log, wal, damage, says):
    wal.take(log)
    damage(wal, log.names[1])
    said = wal.settle(expect=6)
    assert any(says in text and log.names[1] in text for text in said["warnings"]), said
    assert wal.states()[1] == DAMAGED
    assert wal.states()[3:] == [SOUND] * (len(log.names) - 3)
    assert wal.files() == log.names
    again = wal.settle(expect=6)
    assert again["checked"] == 0 and again["damaged"] == said["damaged"]
    # Put right, it is looked at again.
    wal.take(log, 1)
    if damage is damage_swapped:
        wal.take(log, 2)
    if damage is damage_flip:
        os.utime(os.path.join(wal.path, log.names[2]))
    assert wal.settle()["damaged"] == 0
    assert set(wal.states()) == {SOUND}


def test_a_file_that_is_still_being_copied_is_waited_for(log, wal):
    wal.take(log, 0)
    wal.take(log, 1, old=False)
    os.truncate(os.path.join(wal.path, log.names[1]), 5000)
    said = wal.settle()
    assert (said["left"], said["damaged"], said["checked"]) == (1, 0, 1)
    wal.take(log, 1, old=False)
    assert wal.settle()["checked"] == 1


def test_a_damaged_tail_stays_and_is_not_compressed(log, wal):
    wal.take(log, form=".partial")
    wal.change(log.names[2] + ".partial", 5000, b"\xff" * 8)
    wal.settle(expect=6)
    assert log.names[2] + ".partial" in wal.files()
    assert log.names[2] + ".zst" not in wal.files()
    assert wal.states()[2] == DAMAGED
    assert wal.settle(expect=6)["checked"] == 0


def test_a_tail_beside_its_segment(log, wal):
    """The same or less of the same goes; something else stays as evidence, said once."""
    wal.take(log, form=".partial")
    wal.settle()
    wal.take(log, 0, 1, 2, form=".partial")
    wal.change(log.names[1] + ".partial", 500000, bytes(SEGMENT - 500000))
    wal.change(log.names[2] + ".partial", 500000, b"other")
    said = wal.settle(expect=6)
    assert any("hold different WAL" in text for text in said["warnings"])
    left = [name for name in wal.files() if ".partial" in name]
    assert [name[:24] for name in left] == [log.names[2], log.names[-1]]
    assert ".partial.diverged-" in left[0]
    assert b"other" in plain_of(os.path.join(wal.path, left[0]))
    assert len(wal.events()) == 1
    wal.settle()
    assert len(wal.events()) == 1


def test_the_users_copy_beside_ours(log, wal):
    wal.take(log, form=".partial")
    wal.take(log, 0, 1)
    wal.change(log.names[1], 500000, b"other")
    said = wal.settle(expect=6)
    assert any("two servers" in text for text in said["warnings"])
    assert log.names[0] in wal.files() and log.names[1] in wal.files()
    assert len(wal.events()) == 1


def test_a_segment_that_comes_late(log, wal):
    """The record that crosses out of it is counted then, where it ends."""
    wal.take(log)
    wal.settle()
    whole = wal.rows("number, end_position, commits")
    os.unlink(os.path.join(wal.path, log.names[1]))
    wal.settle()
    assert len(wal.rows()) == len(log.names) - 1
    wal.take(log, 1)
    said = wal.settle()
    assert said["adopted"] == 1
    assert wal.rows("number, end_position, commits") == whole


def test_settle_follows_lines_and_ends_when_told(log, wal, bs):
    wal.take(log, 0, 1, form=".partial")
    bs.ok("settle", "postgresql", "--store", wal.store)
    process = subprocess.Popen([BINARY, "settle", "postgresql", "--store", wal.store, "--follow"],
                               stdin=subprocess.PIPE, env=bs.env, stderr=subprocess.DEVNULL)
    try:
        wal.take(log, 2, form=".partial")
        process.stdin.write(b"x\n")
        process.stdin.flush()
        deadline = time.monotonic() + 20
        while log.names[1] + ".partial" in wal.files():
            assert time.monotonic() < deadline, wal.files()
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.wait()
    assert wal.files()[1] == log.names[1] + ".zst"


def test_settle_ends_with_its_input(log, wal, bs):
    wal.take(log, form=".partial")
    bs.ok("settle", "postgresql", "--store", wal.store, "--follow")
    assert wal.files()[-1].endswith(".partial")
    assert len(wal.files()) == len(log.names)


def test_killed_anywhere_it_loses_nothing(log, wal, bs):
    wal.take(log, form=".partial")
    delay = 0.004
    while sum(name.endswith(".zst") for name in wal.files()) < len(log.names) - 1:
        running = bs.start("settle", "postgresql", "--store", wal.store)
        time.sleep(delay)
        running.kill()
        delay += 0.004
        for index, name in enumerate(log.names):
            whole = [n for n in wal.files() if n.startswith(name)]
            assert whole, (name, wal.files())
            for file in whole:
                assert plain_of(os.path.join(wal.path, file)) == plain_of(log.path(index))
    wal.settle()
    assert wal.states() == [SOUND] * (len(log.names) - 1)


def test_the_log_is_no_backup_and_no_command_reads_it(log, wal, bs):
    wal.take(log)
    wal.settle()
    trace = os.path.join(wal.bs.work, "trace")
    if shutil.which("strace") is None:
        pytest.skip("strace is not there")
    for verb in ("list", "status"):
        subprocess.run(["strace", "-f", "-e", "trace=openat", "-o", trace, BINARY, verb, "--store",
                        wal.store], env=bs.env, check=False, capture_output=True)
        with open(trace, encoding="utf-8", errors="replace") as file:
            assert "/wal" not in file.read()


# --- what the index does not know ----------------------------------------------

def test_as_many_new_segments_as_removed_do_not_hide_the_hole(bs, base_store):
    """Among very many, where nobody would look at each: the names decide, not how many they are."""
    sys.path.append(os.path.join(ROOT, "bench"))
    import segments  # pylint: disable=import-outside-toplevel

    count = 60000
    state = os.path.join(bs.state, "blackstart")
    segments.fill(str(base_store), state, count,
                  lambda: bs.ok("catalog", "rebuild", "--store", base_store))
    wal = os.path.join(base_store, "postgresql/wal")
    names = sorted(os.listdir(wal))
    hole, last = names[count // 2], names[-1]
    whole = bs.json("window", "postgresql", "--store", base_store)
    assert whole["gaps"] == [], whole

    rotten = names[count // 3][:24]
    store_id = json.loads(open(os.path.join(base_store, ".blackstart/store.json"), "rb").read())["id"]
    with sqlite3.connect(os.path.join(state, store_id, "catalog.db")) as catalog:
        catalog.execute("UPDATE piece SET state = ?, message = 'a bit' WHERE number = ?",
                        (DAMAGED, int(rotten[8:16], 16) * 256 + int(rotten[16:], 16)))
    window = bs.json("window", "postgresql", "--store", base_store, expect=3)
    assert [gap["text"] for gap in window["gaps"]] == [f"segment {rotten}"]
    assert any(f"1 segments are damaged and count as missing, {rotten}: " in text for text in window["warnings"])

    os.rename(os.path.join(wal, hole), os.path.join(wal, last.replace("00000001", "00000007", 1)))
    window = bs.json("window", "postgresql", "--store", base_store, expect=3)
    assert [gap for gap in window["gaps"] if hole[:24] in gap["text"]], window
    refused = bs.run("plan", "restore", "postgresql", "--at", "latest", "--to", bs.work + "/to",
                     "--store", base_store, expect=5)
    assert "does not lead to the end" in refused.err, refused
