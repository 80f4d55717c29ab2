"""`python -m export`: CLIP in PyTorch -> `clip.onnx`, checked before success is reported."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Precision(StrEnum):
    """How weights are stored; computation is float32."""

    fp32 = "fp32"
    fp16 = "fp16"


@app.command()
def main(
    model: Annotated[str, typer.Option(help="open_clip model name, or local-dir:FOLDER")] = "local-dir:models/lite-clip",
    pretrained: Annotated[str, typer.Option(help="weights: one of the model's tags, or a file")] = "",
    out: Annotated[Path, typer.Option(help="file to write")] = Path("models/clip.onnx"),
    precision: Annotated[Precision, typer.Option(help="fp32 is exact; fp16 halves the file and moves features by up to 5e-3")] = Precision.fp32,
    photos: Annotated[Path | None, typer.Option(help="folder of photos for the check (default: the photos of conformal-clip-data)")] = None,
    random_weights: Annotated[bool, typer.Option(help="no weights at all: for tests and timing")] = False,
    list_models: Annotated[bool, typer.Option("--list", help="print open_clip's model names and their weights, and stop")] = False,
) -> None:
    """Exports an open_clip model so that prompts can be tuned without PyTorch."""
    import open_clip

    from export.convert import export, verify
    from export.source import ExportError, load_source

    if list_models:
        for name, tag in open_clip.list_pretrained():
            print(f"{name}  {tag}")
        return
    try:
        source = load_source(model, pretrained or None, random_weights_seed=0 if random_weights else None)
        files = export(source, out, precision.value)
    except ExportError as error:
        typer.echo(f"export: {error}", err=True)
        raise typer.Exit(2) from None
    failures = []
    try:
        agreements, same_class = verify(source, out, _photos(photos))
        for agreement in agreements:
            fits = agreement.holds(precision.value)
            print(f"  {'ok  ' if fits else 'FAIL'} {agreement.what}: max-abs {agreement.max_abs:.1e}, cosine {agreement.cosine:.7f}")
            failures += [] if fits else [agreement.what]
        print(f"  {'ok  ' if same_class else 'FAIL'} zero-shot prediction")
        failures += [] if same_class else ["zero-shot prediction"]
    except Exception:
        _delete(files)
        raise
    if failures:
        _delete(files)
        typer.echo(f"export: {out} does not agree with PyTorch ({', '.join(failures)}); deleted", err=True)
        raise typer.Exit(1)
    size = sum(f.stat().st_size for f in files) / 1e6
    print(f"wrote {' and '.join(str(f) for f in files)} ({size:.1f} MB)")


def _photos(folder: Path | None, count: int = 8) -> list[Path]:
    """Up to `count` photos spread over `folder`, or over the package conformal-clip-data."""
    if folder is None:
        spec = find_spec("conformal_clip_data")
        if spec is None or spec.origin is None:
            print("  no photos to check the image tower with: give --photos FOLDER, or pip install conformal-clip-data")
            return []
        folder = Path(spec.origin).parent
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not found:
        typer.echo(f"export: no photos (.jpg, .png) under {folder}: give another --photos", err=True)
        raise typer.Exit(2)
    return found[:: max(1, len(found) // count)][:count]


def _delete(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


if __name__ == "__main__":
    app()
