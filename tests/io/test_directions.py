import io
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from ganedit.errors import GaneditError
from ganedit.io import load_tensors, open_pickled, save_latent
from ganedit.io.directions import Directions, load_directions, save_directions


def table(count=3, rows=1, width=16):
    stream = torch.Generator().manual_seed(count + rows)
    return torch.randn(count, rows, width, generator=stream)


def make(**changes):
    fields = {
        "vectors": table(),
        "layers": ((), (0, 1), (5,)),
        "names": ("smile", "yaw", "smile+age"),
        "scales": torch.tensor([1.0, 2.0, 0.5]),
        "fingerprint": "sha256:0123",
        "network": "clay",
        "method": "fit",
        "effects": ({"smile": 0.3, "yaw": -0.1}, {"smile": 0.0, "yaw": 1.0}, {}),
        "facts": ({"accuracy": 0.9, "labels": "attributes.csv"}, {}, {"strength": 3}),
    }
    return Directions(**(fields | changes))


def content_of(path):
    return load_tensors(open_pickled(path).trusted())


# Our own files


def test_a_file_gives_back_what_was_saved(tmp_path):
    saved = make()
    save_directions(tmp_path / "a.pt", saved)
    loaded = load_directions(tmp_path / "a.pt")
    assert torch.equal(loaded.vectors, saved.vectors)
    assert torch.equal(loaded.scales, saved.scales)
    for field in ("layers", "names", "fingerprint", "network", "method", "effects", "facts"):
        assert getattr(loaded, field) == getattr(saved, field)


def test_what_is_unknown_stays_unknown(tmp_path):
    save_directions(tmp_path / "a.pt", Directions(table(), ((),) * 3, ("a", "b", "c")))
    loaded = load_directions(tmp_path / "a.pt")
    assert (loaded.scales, loaded.fingerprint, loaded.network) == (None, None, None)
    assert (loaded.effects, loaded.facts) == ((), ())


def test_a_direction_is_found_by_name_or_index():
    directions = make(names=("smile", "yaw", "2"))
    assert [directions.find(key) for key in ("yaw", "1", "2")] == [1, 1, 2]


@pytest.mark.parametrize(
    ("key", "told"),
    [("smiel", "near are smile"), ("SMILE", "near are smile"), ("3", "there are 3"), ("-1", "yaw")],
)
def test_a_direction_that_is_not_there_lists_near_names(key, told):
    with pytest.raises(GaneditError, match=told):
        make().find(key)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vectors": table().double()}, "float32"),
        ({"vectors": table()[0]}, "float32"),
        ({"vectors": table(0), "layers": (), "names": ()}, "0 directions"),
        ({"vectors": table() * float("nan")}, "NaN"),
        ({"vectors": table() * torch.tensor([1.0, 0.0, 1.0])[:, None, None]}, "1 has length zero"),
        ({"layers": ((), ())}, "expected 3, got 2"),
        ({"layers": ((), (1, 1), ())}, "layers"),
        ({"layers": ((), (-1,), ())}, "layers"),
        ({"vectors": table(rows=4), "layers": ((), (4,), ())}, "none of 0-3"),
        ({"names": ("a", "a", "b")}, "same"),
        ({"names": ("a", "b=1", "c")}, "b=1"),
        ({"names": ("a", "b", "C:c")}, "C:c"),
        ({"names": ("a", "b\n", "c")}, "b"),
        ({"names": ("a", "", "c")}, "characters"),
        ({"names": ("a", "x" * 81, "c")}, "80 printable characters"),
        ({"names": ("a", "2", "c")}, "reads as an index"),
        ({"scales": torch.tensor([1.0, 0.0, 1.0])}, "above 0"),
        ({"scales": torch.tensor([1.0, float("inf"), 1.0])}, "above 0"),
        ({"scales": torch.ones(2)}, "scales"),
        ({"effects": ({"smile": float("nan")}, {}, {})}, "smile"),
        ({"effects": ({"smile": "much"}, {}, {})}, "smile"),
        ({"effects": ({},)}, "effects"),
        ({"facts": ({"labels": "x" * 5000}, {}, {})}, "labels"),
        ({"method": ""}, "text"),
    ],
)
def test_what_is_no_direction_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        make(**changes)


