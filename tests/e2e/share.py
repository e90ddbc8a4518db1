"""One run in several pytest processes: each claims a file, runs it, and claims another. Files that
take long are begun first, so that no process is left with one at the end.

BLACKSTART_CLAIMS  the folder in which the processes of a run claim files; else all is run here
BLACKSTART_TIMES   seconds by file name, as an earlier run took them (JSON)
"""
import itertools
import json
import os

SLOW_S = 10


def file_of(item):
    return item.path.name


def longest_first(items):
    """Reorder whole files by the time they took, or else by what their tests are marked with."""
    times = {}
    path = os.environ.get("BLACKSTART_TIMES")
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            times = json.load(file)
    guesses = {}
    for item in items:
        seconds = SLOW_S if item.get_closest_marker("slow") else 1
        guesses[file_of(item)] = guesses.get(file_of(item), 0) + seconds
    items.sort(key=lambda item: -times.get(file_of(item), guesses[file_of(item)]))


def claim(folder, name, count):
    """Is the file ours? The claim tells how many results are to be expected of it."""
    try:
        fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(fd, "w", encoding="ascii") as file:
        file.write(str(count))
    return True


def claimed(items, folder):
    for name, group in itertools.groupby(items, file_of):
        ours = list(group)
        if claim(folder, name, len(ours)):
            yield from ours


def run(session, folder):
    """pytest's own loop, over what is claimed on the way. A test is run when the one behind it is
    known, since fixtures that the next one uses too stay."""
    current = None
    for following in itertools.chain(claimed(session.items, folder), [None]):
        if current is not None:
            session.config.hook.pytest_runtest_protocol(item=current, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
        current = following
    return True
