"""Running blackstart, and what must hold after every run whatever it was asked to do."""
import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time

from postgres import ROOT, children, ids

BINARY = os.environ.get("BLACKSTART", os.path.join(ROOT, "build/blackstart"))

# What no run may ever say, and which words of a crash to look for.
NEVER = re.compile(r"AddressSanitizer|runtime error:|LeakSanitizer|Assertion .* failed|Traceback|"
                   r"stack smashing|core dumped|\berr == NULL|ERR_BUG|an error inside blackstart")
ERROR_LINE = re.compile(r"^error: ", re.M)
ESCAPE = "\x1b"


@functools.cache
def binary_for_all():
    """A copy that the server's user can run: nobody else may look into root's home."""
    folder = tempfile.mkdtemp(prefix="bse-bin-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.chmod(folder, 0o755)
    return shutil.copy(BINARY, folder)


def heed_stops():
    """A shell that runs us in the background has told SIGINT to be ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Result:
    def __init__(self, args, code, out, err, peak_kb, seconds):
        self.args, self.code, self.out, self.err = args, code, out, err
        self.peak_kb, self.seconds = peak_kb, seconds

    @property
    def json(self):
        """The one object on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict) and "schema" in value, self
        return value

    @property
    def text(self):
        return self.out + self.err

    def __repr__(self):
        return (f"\n$ blackstart {' '.join(self.args)}\n--- exit {self.code} after "
                f"{self.seconds:.1f} s, {self.peak_kb} kB\n--- stdout\n{self.out[-6000:]}\n"
                f"--- stderr\n{self.err[-6000:]}")


