"""Ten thousand damaged files: each is read, or refused in one line, soon and in little memory.

Three thousand more are damaged networks and latents, for the readers that know those.

The fuzzer is guided by coverage: a damaged file that reaches lines of the readers which none
reached before is kept, and damaged further; watching which takes ten times as long as reading, so
that networks, which are larger, are damaged blindly. ``python -m tests.io.test_fuzz FOLDER SEED
COUNT data|networks`` runs it over the files in FOLDER, in a process whose memory is its own.
"""

import argparse
import collections
import io
import json
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import time
import traceback
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from ganedit.checkpoints import describe, open_checkpoint, save_network
from ganedit.errors import GaneditError
from ganedit.io import (
    Latent,
    pickle_machine,
    pickle_names,
    read_latent,
    safe_pickle,
    save_latent,
    stored,
    torch_files,
    zip_files,
)
from tests.io.hostile import Watch, read_all
from tests.memory import peak_kilobytes

ROOT = Path(__file__).parents[2]
READERS = {
    module.__file__
    for module in (pickle_machine, pickle_names, safe_pickle, stored, torch_files, zip_files)
}


# The files to damage


def _plain() -> dict[str, Any]:
    return {
        "numbers": [1, -2, 300, 2**40, 2**70, 1.5, None, True, 2j],
        "texts": ("short", "é" * 300, b"raw", bytearray(b"array")),
        "sets": [{1, 2}, frozenset("ab")],
        "boxes": [collections.OrderedDict(a=1), collections.deque([1]), argparse.Namespace(x=[1])],
        "numpy": [np.float64(0.5), np.arange(6, dtype=">i4").reshape(2, 3), np.zeros((0, 2))],
        "others": [Path("/a/b"), torch.float16, torch.device("cpu"), torch.Size([1, 2])],
    }


def _tensors() -> dict[str, Any]:
    base = torch.arange(24.0)
    return {
        "state": {"weight": base.reshape(2, 3, 4), "view": base[4:20:2], "bias": torch.ones(3)},
        "wide": torch.ones(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        "types": [torch.zeros(2, dtype=d) for d in (torch.int64, torch.bool, torch.bfloat16)],
        "rare": [torch.zeros(3, dtype=torch.uint16), torch.nn.Parameter(torch.ones(2))],
        "args": argparse.Namespace(size=256, path="a"),
    }


def _network(protocol: int) -> bytes:
    """A network as NVlabs pickles one, with all that occurs in it, but small."""
    import nvlabs_pickle as nv

    maker = nv.Maker("1.9", "numpy.core.multiarray", "cpu", True, "import os\n" * 500)

    def module(tensors: dict[str, Any], modules: dict[str, Any], **attributes: Any) -> Any:
        state = maker.module_dict(tensors, {"w_avg": maker.tensor(np.ones(4))}, modules, attributes)
        return maker.persistent("Generator", state | {"_init_args": (), "_init_kwargs": {}})

    weight = maker.parameter(np.ones((2, 2, 3, 3), dtype=np.float32))
    layer = module({"weight": weight}, {}, gain=maker.scalar(0.5), size=maker.ndarray([4, 4]))
    outer = module({}, {"layer": layer}, options=maker.easydict({"a": {"b": 1}}))
    network = nv.New(
        maker.g("dnnlib.tflib.network", "Network"), state={"variables": [("a", weight)]}
    )
    return nv.dumps({"G": outer, "G_ema": outer, "tf": (network,)}, protocol)


def seeds() -> dict[str, bytes]:
    files = {f"plain{protocol}": pickle.dumps(_plain(), protocol) for protocol in range(6)}
    files |= {f"network{protocol}": _network(protocol) for protocol in (2, 3, 4)}
    files["pickled"] = pickle.dumps(_tensors(), 4)
    for kind, options in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        buffer = io.BytesIO()
        torch.save(_tensors(), buffer, **options)
        files[kind] = buffer.getvalue()
    files["unchecked"] = without_checksums(files["zip"])
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(files["zip"])) as source,
        zipfile.ZipFile(buffer, "w") as target,
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info), zipfile.ZIP_DEFLATED)
    files["deflated"] = without_checksums(buffer.getvalue())
    return files


