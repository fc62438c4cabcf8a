"""What the equilibrium costs: `python -m tests.benchmarks.equilibrium_cost [step solver memory] [--threads 1]`.

step    one training step of LION, both prompts at default settings, W at its bound, against the floor: one step
        through the same frozen backbone with gradients to a learned additive image. 224 px, batch 16, channels_last.
solver  solve and gradient, from U u + b on, against torchdeq 0.1.0 (Anderson, implicit function theorem): same cell,
        tolerance and batch.
memory  peak bytes of solve and gradient, from U u + b on, with 6 to 60 steps, implicit and unrolled; docs/memory.svg.

Prints the tables and writes equilibrium_cost.json beside this file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from lion_ray import backbones, methods
from lion_ray.config import BackboneConfig, MethodConfig, ResourcesConfig
from lion_ray.implicit import Cell, ConvCell, Gradient, Implicit, ImplicitLayer, LinearCell, Unrolled
from lion_ray.report import drawing
from lion_ray.report.charts import Axis, Series, panel
from lion_ray.sweep import worker_setup
from tests.benchmarks.timing import interleaved, table

BACKBONES = ["tf_efficientnet_lite0", "resnet50", "vit_tiny_patch16_224", "vit_base_patch16_224"]
TOLERANCE = 1e-4
MEMORY_STEPS = (6, 12, 24, 36, 48, 60)
DOCS = Path(__file__).parent.parent.parent / "docs"
CONV_GRID = [(16, 8, 28), (16, 8, 56), (16, 16, 14), (64, 8, 12), (1, 8, 28)]  # batch, channels, state height
LINEAR_GRID = [(16, 1280, 64), (64, 1280, 64), (16, 192, 64), (16, 768, 64), (16, 2048, 256)]  # batch, in, state


def step_cost(names: list[str], dtype: torch.dtype, repeats: int, batch: int) -> dict[str, Any]:
    """Floor, the floor again (its distance from 1 is the noise) and LION, per backbone."""
    found = {}
    for name in names:
        backbone = backbones.load(BackboneConfig(name=name, weights="random"))
        size = backbone.transform.size
        images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
        floor, lion = floor_step(backbone, images, dtype), lion_step(backbone, images, dtype)
        runs = {"floor": floor, "floor again": floor, "lion": lion}
        found[name] = interleaved(runs, reference="floor", repeats=repeats)
        print(table(f"{name} {size} px batch {batch} {dtype}", found[name]), flush=True)
    return found


def floor_step(backbone: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """A learned additive image and a classifier."""
    delta = nn.Parameter(torch.zeros_like(images[:1]))
    classifier = nn.Linear(int(backbone.num_features), 10)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW([delta, *classifier.parameters()], lr=1e-3)
    return training_step(lambda: classifier(backbone(images + delta)), optimizer, len(images), dtype)


def lion_step(backbone: backbones.Backbone, images: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Both prompts at their defaults; W is scaled up and projected, so that solves are as hard as the bound allows."""
    model = methods.build(MethodConfig(name="lion"), backbone, num_classes=10, seed=0)
    with torch.no_grad():
        for name, weight in model.trained().items():
            weight.mul_(100 if name.endswith("cell.W") else 1)
    model.project_()
    optimizer = torch.optim.AdamW(model.parameter_groups(1e-3))
    return training_step(lambda: model(images), optimizer, len(images), dtype, model.project_)


def training_step(
    logits_of: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    batch: int,
    dtype: torch.dtype,
    afterwards: Callable[[], None] = lambda: None,
) -> Callable[[], None]:
    """Forward, backward, optimizer, and what must follow it."""
    labels = torch.arange(batch) % 10

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = logits_of().float()
        optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(logits, labels))
        optimizer.step()
        afterwards()

    return step


def solver_cost(repeats: int) -> dict[str, Any]:
    """Ours against torchdeq over a grid of sizes, W at gamma 0.5 and 0.8; the ratio is ours to theirs."""
    found = {}
    for gamma in (0.5, 0.8):
        grid: list[tuple[str, Cell, Tensor]] = []
        generator = torch.Generator().manual_seed(0)
        for batch, channels, size in CONV_GRID:
            cell: Cell = ConvCell(3, channels, stride=8, generator=generator)
            images = torch.randn(batch, 3, 8 * size, 8 * size).contiguous(memory_format=torch.channels_last)
            grid.append((f"input {batch}x{channels}x{size}x{size} gamma {gamma}", cell, images))
        for batch, inputs, width in LINEAR_GRID:
            cell = LinearCell(inputs, width, generator=generator)
            grid.append((f"output {batch}x{inputs}->{width} gamma {gamma}", cell, torch.randn(batch, inputs)))
        for name, cell, u in grid:
            runs = {"torchdeq": theirs(cell, u), "ours": ours(cell, u, gamma)}
            found[name] = interleaved(runs, reference="torchdeq", repeats=repeats)["ours"]
    print(table("solve + gradient, ours / torchdeq", found), flush=True)
    return found


