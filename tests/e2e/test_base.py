"""Base backups: the whole cluster file by file, verified while it flows."""
import io
import json
import os
import re
import subprocess
import tarfile

import pytest

import plant
from program import all_files


def unzstd(path):
    subprocess.run(["zstd", "-q", "-t", path], check=True)
    return subprocess.run(["zstd", "-q", "-d", "-c", path], check=True, capture_output=True).stdout


def tar_names(path):
    with tarfile.open(fileobj=io.BytesIO(unzstd(path))) as tar:
        return tar.getnames()


def test_the_folder_is_as_the_contract_says(base, bs, pg, store):
    result = base()
    backup = store.backup()
    assert re.fullmatch(r".*/postgresql/base/\d{4}-\d\d-\d\dT\d{6}Z", backup.folder)
    names = backup.names
    assert {"base.tar.zst", "backup_manifest", "settings.json"} <= set(names)
    tablespace = pg.value("SELECT oid FROM pg_tablespace WHERE spcname NOT LIKE 'pg\\_%'")
    assert f"{tablespace}.tar.zst" in names
    assert os.path.basename(backup.path) == "manifest.json"
    store.assert_sound()
    assert backup.id in result.text
    bs.assert_clean()


def test_the_manifest_says_what_a_restore_needs(base, pg, store):
    base()
    manifest = store.backup().manifest
    assert manifest["kind"] == "base"
    assert manifest["source"]["identity"] == pg.identity
    text = json.dumps(manifest["content"])
    assert re.search(r'"[0-9A-F]+/[0-9A-F]+"', text), "LSNs are strings"
    assert "timeline" in text
    with open(store.backup().file("settings.json"), encoding="utf-8") as file:
        assert "max_connections" in file.read()
    with open(store.backup().file("backup_manifest"), encoding="utf-8") as file:
        assert "PostgreSQL-Backup-Manifest-Version" in json.load(file)


def test_plain_tools_read_it_and_the_vendor_agrees(base, pg, store, work, adopt_server, truth):
    """The user can leave with zstd and tar alone."""
    base()
    backup = store.backup()
    data = os.path.join(work, "by-hand")
    os.mkdir(data, 0o700)
    with tarfile.open(fileobj=io.BytesIO(unzstd(backup.file("base.tar.zst")))) as tar:
        assert "backup_label" in tar.getnames()[0]
        assert tar.getnames()[-1] != "backup_label"
        assert any(name.startswith("pg_wal/0000") for name in tar.getnames()), "self-contained"
        tar.extractall(data)
    spaces = {}
    for name in backup.names:
        found = re.fullmatch(r"(\d+)\.tar\.zst", name)
        if found:
            to = os.path.join(work, "space-" + found[1])
            os.mkdir(to, 0o700)
            spaces[found[1]] = to
            with tarfile.open(fileobj=io.BytesIO(unzstd(backup.file(name)))) as tar:
                tar.extractall(to)
    with open(backup.file("backup_manifest"), "rb") as file, \
            open(os.path.join(data, "backup_manifest"), "wb") as to:
        to.write(file.read())
    for oid, path in spaces.items():
        link = os.path.join(data, "pg_tblspc", oid)
        if not os.path.lexists(link):
            os.symlink(path, link)
    map_path = os.path.join(data, "tablespace_map")
    if os.path.exists(os.path.join(pg.bin, "pg_verifybackup")):
        subprocess.run([os.path.join(pg.bin, "pg_verifybackup"), data], check=True,
                       capture_output=True)
    if os.path.exists(map_path):
        with open(map_path, "w", encoding="utf-8") as file:
            file.writelines(f"{oid} {path}\n" for oid, path in spaces.items())
    subprocess.run(["chown", "-R", "--reference", pg.data, data, *spaces.values()], check=True)
    server = adopt_server(os.path.join(work, "hand-server"), data).start()
    skip = ("live_values",)
    assert plant.fingerprint(server, plant.DATABASE, skip) == \
        {key: value for key, value in truth.items() if key[-1] not in skip}


