"""Tunes the embedded model on real photos of fabric, then classifies three that it has not seen.

The photos come from the package conformal-clip-data (textile inspection, MIT): fabric without
defects, with a local defect, with a global defect.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from conformal_clip_data import textile_simulated_root

CLASSES = {
    "nominal": "fabric without defects",
    "local": "fabric with a local defect",
    "global": "fabric with a global defect",
}
TRAIN, VALIDATION, HELD_OUT = 16, 4, 60  # photos per class


def edge_sharpzo(*arguments: object) -> None:
    """Runs the command as a user would, and shows it."""
    shown = " ".join(f"'{a}'" if " " in str(a) else str(a) for a in arguments)
    print(f"\n$ edge-sharpzo {shown}", flush=True)
    if code := subprocess.run(
        [sys.executable, "-m", "edge_sharpzo", *map(str, arguments)], check=False
    ).returncode:
        sys.exit(code)


def link_photos(root: Path) -> None:
    """Lays out train/, val/ and test/ with links to photos of the package, spread evenly."""
    for name in CLASSES:
        files = sorted((textile_simulated_root() / name).glob("*.jpg"))
        count = TRAIN + VALIDATION + HELD_OUT
        chosen = [files[i * len(files) // count] for i in range(count)]
        splits = ["train"] * TRAIN + ["val"] * VALIDATION + ["test"] * HELD_OUT
        for split, file in zip(splits, chosen, strict=True):
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file.name).symlink_to(file)


def main() -> None:
    """The demo."""
    with tempfile.TemporaryDirectory(prefix="edge-sharpzo-demo-") as folder:
        data, run = Path(folder) / "textile", Path("runs") / "demo"
        link_photos(data)
        names = Path(folder) / "names.txt"
        names.write_text("".join(f"{name} = {text}\n" for name, text in CLASSES.items()))
        photos = ("--data", data, "--class-names", names, "--template", "a photo of {}.")
        edge_sharpzo("tune", *photos, "--out", run, "--overwrite")
        edge_sharpzo(
            "predict", run, *[sorted((data / "test" / name).iterdir())[0] for name in CLASSES]
        )


if __name__ == "__main__":
    main()
