"""One experiment from start to end: its rounds, the stored ones, the checkpoints of an unfinished one. No Ray."""
