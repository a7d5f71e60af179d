"""How the program is asked to stop."""

from __future__ import annotations

import os
import signal

import pytest

from clnf_torch.cli.console import finishing_first

WISHES = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]


@pytest.mark.parametrize(("wish", "ending"), WISHES)
def test_the_first_request_waits_until_the_program_may_stop(wish, ending):
    before = signal.getsignal(wish)
    done = []
    with pytest.raises(ending) as caught, finishing_first() as stop_if_asked:
        stop_if_asked()
        os.kill(os.getpid(), wish)
        done.append("work in hand")
        stop_if_asked()
        done.append("more work")
    assert done == ["work in hand"]
    assert signal.getsignal(wish) is before
    if ending is SystemExit:
        assert caught.value.code == 143


@pytest.mark.parametrize(("wish", "ending"), WISHES)
def test_the_second_request_does_not_wait(wish, ending):
    with pytest.raises(ending), finishing_first():
        os.kill(os.getpid(), wish)
        os.kill(os.getpid(), wish)
        pytest.fail("went on")
