"""The plain training loop of one round: batches, optimizer, cached features, augmentation, health of the solves."""
