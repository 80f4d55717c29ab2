"""Opens `clip.onnx`: its card, its tokenizer, and one onnxruntime session for each tower."""

import hashlib
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from edge_sharpzo.clip.card import parse_card
from edge_sharpzo.clip.model import Clip
from edge_sharpzo.clip.onnx.graph_file import read_graph
from edge_sharpzo.clip.onnx.integer import has_bytes, multiply_in_integers
from edge_sharpzo.clip.onnx.messages import ModelProto
from edge_sharpzo.clip.onnx.parts import keep_output, weight_bytes
from edge_sharpzo.clip.onnx.trust import check_model, locations
from edge_sharpzo.clip.search_start import parse_start
from edge_sharpzo.clip.session import Session
from edge_sharpzo.clip.towers import OUTPUTS, Tower
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.system.machine import sums_bytes_exactly, usable_cores
from edge_sharpzo.system.memory import MB, MemoryLimit, PlannedLimit, return_freed_memory

MAX_GRAPH_BYTES = 2**31  # what protobuf reads
GRAPH_ROOM = 500 * MB  # that reading a graph without its weights may take


class ClipOnnx(Clip):
    """An exported CLIP model in a file.

    Each tower gets a session of its own that holds that tower's weights alone, so that tuning
    never keeps the image tower or the token table in memory.

    Example:
        >>> clip = ClipOnnx("clip.onnx", threads=2)
        >>> features = clip.encode_images(["a.jpg", "b.jpg"])  # [2, D], float32, L2-normalised
        >>> clip.card.logit_scale
        100.0

    Raises UserError when the file is missing, is no ONNX, or was not made by edge-sharpzo's export.
    """

    def __init__(
        self,
        path: str | Path,
        threads: int = 0,
        provider: str = "CPUExecutionProvider",
        memory: MemoryLimit | None = None,
    ):
        """Opens the file; no weights are read yet.

        `threads` of a session, 0 for onnxruntime's choice; `provider` is onnxruntime's execution
        provider; `memory` a limit to keep to.
        """
        self.path = Path(path)
        self.where, self.short_name = str(self.path), self.path.name
        self._file = self.path.resolve()  # weights lie beside the file, not beside a link to it
        self.threads = threads
        self.provider = provider
        self.memory = memory or MemoryLimit()
        model = self._load()
        self._check_graph(model)
        told = _metadata(model)
        self.card = parse_card(told, str(self.path))
        self.search_start = parse_start(told, self.card.text, str(self.path))
        produced = {output.name for output in model.graph.output}
        if missing := [name for name in OUTPUTS.values() if name not in produced]:
            raise UserError(
                f"{self.path} has no output {missing[0]}: export it again with this version"
            )
        self._check_shapes(model)
        self.has_bytes = has_bytes(model)  # whether weights are stored in 8 bits
        beside = sorted(locations(model.graph) - {self._file.name})
        self.files = [self._file, *(self.folder / name for name in beside)]
        self._stamps = self._stamped()

    def __repr__(self) -> str:
        return f"ClipOnnx({str(self.path)!r}, threads={self.threads}, provider={self.provider!r})"

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return self._file.parent

    def _check_shapes(self, model: ModelProto) -> None:
        """Raises UserError when the graph's fixed dimensions are not those of the card."""
        values = [*model.graph.input, *model.graph.output]
        shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
        card = self.card
        wanted = {
            "pixel_values": list(card.image.size),
            "ctx": [card.text.width],
            "image_features": [card.feature_dim],
            "text_features": [card.feature_dim],
            "token_embeddings": [card.text.width],
        }
        for name, dims in wanted.items():
            if shapes.get(name, [])[-len(dims) :] != dims:
                raise UserError(
                    f"{self.path} carries a card that does not fit its graph ({name}): "
                    "export it again"
                )

    def _load(self) -> ModelProto:
        """The graph without its weights. Only `__init__` looks through what it holds.

        After that the file is known not to have changed.
        """
        if not self._file.is_file():
            raise UserError(
                f"{self.path} does not exist: make it with `make export` on a workstation, "
                "or give another file",
                field="onnx",
            )
        if self._file.stat().st_size > MAX_GRAPH_BYTES:
            raise UserError(
                f"{self.path} is larger than an ONNX file can be (2 GB): weights of that size "
                "lie beside it. Export it again"
            )
        damaged = (
            f"{self.path} is not an ONNX file, or it is damaged: copy it again or export it anew"
        )
        try:
            with self.memory.kept(GRAPH_ROOM):
                model = read_graph(self._file)
        except Exception as error:  # protobuf's own errors, whose class depends on its backend
            raise UserError(damaged) from error
        if not model.graph.node:
            raise UserError(damaged)
        return model

    def _check_graph(self, model: ModelProto) -> None:
        """Raises UserError for what no export writes, and for weights that are not beside it."""
        try:
            check_model(model, self.folder)
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path} needs its weights in {error} beside it, in a file and no link: "
                f"copy that file to {self.folder} too"
            ) from error
        except ValueError as error:
            raise UserError(
                f"{self.path} is not what edge-sharpzo's export writes ({error}): not loaded. "
                "Copy it again or export it anew"
            ) from error

    @cached_property
    def sha256(self) -> str:
        """What identifies the model: SHA-256, in hex, over the SHA-256 of each of its files."""
        return self._hashed()

    def _hashed(self) -> str:
        digest = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        self._check_stamps()
        return digest.hexdigest()

    def _stamped(self) -> list[tuple[int, int, int]]:
        """What changes when one of the files does."""
        found = (file.stat() for file in self.files)
        return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found]

    def _check_stamps(self) -> None:
        """Raises UserError where a file was written, replaced or deleted since it was opened."""
        try:
            same = self._stamped() == self._stamps
        except OSError:
            same = False
        if not same:
            raise UserError(
                f"{self.path} changed while it was in use: let nobody write to it, and start again",
                field="onnx",
            )

    def check_unchanged(self) -> None:
        """Raises UserError where the model is not what it was when `sha256` was asked for.

        By contents: to be called before results are written that are said to be of this model.
        """
        if self._hashed() != self.sha256:
            raise UserError(f"{self.path} changed while it was in use: start again", field="onnx")

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself: card, tokenizer and learned start, as they are stored."""
        self._check_stamps()
        return _metadata(self._load())

    @property
    def file(self) -> "ClipOnnx":
        """The model's file here."""
        return self

    @property
    def image_engine(self) -> str:
        """See `Clip`. With less memory large photos are decoded to a part."""
        integers = " integers" if self.in_integers(Tower.IMAGE) else ""
        return f"{self.provider} {version('onnxruntime')} {self.memory.mb}{integers}"

    def in_integers(self, tower: Tower) -> bool:  # noqa: ARG002 - exports store all alike
        """See `Clip`: with weights in 8 bits, on a processor that sums their products exactly."""
        return self.has_bytes and sums_bytes_exactly()

    def session(self, tower: Tower, integer: bool = False) -> Session:
        """A session of one tower.

        Where the model's weights are stored in 8 bits, `integer` takes the products in integers:
        faster and less exact, see `onnx/integer.py`. Without it they are taken in float32.

        Raises UserError where the provider or the memory limit does not allow it.
        """
        from edge_sharpzo.clip.providers import CPU, open_session

        model = self.tower(tower, integer)
        weights = weight_bytes(model.graph)
        self.memory.require(weights, f"the {tower} tower")
        # The image tower's threads would wait actively on the core that decodes the next photos.
        active = tower != Tower.IMAGE
        session = Session(
            lambda: open_session(
                model, self.folder, self.provider, self.threads, wait_actively=active
            ),
            tower,
            self.path,
            weights,
            self.threads or usable_cores(),
            lambda feeds: self.output_shape(tower, feeds),
            self.memory if self.provider == CPU else PlannedLimit(self.memory.mb),
        )
        return_freed_memory()  # copies of the weights that only the opening needed
        return session

    def tower(self, name: Tower, integer: bool = False) -> ModelProto:
        """The graph of one tower, see `session`; its weights are external data in `folder`."""
        self._check_stamps()
        model = self._load()
        del model.metadata_props[:]  # the tokenizer, which a session would keep
        keep_output(model, OUTPUTS[name])
        if integer and sums_bytes_exactly():
            multiply_in_integers(model)
        return model


def _metadata(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}
