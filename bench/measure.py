"""Running one contestant after the other, and what they took."""
import os
import signal
import statistics
import subprocess
import sys
import time


class BenchError(Exception):
    """Something that makes the measurement impossible; the text says what."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Sample:
    """One timed execution: seconds on the wall, of the processors, and the peak of memory.

    The peak is that of the largest process: the program itself or one that it started and
    waited for. What this script needs itself (about 12 MiB) is the least it can show.
    """

    def __init__(self, seconds, usage):
        self.seconds = seconds
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.peak_kib = usage.ru_maxrss


class Contestant:
    """A command line to be timed, and what is made ready before each time, outside of it."""

    def __init__(self, key, argv, prepare=None, is_ours=False, codes=(0,), shown=None):
        self.key = key
        self.argv = argv
        self.prepare = prepare
        self.is_ours = is_ours
        self.codes = codes
        self.shown = shown or key
        self.stdout = None  # a file, or nowhere
        self.samples = []
        self.absent = None  # why it could not be measured

    def to(self, path):
        self.stdout = path
        return self

    def seconds(self):
        return [sample.seconds for sample in self.samples]

    def median(self):
        return statistics.median(self.seconds())

    def cpu_median(self):
        return statistics.median(sample.cpu_seconds for sample in self.samples)

    def peak_mib(self):
        return max(sample.peak_kib for sample in self.samples) / 1024


class Figure:
    """Something that a run tells in seconds, as a latency; ratios are made as of contestants."""

    def __init__(self, key):
        self.key = key
        self.samples = []
        self.absent = None

    def seconds(self):
        return self.samples

    def median(self):
        return statistics.median(self.samples)


class Runner:
    """Runs commands as the server's user, and ends what is still running when we leave."""

    def __init__(self, who, env, folder):
        self.who = who  # Popen arguments: user, group
        self.env = env
        self.folder = folder
        self.process = None

    def timed(self, argv, stdout=None, codes=(0,)):
        """Run to the end; a Sample, or a BenchError that shows what the command said."""
        errors = os.path.join(self.folder, "stderr")
        with open(stdout or os.devnull, "wb") as out, open(errors, "w+b") as err:
            began = time.perf_counter()
            try:
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out,
                                                stderr=err, env=self.env, cwd=self.folder,
                                                start_new_session=True, **self.who)
            except OSError as error:
                raise BenchError(str(error)) from None
            _, status, usage = os.wait4(self.process.pid, 0)
            seconds = time.perf_counter() - began
            self.process.returncode = os.waitstatus_to_exitcode(status)
            code = self.process.returncode
            self.process = None
            if code not in codes:
                err.seek(0)
                text = err.read().decode("utf-8", "replace")[-3000:].strip()
                raise BenchError(f"exit {code} of: {' '.join(argv)}\n{text}")
        return Sample(seconds, usage)

    def output(self, *argv):
        """What a command prints; not timed."""
        result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                env=self.env, cwd=self.folder, check=False, **self.who)
        if result.returncode != 0:
            raise BenchError(f"exit {result.returncode} of: {' '.join(argv)}\n"
                             f"{result.stderr[-3000:].strip()}")
        return result.stdout

    def kill(self):
        process, self.process = self.process, None
        if process is None or process.returncode is not None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def run_once(runner, contestant):
    if contestant.prepare is not None:
        contestant.prepare()
    # What the last one left unwritten is not this one's burden.
    os.sync()
    return runner.timed(contestant.argv, contestant.stdout, contestant.codes)


def compete(runner, title, contestants, runs):
    """One round to warm up, then rounds in which everybody runs once: A B C, A B C, ..."""
    for number in range(runs + 1):
        for contestant in contestants:
            if contestant.absent is not None:
                continue
            try:
                sample = run_once(runner, contestant)
            except BenchError as error:
                if number > 0:
                    raise
                contestant.absent = str(error)
                say(f"{title}: {contestant.key} cannot run: {error}")
                continue
            if number > 0:
                contestant.samples.append(sample)
            say(f"{title}: {'warm-up' if number == 0 else f'run {number} of {runs}'}: "
                f"{contestant.key}: {sample.seconds:.3f} s, {sample.cpu_seconds:.2f} s of CPU, "
                f"{sample.peak_kib / 1024:.0f} MiB")


def ratios(ours, peer):
    """The ratio of the medians, and the smallest and largest of the single rounds."""
    rounds = [a / b for a, b in zip(ours.seconds(), peer.seconds())]
    return ours.median() / peer.median(), min(rounds), max(rounds)
