"""ICC profiles as bytes, and the code points of videos that stand for some."""
