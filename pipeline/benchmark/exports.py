"""Export of a float network for other runtimes: ONNX in float32, and int8 as quantized by the tools of two of them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.benchmark.backends import optional
from pipeline.benchmark.runtimes import HEIGHT, INPUT, WIDTH
from pipeline.benchmark.signal_stack import signal_stack_kept

QUANTIZED = "openvino-int8.xml"


@dataclass(frozen=True)
class Exports:
    """The exported files of one network; each is written when it is first needed, and kept.

    Attributes
    ----------
    module : torch.nn.Module
        A float network in evaluation mode, N×C×h×w to N×C×H×W.
    calibration : sequence of float32, shape (C, h, w)
        Inputs from which the int8 ranges are chosen.
    folder : Path
        The folder of the files.

    Raises
    ------
    UnavailableError
        By each property, if a package that it needs is not installed.
    """

    module: nn.Module
    calibration: Sequence[NDArray[np.float32]]
    folder: Path

    @property
    def onnx(self) -> Path:
        """The network in ONNX, float32, for images of any size."""
        optional("onnx")
        path = self.folder / "float32.onnx"
        if not path.exists():
            with _quiet():
                # The tracing exporter needs no further package and a tenth of the other exporter's time.
                torch.onnx.export(
                    self.module,
                    (torch.from_numpy(self.calibration[0])[None],),
                    path,
                    dynamo=False,
                    input_names=[INPUT],
                    output_names=["y"],
                    dynamic_axes={INPUT: {2: HEIGHT, 3: WIDTH}},
                )
        return path

    @property
    def onnxruntime_int8(self) -> Path:
        """The network statically quantized for ONNX Runtime: weights int8 per filter, activations uint8."""
        quantization = optional("onnxruntime.quantization")
        preprocessing = optional("onnxruntime.quantization.shape_inference")
        path = self.folder / "onnxruntime-int8.onnx"
        if not path.exists():
            prepared = self.folder / "prepared.onnx"
            with _quiet():
                preprocessing.quant_pre_process(str(self.onnx), str(prepared), skip_symbolic_shape=True)
                quantization.quantize_static(
                    str(prepared),
                    str(path),
                    _reader(quantization.CalibrationDataReader, self.calibration),
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    weight_type=quantization.QuantType.QInt8,
                    activation_type=quantization.QuantType.QUInt8,
                )
        return path

    @property
    def openvino_int8(self) -> Path:
        """The network after NNCF's post-training quantization for OpenVINO on CPUs.

        Ranges come from histograms, which gives the same graph; the default ranges, from minimum to maximum, lose much
        accuracy, since few activations are as large.
        """
        os.environ.setdefault("NNCF_CI", "1")  # otherwise it would send usage statistics
        with _quiet():
            openvino, nncf = optional("openvino"), optional("nncf")
            parameters = optional("nncf.quantization.advanced_parameters")
            estimators = optional("nncf.quantization.range_estimator")
        path = self.folder / QUANTIZED
        if not path.exists():
            with _quiet(), signal_stack_kept():
                quantized = nncf.quantize(
                    openvino.Core().read_model(self.onnx),
                    nncf.Dataset([x[None] for x in self.calibration]),
                    preset=nncf.QuantizationPreset.MIXED,
                    target_device=nncf.TargetDevice.CPU,
                    subset_size=len(self.calibration),
                    advanced_parameters=parameters.AdvancedQuantizationParameters(
                        activations_range_estimator_params=estimators.RangeEstimatorParametersSet.HISTOGRAM
                    ),
                )
                openvino.save_model(quantized, path, compress_to_fp16=False)
        return path


def _reader(base: type, inputs: Sequence[NDArray[np.float32]]) -> object:
    """Return the inputs in the form that ONNX Runtime's quantizer reads; `base` is its class for them."""
    batches = iter([{INPUT: x[None]} for x in inputs])
    return type("Reader", (base,), {"get_next": lambda self: next(batches, None)})()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tools' progress bars, hints and deprecation warnings off the terminal; errors are still raised."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
