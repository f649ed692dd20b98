"""A run on several devices: a process for each, and one that deals out the photos and tells."""
