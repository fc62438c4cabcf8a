"""A ticket as one file for serving: pixels in, logits out, in `torch.export`'s format (.pt2), any batch size.

The graph takes the decoded and resized pixels themselves, uint8 (B, S, S, 3): normalisation, prompts, backbone and
classifier are inside. Equilibria are a fixed number of Picard steps, so nothing in it depends on the data. What `lora`
and `ssf` trained is merged into the backbone's weights.
The file's extra entry `lion_ray.json` says how to resize, what the logits are called and which ticket it is.
"""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import torch
from torch import Tensor, nn

from lion_ray.implicit import FixedSteps, ImplicitLayer, steps_needed
from lion_ray.methods import AdaptedModel, merge_
from lion_ray.store import read_url, write_url
from lion_ray.ticket.fingerprint import fixed_images, measure
from lion_ray.ticket.format import Ticket
from lion_ray.ticket.loading import model_of

EXTRA = "lion_ray.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What the exported file, read back and run, gives for the fingerprint batch, against the ticket's own model.

    steps           Picard steps in the place of each equilibrium, by the prompt's name; empty if there is none.
    max_difference  of any logit, the batch as a whole and image by image.
    scale           the largest absolute logit.
    num_agreeing    images, of `num_images`, whose predicted class is the same.
    num_bytes       of the file.
    """

    steps: dict[str, int]
    max_difference: float
    scale: float
    num_agreeing: int
    num_images: int
    num_bytes: int


class Served(nn.Module):
    """uint8 pixels (B, S, S, 3) to logits (B, classes)."""

    def __init__(self, model: AdaptedModel) -> None:
        super().__init__()
        self.model, self.transform = model, model.body.backbone.transform

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.model(self.transform.of_pixels(pixels))
        return logits


def export(ticket: Ticket, url: str, *, steps: int | None = None, weights: str | None = None) -> Export:
    """Write the ticket's model to `url`, read the file back, run it and measure the difference.

    Args:
        url: where to; any fsspec URL that ends in `.pt2`.
        steps: Picard steps of every equilibrium; None takes as many as each layer's tolerance needs for any image.
        weights: where the backbone's weights are, if not where the ticket says.

    Raises:
        ValueError: the URL has another ending, or steps is below 1.
        TicketError: the backbone cannot be loaded.
        OSError: the file cannot be written.
    """
    if not url.endswith(".pt2"):
        raise ValueError(f"{url}: an exported model's name ends in .pt2")
    model = model_of(ticket, weights=weights)
    expected, size = measure(model), model.body.backbone.transform.size
    taken = _fix_steps(model, steps)
    merge_(model)
    write_url(url, _exported(model, _description(ticket, taken)))
    payload = read_url(url)
    program = torch.export.load(io.BytesIO(payload)).module()  # our own file, written a moment ago
    batch = torch.from_numpy(fixed_images(size))
    with torch.no_grad():
        whole, single = program(batch), torch.cat([program(image[None]) for image in batch])
    return Export(
        steps=taken,
        max_difference=max(float((logits - expected).abs().max()) for logits in (whole, single)),
        scale=float(expected.abs().max()),
        num_agreeing=int((whole.argmax(1) == expected.argmax(1)).sum()),
        num_images=len(batch),
        num_bytes=len(payload),
    )


def _fix_steps(model: AdaptedModel, steps: int | None) -> dict[str, int]:
    """Put fixed steps in the place of every equilibrium of `model`, in place."""
    taken = {}
    for name, layer in list(model.named_modules()):
        if isinstance(layer, ImplicitLayer):
            taken[name] = steps_needed(layer) if steps is None else steps
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, FixedSteps(layer.cell, taken[name]))
    return taken


def _exported(model: AdaptedModel, description: dict[str, Any]) -> bytes:
    served = Served(model).requires_grad_(False).to(memory_format=torch.contiguous_format).eval()
    example = torch.from_numpy(fixed_images(model.body.backbone.transform.size))
    with torch.no_grad():
        program = torch.export.export(served, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={EXTRA: json.dumps(description, sort_keys=True)})
    return buffer.getvalue()


def _description(ticket: Ticket, steps: dict[str, int]) -> dict[str, Any]:
    header = ticket.header
    return {
        "ticket": {"experiment": header.experiment, "round": header.round, "digest": header.digest},
        "input": "uint8 (batch, size, size, 3): RGB pixels, resized as `transform` says; it normalises them itself",
        "transform": header.transform,
        "output": "float32 (batch, classes): logits",
        "classes": list(header.classes),
        "steps": steps,
    }
