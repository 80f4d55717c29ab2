"""`config.json` and `summary.json`: what is written reads back, as does what 0.1.0 wrote."""

import json
import shutil
from pathlib import Path

import pytest

from edge_sharpzo import Classifier
from edge_sharpzo.runs.folder import resumed_options
from edge_sharpzo.runs.json_files import SCHEMA_VERSION
from edge_sharpzo.runs.records import Summary
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.system.errors import UserError
from edge_sharpzo.tuning.methods.plan import Preset


def as_before(run: Path, out: Path) -> Path:
    """The run as version 0.1.0 left it: no schema version, no engine, a head called `auto`."""
    shutil.copytree(run, out)
    for name in ("config.json", "summary.json"):
        record = json.loads((out / name).read_text())
        assert record.pop("schema_version") == SCHEMA_VERSION
        if name == "config.json":
            assert record["options"].pop("engine") == "local"
            record["options"]["head"] = "auto"
        (out / name).write_text(json.dumps(record))
    return out


def test_what_is_written_reads_back(finished_run: Path, tmp_path: Path) -> None:
    for kind in (RunConfig, Summary):
        record = kind.read(finished_run)
        record.write(tmp_path)
        assert kind.read(tmp_path) == record
    assert Summary.read(tmp_path).schema_version == SCHEMA_VERSION


def test_runs_of_the_first_version_still_read(finished_run: Path, tmp_path: Path) -> None:
    old = as_before(finished_run, tmp_path / "old")
    summary = Summary.read(old)
    assert summary.schema_version == 0
    assert summary.accuracy == Summary.read(finished_run).accuracy
    config = RunConfig.read(old)
    assert config.options.engine == "local"
    assert config.options.preset is Preset.DEFAULT
    assert config.options.checked().head == "auto"
    assert Classifier.load(old).labels == Classifier.load(finished_run).labels
    (old / "summary.json").unlink()
    assert resumed_options(old).out == old


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("summary.json", {"schema_version": 99}, "a newer version of edge-sharpzo wrote it"),
        ("summary.json", {"seed": "one"}, r"Expected 'int', got 'str' - at '\$.seed'"),
        ("summary.json", {"queries": {"total": 5}}, "missing required field 'by_kind'"),
        ("summary.json", {"accuracy": None}, r"Expected 'object', got 'null' - at '\$.accuracy'"),
        ("config.json", {"schema_version": 99}, "a newer version of edge-sharpzo wrote it"),
        ("config.json", {"tuned_on": [1]}, r"Expected 'str', got 'int' - at '\$.tuned_on\[0\]'"),
        ("config.json", {"options": {"preset": "fast"}}, "options lacks 'budget'"),
    ],
)
def test_what_does_not_fit_is_named(
    name: str, edit: dict[str, object], words: str, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    record = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps({**record, **edit}))
    kind = RunConfig if name == "config.json" else Summary
    with pytest.raises(UserError, match=words):
        kind.read(run)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"preset": "fast"}, "Invalid enum value 'fast'"),
        ({"shots": "one"}, r"Expected 'int', got 'str' - at '\$.options.shots'"),
        ({"budget": ...}, "options lacks 'budget'"),
        ({"minutes": ...}, "options lacks 'minutes'"),
    ],
)
def test_no_option_of_a_run_is_guessed(
    option: dict[str, object], words: str, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    record = json.loads((run / "config.json").read_text())
    options = {**record["options"], **option}
    kept = {name: value for name, value in options.items() if value is not ...}
    (run / "config.json").write_text(json.dumps({**record, "options": kept}))
    with pytest.raises(UserError, match=words):
        RunConfig.read(run)


def test_a_task_of_the_paper_that_an_old_run_noted_without_use_is_read(
    finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "summary.json").unlink()
    record = json.loads((run / "config.json").read_text())
    record["options"]["paper_task"] = "eurosat"
    (run / "config.json").write_text(json.dumps(record))
    options = resumed_options(run).checked()
    assert options.paper_task == "eurosat"
    with pytest.raises(UserError, match="goes with `preset=paper`"):
        options.check_new()


def test_numbers_that_json_lacks_are_null(finished_run: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    summary = Summary.read(finished_run)
    broken = replace(summary, loss=replace(summary.loss, start=float("nan"), end=float("inf")))
    broken.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["loss"] == {
        "start": None,
        "end": None,
    }
