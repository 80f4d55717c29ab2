"""Opens `clip.onnx`: its card, its tokenizer, and one onnxruntime session for each tower."""

import hashlib
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_sharpzo.card import TOKENIZER_KEY, ModelCard, parse_card
from edge_sharpzo.errors import UserError
from edge_sharpzo.graph_file import read_graph
from edge_sharpzo.integer import multiply_in_integers
from edge_sharpzo.machine import sums_bytes_exactly
from edge_sharpzo.memory import MemoryLimit, give_back
from edge_sharpzo.onnx_format import GraphProto, ModelProto, TensorProto

if TYPE_CHECKING:
    import onnxruntime

    from edge_sharpzo.prompts import Prompts

TOWERS = {"image": "image_features", "text": "text_features", "tokens": "token_embeddings"}  # tower -> its output

MAX_GRAPH_BYTES = 2**31  # what protobuf reads


class ClipOnnx:
    """An exported CLIP model.

    Each tower gets a session of its own that holds that tower's weights alone, so that tuning never keeps the
    image tower or the token table in memory.

    Raises UserError when the file is missing, is no ONNX, or was not made by edge-sharpzo's export.
    """

    def __init__(self, path: str | Path, threads: int = 0, provider: str = "CPUExecutionProvider", memory: MemoryLimit | None = None):
        """`threads` of a session, 0 for onnxruntime's choice; `provider` is onnxruntime's execution provider; `memory` a limit to keep."""
        self.path = Path(path)
        self._file = self.path.resolve()  # weights lie beside the file itself, not beside a link to it
        self.threads = threads
        self.provider = provider
        self.memory = memory or MemoryLimit()
        model = self._load()
        self.card: ModelCard = parse_card(_metadata(model), str(self.path))
        produced = {output.name for output in model.graph.output}
        if missing := [name for name in TOWERS.values() if name not in produced]:
            raise UserError(f"{self.path} has no output {missing[0]}: export it again with this version")
        self._check_shapes(model)
        external = {entry.value for tensor in model.graph.initializer for entry in tensor.external_data if entry.key == "location"}
        self._files = [self._file, *(self.folder / name for name in sorted(external - {self._file.name}))]

    @property
    def folder(self) -> Path:
        """Where the weights lie."""
        return self._file.parent

    def _check_shapes(self, model: ModelProto) -> None:
        """Raises UserError when the graph's fixed dimensions are not those of the card."""
        values = [*model.graph.input, *model.graph.output]
        shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in values}
        card = self.card
        wanted = {"pixel_values": list(card.image.size), "ctx": [card.text.width]}
        wanted |= {"image_features": [card.feature_dim], "text_features": [card.feature_dim], "token_embeddings": [card.text.width]}
        for name, dims in wanted.items():
            if shapes.get(name, [])[-len(dims) :] != dims:
                raise UserError(f"{self.path} carries a card that does not fit its graph ({name}): export it again")

    def _load(self) -> ModelProto:
        """The graph without its weights. The file is untrusted: only standard operators, no data outside its folder."""
        if not self.path.is_file():
            raise UserError(f"{self.path} does not exist: make it with `make export` on a workstation, or give another --onnx")
        if self.path.stat().st_size > MAX_GRAPH_BYTES:
            raise UserError(f"{self.path} is larger than an ONNX file can be (2 GB): weights of that size lie beside it. Export it again")
        try:
            model = read_graph(self._file)
        except Exception as error:  # protobuf's own errors, whose class depends on its backend
            raise UserError(f"{self.path} is not an ONNX file, or it is damaged: copy it again or export it anew") from error
        if not model.graph.node:
            raise UserError(f"{self.path} is not an ONNX file, or it is damaged: copy it again or export it anew")
        self._distrust(model)
        return model

    def _distrust(self, model: ModelProto) -> None:
        """Raises UserError for operators that are not ONNX's own and for weights outside the file's folder, at any depth."""
        if model.functions:
            raise UserError(f"{self.path} defines operators of its own ({model.functions[0].name}): not loaded")
        for graph in _graphs(model.graph):
            for node in graph.node:
                if node.domain not in ("", "ai.onnx"):
                    raise UserError(f"{self.path} uses the operator {node.domain}.{node.op_type}, which is not ONNX's own: not loaded")
            attributes = [attribute for node in graph.node for attribute in node.attribute]
            tensors = [*graph.initializer, *(a.t for a in attributes), *(tensor for a in attributes for tensor in a.tensors)]
            for entry in (entry for tensor in tensors for entry in tensor.external_data):
                if entry.key == "location" and (Path(entry.value).name != entry.value or not (self.folder / entry.value).is_file()):
                    raise UserError(f"{self.path} needs its weights in {entry.value} beside it: copy that file to {self.folder} too")

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file and of its external data, in hex."""
        digest = hashlib.sha256()
        for file in self._files:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    @cached_property
    def prompts(self) -> "Prompts":
        """The tokenizer."""
        from edge_sharpzo.prompts import Prompts

        text, tokenizer = self.card.text, _metadata(self._load())[TOKENIZER_KEY]
        try:
            return Prompts(tokenizer, text.clean, text.start, text.end, text.pad, text.context_length, text.words)
        except Exception as error:  # the tokenizers library raises bare Exception
            raise UserError(f"{self.path} carries a damaged tokenizer: export it again") from error

    def let_go(self) -> None:
        """Frees what is needed at the start alone, the tokenizer (40 MB); it comes back when asked for."""
        self.__dict__.pop("prompts", None)
        give_back()

    def encode_images(self, paths: Sequence[str | Path]) -> np.ndarray:
        """L2-normalised features [N, D], float32, of photos. Raises UserError for a photo that cannot be read."""
        from edge_sharpzo.features import encode_photos

        def refuse(path: Path, reason: str) -> None:
            raise UserError(f"cannot read {path}: {reason}")

        features, *_ = encode_photos(self, [Path(path) for path in paths], None, skipped=refuse)
        return features

    def session(self, tower: str, integer: bool = False) -> "onnxruntime.InferenceSession":
        """A session of one tower: `image`, `text` or `tokens`.

        Where the model's weights are stored in 8 bits, `integer` takes the products in integers: faster and less exact, see
        `integer.py`. Without it they are taken in float32.
        """
        import onnxruntime

        from edge_sharpzo.providers import options as provider_options

        onnxruntime.set_default_logger_severity(3)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.folder))
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")  # float32 inputs, or finite differences drown
        if tower == "image":  # its threads would wait actively on the core that decodes the next photos
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Shapes change between calls, so a plan of memory by shape would only grow.
        options.enable_mem_pattern = False
        if self.provider not in onnxruntime.get_available_providers():
            have = ", ".join(onnxruntime.get_available_providers())
            raise UserError(f"this onnxruntime has no provider '{self.provider}'. It has: {have}")
        model = self.tower(tower, integer)
        self.memory.require(weight_bytes(model.graph), f"the {tower} tower")
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[(self.provider, provider_options(self.provider))])
        except Exception as error:  # onnxruntime's exceptions share no base class
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"onnxruntime cannot open the {tower} tower of {self.path}: {reason}") from error
        if self.provider not in session.get_providers():
            raise UserError(f"onnxruntime fell back from {self.provider} to {session.get_providers()[0]}: use --provider cpu, or mend the driver")
        give_back()  # copies of the weights that only the opening needed
        return session

    def tower(self, name: str, integer: bool = False) -> ModelProto:
        """The graph of one tower, see `session`; its weights are external data in `folder`."""
        model = self._load()
        del model.metadata_props[:]  # the tokenizer, which a session would keep
        _keep_output(model, TOWERS[name])
        if integer and sums_bytes_exactly():
            multiply_in_integers(model)
        return model

    def token_embeddings(self, ids: list[int]) -> np.ndarray:
        """Rows of the token table [T, W], float32, without positions. The table is read and let go."""
        return self.session("tokens").run(None, {"token_ids": np.asarray(ids, np.int64)})[0]


def _metadata(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def weight_bytes(graph: GraphProto) -> int:
    """Memory that a session of `graph` takes for its large weights: float16 is computed with as float32."""
    stored = ((tensor.data_type, entry.value) for tensor in graph.initializer for entry in tensor.external_data if entry.key == "length")
    return sum(int(length) * (2 if kind == TensorProto.FLOAT16 else 1) for kind, length in stored)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _keep_output(model: ModelProto, output: str) -> None:
    """Cuts `model` down, in place, to what `output` needs."""
    graph = model.graph
    needed, used = {output}, set()
    for index in reversed(range(len(graph.node))):  # ONNX stores nodes in topological order
        if needed.intersection(graph.node[index].output):
            used.add(index)
            needed.update(graph.node[index].input)
    _drop(graph.node, lambda index, _: index not in used)
    _drop(graph.initializer, lambda _, tensor: tensor.name not in needed)
    _drop(graph.input, lambda _, value: value.name not in needed)
    _drop(graph.output, lambda _, value: value.name != output)
    del graph.value_info[:]


def _drop(items: MutableSequence[Any], unwanted: Callable[[int, Any], bool]) -> None:
    for index in reversed(range(len(items))):
        if unwanted(index, items[index]):
            del items[index]
