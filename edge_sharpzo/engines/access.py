"""What a service can be used for, by what it takes and gives.

Tensors in, text features out: everything. Tensors in, scores out: methods that need no more than a
loss. Strings and images alone: no soft prompt, since there is nothing to put one in, but heads in
closed form.
"""

from enum import StrEnum

from edge_sharpzo.engines.address import Address
from edge_sharpzo.engines.served import Served
from edge_sharpzo.engines.transport import Transport, UnknownModelError
from edge_sharpzo.system.errors import UserError

_SCORES = {"losses", "loss", "logits", "scores"}


class Access(StrEnum):
    """What a service lets one do."""

    TENSORS = "tensors"  # context vectors in, text features out
    SCORES = "scores"  # context vectors in, losses or logits out
    STRINGS = "strings"  # texts and images in
    UNKNOWN = "unknown"


def access(inputs: dict[str, str], outputs: dict[str, str]) -> Access:
    """What a served model lets one do, by name -> type of its inputs and outputs."""
    if "ctx" in inputs and Served.TEXT.output in outputs:
        return Access.TENSORS
    if "FP32" in inputs.values() and _SCORES & outputs.keys():
        return Access.SCORES
    if "BYTES" in inputs.values():
        return Access.STRINGS
    return Access.UNKNOWN


class NoCardError(UserError):
    """A service does not say which model it is; the text tells what it is good for."""

    def __init__(self, text: str, lets_one_do: Access):
        super().__init__(text, field="engine")
        self.access = lets_one_do


_TOLD = {
    Access.TENSORS: "it takes context vectors, but does not say which model it is (there is no "
    "'{model}-card'): serve it with `make serve-model`, which writes that too",
    Access.SCORES: "it takes context vectors and gives scores, not text features, so `tune` can "
    "make no classifier of it. Methods that need no more than a loss can search with it from "
    "Python: see docs/service.md",
    Access.STRINGS: "it takes strings, so there is no place for context vectors and no prompt can "
    "be tuned with it: see docs/service.md",
    Access.UNKNOWN: "what it takes is nothing that a prompt is tuned with (inputs: {inputs}; "
    "outputs: {outputs}): serve a model with `make serve-model`",
}


def level_of(
    address: Address, transport: Transport, seconds: float, missing: UnknownModelError
) -> UserError:
    """What to tell of a service that has no card: what it is good for, or else that it `missing`.

    Raises FaultError where it does not answer.
    """
    for model in (address.model, f"{address.model}-{Served.TEXT}"):
        try:
            inputs, outputs = transport.tensors(model, seconds)
        except UnknownModelError:
            continue
        found = access(inputs, outputs)
        text = _TOLD[found].format(
            model=address.model, inputs=", ".join(inputs), outputs=", ".join(outputs)
        )
        return NoCardError(f"{address} serves '{model}', and {text}", found)
    return missing
