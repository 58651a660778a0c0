"""The `train` section: a recipe from the library, values of one's own, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from resnet_dsl.language.fields import Model

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]


class Training(Model):
    """What is written here wins over the recipe; every value must come from one of the two."""

    recipe: str | None = None
    data: Literal["digits", "fake"] | None = None
    epochs: Positive | None = None
    batch_size: Positive | None = None
    optimiser: Literal["sgd", "adamw"] | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    momentum: Rate | None = None
    nesterov: bool | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    decay_norms: bool | None = None
    schedule: Literal["cosine", "milestones", "constant"] | None = None
    milestones: list[Positive] | None = None
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None
    warmup_epochs: Annotated[int, Field(ge=0)] | None = None
    label_smoothing: Rate | None = None
    shift: Annotated[int, Field(ge=0)] | None = None
    seed: Annotated[int, Field(ge=0)] | None = None
    threads: Positive | None = None
    bf16: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        return {"recipe": value} if isinstance(value, str) else value

    def over(self, recipe: Mapping[str, object]) -> dict[str, object]:
        """This section's values over a recipe's."""
        own = self.model_dump(exclude_none=True, exclude={"recipe"})
        return {**recipe, **own}
