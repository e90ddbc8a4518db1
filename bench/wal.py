"""The rows about the write-ahead log: a small server of its own, and its log made beforehand.

Groups: walcheck, push, recovery, commit, receive, window. All use the same run of segments, made
once: the first of them by pgbench's transactions, the rest by statements that change many rows.
"""
import glob
import itertools
import math
import os
import shutil
import signal
import subprocess
import time

import segments
from cluster import LOADING, Cluster, give_away
from measure import BenchError, Contestant, Figure, Sample, compete, run_once, say
from report import Row, memory_row, ratio_row, speed_row

GROUPS = ["walcheck", "push", "recovery", "commit", "receive", "window"]
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENTS = 128        # at scale 1
SEGMENTS_MIN = 10
BY_PGBENCH = 17       # of them
PUSHES_MIN = 100
CLIENTS = (1, 16)
COMMIT_ROUNDS = 2     # in each run, in turns: a commit's latency moves by more than it differs
INDEXED = 1_000_000
WORKING = {"autovacuum": "off", "max_wal_size": "4GB", "checkpoint_timeout": "30min"}
OURS, PEER = "blackstart run pg-wal", "pg_receivewal"

CONF = """site: bench
timezone: UTC
state_dir: {state}
store: {{ path: {store} }}
sources:
  postgresql: {{ type: postgres, host: {sockets}, port: 5432, user: postgres }}
jobs:
  pg-base: {{ source: postgresql, do: base, at: "01:00", keep: 7d }}
  pg-wal: {{ source: postgresql, do: wal, continuous: true, slot: ours, standby_name: ours, keep: 7d }}
"""

RECOVERY = """
restore_command = '{command}'
recovery_target_lsn = '{lsn}'
recovery_target_action = 'shutdown'
listen_addresses = ''
unix_socket_directories = '{sockets}'
port = 5433
archive_mode = off
hot_standby = off
shared_buffers = 256MB
"""

INSERT = "INSERT INTO commits (client, at) VALUES (:client_id, now());\n"

NOTES = [
    "The rows about the log use a server of their own with pgbench's tables, and segments of "
    "16 MiB that it wrote before. Both receivers got the same log from a copy of one slot, and "
    "take turns; ours is timed until everything is compressed, checked and indexed as well, and "
    "once more kept to one core by taskset, which its children inherit; the peer may use both.",
    "A commit's latency is what pgbench measured of a single-row insert, with "
    "synchronous_commit=on and the receiver as the only standby that must have it; each round "
    "begins at a checkpoint, with nothing to catch up. Two rounds in each run; who is first "
    "changes with each.",
    "The record-level check is the whole command on segments as a server's own cp leaves them in "
    "the archive, in memory, with a thread for each core; beside it bench/bench_wal, the reader "
    "alone in one thread. pg_waldump decodes each record and prints none, and has one thread.",
    "Recovery is timed from the start of the server to its end at the last of the segments; what "
    "it writes back to the disk is in both.",
]