def ours(cell: Cell, u: Tensor, gamma: float) -> Callable[[], None]:
    """The layer as LION builds it; W goes to its bound."""
    with torch.no_grad():
        cell.W.mul_(100)
    layer = ImplicitLayer(cell, gradient=Implicit(tolerance=TOLERANCE), gamma=gamma, tolerance=TOLERANCE)
    leaf = cell.inject(u).detach().requires_grad_()
    cell.inject = lambda u: u  # type: ignore[method-assign]

    def run() -> None:
        leaf.grad = cell.W.grad = None
        torch.autograd.backward(layer(leaf).square().sum())

    return run


def theirs(cell: Cell, u: Tensor) -> Callable[[], None]:
    """torchdeq's Anderson with implicit differentiation on the same cell, injected once as in ours."""
    from torchdeq import get_deq

    deq = get_deq(
        f_solver="anderson", b_solver="anderson", f_max_iter=60, b_max_iter=60,
        f_tol=TOLERANCE, b_tol=TOLERANCE, f_stop_mode="rel", b_stop_mode="rel", ift=True,
    )  # fmt: skip
    leaf = cell.inject(u).detach().requires_grad_()

    def run() -> None:
        leaf.grad = cell.W.grad = None
        z, _ = deq(lambda z: torch.tanh(cell.recur(cell.W, z) + leaf), torch.zeros_like(leaf))
        torch.autograd.backward(z[-1].square().sum())

    return run


def memory_cost() -> dict[str, Any]:
    """Peak MiB of one solve with gradient on the input prompt's shape, when so many steps are really taken."""
    found = {}
    for name, gradient in (("implicit", Implicit), ("unrolled", Unrolled)):
        peaks = {steps: peak_bytes(gradient, steps) / 2**20 for steps in MEMORY_STEPS}
        columns = {f"{steps} steps MiB": peak for steps, peak in peaks.items()}
        found[name] = {**columns, "60 to 6 steps": peaks[60] / peaks[6]}
    print(table("peak memory of solve + gradient", found), flush=True)
    plot_memory(found)
    return found


def plot_memory(found: dict[str, Any]) -> None:
    """docs/memory.svg: one line per gradient, labelled at its end; readable in grey."""
    series = [
        Series(name=name, style=style, points=[(steps, row[f"{steps} steps MiB"], None) for steps in MEMORY_STEPS])
        for style, (name, row) in enumerate(found.items())
    ]
    peaks = Axis(label="peak MiB of solve + gradient")
    drawn = panel("memory", series, Axis(label="solver steps taken", counts=True), peaks)
    assert drawn is not None
    legend = {each.name: each.style for each in series}
    (DOCS / "memory.svg").write_text(drawing.figure("memory against solver steps", [drawn], legend), encoding="utf-8")


def peak_bytes(gradient: type[Implicit | Unrolled], steps: int) -> int:
    """The most that allocations exceed frees, from the profiler's record of the allocator: exact, no noise."""
    mode: Gradient = Implicit(tolerance=1e-300, max_steps=steps) if gradient is Implicit else Unrolled()
    cell = ConvCell(3, 8, stride=8, generator=torch.Generator().manual_seed(0)).double()
    layer = ImplicitLayer(cell, gradient=mode, tolerance=1e-300, max_steps=steps)
    with torch.no_grad():
        cell.W.abs_().mul_(100)
        layer.project_()
    leaf = cell.inject(torch.randn(16, 3, 224, 224, dtype=torch.float64)).detach().requires_grad_()
    cell.inject = lambda u: u  # type: ignore[method-assign]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        torch.autograd.backward(layer(leaf).sum())
    assert layer.health()["steps_max"] == steps
    peak = held = 0
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["step", "solver", "memory"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--backbones", nargs="*", default=BACKBONES)
    asked = parser.parse_args()
    worker_setup.prepare(ResourcesConfig(cpus=asked.threads), deterministic=False)
    torch.manual_seed(0)
    file = Path(__file__).with_suffix(".json")
    found = json.loads(file.read_text()) if file.exists() else {}
    if "step" in asked.parts:
        dtype = torch.bfloat16 if asked.bf16 else torch.float32
        key = f"step {'bf16' if asked.bf16 else 'fp32'} threads {asked.threads}"
        found.setdefault(key, {}).update(step_cost(asked.backbones, dtype, asked.repeats, asked.batch))
    if "solver" in asked.parts:
        found[f"solver threads {asked.threads}"] = solver_cost(asked.repeats)
    if "memory" in asked.parts:
        found["memory"] = memory_cost()
    file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
