"""The command line: a thin skin over the Python functions, one file a command."""
