"""The backward pass as PyTorch users know it: memory, graphs, DDP, accumulation, errors."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lion_ray.implicit import (
    Anderson,
    Implicit,
    ImplicitLayer,
    Picard,
    Unrolled,
)
from tests.support.cells import gradients_of, loss_of, make_cell, make_input, make_layer

KINDS = ["linear", "conv", "conv_grouped"]


def test_saved_memory_does_not_grow_with_the_number_of_steps() -> None:
    def saved(gradient: Implicit | Unrolled, max_steps: int) -> tuple[int, int]:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        layer = ImplicitLayer(make_cell("conv"), gradient=gradient, tolerance=1e-300, max_steps=max_steps)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            z = layer(make_input("conv").requires_grad_())
        torch.autograd.backward(z.sum())
        assert layer.health()["steps_max"] == max_steps
        return len(sizes), sum(sizes)

    assert saved(Implicit(max_steps=5), 6) == saved(Implicit(max_steps=50), 20)
    assert saved(Unrolled(), 20) > saved(Unrolled(), 6)


def test_backward_uses_its_own_tolerance_and_steps_and_reports_them() -> None:
    layer = make_layer("conv", Picard())
    layer.gradient = Implicit(tolerance=1e-300, max_steps=7)
    torch.autograd.backward(layer(make_input("conv").requires_grad_()).sum())
    health = layer.health()
    assert health["steps_max_backward"] == 7
    assert health["share_unconverged_backward"] == 1
    assert health["share_unconverged"] == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_graph_gives_the_same_bits_and_training_still_works_afterwards(mode: Callable[[], object]) -> None:
    layer, u = make_layer("conv", Anderson()), make_input("conv")
    with mode():  # type: ignore[attr-defined]
        quiet = layer(u)
    assert not quiet.requires_grad
    trained = layer(u)
    assert torch.equal(trained, quiet)
    torch.autograd.backward(trained.sum())
    assert copy.deepcopy(layer).health() == layer.health()


@pytest.mark.parametrize("wanted", ["W", "U", "b", "u"])
def test_only_one_tensor_may_need_a_gradient(wanted: str) -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    expected = gradients_of(layer, u)[wanted if wanted == "u" else f"cell.{wanted}"]
    layer.requires_grad_(False)
    target = u if wanted == "u" else getattr(layer.cell, wanted)
    target.requires_grad_()
    torch.autograd.backward(loss_of(layer, u))
    torch.testing.assert_close(target.grad, expected, rtol=1e-12, atol=0)
    assert [p.grad is not None for p in layer.parameters()].count(True) == (wanted != "u")


def test_nothing_needs_a_gradient_and_nothing_is_tracked() -> None:
    layer = make_layer("conv", Picard()).requires_grad_(False)
    assert not layer(make_input("conv")).requires_grad


def test_changing_w_between_forward_and_backward_is_an_error() -> None:
    layer = make_layer("conv", Picard())
    loss = layer(make_input("conv")).sum()
    with torch.no_grad():
        layer.cell.W.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)


def test_backward_uses_the_weights_of_its_forward_under_functional_call() -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    expected = gradients_of(layer, u)["cell.W"]
    weights = {name: p.detach().clone().requires_grad_() for name, p in layer.named_parameters()}
    with torch.no_grad():
        layer.cell.W.zero_()
    torch.autograd.backward(loss_of(lambda x: torch.func.functional_call(layer, weights, (x,)), u))
    torch.testing.assert_close(weights["cell.W"].grad, expected, rtol=1e-12, atol=1e-14)


def test_double_backward_raises_instead_of_being_wrong() -> None:
    layer, u = make_layer("linear", Picard()), make_input("linear").requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(layer, u), u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())


def test_gradients_under_ddp_equal_plain_ones() -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    expected = gradients_of(layer, u)
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        torch.autograd.backward(loss_of(DistributedDataParallel(layer), u))
    finally:
        dist.destroy_process_group()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-12, atol=0)


def test_gradients_accumulate_over_two_calls_of_one_layer() -> None:
    layer, u = make_layer("linear", Picard()), make_input("linear")
    once = gradients_of(layer, u)["cell.W"]
    torch.autograd.backward(loss_of(layer, u) + loss_of(layer, u))
    torch.testing.assert_close(layer.cell.W.grad, 2 * once, rtol=1e-12, atol=1e-14)
