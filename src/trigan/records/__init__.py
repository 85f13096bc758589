"""Files that a run writes for other rooms to read: its record, or its failure. Imports no torch."""
