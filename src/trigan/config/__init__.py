"""From the words of a command line to a checked, resolved config and its objects."""
