"""What can happen to a plant: each function is one kind of bad day, played by the chance of a seed.

A family lets the writers go on between its faults, so that each hits work in progress. `day` is
the round (round.py): its plant, its chance, and what it has to look at in the end.
"""
import os
import shutil
import time

from disk import FOR_EVER
from ledger import check
from plant import copy, poll

SEGMENT = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
CALLS = ["write", "sync", "sync_folder", "name"]


def go_on(day, most=60):
    """Some commits come through, and a moment more."""
    day.plant.wait_acks(day.chance.randint(3, most))
    day.plant.pump(day.chance.uniform(0, 0.08))
    if day.chance.random() < 0.3:
        day.plant.server.admin("SELECT pg_switch_wal()")


# --- single faults ---------------------------------------------------------------

def kill_receiver(day):
    day.note("kill -9 the receiver")
    day.plant.machine.kill()
    time.sleep(day.chance.uniform(0, 0.1))


def kill_primary(day):
    day.note("kill -9 the server")
    day.plant.server.kill()
    day.plant.pump(day.chance.uniform(0, 0.1))
    day.plant.server.start()


def kill_both(day):
    day.note("kill -9 the server and the receiver")
    for kill in day.chance.sample([day.plant.server.kill, day.plant.machine.kill], 2):
        kill()
        time.sleep(day.chance.choice([0, 0.02]))
    day.plant.server.start()


def stop_receiver(day):
    day.note("SIGTERM to the receiver")
    day.plant.machine.stop()


def lose_power(day):
    is_torn = day.chance.random() < 0.4
    day.note("power loss" + (", torn" if is_torn else ""))
    day.plant.machine.lose_power(is_torn, day.chance.randint(1, 1 << 30))


def lose_power_at_a_call(day):
    kind = day.chance.choice(CALLS)
    after = day.chance.randint(1, {"write": 60, "sync": 60}.get(kind, 8))
    is_behind = day.chance.random() < 0.5
    day.note(f"power loss {'behind' if is_behind else 'before'} {kind} number {after}")
    disk = day.plant.machine.disk
    disk.die(kind, after, is_behind)
    if kind in ("name", "sync_folder"):
        day.plant.server.admin("SELECT pg_switch_wal()")
    deadline = time.monotonic() + 1.5
    while not disk.lost_power() and time.monotonic() < deadline:
        if not day.plant.machine.is_up():
            day.plant.keep_alive()
        time.sleep(0.005)
    # Whether the call came or not, the power goes now.
    day.plant.machine.lose_power(False, 0)


def cut(day):
    day.note("cut the wire")
    day.plant.wire.cut()


def cut_mid_message(day):
    day.note("cut the wire in the middle of a message")
    day.plant.wire.cut_mid_message()
    day.plant.pump(0.05)
    day.plant.wire.mend()


def silence(day):
    day.note("silence on the wire")
    day.plant.wire.hold(day.chance.choice([0, 0, 1000, 100000]))
    day.plant.pump(day.chance.uniform(0.05, 0.5))
    if day.chance.random() < 0.3:
        kill_receiver(day)
    day.plant.wire.mend()


def fail_calls(day, kind, error, count):
    after = day.chance.randint(1, 30 if kind in ("write", "sync") else 4)
    day.note(f"{error} on {kind} number {after}, {count} times")
    disk = day.plant.machine.disk
    before = disk.failed(kind)
    disk.fail(kind, error, after, count)
    if kind in ("name", "sync_folder"):
        day.plant.server.admin("SELECT pg_switch_wal()")
    deadline = time.monotonic() + 0.8
    while disk.failed(kind) == before and time.monotonic() < deadline:
        day.plant.pump(0.01)
    day.plant.pump(day.chance.uniform(0, 0.3))
    disk.heal()


def fill_disk(day):
    fail_calls(day, day.chance.choice(["write", "write", "name"]), "ENOSPC",
               day.chance.choice([1, 2, 5, FOR_EVER]))


