"""The page in a real browser: what is seen, said, and reached by keyboard.

BLACKSTART_SHOTS names a folder for screenshots; those of docs/img are made so.
"""
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from page_plant import DAY, TOKEN, PagePlant, text_of, twenty_jobs
from page_server import PageServer
from postgres import ROOT
from program import Program

HERE = os.path.dirname(os.path.abspath(__file__))
ZONE = "Europe/Berlin"


@pytest.fixture(scope="session")
def browser_root():
    return subprocess.run([os.path.join(ROOT, "tools/browser"), "path"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


@pytest.fixture
def drive(browser_root, work):
    """Run a scenario of page_browser.mjs; `steps` are called at its lines on stderr."""
    def run(scenario, url, steps=(), **options):
        shots = os.environ.get("BLACKSTART_SHOTS")
        if shots:
            os.makedirs(shots, exist_ok=True)
        env = {**os.environ, "BROWSER_ROOT": browser_root, "HOME": str(work)}
        process = subprocess.Popen(
            ["node", os.path.join(HERE, "page_browser.mjs"), scenario, url,
             json.dumps({"shots": shots, **options})],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        said = ""
        for word, step in steps:
            for line in process.stderr:
                said += line
                if line.strip() == word:
                    step()
                    break
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, (scenario, said + err)
        result = json.loads(out)
        assert result["errors"] == [] and result["dialogs"] == [], result
        assert result["foreign"] == [], "something was fetched from elsewhere"
        return result
    return run


@pytest.fixture
def serve():
    made = []

    def start(config):
        made.append(PageServer(config))
        return made[-1]
    yield start
    for server in made:
        if server.is_alive():
            server.stop()


@pytest.fixture
def place(work):
    """Where a plant is whose paths are in a picture."""
    if not os.environ.get("BLACKSTART_SHOTS"):
        yield str(work)
        return
    shutil.rmtree("/tmp/plant", ignore_errors=True)
    os.mkdir("/tmp/plant")
    yield "/tmp/plant"
    shutil.rmtree("/tmp/plant")


def make(root, bin_dirs, **options):
    os.makedirs(root, exist_ok=True)
    return PagePlant(root, Program(root, bin_dirs, []), zone=ZONE, **options)


def fill_space(plant, growth):
    """Samples of a store that grows by such a part of its size each day, to what it is now."""
    with sqlite3.connect(plant.catalog()) as catalog:
        disk = os.statvfs(plant.store)
        size = disk.f_blocks * disk.f_frsize
        full = 1 - disk.f_bfree / disk.f_blocks
        for day in range(30):
            at = int((plant.now - DAY * (29 - day)).timestamp() * 1e6)
            catalog.execute("INSERT OR REPLACE INTO space_sample VALUES (?, ?, ?)",
                            (at, max(0, int(size * (full - growth * (29 - day)))), size))
    catalog.close()


def add_alarm(plant, rule, subject, severity, hours, text, cause, command, acknowledged=0, shelved=0):
    at = int((plant.now - DAY / 24 * hours).timestamp() * 1e6)
    with sqlite3.connect(plant.catalog()) as catalog:
        catalog.execute("INSERT INTO alarm VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?)",
                        (rule, subject, severity, severity, at, at, at, acknowledged, shelved, text,
                         cause, command))
    catalog.close()


@pytest.fixture(scope="module")
def calm(base_folder, bin_dirs):
    plant = make(os.path.join(base_folder, "calm"), bin_dirs).calm().finish()
    fill_space(plant, 0.0005)
    return plant


# --- grey when well ----------------------------------------------------------

def test_well_is_grey_and_fits(calm, serve, drive):
    """No colour at all, parts 1 to 3 without scrolling, nothing for axe to find."""
    result = drive("look", serve(calm.config).url, name="calm", full=True)
    for scheme in ("light", "dark"):
        seen = result[scheme]
        # The forecast's limit line is drawn on a canvas; the legend shows the shapes of what is wrong.
        loud = [c for c in seen["colours"] if not re.search(r"cell-|hatch|\.gap|^rect\.gap", c)]
        assert loud == [], loud
        assert seen["axe"] == [], seen["axe"]
        assert seen["bottom"] <= 800 and seen["wide"] <= 1280
        assert seen["signs"] == []
        assert seen["title"] == "webscada-north – Yes – blackstart"
        assert "to any second since" in seen["text"] and seen["spoken"].endswith("0 abnormal.")


def test_it_is_there_at_once(calm, serve, drive):
    result = drive("speed", serve(calm.config).url)
    print(result["times"])
    assert sorted(t["state"] for t in result["times"])[2] < 1000, result["times"]


# --- each abnormal state -------------------------------------------------------

def abnormal_plant(root, bin_dirs):
    plant = make(root, bin_dirs)
    dues = plant.dues(2, 30)
    for n, at in enumerate(dues):
        if n == 20:
            continue
        state = "failed" if n in (9, 28, 29) else "warning" if n == 14 else "ok"
        if state != "failed":
            plant.good("pg-daily", "postgresql", "dump", at, int(2.1e9 + n * 1.5e7), level=1)
            plant.rows[-1] = (*plant.rows[-1][:4], state, *plant.rows[-1][5:])
        else:
            plant.run("pg-daily", "postgresql", "backup", at, "failed", took=3,
                      message='cannot connect to postgres \'postgresql\' at postgresql:5432: '
                              'password authentication failed for user "webscada"',
                      hint="check password_file /run/secrets/postgresql",
                      log="2026-11-27T01:00:00.000000Z debug run=x phase: connecting\n")
    plant.wal(7, missing=range(60, 71))
    for at in plant.dues(0, 7)[:3]:
        plant.good("redis-6h", "redis", "rdb", at, int(6e7), level=2, took=4)
    plant.finish()
    fill_space(plant, 0.003)
    add_alarm(plant, "too_old", "redis-6h", 2, 60, "the last good backup is too old",
              "nothing good came for 4 d, the limit is 12 h", "blackstart run redis-6h")
    add_alarm(plant, "wal_gap", "pg-wal", 2, 90, "a hole in the log of 'postgresql'",
              "11 segments from 00000001000000000000003C", "blackstart window postgresql")
    add_alarm(plant, "job_failed", "pg-daily", 1, 34, "the last 2 runs failed",
              'password authentication failed for user "webscada"', "blackstart log pg-daily")
    add_alarm(plant, "storage_above", "store", 1, 20, "the store is 86 % full",
              "full on 18 Dec at this rate", "blackstart prune", acknowledged=1)
    return plant


@pytest.fixture(scope="module")
def abnormal(base_folder, bin_dirs):
    return abnormal_plant(os.path.join(base_folder, "abnormal"), bin_dirs)


def test_what_is_wrong_has_colour_shape_and_word(abnormal, serve, drive):
    result = drive("look", serve(abnormal.config).url, name="abnormal", full=True)
    for scheme in ("light", "dark"):
        seen = result[scheme]
        assert seen["colours"] and seen["axe"] == [], seen["axe"]
        assert seen["title"].startswith("(3) webscada-north – Yes, but")
        assert all(seen["signs"]), "a shape without a word"
        text = seen["text"]
        for word in ("critical", "warning", "acknowledged", "blackstart run redis-6h", "11 segments",
                     "Yes, but", "gap"):
            assert word in text, word
        assert seen["bottom"] <= 800


def test_no_backup_at_all(bin_dirs, serve, drive, place):
    plant = make(place, bin_dirs)
    plant.finish()
    result = drive("look", serve(plant.config).url, name="nothing")
    for scheme in ("light", "dark"):
        assert "NO: there is no good backup" in result[scheme]["text"]
        assert result[scheme]["axe"] == []


@pytest.fixture(scope="module")
def many(base_folder, bin_dirs):
    jobs, sources = twenty_jobs()
    plant = make(os.path.join(base_folder, "many"), bin_dirs, jobs=jobs, sources=sources)
    for number, job in enumerate(jobs):
        source = job.split("-")[0]
        is_postgres = source.startswith("pg")
        for n, at in enumerate(plant.dues(2 if is_postgres else 0, 30)):
            if number == 7 and n == 29:
                plant.run(job, source, "backup", at, "failed", message="disk full", took=9)
            else:
                plant.good(job, source, "dump" if is_postgres else "rdb", at, int(1e9 + n * 1e7 * (number % 4)),
                           level=1, took=100)
    for job in list(jobs)[10:]:
        for hour in (6, 12, 18):
            for at in plant.dues(hour, 8):
                plant.good(job, job.split("-")[0], "rdb", at, int(1.2e9), level=1, took=4)
    return plant.finish()


def test_twenty_jobs_fit(many, serve, drive):
    result = drive("look", serve(many.config).url, name="twenty-jobs")
    for scheme in ("light", "dark"):
        assert result[scheme]["bottom"] <= 800, result[scheme]["bottom"]
        assert result[scheme]["axe"] == [] and result[scheme]["wide"] <= 1280


def test_a_thousand_runs(many, serve, drive):
    result = drive("many", serve(many.config).url)
    assert result["rows"] >= 1000 and result["axe"] == []


# --- what one can do -----------------------------------------------------------

def test_everything_by_keyboard(calm, serve, drive, place):
    result = drive("keyboard", serve(calm.copy(place).config).url)
    names = [stop["name"] for stop in result["stops"]]
    assert all(stop["isSeen"] for stop in result["stops"]), [s for s in result["stops"] if not s["isSeen"]]
    assert names[0] == "To the answer" and "Log in" in names[1]
    for part in ("24 h", "Recovery point of postgresql; Enter shows the plan", "Runs", "uPlot, MIT licence"):
        assert part in names, names
    assert {stop["tab"] for stop in result["stops"]} == {0}, "the order is that of the document"
    assert result["before"] != result["after"]
    assert "blackstart restore postgresql --at" in result["plan"]
    assert result["holds"] == result["still"] == "slider" and result["axe"] == []


def test_hostile_texts_are_shown_as_texts(calm, work, serve, drive):
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    plant = calm.copy(work)
    plant.run("pg-daily", "postgresql", "backup", plant.now, "failed", message=hostile, hint=hostile,
              log=f"{hostile}\n")
    plant.insert()
    add_alarm(plant, "job_failed", hostile, 2, 1, hostile, hostile, f"blackstart log '{hostile}'")
    result = drive("hostile", serve(plant.config).url)
    assert result["detail"].count(hostile) >= 3 and hostile in result["text"]
    assert result["scripts"] == 2 and result["images"] == 0


def test_a_run_is_followed(calm, work, serve, drive):
    import fcntl
    plant = calm.copy(work)
    lock = os.path.join(work, "held.lock")
    stamp = f"{text_of(plant.now)} debug run=x"
    run = plant.run("pg-daily", "postgresql", "backup", plant.now, "running",
                    log=f"{stamp} backup of job 'pg-daily' begins\n{stamp} phase: counting rows\n")
    plant.rows[-1] = plant.rows[-1][:-1] + (lock,)
    plant.insert()
    path = os.path.join(plant.state, "log", run + ".log")

    def go_on():
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{stamp} phase: dumping\n")

    with open(lock, "w", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = drive("run", serve(plant.config).url, steps=[("followed", go_on)], run=run,
                       later="phase: dumping")
    assert "counting rows" in result["first"] and "blackstart run pg-daily" in result["first"]
    assert result["live"] == "live" and result["axe"] == []


def test_logging_in_and_acknowledging(calm, work, serve, drive):
    plant = calm.copy(work)
    add_alarm(plant, "job_failed", "pg-daily", 1, 5, "the last run failed", "no route to host",
              "blackstart log pg-daily")
    result = drive("login", serve(plant.config).url, token=TOKEN)
    assert "not the token" in result["refused"]
    assert "a new cable is on its way" in result["audit"] and "anna (page, 127.0.0.1)" in result["audit"]
    assert result["storage"] == {"cookie": "", "local": {}, "session": {}} and result["axe"] == []


def test_silence_is_said_loudly(calm, work, serve, drive):
    plant = calm.copy(work)
    server = serve(plant.config)
    with open(plant.config, encoding="utf-8") as file:
        text = file.read()
    with open(plant.config, "w", encoding="utf-8") as file:
        file.write(text.replace("127.0.0.1:0", f"127.0.0.1:{server.port}"))

    def come_back():
        deadline = time.monotonic() + 20
        while True:
            try:
                serve(plant.config)
                return
            except AssertionError:
                assert time.monotonic() < deadline
                time.sleep(0.5)

    result = drive("contact", server.url, steps=[("loaded", server.stop), ("lost", come_back)])
    assert result["states"][0] == "" and result["states"][2] == ""
    assert "NO CONTACT with blackstart for" in result["states"][1]
    assert "systemctl status blackstart" in result["states"][1] and result["axe"] == []
