"""The `lion-ray` command.

`main` prepares signals and output streams before torch, Ray or click are imported; `lion_ray.cli.commands` holds the
commands.
"""

from __future__ import annotations

import sys

from lion_ray import console

RESUMING = (["run"], ["data", "build"])  # commands that continue an interrupted run when they are given again


def main() -> None:
    """Run the command line of this process; the installed script `lion-ray` calls it."""
    console.prepare(resumes=any(sys.argv[1 : 1 + len(command)] == command for command in RESUMING))
    from lion_ray.cli import commands

    commands.main(prog_name="lion-ray")
