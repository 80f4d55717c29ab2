"""The second step where no prompt can be tuned: the template stays as it is."""

import time
from collections import Counter

import numpy as np

from edge_sharpzo.events import Listener, SolutionSeen
from edge_sharpzo.photos.labelled import Split
from edge_sharpzo.pipeline.prepare import Prepared, check_classes
from edge_sharpzo.pipeline.search import Found, Searched
from edge_sharpzo.tuning.loss import accuracy, cross_entropy
from edge_sharpzo.tuning.records import START, Best, LoopState, Outcome, Record, StopReason


def no_search(prepared: Prepared, listen: Listener) -> Searched:
    """What a search would give that ends where it starts, without a query.

    Raises UserError for two classes that the model cannot tell apart.
    """
    task, splits, began = prepared.task, prepared.splits, time.monotonic()
    card = task.clip.card
    as_written = task.clip.written_features(task.template_rows)
    check_classes(task.found, as_written)
    text = as_written[: task.found.learnt]

    def loss(photos: Split) -> float:
        return float(cross_entropy(text[None], *photos, card.logit_scale)[0])

    record = Record(
        queries=0,
        step=0,
        stage=START,
        loss=loss(splits.train),
        val_accuracy=accuracy(text, *splits.val),
        val_loss=loss(splits.val) if len(splits.val.labels) else None,
        best=False,
    )
    listen(SolutionSeen(record))
    state = LoopState([record], Best(np.zeros(0), text, record), {})
    nothing = np.zeros((0, card.text.width), np.float32)
    return Searched(
        Found(nothing, text, text, as_written),
        Outcome(state, StopReason.FINISHED),
        Counter(),
        seconds=time.monotonic() - began,
        earlier=0.0,
    )
