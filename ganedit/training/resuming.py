"""Trainings that can be stopped: their steps, and their state's way to disk and back."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ganedit.errors import GaneditError
from ganedit.io.torch_files import load_tensors, open_pickled, save_tensors
from ganedit.progress import OnStep
from ganedit.training.loop import interruptible


class Part(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Return its tensors and numbers."""
        ...

    def load_state_dict(self, state_dict: Any) -> Any:
        """Take them back."""
        ...


class Counted(Protocol):
    """What a training changes."""

    step: int


def run_steps(
    state: Counted,
    step: Callable[[], Mapping[str, float]],
    *,
    steps: int,
    save: Callable[[], None],
    save_every: int,
    diverged: Callable[[int], GaneditError],
    on_step: OnStep | None,
) -> bool:
    """Make the steps that are left, and save the state now and then.

    SIGINT and SIGTERM finish the current step, save the state and end this.

    Args:
        state: Its ``step`` counts.
        step: Makes one and returns its figures.
        steps: Of the whole training.
        save: Writes the state.
        save_every: Steps from one state to the next, at least 1.
        diverged: The error to raise when a step's figures are not finite, by the step's number.
        on_step: Called after every step with its figures.

    Returns:
        Whether all steps were made; False when a signal ended it, at the last step too.

    Raises:
        GaneditError: The training diverged.
    """
    with interruptible() as interrupted:
        while state.step < steps:
            values = step()
            state.step += 1
            if not all(math.isfinite(value) for value in values.values()):
                raise diverged(state.step)
            if on_step is not None:
                on_step(state.step, steps, values)
            stop = interrupted()
            if stop or state.step % max(1, save_every) == 0:
                save()
            if stop:
                return False
    return True


def diverged_at(path: Path, what: str, learning_rate: float) -> Callable[[int], GaneditError]:
    """Return what makes the error of a training that diverged.

    Args:
        path: Of its state.
        what: The training, in words.
        learning_rate: That was too high.
    """
    return lambda step: GaneditError(
        f"the {what} diverged at step {step}; delete {path} if it is there, and start anew with"
        f" --lr {learning_rate / 2:g}"
    )


def save_state(
    path: Path, *, kind: str, step: int, parts: Mapping[str, Part], facts: Mapping[str, Any]
) -> None:
    """Write a training's state, atomically.

    Args:
        path: The file.
        kind: Tells states of different trainings apart.
        step: Steps done.
        parts: What has tensors.
        facts: What must be the same when the training goes on, ``recipe`` among them.
    """
    tensors = {name: part.state_dict() for name, part in parts.items()}
    content = {"format": kind, **facts, "step": step, **tensors}
    save_tensors(path, content)


def restore_state(
    path: Path,
    *,
    kind: str,
    what: str,
    parts: Mapping[str, Part],
    changes: Callable[[Mapping[str, Any]], list[str]],
) -> dict[str, Any]:
    """Put a training's state on disk back into its parts.

    Args:
        path: The file.
        kind: As `save_state` was given it.
        what: The training, in words: ``an encoder's training``.
        parts: What takes tensors.
        changes: Says what of the file's facts is different now, a phrase each; tensors are still in
            the file.

    Returns:
        All that the file holds.

    Raises:
        GaneditError: It is none, of other options, or damaged.
    """
    content = open_pickled(path).trusted()
    if not isinstance(content, dict) or content.get("format") != kind:
        raise GaneditError(f"{path}: not the state of {what}; move it away")
    try:
        changed = changes(content)  # before anything large is read
        if changed:
            raise GaneditError(
                f"{path}: was trained with other options ({'; '.join(changed)}); give the same"
                " ones, delete it, or choose another --out"
            )
        loaded: dict[str, Any] = load_tensors(content)
        for name, part in parts.items():
            part.load_state_dict(loaded[name])
        loaded["step"] = int(loaded["step"])
    except (AttributeError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise GaneditError(
            f"{path}: does not fit this training ({reason:.120}); delete it to start anew"
        ) from error
    return loaded
