"""A plant for the page: a configuration, a store of manifests, and the history of its runs.

Nothing is backed up: what the page shows is what catalog and manifests say, and here they say what
the test wants, for as many jobs and runs as it wants.
"""
import datetime
import glob
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
SEGMENT_BYTES = 16 * 1024 * 1024
TOKEN = "correct horse battery staple 0123456789"
JOBS = {
    "pg-daily": 'source: postgresql, do: dump, at: "02:00", keep: 30d',
    "pg-base": 'source: postgresql, do: base, at: "01:00", keep: 7d',
    "pg-wal": "source: postgresql, do: wal, keep: 7d",
    "redis-6h": 'source: redis, do: rdb, cron: "0 */6 * * *", keep: 7d',
}


def text_of(at):
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def micros(at):
    return int(at.timestamp()) * 1_000_000 + at.microsecond


class PagePlant:
    def __init__(self, root, program, jobs=None, site="webscada-north", web="", sources=None,
                 zone="UTC"):
        self.root, self.program = str(root), program
        self.store = os.path.join(self.root, "store")
        self.state = os.path.join(self.root, "state-page")
        self.config = os.path.join(self.root, "page.yaml")
        self.token_file = os.path.join(self.root, "token")
        self.now = datetime.datetime.now(UTC)
        self.random = random.Random(7)
        self.rows, self.pieces = [], []
        self.count = 0
        os.makedirs(self.store, exist_ok=True)
        with open(self.token_file, "w", encoding="utf-8") as file:
            file.write(TOKEN + "\n")
        os.chmod(self.token_file, 0o600)
        lines = [f"site: {site}", f"timezone: {zone}", f"state_dir: {self.state}",
                 f"store: {{ path: {self.store} }}", "sources:"]
        for name, kind in (sources or {"postgresql": "postgres", "redis": "redis"}).items():
            user = ", user: webscada" if kind == "postgres" else ""
            lines.append(f"  {name}: {{ type: {kind}, host: 127.0.0.1{user} }}")
        lines.append("jobs:")
        for job, text in (jobs or JOBS).items():
            lines.append(f"  {job}: {{ {text} }}")
        lines.append(f'web: {{ listen: "127.0.0.1:0", token_file: {self.token_file}{web} }}')
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def copy(self, root):
        """The same plant at another place, to be changed."""
        made = PagePlant.__new__(PagePlant)
        made.__dict__.update(self.__dict__)
        made.root = str(root)
        for name in ("store", "state", "config", "token_file"):
            setattr(made, name, getattr(self, name).replace(self.root, made.root, 1))
        for name in ("store", "state"):
            shutil.copytree(getattr(self, name), getattr(made, name))
        shutil.copy2(self.token_file, made.token_file)
        with open(self.config, encoding="utf-8") as file:
            text = file.read()
        with open(made.config, "w", encoding="utf-8") as file:
            file.write(text.replace(self.root, made.root))
        made.rows, made.pieces = [], []
        return made

    # --- manifests --------------------------------------------------------

    def backup(self, job, source, kind, at, size=1_000_000, level=None, warnings=(), took=90,
               content=None):
        """Write a manifest, and its proof; the backup's id."""
        self.count += 1
        backup_id = f"{job}-{at:%Y%m%d-%H%M%S}-{self.count:04x}"
        layout = {"dump": f"{source}/daily/backup-{at:%Y-%m-%d}-{self.count}.manifest.json",
                  "base": f"{source}/base/{at:%Y-%m-%dT%H%M%SZ}/manifest.json",
                  "rdb": f"{source}/dump-{at:%Y-%m-%d-%H-%M}-{self.count}.manifest.json"}
        path = os.path.join(self.store, layout[kind])
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        name = {"base": "base.tar.zst"}.get(kind, os.path.basename(path)[:-len(".manifest.json")]
                                           + "." + kind)
        manifest = {
            "format": 1, "id": backup_id, "job": job, "kind": kind,
            "source": {"name": source, "type": "redis" if kind == "rdb" else "postgres",
                       "identity": "7312045211837912345", "version": "15.4"},
            "started": text_of(at), "finished": text_of(at + datetime.timedelta(seconds=took)),
            "consistent_at": text_of(at + datetime.timedelta(seconds=took if kind == "base" else 1)),
            "files": [{"name": each, "bytes": size if each == name else 100,
                       "sha256": hashlib.sha256(each.encode()).hexdigest(),
                       "content_bytes": size * 3 if each == name else 100,
                       "compression": "zstd" if each.endswith(".zst") else "none"}
                      for each in ([name] + (["backup_manifest", "settings.json"]
                                             if kind == "base" else []))],
            "content": content or {}, "tool": {"name": "blackstart", "version": "0.1.0"},
            "warnings": [{"code": "note", "text": text} for text in warnings]}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        if level is not None:
            folder = os.path.join(self.store, ".blackstart/proof", backup_id)
            os.makedirs(folder, mode=0o700)
            proved = at + datetime.timedelta(seconds=took + 600)
            with open(os.path.join(folder, f"L{level}-{proved:%Y-%m-%dT%H%M%SZ}.json"), "w",
                      encoding="utf-8") as file:
                json.dump({"format": 1, "backup": backup_id, "result": "proved", "level": level,
                           "at": text_of(proved)}, file)
        return backup_id

    # --- runs -------------------------------------------------------------

    def run(self, job, source, verb, at, state="ok", took=90, size=0, backup_id=None, message=None,
            hint=None, log=None):
        self.count += 1
        run_id = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', job)}-{at:%Y%m%d-%H%M%S}-{self.count:04x}"
        log_path = None
        if log is not None:
            os.makedirs(os.path.join(self.state, "log"), mode=0o700, exist_ok=True)
            log_path = os.path.join(self.state, "log", run_id + ".log")
            with open(log_path, "wb") as file:
                file.write(log if isinstance(log, bytes) else log.encode())
        finished = 0 if state == "running" else micros(at + datetime.timedelta(seconds=took))
        self.rows.append((run_id, job, source, verb, state, micros(at), finished, backup_id,
                          size * 3, size, message, hint, log_path, None))
        return run_id

    def good(self, job, source, kind, at, size, level=None, took=90):
        """A backup and the run that made it."""
        backup_id = self.backup(job, source, kind, at, size, level, took=took)
        self.run(job, source, "backup", at, size=size, backup_id=backup_id, took=took,
                 log=self.log_text(at, backup_id))
        if level is not None:
            self.run(job, source, "verify", at + datetime.timedelta(seconds=took), took=540,
                     backup_id=backup_id)
        return backup_id

    def log_text(self, at, run_id):
        lines = [("debug", f"backup of job begins"), ("debug", "phase: counting rows"),
                 ("info", "24 tables, 3 000 000 rows"), ("debug", "phase: dumping"),
                 ("debug", "ended ok after 1 min 30 s")]
        return "".join(f"{text_of(at + datetime.timedelta(seconds=15 * i))} {level} run={run_id} "
                       f"{text}\n" for i, (level, text) in enumerate(lines))

    def dues(self, hour, days):
        """The last times of day at which something was due, oldest first."""
        last = self.now.replace(hour=hour, minute=0, second=0, microsecond=0)
        if last > self.now - datetime.timedelta(minutes=30):
            last -= DAY
        return [last - DAY * n for n in reversed(range(days))]

    def calm(self, bases=True):
        """Thirty days in which nothing went wrong."""
        for n, at in enumerate(self.dues(2, 30)):
            self.good("pg-daily", "postgresql", "dump", at,
                      int(2.1e9 + n * 1.5e7 + self.random.random() * 4e7),
                      level=3 if n in (5, 12, 19, 26) else 1, took=160 + n)
        if bases:
            self.wal(7)
        for n, at in enumerate(at for hour in (0, 6, 12, 18) for at in self.dues(hour, 7)):
            self.good("redis-6h", "redis", "rdb", at, int(6e7 + self.random.random() * 2e6),
                      level=2 if n == 13 else 1, took=4)
        return self

    # --- the log ----------------------------------------------------------

    def base_content(self, number):
        lsn = number * SEGMENT_BYTES
        begin, end = (f"{at >> 32:X}/{at & 0xFFFFFFFF:X}" for at in (lsn + 40, lsn + 4096))
        return {"system_identifier": "7312045211837912345", "server_version_num": 150004,
                "label": "blackstart", "start_lsn": begin, "end_lsn": end, "start_timeline": 1,
                "end_timeline": 1, "wal_included": False, "wal_segment_size": SEGMENT_BYTES,
                "wal_first_segment": f"{1:08X}{0:08X}{number:08X}",
                "wal_last_segment": f"{1:08X}{0:08X}{number:08X}",
                "checksums": True, "files": 1000, "file_bytes": 6_000_000_000, "tablespaces": [],
                "databases": [], "damaged_files": [], "superuser": "postgres"}

    def wal(self, days, minutes=60, missing=()):
        """Bases of the last days, and a segment for so many minutes each, but for the missing."""
        dues = self.dues(1, days)
        began = dues[0] - datetime.timedelta(minutes=minutes)
        count = int((self.now - began).total_seconds() // (minutes * 60)) + 1
        folder = os.path.join(self.store, "postgresql/wal")
        os.makedirs(folder, mode=0o700)
        for at in dues:
            number = 1 + int((at - began).total_seconds() // (minutes * 60))
            backup_id = self.backup("pg-base", "postgresql", "base", at, int(1.9e9),
                                    level=3 if at == dues[-3] else 1, took=420,
                                    content=self.base_content(number))
            self.run("pg-base", "postgresql", "backup", at, size=int(1.9e9), took=420,
                     backup_id=backup_id, log=self.log_text(at, backup_id))
            if at == dues[-3]:
                self.run("pg-base", "postgresql", "verify", at + DAY / 24, took=540,
                         backup_id=backup_id)
        for number in range(1, count + 1):
            if number in missing:
                continue
            begin = began + datetime.timedelta(minutes=minutes * (number - 1))
            end = min(begin + datetime.timedelta(minutes=minutes, seconds=-1), self.now)
            path = os.path.join(folder, f"{1:08X}{0:08X}{number:08X}.zst")
            with open(path, "wb"):
                pass
            os.chmod(path, 0o600)
            self.pieces.append(("postgresql", 1, number, 1, 0, 4_000_000, micros(end),
                                (number + 1) * SEGMENT_BYTES, 100, micros(begin), micros(end),
                                None))

    # --- catalog ----------------------------------------------------------

    def catalog(self):
        return glob.glob(os.path.join(self.state, "catalog.db"))[0]

    def finish(self):
        """Make the catalog, and put the history into it."""
        self.program.run("list", "-c", self.config, expect=0)
        self.insert()
        return self

    def insert(self):
        database = sqlite3.connect(self.catalog(), timeout=30)
        with database:
            database.executemany(
                "INSERT INTO run (id, job, source, verb, state, started, finished, backup_id, "
                "source_bytes, stored_bytes, message, hint, log_path, lock_path) VALUES "
                "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", sorted(self.rows, key=lambda row: row[5]))
            if self.pieces:
                database.execute("DELETE FROM piece")
                database.executemany("INSERT INTO piece VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                                     self.pieces)
        database.close()
        self.rows, self.pieces = [], []


def twenty_jobs():
    """(jobs, sources) of a large plant."""
    sources = {f"pg{n}": "postgres" for n in range(1, 11)}
    sources.update({f"redis{n}": "redis" for n in range(1, 11)})
    jobs = {}
    for name, kind in sources.items():
        jobs[f"{name}-daily"] = f'source: {name}, do: dump, at: "02:00", keep: 30d' \
            if kind == "postgres" else f'source: {name}, do: rdb, cron: "0 */6 * * *", keep: 30d'
    return jobs, sources


