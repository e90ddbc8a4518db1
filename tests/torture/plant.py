"""The plant of one round: servers, clients, the machine with blackstart, and the wire between.

Servers are those of the end-to-end tests (tests/e2e/postgres.py); they run without fsync, since
the disk of the primary is destroyed in the end anyway: what is judged is what blackstart kept.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import psycopg2  # noqa: E402
from postgres import Server, children, free_port, give_away, ids, peer  # noqa: E402,F401

from disk import Disk  # noqa: E402
from ledger import Broken, Ledger, check, lsn, rows_of  # noqa: E402
from wire import Wire  # noqa: E402

SETTINGS = {
    "synchronous_standby_names": "blackstart", "synchronous_commit": "on",
    "track_commit_timestamp": "on", "max_wal_size": "32MB", "wal_keep_size": "64MB",
    "wal_sender_timeout": "5s", "max_connections": "30", "shared_buffers": "16MB",
    # Ends with the data folder, however the server is killed.
    "dynamic_shared_memory_type": "mmap",
}
TABLE = """CREATE TABLE torture (writer int, seq bigint, attempt bigint NOT NULL, hash text NOT NULL,
           pad text NOT NULL, PRIMARY KEY (writer, seq));
           ALTER TABLE torture ALTER pad SET STORAGE EXTERNAL"""
SLOT = "blackstart"
LONG_S = 30

# What the receiver says with -v: where it begins to stream, and each position before it is told.
SAID = re.compile(r"receiving WAL of .* on timeline (\d+)|\bflush ([0-9A-F]+/[0-9A-F]+)$", re.M)


def poll(condition, what, timeout=LONG_S, pause=0.01):
    deadline = time.monotonic() + timeout
    while not condition():
        check(time.monotonic() < deadline, "stalled", f"{what}, for {timeout} s")
        time.sleep(pause)


def state(pid, thread=None):
    """The letter of a process, or of one of its threads (proc(5)); X when it is gone."""
    try:
        with open(f"/proc/{pid}/task/{thread or pid}/stat", encoding="utf-8",
                  errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def is_alive(pid):
    return state(pid) not in "ZX"


def is_frozen(pid):
    """Has SIGSTOP reached all its threads?"""
    with contextlib.suppress(FileNotFoundError):
        return all(state(pid, thread) in "TZX" for thread in os.listdir(f"/proc/{pid}/task"))
    return True


def processes_with(variable):
    """All processes that were started with NAME=VALUE in their environment."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit():
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if variable.encode() in file.read().split(b"\0") and is_alive(int(entry)):
                        found.append(int(entry))
    return found


class Primary(Server):
    """A server that may be killed and come back."""

    def __init__(self, root, data=None, **settings):
        super().__init__(root, data=data, settings={**SETTINGS, **settings})

    def kill(self):
        pids = [self.process.pid, *children(self.process.pid)] if self.process else []
        super().kill()
        poll(lambda: not any(is_alive(pid) for pid in pids), "killed and still there")

    def burn(self):
        """Its disk is destroyed under it, with what a killed server leaves in the kernel."""
        self.kill()
        with contextlib.suppress(OSError, IndexError):
            with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
                segment = file.read().split("\n")[6].split()[1]
            subprocess.run(["ipcrm", "-m", segment], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.data, ignore_errors=True)

    def admin(self, statements):
        """Our own statements do not wait for blackstart."""
        with contextlib.closing(self.connect("postgres")) as conn, conn.cursor() as cursor:
            cursor.execute("SET synchronous_commit = local")
            cursor.execute(statements)
            return cursor.fetchall() if cursor.description else None

    def one(self, query):
        return self.admin(query)[0][0]

    def is_streaming_to_us(self):
        try:
            return self.one("SELECT count(*) FROM pg_stat_replication WHERE application_name = "
                            f"'{SLOT}' AND state = 'streaming'") > 0
        except psycopg2.OperationalError:
            return False


