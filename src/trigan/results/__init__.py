"""Records in; statistics, tables and pictures out. Reads files only, trains nothing, imports no torch."""
