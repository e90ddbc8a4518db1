"""Clients of a Redis that write down what they did, and what the data must be after any part of it.

Each client writes to keys of its own, one operation after the other; each operation is atomic and
also sets the client's counter. So whatever order the server gave to operations of several clients,
a state is right if and only if each client's keys are as its first N operations make them, N being
what its counter says. What they make of them says a Redis of our own, to which they are sent again.
"""
import contextlib
import random
import socket
import threading
import time

from redis_server import PASSWORD, has_functions

FAR = 4102444800000  # a time at which keys expire, in ms: not during the test
PAUSE_S = 0.002
WRITERS = 3
BRIEF = [f"brief:{writer}:{number}" for writer in range(WRITERS) for number in range(6)]


class Wire:
    """A connection that speaks RESP, as simple as can be."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.file = self.sock.makefile("rb")
        self.ask("AUTH", PASSWORD)

    def ask(self, *words):
        self.sock.sendall(packed(words))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server has gone")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if int(rest) < 0 else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.element() for _ in range(int(rest))]
        return rest

    def element(self):
        """An error inside of an answer is an answer as well: both servers give it."""
        try:
            return self.answer()
        except RuntimeError as error:
            return error

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.sock.close()


def packed(words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word)
                                              for word in words)


class Operation:
    """Commands that take effect together, and when they were sent and acknowledged."""

    def __init__(self, database, commands):
        self.database, self.commands = database, commands
        self.sent = self.acked = None


class Writer(threading.Thread):
    """One client. Its lives: what it has done, and after a loss what it did from there on."""

    def __init__(self, number, seed, get_port):
        super().__init__(daemon=True)
        self.number, self.random, self.get_port = number, random.Random(seed), get_port
        self.lives = [(0.0, [])]
        self.is_over = threading.Event()
        self.may_write = threading.Event()
        self.is_idle = threading.Event()
        self.may_write.set()
        self.problem = None
        self.ids = 0

    @property
    def done(self):
        return self.lives[-1][1]

    def run(self):
        wire = None
        while not self.is_over.is_set():
            if not self.may_write.is_set():
                self.is_idle.set()
                time.sleep(PAUSE_S)
                continue
            self.is_idle.clear()
            try:
                if wire is None:
                    wire = Wire(self.get_port())
                    self.resume(wire)
                self.one(wire)
            except (OSError, ValueError):
                if wire:
                    wire.close()
                wire = None
                time.sleep(0.02)
            except RuntimeError as error:
                if any(word in str(error) for word in ("LOADING", "READONLY", "MASTERDOWN")):
                    wire.close()
                    wire = None
                    time.sleep(0.02)
                else:
                    self.problem = str(error)
                    return
            time.sleep(self.random.random() * 2 * PAUSE_S)
        self.is_idle.set()

    def pause(self):
        self.may_write.clear()
        self.is_idle.wait(10)

    def resume(self, wire):
        """What of ours does the server have: the last may be there although nobody told us."""
        wire.ask("SELECT", 0)
        has = int(wire.ask("GET", f"n:{self.number}") or 0)
        if has < len(self.done):
            self.lives.append((time.time(), self.done[:has]))

    def one(self, wire):
        operation = self.invent()
        wire.ask("SELECT", operation.database)
        self.done.append(operation)
        operation.sent = time.time()
        wire.sock.sendall(b"".join(packed(words) for words in operation.commands))
        for _ in operation.commands:
            wire.answer()
        operation.acked = time.time()

    def invent(self):
        """Written in a transaction or by a script; every type, and all that ends at a known time."""
        count = len(self.done) + 1
        pick = self.random
        counter = ("SET", f"n:{self.number}", count)
        if pick.random() < 0.15:
            script = ("redis.call('SET', KEYS[1], ARGV[1]) redis.call('LPUSH', KEYS[2], ARGV[1]) "
                      "redis.call('SELECT', 0) redis.call('SET', KEYS[3], ARGV[2]) return 1")
            commands = [("EVAL", script, 3, self.key("s"), self.key("l"), f"n:{self.number}",
                         self.value(), count)]
            return Operation(pick.choice([0, 0, 3]), commands)
        database = pick.choice([0, 0, 0, 3])
        body = [self.command() for _ in range(pick.randint(1, 4))]
        commands = [("MULTI",), *body, ("SELECT", 0), counter, ("EXEC",)]
        return Operation(database, commands)

    def key(self, kind):
        return f"{kind}:{self.number}:{self.random.randint(0, 7)}"

    def value(self):
        return str(self.random.getrandbits(60)) * self.random.choice([1, 1, 4, 60])

    def command(self):
        pick, key = self.random, self.key
        member, number = f"m{pick.randint(0, 40)}", pick.randint(-1000, 1000)
        self.ids += 1
        choices = [
            ("SET", key("s"), self.value()), ("APPEND", key("s"), member),
            ("SETRANGE", key("s"), pick.randint(0, 200), member),
            ("SET", key("s"), member, "PX", FAR - int(time.time() * 1000) + number),
            ("PEXPIREAT", key("s"), FAR + number), ("PERSIST", key("s")),
            ("SET", f"brief:{self.number}:{pick.randint(0, 5)}", 1, "PX", pick.randint(5, 800)),
            ("INCRBY", key("i"), number), ("INCRBYFLOAT", key("f"), "0.5"),
            ("SETBIT", key("b"), pick.randint(0, 4000), pick.randint(0, 1)),
            ("PFADD", key("p"), member),
            ("LPUSH", key("l"), self.value(), member), ("RPUSH", key("l"), number),
            ("LPOP", key("l")), ("LTRIM", key("l"), 0, 60),
            ("SADD", key("t"), number), ("SADD", key("t"), member, number),
            ("SREM", key("t"), member), ("SINTERSTORE", key("t"), key("t"), key("t")),
            ("HSET", key("h"), member, self.value()), ("HDEL", key("h"), member),
            ("HINCRBY", key("g"), member, number),
            ("ZADD", key("z"), number, member), ("ZINCRBY", key("z"), "1.5", member),
            ("ZREM", key("z"), member), ("ZUNIONSTORE", key("z"), 2, key("z"), key("z")),
            ("XADD", f"x:{self.number}", f"{len(self.done) + 1}-{self.ids}", member, number),
            ("XTRIM", f"x:{self.number}", "MAXLEN", 100),
            ("DEL", key("s"), key("l")), ("UNLINK", key("h")),
        ]
        if has_functions():
            choices.append(("FUNCTION", "LOAD", "REPLACE", f"#!lua name=lib{self.number}\n"
                            f"redis.register_function('f{self.number}', "
                            f"function() return {number} end)"))
        return pick.choice(choices)

    # --- what must hold -----------------------------------------------------------------

    def life_at(self, instant):
        """What it had done in the life it led then."""
        return [done for began, done in self.lives if began <= instant][-1]

    def count_acked(self, instant):
        """How many were acknowledged by then."""
        return sum(1 for one in self.life_at(instant) if one.acked and one.acked <= instant)

    def count_sent(self, instant):
        return sum(1 for one in self.life_at(instant) if one.sent and one.sent <= instant)


def replay(wire, writers, counts, instant):
    """Bring an empty server to the state that the counts stand for."""
    for writer, count in zip(writers, counts):
        for operation in writer.life_at(instant)[:count]:
            commands = [("SELECT", operation.database), *operation.commands]
            wire.sock.sendall(b"".join(packed(words) for words in commands))
            for _ in commands:
                wire.element()


def state(wire):
    """All data but what was to end soon: digest of the keys, libraries of functions."""
    for database in (0, 3):
        wire.ask("SELECT", database)
        # By name: KEYS does not show what has expired, and the digest still counts it.
        wire.ask("DEL", *BRIEF)
    libraries = []
    if has_functions():
        for library in wire.ask("FUNCTION", "LIST", "WITHCODE"):
            libraries.append(library[library.index(b"library_code") + 1])
    return wire.ask("DEBUG", "DIGEST"), sorted(libraries)


def difference(one, two):
    """The first keys whose values differ, for who must find out why."""
    found = []
    for database in (0, 3):
        for wire in (one, two):
            wire.ask("SELECT", database)
        keys = sorted(set(one.ask("KEYS", "*")) | set(two.ask("KEYS", "*")))
        for key in keys:
            values = [wire.ask("DEBUG", "DIGEST-VALUE", key) for wire in (one, two)]
            if values[0] != values[1]:
                found.append(f"{key.decode()} of database {database}")
    return ", ".join(found[:10]) or "no key, but functions or times of expiry"


def counters(wire, writers):
    wire.ask("SELECT", 0)
    return [int(wire.ask("GET", f"n:{writer.number}") or 0) for writer in writers]
