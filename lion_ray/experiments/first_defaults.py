"""What each key of the study file meant when it was introduced, to an experiment's identity (`identity.identity_of`).

**Kept for ever.** A new key gets a row with the default it begins with; a default that changes later changes nothing
here. To alter or remove a value renames every experiment that has it. The names are those of the sections' classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "TrainConfig": {
        "epochs": 5,
        "batch_size": 64,
        "optimizer": "adamw",
        "lr": 1.0e-3,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "warmup_epochs": 0.0,
        "precision": "fp32",
        "deterministic": False,
        "robust": None,
        "augment": "none",
    },
    "LotteryConfig": {
        "prune": 0.4,
        "criterion": "magnitude",
        "scope": "global",
        "rewind": "init",
        "allow_dead_layers": False,
    },
    "RobustConfig": {"warmup_epochs": 1},
    "LionOptions": {
        "input": {},
        "output": {},
        "gamma": 0.5,
        "cell": "implicit",
        "depth": 1,
        "solver": "picard",
        "tolerance": 1.0e-4,
        "max_steps": 60,
        "gradient": "implicit",
    },
    "InputOptions": {"channels": 8, "kernel": 3, "stride": 8, "groups": 1, "dilation": 1, "lr_multiplier": 1.0},
    "OutputOptions": {
        "source": "pooled",
        "width": None,
        "stages": None,
        "kernel": 3,
        "grid": 6,
        "readout": 3,
        "rank": 16,
        "auxiliary": None,
        "lr_multiplier": 1.0,
    },
    "AndersonOptions": {"window": 5, "regularisation": 1.0e-5, "damping": 1.0},
    "BroydenOptions": {"window": 8},
    "ImplicitOptions": {"solver": "picard", "tolerance": None, "max_steps": None},
    "PartialOptions": {"blocks": 1},
    "VptOptions": {"tokens": 10},
    "PadOptions": {"width": 4},
    "AdapterOptions": {"bottleneck": 64, "scale": 0.1},
    "LoraOptions": {"rank": 8, "alpha": 8.0},
}
