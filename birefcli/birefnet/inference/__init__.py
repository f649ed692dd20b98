"""The network for inference on a CPU, prepared once: weights folded, composed and packed.

The modules of the parent package define the network, train it and run it on other devices; those
of this one compute the same of it in fewer passes over memory.
"""

from birefcli.birefnet.inference.network import InferenceNetwork

__all__ = ["InferenceNetwork"]
