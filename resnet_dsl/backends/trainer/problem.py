"""What is wrong with training settings, before it is known where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding about one setting. RD651: the data do not fit the network; RD652: settings do not hold together."""

    setting: str
    message: str
    why: str | None = None
    hint: str | None = None
    code: Literal["RD651", "RD652"] = "RD652"
