#!/usr/bin/python3
"""The modelled disk itself: what a power loss leaves, and how orders are obeyed.

usage: test_disk.py FOLDER_OF_THE_TOOLS
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from disk import FOR_EVER, Disk

TOOLS = os.path.abspath(sys.argv.pop())

# What a program under the shim does: put(name, text), sync(name), and all of os.
HELPERS = """
import os, sys
def put(name, data, at=0, is_synced=False):
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(fd, data, at)
        if is_synced:
            os.fsync(fd)
    finally:
        os.close(fd)
def sync(name):
    fd = os.open(name, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
"""
PAGE = 4096


class DiskTest(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="bst-disk-")
        self.disk = Disk(self.work, TOOLS)
        os.mkdir(self.at("old"))
        self.write("old/file", b"old")
        self.disk.begin()

    def tearDown(self):
        shutil.rmtree(self.work)

    def at(self, name):
        return os.path.join(self.disk.root, name)

    def write(self, name, data):
        with open(self.at(name), "wb") as file:
            file.write(data)

    def read(self, name):
        with open(self.at(name), "rb") as file:
            return file.read()

    def names(self, folder="."):
        return sorted(os.listdir(self.at(folder)))

    def run_there(self, program, code=0):
        done = subprocess.run([sys.executable, "-c", HELPERS + program], cwd=self.disk.root,
                              env={**os.environ, **self.disk.env(), "SHIM_READS": ""},
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout

    def lose_power(self, is_torn=False, seed=0):
        self.disk.come_back(is_torn, seed)

    def test_only_what_was_synced_survives(self):
        self.run_there("""
put("both", b"1", is_synced=True); put("name", b"2")
sync(".")
put("content", b"3", is_synced=True); put("both", b"X")""")
        self.lose_power()
        self.assertEqual(self.names(), ["both", "name", "old"])
        self.assertEqual(self.read("both"), b"1")
        self.assertEqual(self.read("name"), b"")
        self.assertEqual(self.read("old/file"), b"old")

    def test_a_new_name_needs_its_folder(self):
        self.run_there("""
put("a", b"1", is_synced=True); sync(".")
os.rename("a", "b"); os.unlink("old/file"); os.mkdir("new")
put("new/file", b"2", is_synced=True); sync("new")""")
        self.lose_power()
        self.assertEqual(self.names(), ["a", "old"])
        self.assertEqual(self.names("old"), ["file"])

    def test_a_folder_of_a_folder(self):
        self.run_there("""
os.mkdir("new"); put("new/file", b"2", is_synced=True); sync("new"); sync(".")
os.mkdir("empty"); put("empty/file", b"2", is_synced=True); sync(".")""")
        self.lose_power()
        self.assertEqual(self.read("new/file"), b"2")
        self.assertEqual(self.names("empty"), [])

    def test_a_number_used_again_is_another_file(self):
        self.run_there("""
put("a", b"first", is_synced=True); sync("."); os.unlink("a")
for n in range(50):
    put("b%d" % n, b"second", is_synced=True); os.unlink("b%d" % n)""")
        self.lose_power()
        self.assertEqual(self.read("a"), b"first")

    def test_after_a_failed_fsync_only_writing_again_helps(self):
        self.disk.fail("sync", "EIO", after=1, count=1)
        self.run_there(f"""
fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(fd, b"1" * {PAGE} + b"2" * {PAGE}, 0)
try:
    os.fsync(fd); sys.exit(1)
except OSError as error:
    assert error.errno == 5
os.fsync(fd)
os.pwrite(fd, b"2" * {PAGE}, {PAGE})
os.fsync(fd); sync(".")""")
        self.lose_power()
        self.assertEqual(self.read("f"), b"\0" * PAGE + b"2" * PAGE)

    def test_a_disk_that_fills_takes_some_first(self):
        self.disk.fail("write", "ENOSPC", after=1, count=FOR_EVER)
        self.run_there("""
fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o600)
assert os.write(fd, b"12345678") == 4
try:
    os.write(fd, b"x"); sys.exit(1)
except OSError as error:
    assert error.errno == 28""")
        self.disk.heal()
        self.run_there("put('f', b'again')")
        self.assertEqual(self.disk.failed("write"), 2)

    def test_the_power_goes_at_a_call(self):
        self.disk.die("sync", 2, is_behind=True)
        self.run_there("""
for n in range(9):
    put("f%d" % n, b"x", is_synced=True); sync(".")""", code=-signal.SIGKILL)
        self.assertTrue(self.disk.lost_power())
        self.lose_power()
        # f1 was synced, its folder was not any more.
        self.assertEqual(self.names(), ["f0", "old"])

    def test_nothing_is_done_without_power(self):
        self.disk.cut_power()
        with self.assertRaises(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, "-c", HELPERS + "put('f', b'x', is_synced=True)"],
                           cwd=self.disk.root, env={**os.environ, **self.disk.env()}, timeout=1,
                           check=False)
        self.lose_power()
        self.assertEqual(self.names(), ["old"])

    def test_torn_is_by_chance_and_the_same_for_a_seed(self):
        found = set()
        for seed in range(1, 13):
            self.run_there(f"""
put("f", b"0" * {4 * PAGE}, is_synced=True); sync(".")
put("f", b"1" * {4 * PAGE})""")
            self.lose_power(True, seed)
            text = self.read("f")
            self.assertTrue(all(text[at:at + PAGE] in (b"0" * PAGE, b"1" * PAGE)
                                for at in range(0, len(text), PAGE)))
            found.add(text)
        self.assertGreater(len(found), 3)


if __name__ == "__main__":
    unittest.main()
