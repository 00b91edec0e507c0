"""Labels on the display change seldom and softly, and never stay where no sign is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from glasses.overlay import Label, LabelStyle
from glasses.stabiliser import PoseState
from glasses.steadying import SteadyLabels, same_words
from shared.geometry import Quad

QUAD: Quad = np.array([[30, 20], [70, 20], [70, 28], [30, 28]], np.float32)
FRAME_S = 1 / 30
FADE_S, HOLD_S, CROSS_S = 0.5, 0.8, 0.25
TRACKED, PREDICTED, LOST = PoseState.TRACKED, PoseState.PREDICTED, PoseState.LOST


def _label(text: str = "Exit", style: LabelStyle = LabelStyle.PROVISIONAL, **fields: object) -> Label:
    values: dict[str, object] = {
        "key": (1, 0),
        "quad": QUAD,
        "text_height": 8.0,
        "text": text,
        "style": style,
        "background": np.zeros(3),
    }
    return Label(**(values | fields))  # type: ignore[arg-type]


class Watch:
    """A display looked at frame by frame."""

    def __init__(self) -> None:
        self.steady = SteadyLabels(fade_s=FADE_S, hold_s=HOLD_S, cross_fade_s=CROSS_S)
        self.now = 100.0
        self.texts: list[str] = []

    def see(self, label: Label | None, seconds: float = FRAME_S) -> list[Label]:
        """What is drawn in each of the frames of so many seconds."""
        seen = []
        for _ in range(max(1, round(seconds / FRAME_S))):
            self.now += FRAME_S
            drawn, changes = self.steady.update([] if label is None else [label], self.now)
            self.texts += [change.text for change in changes]
            seen += drawn
        return seen


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_a_label_comes_softly_and_soon(watch: Watch) -> None:
    strengths = [label.strength for label in watch.see(_label(), 0.5)]
    assert 0 < strengths[0] < 0.5
    assert strengths == sorted(strengths)
    assert strengths[6] == 1.0


@pytest.mark.parametrize("before", ["tracked", "predicted"])
def test_a_lost_label_fades_steadily_and_is_gone_in_time(watch: Watch, before: str) -> None:
    watch.see(_label(), 1.0)
    if before == "predicted":
        watch.see(_label(state=PREDICTED), 0.4)
    start = watch.see(_label(state=PREDICTED if before == "predicted" else TRACKED))[-1].strength
    strengths = [start] + [label.strength for label in watch.see(_label(state=LOST), FADE_S + FRAME_S)]
    assert strengths == sorted(strengths, reverse=True)
    assert max(a - b for a, b in pairwise(strengths)) < 0.1
    assert strengths[-1] == 0.0


def test_a_label_is_gone_in_time_when_frames_are_missing(watch: Watch) -> None:
    watch.see(_label(), 1.0)
    watch.see(_label(state=LOST))
    watch.now += FADE_S
    assert watch.see(_label(state=LOST))[-1].strength == 0.0


def test_a_place_that_stays_predicted_is_drawn_weaker_and_weaker(watch: Watch) -> None:
    watch.see(_label(), 1.0)
    strengths = [label.strength for label in watch.see(_label(state=PREDICTED), 2.0)]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[2] == 1.0
    assert 0.2 < strengths[round(0.8 / FRAME_S)] < 0.8
    assert strengths[-1] == 0.0


@pytest.mark.parametrize("other", [LOST, PREDICTED])
@pytest.mark.parametrize("gap", [1, 2])
def test_nothing_blinks_when_a_sign_is_found_and_lost_in_turn(watch: Watch, other: PoseState, gap: int) -> None:
    watch.see(_label(), 1.0)
    strengths = []
    for _ in range(30):
        strengths += [label.strength for label in watch.see(_label(state=other), gap * FRAME_S)]
        strengths += [label.strength for label in watch.see(_label())]
    assert min(strengths) > 0.95


def test_a_doubtful_pose_is_drawn_weaker_and_does_not_flutter(watch: Watch) -> None:
    watch.see(_label(), 1.0)
    assert watch.see(_label(quality=0.4), 1.0)[-1].strength == pytest.approx(0.6)
    strengths = [watch.see(_label(quality=q))[-1].strength for q in (0.55, 0.45) * 10]
    assert len(set(strengths)) == 1
    assert watch.see(_label(quality=0.9), 1.0)[-1].strength == 1.0
    strengths = [watch.see(_label(quality=q))[-1].strength for q in (0.55, 0.52) * 10]
    assert set(strengths) == {1.0}


def test_a_pose_of_no_known_quality_is_doubted(watch: Watch) -> None:
    assert watch.see(_label(quality=float("nan")), 1.0)[-1].strength == pytest.approx(0.6)


def test_a_sign_that_was_never_found_is_not_drawn(watch: Watch) -> None:
    assert watch.see(_label(state=LOST), 0.3) == []


def test_time_that_jumps_back_changes_nothing(watch: Watch) -> None:
    watch.see(_label(), 1.0)
    watch.now -= 50
    (label,) = watch.see(_label())
    assert label.strength == 1.0
    assert 0 <= label.mix <= 1


@pytest.mark.parametrize("refined", ["Exit", "EXIT", "exit.", " Exit! ", "Ｅｘｉｔ", "“Exit”"])
def test_the_letters_stay_when_the_refined_text_says_the_same(watch: Watch, refined: str) -> None:
    before = watch.see(_label(), 1.5)[-1]
    after = watch.see(_label(refined, LabelStyle.SETTLED), 1.5)
    assert {(label.text, label.previous, label.mix) for label in after} == {("Exit", "", 1.0)}
    assert before.style is LabelStyle.PROVISIONAL
    assert {label.style for label in after} == {LabelStyle.SETTLED}
    assert watch.texts == ["Exit"]


@pytest.mark.parametrize(("first", "second"), [("5%", "5"), ("-5", "5"), ("Exit", "Exits"), ("no entry", "noentry")])
def test_what_changes_the_meaning_is_another_text(first: str, second: str) -> None:
    assert not same_words(first, second)


def test_a_better_text_comes_once_in_one_soft_change(watch: Watch) -> None:
    watch.see(_label(), 1.5)
    seen = watch.see(_label("Way out", LabelStyle.SETTLED), 1.5)
    mixes = [label.mix for label in seen]
    assert mixes == sorted(mixes)
    assert 0.0 < mixes[0] < 0.2
    assert mixes[-1] == 1.0
    assert 6 <= sum(mix < 1 for mix in mixes) <= 9  # a quarter of a second
    assert all((label.previous, label.text) == ("Exit", "Way out") for label in seen if label.mix < 1)
    assert watch.texts == ["Exit", "Way out"]


def test_a_better_text_waits_until_the_first_could_be_read(watch: Watch) -> None:
    watch.see(_label(), 0.2)
    seen = watch.see(_label("Way out", LabelStyle.SETTLED), 2.0)
    waiting = [label for label in seen if label.text == "Exit"]
    assert len(waiting) == pytest.approx((HOLD_S + CROSS_S - 0.2) / FRAME_S, abs=2)
    # The outline belongs to the text it is around.
    assert {label.style for label in waiting} == {LabelStyle.PROVISIONAL}


def test_where_frames_are_rare_a_text_is_whole_at_once_and_still_has_its_time(watch: Watch) -> None:
    watch.see(_label())
    watch.now += 2.0
    (label,) = watch.see(_label("Way out"))
    assert (label.text, label.mix) == ("Way out", 1.0)
    (label,) = watch.see(_label("Way in"))
    assert label.text == "Way out"


def test_of_several_better_texts_in_a_short_time_only_the_last_is_seen(watch: Watch) -> None:
    watch.see(_label(), 0.2)
    watch.see(_label("Way in"), 0.2)
    watch.see(_label("Way out", LabelStyle.SETTLED), 2.0)
    assert watch.texts == ["Exit", "Way out"]


def test_a_translation_that_is_withdrawn_gives_way_to_the_sign(watch: Watch) -> None:
    watch.see(_label(), 1.5)
    seen = watch.see(_label("", LabelStyle.UNCHANGED), 1.0)
    assert seen[0].parts[0][0] == "Exit"
    assert seen[-1].parts == ()


def test_a_label_that_is_gone_is_forgotten(watch: Watch) -> None:
    watch.see(_label(), 1.0)
    watch.see(None)
    (label,) = watch.see(_label())
    assert label.strength < 0.5
