"""The matte's edges at the photo's size."""
