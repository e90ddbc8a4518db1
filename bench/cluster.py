"""The server that everybody backs up: PostgreSQL of our own, on a private socket, not as root."""
import glob
import os
import pwd
import signal
import subprocess
import time

from measure import BenchError, say

SERVER_USER = "postgres"
PORT = 5432  # only a name in the socket's folder: nothing listens on the network

# At scale 1: pgbench's own tables of about 3 GB, and 22 million values in about 2 GB.
PGBENCH_SCALE = 200
TELEMETRY_ROWS = 22_000_000
TAGS = 200

# What a plant's historian looks like: many tags, one row for each value, ordered by time as it
# came. Of ten tags one is a switch, one a set point, one a counter, one a raw measurement with
# all its digits, and six are measurements rounded to two digits.
TELEMETRY = """
CREATE TABLE tags (id int PRIMARY KEY, name text NOT NULL, unit text, description text);
INSERT INTO tags SELECT i, 'plant.hall' || i % 4 || '.pump' || i % 25 || '.value' || i,
    (ARRAY['bar', 'degC', 'm3/h', 'kW', '%'])[1 + i % 5], 'measuring point number ' || i
    FROM generate_series(1, {tags}) i;
CREATE TABLE telemetry (time timestamptz NOT NULL, tag int NOT NULL,
                        value double precision NOT NULL, quality smallint NOT NULL);
SELECT setseed(0.5);
INSERT INTO telemetry
    SELECT '2025-01-01'::timestamptz + n * interval '5 s' + tag * 7 % 1000 * interval '1 ms', tag,
        CASE tag % 10
            WHEN 0 THEN (n / 720 + tag) % 2
            WHEN 1 THEN 40 + tag % 7
            WHEN 2 THEN n * 3 + floor(random() * 3)
            WHEN 3 THEN 20 + 5 * sin(n / 900.0) + random()
            ELSE floor((50 + 30 * sin(n / 700.0 + tag) + random()) * 100) / 100
        END,
        CASE WHEN random() < 0.001 THEN 24 ELSE 192 END
    FROM generate_series(1, {rows} / {tags}) n
    CROSS JOIN LATERAL generate_series(1, {tags} + 0 * n) tag;
ALTER TABLE telemetry ADD PRIMARY KEY (tag, time);
CREATE INDEX ON telemetry USING brin (time);
"""

# Loading is not measured: without fsync. Measuring is done as the server is by default.
LOADING = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "8GB",
           "maintenance_work_mem": "512MB", "autovacuum": "off", "shared_buffers": "256MB"}
MEASURING = {"autovacuum": "off"}


def server_ids():
    """Popen arguments that make a program run as the server's user when we are root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise BenchError(f"there is no user '{SERVER_USER}' to run the server") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give_away(path):
    who = server_ids()
    if who:
        os.chown(path, who["user"], who["group"])


def find_bin_dir():
    """The folder of PostgreSQL 15's programs."""
    if os.environ.get("BLACKSTART_PG_BIN"):
        return os.environ["BLACKSTART_PG_BIN"]
    for folder in ("/usr/lib/postgresql/15/bin", "/usr/pgsql-15/bin"):
        if os.path.exists(os.path.join(folder, "pgbench")):
            return folder
    raise BenchError("PostgreSQL 15 is not installed: run tools/setup bench")


class Cluster:
    def __init__(self, root, runner, bin_dir):
        self.root = root
        self.runner = runner
        self.bin = bin_dir
        self.data = os.path.join(root, "data")
        self.sockets = os.path.join(root, "sock")
        self.log = os.path.join(root, "server.log")
        self.process = None

    def tool(self, name):
        return os.path.join(self.bin, name)

    # --- life ---------------------------------------------------------------

    def create(self):
        os.makedirs(self.sockets)
        give_away(self.sockets)
        self.runner.output(self.tool("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust",
                           "-E", "UTF8", "--locale=C.UTF-8", "-k", "--no-sync")

    def start(self, settings):
        options = {"listen_addresses": "", "port": PORT, "unix_socket_directories": self.sockets,
                   "timezone": "UTC", "log_timezone": "UTC", "lc_messages": "C", **settings}
        argv = [self.tool("postgres"), "-D", self.data]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.runner.env, cwd=self.root,
                                            start_new_session=True, **server_ids())
        deadline = time.monotonic() + 60
        while subprocess.run([self.tool("pg_isready"), "-q", *self.where()], check=False,
                             env=self.runner.env).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"the server does not start:\n{self.log_text()}")
            time.sleep(0.05)

    def stop(self, how=signal.SIGINT):
        """SIGINT: a fast shutdown; SIGQUIT: at once."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]

    # --- use ----------------------------------------------------------------

    def where(self):
        """The options by which PostgreSQL's own programs find it."""
        return ["-h", self.sockets, "-p", str(PORT), "-U", "postgres"]

    def url(self, database=""):
        return f"postgres://postgres@{self.sockets.replace('/', '%2F')}:{PORT}/{database}"

    def sql(self, statements, database="postgres"):
        return self.runner.output(self.tool("psql"), *self.where(), "-d", database, "-X", "-q",
                                  "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements).strip()

    def fill(self, scale):
        """Both data sets, each in a database of its own; then the state in which it is measured."""
        self.start(LOADING)
        pgbench = [self.tool("pgbench"), *self.where()]
        pgbench_scale = max(1, round(PGBENCH_SCALE * scale))
        rows = max(TAGS, round(TELEMETRY_ROWS * scale) // TAGS * TAGS)
        self.sql("CREATE DATABASE pgbench")
        self.sql("CREATE DATABASE telemetry")
        say(f"filling pgbench (scale {pgbench_scale})")
        self.runner.output(*pgbench, "-i", "-q", "-I", "dtGvp", "-s", str(pgbench_scale), "pgbench")
        self.runner.output(*pgbench, "-n", "-c", "2", "-j", "2", "-t", "2000", "pgbench")
        say(f"filling telemetry ({rows} rows)")
        self.sql(TELEMETRY.format(rows=rows, tags=TAGS), "telemetry")
        for database in ("pgbench", "telemetry"):
            self.sql("VACUUM (FREEZE, ANALYZE)", database)
        self.stop()
        # What the loading left in pg_wal is no part of anybody's backup, but of the disk's.
        os.sync()
        self.start(MEASURING)
        self.sql("CHECKPOINT")

    def sizes(self):
        """Bytes of each database."""
        return {name: int(self.sql(f"SELECT pg_database_size('{name}')"))
                for name in ("pgbench", "telemetry")}

    def version(self):
        return self.sql("SHOW server_version")

    def warm(self):
        """Read every file of the cluster once, so that all find it in memory alike."""
        for path in glob.glob(os.path.join(self.data, "base", "*", "*")):
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
