"""Settings that hold for the whole process, which may not be ours: changed here and nowhere else.

A command's process is its own. A program that embeds birefcli sees what is said of each function.
"""

import cv2


def use_one_opencv_thread() -> None:
    """OpenCV works in the calling thread: for runs that share photos among threads of their own.

    Called by scoring and training, which both are a run's whole work.
    """
    cv2.setNumThreads(1)


def set_torch_threads(count: int) -> None:
    """Torch computes in so many threads; called by workers and training."""
    import torch  # scoring files takes none of it

    torch.set_num_threads(max(1, count))


def allow_tf32_convolutions(allowed: bool) -> None:
    """Whether convolutions on CUDA may round what they multiply to ten bits of fraction.

    Torch allows it by default. Called where a network is put on a CUDA device: float32 is meant to
    be exact, half precision loses nothing by it.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = allowed
