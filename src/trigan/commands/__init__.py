"""The command line: each file parses the words of its commands, calls a function of the package and prints."""
