"""Export of a ticket for serving: one file in `torch.export`'s format (.pt2) for batches of any size.

The graph maps decoded and resized pixels, uint8 (B, S, S, 3), to logits (B, classes). Normalisation, prompts, backbone
and classifier are inside. Each equilibrium is replaced by a fixed number of Picard steps, so no control flow depends on
the data. The weights that `lora` and `ssf` trained are merged into the backbone's. The file's extra entry
`lion_ray.json` holds the transform, the class names and the ticket's identity. `lion-ray export` calls `export`.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping

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
    """A comparison of the exported file, read back and run, with the ticket's own model on the fingerprint's batch.

    steps           the number of Picard steps that replace each equilibrium, by the layer's name; may be empty.
    max_difference  the largest absolute difference of a logit, for the whole batch and image by image.
    scale           the model's largest absolute logit.
    num_agreeing    the number of images, of `num_images`, whose predicted class is the same.
    num_bytes       the size of the file.
    """

    steps: dict[str, int]
    max_difference: float
    scale: float
    num_agreeing: int
    num_images: int
    num_bytes: int


class PixelModel(nn.Module):
    """A model with its normalisation inside: uint8 pixels (B, S, S, 3) to logits (B, classes)."""

    def __init__(self, model: AdaptedModel) -> None:
        super().__init__()
        self.model, self.transform = model, model.body.backbone.transform

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits (B, classes) of uint8 pixels (B, S, S, 3)."""
        logits: Tensor = self.model(self.transform.of_pixels(pixels))
        return logits


def export(ticket: Ticket, url: str, *, steps: int | None = None, weights: str | None = None) -> Export:
    """Write the ticket's model to `url`, read the file back, run it and measure the difference.

    Args:
        ticket: the opened ticket.
        url: the local path or fsspec URL to write to; it ends in `.pt2`.
        steps: the number of Picard steps of every equilibrium; None takes as many as each layer's tolerance needs for
            any image.
        weights: the URL of the backbone's weights; None uses the place that the ticket names.

    Raises:
        ValueError: the URL has another ending, or `steps` is below 1.
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
    """Replace every equilibrium layer of `model`, in place, by fixed steps; returns their number by layer."""
    taken = {}
    for name, layer in list(model.named_modules()):
        if isinstance(layer, ImplicitLayer):
            taken[name] = steps_needed(layer) if steps is None else steps
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, FixedSteps(layer.cell, taken[name]))
    return taken


def _exported(model: AdaptedModel, description: Mapping[str, object]) -> bytes:
    served = PixelModel(model).requires_grad_(False).to(memory_format=torch.contiguous_format).eval()
    example = torch.from_numpy(fixed_images(model.body.backbone.transform.size))
    with torch.no_grad():
        program = torch.export.export(served, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={EXTRA: json.dumps(description, sort_keys=True)})
    return buffer.getvalue()


def _description(ticket: Ticket, steps: Mapping[str, int]) -> dict[str, object]:
    header = ticket.header
    return {
        "ticket": {"experiment": header.experiment, "round": header.round, "digest": header.digest},
        "input": "uint8 (batch, size, size, 3): RGB pixels, resized as `transform` says; it normalises them itself",
        "transform": header.transform,
        "output": "float32 (batch, classes): logits",
        "classes": list(header.classes),
        "steps": steps,
    }
