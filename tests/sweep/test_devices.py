"""What trains on the CPU trains on a device as well: nothing is left behind, and nothing waits that need not.

There is no GPU here: see `pretend_device` for what stands in for one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.on_a_device import CASES

ROOT = Path(__file__).parent.parent.parent
ATTENTION = 1e-4  # on the device it is computed by another kernel than on the CPU, and Adam makes more of it
PRECISION = {"augment: randaugment, bf16": 1e-2}  # and nothing is rounded to bf16


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.on_a_device"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.parametrize("case", CASES)
def test_rounds_on_a_device_are_those_on_the_cpu(case: str, outcomes: dict[str, Any]) -> None:
    assert isinstance(outcomes[case], dict), outcomes[case]
    assert outcomes[case]["rounds"] >= 1
    assert outcomes[case]["furthest"] <= PRECISION.get(case, ATTENTION)


def test_an_interrupted_round_goes_on_to_the_same_bits_on_a_device(outcomes: dict[str, Any]) -> None:
    assert outcomes["interrupted"] is True


@pytest.mark.parametrize("case", ["linear", "full", "cell: explicit", "robust"])
def test_no_step_waits_for_the_device(case: str, outcomes: dict[str, Any]) -> None:
    assert outcomes[f"waits: {case}"] == 0


def test_a_step_of_lion_waits_only_to_ask_whether_its_solves_are_over(outcomes: dict[str, Any]) -> None:
    two_prompts, there_and_back, questions = 2, 2, 2
    assert 0 < outcomes["waits: lion"] <= two_prompts * there_and_back * questions


def test_tensors_of_two_devices_do_not_meet_unnoticed() -> None:
    check = """
import torch
from tests.support import pretend_device
device = pretend_device.install()
with pretend_device.Pretending():
    there, here = torch.ones(3, device=device), torch.ones(3)
    try:
        there.kthvalue(1)
    except RuntimeError as error:
        print(error)
    assert there.device == (there + 1).device == device
    assert there[torch.tensor([0])].device == device
    before = pretend_device.waited.total()
    assert here.to(device, non_blocking=True).device == device
    assert pretend_device.waited.total() == before
    assert float(there.sum()) == 3
    assert there.cpu().device.type == "cpu"
    assert pretend_device.waited.total() == before + 2
    try:
        there + here
    except RuntimeError as error:
        print(error)
"""
    ended = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "aten::kthvalue does not have a deterministic implementation",
        "aten::add.Tensor: tensors on two devices, one of shape (3,) is on the host",
    ]
