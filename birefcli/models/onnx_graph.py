"""A network as an ONNX graph: recorded by torch's exporter, described, written as one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from birefcli.birefnet import BiRefNet
from birefcli.birefnet.exportable import ExportableNetwork
from birefcli.options import Size
from birefcli.system.process_settings import without_warnings

Program: TypeAlias = Any
"""torch's ONNXProgram, which is of no use before onnxscript is installed."""
Value: TypeAlias = Any
"""A value of a graph, as onnxscript has it while it records."""

OPSET = 19
"""Version of ONNX's operators: the first that has DeformConv."""

INPUT, ALPHA, LOGITS = "input_image", "alpha", "output_image"
"""Names of the graph's ends. The first and the last are those of the published BiRefNet files in
ONNX, which give logits: programs that were made for them apply the sigmoid themselves."""


def record(network: BiRefNet, size: Size, *, logits: bool) -> Program:
    """Record what a network computes for an input of ``size`` and any number of photos.

    float32 N×3×H×W to N×1×H×W: ``logits``, or alpha of 0..1. Nothing is computed. Raises what
    torch's exporter raises for a backbone that it cannot follow.
    """
    exportable = ExportableNetwork(network, size.height, size.width, logits=logits).eval()
    # Two photos: of one, torch would take the batch to be always one.
    image = torch.zeros(2, 3, size.height, size.width)
    return to_graph(exportable, image, LOGITS if logits else ALPHA)


def to_graph(module: nn.Module, image: torch.Tensor, output: str) -> Program:
    """Record a module of one input, called as the network's, whose first side stays open.

    ``image``: of the input's shape, two or more in a batch. Raises what torch's exporter raises.
    """
    import torchvision.ops  # noqa: F401 - registers its operators

    with without_warnings("torch.onnx", "onnxscript", "onnx_ir"):
        return torch.onnx.export(
            module,
            (image,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            custom_translation_table={torch.ops.torchvision.deform_conv2d.default: _deform_conv},
            external_data=False,
            verbose=False,
        )


def _deform_conv(
    x: Value,
    weight: Value,
    offset: Value,
    mask: Value,
    bias: Value,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Value:
    """Write torchvision's ``deform_conv2d``, whose order this is, as ONNX's DeformConv."""
    from onnxscript import opset19

    return opset19.DeformConv(
        x,
        weight,
        offset,
        bias,
        mask if use_mask else None,
        dilations=[dilation_h, dilation_w],
        group=groups,
        offset_group=offset_groups,
        pads=[pad_h, pad_w, pad_h, pad_w],
        strides=[stride_h, stride_w],
    )


def describe(program: Program, producer: str, version: str, notes: Mapping[str, str]) -> None:
    """Say in the graph who made it and what it is, instead of what torch notes of its own work.

    Torch names files of this machine at each operator, and doubles the size of a small graph.
    """
    model = program.model
    for part in (model.graph, *model.graph, *_values(model.graph)):
        part.metadata_props.clear()
        part.doc_string = None
    model.producer_name, model.producer_version = producer, version
    model.metadata_props.update(notes)


def _values(graph: Any) -> list[Value]:  # noqa: ANN401 - onnx_ir's Graph
    produced = [value for node in graph for value in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *produced]


def write(program: Program, path: Path) -> None:
    """Write one file, weights inside. Raises OSError."""
    program.save(str(path), external_data=False)
