"""Whom alarms are told: a mail server, an HTTP server that writes down what it gets, and a real
Alertmanager. Each can be told to misbehave."""
import contextlib
import email
import email.policy
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from postgres import free_port


def wait_for(condition, timeout=20, what="it"):
    """The condition's value as soon as it is true."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {timeout} s")


def make_certificate(folder, name="127.0.0.1"):
    """(certificate, key) of a server of this address; it is its own authority."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{name}",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


class MailServer:
    """aiosmtpd. `behave` is called for each message: None takes it, "drop" hangs up after having
    read it, anything else is the answer."""

    def __init__(self, certificate=None, login=None, is_tls=False):
        self.raw, self.envelopes, self.attempts, self.logins = [], [], 0, []
        self.behave = lambda: None
        self.login = login
        options = {}
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            options = {"ssl_context": context} if is_tls else {"tls_context": context,
                                                               "require_starttls": True}
        if login:
            options.update(authenticator=self.authenticate, auth_required=True,
                           auth_require_tls=not is_tls)
        self.port = free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)
        self.controller.start()

    def authenticate(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1] == self.login, handled=False)

    async def handle_DATA(self, server, session, envelope):
        self.attempts += 1
        answer = self.behave()
        if answer == "drop":
            server.transport.abort()
            return "421 gone"
        if answer is None or answer == "take and drop":
            self.raw.append(envelope.content)
            self.envelopes.append(envelope)
        if answer == "take and drop":
            server.transport.abort()
            return "421 gone"
        return answer or "250 taken"

    @property
    def messages(self):
        return [email.message_from_bytes(raw, policy=email.policy.default) for raw in self.raw]

    def subjects(self):
        return [message["Subject"] for message in self.messages]

    def stop(self):
        self.controller.stop()


class Recorder:
    """An HTTP server that writes down every request. `behave` is called with each and gives the
    status, or an object with wait() that holds the answer back until it is set."""

    def __init__(self):
        self.requests = []
        self.behave = lambda request: 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                size = int(self.headers.get("Content-Length", 0))
                request = {"path": self.path, "headers": dict(self.headers),
                           "body": self.rfile.read(size).decode(), "at": time.monotonic()}
                outer.requests.append(request)
                answer = outer.behave(request)
                if hasattr(answer, "wait"):
                    answer.wait(60)
                    answer = 200
                with contextlib.suppress(OSError):
                    self.send_response(answer)
                    if 300 <= answer < 400:
                        self.send_header("Location", outer.url + "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def paths(self):
        return [request["path"] for request in self.requests]

    def bodies(self):
        return [json.loads(request["body"]) for request in self.requests]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Alertmanager:
    """The real one; it tells `receiver_url`, at once."""

    def __init__(self, folder, receiver_url):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = os.path.join(folder, "alertmanager.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write("route: { receiver: hook, group_wait: 0s, group_interval: 1s, "
                       "group_by: [alertname, name] }\n"
                       f"receivers: [ {{ name: hook, webhook_configs: [ {{ url: '{receiver_url}' }} "
                       "] } ]\n")
        self.log = open(os.path.join(folder, "alertmanager.log"), "wb")
        self.process = subprocess.Popen(
            ["prometheus-alertmanager", f"--config.file={config}",
             f"--storage.path={folder}/alertmanager", f"--web.listen-address=127.0.0.1:{self.port}",
             "--cluster.listen-address="], stdout=self.log, stderr=self.log)
        wait_for(self.is_ready, what="Alertmanager's start")

    def is_ready(self):
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def alerts(self):
        """{(alertname, name, severity): the alert} of all that are active there."""
        with urllib.request.urlopen(self.url + "/api/v2/alerts", timeout=5) as answer:
            found = json.load(answer)
        return {(a["labels"]["alertname"], a["labels"]["name"], a["labels"]["severity"]): a
                for a in found if a["status"]["state"] == "active"}

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
