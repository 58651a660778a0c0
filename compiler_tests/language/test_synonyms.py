"""Suggestions by meaning."""

from typing import get_args

import pytest

from resnet_dsl.language.body import ACTIVATIONS, OPERATIONS
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.synonyms import SYNONYMS, hint_for
from resnet_dsl.language.training import Training

KNOWN = {*ACTIVATIONS, *OPERATIONS, *Spec.model_fields, *Training.model_fields}
KNOWN |= {"batch", "group", "width", "depth"}
CHOICES = {
    choice for field in Training.model_fields.values() for choice in get_args(field.annotation)
}
KNOWN |= {choice for choice in CHOICES if isinstance(choice, str)}


@pytest.mark.parametrize(("word", "meant"), SYNONYMS.items())
def test_every_synonym_leads_to_a_word_of_the_language(word: str, meant: str) -> None:
    assert meant in KNOWN
    assert hint_for(word, KNOWN) == f"did you mean `{meant}`?"


def test_a_synonym_of_something_that_cannot_stand_here_is_not_offered() -> None:
    assert hint_for("swish", {"relu", "gelu"}) is None
