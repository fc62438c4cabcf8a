"""Which method applies to which of timm's families: `python -m tests.benchmarks.survey` writes `docs/models.md`.

One small model of each family, random weights, at the smallest of `SIZES` that it takes; every method is tried as a
study tries it before it starts (`methods.checking`). Each model has a process of its own, so that one that aborts is an
outcome; what has run longer than `--seconds` is one too. Takes about 30 minutes on one core. Outcomes are kept in
`survey.json`, so that `--models NAME ...` tries those alone again.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import multiprocessing
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from lion_ray import backbones, methods
from lion_ray.config import BackboneConfig, MethodConfig, StudyError
from tests.support.small_runs import in_here

KEPT = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
SIZES = (64, 96, 128, 192, 224, 240, 256, 288, 299, 384)
_NAMES = """
    beit_base_patch16_224 caformer_s18 cait_xxs24_224 coat_tiny coatnet_pico_rw_224 convit_tiny convmixer_768_32
    convnext_zepto_rms cpubone_nano crossvit_tiny_240 cs3darknet_s csatv2 cspnext_tiny davit_tiny
    deit_tiny_distilled_patch16_224 densenet121 dla46_c dpn48b edgenext_xx_small efficientformer_l1
    efficientformerv2_s0 efficientnet_lite0 efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim_dw
    eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 gmlp_ti16_224
    halonet_h1 hardcorenas_a hgnetv2_b0 hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t inception_next_atto
    inception_v3 lambda_resnet26t lcnetv2_small legacy_seresnet18 levit_128s lowformer_b0 mambaout_femto
    maxvit_pico_rw_256 mobilenetv3_small_050 mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
    naflexvit_base_patch16_gap nest_tiny nextvit_small nf_regnet_b0 nfnet_l0 pit_ti_distilled_224 poolformer_s12
    pvt_v2_b0 rdnet_tiny regnety_002 repghostnet_050 repvit_m1 res2net50_48w_2s resmlp_12_224 resnest14d resnet18
    resnetv2_50x1_bit rexnet_100 selecsls42 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs
    swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 swinv2_tiny_window8_256 tiny_vit_5m_224 tnt_s_patch16_224
    tresnet_m twins_pcpvt_small twins_svt_small visformer_tiny vit_relpos_small_patch16_224
    vit_small_patch16_rope_mixed_224 vit_tiny_patch16_224 vit_tiny_patch16_dinov3_qkvb vit_tiny_r_s16_p8_224
    vitamin_small_224 volo_d1_224 xception41 xcit_nano_12_p8_224
