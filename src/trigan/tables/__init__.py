"""Records in, numbers out: cells, paired comparisons, tables. Imports no torch."""