def network_seeds(folder: Path) -> dict[str, bytes]:
    """Networks of 16 pixels, and latents, of several families."""
    from tests.checkpoints.foreign import write_nvidia, write_rosinality
    from tests.conftest import make_generator

    generator = make_generator()
    save_network(folder / "safetensors", generator, provenance={"images": 7})
    write_nvidia(folder / "nvidia", generator, training={"kimg": 5})
    write_rosinality(folder / "rosinality", generator)
    write_rosinality(folder / "rosinality-legacy", generator, legacy=True)
    ws = torch.ones(2, 6, 16)
    save_latent(folder / "latent", Latent(ws, "w+", "sha256:a", "clay", names=("a", "b")))
    with (folder / "npy").open("wb") as file:
        np.save(file, ws.numpy())
    for name, write in (("npz", np.savez), ("npz-deflated", np.savez_compressed)):
        with (folder / name).open("wb") as file:
            write(file, w=ws.numpy(), other=np.zeros(3))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in ("rosinality", "latent", "npz", "npz-deflated"):
        files[f"{name}-unchecked"] = without_checksums(files[name])
    return files


def without_checksums(archive: bytes) -> bytes:
    """The archive as torch writes it with checksums off, so that damage gets further."""
    content = bytearray(archive)
    position = content.find(b"PK\1\2")
    while position >= 0:
        content[position + 16 : position + 20] = bytes(4)
        position = content.find(b"PK\1\2", position + 4)
    return bytes(content)


# The damage

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
OPERATIONS = [op.code.encode("latin-1") for op in pickletools.opcodes]
NAMES = [b"cos\nsystem\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"]
NAMES += [b"cnumpy\ndtype\n", b"ctorch\nFloatStorage\n", b"cbuiltins\nlist\n"]


