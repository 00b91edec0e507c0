"""The cascade's constants, in one place, each with its unit and why it is what it is.

*Chances and prices share one unit*: signs right. A price of 0.03 says that asking must put at least 3 of 100 such signs
right to be worth it.

The base prices are chosen by measurement: on the calibration part of the traces, with `wayword-sim bench cascade
--choose`, so that at most a fifth of the signs are escalated with either recogniser. Everything else is judgement:
there is no measurement of what a second or a joule is worth to a wearer. `wayword-sim bench decisions` shows what
follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from phone.cascade.inputs import Recogniser


@dataclass(frozen=True, slots=True)
class Policy:
    """The cascade's constants.

    Attributes:
        help_reading_tiny: without an estimate of the metamodel: chance that the cloud reads a text that the phone's
            tiny recogniser read wrongly: the cloud has the small one, which reads half of what tiny misses.
        help_reading_small: the same where the phone used the small recogniser, and the cloud has little to add.
        help_script: the same for a script that the phone's recogniser does not know; also with an estimate, where the
            picture shows which. Judgement: of rendered lines in such scripts that the cloud's ensemble shows, about
            four in ten are exactly right (``docs/models/ensemble.md``); what of that it translates is not measured.
        help_small_text: the same for letters too small to read; nobody reads those.
        help_translation: chance that the cloud translates a text that the phone translated wrongly or not at all.
        help_language: the same where the language is not clear: the cloud has no more to go by than the phone.
        base_price_small: what asking about a reading of the small recogniser must be worth, with all else free: a
            picture of the street leaves the phone, a label that the wearer is reading may change, and the cloud's work
            is not free either. The one knob by which the share of signs escalated is set.
        base_price_tiny: the same for the tiny recogniser, of whose readings the cloud would improve many more: at the
            other's price most of its signs would leave the phone.
        base_price_unjudged: the same for a reading without an estimate of the metamodel, whatever read it: the hand-set
            chances are coarser, and were set with this price.
        uncertified_factor: of the base price for a reading that the risk certificate does not cover: nothing vouches
            for it, so less of a gain is enough.
        certified_factor: the same for one that it covers: kept unless the gain is clear.
        slow_factor: of the base price while link and cloud are slow: the wearer has mostly read the phone's answer, and
            moved on, by the time the cloud's comes.
        price_per_second: of waiting for an answer that then replaces the one on show.
        price_per_budget: of spending all of what may still leave today, where bytes cost money; a call pays for its
            share, so that bytes get dearer as the budget empties.
        unmetered_share: of `price_per_budget` where bytes are free: the budget also bounds what leaves the phone.
        price_per_joule: with a full battery. A call that wakes an LTE radio takes 13 J, 1/4000 of a phone's battery
            (about 55 kJ), and shall then cost 1 of 100 signs. With the share `level` left it costs 1 / level as much:
            as if every halving of what is left were equally bad.
        saving_factor: of the price of energy while the battery is being saved.
        warm_factor: of the price of energy while the phone is warm: sending warms it further, and a hot phone slows
            the reading down.
        unknown_battery_percent: assumed where the battery does not say, or says something impossible.
        save_below_percent, save_until_percent: the battery is saved from below the one until above the other.
        lowest_battery_percent, awake_from_percent: nothing is escalated from below the one until the other is reached.
        slow_seconds: link and cloud are slow when nine calls in ten take no less than this.
        slow_leave: share of `slow_seconds` below which they are quick again.
        unknown_late_factor: nine calls in ten are assumed to take no more than so many times the expected time where
            that is not known.
        longest_hold_seconds: an escalation waits no longer for an open radio.
        least_hold_seconds: nor is it held for less.
    """

    help_reading_tiny: float = 0.5
    help_reading_small: float = 0.25
    help_script: float = 0.4
    help_small_text: float = 0.02
    help_translation: float = 0.2
    help_language: float = 0.02
    base_price_small: float = 0.015
    base_price_tiny: float = 0.22
    base_price_unjudged: float = 0.03
    uncertified_factor: float = 0.5
    certified_factor: float = 2.0
    slow_factor: float = 2.0
    price_per_second: float = 0.01
    price_per_budget: float = 1.0
    unmetered_share: float = 0.25
    price_per_joule: float = 0.00075
    saving_factor: float = 2.0
    warm_factor: float = 2.0
    unknown_battery_percent: int = 50
    save_below_percent: int = 15
    save_until_percent: int = 20
    lowest_battery_percent: int = 5
    awake_from_percent: int = 8
    slow_seconds: float = 6.0
    slow_leave: float = 0.7
    unknown_late_factor: float = 2.0
    longest_hold_seconds: float = 8.0
    least_hold_seconds: float = 0.5

    def base_price(self, recogniser: Recogniser, *, judged: bool) -> float:
        """What asking about a reading of this recogniser must be worth.

        Args:
            recogniser: that read it.
            judged: whether the metamodel estimated its chances.
        """
        if not judged:
            return self.base_price_unjudged
        return self.base_price_tiny if recogniser is Recogniser.TINY else self.base_price_small

    def __post_init__(self) -> None:
        # A better reading must never make escalation more attractive: the hand-set chances are monotone only so.
        with_reading = min(self.help_reading_tiny, self.help_reading_small, self.help_script)
        if not self.help_language <= self.help_translation <= with_reading:
            raise ValueError("the cloud must help most with the reading, and least with the language")
        if not 0 <= self.uncertified_factor <= 1 <= self.certified_factor:
            raise ValueError("a certificate must make asking less attractive, not more")
        # Equal thresholds would flap, reversed ones would never settle.
        if not (
            self.save_below_percent < self.save_until_percent
            and self.lowest_battery_percent < self.awake_from_percent
            and 0 < self.slow_leave < 1
        ):
            raise ValueError("a state must be left later than it is entered")
