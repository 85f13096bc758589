"""The stages: what one fit trains, from named inputs to networks that can be evaluated."""
