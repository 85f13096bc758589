"""The report of a study: one self-contained HTML page, a pure function of a table and of what its runs left."""
