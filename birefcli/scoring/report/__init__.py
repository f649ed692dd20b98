"""A page that shows the scores."""