class Running:
    """A blackstart that is on its way; wait() gives its result."""

    def __init__(self, program, args, env, user=None, cwd=None, prefix=()):
        self.program, self.args = program, [str(arg) for arg in args]
        # Files and not pipes: nobody has to read along, and children that
        # outlive it cannot hold us up.
        self.out = tempfile.TemporaryFile()
        self.err = tempfile.TemporaryFile()
        self.peak_kb = 0
        self.began = time.monotonic()
        who = ids() if user == "postgres" else {}
        binary = binary_for_all() if who else BINARY
        self.process = subprocess.Popen([*prefix, binary, *self.args], stdout=self.out,
                                        stderr=self.err, stdin=subprocess.DEVNULL, env=env,
                                        cwd=cwd, start_new_session=True, preexec_fn=heed_stops,
                                        **who)
        self.pid = self.process.pid

    def sample(self):
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        self.peak_kb = max(self.peak_kb, int(line.split()[1]))
                        return
        except OSError:
            pass

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9 of blackstart alone; its children must see for themselves."""
        below = children(self.pid)
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 20
        while any(is_alive(pid) for pid in below) and time.monotonic() < deadline:
            time.sleep(0.05)
        return [pid for pid in below if is_alive(pid)]

    def is_running(self):
        return self.process.poll() is None

    def wait(self, timeout=240):
        deadline = time.monotonic() + timeout
        pause = 0.002
        self.sample()
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                where = stack_of(self.pid)
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"no end after {timeout} s {where}: {self.result()}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.03)
            self.sample()
        return self.program.judge(self.result())

    def result(self):
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
        return Result(self.args, self.process.returncode, *texts, self.peak_kb,
                      time.monotonic() - self.began)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def stack_of(pid):
    try:
        with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
            return "in " + file.read()
    except OSError:
        return ""


class Program:
    """blackstart with a home, state and scratch folder of its own."""

    def __init__(self, work, bin_dirs, secrets):
        self.work = str(work)
        self.home = os.path.join(self.work, "home")
        self.state = os.path.join(self.work, "state")
        self.scratch = os.path.join(self.work, "s")
        self.secrets = list(secrets)
        self.started = []
        self.env = {
            "PATH": ":".join([*bin_dirs, "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]),
            "HOME": self.home, "XDG_STATE_HOME": self.state, "TMPDIR": self.scratch,
            "LC_ALL": "C.UTF-8", "TZ": "UTC",
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        for path in (self.home, self.state, self.scratch):
            os.makedirs(path, exist_ok=True)
        os.chmod(self.scratch, 0o1777)

    def start(self, *args, env=None, user=None, cwd=None, prefix=()):
        running = Running(self, args, {**self.env, **(env or {})}, user, cwd, prefix)
        self.started.append(running)
        return running

    def end_all(self):
        """What a failed test left running."""
        for running in self.started:
            if running.is_running():
                running.kill()

    def run(self, *args, expect=None, timeout=240, **kwargs):
        """Run to the end. `expect`: the exit code, or several that will do."""
        result = self.start(*args, **kwargs).wait(timeout)
        if expect is not None:
            wanted = expect if isinstance(expect, tuple) else (expect,)
            assert result.code in wanted, result
        return result

    def ok(self, *args, **kwargs):
        return self.run(*args, expect=0, **kwargs)

    def json(self, *args, expect=0, **kwargs):
        return self.run(*args, "--json", expect=expect, **kwargs).json

    def judge(self, result):
        """What holds for every run."""
        assert result.code >= 0 or result.code in (-signal.SIGKILL, -signal.SIGINT), result
        assert not NEVER.search(result.text), result
        for secret in self.secrets:
            assert secret not in result.text, result
        assert ESCAPE not in result.text, result
        has_error = ERROR_LINE.search(result.err) is not None
        # Promise 5. Exit 3 is "done with warnings"; a plugin of Nagios has codes of its own.
        if result.code == 0:
            assert not has_error, result
        elif result.args[:1] == ["archive-get"] and result.code == 1:
            assert not has_error, result  # an answer: there is no more
        elif result.code > 0 and result.code != 3 and "--nagios" not in result.args:
            assert has_error, result
        if "--json" in result.args and result.args[:2] != ["config", "schema"] and (
                result.out or result.code in (0, 3)):
            assert "schema" in json.loads(result.out), result
        return result

    def listed(self, store, *options):
        """The backups that `list` knows, the newest first."""
        return self.json("list", "--store", store, *options)["backups"]

    def shown(self, store, backup_id="latest"):
        return self.json("show", backup_id, "--store", store)["backup"]

    # --- what must not be left behind ------------------------------------------

    def scratch_left(self):
        return sorted(os.listdir(self.scratch))

    def servers_left(self):
        """Processes that run in our scratch folder."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and is_alive(int(entry)):
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        text = file.read().replace(b"\0", b" ").decode("utf-8", "replace")
                    cwd = os.readlink(f"/proc/{entry}/cwd")
                except OSError:
                    continue
                if self.scratch + "/" in text or cwd.startswith(self.scratch + "/"):
                    found.append(f"{entry}: {text}")
        return found

    def assert_clean(self):
        assert self.servers_left() == []
        assert self.scratch_left() == []

    def assert_no_secret_on_disk(self, *folders):
        for folder in (self.state, self.scratch, *map(str, folders)):
            for path in all_files(folder):
                with open(path, "rb") as file:
                    data = file.read(4 << 20)
                for secret in self.secrets:
                    assert secret.encode() not in data, f"the password is in {path}"


def all_files(folder):
    """Regular files below it; what goes away meanwhile is not there."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(os.lstat(path).st_mode):
                    found.append(path)
    return sorted(found)


class Spy:
    """Collects the command lines and environments of a process and all below it, until stopped."""

    def __init__(self, pid):
        self.pid, self.seen = pid, {}
        self.is_stopped = False
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while not self.is_stopped:
            for pid in [self.pid, *children(self.pid)]:
                for what in ("cmdline", "environ", "comm"):
                    try:
                        with open(f"/proc/{pid}/{what}", "rb") as file:
                            self.seen.setdefault((pid, what), set()).add(file.read())
                    except OSError:
                        continue
            time.sleep(0.005)

    def stop(self):
        self.is_stopped = True
        self.thread.join()
        return self.seen