def fail_write(day):
    fail_calls(day, "write", "EIO", day.chance.choice([1, 3, FOR_EVER]))


def fail_sync(day):
    fail_calls(day, day.chance.choice(["sync", "sync", "sync_folder"]), "EIO",
               day.chance.choice([1, 1, 2]))


def switch_wal(day):
    day.note("pg_switch_wal, checkpoint")
    day.plant.server.admin("SELECT pg_switch_wal()")
    day.plant.server.admin("CHECKPOINT")


def slow_disk(day):
    us = day.chance.choice([5000, 20000, 60000])
    day.note(f"each fsync takes {us // 1000} ms")
    day.plant.machine.disk.delay("sync", us)
    day.plant.pump(day.chance.uniform(0.1, 0.5))


def drop_slot(day):
    """The receiver is away, somebody drops its slot; the log it needs is still there."""
    day.note("the slot is dropped")
    day.plant.machine.kill()
    # The server sees only when it writes that nobody is there any more.
    poll(lambda: day.plant.server.one("SELECT count(*) FROM pg_replication_slots WHERE active") == 0,
         "the slot stays in use")
    day.plant.server.admin("SELECT pg_drop_replication_slot('blackstart')")


# --- families --------------------------------------------------------------------

def some(day, faults, count):
    for _ in range(count):
        go_on(day)
        day.chance.choice(faults)(day)


def processes(day):
    some(day, [kill_receiver, kill_primary, kill_both, stop_receiver], day.chance.randint(2, 4))


def power(day):
    some(day, [lose_power, lose_power_at_a_call, lose_power_at_a_call], day.chance.randint(2, 4))


def network(day):
    some(day, [cut, cut_mid_message, silence, cut_mid_message], day.chance.randint(2, 5))


def full_disk(day):
    some(day, [fill_disk, fill_disk, lose_power], day.chance.randint(2, 3))


def broken_disk(day):
    """A write or an fsync fails; soon behind it the power goes as well."""
    for _ in range(day.chance.randint(1, 3)):
        go_on(day)
        day.chance.choice([fail_sync, fail_sync, fail_write])(day)
        go_on(day, 20)
        if day.chance.random() < 0.6:
            lose_power(day)


def slow(day):
    go_on(day)
    slow_disk(day)
    some(day, [kill_receiver, lose_power, cut, kill_both], day.chance.randint(1, 2))
    slow_disk(day)


def slot(day):
    some(day, [drop_slot, drop_slot, kill_primary, lose_power], day.chance.randint(1, 3))


def mixed(day):
    some(day, [kill_receiver, kill_primary, kill_both, lose_power, lose_power_at_a_call, cut,
               cut_mid_message, silence, fill_disk, fail_write, fail_sync, slow_disk, switch_wal,
               drop_slot], day.chance.randint(3, 5))


# --- another server takes over ----------------------------------------------------

def take_over(day):
    """The standby becomes the server, with the wire and the clients."""
    plant = day.plant
    standby = plant.standby
    standby.one("SELECT pg_promote(true, 60)")
    plant.server, plant.standby = standby, None
    plant.wire.lead_to(standby.port)
    plant.aim()
    poll(lambda: (plant.keep_alive(), plant.server.is_streaming_to_us())[1],
         "the receiver does not follow to the new timeline")


def switchover(day):
    """A clean one: the old server stops when all have what it wrote."""
    go_on(day)
    if day.chance.random() < 0.5:
        day.chance.choice([kill_receiver, cut, switch_wal])(day)
        go_on(day)
    day.note("clean switchover")
    old = day.plant.server
    poll(lambda: day.plant.standby.one("SELECT count(*) FROM pg_stat_wal_receiver") == 1,
         "the standby does not stream")
    poll(lambda: (day.plant.keep_alive(), old.is_streaming_to_us())[1], "we do not stream")
    old.stop()
    shutil.rmtree(old.data)
    take_over(day)
    lost = [line for line in day.plant.ledger.acked() if line.epoch == 1 and
            (line.writer, line.seq) not in day.plant.inherited[2]]
    check(not lost, "harness", f"the standby itself lacks {len(lost)} rows after a clean stop")
    some(day, [kill_receiver, kill_primary, lose_power, cut], day.chance.randint(1, 2))


