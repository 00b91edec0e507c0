"""Constants with ranges and sources, the devices made of them, batteries, and the command that prints them."""

from __future__ import annotations

import argparse
import math

import pytest

from phone.battery import Battery
from shared.errors import InputError, UsageError
from simulations.energy import command
from simulations.energy.battery import SimulatedBattery
from simulations.energy.constants import Constant, Constants, Spread, Standing, joined, table
from simulations.energy.devices import GLASSES, PHONES, DeviceClass, device, ocr_runs_per_charge, runs_table
from simulations.energy.registry import CONSTANTS, draw, latin_hypercube, nominal


def test_every_constant_says_where_it_is_from() -> None:
    for constant in CONSTANTS.values():
        assert constant.source, constant.name
        assert constant.low < constant.high, constant.name
        assert "." in constant.name


def test_what_was_read_or_quoted_names_a_year_or_a_specification() -> None:
    for constant in CONSTANTS.values():
        if constant.standing is not Standing.ASSUMED:
            assert any(character.isdigit() for character in constant.source), constant.name


def test_nominal_values_are_the_registry_s() -> None:
    values = nominal()
    assert len(values) == len(CONSTANTS)
    assert all(values[name] == constant.value for name, constant in CONSTANTS.items())


def test_draws_stay_in_range_and_are_the_same_for_a_seed() -> None:
    drawn = draw(7)
    assert all(constant.low <= drawn[name] <= constant.high for name, constant in CONSTANTS.items())
    assert drawn == draw(7)
    assert drawn["lte.tail_watts"] != draw(8)["lte.tail_watts"]


@pytest.mark.parametrize("spread", Spread)
def test_quantiles_run_from_bound_to_bound_and_rise(spread: Spread) -> None:
    constant = Constant("a.b", 2.0, "W", 1.0, 8.0, "a test", spread=spread)
    values = [constant.quantile(index / 100) for index in range(101)]
    assert values[0] == pytest.approx(1.0)
    assert values[-1] == pytest.approx(8.0)
    assert values == sorted(values)


def test_log_uniform_means_that_factors_are_equally_likely() -> None:
    assert Constant("a.b", 1.0, "W", 0.5, 8.0, "a test").quantile(0.5) == pytest.approx(2.0)


def test_triangular_means_that_the_nominal_value_is_the_likeliest() -> None:
    constant = Constant("a.b", 2.0, "1", 1.0, 5.0, "a test", spread=Spread.TRIANGULAR)
    # A quarter of the triangle's width lies below its peak, and so does a quarter of its area.
    assert constant.quantile(0.25) == pytest.approx(2.0)


def test_a_latin_hypercube_takes_one_value_from_every_slice_of_every_range() -> None:
    sets = latin_hypercube(3, 20)
    for name in ("lte.tail_watts", "walk.views_per_minute"):
        constant = CONSTANTS[name]
        slices = sorted(
            math.floor(20 * math.log(each[name] / constant.low) / math.log(constant.high / constant.low))
            for each in sets
        )
        assert slices == list(range(20))
    assert sets == latin_hypercube(3, 20)


@pytest.mark.parametrize(("value", "low", "high"), [(0.5, 1.0, 2.0), (1.0, 0.0, 2.0), (1.0, 0.5, math.inf)])
def test_a_constant_with_impossible_bounds_is_refused(value: float, low: float, high: float) -> None:
    with pytest.raises(ValueError, match=r"a\.b"):
        Constant("a.b", value, "W", low, high, "a test")


def test_two_constants_of_one_name_are_refused() -> None:
    one = table(Constant("a.b", 1.0, "W", 0.5, 2.0, "a test"))
    with pytest.raises(ValueError, match="two constants"):
        joined((one, one))


def test_a_set_with_one_value_changed_leaves_the_others() -> None:
    values = nominal()
    changed = values.replaced("lte.tail_watts", 0.5)
    assert {name for name in values if values[name] != changed[name]} == {"lte.tail_watts"}
    with pytest.raises(UsageError, match="no constant"):
        values.replaced("lte.tale_watts", 0.5)
    with pytest.raises(InputError):
        values.replaced("lte.tail_watts", math.nan)


def test_an_unknown_constant_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError, match="'x'"):
        Constants.of({})["x"]


@pytest.mark.parametrize("name", GLASSES + PHONES)
def test_every_device_has_a_battery_a_speed_and_powers(name: str) -> None:
    made = device(name, nominal())
    assert isinstance(made, DeviceClass)
    assert min(made.battery_joules, made.speed, made.compute_watts, made.idle_watts) > 0
    assert (made.camera_watts > 0) == (name in GLASSES)


def test_an_unknown_device_is_an_error_that_lists_them() -> None:
    with pytest.raises(UsageError, match="phone-mid"):
        device("toaster", nominal())


def test_a_slow_device_takes_longer_and_a_charge_pays_for_so_many_readings() -> None:
    made = device("phone-low", nominal())
    assert made.compute_seconds(500) == pytest.approx(0.5 / made.speed)
    runs = ocr_runs_per_charge(made, 500)
    assert runs * made.compute_joules(500) == pytest.approx(made.battery_joules)
    assert ocr_runs_per_charge(made, 1000) == pytest.approx(runs / 2)


def test_a_microcontroller_reads_nothing() -> None:
    assert ocr_runs_per_charge(device("glasses-mcu", nominal()), 100) == 0


def test_the_table_of_runs_has_a_line_for_each_device_with_its_range() -> None:
    rows = runs_table({"tiny": 100.0}, nominal(), latin_hypercube(1, 20))
    assert [row.device for row in rows] == [*GLASSES, *PHONES]
    for row in rows[1:]:
        middle, low, high = row.runs["tiny"]
        assert 0 < low < middle < high


def test_a_battery_gives_what_it_has_down_to_its_reserve() -> None:
    battery = SimulatedBattery(1000.0, 0.5, reserve=0.1)
    assert battery.percent == 50
    assert battery.drain(300) == 300
    assert not battery.empty
    assert battery.drain(300) == pytest.approx(100)
    assert battery.empty
    assert battery.as_read() == Battery(0, charging=False)
    battery.charge(5000)
    assert battery.percent == 100


def test_a_battery_refuses_numbers_that_cannot_be() -> None:
    battery = SimulatedBattery(1000.0)
    for amount in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError):
            battery.drain(amount)
        with pytest.raises(InputError):
            battery.charge(amount)
    with pytest.raises(InputError):
        SimulatedBattery(0.0)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(arguments)
    return int(parsed.body(parsed))


def test_the_command_prints_constants_by_subject(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["constants", "wifi"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| name | value | range | unit |")
    assert {line.split("|")[1].strip() for line in lines[2:]} == {name for name in CONSTANTS if name.startswith("wifi")}
    assert all(line.count(" | ") == lines[0].count(" | ") for line in lines[2:])


def test_the_command_prints_runs_per_charge(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["constants", "--runs", "tiny=100", "--runs", "small=300"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| device | tiny | small |"
    assert lines[2] == "| glasses-mcu | none | none |"


def test_the_command_refuses_a_subject_that_no_constant_has() -> None:
    with pytest.raises(UsageError, match="nope"):
        main(["constants", "nope"])
