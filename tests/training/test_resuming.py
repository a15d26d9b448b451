from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from ganedit.errors import GaneditError
from ganedit.training.options import check_ranges, flag_of, recipe_changes, recipe_of
from ganedit.training.resuming import diverged_at, restore_state, run_steps, save_state


@dataclass
class State:
    step: int = 0


@dataclass(frozen=True)
class Options:
    out: Path
    learning_rate: float = 0.5
    prompts: tuple[str, ...] = ("a", "b")
    batch: int | None = None


RENAMED = {"learning_rate": "--lr"}


def run(state: State, **changes) -> tuple[bool, list[int]]:
    saved: list[int] = []
    settings = {
        "steps": 7,
        "save": lambda: saved.append(state.step),
        "save_every": 3,
        "diverged": diverged_at(Path("x.state.pt"), "training", 0.5),
        "on_step": None,
    }
    return run_steps(state, lambda: {"loss": 1.0}, **(settings | changes)), saved


def test_steps_are_made_from_where_they_stopped_and_saved_now_and_then():
    state = State(step=2)
    assert run(state) == (True, [3, 6])
    assert state.step == 7
    assert run(state) == (True, [])


def test_any_figure_that_is_not_finite_ends_a_training():
    with pytest.raises(
        GaneditError, match=r"training diverged at step 1; delete x\.state\.pt .*0\.25"
    ):
        run_steps(
            State(),
            lambda: {"loss": 1.0, "norm": float("nan")},
            steps=2,
            save=lambda: None,
            save_every=0,
            diverged=diverged_at(Path("x.state.pt"), "training", 0.5),
            on_step=None,
        )


def test_a_state_comes_back_whole(tmp_path):
    path, first, second = tmp_path / "s.pt", nn.Linear(2, 3), nn.Linear(2, 3)
    facts = {"recipe": {"seed": 1}, "latents": "abc"}
    save_state(path, kind="k", step=4, parts={"net": first}, facts=facts)
    found = restore_state(path, kind="k", what="it", parts={"net": second}, changes=lambda _: [])
    assert found["step"] == 4
    assert found["latents"] == "abc"
    assert torch.equal(first.weight, second.weight)


def test_a_state_that_does_not_belong_here_is_one_line(tmp_path):
    path, net = tmp_path / "s.pt", nn.Linear(2, 3)
    save_state(path, kind="k", step=4, parts={"net": net}, facts={})
    cases = {
        "not the state of it; move it away": {"kind": "other"},
        "other options \\(seed; batch\\); give the same": {"changes": lambda _: ["seed", "batch"]},
        "does not fit this training .*delete it": {"parts": {"net": nn.Linear(9, 9)}},
        "does not fit this training \\('missing'\\)": {"parts": {"missing": net}},
    }
    for message, changes in cases.items():
        given = {
            "kind": "k",
            "what": "it",
            "parts": {"net": net},
            "changes": lambda _: [],
        } | changes
        with pytest.raises(GaneditError, match=message) as caught:
            restore_state(path, **given)
        assert "\n" not in str(caught.value)


def test_recipes_leave_out_what_changes_nothing_and_name_flags():
    recipe = recipe_of(Options(Path("a")), without={"out"})
    assert recipe == {"learning_rate": 0.5, "prompts": ["a", "b"], "batch": None}
    assert recipe_changes(recipe, dict(recipe), RENAMED) == []
    assert recipe_changes(recipe, recipe | {"learning_rate": 1}, RENAMED) == ["--lr 1 is now 0.5"]
    assert flag_of("held_out", RENAMED) == "--held-out"


@pytest.mark.parametrize("rate", [0.1, 2.0, float("nan"), float("inf")])
def test_numbers_out_of_range_name_their_flag(rate):
    ranges = (("learning_rate", 0.2, 1.0), ("batch", 1, 8))
    with pytest.raises(GaneditError, match=r"--lr must be 0\.2 to 1, got"):
        check_ranges(Options(Path("a"), learning_rate=rate), ranges, RENAMED)
    check_ranges(Options(Path("a")), ranges, RENAMED)
