"""The metrics, a file for each kind."""
