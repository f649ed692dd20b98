"""One picture: bytes to pixels and back."""
