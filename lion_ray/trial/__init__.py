"""One experiment from start to end: its trained rounds, its stored rounds and its checkpoints.

`lion_ray.sweep.trial_body` calls `trainer.run_experiment`. This package imports no Ray.
"""
