"""The commands of `lion-ray`: `run`, the reports on studies, and the commands of `tickets` and `data`.

`lion_ray.cli.main` runs the group `main`. Each command imports what it needs, so that `--help` is fast.
"""

from __future__ import annotations

from pathlib import Path

import click

from lion_ray import __version__, console, pipeline
from lion_ray.cli.data import data
from lion_ray.cli.errors import one_line_errors
from lion_ray.cli.tickets import COMMANDS


@click.group()
@click.version_option(__version__, prog_name="lion-ray")
def main() -> None:
    """Adapt one frozen backbone to many datasets and find the smallest winning tickets."""


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Run a study or go on with it; the same as `python -m lion_ray.pipeline`."""
    console.leave(pipeline.main(arguments))


@main.command()
@click.argument("study_url")
@click.option("--reference", required=True, help="the method entry that the others are compared with")
def compare(study_url: str, reference: str) -> None:
    """Compare a study's method entries with one of them: paired differences, 95 % intervals, as Markdown."""
    with one_line_errors():
        from lion_ray.report import comparison

        click.echo(comparison.text(comparison.with_distinct_datasets(comparison.read_rows(study_url)), reference))


@main.command()
@click.argument("study_url")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def evidence(study_url: str, folder: Path) -> None:
    """Write a lottery study's accuracy against density and its comparisons to FOLDER: lottery.md and lottery.svg."""
    with one_line_errors():
        from lion_ray.report import lottery

        click.echo("\n".join(map(str, lottery.write(study_url, folder))))


@main.command()
@click.argument("study_urls", nargs=-1, required=True)
@click.option("--to", default="lion-report", show_default=True, help="the folder or URL to write to")
def report(study_urls: tuple[str, ...], to: str) -> None:
    """Write an HTML page about studies, running ones too, and its tables as CSV, Parquet, Markdown and LaTeX."""
    with one_line_errors():
        from lion_ray.report import page, trainings

        click.echo(page.write(trainings.opened(study_urls), to))


@main.command()
def methods() -> None:
    """List the methods and their options with defaults."""
    from lion_ray.methods import METHODS

    for name, method in METHODS.items():
        click.echo(name)
        options = method.options()
        plain = options.model_dump(mode="json")  # without what is no part of an experiment's identity
        for option in type(options).model_fields:
            click.echo(f"  {option}: {plain.get(option, getattr(options, option))}")


for command in (*COMMANDS, data):
    main.add_command(command)
