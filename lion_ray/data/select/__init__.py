"""Selection of images: splits by count, the modifiers of a training split, and skipping of bad images.

`lion_ray.data.source` calls these modules in the order `skipping`, `splits`, `sampling`.
"""
