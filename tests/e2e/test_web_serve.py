"""The page of the real daemon, over a real PostgreSQL: started, looked at, a job run from it."""
import os
import re
import signal
import subprocess
import time

import pytest

import plant
from page_plant import TOKEN
from page_server import PageServer
from program import BINARY, NEVER
from test_page import browser_root, drive  # noqa: F401  pylint: disable=unused-import


class Served(PageServer):
    """`blackstart serve`, whose page's address is in what it logs."""

    def __init__(self, config, env):  # pylint: disable=super-init-not-called
        self.log = open(config + ".log", "w+", encoding="utf-8")
        self.process = subprocess.Popen([BINARY, "serve", "-c", config], stdout=self.log,
                                        stderr=self.log, env=env, stdin=subprocess.DEVNULL)
        self.cookie = self.csrf = None
        try:
            self.wait_until(lambda: "the page is at http" in self.text() or not self.is_alive())
            self.url = re.search(r"the page is at (http\S+)", self.text())[1]
        except (AssertionError, TypeError) as error:
            self.process.kill()
            raise AssertionError(self.text()) from error
        self.host, port = re.fullmatch(r"http://([^:]+):(\d+)/", self.url).groups()
        self.port = int(port)

    def text(self):
        with open(self.log.name, encoding="utf-8") as file:
            return file.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        assert not NEVER.search(self.text()), self.text()
        return code, self.text()


@pytest.fixture
def served(bs, work, configure, store):
    path = configure(databases=f"[{plant.EMPTY_DATABASE}]", jobs={
        "pg-daily": 'source: postgresql, do: dump, at: "02:00", keep: 30d',
        "pg-base": 'source: postgresql, do: base, at: "01:00", keep: 7d'})
    token = os.path.join(work, "token")
    with open(token, "w", encoding="utf-8") as file:
        file.write(TOKEN + "\n")
    os.chmod(token, 0o600)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f'web: {{ listen: "127.0.0.1:0", token_file: {token} }}\n')
    bs.secrets.append(TOKEN)
    os.mkdir(store.path)
    server = Served(path, bs.env)
    yield server
    if server.is_alive():
        code, text = server.stop()
        assert code == 0, text
    os.unlink(token)
    server.log.close()


def test_a_job_is_run_from_the_page(served):
    served.wait_until(lambda: served.ask("GET", "/readyz")[0] == 200)
    assert served.get("/api/v1/state")["answer"]["verdict"] == "no"
    served.login()
    served.post("/api/v1/jobs/none/run", expect=404)
    served.post("/api/v1/jobs/pg-daily/run")
    served.wait_until(lambda: served.get("/api/v1/state")["answer"]["verdict"] != "no", timeout=60)
    run = served.get("/api/v1/runs?job=pg-daily&verb=backup")["runs"][0]
    assert run["state"] in ("ok", "warning"), run
    _, headers, log = served.ask("GET", f"/api/v1/runs/{run['id']}/log")
    assert b"phase: dumping" in log and headers["X-Run-State"] == run["state"]
    manifest = served.get(f"/api/v1/backups/{run['backup']}")["manifest"]
    assert manifest["job"] == "pg-daily" and manifest["files"]
    assert [e["action"] for e in served.get("/api/v1/audit")["entries"]] == ["run", "run", "login"]


def test_the_numbers_are_there(served):
    served.wait_until(lambda: served.ask("GET", "/readyz")[0] == 200)
    status, headers, data = served.ask("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"blackstart_build_info" in data


def test_a_store_that_is_gone_is_said(served, store, drive):  # noqa: F811
    """The disk is not mounted: the page is there, and says so."""
    served.wait_until(lambda: served.ask("GET", "/readyz")[0] == 200)
    with open(served.log.name.removesuffix(".log"), encoding="utf-8") as file:
        config = file.read()
    env = {**os.environ}
    code, _ = served.stop()
    assert code == 0
    os.rename(store.path, str(store.path) + ".away")
    again = Served(served.log.name.removesuffix(".log"), env)
    try:
        status, _, data = again.ask("GET", "/api/v1/state")
        assert status == 503 and b"no store" in data and store.path.encode() in data
        assert again.ask("GET", "/readyz")[0] == 503 and again.ask("GET", "/healthz")[0] == 200
        assert again.get("/api/v1/runs")["runs"] == [] and "jobs" in config
        result = drive("refused", again.url)
        assert "NO STATE: no store" in result["banner"] and "blackstart check" in result["banner"]
    finally:
        again.stop()
        os.rename(str(store.path) + ".away", store.path)


def test_the_daemon_stops_with_pages_open(served):
    with served.connection() as connection:
        connection.request("GET", "/api/v1/state")
        assert connection.getresponse().read()
        began = time.monotonic()
        code, text = served.stop()
        assert code == 0 and time.monotonic() - began < 15, text


def test_the_page_of_the_daemon_in_a_browser(served, drive):  # noqa: F811
    served.wait_until(lambda: served.ask("GET", "/readyz")[0] == 200)
    result = drive("look", served.url, name="served")
    for scheme in ("light", "dark"):
        assert "NO: there is no good backup" in result[scheme]["text"]
        assert result[scheme]["axe"] == []
