"""`lion-ray data`: list the catalogue, build a dataset as lossless Parquet at any URL, and verify one.

`lion_ray.cli.commands` adds the group `data`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import click

from lion_ray.cli.catalogue import list_
from lion_ray.cli.errors import OneLine, one_line_errors


class _StorageFailure(OneLine):
    exit_code = 3


format_ = click.option("--format", "format_", help="how the source is stored, if its files do not say")


@click.group()
def data() -> None:
    """List the datasets that a study can name, build one once and without loss, verify one."""


data.add_command(list_)


@data.command()
@click.argument("name")
@click.option("--from", "source", help="any URL that a study can name; without it, the package of a catalogue set")
@click.option("--to", "url", required=True, help="an empty place, such as s3://bucket/data/NAME")
@click.option("--force", is_flag=True, help="replace another finished set there")
@click.option("--image-column", help="which column of the source holds the images")
@click.option("--label-column", help="which holds the labels")
@click.option(
    "--on-bad-image", type=click.Choice(["error", "skip"]), default="error", help="end at the first, or leave them out"
)
@format_
def build(
    name: str,
    source: str | None,
    url: str,
    force: bool,
    on_bad_image: Literal["error", "skip"],
    format_: str | None,
    **columns: str | None,
) -> None:
    """Write the set NAME to a URL as sharded, lossless Parquet with a manifest. Interrupted, give it again."""
    with _errors():
        from lion_ray.data.build import building

        built = building.build_named(
            name,
            source,
            url,
            force=force,
            on_bad_image=on_bad_image,
            on_shard=_print_progress,
            on_note=_print_progress,
            format=format_,
            **columns,
        )
        images = sum(split.images for split in built.manifest.splits.values())
        work = f"{built.num_made} of {len(built.manifest.shards)} shards made" if built.num_made else "it was finished"
        click.echo(f"{url}: {images} images, {built.manifest.encoding}, digest {built.manifest.digest}; {work}")


@data.command()
@click.argument("target", metavar="NAME|URL")
@click.option("--root", help="where built sets lie: NAME is verified at ROOT/NAME")
@click.option("--json", "as_json", is_flag=True, help="one JSON object per check")
@format_
def verify(target: str, root: str | None, as_json: bool, format_: str | None) -> None:
    """Read all of a set and check it: shards, counts, labels, every image, nothing of train in test.

    Exit status 1 if something is wrong, 2 if there is no such set, 3 if the storage does not answer.
    """
    with _errors():
        from lion_ray.data.verify import verifying

        checks = verifying.verify(target, root=root, format=format_)
        width = max(len(check.name) for check in checks)
        for check in checks:
            fields = {"check": check.name, "status": check.status, "detail": check.detail}
            line = f"{check.name:{width}}  {check.status:7}  {check.detail}"
            click.echo(json.dumps(fields, ensure_ascii=False) if as_json else line)
    if any(check.status == "wrong" for check in checks):
        raise SystemExit(1)


def _print_progress(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _errors() -> Iterator[None]:
    """Errors as one line with exit status 2, or 3 if the storage fails."""
    try:
        with one_line_errors():
            yield
    except OneLine as error:
        if _is_storage(error.__cause__):
            raise _StorageFailure(error.message) from error
        raise


def _is_storage(fault: BaseException | None) -> bool:
    """Whether the storage has failed. A dataset that does not exist is a mistake of the user instead."""
    from lion_ray.store import StorageError

    while fault is not None:
        if isinstance(fault, StorageError):
            return not isinstance(fault, FileNotFoundError)
        fault = fault.__cause__
    return False
