"""The loss scale of fp16."""

from trainer.optim.loss_scale import LARGEST_SCALE, LossScale
from trainer.settings.precision import LossScaleSettings


def test_it_is_doubled_after_a_calm_time_and_halved_at_an_overflow() -> None:
    scale = LossScale(LossScaleSettings(initial=1024.0, growth_steps=3))
    for _ in range(2):
        scale.stayed_finite()
    assert scale.scale == 1024.0
    scale.stayed_finite()
    assert scale.scale == 2048.0
    scale.stayed_finite()
    scale.stayed_finite()
    scale.overflowed()
    assert scale.scale == 1024.0
    scale.stayed_finite()
    assert scale.scale == 1024.0, "an overflow begins the calm time anew"


def test_it_has_limits() -> None:
    scale = LossScale(LossScaleSettings(initial=4.0, minimum=1.0, growth_steps=1))
    course = []
    for _ in range(4):
        course.append((scale.scale, scale.is_smallest))
        scale.overflowed()
    assert course == [(4.0, False), (2.0, False), (1.0, True), (1.0, True)]
    for _ in range(100):
        scale.stayed_finite()
    assert scale.scale == LARGEST_SCALE


def test_a_checkpoint_holds_all_of_it() -> None:
    settings = LossScaleSettings(initial=64.0, growth_steps=3)
    one, other = LossScale(settings), LossScale(settings)
    one.overflowed()
    one.stayed_finite()
    other.load(one.state())
    for scale in (one, other):
        scale.stayed_finite()
        scale.stayed_finite()
    assert other.state() == one.state() == {"scale": 64.0, "calm_steps": 0}
