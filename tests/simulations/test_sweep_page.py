"""The page of a sweep says what its results say, in one file, the same way every time, and only what they can bear."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from synthetic_sweep import DESIGNS, synthetic_results
from synthetic_traces import synthetic_traces

from shared.errors import InputError, StorageError, UsageError
from simulations.cli import main
from simulations.energy.registry import CONSTANTS
from simulations.sweep.arms import Design
from simulations.sweep.document import parse_sweep, read_sweep
from simulations.sweep.grid import Grid
from simulations.sweep.measures import ADDED_JOULES, DESIGN_TITLES, PICTURES, QUALITY, UP_BYTES
from simulations.sweep.page import sweep_page, write_page
from simulations.sweep.page_sensitivity import in_play, one_at_a_time, outcomes
from simulations.sweep.results import canonical, rounded
from simulations.sweep.summary import Slice, spread
from simulations.sweep.swings import chosen, swing_runs

SMALL: Final[Mapping[str, Any]] = {"samples": 6, "networks": ("day", "offline")}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return synthetic_results(**SMALL)


@pytest.fixture(scope="module")
def page(results: dict[str, Any]) -> str:
    return sweep_page(results)


def parsed(page: str) -> ElementTree.Element:
    """The page as XML: stricter than any browser."""
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def words(page: str) -> str:
    return " ".join(
        text
        for element in parsed(page).iter()
        for text in (None if element.tag == "style" else element.text, element.tail)
        if text and not text.isspace()
    )


def test_the_page_is_well_formed_and_names_every_design_and_network(page: str) -> None:
    said = words(page)
    assert len(DESIGNS) == 7
    assert {title for title in (DESIGN_TITLES[design] for design in DESIGNS) if title not in said} == set()
    assert {f"Network: {name}" for name in SMALL["networks"]} <= set(re.findall(r"Network: \w+", said))


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    root = parsed(page)
    assert not list(root.iter("script"))
    links = [element.attrib[name] for element in root.iter() for name in ("href", "src") if name in element.attrib]
    assert links
    assert all(link.startswith("#") for link in links)
    anchors = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    assert {link[1:] for link in links} <= anchors
    assert "prefers-color-scheme: dark" in page


def test_equal_results_give_equal_bytes_before_and_after_a_file(
    results: dict[str, Any], page: str, tmp_path: Path
) -> None:
    again = sweep_page(synthetic_results(**SMALL))
    assert again == page
    written = write_page(tmp_path, results).read_bytes()
    (tmp_path / "results.json").write_bytes(canonical(results))
    assert sweep_page(read_sweep(tmp_path / "results.json")).encode() == written


def test_the_command_draws_the_page_anew_from_a_file(
    results: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = tmp_path / "results.json", tmp_path / "new" / "folder"
    file.write_bytes(canonical(results))
    assert main(["sweep", "--page", str(file), "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").read_text(encoding="utf-8") == sweep_page(rounded(results))
    with pytest.raises(UsageError, match="--page needs a folder"):
        main(["sweep", "--page", str(file)])
    with pytest.raises(StorageError, match="cannot write"):
        write_page(file, results)


def test_no_number_is_missing_its_meaning(page: str) -> None:
    said = words(page)
    assert not re.search(r"\b([Nn]a[Nn]|inf|[Ii]nfinity|None|null)\b", said)
    numbers = re.findall(r"\b(?:points|d|x|y|width|height|cx|cy)=\"([^\"]*)\"", page)
    assert numbers
    assert not any("nan" in number or "inf" in number for number in numbers)


def test_names_are_escaped(results: dict[str, Any]) -> None:
    hostile = copy.deepcopy(results)
    for run in [*hostile["runs"], *hostile["swings"]]:
        if run["arm"]["design"] == "table":
            run["arm"]["design"] = '<script>"&'
        run["arm"]["city"] = "a<b>&c"
    hostile["traces"]["packs"] = {"<img src=x>": "1 & 2"}
    page = sweep_page(hostile)
    assert "<script" not in page
    assert "<img" not in page
    assert '<script>"&' in words(page)


def test_one_run_with_nominal_constants_is_enough_for_a_page_that_says_so(results: dict[str, Any]) -> None:
    bare = synthetic_results(samples=0, networks=("lte",), swung=False)
    for key in ("ranges", "counts", "cascade", "ocr_runs_per_charge", "speeds"):
        del bare[key]
    bare["runs"] = [run for run in bare["runs"] if run["arm"]["policy"] in ("", "cascade")]
    said = words(sweep_page(bare))
    assert "at their nominal values" in said
    assert "Run the sweep with more samples" in said
    assert "no cascade curves" in said
    lone = {**bare, "runs": bare["runs"][:1]}
    assert "all on glasses" in words(sweep_page(lone))


def test_a_design_that_could_not_run_is_named_with_the_reason(results: dict[str, Any]) -> None:
    refused = copy.deepcopy(results)
    for run in refused["runs"]:
        if run["arm"]["design"] == "glasses":
            run["why_not"], run["metrics"] = "these glasses cannot hold a model", {}
    assert "glasses-xr, these glasses cannot hold a model: all on glasses" in words(sweep_page(refused))


def test_what_no_design_does_is_said_and_not_drawn(results: dict[str, Any]) -> None:
    kept = copy.deepcopy(results)
    for run in kept["runs"]:
        run["metrics"]["private_out"] = 0
    assert "Nought for every design, on every network." in words(sweep_page(kept))
    assert "Nought" not in words(sweep_page(results))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"runs": []}, "no runs"),
        ({"runs": "many"}, "runs"),
        ({"constants": []}, "constants are missing"),
        ({"speeds": {"small": float("nan")}}, "not finite"),
    ],
)
def test_what_is_no_results_is_refused(results: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_sweep({**results, **change})
    with pytest.raises(InputError):
        parse_sweep(["no", "results"])


def test_a_file_that_is_no_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_sweep(tmp_path / "nowhere.json")
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="no results of a sweep"):
        read_sweep(tmp_path / "broken.json")


def test_a_range_is_that_of_the_samples_and_the_middle_their_median() -> None:
    found = spread([None, *range(11)])
    assert found is not None
    assert (found.low, found.middle, found.high, found.count) == (1, 5, 9, 11)
    assert spread([None]) is None


def test_designs_are_compared_sample_by_sample(results: dict[str, Any]) -> None:
    of = Slice(parse_sweep(results))
    leader = of.leader(QUALITY, network="day")
    assert leader.design == "hybrid"
    assert leader.level == ()
    # Both ask nothing offline, and by construction spend the same.
    assert "hybrid" in of.leader(UP_BYTES, network="offline").level
    # Where the cloud is away, it is no merit of its designs that they cost nothing.
    assert set(of.useful(network="offline")) == {"glasses", "phone", "hybrid"}
    assert of.leader(ADDED_JOULES, network="offline").design == "glasses"
    assert of.next_best() == "phone"
    pictures = of.spread("cloud-video", PICTURES)
    assert pictures is not None
    assert pictures.middle > 1e5


def test_the_constants_behind_an_outcome_stand_out_from_those_that_are_not() -> None:
    of = Slice(parse_sweep(synthetic_results(samples=40)))
    found = {outcome.title: outcome.found for outcome in outcomes(of)}
    phone = found["phone energy a day"]
    assert phone is not None
    assert phone.influences[0].name == "phone.base_watts"
    added = found[ADDED_JOULES.title]
    assert added is not None
    assert added.certain[0].name == "lte.tail_watts"


def test_constants_of_devices_and_networks_that_took_no_part_are_left_out(results: dict[str, Any]) -> None:
    of = Slice(parse_sweep(results))
    assert in_play(of, ["phone-low.speed", "phone-mid.speed", "net.mmwave.up_mbps", "net.lte.up_mbps"]) == [
        "phone-mid.speed",
        "net.lte.up_mbps",
    ]


def test_swings_are_measured_from_the_nominal_run(results: dict[str, Any]) -> None:
    of = Slice(parse_sweep(results))
    nominal, swings = one_at_a_time(of, ADDED_JOULES)
    assert swings[0].name == "lte.tail_watts"
    assert nominal is not None
    assert swings[0].low < nominal < swings[0].high
    assert "glasses.camera_duty" not in {swing.name for swing in swings}


def test_those_constants_are_swung_that_seem_to_matter_most() -> None:
    assert "lte.tail_watts" in chosen(parse_sweep(synthetic_results(samples=30, networks=("day",))), 4)
    unsampled = chosen(parse_sweep(synthetic_results(samples=0, networks=("day",))), 3)
    ratios = [CONSTANTS[name].high / CONSTANTS[name].low for name in unsampled]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > 10


def test_a_swing_changes_what_its_constant_is_for_and_nothing_else() -> None:
    grid = Grid(designs=(Design.PHONE, Design.HYBRID), hours=1.0, seed=4)
    runs = swing_runs(synthetic_traces(120, seed=5), grid, ["phone.base_watts"])
    low, high = (run["metrics"] for run in runs)
    assert [run["changed"] for run in runs] == [{"constant": "phone.base_watts", "end": end} for end in ("low", "high")]
    assert {run["arm"]["design"] for run in runs} == {"hybrid"}
    assert low["phone_total_joules"] < high["phone_total_joules"]
    same = ("right_in_view_share", "bytes_out", "glasses_total_joules", "signs")
    assert {name: low[name] for name in same} == {name: high[name] for name in same}
    with pytest.raises(UsageError, match="no constant"):
        swing_runs([], grid, ["phone.luck"])
    with pytest.raises(UsageError, match="leaves out"):
        swing_runs([], Grid(designs=(Design.PHONE,)), ["phone.base_watts"])
