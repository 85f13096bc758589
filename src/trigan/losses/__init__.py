"""Losses as pure functions of logits and features; means are over rows, so equal ranks can average theirs."""
