"""Cells and the bound on W: shapes, deterministic init, and a projection that holds to the bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import Cell, ConvCell, ImplicitLayer, LinearCell, project_

MAKERS: list[Callable[[torch.Generator], Cell]] = [
    lambda generator: LinearCell(7, 33, generator=generator),
    lambda generator: ConvCell(3, 8, kernel_size=5, generator=generator),
    lambda generator: ConvCell(3, 8, groups=4, dilation=2, generator=generator),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def row_sums(cell: Cell, dtype: torch.dtype) -> Tensor:
    return cell.W.detach().to(dtype).abs().flatten(1).sum(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("make", MAKERS)
def test_projection_holds_strictly_and_again_after_masks(
    make: Callable[[torch.Generator], Cell], gamma: float, dtype: torch.dtype
) -> None:
    cell, generator = make(seeded()).to(dtype), seeded(1)
    for scale in (0.01, 1.0, 3.0, 1e6):
        with torch.no_grad():
            cell.W.copy_(torch.randn(cell.W.shape, generator=generator, dtype=dtype) * scale)
            cell.W[0] *= 1e-3
        project_(cell, gamma)
        assert float(cell.bound()) <= gamma
        assert float(row_sums(cell, dtype).max()) <= gamma
        mask = torch.rand(cell.W.shape, generator=generator) < 0.5
        with torch.no_grad():
            cell.W.mul_(mask)
        masked = cell.W.detach().clone()
        project_(cell, gamma)
        assert torch.equal(cell.W, masked), "a mask can only shrink a row, so there is nothing left to project"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", MAKERS)
def test_projection_is_idempotent_to_the_bit(make: Callable[[torch.Generator], Cell], dtype: torch.dtype) -> None:
    cell, generator = make(seeded()).to(dtype), seeded(2)
    for gamma in torch.rand(40, generator=generator).clamp(0.01, 0.99).tolist():
        with torch.no_grad():
            cell.W.copy_(torch.randn(cell.W.shape, generator=generator, dtype=dtype))
        project_(cell, gamma)
        once = cell.W.detach().clone()
        project_(cell, gamma)
        assert torch.equal(cell.W, once)


def test_projection_keeps_rows_inside_zeros_signs_and_direction() -> None:
    cell = LinearCell(2, 3, generator=seeded())
    with torch.no_grad():
        cell.W.copy_(torch.tensor([[0.3, -0.1, 0.0], [2.0, -2.0, 0.0], [0.0, 0.0, 0.0]]))
    project_(cell, 0.8)
    expected = torch.tensor([[0.3, -0.1, 0.0], [0.4, -0.4, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(cell.W.detach(), expected, rtol=1e-5, atol=0)
    assert torch.equal(cell.W[0], expected[0])


def test_projection_touches_only_w_and_keeps_the_parameter() -> None:
    cell = ConvCell(3, 4, generator=seeded())
    weight, injection = cell.W, cell.U.detach().clone()
    with torch.no_grad():
        cell.W.mul_(100)
    project_(cell, 0.5)
    assert cell.W is weight
    assert cell.W.requires_grad
    assert torch.equal(cell.U, injection)


def test_gamma_none_leaves_the_cell_free_and_out_of_range_is_an_error() -> None:
    cell = LinearCell(2, 3, generator=seeded())
    with torch.no_grad():
        cell.W.fill_(9)
    project_(cell, None)
    assert float(cell.bound()) == 27
    assert ImplicitLayer(cell, gamma=None).health()["bound_used"] == 27
    for gamma in (0.0, 1.0, -0.5, float("nan")):
        with pytest.raises(ValueError, match="gamma"):
            project_(cell, gamma)


@pytest.mark.parametrize("make", MAKERS)
def test_bound_is_the_operator_norm_of_w(make: Callable[[torch.Generator], Cell]) -> None:
    cell = make(seeded()).double()
    with torch.no_grad():
        size = 1 if isinstance(cell, LinearCell) else 9
        zero = torch.zeros(1, 33) if size == 1 else torch.zeros(1, 8, size, size)
        basis = torch.eye(zero.numel(), dtype=torch.float64).reshape(-1, *zero.shape[1:])
        operator = cell.recur(cell.W, basis).flatten(1).T
    assert float(operator.abs().sum(1).max()) == pytest.approx(float(cell.bound()), rel=1e-12)


@pytest.mark.parametrize("make", MAKERS)
def test_init_is_decided_by_the_generator_alone(make: Callable[[torch.Generator], Cell]) -> None:
    first = make(seeded(3))
    torch.manual_seed(99)
    global_state = torch.get_rng_state()
    second = make(seeded(3))
    assert torch.equal(global_state, torch.get_rng_state())
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(first.W, make(seeded(4)).W)
    assert [name for name, _ in first.named_parameters()] == ["W", "U", "b"]
    assert 0.3 < float(first.bound()) < 0.5


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(9, 8), (16, 17), (5, 1)])
def test_conv_state_is_the_image_divided_by_the_stride_rounded_up(stride: int, size: tuple[int, int]) -> None:
    cell = ConvCell(3, 4, stride=stride, dilation=2, kernel_size=5, generator=seeded())
    injected = cell.inject(torch.ones(2, 3, *size))
    assert injected.shape == (2, 4, -(-size[0] // stride), -(-size[1] // stride))
    assert cell.step(cell.start(injected), injected).shape == injected.shape
    assert cell.vjp(injected, injected).shape == injected.shape


def test_linear_cell_takes_tokens_as_well_as_vectors() -> None:
    layer = ImplicitLayer(LinearCell(5, 6, generator=seeded()), tolerance=1e-6)
    tokens = torch.randn(2, 4, 5, generator=seeded(1))
    torch.testing.assert_close(layer(tokens)[:, 1], layer(tokens[:, 1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"kernel_size": 4}, "kernel_size"), ({"groups": 3}, "groups"), ({"stride": 0}, "stride")],
)
def test_a_wrong_shape_is_named(wrong: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ConvCell(3, 8, generator=seeded(), **wrong)
