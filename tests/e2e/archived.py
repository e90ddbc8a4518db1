"""A folder of log that a real server archived, and the store's folder that takes it."""
import glob
import json
import os
import shutil
import sqlite3
import time

from postgres import Server

SEGMENT = 1 << 20
SOUND, DAMAGED = 1, 2


class Log:
    """Segments that a real server handed over with `cp %p`, in order."""

    def __init__(self, folder, identity):
        self.folder, self.identity = folder, identity
        self.names = sorted(name for name in os.listdir(folder) if len(name) == 24)

    def path(self, index):
        return os.path.join(self.folder, self.names[index])


class ArchivingServer(Server):
    """It hands each finished segment over with `cp`; started."""

    def __init__(self, root):
        super().__init__(root)
        self.archived = os.path.join(root, "archived")
        self.initdb("--wal-segsize=1")
        os.mkdir(self.archived)
        os.chmod(self.archived, 0o777)
        self.start(archive_mode="on", archive_command=f"cp %p {self.archived}/%f",
                   max_wal_size="100MB")
        self.sql("SELECT pg_switch_wal()")

    def finish(self):
        """The end: the log up to here, and nothing that came later."""
        last = self.value("SELECT pg_walfile_name(pg_switch_wal())")
        path = os.path.join(self.archived, last)
        deadline = time.monotonic() + 60
        while not os.path.exists(path) or os.path.getsize(path) < SEGMENT:
            assert time.monotonic() < deadline, self.log_text()
            time.sleep(0.05)
        identity = self.identity
        self.kill()
        made = Log(self.archived, identity)
        for name in made.names[made.names.index(last) + 1:]:
            os.unlink(os.path.join(self.archived, name))
        return Log(self.archived, identity)


class Archive:
    def __init__(self, store, bs):
        self.store, self.bs = store, bs
        self.path = os.path.join(store, "postgresql", "wal")
        os.makedirs(self.path)

    def take(self, log, *indexes, form="", old=True):
        for index in indexes or range(len(log.names)):
            to = os.path.join(self.path, log.names[index] + form)
            shutil.copyfile(log.path(index), to)
            if old:
                os.utime(to, (time.time() - 3600,) * 2)

    def settle(self, expect=0):
        return self.bs.json("settle", "postgresql", "--store", self.store, expect=expect)

    def files(self):
        return sorted(os.listdir(self.path))

    def catalog(self):
        with open(os.path.join(self.store, ".blackstart/store.json"), encoding="utf-8") as file:
            return os.path.join(self.bs.state, "blackstart", json.load(file)["id"], "catalog.db")

    def rows(self, what="number, state, is_stored_plain, stored_bytes, end_position, commits,"
             " first_time, last_time, message"):
        with sqlite3.connect(self.catalog()) as db:
            return db.execute(f"SELECT {what} FROM piece ORDER BY branch, number").fetchall()

    def marks(self):
        with sqlite3.connect(self.catalog()) as db:
            return db.execute("SELECT branch, number, position, time, name FROM mark").fetchall()

    def states(self):
        return [row[0] for row in self.rows("state")]

    def events(self):
        return glob.glob(os.path.join(self.store, ".blackstart/event/postgresql/*"))

    def change(self, name, offset, data):
        with open(os.path.join(self.path, name), "r+b") as file:
            file.seek(offset)
            file.write(data)