"""
MODELS = _NAMES.split()
MAPS = "lion on maps"
ENTRIES = (
    *("linear", "lion", MAPS, "full", "partial", "bias", "vpt_shallow", "vpt_deep", "vpt_pad"),
    *("adapter", "lora", "ssf"),
)
Outcome = tuple[str, int, str]
"""A method entry, the image size, and why it cannot be had (empty if it can)."""


def tried(model: str, entries: Sequence[str]) -> Iterator[Outcome]:
    """Each of `entries` on `model`, in this process."""
    size, why = size_of(model)
    for entry in entries:
        fields = {"name": "lion", "output": {"source": "stages"}} if entry == MAPS else {"name": entry}
        yield entry, size, why or objection(MethodConfig.model_validate(fields), model, size)


def size_of(model: str) -> tuple[int, str]:
    """The first of `SIZES` at which the frozen model runs; or the last, and what is said there."""
    for size in SIZES:
        why = objection(MethodConfig(name="linear"), model, size)
        if not why:
            return size, ""
    return SIZES[-1], why


def objection(config: MethodConfig, model: str, size: int) -> str:
    """What a study says of a method on a model before it starts; nothing if all is well."""
    try:
        methods.check([config], in_here(lambda: sketched(model, size)))
    except StudyError as error:
        return str(error)
    return ""


@functools.lru_cache(maxsize=1)
def sketched(model: str, size: int) -> backbones.Backbone:
    """The model with random weights."""
    config = BackboneConfig(name=model, weights="random", image_size=size)
    return backbones.in_one_line(backbones.sketch, config, "study")


def survey(model: str, seconds: float) -> list[Outcome]:
    """Every entry on `model`, each process going on where the one before was ended."""
    found: list[Outcome] = []
    deadline = time.monotonic() + seconds
    while len(found) < len(ENTRIES):
        outcomes, status = _child(model, ENTRIES[len(found) :], deadline)
        found += outcomes
        if len(found) < len(ENTRIES):
            size = found[-1][1] if found else 0
            if status is None:
                return found + [(entry, size, f"no answer within {seconds:g} s") for entry in ENTRIES[len(found) :]]
            found.append((ENTRIES[len(found)], size, f"timm and torch end the process (status {status})"))
    return found


def _child(model: str, entries: Sequence[str], deadline: float) -> tuple[list[Outcome], int | None]:
    """What a forked process found, and its exit status; None if it took too long."""
    context, found = multiprocessing.get_context("fork"), list[Outcome]()  # one import of torch serves all
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sending, model, entries))
    process.start()
    sending.close()
    try:
        while receiving.poll(max(deadline - time.monotonic(), 0)):
            found.append(receiving.recv())
        process.kill()
        return found, None
    except EOFError:
        return found, _status(process)
    finally:
        process.join()


def _status(process: BaseProcess) -> int | None:
    process.join()
    return process.exitcode


def _send(sending: Connection, model: str, entries: Sequence[str]) -> None:
    for outcome in tried(model, entries):
        sending.send(outcome)


def reason(model: str, entry: str, size: int, why: str) -> str:
    """`why` without what differs from model to model."""
    said = why.removeprefix("study: methods.0: ").removeprefix(f"'{entry.split()[0]}' does not apply to {model}: ")
    more = size + 8  # by a border of 4 pixels
    for differs, alike in ((f"{size} x {size}", "its size"), (f"{more} x {more}", "8 more"), (f" at {size} px", "")):
        said = said.replace(differs, alike)
    return said


def page(outcomes: dict[str, list[Outcome]]) -> str:
    """The survey in Markdown: a table of reasons by number, and the reasons."""
    reasons: list[str] = []
    rows = []
    for model, found in outcomes.items():
        cells = []
        for entry, size, why in found:
            said = reason(model, entry, size, why)
            if said and said not in reasons:
                reasons.append(said)
            cells.append(str(reasons.index(said) + 1) if said else "·")
        rows.append(f"| {model} | {found[0][1] or ''} | {' | '.join(cells)} |")
    applies = sum(not why for found in outcomes.values() for _, _, why in found)
    head = INTRODUCTION.format(
        number=len(outcomes),
        date=datetime.datetime.now(datetime.UTC).date(),
        python=platform.python_version(),
        **{name: version(name) for name in ("timm", "torch")},
        applies=applies,
        tried=len(outcomes) * len(ENTRIES),
    )
    titles = " | ".join(ENTRIES)
    listed = [f"{number}. {said}" for number, said in enumerate(reasons, 1)]
    table = [f"| model | px | {titles} |", "|---" * (len(ENTRIES) + 2) + "|", *rows]
    return "\n".join([head, *table, "", "The reasons:", "", *listed, ""])


INTRODUCTION = """# Which method applies to which backbone

This page is for whoever asks whether a method can be had on their backbone.

`python -m tests.benchmarks.survey` wrote this page on {date} with timm {timm}, torch {torch} and
Python {python} on a CPU. It tries one small model of each of timm's families, with random weights, at the smallest size
that it takes of those that are tried: {number} models. A dot says that the method was built and trained for two steps;
a number says why not, as a study would say it before anything starts. Of {tried} pairs {applies} can be had.
*lion on maps* is `{{name: lion, output: {{source: stages}}}}`. Families whose smallest model has more than 60 million
parameters are left out (deepseek_vit, gemma4_vit, mobilenetv5, nasnet, pnasnet, qwen3_vit, samvit, vgg), but BEiT and
NaFlexViT, whose attention is asked about most. The size matters: fastvit_t8 at its own 256 px ends the process in the
backward pass of `full` and `ssf` on a CPU: a segmentation fault, or `free(): invalid next size`.
"""


def main() -> None:
    """Survey the models and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--models", nargs="*", default=MODELS)
    asked = parser.parse_args()
    torch.set_num_threads(1)  # before the first fork
    outcomes: dict[str, list[Outcome]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for model in asked.models:
        outcomes[model] = survey(model, asked.seconds)
        refused = [f"{entry}: {why}" for entry, _, why in outcomes[model] if why]
        print(f"{model} at {outcomes[model][0][1]} px", *refused, sep="\n    ", flush=True)
        lines = [f"{json.dumps(name)}: {json.dumps(outcomes[name])}" for name in MODELS if name in outcomes]
        KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    PAGE.write_text(page(json.loads(KEPT.read_text())))


if __name__ == "__main__":
    main()
