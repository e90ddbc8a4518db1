"""A server that was rebuilt under its old name: the same segments' names, another content. Nothing
of the old one is lost, nor in the way."""
import os
import re
import subprocess

import pytest

from postgres import Server
from receiver import Receiver
from test_pitr import Site, stamp


class Rebuilt(Site):
    """A site whose server is thrown away and made again."""

    def rebuild(self):
        self.receiver.stop()
        self.old, self.old_done, self.old_identity = self.server, {}, self.server.identity
        self.server = Server(os.path.join(self.root, "pg-new"), settings=self.old.settings)
        self.server.initdb("--wal-segsize=1")
        self.server.start()
        self.prepare()
        self.write_config(self.server.port)

    def restart_receiver(self):
        self.receiver = Receiver(self.bs, self.config, self.wal, self.server).start()

    def destroy(self):
        self.old.destroy()
        super().destroy()


@pytest.fixture(scope="module")
def site(base_folder, bin_dirs, password_file):
    """Rows 1 to 3 of the old server, 11 to 13 of the new one, each behind a base of its own."""
    made = Rebuilt(base_folder, bin_dirs, password_file, "rebuilt").receive()
    made.done, made.said = {}, {}

    def fill(numbers):
        made.base()
        for number in numbers:
            made.done[number] = made.insert(number)
            made.server.sql("SELECT pg_switch_wal()")
        made.receiver.wait_all()
    fill((1, 2, 3))
    made.rebuild()
    made.said["refused"] = made.run("run", "pg-wal", expect=5)
    made.before = sorted(os.listdir(made.wal))
    made.said["adopted"] = made.run("source", "adopt", "postgresql")
    made.restart_receiver()
    fill((11, 12, 13))
    made.receiver.stop()
    made.aside = f"{made.wal}@{made.old_identity}"
    made.former = f"postgresql@{made.old_identity}"
    yield made
    made.destroy()


def test_it_is_refused_and_the_way_out_is_named(site):
    refused = site.said["refused"]
    assert "another system" in refused.err and "source adopt postgresql" in refused.err, refused
    assert "move that folder" not in refused.err


def test_the_old_log_is_set_aside_whole(site):
    assert f"blackstart window {site.former}" in site.said["adopted"].out
    assert sorted(os.listdir(site.aside)) == site.before
    # The names are the same: without a folder of its own one would be in the other's way.
    shared = {name[:24] for name in os.listdir(site.aside)} & \
        {name[:24] for name in os.listdir(site.wal) if name[0] == "0"}
    assert len(shared) >= 3, shared


def test_the_new_server_goes_on_as_if_there_were_no_other(site):
    window = site.run("window", "--json").json
    assert len(window["spans"]) == 1 and window["gaps"] == [] and window["warnings"] == [], window
    assert site.ids_at("--at", stamp(site.done[12]["at"]))[0] == [11, 12]
    assert site.ids_at("--at", "latest")[0] == [11, 12, 13]
    site.run("settle", "postgresql")


def test_the_old_server_can_be_brought_back_to_any_second(site):
    window = site.run("window", site.former, "--json").json
    assert window["source"] == site.former and len(window["spans"]) == 1, window
    assert window["gaps"] == []
    rows, _ = site.ids_at("--at", stamp(site.done[2]["at"]), source=site.former)
    assert rows == [1, 2]
    rows, _ = site.ids_at("--at", "latest", source=site.former)
    assert rows == [1, 2, 3]


def chown(path, owner):
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", owner, path], check=True)


def test_a_server_that_recovers_by_itself_gets_the_log_of_its_own_system(site):
    """Restored without being started: its restore_command asks later, and only its control file
    tells who asks. Its user must be able to read the store."""
    data = os.path.join(site.root, "later")
    site.run("restore", site.former, "--at", "latest", "--to", data)
    owner = os.stat(site.store)
    chown(site.store, "postgres")
    server = Server(os.path.join(site.root, "later-root"), data=data)
    try:
        server.start(hba_file=os.path.join(data, "pg_hba.conf"))
        assert [row[0] for row in server.sql("SELECT id FROM t ORDER BY id")] == [1, 2, 3]
    finally:
        server.destroy()
        chown(site.store, f"{owner.st_uid}:{owner.st_gid}")


def test_a_base_of_the_old_server_by_its_id(site):
    backups = {b["identity"]: b["id"] for b in (site.run("show", row["id"], "--json").json["backup"]
                                                for row in site.run("list", "--json").json["backups"])}
    assert set(backups) == {site.old_identity, site.server.identity}
    for identity, rows in ((site.old_identity, []), (site.server.identity, [])):
        found, _ = site.ids_at(source=backups[identity])
        assert found == rows
    site.run("verify", backups[site.old_identity], "--level", "2")


def test_an_identity_that_it_never_had(site):
    refused = site.run("window", "postgresql@123", expect=1)
    assert "never was the system with identity 123" in refused.err, refused


def test_retention_leaves_both_what_their_bases_need(site):
    before = sorted(os.listdir(site.aside)), sorted(os.listdir(site.wal))
    result = site.run("prune", "--confirm", expect=(0, 3))
    assert (sorted(os.listdir(site.aside)), sorted(os.listdir(site.wal))) == before, result


def test_without_the_catalog_all_is_found_again(site):
    for name in os.listdir(os.path.join(site.root, "state")):
        if re.match("catalog.db", name):
            os.unlink(os.path.join(site.root, "state", name))
    site.run("catalog", "rebuild")
    for word, first in (("postgresql", 11), (site.former, 1)):
        window = site.run("window", word, "--json").json
        assert len(window["spans"]) == 1 and window["gaps"] == [], window
        rows, _ = site.ids_at("--at", stamp(site.done[first]["at"]), source=word)
        assert rows == [first]


def test_the_old_server_comes_back(site):
    """The wrong one was rebuilt: the same command the other way round, last of all."""
    site.write_config(site.old.port)
    said = site.run("source", "adopt", "postgresql")
    assert f"postgresql@{site.server.identity}" in said.out
    assert not os.path.exists(site.aside)
    site.old.sql("INSERT INTO t VALUES (4)")
    receiver = Receiver(site.bs, site.config, site.wal, site.old).start()
    receiver.wait_all()
    receiver.stop()
    assert site.ids_at("--at", "latest")[0] == [1, 2, 3, 4]
    rows, _ = site.ids_at("--at", "latest", source=f"postgresql@{site.server.identity}")
    assert rows == [11, 12, 13]
