"""Checks of a dataset: `lion-ray data verify`.

`lion_ray.cli.data` calls `verifying.verify`.
"""
