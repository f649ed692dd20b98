"""Cut people out of photographs with BiRefNet, from the command line."""

__version__ = "0.1.0"
