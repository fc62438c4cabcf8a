"""`python -m lion_ray.cli` is the `lion-ray` command."""

from lion_ray.cli import main

main()
