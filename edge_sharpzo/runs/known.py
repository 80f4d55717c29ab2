"""What "none of these" does on photos that were measured."""

from dataclasses import dataclass

from edge_sharpzo.system.text import percent


@dataclass(frozen=True)
class KnownRecord:
    """How many photos are known, and how many refused; shares are 0 to 1, None without photos."""

    keep: float  # the share of known photos that the threshold was to keep
    photos: int  # of the classes, left out in turn, that it was set by; 0: it could not be set
    kept: float | None  # of the held-out photos
    background: int  # background photos that were learnt from
    background_refused: float | None  # of them, each left out in its turn
    foreign: int  # photos of none of the classes that nothing was learnt of
    foreign_refused: float | None  # of them

    @property
    def passes(self) -> float:
        """The largest share of photos of none of the classes that pass, as far as was measured."""
        measured = (self.background_refused, self.foreign_refused)
        return max((1 - share for share in measured if share is not None), default=0.0)

    def told(self) -> list[str]:
        """Sentences for a person."""
        if not self.photos:
            return [
                '"none of these" cannot be told: too few photos to set its threshold by, or all '
                "alike. It takes eight that are not alone in their class, and twenty to be sure"
            ]
        parts = []
        if self.kept is not None:
            parts.append(
                f"{percent(1 - self.kept)} of the held-out photos are refused "
                f"({percent(1 - self.keep)} expected)"
            )
        if self.background_refused is not None:
            parts.append(
                f"of {self.background} background photos, each left out in its turn, "
                f"{percent(self.background_refused)}"
            )
        if self.foreign_refused is not None:
            parts.append(
                f"of {self.foreign} photos of none of the classes {percent(self.foreign_refused)}"
            )
        lines = [f'"none of these": {"; ".join(parts)}'] if parts else []
        if self.photos < 1 / (1 - self.keep) - 1:
            lines.append(
                f'"none of these" is set by {self.photos} photos alone, too few for its '
                f"{percent(self.keep)}: it may refuse many more of the classes' photos than "
                f"{percent(1 - self.keep)}"
            )
        return lines
