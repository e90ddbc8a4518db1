"""The receiver: what the server was told of is on our disk, whatever happens in between."""
import contextlib
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from program import children
from receiver import JOB, assert_same_wal, events, number, poll, write


def make_standby(make, primary, settings=None):
    standby = make(settings, like=primary)
    poll(lambda: standby.value("SELECT pg_is_in_recovery()"))
    return standby


def wait_replayed(primary, standby):
    lsn = primary.value("SELECT pg_current_wal_flush_lsn()")
    poll(lambda: standby.value(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'"))


def promote(standby):
    standby.sql("SELECT pg_promote()")
    poll(lambda: not standby.value("SELECT pg_is_in_recovery()"))
    return standby.value("SELECT timeline_id FROM pg_control_checkpoint()")


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


def test_killed_and_gone_on(receive, small):
    """What was acknowledged stays, and the stream has no hole where the receiver died."""
    server = small()
    receiver = receive(server)
    for _ in range(3):
        write(server, 3000)
        lsn = receiver.wait_all()
        before = receiver.tails()
        receiver.kill()
        write(server, 500)
        receiver.start()
        for name, data in before.items():
            used = data.rstrip(b"\0")
            try:
                assert receiver.read(name)[:len(used)] == used
            except FileNotFoundError:
                # Finished in the meantime: it goes on under its own name, or compressed.
                assert name[:24] in {other[:24] for other in receiver.names()}
    lsn = receiver.wait_all()
    assert_same_wal(receiver, server, lsn)
    receiver.stop()


def without_headers(segment):
    """What the pages hold: a record may go on in the next one, behind its header."""
    return segment[40:8192] + b"".join(segment[at + 24:at + 8192]
                                       for at in range(8192, len(segment), 8192))


def test_a_commit_waits_for_us_and_survives_the_server(receive, small):
    """synchronous_commit: what COMMIT returned for is in our tail, although we died as well."""
    server = small({"synchronous_standby_names": "blackstart"})
    receiver = receive(server, heartbeat="1s")
    server.sql("CREATE TABLE acked (v text)")
    marks = [f"row-{i}-{os.urandom(8).hex()}" for i in range(50)]
    with contextlib.closing(server.connect()) as conn, conn.cursor() as cursor:
        for mark in marks:
            cursor.execute("INSERT INTO acked VALUES (%s)", (mark,))
        assert conn.notices == []
    receiver.kill()
    server.kill()
    wal = b"".join(without_headers(receiver.read(name)) for name in receiver.names("*.partial"))
    assert all(mark.encode() in wal for mark in marks)
    # Without a receiver a commit does not return.
    server.start()
    with contextlib.closing(server.connect()) as conn, conn.cursor() as cursor:
        cursor.execute("SET statement_timeout = '300ms'")
        pid = conn.get_backend_pid()
        thread = threading.Thread(target=lambda: cursor.execute("INSERT INTO acked VALUES ('x')"))
        thread.start()
        poll(lambda: server.value("SELECT wait_event FROM pg_stat_activity "
                                  f"WHERE pid = {pid}") == "SyncRep")
        receiver.start()
        thread.join(20)
        assert not thread.is_alive()
    receiver.stop()


def test_the_server_is_restarted(receive, small):
    server = small()
    receiver = receive(server, heartbeat="1s", databases=["postgres"])
    write(server)
    receiver.wait_all()
    # The heartbeat is a commit of its own, and no session that a smart shutdown would wait for.
    query = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    quiet = server.value(query)
    poll(lambda: server.value(query) > quiet)
    began = time.monotonic()
    server.stop(signal.SIGTERM)
    assert time.monotonic() - began < 15, "the receiver holds up a shutdown"
    receiver.wait_said("was shut down; trying again")
    server.start()
    write(server)
    lsn = receiver.wait_all()
    assert_same_wal(receiver, server, lsn)
    server.kill()
    receiver.wait_said("connection")
    server.start()
    write(server)
    assert_same_wal(receiver, server, receiver.wait_all())
    receiver.stop()


def test_a_standby_is_promoted_under_the_receiver(receive, small):
    """Streaming from a standby that becomes the primary: the history comes first, no byte lacks."""
    primary = small()
    standby = make_standby(small, primary)
    receiver = receive(standby)
    write(primary)
    wait_replayed(primary, standby)
    primary.stop()
    promote(standby)
    write(standby)
    lsn = receiver.wait_all()
    assert "00000002.history" in receiver.names()
    with open(os.path.join(standby.data, "pg_wal/00000002.history"), "rb") as file:
        assert receiver.read("00000002.history") == file.read()
    assert any(name.startswith("00000002") for name in receiver.names("*.partial"))
    assert_same_wal(receiver, standby, lsn)
    assert receiver.names("*.diverged*") == []
    receiver.stop()


def test_failover_to_a_standby_that_lagged(receive, small, configure, work):
    """Our longer tail stays the end of its timeline, what nobody else has is counted, and the new
    timeline is followed."""
    primary = small()
    standby = make_standby(small, primary)
    receiver = receive(primary)
    write(primary)
    wait_replayed(primary, standby)
    standby.stop()
    write(primary, 50)
    ours = receiver.wait_all()
    primary.stop(signal.SIGQUIT)
    tail = receiver.names("*.partial")[-1]
    kept = receiver.read(tail)
    standby.settings["primary_conninfo"] = ""
    standby.start()
    promote(standby)
    receiver.kill()
    configure(server=standby, databases=["postgres"],
              jobs={"pg-wal": JOB.format(more="", heartbeat="off")})
    receiver.server = standby
    receiver.start()
    write(standby)
    lsn = receiver.wait_all()
    assert_same_wal(receiver, standby, lsn, "00000002*.partial")
    assert receiver.names("*.diverged-*") == []
    if tail in receiver.names():
        assert receiver.read(tail) == kept
    else:
        path = os.path.join(receiver.folder, tail.replace(".partial", ".zst"))
        assert subprocess.run(["zstd", "-dqc", path], check=True, capture_output=True).stdout == kept
    event = [event for event in events(work) if event["kind"] == "diverged"]
    assert len(event) == 1 and "bytes of it behind that" in event[0]["text"], event
    fork = re.search(r"left timeline 1 at ([0-9A-F/]+)", event[0]["text"]).group(1)
    assert number(fork) < number(ours)
    receiver.stop()


def test_the_slot_is_dropped_and_the_wal_removed(receive, small, work):
    """A gap with a name; receiving goes on behind it."""
    server = small({"wal_keep_size": "0", "min_wal_size": "2MB", "max_wal_size": "2MB"})
    receiver = receive(server)
    write(server)
    before = receiver.wait_all()
    receiver.stop()
    server.sql("SELECT pg_drop_replication_slot('blackstart')")
    for _ in range(4):
        write(server, 3000)
        server.sql("SELECT pg_switch_wal(); CHECKPOINT")
    receiver.start()
    write(server)
    lsn = receiver.wait_all()
    assert_same_wal(receiver, server, lsn)
    gaps = [event for event in events(work) if event["kind"] == "gap"]
    assert len(gaps) == 1 and "make a base backup" in gaps[0]["text"], events(work)
    assert before in receiver.said() or "is lost" in receiver.said()
    receiver.kill()
    receiver.start()
    receiver.wait_all()
    assert len([event for event in events(work) if event["kind"] == "gap"]) == 1
    receiver.stop()


def test_another_system_is_refused(receive, small, new_server, configure, work):
    server = small()
    receiver = receive(server)
    write(server)
    receiver.wait_all()
    receiver.stop()
    other = new_server(is_other=True)
    configure(server=other, databases=["postgres"],
              jobs={"pg-wal": JOB.format(more="", heartbeat="off")})
    result = receiver.bs.run("run", "pg-wal", "-c", receiver.path, expect=5)
    assert "another system" in result.err and other.identity in result.err, result
    assert "source adopt" in result.err


def test_one_receiver_for_each_source(receive, small, work):
    server = small()
    receiver = receive(server)
    result = receiver.bs.run("run", "pg-wal", "-c", receiver.path, expect=4)
    assert "running already" in result.err, result
    # Another machine knows nothing of our jobs, but has the same store.
    with open(receiver.path, encoding="utf-8") as file:
        text = file.read()
    other = os.path.join(work, "other.yaml")
    with open(other, "w", encoding="utf-8") as file:
        file.write(text.replace("state-c", "state-d"))
    result = receiver.bs.run("run", "pg-wal", "-c", other, expect=4)
    assert "received into" in result.err and "process" in result.err, result
    receiver.wait_all()
    receiver.stop()


def test_the_server_lost_what_it_had_sent(receive, small, work):
    """A server set back to an older state of the same timeline: what we hold is kept."""
    server = small()
    server.stop()
    old = server.data + "-old"
    subprocess.run(["cp", "-a", server.data, old], check=True)
    server.start()
    receiver = receive(server)
    write(server, 100)
    receiver.wait_all()
    receiver.stop()
    kept = {name: receiver.read(name).rstrip(b"\0") for name in receiver.names("*.partial")}
    server.stop(signal.SIGQUIT)
    subprocess.run(["rm", "-rf", server.data], check=True)
    subprocess.run(["mv", old, server.data], check=True)
    server.start()
    server.sql("CREATE TABLE other (v text); "
               "INSERT INTO other SELECT repeat('z', 500) FROM generate_series(1, 400)")
    receiver.start(wait=False)
    receiver.wait_said("differs at offset")
    poll(lambda: receiver.names("*.diverged-*"))
    receiver.wait_all()
    aside = receiver.names("*.diverged-*")
    assert receiver.read(aside[0]).rstrip(b"\0") in kept.values()
    assert [event["kind"] for event in events(work)].count("diverged") == len(aside)
    receiver.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_and_one_that_is_gone(receive, small, work):
    """The run goes on trying and says why; nothing acknowledged is lost."""
    server = small()
    mount = os.path.join(work, "mnt")
    os.mkdir(mount)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", mount], check=True)
    try:
        receiver = receive(server, store_path=os.path.join(mount, "s"), start=False)
        receiver.folder = os.path.join(mount, "s/postgresql/wal")
        receiver.start()
        write(server)
        receiver.wait_all()
        ballast = os.path.join(mount, "ballast")
        with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        write(server, 6000)
        receiver.wait_said("No space left")
        told = receiver.flushed()
        assert receiver.names(".tmp-*") == []
        os.unlink(ballast)
        receiver.wait_all()
        assert number(receiver.flushed()) > number(told)
        # The disk goes away, which is seen when there is something to write, and comes back.
        os.rename(os.path.join(mount, "s"), os.path.join(mount, "t"))
        poll(lambda: write(server, 10) or
             re.search("is gone|cannot open the folder", receiver.said()), note=receiver.said)
        assert os.listdir(mount) == ["t"], "nothing is put where the store was"
        told = receiver.flushed()
        os.rename(os.path.join(mount, "t"), os.path.join(mount, "s"))
        assert_same_wal(receiver, server, receiver.wait_all())
        assert number(receiver.flushed()) > number(told)
        receiver.stop()
    finally:
        receiver.bs.end_all()
        subprocess.run(["umount", "-l", mount], check=True)


def segments(receiver):
    """The whole pieces, expanded by zstd itself: bytes by name."""
    found = {}
    for name in receiver.names("*.zst"):
        found[name[:24]] = subprocess.run(["zstd", "-dcq", os.path.join(receiver.folder, name)],
                                          check=True, capture_output=True).stdout
    return found


def test_finished_segments_are_the_servers_own(receive, small):
    """Compressed and checked beside the receiver; nothing is left but the newest tail."""
    server = small({"wal_keep_size": "100MB"})
    receiver = receive(server)
    for _ in range(4):
        write(server, 3000)
    server.sql("SELECT pg_switch_wal()")
    write(server, 10)
    receiver.wait_all()
    poll(lambda: len(receiver.names("*.partial")) == 1)
    whole = segments(receiver)
    assert len(whole) >= 4
    for name, data in whole.items():
        with open(os.path.join(server.data, "pg_wal", name), "rb") as file:
            assert file.read() == data, name
    receiver.stop()
    # A killed one leaves tails behind; the job without a connection puts them in order too.
    receiver.start()
    server.sql("SELECT pg_switch_wal()")
    write(server, 10)
    receiver.wait_all()
    receiver.kill()
    with open(receiver.path, encoding="utf-8") as file:
        text = file.read()
    with open(receiver.path, "w", encoding="utf-8") as file:
        file.write(text.replace(", continuous: true, heartbeat: off", ""))
    result = receiver.bs.ok("run", "pg-wal", "-c", receiver.path)
    assert "done:" in result.out and len(receiver.names("*.partial")) == 1, result
    assert receiver.bs.json("status", "-c", receiver.path, expect=(0, 3))


@pytest.mark.parametrize("refused", [False, True], ids=["reserved", "written"])
def test_far_behind_it_makes_much_durable_at_once(receive, small, work, refused):
    """And finished segments need no zeros first, where the file system can reserve them."""
    server = small()
    receiver = receive(server)
    receiver.wait_all()
    receiver.stop()
    for _ in range(4):
        write(server, 60_000)
        server.value("SELECT pg_switch_wal()")
    calls = os.path.join(work, "calls")
    inject = ["-e", "inject=fallocate:error=EOPNOTSUPP"] if refused else []
    began = time.monotonic()
    receiver.start(prefix=["strace", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,fallocate",
                           "-o", calls, *inject])
    lsn = receiver.wait_all(seconds=60)
    took_s = time.monotonic() - began
    with open(calls, encoding="utf-8", errors="replace") as file:
        text = file.read()
    lines = [line for line in text.splitlines() if ".partial" in line]
    reserved = [line for line in lines if "fallocate(" in line]
    assert reserved and ("EOPNOTSUPP" in text) == refused, text
    synced = [line for line in lines if "sync(" in line]
    # One for its making, one for all of it and one each half a second; in batches of 4 MiB there
    # would be three more of each.
    assert len(reserved) >= 3, lines
    assert len(synced) <= 3 * len(reserved) + 3 + 2 * took_s, (took_s, synced)
    assert_same_wal(receiver, server, lsn)
    for pid in children(receiver.running.pid):
        os.kill(pid, signal.SIGTERM)
    assert receiver.running.wait(20).code == 0
