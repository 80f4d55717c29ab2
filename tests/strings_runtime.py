"""MLServer's runtime of an embedding service: strings in, features out; see `servers.py`."""

import io
from pathlib import Path

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from PIL import Image

from edge_sharpzo.clip import ClipOnnx


class Texts(MLModel):
    """`text`, BYTES [N], to `embedding`, FP32 [N, D]."""

    async def load(self) -> bool:
        """Opens the model file that the settings name."""
        assert self.settings.parameters is not None
        self._clip = ClipOnnx(Path(str(self.settings.parameters.uri)))
        self._tower = self._clip.image_tower()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One feature for each string."""
        output = NumpyCodec.encode_output("embedding", self._features(payload))
        return InferenceResponse(model_name=self.name, outputs=[output])

    def _features(self, payload: InferenceRequest) -> np.ndarray:
        texts = StringCodec.decode_input(payload.inputs[0])
        return self._clip.written_features(self._clip.prompts.as_written(texts, "{}"))


class Photos(Texts):
    """`file`, BYTES [N], to `embedding`, FP32 [N, D]."""

    def _features(self, payload: InferenceRequest) -> np.ndarray:
        files = payload.inputs[0].data
        photos = [Image.open(io.BytesIO(file)) for file in getattr(files, "root", files)]
        return self._tower.encode_all(photos)
