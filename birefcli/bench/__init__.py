"""How long each stage takes on this machine. It runs the stages of the package, and no copies."""
