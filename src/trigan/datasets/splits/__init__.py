"""Splits and regimes: which images train, validate, stay unlabelled and test."""
