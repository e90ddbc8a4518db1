"""What the end-to-end tests of Redis share; each of their files imports what it uses."""
import os
import tempfile

import pytest

from program import Program
from redis_server import PASSWORD, RedisServer, fill, redis_bin


@pytest.fixture(scope="module")
def redis(base_folder):
    server = RedisServer(tempfile.mkdtemp(prefix="r", dir=base_folder))
    server.start()
    fill(server)
    yield server
    server.kill()


@pytest.fixture
def bs(work):
    program = Program(work, [redis_bin()], [PASSWORD])
    yield program
    program.end_all()
    program.assert_no_secret_on_disk(os.path.join(work, "store"))


@pytest.fixture
def password(work):
    path = os.path.join(work, "password")
    with open(path, "w", encoding="utf-8") as file:
        file.write(PASSWORD + "\n")
    os.chmod(path, 0o600)
    return path


@pytest.fixture
def backup(bs, redis, store, password):
    def run(*options, expect=0, server=redis, **kwargs):
        return bs.run("backup", server.url, "--store", store, "--password-file", password,
                      *options, expect=expect, **kwargs)
    return run


@pytest.fixture
def new_redis(work):
    made = []

    def make(*settings, **kwargs):
        made.append(RedisServer(os.path.join(work, f"redis{len(made)}"), *settings, **kwargs))
        return made[-1]
    yield make
    for server in made:
        server.kill()
