"""The command line: options in, one call, results printed."""