def damaged(content: bytes, other: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(DAMAGES)(content or b"\0", other, chance)
    return content


def _flip(content: bytes, _other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 3, 16))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _truncate(content: bytes, _other: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _span(content: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(content))
    return start, min(len(content), start + chance.choice((1, 2, 8, 64, 1000)))


def _remove(content: bytes, _other: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:start] + content[end:]


def _duplicate(content: bytes, _other: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    return content[:end] + content[start:end] * chance.choice((1, 1, 2, 50)) + content[end:]


def _splice(content: bytes, other: bytes, chance: random.Random) -> bytes:
    start, end = _span(content, chance)
    first, last = _span(other or b"\0", chance)
    return content[:start] + other[first:last] + content[end:]


def _edge(content: bytes, _other: bytes, chance: random.Random) -> bytes:
    width, form = chance.choice(((1, "<B"), (2, "<H"), (4, "<I"), (8, "<Q"), (4, ">I")))
    value = chance.choice(EDGES) & (256**width - 1)
    position = chance.randrange(len(content))
    return content[:position] + struct.pack(form, value) + content[position + width :]


def _operation(content: bytes, _other: bytes, chance: random.Random) -> bytes:
    """Put an operation between two others; a nested or zipped pickle is searched for as well."""
    start = content.find(b"\x80", chance.randrange(len(content)))
    places = [max(start, 0)]
    try:
        places += [max(start, 0) + (at or 0) for _, _, at in pickletools.genops(content[start:])]
    except Exception:  # noqa: BLE001 - damaged before: what was found will do
        places.append(chance.randrange(len(content)))
    place = chance.choice(places)
    added = chance.choice(OPERATIONS) + chance.randbytes(chance.choice((0, 0, 1, 4)))
    if chance.random() < 0.2:
        added = chance.choice(NAMES) + chance.choice((b"", b")R", b")\x81", b"NR", b"}b"))
    return content[:place] + added + content[place:]


DAMAGES = (_flip, _truncate, _remove, _duplicate, _splice, _edge, _edge, _operation, _operation)


# The fuzzer


class Coverage:
    """Lines of the readers that were reached."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename not in READERS:
            return None
        if event == "line":
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self


def _read_network(path: Path) -> str:
    """Describe a network and load its weights; return the error, or an empty text."""
    try:
        opened = open_checkpoint(path, describe_refused=True)
        json.dumps(describe(opened), allow_nan=False)
        for part in (opened.contents.generator, opened.contents.discriminator):
            if part is not None:
                part.load()
    except GaneditError as error:
        return str(error)
    return ""


def _read_latent(path: Path) -> str:
    try:
        read_latent(path)
    except GaneditError as error:
        return str(error)
    return ""


TARGETS = {"data": (read_all,), "networks": (_read_network, _read_latent)}


def fuzz(folder: Path, seed: int, count: int, target: str) -> dict[str, Any]:
    """Read ``count`` damaged files; return what was seen, and what should not have been."""
    chance = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted(folder.iterdir())]
    path = folder.parent / "damaged.pkl"
    watch, coverage = Watch(), Coverage()
    watch.path = str(path)
    report: dict[str, Any] = {"kept": 0, "read": 0, "lines": 0, "slowest": 0.0, "faults": []}
    for number in range(-len(corpus), count):  # the whole files first
        whole = number < 0
        content = corpus[number] if whole else chance.choice(corpus)
        content = content if whole else damaged(content, chance.choice(corpus), chance)
        path.write_bytes(content)
        started = time.perf_counter()
        watch.on = not whole  # what codecs import at their first use is no offence
        errors = []
        sys.settrace(coverage if target == "data" else None)
        for read in TARGETS[target]:
            try:
                errors.append(read(path))
            except BaseException as unexpected:  # noqa: BLE001 - exactly this is looked for
                errors.append(f"{path}: {type(unexpected).__name__}")
                told = f"{read.__name__}: {_place(unexpected)} {unexpected!r:.200}"
                report["faults"].append([number, told, content.hex()[:2000]])
        sys.settrace(None)
        watch.on = False
        seconds = time.perf_counter() - started
        faults = [*watch.events, *(["slow"] if seconds > 5 and not whole else [])]
        watch.events = []
        faults += [
            f"odd line: {error!r:.300}"
            for error in filter(None, errors)
            if not (error.startswith(f"{path}: ") and error.isprintable())
        ]
        report["faults"] += [[number, fault, content.hex()[:2000]] for fault in faults]
        report["read"] += "" in errors
        report["slowest"] = report["slowest"] if whole else max(report["slowest"], seconds)
        if len(coverage.lines) > report["lines"] and not whole:
            corpus.append(content[: 2**16])
            report["kept"] += 1
        report["lines"] = len(coverage.lines)
    report["peak_mb"] = peak_kilobytes() // 1024
    return report


def _place(error: BaseException) -> str:
    """Return the line of ours that an error comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "ganedit" in f.filename]
    return ours[-1] if ours else "?"


def _run(tmp_path: Path, seed: int, count: int, target: str = "data") -> dict[str, Any]:
    folder = tmp_path / "seeds"
    folder.mkdir()
    for name, content in (seeds() if target == "data" else network_seeds(folder)).items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-m", "tests.io.test_fuzz"]
    command += [str(folder), str(seed), str(count), target]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, run.stderr[-2000:]
    report: dict[str, Any] = json.loads(run.stdout)
    assert report["faults"] == []
    assert report["slowest"] < 5
    assert report["peak_mb"] < 1024  # torch included
    return report


def test_the_whole_files_are_read(tmp_path):
    for name, content in seeds().items():
        path = tmp_path / name
        path.write_bytes(content)
        assert read_all(path) == "", name


def test_the_whole_networks_and_latents_are_read(tmp_path):
    for name, content in network_seeds(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        is_latent = name.startswith(("npy", "npz", "latent"))
        assert (_read_latent if is_latent else _read_network)(path) == "", name


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    assert _run(tmp_path, seed=1, count=300)["kept"] > 10


def test_damaged_networks_and_latents_are_read_or_refused_in_one_line(tmp_path):
    assert _run(tmp_path, seed=1, count=150, target="networks")["read"] > 5


@pytest.mark.slow
def test_three_thousand_damaged_networks_and_latents_are_read_or_refused(tmp_path):
    assert _run(tmp_path, seed=2, count=3000, target="networks")["read"] > 100


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    report = _run(tmp_path, seed=2, count=10_000)
    assert report["kept"] > 50
    assert report["read"] > 100  # harmless damage exists


if __name__ == "__main__":
    result = fuzz(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    print(json.dumps(result))  # noqa: T201 - a command
