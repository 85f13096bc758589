"""Seed-indexed sample sets, where they come from, and their filters."""
