"""The training loop of one round: batches, optimizer, cached features, augmentation and solver health.

`lion_ray.trial` calls it in any process. It imports no Ray.
"""
