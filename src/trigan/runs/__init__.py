"""One run from its config to its record, and finished runs opened again."""
