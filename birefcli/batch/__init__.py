"""Many photos: which they are, where their products go, what is to be done, and doing it."""
