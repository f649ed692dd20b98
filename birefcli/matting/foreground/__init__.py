"""The subject's own colour under a soft alpha: the method, and its quick forms."""
