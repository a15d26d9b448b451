import os
import signal
import time
from collections.abc import Callable

import pytest
import torch

from ganedit.data.workers import available_cores, in_processes
from ganedit.errors import GaneditError


def square(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return number**2


def threads(_: int) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def interruptible(_: int) -> bool:
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def fail_at_three(number: int) -> int:
    if number == 3:
        raise GaneditError("three")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_results_come_in_order_from_processes_of_one_thread():
    assert list(in_processes(square, range(11), processes=2)) == [n**2 for n in range(11)]
    assert list(in_processes(square, [], processes=1)) == []
    seen = set(in_processes(threads, range(4), processes=2))
    assert len({process for process, _ in seen}) == 2
    assert {count for _, count in seen} == {1}
    assert not any(alive(process) for process, _ in seen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "words"),
    [(fail_at_three, "^three$"), (die_at_three, r"was ended \(exit code -9\)")],
)
def test_failures_reach_the_caller(function: Callable[[int], int], words: str):
    got = []
    with pytest.raises(GaneditError, match=words):
        got.extend(in_processes(function, range(100), processes=2))
    assert got == [0, 1, 2][: len(got)]


@pytest.mark.slow
def test_an_interruption_is_for_the_first_process_only():
    assert not any(in_processes(interruptible, range(2), processes=2))
    assert interruptible(0)


@pytest.mark.slow
def test_unfinished_work_is_not_waited_for():
    results = in_processes(sleep, [0, 1000, 1000], processes=1)
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 10


def test_there_is_a_core():
    assert available_cores() >= 1
