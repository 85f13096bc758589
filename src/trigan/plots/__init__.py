"""Plots of runs, tables and searches as PNG files: the same bytes for the same numbers. Imports no torch."""
