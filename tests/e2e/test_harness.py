"""The tests' own server works, and the rules applied to every run do bite."""
import pytest

import plant
from program import Result


def test_the_server_holds_a_plant(pg, truth):
    assert plant.counts(pg, plant.DATABASE)["public", "telemetry_2025_11_03"] == 7200
    assert sum(plant.counts(pg, plant.ODD_DATABASE).values()) == 500
    assert len(truth["large objects"]) == 5


@pytest.mark.parametrize("code, out, err", [
    (0, "", "error: something\n"),
    (1, "", "no word of it\n"),
    (-11, "", ""),
    (0, "\x1b[1m", ""),
    (1, "", "error: the password is Geh3im-und-l4ng\n"),
    (1, "", "error: x\n==1==ERROR: AddressSanitizer: heap\n"),
])
def test_what_no_run_may_do_is_seen(bs, code, out, err):
    with pytest.raises(AssertionError):
        bs.judge(Result(["list"], code, out, err, 0, 0))
