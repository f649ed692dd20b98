"""From a name to a network: known checkpoints, the Hugging Face Hub, weights files."""
