"""A real PostgreSQL server of our own: private socket, loopback port, not root, in a temporary
folder. Roles log in with a password over TCP; only the tests themselves are trusted."""
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import psycopg2

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
SERVER_USER = "postgres"

# What blackstart logs in with unless a test is about rights: as in the user's
# own plant, where the image makes its first role a superuser.
ADMIN = "webscada"
ADMIN_PASSWORD = "Geh3im-und-l4ng"


def peer(what):
    """The folder of server ("path") or client ("client") programs of the major under test."""
    if what == "path" and os.environ.get("BLACKSTART_PG_BIN"):
        return os.environ["BLACKSTART_PG_BIN"]
    name = os.environ.get("BLACKSTART_TEST_PG", "pg15")
    return subprocess.run([os.path.join(ROOT, "tools/peers"), what, name], check=True,
                          capture_output=True, text=True).stdout.strip()


def ids():
    """Popen arguments that make a program run as the server's user when we are root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(SERVER_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give_away(path):
    """The folder belongs to the server's user from here on."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(SERVER_USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def free_port():
    """One below those that the kernel gives to clients, and drawn by lot: it is used only later,
    and other tests draw at the same time."""
    while True:
        port = random.randint(10000, 32000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


class Server:
    """One cluster. `data` may be a folder that exists already (a restored one)."""

    def __init__(self, root, bin_dir=None, data=None, settings=None):
        self.root = str(root)
        self.bin = bin_dir or peer("path")
        os.makedirs(self.root, exist_ok=True)
        os.chmod(self.root, 0o755)
        give_away(self.root)
        self.data = data or os.path.join(self.root, "data")
        self.log = os.path.join(self.root, "server.log")
        self.settings = dict(settings or {})
        self.port = free_port()
        self.process = None

    # --- life ---------------------------------------------------------------

    def tool(self, name, *args, check=True, **kwargs):
        """A program of this major, as the server's user; `name` may be a path."""
        env = {"PATH": os.environ["PATH"], "HOME": self.root, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        return subprocess.run([os.path.join(self.bin, name), *args], check=check, text=True,
                              capture_output=True, env=env, cwd=self.root, **ids(), **kwargs)

    def initdb(self, *args):
        self.tool("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale=C.UTF-8", "-k", "--no-sync", *args)
        self.write_hba([
            "local all postgres trust",
            "local replication postgres trust",
            "local all all scram-sha-256",
            "host all all 127.0.0.1/32 scram-sha-256",
            "host replication all 127.0.0.1/32 scram-sha-256",
        ])
        return self

    def write_hba(self, lines):
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def start(self, **settings):
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port,
            "unix_socket_directories": self.root, "password_encryption": "scram-sha-256",
            "fsync": "off", "max_wal_size": "256MB", "shared_buffers": "32MB",
            "timezone": "UTC", "log_timezone": "UTC", "lc_messages": "C",
            "max_connections": "40", "autovacuum": "off",
            **self.settings, **settings,
        }
        argv = [os.path.join(self.bin, "postgres"), "-D", self.data]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=env, cwd=self.root,
                                            stdin=subprocess.DEVNULL, start_new_session=True,
                                            **ids())
        self.wait_ready()
        return self

    def wait_ready(self, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg2.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError("the server does not start:\n" + self.log_text()) from None
                time.sleep(0.05)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def stop(self, how=signal.SIGINT):
        """SIGINT: a fast shutdown; SIGQUIT: an immediate one."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self):
        """kill -9 the postmaster and every process it has: the machine lost its server."""
        if self.process is None:
            return
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def destroy(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    # --- SQL ----------------------------------------------------------------

    def connect(self, database="postgres", user="postgres", password=None):
        conn = psycopg2.connect(host=self.root if user == "postgres" else "127.0.0.1",
                                port=self.port, dbname=database, user=user, password=password,
                                connect_timeout=10)
        conn.autocommit = True
        return conn

    def sql(self, statements, database="postgres"):
        """Run it; the rows of the last statement, if it has any."""
        with contextlib.closing(self.connect(database)) as conn, conn.cursor() as cursor:
            cursor.execute(statements)
            return cursor.fetchall() if cursor.description else None

    def value(self, query, database="postgres"):
        return self.sql(query, database)[0][0]

    def databases(self):
        return {row[0] for row in self.sql("SELECT datname FROM pg_database")}

    @property
    def major(self):
        return int(self.value("SHOW server_version_num")) // 10000

    @property
    def identity(self):
        return str(self.value("SELECT system_identifier FROM pg_control_system()"))

    def url(self, database="", user=ADMIN):
        return (f"postgres://{urllib.parse.quote(user, safe='')}@127.0.0.1:{self.port}/"
                + urllib.parse.quote(database, safe=""))

    def clone(self, name, template):
        self.sql(f"CREATE DATABASE {quoted(name)} TEMPLATE {quoted(template)}")

    def drop(self, name):
        self.sql(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


def children(pid):
    """All processes below `pid`."""
    parents = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(
                    int(entry))
        except (OSError, IndexError):
            continue
    found, queue = [], [pid]
    while queue:
        below = parents.get(queue.pop(), [])
        found += below
        queue += below
    return found
