"""A graph read without its weights is the one that onnx reads; so is one written with them."""

import contextlib
from pathlib import Path

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edge_sharpzo.clip.onnx.graph_file import LARGE, read_graph, write_graph


def test_it_reads_what_onnx_reads(tiny_onnx: Path) -> None:
    ours, theirs = read_graph(tiny_onnx), onnx.load(tiny_onnx)
    outside = [
        tensor
        for tensor in ours.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    assert len(outside) > 5
    assert ours.ByteSize() < theirs.ByteSize() / 2
    assert all(len(tensor.raw_data) < LARGE for tensor in ours.graph.initializer)
    onnx.load_external_data_for_model(ours, str(tiny_onnx.parent))
    for tensor in [*ours.graph.initializer, *theirs.graph.initializer]:
        tensor.ClearField("data_location")
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )


def test_what_it_writes_onnx_reads(tiny_onnx: Path, tmp_path: Path) -> None:
    write_graph(read_graph(tiny_onnx), tiny_onnx.parent, tmp_path / "copy.onnx")
    ours, theirs = onnx.load(tmp_path / "copy.onnx"), onnx.load(tiny_onnx)
    onnx.checker.check_model(ours, full_check=True)
    weights = [
        {t.name: numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}
        for model in (ours, theirs)
    ]
    assert weights[0] == weights[1]
    for model in (ours, theirs):
        del model.graph.initializer[:]
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
        deterministic=True
    )


def test_a_file_cut_short_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    whole = tiny_onnx.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        with pytest.raises((ValueError, DecodeError)):
            read_graph(tmp_path / "cut.onnx")


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_model_are_refused_or_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(data)
    with contextlib.suppress(ValueError, DecodeError):
        read_graph(tmp_path / "noise.onnx")
