"""The `resources` section: the number of workers that train one experiment, and the CPUs and GPUs of each.

`lion_ray.sweep` requests these resources from Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Discriminator, Field, Tag, model_validator

from lion_ray.config.base import Frozen


class WorkersRange(Frozen):
    """The section `workers: {min: 1, max: 4}`. As many workers train as the cluster has room for.

    The number may change while an experiment trains.
    """

    min: int = Field(ge=1, description="The fewest workers that an experiment starts with.")
    max: int = Field(ge=2, description="The most workers that an experiment uses.")

    @model_validator(mode="after")
    def _is_a_range(self) -> WorkersRange:
        if self.min >= self.max:
            raise ValueError(
                f"min ({self.min}) must be below max ({self.max}); for a fixed number say workers: {self.max}"
            )
        return self


Workers = Annotated[
    Annotated[int, Field(ge=1), Tag("Plain")] | Annotated[WorkersRange, Tag("Section")],
    Discriminator(lambda value: "Section" if isinstance(value, (Mapping, WorkersRange)) else "Plain"),
]


class ResourcesConfig(Frozen):
    """The resources of each worker, and the number of workers.

    One worker runs in the process of its Tune trial. Two or more, or a range, run under Ray Train with DDP.
    """

    workers: Workers = Field(
        default=1,
        description="Workers that share each batch of one experiment; a range uses as many as there is room for.",
    )
    cpus: int = Field(default=1, ge=1, description="CPU cores of each worker.")
    gpus: float = Field(
        default=0, ge=0, description="GPUs of each worker; 0.25 packs four experiments of one worker on a GPU."
    )

    @model_validator(mode="after")
    def _whole_gpus(self) -> ResourcesConfig:
        if self.gpus != int(self.gpus) and (self.is_distributed or self.gpus > 1):
            raise ValueError(
                f"gpus: {self.gpus:g} is a share, which needs workers: 1 and gpus below 1 (NCCL ranks share no GPU)"
            )
        return self

    @property
    def min_workers(self) -> int:
        """The smallest number of workers that an experiment starts with."""
        return self.workers.min if isinstance(self.workers, WorkersRange) else self.workers

    @property
    def max_workers(self) -> int:
        """The largest number of workers that an experiment uses."""
        return self.workers.max if isinstance(self.workers, WorkersRange) else self.workers

    @property
    def per_worker(self) -> dict[str, float]:
        """The resource request of each worker, under the names that Ray uses (`CPU`, `GPU`)."""
        return {"CPU": float(self.cpus), **({"GPU": self.gpus} if self.gpus else {})}

    @property
    def is_distributed(self) -> bool:
        """Whether Ray Train runs the workers."""
        return self.max_workers > 1
