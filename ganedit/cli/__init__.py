"""The command line: one module a command, no heavy import before a command runs."""
