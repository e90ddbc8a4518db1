"""Acknowledged means durable: the order of system calls, read from a trace of the whole run."""
import os
import re

import pytest

import plant
from test_failures import backup_args

CALLS = "openat,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,unlink," \
        "unlinkat,exit_group,write,pwrite64"


class Trace:
    """What one blackstart did to the store, in the order of the kernel."""

    def __init__(self, bs, store, work, *args, expect=0):
        self.path = os.path.join(work, "strace.log")
        result = bs.run(*args, expect=expect, prefix=(
            "strace", "-f", "-y", "-s", "0", "-e", "trace=" + CALLS, "-o", self.path),
            timeout=300)
        assert result.code == expect
        self.store = os.path.realpath(store.path)
        self.events = []       # (what, path, other path)
        with open(self.path, encoding="utf-8", errors="replace") as file:
            self.parse(file)

    def parse(self, lines):
        unfinished = {}
        for line in lines:
            found = re.match(r"(\d+)\s+(.*)", line)
            if not found:
                continue
            pid, text = found.groups()
            if text.endswith("<unfinished ...>"):
                unfinished[pid] = text[:-len("<unfinished ...>")]
                continue
            resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
            if resumed:
                text = unfinished.pop(pid, "") + resumed[1]
            call = re.match(r"(\w+)\((.*)\)\s+= (-?\d+)", text)
            if call and int(call[3]) >= 0:
                self.note(call[1], call[2])

    def note(self, name, text):
        if name in ("fsync", "fdatasync"):
            self.add("sync", re.search(r"<([^>]*)>", text)[1])
        elif name in ("write", "pwrite64"):
            self.add("write", re.search(r"<([^>]*)>", text)[1])
        elif name.startswith(("rename", "link")):
            pair = self.paths(text)
            self.add("name", pair[0], pair[1])
        elif name.startswith("unlink"):
            self.add("remove", self.paths(text)[0])

    @staticmethod
    def paths(text):
        """Absolute paths of "AT_FDCWD</cwd>, "a", 3</dir>, "b"" and the like."""
        found = []
        for folder, name in re.findall(r'(?:\w+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', text):
            name = name.encode().decode("unicode_escape").encode("latin-1").decode("utf-8")
            found.append(os.path.normpath(os.path.join(folder, name)))
        return found

    def add(self, what, path, other=None):
        path = path.replace(" (deleted)", "")
        if path.startswith(self.store) or (other or "").startswith(self.store):
            self.events.append((what, path, other))

    def index(self, event, after=-1):
        for i, seen in enumerate(self.events):
            if i > after and seen[:len(event)] == event:
                return i
        return None


@pytest.fixture(params=["dump", "base", "directory dump"])
def traced(request, bs, pg, store, work, password_file):
    kind = request.param.split()[-1]
    args = backup_args(pg, store, password_file, kind, plant.DATABASE if kind == "dump" else "")
    if request.param.startswith("directory"):
        args += ("--format", "directory")
    return Trace(bs, store, work, *args)


def test_every_file_is_durable_before_its_name_and_the_manifest_is_last(traced, store):
    """write > fsync(file) > rename > fsync(folder), and the manifest's name after all of it."""
    backup = store.backup()
    final = {}
    for path in [*backup.files, backup.path]:
        path = os.path.realpath(path)
        named = [i for i, event in enumerate(traced.events)
                 if event[0] == "name" and event[2] == path]
        assert len(named) == 1, f"'{path}' was named {len(named)} times"
        temporary = traced.events[named[0]][1]
        assert os.path.basename(temporary).startswith(".tmp-")
        assert os.path.dirname(temporary) == os.path.dirname(path), "in the final folder"
        writes = [i for i, event in enumerate(traced.events[:named[0]])
                  if event[:2] == ("write", temporary)]
        syncs = [i for i, event in enumerate(traced.events[:named[0]])
                 if event[:2] == ("sync", temporary)]
        assert syncs, f"'{path}' was named before fsync"
        assert not writes or syncs[-1] > writes[-1], f"'{path}' was written to after its fsync"
        late = [event for event in traced.events[named[0]:] if event[:2] == ("write", path)]
        assert not late, f"'{path}' was written to after it had its name"
        folder = traced.index(("sync", os.path.dirname(path)), after=named[0])
        assert folder is not None, f"the folder of '{path}' was not synced after the name"
        final[path] = (named[0], folder)
    manifest = os.path.realpath(backup.path)
    for path, (_, folder) in final.items():
        if path != manifest:
            assert folder < final[manifest][0], f"'{path}' was not durable before the manifest"


def test_new_folders_are_durable_too(traced, store):
    """A folder's own name lies in the folder above: that must be synced before the manifest."""
    backup = store.backup()
    manifest = [i for i, event in enumerate(traced.events)
                if event[0] == "name" and event[2] == os.path.realpath(backup.path)][0]
    folder = os.path.dirname(os.path.realpath(backup.path))
    while folder != traced.store:
        folder = os.path.dirname(folder)
        found = traced.index(("sync", folder))
        assert found is not None and found < manifest, f"'{folder}' was never synced"


def test_a_proof_is_durable(bs, dump_store, work):
    trace = Trace(bs, dump_store, work, "verify", "latest", "--level", "0", "--store", dump_store)
    named = [event for event in trace.events if event[0] == "name"]
    assert len(named) == 1 and "/proof/" in named[0][2]
    at = trace.index(named[0][:2])
    assert trace.index(("sync", named[0][1])) < at
    assert trace.index(("sync", os.path.dirname(named[0][2])), after=at) is not None


def test_prune_removes_the_manifest_first(bs, configure, store, work, pg):
    path = configure(databases=f"[{plant.EMPTY_DATABASE}]",
                     jobs={"pg-daily": "source: postgresql, do: dump, keep: 7d"})
    bs.ok("run", "pg-daily", "-c", path)
    store.craft(store.backup(), 40)
    old = store.backups()[0]
    names = [os.path.realpath(name) for name in [old.path, *old.files]]
    trace = Trace(bs, store, work, "prune", "--confirm", "-c", path)
    intent = [i for i, event in enumerate(trace.events)
              if event[0] == "name" and "/.blackstart/prune/" in event[2]]
    removed = {event[1]: i for i, event in enumerate(trace.events) if event[0] == "remove"}
    assert set(names) <= set(removed), removed
    first = removed[names[0]]
    assert intent and intent[0] < first, "what will be removed is written down before"
    assert all(first < removed[name] for name in names[1:])
    synced = trace.index(("sync", os.path.dirname(names[0])), after=first)
    assert synced is not None and all(synced < removed[name] for name in names[1:]), \
        "that the manifest is gone must be durable before the files go"
