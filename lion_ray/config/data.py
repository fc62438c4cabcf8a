"""What a study file says about data: a dataset entry with its modifiers, and the `data` section.

`data.find` receives the section beside a `DatasetConfig`; of it only an image that is skipped changes what an
experiment is. The modifiers do: they are part of the identity.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lion_ray.config.base import SLUG, Frozen, Place

MODIFIERS = ("shots", "imbalance", "subset", "label_noise")
EITHER = (
    ("val", "num_val", "each says how large val is"),
    ("shots", "imbalance", "each says how many images a class keeps"),
    ("shots", "subset", "shots fixes how many images there are"),
    ("shots", "num_train", "shots fixes how many images there are"),
    ("subset", "num_train", "each says how many images train keeps"),
)


class DataConfig(Frozen):
    """`root`: the URL below which `lion-ray data build` has put the catalogue's sets, one folder each.

    `on_bad_image: skip` leaves out images that cannot be decoded, and says how many; by default the first is an error.
    `memory_gb` is how much of each node's object store decoded images may take (None: half of the smallest one);
    `cache` is the folder on each node where training images beyond it lie (None: below its `TMPDIR`).
    """

    root: Place | None = Field(
        default=None, min_length=1, description="Path or URL below which built catalogue sets lie, one folder each."
    )
    on_bad_image: Literal["error", "skip"] = Field(
        default="error",
        description="Whether the first image that cannot be decoded ends the study, or all such are left out.",
    )
    memory_gb: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Decoded images in each node's object store; null is half of the smallest one."
    )
    cache: Place | None = Field(
        default=None,
        min_length=1,
        description="Folder on each node for training images beyond `memory_gb`; null is below its `TMPDIR`.",
    )


class ImbalanceConfig(Frozen):
    """A long tail: the first class keeps `ratio` times as many training images as the last."""

    kind: Literal["exponential"] = Field(default="exponential", description="How the classes' sizes fall.")
    ratio: float = Field(gt=1, description="How many times as many images the first class keeps as the last.")


class LabelNoiseConfig(Frozen):
    """`rate` of the training labels become one of the other classes, each as likely."""

    kind: Literal["symmetric"] = Field(default="symmetric", description="Each other class is as likely.")
    rate: float = Field(gt=0, le=1, description="Share of the training labels that become wrong, exactly.")


class DatasetConfig(Frozen):
    """A catalogue name, or a name of your own with the URL of your data (`data.readers`).

    `num_...` take the first of an order that is the name's; `val` cuts its share from train where the source has no
    val. `shots` (per class), `imbalance`, `subset` and `label_noise` change train alone, drawn by `seed`: see
    `data.sampling`.
    """

    name: str = Field(
        pattern=SLUG, description="A catalogue name (`lion-ray data list`), or with `url` one of your own."
    )
    url: Place | None = Field(
        default=None, description="Where your data lies; null looks the name up in the catalogue."
    )
    format: str | None = Field(
        default=None, description="How the source is stored, if its files do not say; see data.md."
    )
    image_column: str | None = Field(
        default=None, description="Which column of the source holds the images; null is the format's own."
    )
    label_column: str | None = Field(
        default=None, description="Which column, key or feature holds the labels; null is the format's own."
    )
    num_train: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Training images: the first of a fixed order."
    )
    num_val: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Validation images: the first of a fixed order."
    )
    num_test: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Test images: the first of a fixed order."
    )
    val: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Share of the training images that becomes val where the source has none."
    )
    shots: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Training images per class, exactly.")
    imbalance: ImbalanceConfig | None = Field(default=None, description="Makes a long tail of the training images.")
    subset: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="As many of the training images, drawn."
    )
    label_noise: LabelNoiseConfig | None = Field(default=None, description="Makes some training labels wrong.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Of what is drawn by `shots`, `imbalance`, `subset` and `label_noise`."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> DatasetConfig:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        for one, other, reason in EITHER:
            if {one, other} <= given:
                raise ValueError(f"{one} and {other} are both given: {reason}")
        if self.seed and not self.modifiers:
            raise ValueError(f"seed draws for {', '.join(MODIFIERS)}, and none of them is given")
        return self

    @property
    def modifiers(self) -> dict[str, Any]:
        """What is drawn from train, with its seed, as it enters the identity; empty if nothing is."""
        given = self.model_dump(mode="json", include=set(MODIFIERS), exclude_none=True)
        return {**given, "seed": self.seed} if given else {}