class Receiver:
    """One that takes the log: how it is started, and what it needs made ready."""

    def __init__(self, name, argv, folder, env, ready, how_to_end):
        self.name = name  # its slot and what the server calls it
        self.argv = argv
        self.folder = folder
        self.env = env
        self.ready = ready
        self.how_to_end = how_to_end
        self.process = None

    def start(self, runner, keeper=(), extra=()):
        """With a keeper (a program that becomes the one behind it), and words at the end."""
        self.log = open(os.path.join(runner.folder, self.name + ".log"), "w+b")
        self.began = time.perf_counter()
        self.process = subprocess.Popen([*keeper, *self.argv, *extra], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, cwd=runner.folder,
                                        env={**runner.env, **self.env}, start_new_session=True,
                                        **runner.who)

    def is_alive(self):
        """Not with poll(): what it used must come from wait4."""
        return os.waitid(os.P_PID, self.process.pid,
                         os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def said(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")[-2000:].strip()

    def peak_kib(self):
        """Of the receiver itself, since it began."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
        return 0

    def end(self):
        """Ask it to end; what it and its children used."""
        process = self.process
        if self.is_alive():
            os.kill(process.pid, self.how_to_end)
        self.process = None
        deadline = time.monotonic() + 60
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.01)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        text = self.said()
        self.log.close()
        if process.returncode != 0:
            raise BenchError(f"exit {process.returncode} of {self.name}:\n{text}")
        return usage

    def kill(self):
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def percentile(values, share):
    """`values` sorted; the smallest that `share` of them do not exceed."""
    return values[max(0, math.ceil(len(values) * share) - 1)]


class WalBench:
    def __init__(self, bench):
        self.bench = bench
        self.runner = bench.runner
        self.options = bench.options
        self.root = bench.at("wal")
        self.cluster = None
        self.base = os.path.join(self.root, "base")
        self.plain = os.path.join(self.root, "plain")
        self.store = os.path.join(self.root, "store")
        self.repo = os.path.join(self.root, "repo")
        self.conf = os.path.join(self.root, "blackstart.yaml")
        self.peer_conf = os.path.join(self.root, "pgbackrest.conf")
        self.names = []
        self.receivers = []

    def close(self):
        for receiver in self.receivers:
            receiver.kill()
        if self.cluster is not None:
            self.cluster.stop(signal.SIGQUIT)

    # --- the server and its log ---------------------------------------------

    def prepare(self):
        """The server, a base backup of it, and all segments it wrote since."""
        count = max(SEGMENTS_MIN, round(SEGMENTS * self.options.scale))
        self.fresh(self.root)
        self.cluster = Cluster(self.root, self.runner, self.bench.cluster.bin)
        self.cluster.create()
        self.cluster.start(LOADING)
        say(f"the log: filling pgbench, then writing {count} segments")
        self.pgbench("-i", "-q", "-s", str(max(10, round(20 * self.options.scale))))
        self.cluster.sql("CREATE TABLE commits (client int, at timestamptz)")
        self.cluster.stop()
        self.cluster.start(WORKING)
        self.runner.output(self.cluster.tool("pg_basebackup"), *self.cluster.where(), "-D",
                           self.base, "-X", "none", "--checkpoint=fast")
        self.cluster.sql("SELECT pg_switch_wal()")
        self.cluster.sql("SELECT pg_create_physical_replication_slot('keeper', true)")
        self.write_log(count)
        self.collect()
        self.fresh(os.path.join(self.root, "out"))
        self.write(self.conf, CONF.format(state=os.path.join(self.root, "state"),
                                          store=self.store, sockets=self.cluster.sockets))
        self.write(self.peer_conf, self.bench.pgbackrest_conf(self.repo, self.cluster))

    def pgbench(self, *words):
        env = {**self.runner.env, "PGOPTIONS": "-c synchronous_commit=off"}
        argv = [self.cluster.tool("pgbench"), *self.cluster.where(), *words, "postgres"]
        result = subprocess.run(argv, env=env, capture_output=True, text=True, check=False,
                                cwd=self.runner.folder, stdin=subprocess.DEVNULL,
                                **self.runner.who)
        if result.returncode != 0:
            raise BenchError(f"pgbench: {result.stderr[-2000:]}")

    def segment_now(self):
        """The number of the segment that is being written."""
        return self.position(self.cluster.sql("SELECT pg_current_wal_lsn()")) // SEGMENT_BYTES

    @staticmethod
    def position(lsn):
        high, low = lsn.split("/")
        return (int(high, 16) << 32) + int(low, 16)

    def write_log(self, count):
        first = self.segment_now()
        while self.segment_now() < first + min(BY_PGBENCH, count // 2):
            self.pgbench("-n", "-c", "4", "-j", "2", "-t", "2000")
        for number in itertools.count():
            if self.segment_now() >= first + count:
                break
            self.cluster.sql("UPDATE pgbench_accounts SET abalance = abalance + 1 "
                             f"WHERE aid % 20 = {number % 20}")
        self.cluster.sql("SELECT pg_switch_wal()")
        self.end_lsn = self.cluster.sql("SELECT pg_current_wal_lsn()")
        self.cluster.sql("CHECKPOINT")

    def collect(self):
        """Copies of the whole segments, from the one in which the base began."""
        self.fresh(self.plain)
        with open(os.path.join(self.base, "backup_label"), encoding="utf-8") as file:
            first = file.readline().split("file ")[1].strip(" )\n")
        current = segments.name_of(1, self.position(self.end_lsn) // SEGMENT_BYTES)
        for path in sorted(glob.glob(os.path.join(self.cluster.data, "pg_wal", "0" * 7 + "1*"))):
            name = os.path.basename(path)
            if len(name) == 24 and first <= name < current:
                shutil.copyfile(path, os.path.join(self.plain, name))
                give_away(os.path.join(self.plain, name))
                self.names.append(name)

    def fresh(self, path):
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path, 0o700)
        give_away(path)

    def write(self, path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        give_away(path)

    def segment(self, name):
        return os.path.join(self.plain, name)

    def ours(self, key, *words, **kwargs):
        return Contestant(key, [self.options.program, "-c", self.conf, *words], is_ours=True,
                          **kwargs)

    def row(self, *rows):
        self.bench.rows += rows

    # --- the groups ---------------------------------------------------------

    def walcheck(self):
        names = self.names[1:1 + min(BY_PGBENCH, len(self.names) // 2)] or ["none"]
        ours = self.ours("blackstart settle --again", "settle", "postgresql", "--again")
        reader = Contestant("bench_wal", [self.bench.build_tool("bench_wal"),
                                          *map(self.segment, names)], is_ours=True)
        peer = Contestant("pg_waldump --quiet", [
            self.bench.cluster.tool("pg_waldump"), "--quiet", "-p", self.plain, names[0],
            names[-1]])
        if self.bench.wants("walcheck"):
            self.adopt(names)
        self.bench.compete("walcheck", ours, reader, peer, runs=self.options.runs * 3)
        cpu = Row("the same, by CPU time", "pg_waldump --quiet", None, is_least=True)
        if ours.samples and peer.samples:
            cpu.value = peer.cpu_median() / ours.cpu_median()
        self.row(speed_row("record-level check of WAL", "pg_waldump --quiet", 3, ours, peer), cpu,
                 speed_row("the same, the reader alone in one thread", "pg_waldump --quiet", None,
                           reader, peer))

    def adopt(self, names):
        """A store with these segments as a server's own `cp` leaves them, checked once."""
        self.fresh(self.store)
        for folder in ("postgresql", "postgresql/wal"):
            self.fresh(os.path.join(self.store, folder))
        for name in names:
            path = os.path.join(self.store, "postgresql/wal", name)
            shutil.copyfile(self.segment(name), path)
            give_away(path)
        run_once(self.runner, self.ours("settle", "settle", "postgresql"))

    def push(self):
        runs = PUSHES_MIN if self.options.scale == 1 else self.options.runs * 2
        ours = self.ours("blackstart archive-push", "archive-push", "SEGMENT")
        peer = Contestant("pgbackrest archive-push", [
            "pgbackrest", f"--config={self.peer_conf}", "--stanza=bench", "archive-push",
            "SEGMENT"])
        if self.bench.wants("push"):
            for contestant in (ours, peer):
                self.push_each(contestant)
            self.fresh(self.store)
            self.fresh(self.repo)
            self.runner.output(*peer.argv[:-2], "stanza-create")
        self.bench.compete("push", ours, peer, runs=min(runs, len(self.names) - 1))
        self.row(ratio_row("archive-push of a segment of 16 MiB, zstd level 1",
                           "pgBackRest archive-push, zst level 1", 0.5, ours, peer))

    def push_each(self, contestant):
        """Every time the next segment: what is there already is only compared. It is in the
        kernel's cache for both, as it is when a server has just written it."""
        names = iter(self.names)

        def prepare():
            contestant.argv = [*contestant.argv[:-1], self.segment(next(names))]
            with open(contestant.argv[-1], "rb") as file:
                while file.read(1 << 20):
                    pass
        contestant.prepare = prepare

    def recovery(self):
        sockets = self.cluster.sockets if self.cluster is not None else ""
        own = f'{self.options.program} -c {self.conf} archive-get %f "%p"'
        contestants = []
        for key, command, is_ours in ((f"recovery with {OURS.split()[0]} archive-get", own, True),
                                      ("recovery with cp", f'cp {self.plain}/%f "%p"', False)):
            folder = os.path.join(self.root, "recovered")
            contestants.append(Contestant(
                key, [self.bench.cluster.tool("postgres"), "-D", folder],
                lambda command=command: self.recoverable(folder, command, sockets), is_ours))
        if self.bench.wants("recovery"):
            self.fresh(self.store)
            for name in self.names:
                self.runner.output(self.options.program, "-c", self.conf, "archive-push",
                                   self.segment(name))
        self.bench.compete("recovery", *contestants)
        shutil.rmtree(os.path.join(self.root, "recovered"), ignore_errors=True)
        self.row(speed_row(f"recovery through {len(self.names)} segments with archive-get",
                           "cp from an uncompressed folder", 0.95, *contestants))

    def recoverable(self, folder, command, sockets):
        shutil.rmtree(folder, ignore_errors=True)
        self.runner.output("cp", "-a", self.base, folder)
        # Just behind the last record: the end of the segment that was switched away from.
        self.write(os.path.join(folder, "recovery.signal"), "")
        with open(os.path.join(folder, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
            file.write(RECOVERY.format(command=command, lsn=self.last_lsn(), sockets=sockets))

    def last_lsn(self):
        """Where the last record of the last segment begins, which is the one that switches."""
        text = self.runner.output(self.cluster.tool("pg_waldump"), "-p", self.plain, "-r", "XLOG",
                                  self.names[-1], self.names[-1])
        return text.strip().splitlines()[-1].split("lsn: ")[1].split(",")[0]

    # --- receivers ----------------------------------------------------------

    def make_receivers(self):
        taken = os.path.join(self.root, "taken")
        peer = [self.cluster.tool("pg_receivewal"), *self.cluster.where(), "-D", taken, "-S",
                "peer", "--no-loop"]
        self.receivers = [
            Receiver("ours", [self.options.program, "-c", self.conf, "run", "pg-wal"],
                     os.path.join(self.store, "postgresql", "wal"), {},
                     lambda: self.fresh(self.store), signal.SIGTERM),
            # Before 16 it knows no SIGTERM.
            Receiver("peer", peer, taken, {"PGAPPNAME": "peer"}, lambda: self.fresh(taken),
                     signal.SIGINT)]
        return self.receivers

    def slot(self, receiver, copy_of=None):
        """A slot of its own, at the keeper's place or at the end of the log."""
        self.cluster.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                         f"WHERE slot_name = '{receiver.name}'")
        if copy_of is not None:
            self.cluster.sql(
                f"SELECT pg_copy_physical_replication_slot('{copy_of}', '{receiver.name}')")
        else:
            # A new slot begins at the last checkpoint, not at the end.
            self.cluster.sql("CHECKPOINT")
            self.cluster.sql(
                f"SELECT pg_create_physical_replication_slot('{receiver.name}', true)")

    def wait_for(self, receiver, what, is_true, seconds=600):
        deadline = time.monotonic() + seconds
        while not is_true():
            if not receiver.is_alive():
                raise BenchError(f"{receiver.name} ended:\n{receiver.said()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{receiver.name}: waited too long {what}:\n{receiver.said()}")
            time.sleep(0.005)

    # --- latency ------------------------------------------------------------

    def commit(self):
        figures = {}
        for clients, share in itertools.product(CLIENTS, ("p50", "p99")):
            for name in (OURS, f"{PEER} --synchronous"):
                figures[name, clients, share] = Figure(
                    f"{share} of a commit, {clients} client{'s' * (clients > 1)}, {name}")
        self.bench.figures += figures.values()
        if self.bench.wants("commit"):
            self.measure_commits(figures)
        for clients, share in itertools.product(CLIENTS, ("p50", "p99")):
            self.row(ratio_row(
                f"latency of a commit, {share}, {clients} client{'s' * (clients > 1)}",
                f"{PEER} --synchronous", 1.0, figures[OURS, clients, share],
                figures[f"{PEER} --synchronous", clients, share]))

    def measure_commits(self, figures):
        script = os.path.join(self.root, "insert.sql")
        self.write(script, INSERT)
        ours, peer = self.make_receivers()
        turns = [(ours, OURS, ()), (peer, f"{PEER} --synchronous", ("--synchronous",))]
        for number in range(self.options.runs * COMMIT_ROUNDS + 1):
            for receiver, key, extra in turns[::1 if number % 2 else -1]:
                for clients in CLIENTS:
                    p50, p99 = self.commit_times(receiver, extra, clients, script)
                    say(f"commit: {'warm-up' if number == 0 else f'run {number}'}: {key}, "
                        f"{clients}: p50 {p50 * 1000:.3f} ms, p99 {p99 * 1000:.3f} ms")
                    if number > 0:
                        figures[key, clients, "p50"].samples.append(p50)
                        figures[key, clients, "p99"].samples.append(p99)

    def commit_times(self, receiver, extra, clients, script):
        logs = os.path.join(self.root, "latency")
        self.fresh(logs)
        receiver.ready()
        self.slot(receiver)
        os.sync()
        receiver.start(self.runner, extra=extra)
        try:
            self.wait_for(receiver, "to stream", lambda: self.cluster.sql(
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND "
                f"application_name = '{receiver.name}'") == "1")
            self.standbys(receiver.name)
            self.wait_for(receiver, "to be the standby", lambda: self.cluster.sql(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND "
                f"application_name = '{receiver.name}'") == "1")
            self.runner.output(self.cluster.tool("pgbench"), *self.cluster.where(), "-n", "-M",
                               "prepared", "-f", script, "-c", str(clients), "-j", "1", "-T",
                               "3" if self.options.quick else "10", "--log",
                               f"--log-prefix={logs}/log", "postgres")
        finally:
            self.standbys("")
            receiver.end()
        times = []
        for path in glob.glob(logs + "/log*"):
            with open(path, encoding="ascii") as file:
                times += [int(line.split()[2]) / 1e6 for line in file]
        times.sort()
        return percentile(times, 0.50), percentile(times, 0.99)

    def standbys(self, name):
        self.cluster.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        self.cluster.sql("SELECT pg_reload_conf()")

    # --- catching up --------------------------------------------------------

    def receive(self):
        ours = self.ours(f"{OURS}, catching up", "run", "pg-wal", shown="receiver")
        kept = self.ours(f"{OURS}, catching up on one core", "run", "pg-wal", shown="receiver")
        peer = Contestant(f"{PEER}, catching up", [self.bench.cluster.tool("pg_receivewal")])
        self.bench.contestants += [ours, kept, peer]
        if self.bench.wants("receive"):
            mine, theirs = self.make_receivers()
            turns = [(mine, ours, ()), (mine, kept, ("taskset", "-c", str(self.last_core()))),
                     (theirs, peer, ())]
            for number, (receiver, contestant, keeper) in itertools.product(
                    range(self.options.runs + 1), turns):
                contestant.argv = [*keeper, *receiver.argv]
                sample = self.catch_up(receiver, keeper)
                say(f"receive: {'warm-up' if number == 0 else f'run {number}'}: {contestant.key}: "
                    f"{sample.seconds:.2f} s, {sample.cpu_seconds:.2f} s of CPU, "
                    f"{sample.peak_kib / 1024:.1f} MiB")
                if number > 0:
                    contestant.samples.append(sample)
        what = "WAL received, fsynced, compressed and checked"
        against = f"{PEER}, neither compressed nor checked"
        cores = Row("the same: cores that it uses", "", None)
        memory = Row("the same: memory of the receiver", "", 16, " MiB")
        kept_cores = Row("the same, kept to one core: cores that it uses", "", 1)
        for row, each in ((cores, ours), (kept_cores, kept)):
            if each.samples:
                row.value = each.cpu_median() / each.median()
        if ours.samples:
            memory.value = math.ceil(max(ours.peak_mib(), kept.peak_mib()) * 10) / 10
        self.row(speed_row(what, against, 1, ours, peer), cores, memory,
                 speed_row(f"{what}, kept to one core", against, 1, kept, peer), kept_cores)

    @staticmethod
    def last_core():
        return max(os.sched_getaffinity(0))

    def catch_up(self, receiver, keeper=()):
        receiver.ready()
        self.slot(receiver, "keeper")
        os.sync()
        if receiver.name == "peer":
            receiver.start(self.runner, keeper, ("--endpos", self.end_lsn))
            self.wait_for_end(receiver)
            seconds = time.perf_counter() - receiver.began
            peak_kib = 0
        else:
            receiver.start(self.runner, keeper)
            self.wait_for(receiver, "for its segments", lambda: self.is_settled(receiver))
            seconds = time.perf_counter() - receiver.began
            peak_kib = receiver.peak_kib()
        sample = Sample(seconds, receiver.end())
        sample.peak_kib = peak_kib or sample.peak_kib
        return sample

    @staticmethod
    def wait_for_end(receiver):
        while receiver.is_alive():
            time.sleep(0.005)

    def is_settled(self, receiver):
        """Everything is flushed, and every segment is in its last form."""
        if not os.path.exists(os.path.join(receiver.folder, self.names[-1] + ".zst")):
            return False
        behind = self.cluster.sql("SELECT coalesce(min(flush_lsn), '0/0') < "
                                  f"'{self.end_lsn}' FROM pg_stat_replication "
                                  f"WHERE application_name = '{receiver.name}'")
        kept = [name for name in os.listdir(receiver.folder)
                if name.endswith(".partial") and name[:24] in self.names]
        return behind == "f" and not kept

    # --- a long history -----------------------------------------------------

    def window(self):
        window = self.ours("blackstart window", "window", "postgresql", shown="window")
        plan = self.ours("blackstart plan restore", "plan", "restore", "postgresql", "--kind",
                         "base", "--to", os.path.join(self.root, "planned"), "--at", "TIME",
                         shown="plan")
        if self.bench.wants("window"):
            self.fresh(self.store)
            shutil.rmtree(os.path.join(self.root, "state"), ignore_errors=True)
            say(f"window: making {self.indexed():,} segments")
            run_once(self.runner, self.ours("backup", "run", "pg-base"))
            plan.argv[-1] = segments.fill(self.store, os.path.join(self.root, "state"),
                                          self.indexed(), lambda: run_once(
                                              self.runner, self.ours("list", "list")))
        self.bench.compete("window", window, plan)
        self.row(self.seconds_row(f"window, {self.indexed():,} segments indexed", window),
                 self.seconds_row("plan restore to a time, of the same", plan),
                 memory_row("window, plan restore", 64, [window, plan]))

    def indexed(self):
        return INDEXED if self.options.scale == 1 else round(INDEXED * self.options.scale)

    @staticmethod
    def seconds_row(what, contestant):
        row = Row(what, "", 1000, " ms")
        if contestant.samples:
            times = contestant.seconds()
            row.value = contestant.median() * 1000
            row.detail = f"{min(times) * 1000:.0f} .. {max(times) * 1000:.0f}"
        return row