def test_a_zst_file_has_frames_and_a_seek_table(base, store):
    """The seekable format: independent frames of 4 MiB, and a table in a skippable frame."""
    base()
    with open(store.backup().file("base.tar.zst"), "rb") as file:
        data = file.read()
    assert data[:4] == b"\x28\xb5\x2f\xfd"
    assert data[-4:] == b"\xb1\xea\x92\x8f", "the magic number of the seek table"
    frames = int.from_bytes(data[-9:-5], "little")
    content = store.backup().manifest["files"]
    size = next(entry["content_bytes"] for entry in content if entry["name"] == "base.tar.zst")
    assert frames == -(-size // (4 << 20))


def test_config_files_outside_the_data_folder_are_saved(bs, new_server, store, work,
                                                        password_file):
    server = new_server(start=False)
    outside = os.path.join(work, "etc")
    os.mkdir(outside, 0o755)
    hba = os.path.join(outside, "pg_hba.conf")
    os.rename(os.path.join(server.data, "pg_hba.conf"), hba)
    with open(hba, "a", encoding="utf-8") as file:
        file.write("# mark of this plant\n")
    server.settings["hba_file"] = hba
    server.start()
    bs.ok("backup", server.url(), "--kind", "base", "--store", store, "--password-file",
          password_file)
    saved = [path for path in store.backup().files
             if b"mark of this plant" in open(path, "rb").read()]
    assert saved, store.backup().names
    assert os.path.basename(saved[0]) != "base.tar.zst"


def test_uncompressed_and_other_levels(bs, configure, store):
    bs.ok("run", "b", "-c", configure(jobs={"b": "source: postgresql, do: base, compression: 6"}))
    for path in store.backup().files:
        if path.endswith(".zst"):
            subprocess.run(["zstd", "-q", "-t", path], check=True)


def test_the_rate_limit_holds(base, store):
    fast = base().seconds
    size = sum(entry["content_bytes"] for entry in store.backup().manifest["files"])
    slow = base("--rate", f"{size // 3}").seconds
    assert slow > 2.2 and slow > fast * 1.5, (fast, slow)


@pytest.mark.parametrize("kind", ["dump", "base"])
def test_damage_at_the_source(bs, new_server, store, password_file, work, kind):
    """A page whose checksum is wrong on the server's own disk."""
    server = new_server()
    server.sql("CREATE DATABASE webscada")
    plant.fill(server, "webscada", step=100)
    path = os.path.join(server.data, server.value("SELECT pg_relation_filepath('alarms')",
                                                  "webscada"))
    server.sql("CHECKPOINT")
    server.stop()
    with open(path, "r+b") as file:
        file.seek(8192 + 4000)
        file.write(b"blitzschlag")
    server.start()
    args = ("backup", server.url("webscada"), "--kind", kind, "--store", store,
            "--password-file", password_file)
    if kind == "dump":
        result = bs.run(*args, expect=1)
        assert "alarms" in result.err and store.data_files() == []
        return
    result = bs.run(*args, expect=3)
    name = os.path.relpath(path, server.data)
    assert name in result.err, "the file is named"
    assert "damage" in result.err
    backup = store.backup()
    assert "damaged_at_source" in backup.warnings()
    assert name in json.dumps(backup.manifest["warnings"])
    store.assert_sound()
    listing = bs.ok("list", "--store", store)
    assert backup.id in listing.out and "damaged" in listing.out.lower(), listing
    assert bs.listed(store)[0]["damaged"] is True
    # Nobody takes it for a good one, but whoever names it gets what it has.
    result = bs.run("verify", "latest", "--store", store, expect=1)
    assert "no good backup" in result.err
    bs.run("verify", backup.id, "--level", "1", "--store", store, expect=(3, 6))
    assert bs.listed(store)[0]["damaged"] is True
    data = os.path.join(work, "restored")
    result = bs.run("restore", backup.id, "--to", data, "--store", store, expect=3)
    assert "damage" in result.err
    assert os.path.exists(os.path.join(data, "global/pg_control"))


def test_a_server_without_page_checksums(bs, new_server, store, password_file):
    server = new_server(start=False)
    server.tool("pg_checksums", "--disable", "-D", server.data)
    server.start()
    bs.ok("backup", server.url(), "--kind", "base", "--store", store, "--password-file",
          password_file)
    bs.ok("verify", "latest", "--level", "3", "--store", store)


def test_nothing_but_the_store_is_written(base, bs, store, work):
    before = set(all_files(bs.scratch)) | set(all_files(bs.home))
    base()
    assert set(all_files(bs.scratch)) | set(all_files(bs.home)) == before
