"""The tables of docs/benchmarks.md, from equilibrium_cost.json: `python -m tests.benchmarks.figures`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("equilibrium_cost.json")
TITLES = {
    "tf_efficientnet_lite0": "EfficientNet-Lite0",
    "resnet50": "ResNet-50",
    "vit_tiny_patch16_224": "ViT-Ti/16",
    "vit_base_patch16_224": "ViT-B/16",
}
SETTINGS = ("fp32 threads 1", "bf16 threads 1", "fp32 threads 2", "bf16 threads 2")


def tables(found: Mapping[str, Any]) -> str:
    """The step's ratios by backbone, then solver and memory, as Markdown."""
    settings = [setting for setting in SETTINGS if f"step {setting}" in found]
    heads = [f"{setting.split()[0]}, {setting.split()[2]} thread{'s' * (setting[-1] != '1')}" for setting in settings]
    lines = [f"| a training step of LION / the floor | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, title in TITLES.items():
        lines.append(f"| {title} | {' | '.join(_step(found[f'step {setting}'].get(name)) for setting in settings)} |")
    return "\n".join([*lines, "", *_rest(found)])


def _step(row: Mapping[str, Any] | None) -> str:
    """LION's ratio and, in brackets, the floor's to itself: the noise of the measurement."""
    return "–" if row is None else f"{row['lion']['wall_ratio']:.3f} ({row['floor again']['wall_ratio']:.3f})"


def _rest(found: Mapping[str, Any]) -> list[str]:
    ratios = {name: row["cpu_ratio"] for name, row in found["solver threads 1"].items()}
    memory = {name: f"{row['60 to 6 steps']:.2f}" for name, row in found["memory"].items()}
    lines = ["| what | ratio |", "|---|---|"]
    for prompt in ("input", "output"):
        values = [ratio for name, ratio in ratios.items() if name.startswith(prompt)]
        spread = f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
        lines.append(f"| solve + gradient / torchdeq's, CPU time, {prompt} prompt, {len(values)} sizes | {spread} |")
    lines.append(f"| peak memory, 60 solver steps / 6: implicit gradient | {memory['implicit']} |")
    lines.append(f"| the same: unrolled | {memory['unrolled']} |")
    return lines


if __name__ == "__main__":
    print(tables(json.loads(FILE.read_text())))
