"""The disk of the machine that blackstart runs on: what it holds after a power loss, and how it fails.

The folder `root` is the disk. A program started with env() gets the shim (shim.c), which keeps a
durable copy of it and takes orders through a file of words (control.h).
"""
import contextlib
import errno
import fcntl
import mmap
import os
import struct
import subprocess

KINDS = ["write", "sync", "sync_folder", "name", "read"]
WORDS = ["seen", "fail_after", "fail_count", "fail_errno", "failed", "die_before", "die_behind",
         "delay_us"]
HEAD = 2
SIZE = 8 * (HEAD + len(KINDS) * len(WORDS))
FOR_EVER = 1 << 40


class Disk:
    def __init__(self, work, tools):
        self.root = os.path.realpath(os.path.join(work, "disk"))
        self.shadow = os.path.join(work, "shadow")
        self.tools = tools
        self.reads = "/wal/"  # what is in this path can fail to be read
        self.path = os.path.join(work, "control")
        os.makedirs(self.root, exist_ok=True)
        with open(self.path, "wb") as file:
            file.write(bytes(SIZE))
        # The server's user maps it too, in the programs that the server starts.
        os.chmod(self.path, 0o666)
        with open(self.path, "r+b") as file:
            self.words = mmap.mmap(file.fileno(), SIZE)

    def begin(self):
        """All that is there now is durable."""
        self.tool("init", self.root, self.shadow)

    def tool(self, *args):
        subprocess.run([os.path.join(self.tools, "torture_powerloss"), *args], check=True)

    def env(self):
        """What a program needs to work on this disk; reading the log can fail, not the bases."""
        return {"SHIM_READS": self.reads, "LD_PRELOAD": os.path.join(self.tools, "torture_shim.so"), "SHIM_ROOT": self.root,
                "SHIM_SHADOW": self.shadow, "SHIM_CONTROL": self.path}

    # --- orders -------------------------------------------------------------

    def get(self, index):
        return struct.unpack_from("=Q", self.words, 8 * index)[0]

    def put(self, index, value):
        struct.pack_into("=Q", self.words, 8 * index, value)

    @staticmethod
    def index(kind, word):
        return HEAD + KINDS.index(kind) * len(WORDS) + WORDS.index(word)

    def seen(self, kind):
        return self.get(self.index(kind, "seen"))

    def failed(self, kind):
        return self.get(self.index(kind, "failed"))

    def fail(self, kind, error, after=1, count=1):
        """The call number `after` from now fails, and so do those behind it: `count` together."""
        self.put(self.index(kind, "fail_errno"), getattr(errno, error))
        self.put(self.index(kind, "fail_after"), after)
        self.put(self.index(kind, "fail_count"), count)

    def die(self, kind, after, is_behind):
        """The power goes at the call number `after` from now: before it, or when it is done."""
        self.put(self.index(kind, "die_behind" if is_behind else "die_before"), after)

    def delay(self, kind, us):
        self.put(self.index(kind, "delay_us"), us)

    def heal(self):
        for kind in KINDS:
            for word in WORDS:
                if word not in ("seen", "failed"):
                    self.put(self.index(kind, word), 0)

    @contextlib.contextmanager
    def at_rest(self):
        """Nobody is in the middle of a change of the durable copy, or can begin one (shadow.c)."""
        with open(os.path.join(self.shadow, "lock"), "a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # --- power --------------------------------------------------------------

    def cut_power(self):
        """From here on nothing more gets to the disk; now take the processes away."""
        self.put(0, 1)

    def lost_power(self):
        """Did a process run into die()?"""
        return self.get(1) != 0

    def come_back(self, is_torn, seed):
        """When all processes are gone: the disk is what was synced."""
        self.tool("apply", self.root, self.shadow, "torn" if is_torn else "strict", str(seed))
        self.heal()
        self.put(1, 0)
        self.put(0, 0)
