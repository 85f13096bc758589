"""The stages: each is one fit, from named inputs to networks that can be evaluated."""
