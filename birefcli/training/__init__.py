"""Training BiRefNet from photographs of people and their masks."""
