"""What each part of the methods is worth: one setting changed at a time, as in the paper's Tables 6
and 7, and ours.

`python -m benchmarks.ablations --data DIR [--sets dtd10,clothing]`. It can be stopped and
continued, like `benchmarks.accuracy`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import (
    FROM_WORDS,
    Cell,
    cell_options,
    read_results,
    run_missing,
    table,
    titled,
)
from benchmarks.variants import (
    AdaptiveSearch,
    CentralGaussNewton,
    ClippedSearch,
    FlatGaussNewton,
    MeanShiftSharpness,
    OneSidedSharpness,
    OnlineScores,
    OrthonormalSearch,
)
from edge_sharpzo.classifier.fusion import standard_error
from edge_sharpzo.tuning.methods import sharpzo
from edge_sharpzo.tuning.methods.gauss_newton import CONTEXT_TOKENS, GaussNewton
from edge_sharpzo.tuning.methods.plan import Criterion, Plan, Request
from edge_sharpzo.tuning.methods.presets import DEFAULT
from edge_sharpzo.tuning.methods.protocol import Optimizer
from edge_sharpzo.tuning.methods.registry import plan
from edge_sharpzo.tuning.methods.sharpzo import SharpZO
from edge_sharpzo.tuning.start import Start

RESULTS = Path("benchmarks/results/ablations.jsonl")
SHARPZO_BUDGET, GAUSS_NEWTON_BUDGET = 15_000, 5_000
# Of coordinates, from the point [d] and the gradient [d].
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Variant:
    """A method with one thing changed."""

    method: str
    changes: dict[str, Any] = field(default_factory=dict)  # of its settings
    context_tokens: int | None = None
    criterion: Criterion | None = None  # None: as the method has it
    score: Score | None = None  # in place of SharpZO's pruning score
    form: Callable[..., Optimizer] | None = None  # a class in place of the method's own
    start: Start = Start.WORDS

    @property
    def budget(self) -> int:
        return SHARPZO_BUDGET if self.method == "sharpzo" else GAUSS_NEWTON_BUDGET

    @property
    def unchanged(self) -> str:
        """What it is compared with."""
        return FROM_WORDS if self.method == "gauss-newton" else self.method

    def plan(self, budget: int) -> Plan:
        """The plan to run; a pruning score of the variant's own takes effect in this process."""
        chosen = plan(self.method, Request(budget=budget, start=self.start))
        if self.criterion is not None:
            chosen = replace(chosen, criterion=self.criterion)
        if self.method == "gauss-newton":
            settings = replace(chosen.settings, **self.changes)
            newton = self.form or GaussNewton
            return replace(
                chosen,
                settings=settings,
                make=lambda dim, loss, seed, difference=0.0: newton(dim, loss, settings, seed),
            )
        if score := self.score:
            sharpzo.pruning_mask = lambda point, gradient, ratio: sharpzo.keep_best(
                score(point, gradient), ratio
            )
        changed = replace(DEFAULT.settings, **self.changes)
        form = self.form or SharpZO
        return replace(
            chosen,
            settings=changed,
            make=lambda dim, loss, seed, difference=0.0: form(dim, changed, seed),
        )


