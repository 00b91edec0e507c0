"""The table of decisions covers what it says, and none of its decisions surprises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from phone.cascade.decision import Action, Rule
from phone.cascade.policies import for_every_recogniser, policy_named
from shared.errors import StorageError, UsageError
from simulations.bench.decisions import (
    BATTERIES,
    CERTIFICATE,
    LINKS,
    PRIVACY,
    SIGNS,
    Link,
    conditions,
    decide,
    other_circumstances,
    table_of_sign,
)
from simulations.cli import main

POLICY = policy_named("cascade", certificates=for_every_recogniser(CERTIFICATE))
UP = LINKS[:3]


def cells(privacy: str, links: tuple[Link, ...] = LINKS) -> Iterator[tuple[str, Action, Rule, int, str]]:
    for name, signals in SIGNS.items():
        for battery in BATTERIES:
            for link in links:
                decision = decide(POLICY, signals, conditions(link, battery=battery, privacy=privacy))
                yield name, decision.action, decision.rule, battery, link.name


def test_nothing_is_asked_without_the_wearers_leave() -> None:
    assert {rule for _, _, rule, _, _ in cells("never")} == {Rule.NEVER}
    assert {rule for _, _, rule, _, _ in cells("ask, consent not given")} == {Rule.CONSENT}
    assert list(cells("ask, consent given")) == list(cells("allow"))


def test_the_sure_and_the_unreadable_are_kept_everywhere_and_the_reason_tells_them_apart() -> None:
    rules = {(name, rule) for name, _, rule, _, _ in cells("allow", UP) if name in {"sure", "unreadable"}}
    assert rules == {("sure", Rule.SURE), ("unreadable", Rule.HOPELESS)}


def test_a_link_that_is_down_keeps_everything() -> None:
    assert {rule for _, _, rule, _, _ in cells("allow", LINKS[3:])} == {Rule.LATE, Rule.NO_NETWORK}


def test_the_emptier_the_battery_the_less_is_asked() -> None:
    """An unsure sign is asked about, then held for company; a doubtful one is given up in the end."""
    actions = {
        (name, battery, link): action
        for name, action, _, battery, link in cells("allow", UP)
        if name in {"doubtful", "unsure"}
    }
    for link in UP:
        assert actions["unsure", 100, link.name] is actions["unsure", 20, link.name] is Action.ESCALATE
        assert actions["unsure", 5, link.name] is Action.HOLD
        assert actions["doubtful", 100, link.name] is Action.ESCALATE
        assert actions["doubtful", 20, link.name] is Action.HOLD
    assert actions["doubtful", 5, "5 kB/s"] is Action.KEEP


def test_what_is_the_same_under_all_circumstances_is_one_row_and_nothing_is_lost() -> None:
    rows = table_of_sign("unsure", POLICY).rows
    assert [row.circumstances[0] for row in rows[:2]] == ["never", "ask, consent not given"]
    assert all(row.circumstances[1:] == ("any", "any") for row in rows[:2])
    # Three batteries by three rates, and two ways of being down, for consent and leave alike.
    assert len(rows) == 2 + 9 + 2
    assert {mode for row in rows for mode in row.circumstances[0].split("; ")} == set(PRIVACY)


def test_every_other_circumstance_is_decided_by_what_is_different() -> None:
    rules = {row.circumstances[1]: row.decision.rule for row in other_circumstances(POLICY).rows}
    expected = {
        "a hot phone": Rule.HOT,
        "battery 4 %": Rule.BATTERY,
        "battery 4 %, charging": Rule.UNSURE,
        "20 kB of today's budget left, mobile data": Rule.DEAR,
        "today's budget spent": Rule.BUDGET,
        "a hotel's sign-in page": Rule.NO_NETWORK,
        "the cloud is down": Rule.CLOUD_DOWN,
        "the cloud's pace is not a number": Rule.FALLBACK,
        "it says “Dra. Ana Costa”": Rule.PRIVATE,
        "it says “Saída”": Rule.UNSURE,
        "neither it nor the recogniser says a number": Rule.FALLBACK,
    }
    assert {what: rules[what] for what in expected} == expected


def test_every_decision_is_explained_in_one_line() -> None:
    tables = [*(table_of_sign(name, POLICY) for name in SIGNS), other_circumstances(POLICY)]
    for table in tables:
        for row in table.rows:
            assert 5 < len(row.decision.reason) < 240
            assert "\n" not in row.decision.reason


def test_the_command_prints_or_writes_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "decisions"]) == 0
    printed = capsys.readouterr().out
    markdown, page = tmp_path / "decisions.md", tmp_path / "decisions.html"
    assert main(["bench", "decisions", "--out", str(markdown)]) == 0
    assert main(["bench", "decisions", "--out", str(page)]) == 0
    assert markdown.read_text() == printed.rstrip("\n") + "\n"
    assert page.read_text().count("<tr class=") == printed.count("\n| ") - printed.count("\n|---")
    assert "http" not in page.read_text()


def test_a_page_of_another_kind_or_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write decisions\.pdf"):
        main(["bench", "decisions", "--out", str(tmp_path / "decisions.pdf")])
    with pytest.raises(StorageError, match="cannot write"):
        main(["bench", "decisions", "--out", str(tmp_path / "nowhere" / "decisions.md")])
