"""Work spread over processes, with results in order: for work that threads do not speed up."""

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from ganedit.errors import GaneditError
from ganedit.memory import keep_memory

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 2  # tasks that a process holds, so that it need not wait while its result is used


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], *, processes: int
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task, in order, computed in other processes.

    They are fresh interpreters with one torch thread each, and end with the iterator; a program
    that uses them needs the usual ``if __name__ == "__main__":``.

    Args:
        function: A function of a module; tasks and results must pickle, and results hold no torch
            tensors, which would be passed by open files.
        tasks: Consumed as the work goes on.
        processes: How many, 1 or more.

    Raises:
        GaneditError: A process was killed. What the function raises passes through.
    """
    workers: list[_Worker] = []
    try:
        with _signals_held():
            for _ in range(processes):
                workers.append(_Worker(function))
        waiting: deque[_Worker] = deque()
        for number, task in enumerate(tasks):
            if len(waiting) == _AHEAD * processes:
                yield waiting.popleft().result()
            worker = workers[number % processes]
            worker.give(task)
            waiting.append(worker)
        while waiting:
            yield waiting.popleft().result()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process and this end of its pipe."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")  # torch does not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_work, args=(function, theirs), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the end of either process is the end of the pipe

    def give(self, task: Any) -> None:
        try:
            self._pipe.send(task)
        except OSError as error:
            raise self._killed() from error

    def result(self) -> Any:
        try:
            done, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._killed() from error
        if not done:
            raise value
        return value

    def stop(self) -> None:
        self._process.kill()  # it holds nothing, and does not hear a milder signal
        self._process.join()
        self._pipe.close()

    def _killed(self) -> GaneditError:
        self._process.join(timeout=5)
        return GaneditError(
            f"a process that computes for this one was ended (exit code {self._process.exitcode});"
            " perhaps memory ran out: close other programs and run again"
        )


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """Answer tasks until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides
    keep_memory()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            try:
                answer = (True, function(task))
            except Exception as error:  # noqa: BLE001  # raised in the other process
                answer = (False, error)
            pipe.send(answer)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Start processes that hear no signal to stop, not even while they import.

    Here they come later: a process whose start is cut short would complain on its own.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # not on Windows

    # Python's own helper process, started with the first of ours, would let signals in again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
