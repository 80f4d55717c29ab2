"""How far probabilities can be trusted: the expected calibration error of the classifier on
held-out photos. Can be stopped at any time and started again.

`python -m benchmarks.calibration --data DIR`; DIR holds the sets. Its runs are some of
`benchmarks.shots`, and lie in the same file.
"""

from statistics import mean

from benchmarks.accuracy import Cell, cell_options, read_results, run_missing, set_names
from benchmarks.shots import RESULTS, TUNED

SHOTS, BUDGETS = (16, 4, 2), (300, 5000)


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = cell_options(__doc__, RESULTS)
    options = parser.parse_args()
    sets = set_names(options.data)
    wanted = [
        Cell(TUNED, name, seed, budget, shots)
        for budget in BUDGETS
        for seed in options.seeds
        for shots in SHOTS
        for name in sets
    ]
    run_missing(wanted, options.data, options.onnx, options.out, options.workers)
    results = read_results(options.out)
    print(f"| shots | queries | {' | '.join(sets)} | mean |\n|{'---|' * (len(sets) + 3)}")
    for shots in SHOTS:
        for budget in BUDGETS:
            by_set = [
                mean(
                    entry["calibration_error"]
                    for cell, entry in results.items()
                    if cell.method == TUNED
                    and (cell.set, cell.budget, cell.shots) == (name, budget, shots)
                )
                for name in sets
            ]
            row = " | ".join(f"{error:.3f}" for error in (*by_set, mean(by_set)))
            print(f"| {shots} | {budget:,} | {row} |")


if __name__ == "__main__":
    main()