def test_a_million_directions_are_refused(tmp_path, monkeypatch):
    count = 100_001
    names = tuple(f"n{i}" for i in range(count))
    with pytest.raises(ValueError, match="100001 directions; 1 to 100000"):
        Directions(torch.ones(count, 1, 1), ((),) * count, names)
    np.save(tmp_path / "a.npy", np.ones((count, 1), np.float32))
    monkeypatch.setattr("ganedit.io.directions.Directions", None)  # no name is made before
    with pytest.raises(GaneditError, match=r"a\.npy: 100001 directions; 1 to 100000"):
        load_directions(tmp_path / "a.npy")


def test_what_cannot_be_printed_is_not_in_a_name(tmp_path):
    path = tmp_path / "a\u202eb\u200bc=d.npy"
    np.save(path, np.ones(4, np.float32))
    assert load_directions(path).names == ("a_b_c_d",)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"version": 2}, "version 2 is unknown"),
        ({"version": "1"}, "unknown"),
        ({"vectors": None}, "vectors"),
        ({"vectors": table().long()}, "floating point"),
        ({"vectors": table() / 0}, "NaN"),
        ({"vectors": torch.ones(1, 1, 1).expand(3, 1, 10**7)}, "more than the file can hold"),
        ({"vectors": table(2)}, "expected 2"),
        ({"scales": "1"}, "scales"),
        ({"layers": [[0], ["1"], []]}, "layers"),
        ({"layers": None}, "layers"),
        ({"names": ["a", "b", 3]}, "names"),
        ({"generator": None}, "generator"),
        ({"generator": {"fingerprint": 3}}, "generator"),
        ({"method": None}, "method"),
        ({"effects": [{}, {}, {3: 1.0}]}, "effects"),
        ({"facts": [{}, {}, {"a": float("inf")}]}, "'a' is no finite number"),
        ({"facts": [{}, {}, {"a": 10**400}]}, "'a' is no finite number"),
        ({"facts": [{}, {}, {"a": []}]}, "'a' is no finite number"),
    ],
)
def test_a_forged_file_is_one_line(tmp_path, changes, told):
    path = tmp_path / "a.pt"
    save_directions(path, make())
    torch.save(content_of(path) | changes, path)
    with pytest.raises(GaneditError, match=told) as caught:
        load_directions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_any_truncation_is_one_line(tmp_path):
    save_directions(tmp_path / "a.pt", make())
    content = (tmp_path / "a.pt").read_bytes()
    for end in range(0, len(content), len(content) // 60):
        (tmp_path / "b.pt").write_bytes(content[:end])
        with pytest.raises(GaneditError) as caught:
            load_directions(tmp_path / "b.pt")
        assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line(tmp_path):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(GaneditError, match="the file grew larger"):
            save_directions(tmp_path / "a.pt", make())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("ganedit.io.pickle_names.MAX_OPERATIONS", 50)
    with pytest.raises(GaneditError, match=r"a\.pt: not written, .* more than 50 operations"):
        save_directions(tmp_path / "a.pt", make())
    assert list(tmp_path.iterdir()) == []


# Files of others


def saved(path, content):
    torch.save(content, path)
    return path


def test_rosinalitys_columns_are_directions(tmp_path):
    factors = table(1, 16)[0]
    loaded = load_directions(
        saved(tmp_path / "factor.pt", {"ckpt": "550000.pt", "eigvec": factors})
    )
    assert torch.equal(loaded.vectors[:, 0], factors.T)
    assert (loaded.find("3"), loaded.scales, loaded.method) == (3, None, "rosinality's factors")


def test_boundaries_are_one_direction_or_a_table(tmp_path):
    boundary = table(1)[0].double().numpy()
    np.save(tmp_path / "smile.npy", boundary)
    loaded = load_directions(tmp_path / "smile.npy")
    assert torch.equal(loaded.vectors[0], torch.from_numpy(boundary).float())
    assert loaded.names == ("smile",)
    np.save(tmp_path / "many.npy", table(4)[:, 0].numpy())
    assert load_directions(tmp_path / "many.npy").vectors.shape == (4, 1, 16)


@pytest.mark.parametrize("prefix", ["lat", "act"])
def test_ganspaces_components_bring_their_deviations(tmp_path, prefix):
    arrays = {f"{prefix}_comp": table(5).numpy(), f"{prefix}_mean": np.zeros((1, 16), "f4")}
    arrays[f"{prefix}_stdev"] = np.arange(1, 6, dtype=np.float32)
    np.savez(tmp_path / "a.npz", **arrays, var_ratio=np.ones(5, "f4"))
    loaded = load_directions(tmp_path / "a.npz")
    assert torch.equal(loaded.vectors, table(5))
    assert loaded.scales.tolist() == [1, 2, 3, 4, 5]


def test_what_ganspace_moves_comes_before_what_it_decomposed(tmp_path):
    np.savez(tmp_path / "a.npz", act_comp=table(5).numpy(), lat_comp=table(2).numpy())
    assert torch.equal(load_directions(tmp_path / "a.npz").vectors, table(2))


def test_e4es_components_bring_their_deviations(tmp_path):
    content = {"mean": torch.zeros(16), "comp": table(4)[:, 0], "std": torch.full((4,), 2.0)}
    loaded = load_directions(saved(tmp_path / "ffhq_pca.pt", content))
    assert torch.equal(loaded.vectors, table(4))
    assert loaded.scales.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("shape", "rows"), [((16,), 1), ((1, 16), 1), ((18, 16), 18), ((1, 18, 16), 18)]
)
def test_a_tensor_is_one_direction_of_one_or_all_layers(tmp_path, shape, rows):
    tensor = table(1, 18)[0].flatten()[: torch.Size(shape).numel()].reshape(shape)
    loaded = load_directions(saved(tmp_path / "age.pt", tensor))
    assert torch.equal(loaded.vectors, tensor.reshape(1, rows, 16))
    assert loaded.names == ("age",)


