"""Import a trained float network: `python -m pipeline.importing FILE --model vdsr -o X.safetensors`.

Reads VDSR as its Caffe reimplementation publishes it (MATLAB, .mat), EDSR as its authors (EDSR-PyTorch) and BasicSR
save it (.pt, .pth), and packed or plain safetensors of this project. Nothing but tensors is unpickled. The result is a
packed float32 network: `binsr upscale --model X.safetensors` runs it, and `python -m stages.train … --start
X.safetensors` trains a binary one from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.models import build
from pipeline.networks import NETWORKS
from pipeline.packing import load, save
from pipeline.program import run_program
from pipeline.runs import SCALES, Model, Scale

State = dict[str, Tensor]
Config = dict[str, Any]  # what a file says about its network, besides the tensors
PIXEL_RANGE = 255  # the other EDSRs compute on 0 to 255, this project's on 0 to 1
EDSR_NAMES = (  # EDSR-PyTorch, BasicSR, and the name here
    (r"head\.0\.|conv_first\.", "head."),
    (r"body\.(\d+)\.body\.0\.|body\.(\d+)\.conv1\.", "blocks.{}.conv1."),
    (r"body\.(\d+)\.body\.2\.|body\.(\d+)\.conv2\.", "blocks.{}.conv2."),
    (r"body\.\d+\.(?=weight|bias)|conv_after_body\.", "conv."),
    (r"tail\.0\.(\d+)\.|upsample\.(\d+)\.", "upsample.{}.conv."),
    (r"tail\.1\.|conv_last\.", "tail."),
)


def import_network(path: Path, model: str, scale: int | None = None) -> nn.Module:
    """Read a float network from a file of another project, or of this one.

    Parameters
    ----------
    path : Path
    model : str
        One of `pipeline.runs.MODELS`.
    scale : {2, 3, 4}, optional
        By default that of the file; 2 where the file has none, as for a network on luma, which serves every scale.

    Returns
    -------
    torch.nn.Module
        Made by `pipeline.models.build`, in evaluation mode.

    Raises
    ------
    InputError
        If the file cannot be read, or does not hold such a network.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    readers = {".mat": _read_mat, ".pt": _read_checkpoint, ".pth": _read_checkpoint, ".safetensors": _read_safetensors}
    reader = readers.get(path.suffix)
    if reader is None:
        raise InputError(f"{path}: of no known kind; name a file of {', '.join(readers)}")
    state, declared = reader(path)
    if model == "edsr" and "head.weight" not in state:
        state = _renamed_edsr(state, path)
    sizes = _sizes(state, model, path) | declared
    config = {name: sizes[name] for name in NETWORKS[model].sizes if name in sizes}
    own_scale = None if NETWORKS[model].on_luma else sizes.get("scale")
    if own_scale is not None and scale not in (None, own_scale):
        raise InputError(f"{path}: --scale: the network is for scale {own_scale}, not {scale}; leave --scale out")
    module = build(model, own_scale or scale or SCALES[0], "float", **config)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: is not a float {model}: {' '.join(str(error).split())[:200]}") from None
    return module.eval()


def _read_mat(path: Path) -> tuple[State, Config]:
    """Read VDSR_Adam.mat of caffe-vdsr: ``model`` with cells ``weight`` (kh×kw×I×O) and ``bias``."""
    from scipy.io import loadmat

    try:
        network = loadmat(path)["model"][0, 0]
        weights, biases = network["weight"].ravel(), network["bias"].ravel()
        names = ["head", *(f"blocks.{i}" for i in range(len(weights) - 2)), "tail"]
        state: State = {}
        for name, weight, bias in zip(names, weights, biases, strict=True):
            filters = weight.reshape(*weight.shape, *(1,) * (4 - weight.ndim))  # MATLAB drops a last dimension of 1
            state[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(filters.transpose(3, 2, 0, 1), np.float32))
            state[f"{name}.bias"] = torch.from_numpy(np.ascontiguousarray(bias.ravel(), np.float32))
    except Exception as error:  # on other files the reader raises errors of many kinds, even zlib's
        raise InputError(f"{path}: is not a VDSR of caffe-vdsr ({' '.join(str(error).split())[:120]})") from None
    return state, {}