VARIANTS: dict[str, Variant] = {
    "sharpzo": Variant("sharpzo"),
    "sharpzo from a learned start": Variant(
        "sharpzo", context_tokens=CONTEXT_TOKENS, start=Start.LEARNED
    ),
    **{f"sharpzo rho={rho}": Variant("sharpzo", {"rho": rho}) for rho in (0.0, 1.0, 2.0, 8.0)},
    **{
        f"sharpzo sharpness every {k}": Variant("sharpzo", {"sharpness_every": k}) for k in (10, 30)
    },
    "sharpzo without warm-up": Variant("sharpzo", {"change_point": 0}),
    "sharpzo without search": Variant("sharpzo", {"change_point": DEFAULT.settings.steps}),
    **{
        f"sharpzo pruned {r}": Variant("sharpzo", {"pruning_ratio": r})
        for r in (0.0, 0.1, 0.3, 0.7, 0.9)
    },
    "sharpzo pruned by weight": Variant("sharpzo", score=lambda point, gradient: np.abs(point)),
    "sharpzo pruned by gradient": Variant(
        "sharpzo", score=lambda point, gradient: np.abs(gradient)
    ),
    "sharpzo pruned by weight times gradient": Variant(
        "sharpzo", score=lambda point, gradient: np.abs(point * gradient)
    ),
    "sharpzo one-sided sharpness": Variant("sharpzo", form=OneSidedSharpness),
    "sharpzo sharpness from the mean's shift": Variant(
        "sharpzo", {"sharpness_every": 10**9}, form=MeanShiftSharpness
    ),
    "sharpzo orthonormal search": Variant("sharpzo", form=OrthonormalSearch),
    "sharpzo orthonormal clipped": Variant("sharpzo", form=ClippedSearch),
    **{
        f"sharpzo orthonormal R-AdaZO {r}": Variant(
            "sharpzo", {"learning_rate": r}, form=AdaptiveSearch
        )
        for r in (0.05, 0.2, 0.8)
    },
    "sharpzo without early stop": Variant("sharpzo", criterion=Criterion.TRAINING),
    "sharpzo scores kept online": Variant("sharpzo", {"mask_every": 200}, form=OnlineScores),
    FROM_WORDS: Variant("gauss-newton"),
    "gauss-newton": Variant("gauss-newton", start=Start.LEARNED),
    "gauss-newton with early stop": Variant("gauss-newton", criterion=Criterion.VALIDATION),
    "gauss-newton central m=8": Variant("gauss-newton", {"directions": 8}, form=CentralGaussNewton),
    "gauss-newton central": Variant("gauss-newton", form=CentralGaussNewton),
    "gauss-newton with a flatness term": Variant("gauss-newton", form=FlatGaussNewton),
    **{f"gauss-newton m={m}": Variant("gauss-newton", {"directions": m}) for m in (4, 8, 32, 64)},
    **{f"gauss-newton window={n}": Variant("gauss-newton", {"window": n}) for n in (16, 64, 256)},
    **{f"gauss-newton damping={d}": Variant("gauss-newton", {"damping": d}) for d in (1e-5, 1e-1)},
    **{
        f"gauss-newton context={n}": Variant("gauss-newton", context_tokens=n)
        for n in (1, 2, 4, 16)
    },
}


def differences(results: dict[Cell, dict[str, Any]]) -> str:
    """Held-out accuracy less that of the unchanged method on the same photos, in points: mean and
    standard error over the runs.

    As Markdown.
    """
    lines = ["| variant | runs | difference |", "|---|---|---|"]
    for shots in sorted({cell.shots for cell in results}, reverse=True):
        for name, variant in VARIANTS.items():
            pairs = (
                (cell, replace(cell, method=variant.unchanged))
                for cell in results
                if (cell.method, cell.shots) == (name, shots)
            )
            points = [
                100 * (results[cell]["held_out"] - results[base]["held_out"])
                for cell, base in pairs
                if base in results
            ]
            if name != variant.unchanged and len(points) > 1:
                lines.append(
                    f"| {titled(name, shots)} | {len(points)} | {np.mean(points):+.1f} ± "
                    f"{standard_error(np.array(points)):.1f} |"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs what is missing and writes the tables."""
    parser = cell_options(__doc__, RESULTS)
    parser.add_argument("--sets", default="dtd10,clothing")
    parser.add_argument("--variants", help="comma-separated; all if not given")
    options = parser.parse_args()
    names = options.variants.split(",") if options.variants else list(VARIANTS)
    wanted = (
        Cell(name, folder, seed, VARIANTS[name].budget, shots)
        for name in names
        for shots in options.shots
        for seed in options.seeds
        for folder in options.sets.split(",")
    )
    run_missing(wanted, options.data, options.onnx, options.out, options.workers)
    results = read_results(options.out)
    against = f"Against the unchanged method, run by run:\n\n{differences(results)}"
    text = f"{table(results, list(VARIANTS))}\n{against}"
    options.out.with_suffix(".md").write_text(text, encoding="utf8")
    print(text)


if __name__ == "__main__":
    main()