class Trap:
    def __reduce__(self):
        return open, ("trap", "w")


def array_of_objects():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def archive_of(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def torch_file(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


BAD = {
    "nothing": (b"", "empty"),
    "text": (b"smile=3\n" * 20, "not a directions file"),
    "a trap": (pickle.dumps(Trap()), "refused"),
    "a trap in an array": (array_of_objects(), "refused"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(60), "a picture"),
    "another tensor": (torch_file(torch.ones(2, 3, 4, 5)), "expected directions"),
    "whole numbers": (torch_file(torch.ones(2, 3).long()), "floating point"),
    "NaN": (torch_file(table() * float("nan")), "NaN"),
    "NaN in an array": (archive_of(a=table().numpy() * np.nan), "NaN"),
    "too large a number": (archive_of(a=np.full((2, 4), 1e300)), "infinite"),
    "zeros": (archive_of(a=np.zeros((2, 4))), "direction 0 has length zero"),
    "several arrays": (archive_of(a=np.ones(4), b=np.ones(4)), "it has a, b"),
    "other entries": (torch_file({"state": table()}), "it has state"),
    "columns of no matrix": (torch_file({"eigvec": table()}), "expected .w_dim, K."),
    "deviations of others": (archive_of(lat_comp=np.ones((2, 4)), lat_stdev=np.ones(3)), "scales"),
    "deviations of 0": (archive_of(lat_comp=np.ones((2, 4)), lat_stdev=np.zeros(2)), "above 0"),
    "a layer of pictures": (archive_of(act_comp=np.ones((2, 3, 4, 4))), "expected directions"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_directions_is_one_line(tmp_path, monkeypatch, name):
    content, told = BAD[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with pytest.raises(GaneditError, match=told) as caught:
        load_directions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert not Path("trap").exists()


def test_a_latent_is_no_directions_file(tmp_path, latents):
    save_latent(tmp_path / "a.pt", latents[0])
    with pytest.raises(GaneditError, match="holds latents"):
        load_directions(tmp_path / "a.pt")
    for path, told in ((tmp_path, "is a folder"), (tmp_path / "gone.pt", "no such file")):
        with pytest.raises(GaneditError, match=told):
            load_directions(path)
