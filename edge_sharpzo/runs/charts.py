"""Line charts as SVG text, drawn in the colours of the page around them.

Labels are escaped here, since the page takes a chart as it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from edge_sharpzo.system.text import shown

WIDTH, HEIGHT = 480, 240  # a phone shows it at nearly this size
LEFT, RIGHT, TOP, BOTTOM = 44, 16, 26, 36  # margins
BARS = 30  # of a histogram


@dataclass(frozen=True)
class Line:
    """One curve; points without a y are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float | None]


Points = list[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]  # from values to the picture


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    marks: Sequence[tuple[float, str]] = (),
    percent: bool = False,
) -> str:
    """An SVG element with `lines` and a legend; empty if no line has two points.

    `marks` are labelled dashed verticals. Line n takes the class `line-n`, whose colour the page
    sets.
    """
    drawn = [(index, line, _points(line)) for index, line in enumerate(lines)]
    drawn = [entry for entry in drawn if len(entry[2]) > 1]
    if not drawn:
        return ""
    xs = [x for *_, points in drawn for x, _ in points]
    ys = [y for *_, points in drawn for _, y in points]
    x_ticks = _ticks(min(0, *xs), max([max(xs), *(x for x, _ in marks)]))
    y_ticks = _ticks(0 if percent else min(0, *ys), max(*ys, 1e-9))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    named = " and ".join(line.label for _, line, _ in drawn)
    label = f"{named} against {x_label}"
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(label)}">']
    parts += _axes(x_ticks, y_ticks, place, percent)
    middle = (WIDTH + LEFT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{_text(x_label)}</text>'
    )
    parts += _marks(marks, place)
    for index, _, points in drawn:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline class="line-{index}" points="{path}"/>')
    for column, (index, line, _) in enumerate(drawn):
        x = LEFT + 140 * column
        parts.append(f'<line class="line-{index}" x1="{x}" x2="{x + 20}" y1="8" y2="8"/>')
        parts.append(f'<text x="{x + 26}" y="12">{_text(line.label)}</text>')
    return "".join([*parts, "</svg>"])


def histogram(heaps: Mapping[str, np.ndarray], x_label: str, mark: tuple[float, str]) -> str:
    """An SVG element of how the values [N] of each heap lie, in percent; empty without values.

    Each is a stepped line with its label, as by `line_chart`; the bins are common to all.
    """
    full = {label: values for label, values in heaps.items() if len(values)}
    if not full:
        return ""
    every = np.concatenate(list(full.values()))
    # What lies far out counts as lying at the edge.
    low, high = np.quantile(every, [0.01, 0.99])
    edges = np.linspace(min(low, mark[0] - 1), max(high, mark[0] + 1), BARS + 1)
    lines = []
    for label, values in full.items():
        shares = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
        steps = np.repeat(edges, 2)[1:-1].tolist(), np.repeat(shares, 2).tolist()
        lines.append(Line(label, *steps))
    return line_chart(lines, x_label, [mark], percent=True)


def _text(label: object) -> str:
    """A label, which may come out of a checkpoint that anybody has written, as text of the page."""
    return escape(shown(str(label)))


def _points(line: Line) -> Points:
    pairs = zip(line.x, line.y, strict=True)
    return [(x, y) for x, y in pairs if y is not None and np.isfinite(y)]


def _axes(x_ticks: np.ndarray, y_ticks: np.ndarray, place: Place, percent: bool) -> list[str]:
    """Grid lines and their labels."""
    parts = []
    for y in y_ticks:
        (x0, level), (x1, _) = place(x_ticks[0], y), place(x_ticks[-1], y)
        said = f"{100 * y:.0f} %" if percent else f"{y:g}"
        parts.append(
            f'<line class="grid" x1="{x0:.1f}" x2="{x1:.1f}" y1="{level:.1f}" y2="{level:.1f}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{said}</text>')
    for x in x_ticks:
        at, below = place(x, 0)[0], HEIGHT - BOTTOM + 15
        parts.append(f'<text x="{at:.1f}" y="{below}" text-anchor="middle">{_number(x)}</text>')
    return parts


def _number(x: float) -> str:
    return f"{x:,.0f}" if x == round(x) else f"{x:g}"


def _marks(marks: Sequence[tuple[float, str]], place: Place) -> list[str]:
    parts = []
    for x, label in marks:
        at = place(x, 0)[0]
        line = f'x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        parts.append(f'<line class="mark" {line}/>')
        parts.append(f'<text class="mark" x="{at + 4:.1f}" y="{TOP + 8}">{_text(label)}</text>')
    return parts


def _ticks(low: float, high: float) -> np.ndarray:
    """About five round numbers from at or below `low` to at or above `high`."""
    span = max(high - low, 1e-12)
    unit = 10.0 ** np.floor(np.log10(span / 4))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if span / (unit * factor) <= 5)
    return np.round(np.arange(np.floor(low / step), np.ceil(high / step - 1e-9) + 1) * step, 12)
