"""The commands on tickets: list a study's tickets, and verify, predict with, compact or export one.

`lion_ray.cli.commands` adds `COMMANDS` to the group `lion-ray`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from lion_ray.cli.errors import OneLine, one_line_errors
from lion_ray.console import printable

if TYPE_CHECKING:
    from lion_ray.ticket import Ticket
    from lion_ray.ticket.checking import Precision
    from lion_ray.ticket.prediction import Prediction

weights = click.option("--weights", help="where the backbone's weights are, if not where the ticket says")
json_lines = click.option("--json", "as_json", is_flag=True, help="one JSON object per line")
ROUND_OFF = {"fp32": 1e-3, "bf16": 5e-2}  # of the largest logit: other machines and torch versions stay below it


@click.command()
@click.argument("study_url")
@json_lines
def tickets(study_url: str, as_json: bool) -> None:
    """List the tickets below STUDY_URL (<storage>/<study>), controls included, with metrics, size and URL."""
    with one_line_errors():
        from lion_ray.report import listing

        table = listing.tickets(study_url)
        click.echo("\n".join(map(json.dumps, table.to_pylist())) if as_json else listing.text(table))


@click.command()
@click.argument("ticket_urls", metavar="TICKET...", nargs=-1, required=True)
@weights
def verify(ticket_urls: tuple[str, ...], weights: str | None) -> None:
    """Check tickets: digest, format, backbone, and the logits that were measured when they were packed.

    Each is checked, whatever is wrong with those before it; exit status 2 if something is wrong with one.
    """
    wrong = 0
    for url in ticket_urls:
        try:
            with one_line_errors():
                click.echo(f"{url}: {_checked(url, weights)}")
        except OneLine as error:
            error.show()
            wrong = error.exit_code
    raise SystemExit(wrong)


def _checked(url: str, weights: str | None) -> str:
    """The result of a check: how far the logits of a sound ticket are from its fingerprint.

    Raises:
        OneLine: the logits differ by more than round-off.
    """
    from lion_ray import ticket

    opened = ticket.open_ticket(url)
    with _naming(url):
        agreement = ticket.verify(opened, ticket.model_of(opened, weights=weights))
    close = f"logits differ from the fingerprint by at most {agreement.max_difference:.2g}{_differing_settings(opened)}"
    if not agreement.max_difference <= ROUND_OFF[ticket.precision_of(opened)] * agreement.scale:
        raise OneLine(f"{url}: {close}: more than round-off")
    return "logits equal the fingerprint bit for bit" if agreement.is_exact else close


@click.command()
@click.argument("ticket_url", metavar="TICKET")
@click.argument("images", nargs=-1, required=True)
@click.option("--top", default=1, type=click.IntRange(min=1), show_default=True, help="classes to name of each image")
@click.option("--device", default="cpu", show_default=True, help="such as cuda")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="instead of what its accuracies are of")
@json_lines
@weights
def predict(
    ticket_url: str,
    images: tuple[str, ...],
    top: int,
    device: str,
    precision: Precision | None,
    as_json: bool,
    weights: str | None,
) -> None:
    """Classify IMAGES, files or folders at any URL: image, label and probability, tabs between them.

    Ends at the first image that is missing or broken, naming it.
    """
    with one_line_errors():
        from lion_ray import ticket
        from lion_ray.ticket import prediction

        if precision:
            measured = ticket.precision_of(ticket.open_ticket(ticket_url))
            click.echo(f"computing in {precision}; the ticket's accuracies were measured in {measured}", err=True)
        model = ticket.load_ticket(ticket_url, weights=weights, device=device, precision=precision)
        for predicted in prediction.predict(model, images, top=top):
            click.echo(_json(predicted, top) if as_json else _line(predicted))


@click.command()
@click.argument("ticket_url", metavar="TICKET")
@click.argument("file")
@click.option("--steps", type=click.IntRange(min=1), help="Picard steps per equilibrium, instead of as many as needed")
@weights
def export(ticket_url: str, file: str, steps: int | None, weights: str | None) -> None:
    """Export TICKET to FILE (.pt2) for serving: uint8 pixels in, logits out. Runs the file and says how far it is."""
    with one_line_errors():
        from lion_ray import ticket

        opened = ticket.open_ticket(ticket_url)
        with _naming(ticket_url):
            exported = ticket.export(opened, file, steps=steps, weights=weights)
        taken = ", ".join(f"{name} {number}" for name, number in exported.steps.items())
        click.echo(f"{file}: {exported.num_bytes:,} bytes")
        click.echo(f"Picard steps: {taken or 'none, there is no equilibrium'}")
        click.echo(
            f"run again from the file: logits differ by at most {exported.max_difference:.2g} of {exported.scale:.2g}, "
            f"the same class for {exported.num_agreeing} of {exported.num_images} images"
        )


@click.command()
@click.argument("ticket_url", metavar="TICKET")
@click.argument("file")
@weights
def compact(ticket_url: str, file: str, weights: str | None) -> None:
    """Write TICKET to FILE without the hidden units that cannot matter: the same function with fewer operations."""
    with one_line_errors():
        from lion_ray import ticket
        from lion_ray.store import identity, write_url
        from lion_ray.ticket import compact as compacting

        if identity(file) == identity(ticket_url):
            raise OneLine(f"{file} is the ticket itself: name another file")
        opened = ticket.open_ticket(ticket_url)
        with _naming(ticket_url):
            smaller = compacting.compact(opened, weights=weights)
            before, after = ticket.measure(ticket.model_of(opened, weights=weights)), smaller.fingerprint
        assert after is not None, "a compacted ticket has its own fingerprint"
        write_url(file, ticket.pack(smaller))
        counts, difference = smaller.header.compact, float((after - before).abs().max())
        for prompt, (units, left) in counts["units"].items():
            click.echo(f"{prompt} prompt: {units} -> {left} units")
        backbone, (dense, fewer) = counts["flops_of_backbone"], counts["flops"]
        click.echo(f"FLOPs per image: {dense:,} -> {fewer:,}, of which the backbone {backbone:,}")
        click.echo(f"logits differ by at most {difference:.2g} of {float(before.abs().max()):.2g}")


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Put the ticket's URL in front of the message of a TicketError."""
    from lion_ray.ticket import TicketError

    try:
        yield
    except TicketError as error:
        raise TicketError(f"{url}: {error}") from error


def _differing_settings(opened: Ticket) -> str:
    """The settings that the bits of logits depend on: those of the ticket and those of this machine."""
    from lion_ray.ticket import numeric_settings

    here, there = numeric_settings(), opened.header.numeric
    others = [f"{name} {there.get(name)}, here {here[name]}" for name in here if name != "threads"]
    return f" (measured with {'; '.join(others)})"


def _line(predicted: Prediction) -> str:
    cells = (f"{printable(label)}\t{probability:.4f}" for label, probability in predicted.top)
    return "\t".join([printable(predicted.image), *cells])


def _json(predicted: Prediction, top: int) -> str:
    fields: dict[str, object]
    fields = {"image": predicted.image, "label": predicted.label, "probability": predicted.probability}
    if top > 1:
        fields["top"] = [{"label": label, "probability": probability} for label, probability in predicted.top]
    return json.dumps(fields, ensure_ascii=False)


COMMANDS = (tickets, verify, predict, export, compact)
