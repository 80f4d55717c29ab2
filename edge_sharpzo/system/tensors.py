"""Tensor files: written whole or not at all, read only if not a bit of them has changed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edge_sharpzo.system.storage import write_atomic

DIGEST = "sha256"  # of names, shapes, dtypes, contents and metadata; files of 0.1.0 have none
MOST_BYTES = 1_000_000_000
Tensors = dict[str, np.ndarray]


def save_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes a safetensors file with a digest of what is in it.

    Raises OSError where the disk refuses.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    told = metadata | {DIGEST: _digest(whole, metadata)}
    write_atomic(path, lambda part: part.write_bytes(save(whole, told)))


def load_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors and metadata of a file, which is untrusted: numbers of NumPy's own types.

    Raises OSError, or ValueError where it is damaged, no file, or larger than any that is written.
    """
    if not path.is_file():
        raise ValueError("it is no file")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it is larger than any ({size // 1_000_000} MB)")
    try:
        with safe_open(path, "np") as stored:
            metadata = dict(stored.metadata() or {})
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, TypeError, AttributeError) as error:  # the latter: types NumPy lacks
        raise ValueError(str(error)) from error
    if odd := [name for name, array in tensors.items() if array.dtype.kind not in "biuf"]:
        raise ValueError(f"'{odd[0]}' is of an unknown type")
    written = metadata.pop(DIGEST, None)
    if written is not None and written != _digest(tensors, metadata):
        raise ValueError("its contents do not match its checksum")
    return tensors, metadata


def _digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    for key in sorted(metadata):
        digest.update(f"{key}={metadata[key]}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
