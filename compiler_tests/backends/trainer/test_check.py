import pytest

from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.errors import CODES, CompileError


@pytest.mark.parametrize(
    ("changes", "code", "message", "hint"),
    [
        (
            {"input": (3, 224, 224), "classes": 1000},
            "RD651",
            "it takes 3×224×224 images and tells 1000 classes apart",
            "input: {channels: 1, size: 8}",
        ),
        ({"batch_size": 1438}, "RD651", "a batch of 1438 is more than", "smaller `batch_size`"),
        (
            {"schedule": "milestones"},
            "RD652",
            "`milestones` has no milestones",
            "milestones: [20, 30]",
        ),
        (
            {"schedule": "milestones", "milestones": (30, 20)},
            "RD652",
            "30, 20 are not rising",
            "between 1 and 39",
        ),
        (
            {"schedule": "milestones", "milestones": (20, 40)},
            "RD652",
            "20, 40 are not rising",
            "in order",
        ),
        ({"epochs": 2}, "RD652", "a warm-up of 2 epochs", "smaller `warmup_epochs`"),
        ({"momentum": 0.0}, "RD652", "without momentum", "nesterov: false"),
        ({"shift": 8}, "RD652", "8 pixels", "below 8"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_a_hint(settings, changes, code, message, hint):
    with pytest.raises(CompileError) as caught:
        emit(settings(**changes))
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert code in CODES
    assert message in found.message
    assert found.hint is not None
    assert hint in found.hint


def test_all_findings_are_reported_together(settings):
    with pytest.raises(CompileError) as caught:
        emit(settings(input=(1, 9, 9), epochs=1, momentum=0.0))
    assert [found.code for found in caught.value.diagnostics] == ["RD651", "RD652", "RD652"]


@pytest.mark.parametrize("name", ["os; import evil", "a-b", ""])
def test_what_is_no_identifier_never_reaches_the_source(settings, name):
    with pytest.raises(ValueError, match="not an identifier"):
        emit(settings(name=name))
