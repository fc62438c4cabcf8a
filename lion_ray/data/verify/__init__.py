"""Whether a set is what it says: what `lion-ray data verify` does."""
