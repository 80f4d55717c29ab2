"""The few-shot draw: which photos are learnt from, which validate, which are held out."""

from dataclasses import dataclass, field

import numpy as np

from edge_sharpzo.photos.found import POOL, TEST, VAL, Found
from edge_sharpzo.photos.shots import ALL_SHOTS, SHOTS_CURE
from edge_sharpzo.system.errors import UserError

MAX_VALIDATION_SHOTS = 4  # CoOp: min(shots, 4) validation photos per class
# Of its shots a class gives at most one in this many to validation.
SHOTS_PER_VALIDATION = 4
KEPT_APART = 5  # of ALL_SHOTS one in so many of a class is held out, where that makes LEAST_KEPT
LEAST_KEPT = 3


@dataclass(frozen=True)
class Draw:
    """Indices into the photos that were found, by use."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    borrowed: np.ndarray  # which validation photos are some of a class's shots [len(val)], bool
    notes: list[str] = field(default_factory=list)

    def uses(self, photos: int) -> np.ndarray:
        """Of each photo that was found [N]: POOL for training, VAL, TEST, or -1 for none."""
        uses = np.full(photos, -1)
        for use, places in ((POOL, self.train), (VAL, self.val), (TEST, self.test)):
            uses[places] = use
        return uses


def draw_shots(found: Found, usable: np.ndarray, shots: int, seed: int) -> Draw:
    """Draws `shots` photos per class from those that are `usable` [N], bool.

    Validation: `val/` where it exists, else min(shots, 4) other photos per class; a class too
    small for both gives up to a quarter of its photos. A class with fewer photos than shots takes
    what it has. Test: `test/`, else all photos left over. The draw depends on `seed`,
    the class and its sorted file names alone.

    `shots` of ALL_SHOTS are a class's photos but for a fifth, which is left over for the test; all,
    where there is a `test/`, or a fifth is fewer than three.

    Each class but those without photos has a usable one. Raises UserError for shots below zero.
    """
    if shots < ALL_SHOTS:
        raise UserError(f"`shots={shots}`: {SHOTS_CURE}", field="shots")
    labels, of_part = found.photos.labels, [usable & (found.parts == p) for p in (POOL, VAL, TEST)]
    own_val, own_test = (np.flatnonzero(part) for part in of_part[1:])
    train, val, test, borrowed, small = [], [], [], [], []
    for label, name in enumerate(found.folders[: found.learnt]):
        photos = np.flatnonzero(of_part[POOL] & (labels == label))
        key = [seed, *name.encode(errors="surrogateescape")]
        drawn = photos[np.random.default_rng(key).permutation(len(photos))]
        apart = _kept_apart(len(photos)) if shots == ALL_SHOTS and not len(own_test) else 0
        left = len(photos) - apart
        mine = left if shots == ALL_SHOTS else shots
        n_val = 0 if len(own_val) else _for_validation(left, mine)
        n_train = min(mine, left - n_val)
        train += drawn[:n_train].tolist()
        val += drawn[n_train : n_train + n_val].tolist()
        test += drawn[n_train + n_val :].tolist()
        borrowed += [index < mine for index in range(n_train, n_train + n_val)]
        if len(photos) < mine:
            small.append((name, len(photos)))
    held_out = own_test if len(own_test) else np.array(test, int)
    few = {found.folders[labels[i]] for i, mine in zip(val, borrowed, strict=True) if mine}
    untested = [name for k, name in enumerate(found.folders) if k not in labels[held_out]]
    return Draw(
        train=np.array(train, int),
        val=own_val if len(own_val) else np.array(val, int),
        test=held_out,
        borrowed=np.zeros(len(own_val), bool) if len(own_val) else np.array(borrowed, bool),
        notes=[
            *_notes(small, len(few - {name for name, _ in small}), found.learnt, shots),
            *_too_few_note(len(train), found.learnt),
            *missing_note("held-out photos", untested, len(found.folders)),
            *(
                f"no photo of the {split} folder can be used: it counts as not there"
                for part, split, own in ((VAL, "val", own_val), (TEST, "test", own_test))
                if (found.parts == part).any() and not len(own)
            ),
        ],
    )


def more_classes(number: int) -> str:
    """What follows the classes that are named; nothing where there are no others."""
    return f" and {number} more class{'es' if number > 1 else ''}" if number > 0 else ""


def missing_note(what: str, missing: list[str], classes: int) -> list[str]:
    """What to tell of an accuracy that some classes have no part in; nothing if all do, or none."""
    if not 0 < len(missing) < classes:
        return []
    more = more_classes(len(missing) - 5)
    named = ", ".join(f"'{name}'" for name in missing[:5])
    return [f"no {what} of {named}{more}: the accuracy is that of the other classes"]


def _too_few_note(photos: int, classes: int) -> list[str]:
    """A warning where `photos` to learn from are one for most of the `classes`."""
    if photos >= 1.5 * classes:
        return []
    return [
        "one photo per class to learn from may make things worse than the template as written, and "
        'the bound of "not sure" is poorly founded: learn from more'
    ]


def _kept_apart(photos: int) -> int:
    """How many of a class's photos no shots are drawn from, where these are ALL_SHOTS."""
    share = photos // KEPT_APART
    return share if share >= LEAST_KEPT else 0


def _for_validation(photos: int, shots: int) -> int:
    """How many of a class's photos validate."""
    spare = max(photos - shots, photos // SHOTS_PER_VALIDATION)
    return min(shots, MAX_VALIDATION_SHOTS, spare)


def _notes(small: list[tuple[str, int]], few: int, classes: int, shots: int) -> list[str]:
    """What the user should know of the draw; `few` classes validate on some of their shots."""
    notes = []
    if small:
        named = ", ".join(f"'{name}' has {photos}" for name, photos in small[:3])
        more = more_classes(len(small) - 3)
        notes.append(
            f"fewer photos than {shots} shots: {named}{more}; such a class takes all it has"
        )
    if few and shots != ALL_SHOTS:
        notes.append(
            f"{few} of {classes} classes have no photos beyond their {shots} shots: "
            "validation takes some of these"
        )
    return notes
