"""Whether a matte asks for a look."""
