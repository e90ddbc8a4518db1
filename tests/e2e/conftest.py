"""What the end-to-end tests share: a real server with a plant's data, a store with one backup of
each kind to copy from, and blackstart itself.

BLACKSTART          the program (default: build/blackstart)
BLACKSTART_TEST_PG  the server's major, a name of tools/peers (default: pg15)
BLACKSTART_TEST_REDIS  the Redis, likewise (default: redis70); see redis_server.py
BLACKSTART_PG_BIN   or a folder of server programs
BLACKSTART_ALL      1: also what only the run over all majors does otherwise
share.py            how several pytest processes share one run
"""
import itertools
import os
import shutil
import signal
import subprocess
import tempfile

import pytest

import plant
import share
from archived import Archive
from postgres import ADMIN_PASSWORD, Server, give_away, peer
from program import BINARY, Program
from receiver import JOB, Receiver
from redis_server import redis_version
from store import Store

counter = itertools.count(1)


def pytest_configure(config):
    # So that servers, folders and mounts are taken away when somebody ends the run.
    def stop(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    config.addinivalue_line("markers", "slow: takes more than about ten seconds")
    config.addinivalue_line("markers", "needs(program): deselected where a major lacks a program")
    config.addinivalue_line("markers", "since(major): deselected on older servers")
    config.addinivalue_line("markers", "redis_since(major, minor): deselected on an older Redis")
    config.addinivalue_line("markers", "fuse: deselected where no file system can be served")
    config.addinivalue_line("markers", "matrix: only where the other majors run")


def has_fuse():
    """Containers and bare roots often have no such device."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return os.geteuid() == 0


def pytest_collection_modifyitems(config, items):
    """Leave out what this major cannot do, and say so; on the machine's own nothing is left out."""
    is_own = os.environ.get("BLACKSTART_TEST_PG", "pg15") == "pg15"
    client = peer("client")
    text = subprocess.run([os.path.join(peer("path"), "postgres"), "--version"], check=True,
                          capture_output=True, text=True).stdout
    major = int(text.split(")")[1].split(".")[0])
    kept, left_out = [], []
    for item in items:
        reason = None
        for mark in item.iter_markers("needs"):
            if not os.path.exists(os.path.join(client, mark.args[0])):
                reason = f"{mark.args[0]} is not among the programs of this major"
        for mark in item.iter_markers("since"):
            if major < mark.args[0]:
                reason = f"PostgreSQL {major} is older than {mark.args[0]}"
        for mark in item.iter_markers("redis_since"):
            if redis_version() < mark.args:
                reason = f"Redis {redis_version()} is older than {mark.args}"
        if item.get_closest_marker("fuse") and not has_fuse():
            reason = "/dev/fuse cannot be opened here"
        if item.get_closest_marker("matrix") and is_own and not os.environ.get("BLACKSTART_ALL"):
            reason = "belongs to the run over all majors"
        (left_out if reason else kept).append((item, reason))
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    for item, reason in left_out:
        if reporter:
            reporter.write_line(f"left out: {item.nodeid}: {reason}")
    if left_out:
        config.hook.pytest_deselected(items=[item for item, _ in left_out])
        items[:] = [item for item, _ in kept]
    if os.environ.get("BLACKSTART_CLAIMS"):
        share.longest_first(items)


def pytest_runtestloop(session):
    folder = os.environ.get("BLACKSTART_CLAIMS")
    if not folder or session.testsfailed or session.config.option.collectonly:
        return None
    return share.run(session, folder)


@pytest.fixture(scope="session")
def base_folder():
    # Short: the paths of sockets may have 107 bytes.
    path = tempfile.mkdtemp(prefix="bse-", dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def bin_dirs():
    return list(dict.fromkeys([peer("path"), peer("client")]))


@pytest.fixture(scope="session")
def pg(base_folder):
    """The server of the whole run. Tests leave it as it is, or work in databases of their own."""
    server = Server(os.path.join(base_folder, "pg")).initdb().start()
    plant.make_roles(server)
    server.sql(f'CREATE DATABASE "{plant.DATABASE}"')
    plant.fill(server, plant.DATABASE)
    server.sql(f'CREATE DATABASE "{plant.EMPTY_DATABASE}"')
    tablespace = os.path.join(base_folder, "ts ä 1")
    os.mkdir(tablespace, 0o700)
    give_away(tablespace)
    plant.fill_odd(server, tablespace)
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def truth(pg):
    """What the plant's database holds."""
    return plant.fingerprint(pg, plant.DATABASE)


@pytest.fixture
def work(base_folder):
    path = os.path.join(base_folder, str(next(counter)))
    os.mkdir(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def bs(work, bin_dirs):
    program = Program(work, bin_dirs, [ADMIN_PASSWORD])
    yield program
    program.end_all()
    program.assert_no_secret_on_disk(os.path.join(work, "store"))


@pytest.fixture
def wal(work, bs):
    """The store's folder of a source's log, empty."""
    return Archive(os.path.join(work, "store"), bs)


@pytest.fixture
def store(work):
    return Store(os.path.join(work, "store"))


@pytest.fixture(scope="session")
def password_file(base_folder):
    return make_password_file(os.path.join(base_folder, "password"), ADMIN_PASSWORD)


def make_password_file(path, password):
    with open(path, "w", encoding="utf-8") as file:
        file.write(password + "\n")
    os.chmod(path, 0o600)
    return path


@pytest.fixture(scope="session")
def model_data(base_folder):
    """Data folders to copy from, since making one takes a second: by how full they are."""
    made = {}

    def get(name):
        if name not in made:
            server = Server(os.path.join(base_folder, "model-" + name)).initdb().start()
            plant.make_roles(server)
            if name == "full":
                server.sql("CREATE DATABASE webscada")
                plant.fill(server, "webscada", step=5)
            server.stop()
            made[name] = server.data
        return made[name]
    return get


@pytest.fixture
def new_server(work, model_data):
    """Servers that a test may break. They are one cluster to look at, unless is_other."""
    made = []

    def make(start=True, settings=None, is_other=False, model="bare"):
        server = Server(os.path.join(work, f"pg{len(made)}"), settings=settings)
        made.append(server)
        if is_other:
            server.initdb()
        else:
            subprocess.run(["cp", "-a", "--reflink=auto", model_data(model), server.data],
                           check=True)
        if start:
            server.start()
            if is_other:
                plant.make_roles(server)
        return server
    yield make
    for server in made:
        server.destroy()


@pytest.fixture
def database(pg):
    """A copy of the plant's database that the test may change."""
    name = f"plant_{next(counter)}"
    pg.clone(name, plant.DATABASE)
    yield name
    pg.drop(name)


@pytest.fixture
def adopt_server(pg):
    """Look after a server over a data folder that was restored."""
    made = []

    def make(root, data):
        server = Server(root, data=data)
        made.append(server)
        return server
    yield make
    for server in made:
        server.destroy()


@pytest.fixture
def dump(bs, pg, store, password_file):
    """dump(database, *options): a dump into the test's store."""
    def run(database=plant.DATABASE, *options, expect=0, **kwargs):
        return bs.run("backup", pg.url(database), "--store", store, "--password-file",
                      password_file, *options, expect=expect, **kwargs)
    return run


@pytest.fixture
def base(bs, pg, store, password_file):
    """base(*options): a base backup into the test's store."""
    def run(*options, expect=0, server=pg, **kwargs):
        return bs.run("backup", server.url(), "--store", store, "--kind", "base",
                      "--password-file", password_file, *options, expect=expect, **kwargs)
    return run


@pytest.fixture(scope="session")
def model_stores(base_folder, bin_dirs, pg, password_file):
    """Stores with one backup each, made once, to copy from: by kind."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = os.path.join(base_folder, "model-" + kind)
            os.mkdir(folder, 0o755)
            program = Program(folder, bin_dirs, [ADMIN_PASSWORD])
            made[kind] = Store(os.path.join(folder, "store"))
            program.ok("backup", pg.url(plant.DATABASE if kind == "dump" else ""), "--kind", kind,
                       "--store", made[kind], "--password-file", password_file)
        return made[kind]
    return get


@pytest.fixture
def dump_store(model_stores, work):
    """A store with one dump of the plant, of one's own."""
    return model_stores("dump").copy(os.path.join(work, "store"))


@pytest.fixture
def base_store(model_stores, work):
    return model_stores("base").copy(os.path.join(work, "base-store"))


@pytest.fixture
def configure(work, pg, store, password_file):
    """Write a config file and give its path; see DEFAULT_CONFIG."""
    def write(server=pg, databases=None, jobs=None, site="testwerk", user="webscada", store_more="",
              source_more="", zone="Europe/Berlin", name="blackstart.yaml", store_path=None,
              state="state-c"):
        path = os.path.join(work, name)
        lines = [f"site: {site}", f"timezone: {zone}", f"state_dir: {work}/{state}",
                 f"store: {{ path: {store_path or store}{store_more} }}", "sources:",
                 f"  postgresql: {{ type: postgres, host: 127.0.0.1, port: {server.port}, "
                 f"user: {user}, password_file: {password_file}, "
                 f"databases: {databases or [plant.DATABASE]}{source_more} }}", "jobs:"]
        for job, text in (jobs or {
                "pg-daily": 'source: postgresql, do: dump, at: "02:00", keep: 30d',
                "pg-base": 'source: postgresql, do: base, at: "01:00", keep: 7d'}).items():
            lines.append(f"  {job}: {{ {text} }}")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path
    return write


@pytest.fixture
def receive(bs, work, configure):
    def make(server, more="", heartbeat="off", start=True, **kwargs):
        # Before 15 the slot is looked at over SQL, in a database that must be there.
        path = configure(server=server, jobs={"pg-wal": JOB.format(more=more, heartbeat=heartbeat)},
                         **{"databases": ["postgres"], **kwargs})
        made = Receiver(bs, path, os.path.join(work, "store/postgresql/wal"), server)
        return made.start() if start else made
    return make


@pytest.fixture(scope="session")
def small_model(base_folder):
    """A cluster with segments of 1 MB, to copy from."""
    server = Server(os.path.join(base_folder, "model-small")).initdb("--wal-segsize=1").start()
    plant.make_roles(server)
    server.stop()
    return server.data


@pytest.fixture
def small(work, small_model):
    """Servers with segments of 1 MB; `like` is one whose standby it becomes."""
    made = []

    def make(settings=None, like=None, source_data=None):
        server = Server(os.path.join(work, f"small{len(made)}"), settings=settings)
        made.append(server)
        if like is None:
            subprocess.run(["cp", "-a", source_data or small_model, server.data], check=True)
            return server.start()
        server.tool("pg_basebackup", "-D", server.data, "-h", like.root, "-p", str(like.port),
                    "-U", "postgres", "-c", "fast", "-X", "stream", "-R", "--no-sync")
        return server.start()
    yield make
    for server in made:
        server.destroy()


def pytest_report_header():
    return f"blackstart: {BINARY}; server programs: {peer('path')}"
