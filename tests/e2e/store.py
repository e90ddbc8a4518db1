"""The store's tree as anybody may read it: nothing here knows blackstart's code."""
import datetime
import hashlib
import json
import os
import shutil
import stat

from program import all_files


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


class Backup:
    """One manifest and the files it names."""

    def __init__(self, store, manifest_path):
        self.store, self.path = store, manifest_path
        self.folder = os.path.dirname(manifest_path)
        with open(manifest_path, encoding="utf-8") as file:
            self.manifest = json.load(file)
        self.id = self.manifest["id"]

    @property
    def names(self):
        return [entry["name"] for entry in self.manifest["files"]]

    def file(self, ending):
        """The one file whose name ends so."""
        found = [name for name in self.names if name.endswith(ending)]
        assert len(found) == 1, (ending, self.names)
        return os.path.join(self.folder, found[0])

    @property
    def files(self):
        return [os.path.join(self.folder, name) for name in self.names]

    def database(self, name=None):
        """What the manifest says of one database of a dump, the only one if none is named."""
        found = [d for d in self.manifest["content"]["databases"]
                 if name is None or d["name"] == name]
        assert len(found) == 1, found
        return found[0]

    def tables(self, database=None):
        """{(schema, table): rows} as the manifest of a dump has them."""
        return {(row[0], row[1]): row[2] for row in self.database(database)["tables"]}

    def warnings(self):
        return [warning["code"] for warning in self.manifest["warnings"]]

    def rewrite(self, change):
        """Change the manifest, as nobody should."""
        change(self.manifest)
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.manifest, file)


class Store:
    def __init__(self, path):
        self.path = str(path)

    def __str__(self):
        return self.path

    def __fspath__(self):
        return self.path

    def files(self):
        """Relative names of all files, the half-made ones too."""
        return [os.path.relpath(path, self.path) for path in all_files(self.path)]

    def data_files(self):
        return [name for name in self.files() if not name.startswith(".blackstart/")]

    def temporary(self):
        return [name for name in self.files() if os.path.basename(name).startswith(".tmp-")]

    def temporary_parts(self):
        """Those of a backup, not of the small records beside it."""
        return [name for name in self.temporary() if not name.startswith(".blackstart/")]

    def manifests(self):
        return [name for name in self.data_files()
                if name.endswith("manifest.json") and name not in self.temporary()]

    def backups(self, kind=None):
        """Oldest first."""
        found = [Backup(self, os.path.join(self.path, name)) for name in self.manifests()]
        found.sort(key=lambda backup: backup.manifest["consistent_at"])
        return [b for b in found if kind is None or b.manifest["kind"] == kind]

    def backup(self, kind=None):
        found = self.backups(kind)
        assert len(found) == 1, [b.path for b in found]
        return found[0]

    def newest(self, kind=None):
        return self.backups(kind)[-1]

    def proofs(self, backup_id):
        folder = os.path.join(self.path, ".blackstart/proof", backup_id)
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def copy(self, path):
        shutil.copytree(self.path, path, symlinks=True)
        return Store(path)

    def snapshot(self):
        """What must not change: inode, size, time, mode and hash of every file."""
        found = {}
        for name in self.files():
            path = os.path.join(self.path, name)
            status = os.stat(path)
            found[name] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode,
                           status.st_uid, sha256(path))
        return found

    def assert_sound(self):
        """Nothing half-made, nothing nobody owns, every hash right, every mode tight."""
        assert self.temporary() == []
        owned = set()
        for backup in self.backups():
            owned.add(os.path.relpath(backup.path, self.path))
            for entry in backup.manifest["files"]:
                path = os.path.join(backup.folder, entry["name"])
                owned.add(os.path.relpath(path, self.path))
                assert os.path.getsize(path) == entry["bytes"], path
                assert sha256(path) == entry["sha256"], path
        assert set(self.data_files()) <= owned, set(self.data_files()) - owned
        for parent, folders, names in os.walk(self.path):
            for name in folders:
                assert stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode) == 0o700, name
            for name in names:
                assert stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode) == 0o600, name

    def craft(self, model, days_ago, job=None, level=None, stamp=None):
        """A backup of the past, made from a real one: a dump under an older name, whole and sound."""
        at = stamp or datetime.datetime.now(datetime.timezone.utc) \
            - datetime.timedelta(days=days_ago)
        manifest = json.loads(json.dumps(model.manifest))
        job = job or manifest["job"]
        old = os.path.basename(model.path)[:-len(".manifest.json")]
        stem = f"backup-{at:%Y-%m-%d}"
        attempt = 0
        while os.path.exists(os.path.join(model.folder, stem + ".manifest.json")):
            attempt += 1
            stem = f"backup-{at:%Y-%m-%d}-{at:%H%M%S}" + (f"-{attempt}" if attempt > 1 else "")
        for entry in manifest["files"]:
            new = entry["name"].replace(old, stem)
            shutil.copy2(os.path.join(model.folder, entry["name"]),
                         os.path.join(model.folder, new))
            entry["name"] = new
        manifest["job"] = job
        manifest["id"] = f"{job}-{at:%Y%m%d-%H%M%S}-{abs(hash((days_ago, stem))) % 65536:04x}"
        for key in ("started", "finished", "consistent_at"):
            manifest[key] = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        path = os.path.join(model.folder, stem + ".manifest.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        os.chmod(path, 0o600)
        if level is not None:
            folder = os.path.join(self.path, ".blackstart/proof", manifest["id"])
            os.makedirs(folder, mode=0o700)
            name = os.path.join(folder, f"L{level}-{at:%Y-%m-%dT%H%M%SZ}.json")
            with open(name, "w", encoding="utf-8") as file:
                json.dump({"format": 1, "backup": manifest["id"], "result": "proved",
                           "level": level, "at": manifest["consistent_at"]}, file)
            os.chmod(name, 0o600)
        return manifest["id"]


def flip_bit(path, offset, bit=0):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))
