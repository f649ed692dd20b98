"""A network of an ONNX file, in ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from birefcli.errors import Message, ModelError, Option, UsageError
from birefcli.matting.device import Placement
from birefcli.matting.predictor import Normalisation
from birefcli.models.onnx_graph import ALPHA, LOGITS
from birefcli.options import Size

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_LACKS = "Could not find an implementation for"
"""What ONNX Runtime says of an operator that it has no code for."""


class OnnxNetwork:
    """An exported network in ONNX Runtime, which must be installed.

    It must have one input N×3×H×W of float32 or float16, RGB scaled to 0..1, then ImageNet mean
    and standard deviation, and one output N×1×H×W: logits, or alpha of 0..1. Which of them is told
    by the output's name; where that is of neither, by the values of the first call.
    """

    def __init__(
        self, path: Path, size: Size, placement: Placement, *, keep_memory: bool = True
    ) -> None:
        """``size``: the network's input; ``keep_memory``: from one call to the next, as ONNX
        Runtime does. Raises ModelError, UsageError.
        """
        self.path, self.size = path, size
        self._session = _session(path, placement.device, keep_memory=keep_memory)
        self.provider: str = self._session.get_providers()[0]
        self._input, self._dtype = self._check()
        self._normalise = Normalisation(torch.device("cpu"))
        self._gives_logits = {LOGITS: True, ALPHA: False}.get(self._session.get_outputs()[0].name)

    def _check(self) -> tuple[str, Any]:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(outputs) != 1 or len(shape) != 4 or shape[1] != 3:
            raise ModelError(
                f"{self.path}: has {len(inputs)} inputs and {len(outputs)} outputs, the first input"
                f" of shape {shape}; what can be compared takes one N×3×H×W and gives one matte"
            )
        if inputs[0].type not in _TYPES:
            raise ModelError(f"{self.path}: its input is {inputs[0].type}, not float or float16")
        for length, ours in zip(shape[2:], self.size[::-1], strict=True):
            if isinstance(length, int) and length != ours:
                theirs = f"{shape[3]}x{shape[2]}"
                raise UsageError(
                    f"{self.path} takes {theirs} pixels and our network gets {self.size}",
                    hint=Message("add ", Option("size", theirs)),
                )
        self.batch: int | None = shape[0] if isinstance(shape[0], int) else None
        return inputs[0].name, _TYPES[inputs[0].type]

    def alphas(self, inputs: list[NDArray[np.uint8]]) -> Tensor:
        """Alpha of prepared photos: float32 N×1×h×w, 0..1."""
        values = self._normalise(torch.from_numpy(np.stack(inputs))).numpy().astype(self._dtype)
        found = torch.from_numpy(self._session.run(None, {self._input: values})[0]).float()
        found = found.reshape(len(inputs), 1, *found.shape[-2:])
        if self._gives_logits is None:
            self._gives_logits = bool(found.min() < 0) or bool(found.max() > 1)
        return torch.sigmoid(found) if self._gives_logits else found


def _session(path: Path, device: torch.device, *, keep_memory: bool) -> Any:  # noqa: ANN401
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = keep_memory
    wanted = {"cuda": "CUDAExecutionProvider"}.get(device.type, "CPUExecutionProvider")
    if wanted not in onnxruntime.get_available_providers():
        raise UsageError(
            f"{path}: this onnxruntime has no {wanted}",
            hint=Message("pip install onnxruntime-gpu, or compare with ", Option("device", "cpu")),
        )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    except Exception as error:  # its exceptions share no base class
        reason = str(error).strip().partition("\n")[0]
        hint = "pip install -U onnxruntime" if _LACKS in reason else None
        raise ModelError(f"{path}: onnxruntime cannot load it ({reason})", hint=hint) from error
