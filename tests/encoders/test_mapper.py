import pytest
import torch

from ganedit.encoders import LevelsMapper, SingleMapper


def filled(mapper: LevelsMapper | SingleMapper) -> LevelsMapper | SingleMapper:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in mapper.parameters():
            parameter.copy_(100 * torch.randn_like(parameter))
    return mapper


def test_absent_levels_stay_as_they_are() -> None:
    ws = torch.randn(3, 10, 4)
    change = filled(LevelsMapper(num_ws=10, w_dim=4, levels=["fine", "coarse"]))(ws)
    assert change.shape == ws.shape
    assert bool((change[:, 4:8] == 0).all())
    assert bool((change[:, :4] != 0).any())
    assert bool((change[:, 8:] != 0).any())


def test_levels_beyond_the_last_layer_are_empty() -> None:
    mapper = filled(LevelsMapper(num_ws=6, w_dim=4))
    change = mapper(torch.randn(2, 6, 4))
    assert change.shape == (2, 6, 4)
    change.sum().backward()
    assert isinstance(mapper, LevelsMapper)
    assert all(p.grad is None for p in mapper.get_submodule("fine_mapping").parameters())


def test_a_perceptron_is_the_formula_of_the_paper() -> None:
    mapper = filled(SingleMapper(num_ws=5, w_dim=4)).double()
    ws = torch.randn(2, 5, 4, dtype=torch.float64)
    x = ws / (ws.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for index in range(1, 5):
        weight = mapper.get_parameter(f"mapping.mapping.{index}.weight")
        bias = mapper.get_parameter(f"mapping.mapping.{index}.bias")
        x = x @ (0.01 * weight / 4**0.5).T + 0.01 * bias
        x = 2**0.5 * torch.where(x > 0, x, 0.2 * x)
    torch.testing.assert_close(mapper(ws), x)


def test_rows_do_not_meet() -> None:
    mapper = filled(LevelsMapper(num_ws=10, w_dim=4))
    ws = torch.randn(3, 10, 4)
    torch.testing.assert_close(mapper(ws)[1:2], mapper(ws[1:2]))


def test_a_shaped_mapper_finds_coordinates_in_its_basis() -> None:
    plain = filled(LevelsMapper(num_ws=10, w_dim=4))
    shaped = LevelsMapper(num_ws=10, w_dim=4, shaped=True)
    own = {"basis": torch.diag(torch.arange(4.0)), "centre": torch.ones(4)}
    shaped.load_state_dict(plain.state_dict() | own)
    ws = torch.randn(2, 10, 4)
    fine = plain.get_submodule("fine_mapping")(ws[:, 8:], axis=2) * torch.arange(4.0)
    torch.testing.assert_close(shaped(ws + 1)[:, 8:], fine)
    assert not own.keys() & plain.state_dict().keys()


def test_a_shaped_mapper_normalises_each_latent_by_itself() -> None:
    shaped = filled(LevelsMapper(num_ws=10, w_dim=4, shaped=True))
    shaped.get_buffer("basis").copy_(torch.eye(4))
    shaped.get_buffer("centre").zero_()
    ws = torch.randn(1, 1, 4).expand(1, 10, 4)
    found, longer = shaped(ws), shaped(3 * ws)
    torch.testing.assert_close(found, longer)
    assert not torch.allclose(found, shaped(ws.abs() + ws), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": []}, "levels: expected some of coarse, medium, fine"),
        ({"levels": ["top"]}, "got \\['top'\\]"),
        ({"num_ws": 0}, "num_ws: expected a whole number from 1, got 0"),
        ({"num_ws": "18"}, "num_ws: expected a whole number"),
        ({"w_dim": 2.5}, "w_dim: expected a whole number"),
        ({"shaped": 1}, "shaped: expected True or False"),
    ],
)
def test_sizes_are_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelsMapper(**({"num_ws": 10, "w_dim": 4} | changes))  # type: ignore[arg-type]  # wrong on purpose
