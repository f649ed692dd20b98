"""The machine: files, cores, memory. Knows nothing of photos."""
