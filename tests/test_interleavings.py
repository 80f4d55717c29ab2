"""Runs, kills, copies and edits in any order on one folder: never a result that mixes.

Whatever came before, a run that ends well leaves what a run in an empty folder would have left on
the photos as they are then; anything else is refused.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import write_photos

import edge_sharpzo
from edge_sharpzo import UserError
from edge_sharpzo.runs.run_config import RunConfig
from edge_sharpzo.system.tensors import load_tensors

SEQUENCES = int(os.environ.get("EDGE_SHARPZO_SEQUENCES", "2"))
STEPS = 9
CLASSES = {"red": 0, "green": 90, "blue": 170}


class Killed(BaseException):
    """The process dies."""


class World:
    """One run folder, two folders of photos, and somebody who does anything with them."""

    def __init__(self, seed: int, onnx: Path, root: Path):
        self.rng, self.onnx, self.root = np.random.default_rng(seed), onnx, root
        self.out = root / "out"
        self.data = [root / "first", root / "second"]
        for number, data in enumerate(self.data):
            for name, hue in CLASSES.items():
                write_photos(data / name, hue, 7, seed=number)
        self.finished = self.refused = 0

    def step(self) -> None:
        actions = [self.tune, self.tune, self.resume, self.resume, self.overwrite, self.edit]
        actions += [self.add, self.remove, self.copy_run, self.mix_in, self.lose_file, self.move]
        actions[self.rng.integers(len(actions))]()

    def tune(self, **more: Any) -> None:
        options = {"shots": 3, "seed": int(self.rng.integers(2)), "budget": 120, **more}
        self._run(data=self.data[self.rng.integers(2)], out=self.out, **options)

    def overwrite(self) -> None:
        self.tune(overwrite=True)

    def resume(self) -> None:
        self._run(resume=self.out)

    def _run(self, **options: Any) -> None:
        """A run that dies at a random moment, or ends."""
        events, last = 0, self.rng.choice([1, 3, 25, 30, 45, *[10_000] * 4])

        def perhaps_die(_: object) -> None:
            nonlocal events
            events += 1
            if events >= last:
                raise Killed

        if "resume" not in options:
            options["onnx"] = self.onnx
        try:
            run = edge_sharpzo.tune(on_progress=perhaps_die, **options)
        except Killed:
            return
        except UserError:
            self.refused += 1
            return
        self.finished += 1
        self._check(run.folder)

    def _check(self, folder: Path) -> None:
        config = RunConfig.read(folder)
        given = config.options
        alone = self.root / f"alone-{self.finished}"
        edge_sharpzo.tune(
            given.data,
            onnx=given.onnx,
            out=alone,
            shots=given.shots,
            seed=given.seed,
            budget=given.budget,
        )
        for name in ("history.jsonl", "labels.txt", "classifier.onnx"):
            assert (folder / name).read_bytes() == (alone / name).read_bytes(), name
        tensors, other = (load_tensors(run / "prompt.safetensors")[0] for run in (folder, alone))
        assert all(np.array_equal(tensors[name], other[name]) for name in other)
        fresh = RunConfig.read(alone)
        assert config.tuned_on_sha256 == fresh.tuned_on_sha256
        assert config.held_out_sha256 == fresh.held_out_sha256

    def _photo(self) -> Path:
        files = sorted(self.data[self.rng.integers(2)].rglob("*.png"))
        return files[self.rng.integers(len(files))]

    def edit(self) -> None:
        file = self._photo()
        write_photos(file.parent, 40, 1, seed=int(self.rng.integers(1000)), start=500)
        (file.parent / "500.png").replace(file)

    def add(self) -> None:
        number = int(self.rng.integers(100, 400))
        write_photos(self._photo().parent, 40, 1, seed=number, start=number)

    def remove(self) -> None:
        file = self._photo()
        if len(list(file.parent.iterdir())) > 4:
            file.unlink()

    def move(self) -> None:
        """The photos are elsewhere, or are back."""
        here, there = self.data[0], self.root / "moved"
        if there.exists():
            there.rename(here)
        else:
            here.rename(there)
            shutil.copytree(there, here)
            shutil.rmtree(there)

    def copy_run(self) -> None:
        """A copy of the run's folder is put in its place, or kept for `mix_in`."""
        if self.out.exists():
            shutil.rmtree(self.root / "kept", ignore_errors=True)
            shutil.copytree(self.out, self.root / "kept")

    def mix_in(self) -> None:
        """One file of another state of the folder."""
        kept = self.root / "kept"
        files = sorted(kept.iterdir()) if kept.exists() else []
        if files and self.out.exists():
            shutil.copy(files[self.rng.integers(len(files))], self.out)

    def lose_file(self) -> None:
        files = sorted(self.out.iterdir()) if self.out.exists() else []
        if files:
            files[self.rng.integers(len(files))].unlink()


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_no_order_of_things_mixes_two_runs(
    seed: int, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sharpzo.runs.checkpoint.EVERY", 0.0)
    world = World(seed, tiny_onnx, tmp_path)
    for _ in range(STEPS):
        world.step()
    world.tune(overwrite=True)
    world.resume()
