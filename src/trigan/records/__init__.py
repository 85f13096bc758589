"""What a run leaves on disk for others to read: its record, or the mark of its failure. Imports no torch."""
