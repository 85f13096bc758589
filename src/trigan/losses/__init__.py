"""Losses as pure functions of tensors. Most are means over rows, so that the mean over equal ranks is the whole."""
