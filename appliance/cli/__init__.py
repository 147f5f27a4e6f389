"""The command line: one command group, one file."""
