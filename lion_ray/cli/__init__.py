"""The `lion-ray` command. Nothing heavy is imported before signals are minded; `commands` has what it can do."""

from __future__ import annotations

import sys

from lion_ray import console

RESUMING = (["run"], ["data", "build"])  # the same command goes on where it was ended


def main() -> None:
    """What the installed script calls."""
    console.prepare(resumes=any(sys.argv[1 : 1 + len(each)] == each for each in RESUMING))
    from lion_ray.cli import commands

    commands.main(prog_name="lion-ray")
