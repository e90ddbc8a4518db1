"""A real Redis server of our own: loopback port and private socket, in a temporary folder.

BLACKSTART_TEST_REDIS  which server, a name of tools/peers (default: redis70)
"""
import contextlib
import functools
import os
import re
import signal
import subprocess
import time

from postgres import ROOT, free_port

PASSWORD = "redis-Geh3im-und-l4ng"


@functools.cache
def redis_bin():
    """The folder with the programs of the server under test."""
    name = os.environ.get("BLACKSTART_TEST_REDIS", "redis70")
    return subprocess.run([os.path.join(ROOT, "tools/peers"), "path", name], check=True,
                          capture_output=True, text=True).stdout.strip()


@functools.cache
def redis_family():
    name = os.environ.get("BLACKSTART_TEST_REDIS", "redis70")
    return "valkey" if name.startswith("valkey") else "redis"


def redis_program(what):
    """redis_program("cli"): its path, whatever the family calls it."""
    return os.path.join(redis_bin(), f"{redis_family()}-{what}")


@functools.cache
def redis_version():
    """(7, 0), as a comparison wants it.  Valkey began as a Redis 7.2 and counts on from there."""
    text = subprocess.run([redis_program("server"), "--version"], check=True,
                          capture_output=True, text=True).stdout
    return tuple(int(number) for number in re.search(r"v=(\d+)\.(\d+)", text).groups())


class RedisServer:
    def __init__(self, root, *settings, password=PASSWORD):
        self.root, self.settings, self.password = str(root), list(settings), password
        if redis_version() >= (7, 0):
            self.settings += ["--enable-debug-command", "yes"]
        self.data = os.path.join(self.root, "data")
        os.makedirs(self.data, exist_ok=True)
        self.port = free_port()
        self.socket = os.path.join(self.root, "s")
        self.log = os.path.join(self.root, "log")
        self.process = None

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *settings):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket,
                   "--dir", self.data, "--save", "", "--logfile", self.log,
                   "--repl-diskless-sync-delay", "0"]
        if self.password:
            options += ["--requirepass", self.password]
        self.process = subprocess.Popen(
            [redis_program("server"), *options, *self.settings, *settings],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 20
        while "PONG" not in self.cli("PING", check=False):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log_text()
            time.sleep(0.02)
        return self

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def cli(self, *words, check=True, stdin=None):
        env = {**os.environ, "REDISCLI_AUTH": self.password or ""}
        done = subprocess.run([redis_program("cli"), "-s", self.socket, *words], env=env,
                              input=stdin, capture_output=True, text=True, check=False)
        assert not check or (done.returncode == 0 and not done.stdout.startswith("ERR")), done
        return done.stdout.strip()

    def many(self, lines):
        """Commands, one a line."""
        self.cli(stdin="\n".join(lines) + "\n")

    def info(self, field):
        for line in self.cli("INFO").splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
        return None

    def digest(self):
        return self.cli("DEBUG", "DIGEST")

    def kill(self):
        """With the children that it forked to write."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


def certificate(folder, name, *more):
    """A key and a certificate of our own authority, which is made first: (key, certificate)."""
    key, cert = (os.path.join(folder, f"{name}.{end}") for end in ("key", "crt"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert, *more],
                   check=True, capture_output=True)
    return key, cert


def tls_settings(folder):
    """A port, (authority, certificate, key) for 127.0.0.1, and the settings that make a server use them."""
    port = free_port()
    ca_key, ca = certificate(folder, "ca")
    key, cert = certificate(folder, "server", "-CA", ca, "-CAkey", ca_key,
                            "-addext", "subjectAltName=IP:127.0.0.1")
    return port, (ca, cert, key), ["--tls-port", str(port), "--tls-cert-file", cert,
                                   "--tls-key-file", key, "--tls-ca-cert-file", ca]


@contextlib.contextmanager
def sentinel(server, folder):
    """A Sentinel that watches it as "plant", from its first look on: its port."""
    os.makedirs(folder, exist_ok=True)
    port, path = free_port(), os.path.join(folder, "sentinel.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/sentinel.log\n"
                   f"sentinel monitor plant 127.0.0.1 {server.port} 1\n"
                   f"sentinel auth-pass plant {PASSWORD}\n")
    process = subprocess.Popen([redis_program("server"), path, "--sentinel"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not server.cli("PUBSUB", "NUMSUB", "__sentinel__:hello").endswith("1"):
            assert process.poll() is None and time.monotonic() < deadline, "it does not look"
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()
        os.unlink(path)  # the password is in it


def fill(server):
    """Every type, small and large, in several databases, some that expire."""
    def words(form, count):
        return " ".join(form.format(i) for i in range(count))
    server.many([
        "SET text hello", "SET number -70000", "SET 12345 x", f"SET long {'abc' * 400}",
        f"SET {'name' * 30} v", f"PEXPIREAT {'name' * 30} 4102444800000", "SET soon v EX 3600",
        "RPUSH list a b 1 200 70000 -5000000000", f"RPUSH long-list {words('item{0}', 1200)}",
        f"RPUSH plain-node {'Q' * 9000}", "SADD ints 1 2 -70000", "SADD words a b c",
        f"SADD many {words('m{0}', 300)}", "ZADD scores 1 a 2.5 b -inf c",
        f"ZADD large {words('{0}.5 m{0}', 300)}", "HSET hash a 1 b 2",
        f"HSET large-hash {words('f{0} v{0}', 300)}", "XADD stream 1-1 a 1", "XADD stream 1-2 b 2",
        "XGROUP CREATE stream group 0", "XREADGROUP GROUP group one COUNT 1 STREAMS stream >",
        "XDEL stream 1-2", "PFADD guess a b c", "SELECT 5", "SET five 5", "SETBIT bits 100 1",
        "SELECT 9", "SET brief v PX 1"])
    if has_functions():
        server.cli("-x", "FUNCTION", "LOAD", stdin="#!lua name=lib\n"
                   "redis.register_function('f', function() return 1 end)")


def has_functions():
    return redis_version() >= (7, 0)