def failover(day):
    """The server dies under load and the standby, in step or nearly, takes over."""
    go_on(day)
    day.note("failover to a standby in step")
    day.plant.server.burn()
    take_over(day)
    some(day, [kill_receiver, kill_primary, lose_power, cut], day.chance.randint(0, 2))


def lagging(day):
    """The standby fell behind before the server died: acknowledged rows are not on it."""
    go_on(day)
    day.note("failover to a standby that lags")
    poll(lambda: day.plant.standby.one("SELECT count(*) FROM pg_stat_wal_receiver") == 1,
         "the standby does not stream")
    standby = day.plant.standby
    standby.stop()
    for _ in range(day.chance.randint(1, 3)):
        go_on(day)
        if day.chance.random() < 0.5:
            day.plant.server.admin("SELECT pg_switch_wal()")
    day.plant.wait_acks(day.chance.randint(1, 60))
    if day.chance.random() < 0.3:
        kill_receiver(day)
    day.plant.server.burn()
    standby.settings["primary_conninfo"] = ""
    standby.start()
    take_over(day)
    day.wants_old_timeline = True
    some(day, [kill_receiver, kill_primary, lose_power, cut], day.chance.randint(0, 2))


def gap(day):
    """The slot is gone, and the server removed log that was never received: no way around it."""
    go_on(day)
    plant = day.plant
    drop_slot(day)
    for _ in range(3):
        plant.server.admin("SELECT pg_logical_emit_message(false, '', repeat('x', 700000)), "
                           "pg_switch_wal() FROM generate_series(1, 8)")
        plant.server.admin("CHECKPOINT")
        day.gap_us = int(time.time() * 1e6)
        plant.server.one("SELECT pg_current_xact_id()")
    day.note("log that was never received is removed")
    plant.wait_acks(5)
    check("cannot pass this gap" in plant.machine.log_text(), "gap-reported",
          "the receiver did not report the gap")
    day.note("a new base")
    plant.machine.ok("run", "pg-base", may_warn=True, is_shimmed=True)
    day.from_us = int(time.time() * 1e6)
    some(day, [kill_receiver, kill_primary, lose_power, cut], day.chance.randint(0, 2))


def set_back(day):
    """The server comes back from an old copy of its disk, on the same timeline."""
    plant = day.plant
    go_on(day, 20)
    plant.server.admin("SELECT pg_switch_wal()")
    plant.wait_acks(3)
    day.note("the server's disk is copied")
    plant.server.kill()
    snapshot = plant.server.data + ".old"
    copy(plant.server.data, snapshot)
    plant.server.start()
    segment = plant.server.one(SEGMENT)
    plant.wait_acks(day.chance.randint(4, 10))
    if plant.server.one(SEGMENT) != segment:
        day.note("too late for the copy: it is of another segment")
        return
    day.note("the server comes back from the copy")
    plant.server.kill()
    if day.chance.random() < 0.5:
        kill_receiver(day)
    shutil.rmtree(plant.server.data)
    os.rename(snapshot, plant.server.data)
    plant.machine.log_from = os.path.getsize(plant.machine.log)
    os.unlink(plant.target)  # nobody writes before we know what it holds
    plant.server.start()
    plant.aim()
    day.is_set_back = True
    plant.wait_acks(10)
    some(day, [kill_receiver, kill_primary, lose_power, cut], day.chance.randint(0, 2))


# --- aimed at one promise each, and at the mutant that breaks it --------------------

def dark(day):
    """Acknowledged, and the power goes."""
    for _ in range(day.chance.randint(0, 1)):
        go_on(day)
        lose_power(day)
    day.plant.wait_acks(day.chance.randint(10, 60))
    day.end = end_in_strict_dark


