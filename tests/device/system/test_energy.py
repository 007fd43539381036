"""Energy per prediction, from meters in a folder that stands for the file system of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.system.energy import find_meter, measure_energy


def write(path: Path, text: object) -> Path:
    """Write a file of the kernel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", encoding="ascii")
    return path


@pytest.fixture
def rapl(tmp_path: Path) -> Path:
    """Return the counter of a package, which has a part."""
    zones = tmp_path / "sys/class/powercap"
    write(zones / "intel-rapl:0:0/energy_uj", 5)
    write(zones / "intel-rapl:0/name", "package-0")
    write(zones / "intel-rapl:0/max_energy_range_uj", 1_000_000)
    return write(zones / "intel-rapl:0/energy_uj", 900_000)


def test_there_is_no_meter_on_most_machines(tmp_path: Path) -> None:
    """Then the energy is absent, not zero."""
    assert find_meter(tmp_path) is None


def test_the_counter_of_a_package_is_found(tmp_path: Path, rapl: Path) -> None:
    """Its parts are not."""
    meter = find_meter(tmp_path)
    assert meter is not None
    assert (meter.name, meter.path, meter.wraps) == ("intel-rapl:0 package-0", rapl, 1_000_000)


def test_a_power_sensor_comes_before_the_counter_of_the_cpu(tmp_path: Path, rapl: Path) -> None:
    """It sees the whole board."""
    write(tmp_path / "sys/class/hwmon/hwmon2/name", "ina219")
    write(tmp_path / "sys/class/hwmon/hwmon2/power1_input", 2_500_000)
    meter = find_meter(tmp_path)
    assert meter is not None
    assert (meter.name, meter.counts) == ("ina219 power1_input", False)


def test_a_meter_that_may_not_be_read_is_no_meter(tmp_path: Path) -> None:
    """RAPL is readable by root alone; a damaged file is as good as none."""
    write(tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", "no number")
    assert find_meter(tmp_path) is None


class World:
    """A clock and a counter of energy that the test advances."""

    def __init__(self, counter: Path) -> None:
        self.now, self.used, self.counter = 0.0, 900_000, counter

    def clock(self) -> float:
        """Return the seconds so far."""
        return self.now

    def pass_time(self, seconds: float, joules: float) -> None:
        """Advance the clock and the counter, which wraps at 1 J."""
        self.now += seconds
        self.used += round(1e6 * joules)
        write(self.counter, self.used % 1_000_000)


def test_energy_comes_from_a_counter_that_may_wrap(tmp_path: Path, rapl: Path) -> None:
    """Half a second at rest takes 0.5 J; four predictions in half a second take 0.8 J."""
    world, meter = World(rapl), find_meter(tmp_path)
    assert meter is not None
    found = measure_energy(
        meter,
        lambda: world.pass_time(0.125, 0.2),
        seconds=0.5,
        clock=world.clock,
        rest=lambda seconds: world.pass_time(seconds, seconds),
    )
    assert found is not None
    assert found.rest_watts == pytest.approx(1)
    assert found.busy_watts == pytest.approx(1.6)
    assert found.frame_millijoules == pytest.approx(200)
    assert found.extra_millijoules == pytest.approx(75)


def test_energy_comes_from_the_mean_of_a_power_sensor(tmp_path: Path) -> None:
    """The sensor shows 3 W at rest and 5 W while predicting; a prediction takes 0.1 s."""
    sensor = write(tmp_path / "sys/class/hwmon/hwmon0/power1_input", 3_000_000)
    write(tmp_path / "sys/class/hwmon/hwmon0/name", "ina219")
    meter, now = find_meter(tmp_path), [0.0]
    assert meter is not None

    def act() -> None:
        now[0] += 0.1

    def rest(seconds: float) -> None:
        now[0] += seconds

    found = measure_energy(meter, act, seconds=1.0, clock=lambda: now[0], rest=rest)
    assert found is not None
    assert found.rest_watts == found.busy_watts == pytest.approx(3)
    assert found.frame_millijoules == pytest.approx(300, rel=0.1)
    sensor.unlink()
    assert measure_energy(meter, act, seconds=0.1, clock=lambda: now[0], rest=rest) is None
