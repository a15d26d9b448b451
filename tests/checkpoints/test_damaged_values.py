"""Any value anywhere in a file may be any other: one line says so, whatever it is."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ganedit.checkpoints import bundles, genforce, nvidia, rosinality, tensorflow
from ganedit.checkpoints.building import skeleton
from ganedit.errors import GaneditError
from ganedit.io.safe_pickle import Global, Record
from ganedit.io.torch_files import open_pickled
from tests.checkpoints.test_genforce import layout
from tests.checkpoints.test_nvidia import discriminator_arguments, generator_arguments
from tests.conformance import nvlabs_pickle
from tests.conftest import make_generator

FAMILIES = (nvidia, tensorflow, bundles, rosinality, genforce)
CYCLE: dict[str, Any] = {}
CYCLE["again"] = [CYCLE, (CYCLE,)]
NESTED: Any = ["end"]
for _ in range(60):
    NESTED = [NESTED, NESTED]  # 2 ** 60 entries for whoever walks all of them
REPLACEMENTS = (
    *(None, True, 0, -1, 3, 10**9, 1 << 70, 10**5000, 0.5, float("nan"), float("inf"), 1e300),
    *("", "x", "b4", "\n" * 2000, b"bytes", (), [], {}, set(), (1, 2), [[1, 2], [3]], {"a": 1}),
    *(CYCLE, NESTED, tuple(NESTED), {1: 2, (3,): 4}, Record(Global("os", "system"), (), None)),
    *(Record(Global("torch_utils.persistence", "Generator"), (), CYCLE),),
    *(Record(Global("dnnlib.tflib.network", "Network"), (), CYCLE),),
)


def nvidia_value(folder: Path) -> Any:
    from tests.checkpoints.test_nvidia import make_discriminator

    path = folder / "file"
    held = {key: value.numpy() for key, value in make_generator().state_dict().items()}
    critic = {key: value.numpy() for key, value in make_discriminator().state_dict().items()}
    networks = {
        "G": nvlabs_pickle.Net(held, generator_arguments()),
        "D": nvlabs_pickle.Net(critic, discriminator_arguments(), "Discriminator"),
    }
    nvlabs_pickle.write(path, "stylegan2-ada", networks, {"xflip": True})
    return open_pickled(path).trusted()


def eg3d_value(folder: Path) -> Any:
    from tests.checkpoints.foreign import eg3d_critic, eg3d_network
    from tests.checkpoints.test_eg3d import make_critic, make_generator

    path = folder / "file"
    networks = {
        "G_ema": eg3d_network(make_generator()),
        "D": eg3d_critic(make_critic().requires_grad_(False)),
    }
    nvlabs_pickle.write(path, "eg3d", networks, {"xflip": True})
    return open_pickled(path).trusted()


def tensorflow_value(folder: Path) -> Any:
    from tests.checkpoints.test_tensorflow import make_discriminator, read

    return read(folder, make_generator(), make_discriminator())


def torch_value(folder: Path, content: Any) -> Any:
    torch.save(content, folder / "file")
    return open_pickled(folder / "file").trusted()


def rosinality_value(folder: Path) -> Any:
    from tests.checkpoints.test_tensorflow import make_discriminator

    content = rosinality.training_file(make_generator(), make_discriminator())
    return torch_value(folder, {**content, "args": {"size": 16}})


def bundle_value(folder: Path) -> Any:
    g_ema, average = rosinality.to_rosinality(make_generator())
    state = {f"decoder.{key}": value for key, value in g_ema.items()}
    state["encoder.weight"] = torch.ones(2)
    opts = {"encoder_type": "GradualStyleEncoder", "output_size": 16}
    return torch_value(folder, {"state_dict": state, "latent_avg": average, "opts": opts})


def genforce_value(folder: Path) -> Any:
    return torch_value(folder, {"generator": layout(), "step": 3})


def copied(value: Any) -> Any:
    """Copy the containers of a tree."""
    if isinstance(value, Record):
        return Record(value.kind, value.args, copied(value.state))
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(copied(item) for item in value)
    return value


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) of a tree in which something can be replaced."""
    pending = [value]
    while pending:
        node = pending.pop()
        entries: list[tuple[Any, Any]] = []
        if isinstance(node, Record):
            yield node, "state"
            pending.append(node.state)
        elif isinstance(node, dict):
            entries = [(key, node[key]) for key in node]
        elif isinstance(node, (list, tuple)):
            entries = list(enumerate(node))
        for key, item in entries:
            if not isinstance(node, tuple):
                yield node, key
            pending.append(item)


def damage(value: Any, chance: random.Random) -> None:
    """Replace, rename, remove or exchange a few entries."""
    found = list(places(value))
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        container, key = chance.choice(found)
        other = chance.choice(REPLACEMENTS)
        action = chance.random()
        if isinstance(container, Record):
            container.state = other
        elif isinstance(container, dict) and action < 0.2:
            container.pop(key, None)
        elif isinstance(container, dict) and action < 0.3 and isinstance(other, (str, int, bytes)):
            container[other] = container.pop(key, None)
        elif action < 0.5 and (isinstance(container, dict) or key < len(container)):
            elsewhere, its_key = chance.choice(found)
            if isinstance(elsewhere, dict) and its_key in elsewhere:
                container[key] = elsewhere[its_key]
        elif isinstance(container, dict) or key < len(container):
            container[key] = other


@pytest.mark.parametrize(
    "make",
    [nvidia_value, eg3d_value, tensorflow_value, rosinality_value, bundle_value, genforce_value],
)
def test_damaged_values_are_one_line_or_a_network(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    chance = random.Random(make.__name__)
    sound = make(tmp_path)
    (tmp_path / "file").touch()
    for _ in range(int(os.environ.get("GANEDIT_DAMAGE_ROUNDS", "150"))):
        value = copied(sound)
        damage(value, chance)
        for family in FAMILIES:
            said = what_it_says(family, value, tmp_path / "file")
            assert "\n" not in said
            assert len(said) < 1000


def read(family: Any, value: Any, path: Path) -> None:
    """Do what inspecting a file does."""
    contents = family.recognise(value)
    if contents is None:
        return
    assert not any("\n" in other or len(other) > 1000 for other in contents.others)
    assert len(json.dumps(contents.training)) < 1 << 20
    for part in (contents.generator, contents.raw_generator, contents.discriminator):
        if part is not None:
            skeleton(part, path)


def what_it_says(family: Any, value: Any, path: Path) -> str:
    try:
        read(family, value, path)
    except GaneditError as error:
        return str(error)
    return ""