def dark_in_a_sync(day):
    """The power goes while an fsync is on its way that nothing may be told of yet."""
    go_on(day)
    day.plant.machine.disk.delay("sync", 150000)
    day.plant.wait_acks(day.chance.randint(2, 6))
    day.note("slow fsync")
    day.end = end_in_strict_dark


def dark_on_a_new_name(day):
    """A segment was begun and acknowledged into, and the power goes before anything else."""
    go_on(day)
    day.plant.machine.freeze_children()
    for _ in range(day.chance.randint(1, 3)):
        day.plant.server.admin("SELECT pg_switch_wal()")
        day.plant.wait_acks(day.chance.randint(3, 10))
    day.note("a new segment")
    day.end = end_in_strict_dark


def resumed(day):
    """The receiver comes back to its tail, and the server dies when it has sent some of it again."""
    go_on(day)
    day.plant.server.admin("SELECT pg_switch_wal()")
    day.plant.server.admin("SELECT pg_logical_emit_message(false, '', repeat('x', 500000))")
    day.plant.wait_acks(day.chance.randint(10, 40))
    day.note("the receiver is killed and comes back to a server that falls silent")
    # One message of the stream has up to 128 KiB; what the tail holds begins behind 500 kB.
    day.plant.wire.hold_when_streaming(day.chance.choice([0, 1000, 150000, 150000, 300000]) + 9)
    kill_receiver(day)
    day.plant.keep_alive()
    poll(lambda: day.plant.wire.is_held, "the receiver does not come back")
    time.sleep(0.1)
    day.end = day.chance.choice([end_together, end_in_strict_dark])


def unreadable(day):
    """Reading the log fails for a while when it is restored."""
    some(day, [kill_receiver, switch_wal], 2)
    day.read_errors = 3


# --- how it ends -------------------------------------------------------------------

def end_together(day):
    day.note("end: server and receiver killed")
    for kill in day.chance.sample([day.plant.server.kill, day.plant.machine.kill], 2):
        kill()


def end_calmly(day):
    day.note("end: server killed, receiver stopped")
    day.plant.server.kill()
    day.plant.machine.stop()


def end_in_the_dark(day):
    is_torn = day.chance.random() < 0.3
    day.note("end: power loss" + (", torn" if is_torn else ""))
    day.plant.machine.disk.cut_power()
    day.plant.server.kill()
    day.plant.machine.lose_power(is_torn, day.chance.randint(1, 1 << 30))


def end_in_strict_dark(day):
    day.note("end: power loss")
    day.plant.machine.disk.cut_power()
    day.plant.server.kill()
    day.plant.machine.lose_power(False, 0)


def end_at_a_call(day):
    day.note("end:")
    lose_power_at_a_call(day)
    day.plant.server.kill()


ENDS = [end_together, end_calmly, end_in_the_dark, end_in_the_dark, end_at_a_call]

FAMILIES = {
    "processes": processes, "power": power, "network": network, "full disk": full_disk,
    "broken disk": broken_disk, "slow disk": slow, "slot": slot, "mixed": mixed,
    "switchover": switchover, "failover": failover, "lagging": lagging, "gap": gap,
    "set back": set_back, "dark": dark,
    "dark in a sync": dark_in_a_sync, "dark on a new name": dark_on_a_new_name,
    "resumed": resumed, "unreadable": unreadable,
}
NEEDS_STANDBY = {"switchover", "failover", "lagging"}
# Which family a seed plays: seed modulo the length.
ORDER = ["processes", "power", "network", "broken disk", "switchover", "full disk", "power",
         "lagging", "slow disk", "mixed", "slot", "failover", "resumed", "dark in a sync", "mixed",
         "dark on a new name", "unreadable", "broken disk", "dark", "gap", "set back", "mixed"]
# Servers that forget their log as soon as they may.
SETTINGS = {"gap": {"wal_keep_size": "0", "max_wal_size": "3MB", "min_wal_size": "2MB"}}
