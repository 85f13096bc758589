"""Generators, discriminators, classifiers and batch norm: plain modules that import torch alone."""