class Machine:
    """The machine that blackstart runs on."""

    def __init__(self, work, binary, tools, pg_bin, port):
        self.work, self.binary = work, binary
        self.disk = Disk(work, tools)
        self.store = os.path.join(self.disk.root, "store")
        self.state = os.path.join(work, "state")
        self.config = os.path.join(work, "blackstart.yaml")
        self.log = os.path.join(work, "receiver.log")
        self.receiver = None
        self.starts = 0
        self.log_from = 0  # flush positions before this do not count: the server was set back
        self.mutant = None
        self.env = {"PATH": f"{pg_bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                    "HOME": work, "TMPDIR": work, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.pg_bin = pg_bin
        self.write_config(port)

    def write_config(self, port, heartbeat="60s"):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""site: torture
timezone: UTC
state_dir: {self.state}
store: {{ path: {self.store} }}
sources:
  postgresql: {{ type: postgres, host: 127.0.0.1, port: {port}, user: postgres, databases: [postgres], bin_dir: {self.pg_bin} }}
jobs:
  pg-base: {{ source: postgresql, do: base, at: "01:00", keep: 7d }}
  pg-wal: {{ source: postgresql, do: wal, continuous: true, keep: 7d, heartbeat: {heartbeat} }}
""")

    @property
    def wal(self):
        return os.path.join(self.store, "postgresql", "wal")

    def environment(self, is_shimmed):
        env = dict(self.env)
        if is_shimmed:
            env.update(self.disk.env())
        if self.mutant:
            env["BLACKSTART_MUTANT"] = self.mutant
        return env

    # --- the receiver -------------------------------------------------------

    def start(self):
        self.starts += 1
        with open(self.log, "ab") as log:
            log.write(f"--- start {self.starts}\n".encode())
            log.flush()
            self.receiver = subprocess.Popen(
                [self.binary, "-c", self.config, "-v", "run", "pg-wal"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=self.environment(True), start_new_session=True,
                cwd=self.work)

    def is_up(self):
        return self.receiver is not None and self.receiver.poll() is None

    def all_pids(self):
        if self.receiver is None:
            return []
        return [self.receiver.pid, *children(self.receiver.pid)]

    def kill(self):
        """SIGKILL for the receiver alone: its children must see for themselves."""
        pids = self.all_pids()
        if self.is_up():
            self.receiver.kill()
        self.wait_gone(pids)

    def freeze_children(self):
        """
        SIGSTOP for all but the receiver itself. Not in the middle of the shim's own work: who was
        stopped there would keep the shim's lock, for which the receiver would wait for ever.
        """
        with self.disk.at_rest():
            pids = self.all_pids()[1:]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            poll(lambda: all(is_frozen(pid) for pid in pids), "children do not stop", 5)

    def wait_gone(self, pids):
        if self.receiver is not None:
            self.receiver.wait()
        poll(lambda: not any(is_alive(pid) for pid in pids), "children outlive the receiver", 20)
        self.receiver = None

    def stop(self):
        """SIGTERM: flush, report, exit 0."""
        if not self.is_up():
            return
        pids = self.all_pids()
        self.receiver.send_signal(signal.SIGTERM)
        try:
            code = self.receiver.wait(20)
        except subprocess.TimeoutExpired:
            raise Broken("sigterm", "the receiver does not end on SIGTERM") from None
        check(code == 0, "sigterm", f"exit {code} on SIGTERM")
        self.wait_gone(pids)

    def lose_power(self, is_torn, seed):
        self.switch_off()
        self.disk.come_back(is_torn, seed)

    def switch_off(self):
        """All that runs on this disk ends, also what lost its parent."""
        self.disk.cut_power()
        pids = self.all_pids() + processes_with("SHIM_CONTROL=" + self.disk.path)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait_gone(pids)

    # --- other commands -----------------------------------------------------

    def run(self, *args, is_shimmed=False, timeout=120):
        """Run a command to its end; (exit code, all it said)."""
        with open(os.path.join(self.work, "commands.log"), "ab") as log:
            log.write(f"$ blackstart {' '.join(args)}\n".encode())
            began = time.monotonic()
            process = subprocess.Popen([self.binary, "-c", self.config, *args],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=self.environment(is_shimmed),
                                       cwd=self.work, start_new_session=True)
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise Broken("command-ends", f"{args} takes longer than {timeout} s") from None
            finally:
                log.write(out + err)
                log.write(f"--- exit {process.returncode}, {time.monotonic() - began:.2f} s\n"
                          .encode())
        return process.returncode, out.decode(), err.decode()

    def ok(self, *args, may_warn=False, **kwargs):
        code, out, err = self.run(*args, **kwargs)
        check(code == 0 or (may_warn and code == 3), f"exit-{args[0]}",
              f"blackstart {' '.join(args)}: exit {code}\n{out[-1500:]}{err[-1500:]}")
        return out

    def json(self, *args, **kwargs):
        return json.loads(self.ok(*args, "--json", **kwargs))

    # --- what it said -------------------------------------------------------

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def highest_flush(self):
        """The highest flush position reported to a server, by timeline."""
        found, branch = {}, 0
        for match in SAID.finditer(self.log_text()):
            if match[1]:
                branch = int(match[1])
            elif match.start() >= self.log_from:
                found[branch] = max(found.get(branch, 0), lsn(match[2]))
        return found


class Template:
    """A server after its base backup, and the store with it, to copy for each round."""

    def __init__(self, folder, binary, tools):
        self.folder, self.binary, self.tools = folder, binary, tools
        self.data = os.path.join(folder, "pg", "data")
        self.store = os.path.join(folder, "disk", "store")
        self.state = os.path.join(folder, "state")

    def make(self):
        os.makedirs(self.folder, mode=0o755)
        server = Primary(os.path.join(self.folder, "pg"), synchronous_standby_names="")
        server.initdb("--wal-segsize=1")
        server.write_hba(["local all all trust", "local replication all trust",
                          "host all all 127.0.0.1/32 trust",
                          "host replication all 127.0.0.1/32 trust"])
        try:
            server.start()
            server.admin(TABLE)
            machine = Machine(self.folder, self.binary, self.tools, peer("client"), server.port)
            os.makedirs(machine.store, mode=0o700)
            machine.disk.begin()
            machine.start()
            poll(server.is_streaming_to_us, "the receiver does not stream")
            machine.ok("run", "pg-base")
            machine.stop()
            server.stop()
        finally:
            server.stop(signal.SIGQUIT)
        return self


class Plant:
    def __init__(self, work, template, binary, tools, writers_count, needs_standby=False,
                 **settings):
        self.work, self.tools = work, tools
        os.makedirs(work, mode=0o755)
        self.server = self.new_server("pg0", template, **settings)
        self.standby = None
        if needs_standby:
            self.standby = self.new_server("pg1", template, **settings,
                                           primary_conninfo=f"host={self.server.root} "
                                           f"port={self.server.port} user=postgres "
                                           "application_name=standby")
            self.set_signal(self.standby, "standby.signal")
        self.wire = Wire(self.server.port)
        self.machine = Machine(work, binary, tools, peer("client"), self.wire.port)
        copy(template.store, self.machine.store)
        copy(template.state, self.machine.state)
        self.ledger = Ledger(work)
        self.target = os.path.join(work, "target")
        self.writers = []
        self.writers_count = writers_count
        self.epoch = 0
        self.inherited = {}  # epoch -> rows that its server began with
        self.restarts = 0
        self.restored = []

    def new_server(self, name, template, **settings):
        server = Primary(os.path.join(self.work, name), **settings)
        copy(template.data, server.data)
        return server

    @staticmethod
    def set_signal(server, name):
        path = os.path.join(server.data, name)
        with open(path, "w", encoding="ascii"):
            pass
        give_away(path)

    # --- life ---------------------------------------------------------------

    def begin(self):
        self.machine.disk.begin()
        self.server.start()
        self.machine.start()
        if self.standby:
            self.standby.start()
        self.aim()
        poll(self.server.is_streaming_to_us, "the receiver does not stream")
        for number in range(self.writers_count):
            self.writers.append(subprocess.Popen(
                [os.path.join(self.tools, "torture_writer"), str(number + 1), self.target,
                 self.ledger.path(number + 1)], stdin=subprocess.DEVNULL))
        self.wait_acks(self.writers_count)

    def aim(self):
        """Writers connect to this server from now on; it is another epoch of the ledger."""
        self.epoch += 1
        self.inherited[self.epoch] = rows_of(self.server)
        path = self.target + ".new"
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{self.epoch} host={self.server.root} port={self.server.port} "
                       "user=postgres dbname=postgres connect_timeout=5\n")
        os.rename(path, self.target)

    def pump(self, seconds):
        """Let it run; who keeps services alive starts the receiver again."""
        deadline = time.monotonic() + seconds
        while True:
            self.keep_alive()
            if time.monotonic() >= deadline:
                return
            time.sleep(0.01)

    def keep_alive(self):
        if self.machine.disk.lost_power():
            self.machine.lose_power(False, 0)
        if not self.machine.is_up():
            self.restarts += 1
            self.machine.start()

    def wait_acks(self, count, timeout=LONG_S):
        """Go on until the clients got so many more answers."""
        size = self.ledger.size() + count * 60

        def has_grown():
            self.keep_alive()
            return self.ledger.size() >= size
        poll(has_grown, "no commit comes through", timeout)

    def stop_writers(self):
        for writer in self.writers:
            writer.kill()
            writer.wait()
        self.writers = []

    def destroy_servers(self):
        """The primary's machine burns down, and the standby with it."""
        for server in (self.server, self.standby):
            if server is not None:
                server.burn()

    # --- restore ------------------------------------------------------------

    def next_data(self):
        """Where the next restore goes."""
        return os.path.join(self.work, f"r{len(self.restored) + 1}", "data")

    def restore(self, *target, is_shimmed=False):
        """Restore and start; the server, with what the command said as `said`."""
        data = self.next_data()
        os.makedirs(os.path.dirname(data), mode=0o755)
        self.restored.append(data)
        said = self.machine.ok("restore", "postgresql", *target, "--to", data, "--start", "--port",
                               str(free_port()), is_shimmed=is_shimmed, may_warn=True)
        return self.adopt(data, said)

    def adopt(self, data, said):
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            lines = file.read().split("\n")
        server = Primary(os.path.join(os.path.dirname(data), "root"), data=data)
        server.root, server.port, server.said = lines[4], int(lines[3]), said
        return server

    def restore_by_hand(self, tail=None):
        """
        A recovery without blackstart, to the end of the archive: the promise of plain files.
        `tail`: a file that was set aside, in place of the newest one.
        """
        number = len(self.restored) + 1
        folder = os.path.join(self.work, f"r{number}")
        data = os.path.join(folder, "data")
        self.restored.append(data)
        os.makedirs(data)
        base = max(os.scandir(os.path.join(self.machine.store, "postgresql", "base")),
                   key=lambda entry: entry.name).path
        subprocess.run(f"zstd -dqc {base}/base.tar.zst | tar -x -C {data}", shell=True, check=True)
        wal = os.path.join(folder, "wal")
        copy(self.machine.wal, wal)
        if tail:
            name = os.path.basename(tail).split(".diverged-")[0]
            for left in os.listdir(wal):
                if left[:24] >= name[:24]:
                    os.unlink(os.path.join(wal, left))
            copy(tail, os.path.join(wal, name))
        subprocess.run(["chown", "-R", "postgres:", folder], check=True)
        os.chmod(data, 0o700)
        server = Primary(folder, data=data, synchronous_standby_names="",
                         restore_command=f"{HERE}/by-hand {wal} %f %p",
                         recovery_target_timeline="latest")
        self.set_signal(server, "recovery.signal")
        server.start()
        poll(lambda: not server.one("SELECT pg_is_in_recovery()"), "recovery does not end")
        return server

    @staticmethod
    def put_away(server):
        """Stop a restored server and take its data away."""
        server.tool("pg_ctl", "-D", server.data, "-m", "immediate", "-w", "stop", check=False)
        if server.process:
            server.process.wait()
        shutil.rmtree(server.data, ignore_errors=True)

    def end(self):
        self.stop_writers()
        self.wire.stop()
        with contextlib.suppress(Broken):
            self.machine.switch_off()
        for server in (self.server, self.standby):
            if server is not None:
                server.burn()
        for data in self.restored:
            if os.path.exists(os.path.join(data, "postmaster.pid")):
                server = Server(os.path.join(self.work, "end"), data=data)
                server.tool("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop", check=False)


def copy(source, target):
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    subprocess.run(["cp", "-a", source, target], check=True)
