"""What may hurt among labelled photos: suspect labels, near-duplicates, classes read badly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from edge_sharpzo.classifier.suspects import judged
from edge_sharpzo.classifier.wanting import wanting
from edge_sharpzo.photos.found import Photos
from edge_sharpzo.system.text import counted, percent, shown

EXAMPLES = 5  # groups of near-duplicates that a summary names
NAMED = 5  # suspects, or groups, in the last lines of `tune`


@dataclass(frozen=True)
class Suspect:
    """A photo whose label the others contradict."""

    photo: str  # its path, as `shown`
    label: str  # folders of classes
    looks_like: str
    probability: float  # of that class, calibrated
    probability_of_label: float

    def told(self) -> str:
        """One line for a person."""
        return (
            f"{self.photo}: in '{self.label}', looks like '{self.looks_like}' "
            f"({percent(self.probability)}, its own {percent(self.probability_of_label)})"
        )


@dataclass(frozen=True)
class DuplicateGroup:
    """Photos that are nearly the same."""

    photos: list[str]
    across: bool  # they lie in different splits

    def told(self) -> str:
        """One line for a person."""
        return " ~ ".join(self.photos) + ("  (in different splits)" if self.across else "")


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of photos that are nearly the same."""

    groups: int
    photos: int  # in these groups
    across: int  # groups that lie in different splits
    examples: list[DuplicateGroup]  # those first that do

    @classmethod
    def among(
        cls,
        photos: Photos,
        groups: Sequence[Sequence[int]],
        uses: np.ndarray,
        most: int | None = EXAMPLES,
    ) -> Self:
        """Of `groups` of indices into `photos`, by the split of each photo [N]; -1 is in none.

        At most so many examples, all of them where that is None.
        """
        found = [used for group in groups if len(used := [i for i in group if uses[i] >= 0]) > 1]
        told = [
            DuplicateGroup(
                [shown(str(photos.paths[i])) for i in group], len({int(uses[i]) for i in group}) > 1
            )
            for group in found
        ]
        told.sort(key=lambda group: not group.across)
        across = sum(group.across for group in told)
        return cls(len(found), sum(map(len, found)), across, told[:most])

    def told(self) -> str:
        """One sentence for a person; empty where there are none."""
        if not self.groups:
            return ""
        many = f"{self.photos} photos are nearly the same as others ({_groups(self.groups)})"
        if not self.across:
            return f"{many}; tune with `drop_duplicates` to keep one of each"
        lie = "lies" if self.across == 1 else "lie"
        return (
            f"{many}; {_groups(self.across)} {lie} in different splits, which flatters accuracy; "
            "tune with `drop_duplicates` to keep one of each"
        )


@dataclass(frozen=True)
class PhotoCheck:
    """What is found of the photos that a run was tuned on, and of near-duplicates in all splits."""

    suspects: list[Suspect]  # the most suspicious first
    near_duplicates: NearDuplicates
    wants_photos: str | None  # the class that more photos would help most; None: cannot be told

    @classmethod
    def of(
        cls,
        photos: Photos,
        features: np.ndarray,
        text: np.ndarray,
        folders: Sequence[str],
        near_duplicates: NearDuplicates,
    ) -> Self:
        """Of labelled photos with image features [N, D] and the template's text features [K, D]."""
        judgement = judged(features, photos.labels, text)
        looks_like, probabilities = judgement.looks_like(), judgement.probabilities
        suspects = [
            Suspect(
                photo=shown(str(photos.paths[i])),
                label=folders[photos.labels[i]],
                looks_like=folders[looks_like[i]],
                probability=round(float(probabilities[i, looks_like[i]]), 4),
                probability_of_label=round(float(probabilities[i, photos.labels[i]]), 4),
            )
            for i in judgement.suspects()
        ]
        wants = wanting(judgement)
        return cls(suspects, near_duplicates, None if wants is None else folders[wants])

    def told(self, most: int | None = NAMED) -> Iterator[str]:
        """Lines for a person, with at most so many suspects and groups; none where all is well."""
        if self.suspects:
            look = "looks" if len(self.suspects) == 1 else "look"
            photos = counted(len(self.suspects), "photo")
            yield f"{photos} {look} like another class, see to the labels:"
            yield from (f"  {suspect.told()}" for suspect in self.suspects[:most])
            yield from _more(len(self.suspects[:most]), len(self.suspects))
        if many := self.near_duplicates.told():
            examples = self.near_duplicates.examples[:most]
            yield f"{many}:"
            yield from (f"  {group.told()}" for group in examples)
            yield from _more(len(examples), self.near_duplicates.groups)
        if self.wants_photos:
            yield f"more photos of '{self.wants_photos}' would help most"


def _more(told: int, there_are: int) -> Iterator[str]:
    if there_are > told:
        yield f"  and {there_are - told} more"


def _groups(number: int) -> str:
    return "1 group" if number == 1 else f"{number:,} groups"
