"""The `lion-ray` command: the main door under a shorter name, and what can be looked up without one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lion_ray import __version__, pipeline


@click.group()
@click.version_option(__version__, prog_name="lion-ray")
def main() -> None:
    """Adapt one frozen backbone to many datasets and find the smallest winning tickets."""


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Run a study or go on with it; the same as `python -m lion_ray.pipeline`."""
    sys.exit(pipeline.main(arguments))


@main.command()
@click.argument("study_url")
@click.option("--reference", required=True, help="the method entry that the others are compared with")
def compare(study_url: str, reference: str) -> None:
    """Compare a study's method entries with one of them: paired differences, 95 % intervals, as Markdown."""
    with _one_line_errors():
        from lion_ray.report import comparison

        click.echo(comparison.text(comparison.read_rows(study_url), reference))


@main.command()
@click.argument("study_url")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def evidence(study_url: str, folder: Path) -> None:
    """Write a lottery study's accuracy against density and its comparisons to FOLDER: lottery.md and lottery.svg."""
    with _one_line_errors():
        from lion_ray.report import lottery

        click.echo("\n".join(map(str, lottery.write(study_url, folder))))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """What a reader of a study can mend, as one line and exit status 2."""
    try:
        yield
    except ImportError as missing:
        raise click.UsageError(f"{missing.name} is missing: pip install 'lion-ray[report]'") from missing
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error


@main.command()
def datasets() -> None:
    """List the datasets that a study can name."""
    from lion_ray import data

    click.echo("\n".join(data.names()))


@main.command()
def methods() -> None:
    """List the methods and their options with defaults."""
    from lion_ray.methods import METHODS

    for name, method in METHODS.items():
        click.echo(name)
        for option, value in method.options().model_dump(mode="json").items():
            click.echo(f"  {option}: {value}")


if __name__ == "__main__":
    main()
