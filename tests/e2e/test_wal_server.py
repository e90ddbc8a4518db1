"""The receiver before servers that are set up in other ways: TLS, other sizes of segments, slots
that the server gives up, and a store that goes away."""
import os
import subprocess
import time

import pytest

from postgres import give_away
from receiver import assert_same_wal, events, poll, write
from test_pitr import Site, stamp


# --- TLS ----------------------------------------------------------------------

def openssl(folder, *args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)


def make_authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout",
            f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    return os.path.join(folder, f"{name}.pem")


def make_certificate(folder, authority, host):
    """server.pem and server.key for this host, signed by the authority."""
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out",
            "server.csr", "-subj", f"/CN={host}")
    extension = os.path.join(folder, "san")
    with open(extension, "w", encoding="ascii") as file:
        file.write(f"subjectAltName=DNS:{host}\n")
    openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", f"{authority}.pem", "-CAkey",
            f"{authority}.key", "-CAcreateserial", "-days", "2", "-out", "server.pem", "-extfile",
            "san")


@pytest.fixture
def secured(small, work):
    """A server that takes nothing but TLS, with a certificate for 'localhost'; the right authority
    and a wrong one."""
    folder = os.path.join(work, "pki")
    os.mkdir(folder, 0o755)
    right, wrong = make_authority(folder, "right"), make_authority(folder, "wrong")
    make_certificate(folder, "right", "localhost")
    give_away(os.path.join(folder, "server.key"))
    server = small()
    server.stop()
    server.write_hba(["local all postgres trust",
                      "hostssl all all 127.0.0.1/32 scram-sha-256",
                      "hostssl replication all 127.0.0.1/32 scram-sha-256"])
    server.settings.update(ssl="on", ssl_cert_file=os.path.join(folder, "server.pem"),
                           ssl_key_file=os.path.join(folder, "server.key"))
    return server.start(), right, wrong


def with_tls(receiver, authority, host="localhost"):
    """Aim the configuration at `host`, fully verified."""
    with open(receiver.path, encoding="utf-8") as file:
        text = file.read()
    with open(receiver.path, "w", encoding="utf-8") as file:
        file.write(text.replace("host: 127.0.0.1,", f"host: {host}, sslmode: verify-full, "
                                f"sslrootcert: {authority},"))
    return receiver


def test_the_stream_is_encrypted_and_the_server_proved(receive, secured):
    """The stream itself and the heartbeat's connection beside it."""
    server, right, _ = secured
    receiver = with_tls(receive(server, start=False, heartbeat="1s", databases=["postgres"]), right)
    receiver.start()
    write(server)
    assert_same_wal(receiver, server, receiver.wait_all())
    query = ("SELECT s.ssl, s.version FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid) "
             "WHERE application_name = 'blackstart'")
    assert server.sql(query)[0][0] is True
    xmax = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
    quiet = server.value(xmax)
    poll(lambda: server.value(xmax) > quiet)
    receiver.stop()


def test_a_server_of_another_authority_gets_no_password(receive, secured, work):
    """It is refused, said, and tried again until it is the right one; nothing is stored from it."""
    server, right, wrong = secured
    receiver = with_tls(receive(server, start=False), wrong)
    receiver.start(wait=False)
    receiver.wait_said("certificate verify failed")
    receiver.wait_said("sslrootcert")
    assert receiver.running.is_running() and receiver.flushed() is None
    assert receiver.names("*.partial") == []
    assert server.value("SELECT count(*) FROM pg_stat_replication") == 0
    assert server.value("SELECT count(*) FROM pg_replication_slots") == 0
    receiver.stop()
    with open(receiver.path, encoding="utf-8") as file:
        text = file.read()
    with open(receiver.path, "w", encoding="utf-8") as file:
        file.write(text.replace(wrong, right))
    receiver.start()
    receiver.wait_all()
    receiver.stop()


def test_a_certificate_of_another_host_is_refused(receive, secured):
    server, right, _ = secured
    receiver = with_tls(receive(server, start=False), right, host="127.0.0.1")
    receiver.start(wait=False)
    receiver.wait_said("does not match host name")
    assert receiver.flushed() is None
    receiver.stop()


