import json
import zipfile
from pathlib import Path

import pytest
import torch

from ganedit.data.clayheads import (
    FACTOR_INDEX,
    FACTORS,
    LANDMARKS,
    caption,
    read_truth,
    render,
    sample_factors,
)
from ganedit.errors import GaneditError
from ganedit.three_d import camera_rays


def head(**values: float) -> torch.Tensor:
    """A plain frontal head with the given factors."""
    row = torch.tensor([(f.low + f.high) / 2 for f in FACTORS])
    plain = {"hair_style": 1.0, "glasses": 0.0, "beard": 0.0, "age": 0.1, "mouth_open": 0.0}
    for name, value in (plain | values).items():
        row[FACTOR_INDEX[name]] = value
    return row[None]


def changed(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Rows and columns where two pictures differ clearly, bool [H, W]."""
    return (a - b).abs().amax(dim=1)[0] > 0.1


def test_a_seed_is_the_same_head_in_any_list() -> None:
    assert torch.equal(sample_factors([5, 9, 2])[1], sample_factors([9])[0])


def test_sampled_factors_stay_in_their_ranges() -> None:
    factors = sample_factors(range(500))
    low, high = (torch.tensor([getattr(f, end) for f in FACTORS]) for end in ("low", "high"))
    assert (factors >= low).all()
    assert (factors <= high).all()


def test_the_prior_is_as_documented() -> None:
    factors = sample_factors(range(3000))
    column = {name: factors[:, index] for name, index in FACTOR_INDEX.items()}
    assert 0.2 < column["glasses"].mean() < 0.3
    assert torch.corrcoef(torch.stack([column["age"], column["grey"]]))[0, 1] > 0.7
    assert (column["beard"][column["lips"] > 0.5] == 0).all()
    assert set(column["hair_style"].tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_a_head_is_the_same_picture_alone_and_in_a_batch() -> None:
    factors = sample_factors(range(5))
    together = render(factors, resolution=32)
    alone = render(factors[3:4], resolution=32)
    torch.testing.assert_close(together.image[3:4], alone.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.landmarks[3:4], alone.landmarks, atol=1e-3, rtol=0)


@pytest.mark.parametrize("style", ["clay", "emoji"])
def test_shapes_ranges_and_background(style: str) -> None:
    heads = render(sample_factors([1, 2]), resolution=32, style=style)  # type: ignore[arg-type]
    assert heads.image.shape == (2, 3, 32, 32)
    assert heads.image.amin() >= -1
    assert heads.image.amax() <= 1
    assert heads.camera.shape == (2, 25)
    assert heads.landmarks.shape == (2, len(LANDMARKS), 2)
    assert heads.depth[:, :, 0, :4].isinf().all()
    centre = heads.depth[:, 0, 16, 16]
    assert ((centre > 2.2) & (centre < 2.7)).all()


def test_depth_and_landmarks_are_in_the_same_world() -> None:
    heads = render(sample_factors(range(4)), resolution=64, supersample=1)
    nose = LANDMARKS.index("nose_tip")
    origins, directions = camera_rays(heads.camera, 64)
    for n in range(4):
        x, y = heads.landmarks[n, nose].floor().long().tolist()
        ray = y * 64 + x
        point = origins[n, ray] + heads.depth[n, 0, y, x] * directions[n, ray]
        assert (point - heads.landmarks_3d[n, nose]).norm() < 0.03


def test_the_nose_follows_the_yaw() -> None:
    landmarks = render(torch.cat([head(yaw=-0.4), head(yaw=0.4)]), resolution=32).landmarks
    nose_x = landmarks[:, LANDMARKS.index("nose_tip"), 0]
    assert nose_x[0] > 17
    assert nose_x[1] < 15


@pytest.mark.parametrize(
    ("name", "value", "rows"),
    [("smile", 1.0, slice(18, 56)), ("glasses", 1.0, slice(18, 42)), ("beard", 1.0, slice(30, 64))],
)
def test_a_factor_moves_its_own_region(name: str, value: float, rows: slice) -> None:
    moved = changed(render(head()).image, render(head(**{name: value})).image)
    assert moved[rows].sum() > 8
    outside = moved.clone()
    outside[rows] = False
    assert outside.sum() <= 0.1 * moved.sum()


@pytest.mark.parametrize("name", [factor.name for factor in FACTORS])
def test_every_factor_changes_the_picture(name: str) -> None:
    factor = FACTORS[FACTOR_INDEX[name]]
    extra = {"lips": 0.2, "beard": 0.6}
    low = render(head(**(extra | {name: factor.low})), resolution=32)
    top = 0.5 if factor.unit == "turn" else factor.high  # a full turn ends where it began
    high = render(head(**(extra | {name: top})), resolution=32)
    assert changed(low.image, high.image).sum() > 3


def test_captions_name_what_stands_out() -> None:
    row = head(lips=0.1, age=0.9, glasses=1, beard=0.8, smile=0.5, grey=0.9)[0]
    assert caption(row) == "an old man with short grey hair, glasses and a beard, smiling"
    row = head(lips=0.9, smile=1.0, mouth_open=0.6, hair_style=3, hair_colour=0.9, grey=0)[0]
    assert caption(row) == "a young woman with blond hair in a bun, beaming"
    assert caption(head(smile=-0.9, brows=-0.9, hair_style=0)[0]).endswith("furious")


def test_wrong_arguments_say_what_was_wanted() -> None:
    with pytest.raises(ValueError, match="expected \\[N, 25\\]"):
        render(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="style"):
        render(sample_factors([0]), style="oil")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="multiple of 4"):
        render(sample_factors([0]), resolution=30)


def test_factors_of_a_foreign_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(GaneditError, match="ganedit dataset clay"):
        read_truth(path)


def write_truth(path: Path, **changes: object) -> Path:
    document = {"names": [factor.name for factor in FACTORS], "factors": [[0.0] * len(FACTORS)]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("factors.json", json.dumps(document | changes))
    return path


def test_the_style_comes_with_the_factors_and_is_clay_where_unsaid(tmp_path: Path) -> None:
    truth = read_truth(write_truth(tmp_path / "old.zip"))
    assert (truth.style, truth.factors.shape) == ("clay", (1, len(FACTORS)))
    assert read_truth(write_truth(tmp_path / "new.zip", style="emoji")).style == "emoji"


@pytest.mark.parametrize("changes", [{"names": ["x"]}, {"factors": [[1, 2]]}, {"style": "oil"}])
def test_factors_of_another_version_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(GaneditError, match="render it again"):
        read_truth(write_truth(tmp_path / "a.zip", **changes))


def test_encrypted_or_damaged_factors_are_one_line(tmp_path: Path) -> None:
    path = write_truth(tmp_path / "a.zip")
    whole = path.read_bytes()
    central = whole.index(b"PK\x01\x02")
    flagged = bytearray(whole)
    flagged[6] |= 1  # "encrypted" in the local header ...
    flagged[central + 8] |= 1  # ... and in the directory
    path.write_bytes(flagged)
    with pytest.raises(GaneditError, match=r"factors\.json: broken or encrypted"):
        read_truth(path)
    path.write_bytes(whole.replace(b"factors", b"faktors", 1))
    with pytest.raises(GaneditError, match=r"factors\.json: broken or encrypted"):
        read_truth(path)