def _read_checkpoint(path: Path) -> tuple[State, Config]:
    try:
        contents: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # other files and other objects raise errors of many kinds
        raise InputError(f"{path}: is not a checkpoint of tensors ({' '.join(str(error).split())[:120]})") from None
    for key in ("params_ema", "params", "state_dict", "model"):  # under which BasicSR and others store the tensors
        if isinstance(contents, Mapping) and isinstance(contents.get(key), Mapping):
            contents = contents[key]
            break
    named = isinstance(contents, Mapping) and all(isinstance(name, str) for name in contents)
    if not named or not all(isinstance(value, Tensor) for value in contents.values()):
        raise InputError(f"{path}: holds no dictionary of tensors; save the network's state_dict()")
    return {name.removeprefix("module.").removeprefix("model."): value.float() for name, value in contents.items()}, {}


def _read_safetensors(path: Path) -> tuple[State, Config]:
    try:
        module = load(path)
    except InputError:
        pass  # it may hold the plain weights of a training
    else:
        config: Any = module.config
        if config["weights"] != "float":
            raise InputError(f"{path}: is a binary network; name a float one")
        return module.state_dict(), {"residual_scale": 1.0, **config}
    try:
        return load_file(path), {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error})") from None


def _renamed_edsr(state: State, path: Path) -> State:
    """Rename the tensors to this project's names, and scale the biases from pixels of 0 to 255 to those of 0 to 1."""
    renamed: State = {}
    for name, value in state.items():
        if name.startswith(("sub_mean.", "add_mean.", "mean")):
            continue  # the mean of DIV2K, which the network here has built in
        for pattern, replacement in EDSR_NAMES:
            if match := re.match(pattern, name):
                numbers = [int(group) for group in match.groups() if group is not None]
                if replacement.startswith("upsample"):  # shuffles, which have no tensors, are counted too
                    numbers = [number // 2 for number in numbers]
                kind = name[match.end() :]
                renamed[replacement.format(*numbers) + kind] = value / PIXEL_RANGE if kind == "bias" else value
                break
        else:
            raise InputError(f"{path}: {name}: is not a tensor of EDSR-PyTorch's or BasicSR's EDSR")
    return renamed


def _sizes(state: State, model: str, path: Path) -> Config:
    """Return the arguments for `pipeline.models.build` that follow from the tensors, of whichever network."""
    try:
        channels = state["head.weight"].shape[0]
        count = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
        sizes: Config = {"blocks": count, "layers": count + 2, "channels": channels}
        sizes["residual_scale"] = 0.1 if channels == 256 else 1.0  # EDSR's authors', for the large network
        outputs = [state[name].shape[0] for name in state if re.fullmatch(r"upsample\.\d\.conv\.weight", name)]
        if outputs:
            sizes["scale"] = round(np.prod([out / channels for out in outputs]) ** 0.5)
    except (LookupError, ValueError) as error:
        raise InputError(f"{path}: is not a float {model}: has no {error.args[0]}") from None
    if sizes.get("scale", SCALES[0]) not in SCALES:
        raise InputError(f"{path}: is not a float {model} for a scale of {', '.join(map(str, SCALES))}")
    return sizes


def main(
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    model: Annotated[Model, typer.Option()],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.")],
    scale: Annotated[Scale | None, typer.Option(help="Where the file does not say it. Default: 2.")] = None,
) -> None:
    if out.suffix != ".safetensors":
        raise InputError(f"--out: {out}: name a .safetensors file")
    module = import_network(file, model, scale)
    config: Any = module.config
    source = {"file": file.name, "sha256": sha256(file.read_bytes()).hexdigest()}
    count = save(module, out, {"imported": source})
    print(f"{out}: {config['model']} ×{config['scale']}, {count:,} bytes")


if __name__ == "__main__":
    run_program(main)
