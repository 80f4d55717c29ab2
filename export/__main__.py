"""`python -m export`: CLIP in PyTorch -> `clip.onnx`, checked before success is reported."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Precision(StrEnum):
    """How weights are stored."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


class Activation(StrEnum):
    """The non-linearity in the towers' blocks."""

    gelu = "gelu"
    quickgelu = "quickgelu"


@app.command()
def main(
    model: Annotated[
        str, typer.Option(help="open_clip model name, or local-dir:FOLDER")
    ] = "local-dir:models/lite-clip",
    pretrained: Annotated[
        str, typer.Option(help="weights: one of the model's tags, or a file")
    ] = "",
    activation: Annotated[
        Activation | None,
        typer.Option(
            help="what a weights file was trained with; OpenAI's: quickgelu, most others: gelu",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="file to write")] = Path("models/clip.onnx"),
    precision: Annotated[
        Precision,
        typer.Option(
            help="fp32 is exact; fp16 halves the file; int8 quarters file and memory, and encodes "
            "photos faster"
        ),
    ] = Precision.fp32,
    search_space: Annotated[
        bool,
        typer.Option(
            "--search-space/--no-search-space",
            help="learn a start for the search on the device: minutes here, fewer queries there",
        ),
    ] = True,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="folder of photos for the check (default: the photos of conformal-clip-data)"
        ),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option(help="no weights at all: for tests and timing")
    ] = False,
    list_models: Annotated[
        bool,
        typer.Option("--list", help="print open_clip's model names and their weights, and stop"),
    ] = False,
) -> None:
    """Exports an open_clip model so that prompts can be tuned without PyTorch."""
    import open_clip

    from export.convert import export, verify
    from export.source import ExportError, load_source
    from export.workspace import workspace

    if list_models:
        for name, tag in open_clip.list_pretrained():
            print(f"{name}  {tag}")
        return
    pictures = _photos(photos, count=200 if precision is Precision.int8 else 8)
    out.parent.mkdir(parents=True, exist_ok=True)
    with workspace(out.parent) as folder:
        try:
            source = load_source(
                model,
                pretrained or None,
                activation,
                random_weights_seed=0 if random_weights else None,
            )
            files = export(source, folder / out.name, precision.value, search_space)
        except ExportError as error:
            typer.echo(f"export: {error}", err=True)
            raise typer.Exit(2) from None
        agreements, zero_shot = verify(source, files[0], pictures or _noise(folder))
        checks = [*(agreement.check(precision.value) for agreement in agreements), zero_shot]
        for check in checks:
            print(f"  {'ok  ' if check.holds else 'FAIL'} {check.what}")
        if not all(check.holds for check in checks):
            typer.echo(
                f"export: the ONNX file does not agree with PyTorch; {out} was not written",
                err=True,
            )
            raise typer.Exit(1)
        size = sum(file.stat().st_size for file in files) / 1e6
        for file in reversed(files):  # the weights first: the graph without them would be broken
            file.replace(out.parent / file.name)
    print(f"wrote {' and '.join(str(out.parent / file.name) for file in files)} ({size:.1f} MB)")


def _photos(folder: Path | None, count: int) -> list[Path]:
    """Up to `count` photos spread over `folder`, or over the package conformal-clip-data."""
    if folder is None:
        spec = find_spec("conformal_clip_data")
        if spec is None or spec.origin is None:
            print(
                "  no photos for the check, noise instead: give --photos FOLDER, or pip install "
                "conformal-clip-data"
            )
            return []
        folder = Path(spec.origin).parent
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        typer.echo(
            f"export: no photos (.jpg, .png) under {folder}: give another --photos", err=True
        )
        raise typer.Exit(2)
    return found[:: max(1, len(found) // count)][:count]


def _noise(folder: Path, count: int = 4) -> list[Path]:
    """Seeded noise pictures, for a check without photos."""
    rng = np.random.default_rng(0)
    files = [folder / f"noise{i}.png" for i in range(count)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8)).save(file)
    return files


if __name__ == "__main__":
    app()
