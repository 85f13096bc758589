"""Metrics over plain callables and tensors; knows no strategy."""