def test_check_says_that_the_certificate_is_refused(receive, secured):
    server, _, wrong = secured
    receiver = with_tls(receive(server, start=False), wrong)
    result = receiver.bs.run("check", "postgresql", "-c", receiver.path, expect=1)
    assert "certificate verify failed" in result.text and "sslrootcert" in result.text, result


# --- sizes of segments ----------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("size_mb", [
    16, 128, pytest.param(1024, marks=pytest.mark.matrix)])
def test_segments_of_other_sizes(base_folder, bin_dirs, password_file, size_mb):
    """Received, put in order, and recovered from: whole ones and the tail. Above 64 MiB the feeder
    does not keep what it reads ahead in memory."""
    site = Site(base_folder, bin_dirs, password_file, f"size{size_mb}", segment_mb=size_mb)
    try:
        site.receive().base()
        done = {}
        for number in (1, 2, 3):
            done[number] = site.insert(number)
            if number < 3:
                site.server.sql("SELECT pg_logical_emit_message(false, '', repeat('x', 3000000)), "
                                "pg_switch_wal()")
        site.receiver.wait_all(seconds=60)
        result = site.receiver.stop()
        assert result.peak_kb <= 16 * 1024, result
        settled = site.run("settle", "postgresql")
        assert settled.peak_kb <= 64 * 1024, settled
        tails = site.receiver.names("*.partial")
        assert len(tails) == 1 and len(site.receiver.names("*.zst")) >= 2
        assert os.path.getsize(os.path.join(site.wal, tails[0])) == size_mb << 20
        rows, result = site.ids_at("--at", stamp(done[2]["at"]))
        assert rows == [1, 2], result
        rows, result = site.ids_at("--at", "latest")
        assert rows == [1, 2, 3] and result.peak_kb <= 64 * 1024, result
    finally:
        site.destroy()


# --- the server gives up the slot -------------------------------------------------

def wait_given_up(server):
    """Slots are judged by checkpoints."""
    def is_lost():
        server.sql("CHECKPOINT")
        return server.value("SELECT wal_status FROM pg_replication_slots "
                            "WHERE slot_name = 'blackstart'") == "lost"
    poll(is_lost, 30)


def test_a_slot_that_outgrew_its_limit_is_made_again_behind_a_gap(receive, small, work):
    server = small({"wal_keep_size": "0", "max_slot_wal_keep_size": "2MB", "min_wal_size": "2MB",
                    "max_wal_size": "2MB"})
    receiver = receive(server)
    write(server)
    receiver.wait_all()
    receiver.stop()
    for _ in range(5):
        write(server, 3000)
        server.sql("SELECT pg_switch_wal()")
    wait_given_up(server)
    receiver.start()
    write(server)
    lsn = receiver.wait_all()
    assert_same_wal(receiver, server, lsn)
    kinds = [event["kind"] for event in events(work)]
    assert kinds.count("gap") == 1 and "slot-lost" in kinds, events(work)
    assert server.value("SELECT wal_status FROM pg_replication_slots") in ("reserved", "extended")
    receiver.stop()


@pytest.mark.since(18)
def test_a_slot_that_was_idle_for_too_long_is_made_again(receive, small, work):
    """The server keeps where it stood and says no only to who asks (SQLSTATE 55000). The log is
    still there: no gap, no byte lacks."""
    server = small({"idle_replication_slot_timeout": "1s", "wal_keep_size": "100MB"})
    receiver = receive(server)
    write(server)
    receiver.wait_all()
    receiver.stop()
    write(server)
    time.sleep(1.1)  # what the server counts, not what we wait for
    wait_given_up(server)
    assert server.value("SELECT invalidation_reason FROM pg_replication_slots") == "idle_timeout"
    receiver.start(wait=False)
    receiver.wait_said("has given up the replication slot")
    receiver.wait_streaming()
    write(server)
    lsn = receiver.wait_all()
    assert_same_wal(receiver, server, lsn)
    kinds = [event["kind"] for event in events(work)]
    assert kinds == ["slot-lost"], events(work)
    assert server.value("SELECT wal_status FROM pg_replication_slots") == "reserved"
    # Found out once: a receiver that begins anew does not make it again.
    receiver.stop()
    receiver.start()
    receiver.wait_all()
    assert [event["kind"] for event in events(work)] == ["slot-lost"]
    receiver.stop()
