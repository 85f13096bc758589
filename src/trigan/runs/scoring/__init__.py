"""What the frozen networks of a run are scored on beside its test set."""
