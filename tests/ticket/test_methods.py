"""What a ticket of every method guarantees: the process that trained it, a new process and the exported file agree."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from lion_ray import ticket
from lion_ray.cli import commands
from lion_ray.implicit import FixedSteps, ImplicitLayer, LinearCell, Picard, steps_needed
from lion_ray.methods import METHODS
from lion_ray.store import Store

FORMAT_PAGE = Path(__file__).parent.parent.parent / "docs" / "ticket_format.md"


def files(store: Store) -> list[str]:
    return sorted(f"{store.url}/{path}" for path in store.paths() if path.endswith("/ticket.safetensors"))


def payloads(stores: Mapping[str, Store]) -> Iterator[bytes]:
    yield from (Path(url.removeprefix("file://")).read_bytes() for store in stores.values() for url in files(store))


def test_a_new_process_with_other_threads_gives_the_logits_that_training_measured(
    every_method: Mapping[str, Store],
) -> None:
    assert every_method.keys() == METHODS.keys()
    urls = [url for store in every_method.values() for url in files(store)]
    command = [sys.executable, "-m", "lion_ray.cli", "verify", *urls]
    printed = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True)
    assert printed.stdout.splitlines() == [f"{url}: logits equal the fingerprint bit for bit" for url in urls]


def test_a_bit_per_weight_and_what_survives_is_all_that_a_file_takes(every_method: Mapping[str, Store]) -> None:
    for payload in payloads(every_method):
        kept = ticket.unpack(payload)
        dense = sum(weight.numel() for name, weight in kept.weights.items() if name not in kept.mask.alive)
        floor = kept.mask.num_weights / 8 + 4 * (kept.mask.num_alive + dense)
        assert floor <= len(payload) - int.from_bytes(payload[:8], "little") - 8 <= 1.1 * floor


def test_the_reader_in_the_documentation_reads_every_ticket(every_method: Mapping[str, Store]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", FORMAT_PAGE.read_text(), re.DOTALL)
    page: dict[str, object] = {}
    exec(code, page)  # noqa: S102 (our own page)
    read_ticket, fixed_batch = page["read_ticket"], page["fixed_batch"]
    assert callable(read_ticket)
    assert callable(fixed_batch)
    for store in every_method.values():
        for url in files(store):
            header, weights, fingerprint = read_ticket(url.removeprefix("file://"))
            kept = ticket.open_ticket(url)
            assert header == kept.header.model_dump(mode="json")
            assert weights.keys() == kept.weights.keys()
            assert all(np.array_equal(weights[name], kept.weights[name].numpy()) for name in weights)
            assert kept.fingerprint is not None
            assert np.array_equal(fingerprint, kept.fingerprint.numpy())
    assert np.array_equal(fixed_batch(5), ticket.fixed_images(5))


@pytest.mark.parametrize(
    "method", ["linear", "lion", "vpt_deep", "vpt_pad", "lora", "ssf"]
)  # the others have no new form
def test_the_exported_file_gives_the_tickets_logits_at_any_batch_size(
    every_method: Mapping[str, Store], tmp_path: Path, method: str
) -> None:
    url, file = files(every_method[method])[-1], tmp_path / "model.pt2"
    found = ticket.export(ticket.open_ticket(url), str(file))
    assert found.max_difference <= 1e-4 * found.scale
    assert found.num_agreeing == found.num_images == 4
    extra = {"lion_ray.json": ""}
    program = torch.export.load(io.BytesIO(file.read_bytes()), extra_files=extra).module()
    assert '"classes": ["0", "1"' in extra["lion_ray.json"]
    pixels, model = torch.from_numpy(ticket.fixed_images(32)).repeat(5, 1, 1, 1)[:17], ticket.load_ticket(url)
    with torch.no_grad():
        expected = model(model.body.backbone.transform.of_pixels(pixels))
        assert (program(pixels) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_export_command_says_how_far_it_is_and_takes_a_number_of_steps(
    every_method: Mapping[str, Store], tmp_path: Path
) -> None:
    url = files(every_method["lion"])[0]
    printed = CliRunner().invoke(commands.main, ["export", url, str(tmp_path / "m.pt2"), "--steps", "2"])
    assert printed.exit_code == 0, printed.output
    assert "Picard steps: body.prompt.equilibrium 2, head.prompt.equilibrium 2" in printed.output
    assert re.search(r"logits differ by at most [\d.e-]+ of [\d.]+, the same class for 4 of 4 images", printed.output)
    wrong = CliRunner().invoke(commands.main, ["export", url, str(tmp_path / "m.onnx")])
    assert (wrong.exit_code, wrong.output) == (2, f"Error: {tmp_path}/m.onnx: an exported model's name ends in .pt2\n")


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.8])
def test_the_fixed_steps_reach_the_tolerance_for_any_input(gamma: float) -> None:
    cell = LinearCell(12, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cell.W.mul_(gamma / 0.4)
    layer = ImplicitLayer(cell, solver=Picard(), gamma=gamma, tolerance=1e-5)
    inputs = torch.randn(64, 12, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 3, 64)[:, None]
    with torch.no_grad():
        z = FixedSteps(cell, steps_needed(layer))(inputs)
        residual = (cell.step(z, cell.inject(inputs)) - z).abs().amax(1) / z.abs().amax(1)
    assert residual.max() <= 1e-5
    assert steps_needed(layer) >= layer.solve(inputs).num_steps.max()
    assert steps_needed(ImplicitLayer(cell, gamma=gamma, max_steps=3)) == 3


def test_every_ticket_is_checked_whatever_is_wrong_with_those_before_it(
    every_method: Mapping[str, Store], tmp_path: Path
) -> None:
    good = files(every_method["linear"])[0]
    (tmp_path / "bad").write_bytes(b"no ticket")
    printed = CliRunner().invoke(commands.main, ["verify", str(tmp_path / "none"), good, str(tmp_path / "bad"), good])
    assert printed.exit_code == 2
    assert [line.partition(":")[0] for line in printed.stdout.splitlines()] == [good.partition(":")[0]] * 2
    assert [
        str(tmp_path / name) in line for name, line in zip(("none", "bad"), printed.stderr.splitlines(), strict=True)
    ]


def test_logits_beyond_round_off_are_no_agreement(every_method: Mapping[str, Store], tmp_path: Path) -> None:
    kept = ticket.open_ticket(files(every_method["linear"])[0])
    assert kept.fingerprint is not None
    for shift, status, says in ((1e-6, 0, "logits differ"), (1.0, 2, "more than round-off")):
        moved = dataclasses.replace(kept, fingerprint=kept.fingerprint + shift)
        (tmp_path / "t").write_bytes(ticket.pack(moved))
        printed = CliRunner().invoke(commands.main, ["verify", str(tmp_path / "t")])
        assert printed.exit_code == status
        assert says in printed.output
        assert len(printed.output.splitlines()) == 1


def test_the_compact_command_counts_units_and_operations(every_method: Mapping[str, Store], tmp_path: Path) -> None:
    dense = ticket.open_ticket(files(every_method["lion"])[0])
    dense.weights["head.prompt.V"][:, 8:] = 0
    dense.weights["head.prompt.equilibrium.cell.W"][:, 8:] = 0
    (tmp_path / "sparse").write_bytes(ticket.pack(dense))
    printed = CliRunner().invoke(commands.main, ["compact", str(tmp_path / "sparse"), str(tmp_path / "small")])
    assert printed.exit_code == 0, printed.output
    assert "output prompt: 64 -> 8 units" in printed.output
    before, after = (
        int(text.replace(",", "")) for text in re.findall(r"image: ([\d,]+) -> ([\d,]+),", printed.output)[0]
    )
    assert before - after >= 2 * 2 * 1280 * 56  # U and V of 56 units, a multiply and an add each
    smaller = ticket.open_ticket(str(tmp_path / "small"))
    assert ticket.verify(smaller, ticket.model_of(smaller)).is_exact
    onto_itself = CliRunner().invoke(commands.main, ["compact", str(tmp_path / "small"), f"file://{tmp_path}/small"])
    assert (onto_itself.exit_code, "is the ticket itself" in onto_itself.output) == (2, True)
    refused = CliRunner().invoke(commands.main, ["compact", files(every_method["linear"])[0], str(tmp_path / "none")])
    assert refused.exit_code == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", [0.02, 0.5, 0.999])
def test_a_flipped_bit_is_found_anywhere(every_method: Mapping[str, Store], tmp_path: Path, place: float) -> None:
    payload = bytearray(next(payloads(every_method)))
    payload[int(place * len(payload))] ^= 1
    (tmp_path / "t").write_bytes(payload)
    printed = CliRunner().invoke(commands.main, ["verify", str(tmp_path / "t")])
    assert printed.exit_code == 2
    assert printed.output.startswith(f"Error: {tmp_path}/t: ")
    assert len(printed.output.splitlines()) == 1
