"""The part of a picture that is looked at."""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from edge_sharpzo.system.errors import UserError


class OutsideError(Exception):
    """A picture does not hold the whole region; the text says both sizes."""


@dataclass(frozen=True)
class Region:
    """A rectangle in pixels; x and y count from the upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The region that `X,Y,W,H` says. Raises UserError."""
        match = re.fullmatch(
            r"\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", text
        )
        region = cls(*map(int, match.groups())) if match else None
        if region is None or not (region.width and region.height):
            raise UserError(
                f"`region={text[:80]}`: give four whole numbers of pixels X,Y,W,H, the corner and "
                "the size, such as 0,0,640,480",
                field="region",
            )
        return region

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """That part of a picture [H, W, 3]. Raises OutsideError."""
        height, width = picture.shape[:2]
        right, bottom = self.x + self.width, self.y + self.height
        if right > width or bottom > height:
            raise OutsideError(
                f"it reaches to {right} x {bottom} pixels, and the picture has {width} x {height}"
            )
        return picture[self.y : bottom, self.x : right]
