"""The server of the page under test, and a client that says exactly what it means."""
import contextlib
import http.client
import json
import os
import select
import signal
import subprocess
import time
import urllib.parse

from page_plant import TOKEN
from program import BINARY, NEVER

SERVER = os.path.join(os.path.dirname(BINARY), "tests/web/page_server")


class PageServer:
    def __init__(self, config, env=None, expect_start=True):
        self.process = subprocess.Popen([SERVER, "-c", config], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=env)
        self.url = self.first_line() if expect_start else None
        if self.url:
            parts = urllib.parse.urlsplit(self.url)
            self.host, self.port = parts.hostname, parts.port
        self.cookie = self.csrf = None

    def first_line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        line = self.process.stdout.readline().strip() if ready else ""
        assert line.startswith("http"), self.stop()
        return line

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            out, err = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert not NEVER.search(out + err), out + err
        return self.process.returncode, err

    def is_alive(self):
        return self.process.poll() is None

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- requests ---------------------------------------------------------

    @contextlib.contextmanager
    def connection(self, timeout=10):
        made = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            yield made
        finally:
            made.close()

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, bytes)"""
        with self.connection() as connection:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    def get(self, path, expect=200, headers=None):
        """The JSON of a path."""
        status, _, data = self.ask("GET", path, headers=headers)
        assert status == expect, (path, status, data[:500])
        return json.loads(data)

    def post(self, path, value=None, headers=None, expect=200):
        own = {"Content-Type": "application/json"}
        if self.cookie:
            own["Cookie"] = self.cookie
        if self.csrf:
            own["X-CSRF-Token"] = self.csrf
        own.update(headers or {})
        own = {name: text for name, text in own.items() if text is not None}
        status, got, data = self.ask("POST", path, json.dumps(value or {}), own)
        assert status == expect, (path, status, data[:500])
        return got, json.loads(data)

    def login(self, name="anna"):
        headers, session = self.post("/api/v1/login", {"token": TOKEN, "name": name})
        self.cookie = headers["Set-Cookie"].split(";")[0]
        self.csrf = session["csrf"]
        return headers

    def wait_until(self, check, timeout=20):
        deadline = time.monotonic() + timeout
        while not check():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.05)
