"""`python -m lion_ray.cli` runs the `lion-ray` command."""

from lion_ray.cli import main

main()
