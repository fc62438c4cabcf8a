"""Writing a dataset as lossless Parquet with a manifest: `lion-ray data build`.

`lion_ray.cli.data` calls `building.build_named`.
"""
