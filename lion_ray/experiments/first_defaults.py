"""The default that each key of the study file had when it was introduced. `identity.identity_of` reads this table.

**Entries are never changed.** A new key gets an entry with its first default. A default that changes later does not
change its entry. To change or remove an entry would rename every experiment with that value. The outer keys are the
names of the sections' classes.
"""

from __future__ import annotations

from collections.abc import Mapping

from lion_ray.config import Json

FIRST_DEFAULTS: Mapping[str, Json] = {
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
