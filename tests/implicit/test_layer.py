"""The layer as the methods use it: precision, memory layout, health, and being part of a module."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import Anderson, ConvCell, Implicit, ImplicitLayer, LinearCell
from lion_ray.implicit.precision import exact_products


def make_layer(**options: object) -> ImplicitLayer:
    cell = ConvCell(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cell.W.mul_(10)
    return ImplicitLayer(cell, **options)  # type: ignore[arg-type]


def images(size: int = 4) -> Tensor:
    return torch.randn(size, 3, 30, 26, generator=torch.Generator().manual_seed(1))


def gradients_of(layer: ImplicitLayer, u: Tensor, *, autocast: bool) -> list[Tensor]:
    u = u.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        z = layer(u)
        torch.autograd.backward(z.float().square().sum())
    found = [u.grad, *(parameter.grad for parameter in layer.parameters())]
    layer.zero_grad()
    return [gradient for gradient in found if gradient is not None]


def test_autocast_changes_no_bit_of_an_fp32_solve_forward_or_backward() -> None:
    layer, u = make_layer(), images()
    plain = layer(u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = layer(u)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)
    for left, right in zip(gradients_of(layer, u, autocast=True), gradients_of(layer, u, autocast=False), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_input_is_solved_in_fp32_and_returned_in_its_dtype(dtype: torch.dtype) -> None:
    layer, u = make_layer(tolerance=1e-5), images().to(dtype)
    z = layer(u)
    assert z.dtype == dtype
    assert torch.equal(z, layer(u.float()).to(dtype))
    assert layer.health()["residual_max"] <= 1e-5
    assert gradients_of(layer, u, autocast=True)[0].dtype == dtype


def test_tf32_is_off_inside_a_solve_on_cuda_and_comes_back_after_an_error() -> None:
    places = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    assert before[0] == "tf32", "cuDNN's default, which this is about"

    def solve_that_fails() -> None:
        with exact_products(torch.device("cuda")):
            assert [place.fp32_precision for place in places] == ["ieee", "ieee"]
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        solve_that_fails()
    assert [place.fp32_precision for place in places] == before
    with exact_products(torch.device("cpu")):
        assert [place.fp32_precision for place in places] == before


def test_float64_stays_float64_and_a_mismatch_is_an_error() -> None:
    layer = make_layer(tolerance=1e-13)
    with pytest.raises(ValueError, match="float64"):
        layer(images().double())
    solution = layer.double().solve(images().double())
    assert solution.z.dtype == torch.float64
    assert solution.residual.max() <= 1e-13
    with pytest.raises(ValueError, match="autocast"):
        layer.bfloat16()(images().bfloat16())


def test_channels_last_input_gives_the_same_bits() -> None:
    layer, u = make_layer(), images()
    last = u.contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(last), layer(u))
    expected = gradients_of(layer, u, autocast=False)
    for left, right in zip(gradients_of(layer, last, autocast=False), expected, strict=True):
        assert torch.equal(left, right)


def test_forward_is_the_equilibrium_of_its_cell() -> None:
    layer, u = make_layer(tolerance=1e-6), images()
    with torch.no_grad():
        z = layer(u)
        again = layer.cell.step(z, layer.cell.inject(u))
    assert (again - z).abs().max() <= 1e-6 * z.abs().max()


def test_the_constructor_and_project_bring_w_inside_the_bound() -> None:
    layer = make_layer(gamma=0.6)
    assert layer.health()["bound_used"] == pytest.approx(1, rel=1e-4)
    assert layer.health()["bound_used"] <= 1
    with torch.no_grad():
        layer.cell.W.mul_(3)
    assert layer.health()["bound_used"] > 2.9
    layer.project_()
    assert layer.health()["bound_used"] <= 1


def test_health_sums_up_all_calls_since_the_last_reset() -> None:
    layer = make_layer(gradient=Implicit(tolerance=1e-6))
    batches = [images(3), 0.01 * images(2)]
    solutions = [layer.solve(batch.requires_grad_()) for batch in batches]
    for solution in solutions:
        torch.autograd.backward(solution.z.sum())
    residuals = torch.cat([solution.residual for solution in solutions]).double()
    steps = torch.cat([solution.num_steps for solution in solutions]).double()
    health = layer.health()
    assert all(type(value) is float for value in health.values())
    assert health["num_samples"] == health["num_samples_backward"] == 5
    assert health["residual_mean"] == pytest.approx(float(residuals.mean()))
    assert health["residual_max"] == float(residuals.max())
    assert health["steps_mean"] == float(steps.mean())
    assert health["steps_max"] == float(steps.max())
    assert health["share_unconverged"] == health["share_unconverged_backward"] == 0
    assert health["steps_max_backward"] >= health["steps_mean_backward"] >= 2
    assert health["residual_max_backward"] <= 1e-6
    layer.reset_health()
    assert layer.health()["num_samples"] == layer.health()["residual_max"] == 0


def test_health_reports_unconverged_and_non_finite_samples_as_finite_floats() -> None:
    layer, u = make_layer(max_steps=2), images(4)
    u[1] = math.nan
    layer(u)
    health = layer.health()
    assert health["share_unconverged"] == 1
    assert health["num_nonfinite"] == 1
    assert all(math.isfinite(value) for value in health.values())


def test_health_counts_fallbacks() -> None:
    cell = LinearCell(4, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cell.W.fill_(0.9)
        cell.U.fill_(0.05)
    layer = ImplicitLayer(cell, solver=Anderson(regularisation=0.0), gamma=0.95, tolerance=1e-6)
    with torch.no_grad():
        layer(torch.ones(3, 4))
    assert layer.health()["share_unconverged"] == 0
    assert layer.health()["fallbacks"] > 0


def test_an_unbounded_cell_that_never_solves_says_so() -> None:
    layer = make_layer(gamma=None)
    with torch.no_grad():
        layer.cell.W.mul_(50)
        layer(images())
    assert layer.health()["share_unconverged"] == 1
    assert layer.health()["residual_max"] > 0.1


def test_the_state_dict_holds_the_three_parameters_only() -> None:
    layer = make_layer()
    layer(images())
    assert list(layer.state_dict()) == ["cell.W", "cell.U", "cell.b"]


def test_repeating_a_solve_repeats_its_bits() -> None:
    layer, u = make_layer(solver=Anderson()), images()
    assert torch.equal(layer(u), layer(u))
