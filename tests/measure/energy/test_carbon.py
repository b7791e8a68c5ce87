import json
import socket
import sys
from dataclasses import asdict
from importlib.resources import files

import pytest

from kdbench.errors import InputError
from kdbench.extras import install
from kdbench.measure.energy.carbon import CarbonIntensity, carbon_intensity, grams

MIXES = json.loads(files("codecarbon").joinpath("data/private_infra/global_energy_mix.json").read_text())


@pytest.mark.parametrize("code", ["FRA", "DEU", "POL", "USA", "ISL", "TWN"])
def test_the_figure_is_the_countrys_own(code):
    intensity = carbon_intensity(code)
    assert intensity.country == code
    assert intensity.name == MIXES[code]["country_name"]
    assert intensity.g_per_kwh == pytest.approx(MIXES[code]["carbon_intensity"])
    assert intensity.source.startswith("codecarbon 3.")


def test_figures_are_of_a_grids_order_of_magnitude():
    """2023: mostly nuclear, and mostly coal (Ember, Yearly Electricity Data)."""
    assert 20 < carbon_intensity("FRA").g_per_kwh < 100
    assert 600 < carbon_intensity("POL").g_per_kwh < 900


def test_codes_are_read_in_any_case():
    assert carbon_intensity(" deu") == carbon_intensity("DEU")


@pytest.mark.parametrize(("country", "code"), [("Germany", "DEU"), ("turkey", "TUR"), ("South Korea", "KOR")])
def test_the_name_of_a_country_comes_with_its_code(country, code):
    with pytest.raises(InputError, match="is not a three-letter country code") as error:
        carbon_intensity(country)
    assert error.value.hint == f"did you mean '{code}'?"


@pytest.mark.parametrize(
    ("country", "code", "name"),
    [("DXU", "DEU", "Germany"), ("GER", "DEU", "Germany"), ("swi", "CHE", "Switzerland"), ("JAP", "JPN", "Japan")],
)
def test_a_code_that_is_nearly_right(country, code, name):
    with pytest.raises(InputError, match=f"unknown country '{country}'") as error:
        carbon_intensity(country)
    assert error.value.hint == f"did you mean '{code}' ({name})?"


@pytest.mark.parametrize("country", ["Quebec", "california", "UK", "de", "XXX", "world", ""])
def test_what_is_no_country_is_refused(country):
    with pytest.raises(InputError, match=f"unknown country '{country}'") as error:
        carbon_intensity(country)
    assert "three-letter code" in error.value.hint


def test_a_country_without_a_figure_gets_neither_the_worlds_nor_zero():
    with pytest.raises(InputError, match=r"no carbon intensity for Central African Republic \(CAF\)"):
        carbon_intensity("CAF")
    with pytest.raises(InputError, match="unknown country 'ATA'"):
        carbon_intensity("ATA")


def test_neither_settings_nor_the_network_have_a_part_in_it(monkeypatch, capfd):
    calls = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: calls.append(address))
    for name in ("ELECTRICITYMAPS_API_TOKEN", "CO2_SIGNAL_API_TOKEN"):
        monkeypatch.setenv(f"CODECARBON_{name}", "token")
    monkeypatch.setenv("CODECARBON_FORCE_CARBON_INTENSITY_G_CO2E_KWH", "1")
    monkeypatch.setenv("CODECARBON_LOG_LEVEL", "debug")
    assert carbon_intensity("FRA").g_per_kwh == pytest.approx(MIXES["FRA"]["carbon_intensity"])
    assert calls == []
    assert capfd.readouterr() == ("", "")


def test_not_installed(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "codecarbon"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(InputError, match="not installed") as error:
        carbon_intensity("DEU")
    assert error.value.hint == install("estimate")


@pytest.mark.parametrize(("joules", "expected"), [(3.6e6, 400.0), (3.6e3, 0.4), (0.0, 0.0)])
def test_grams_of_joules(joules, expected):
    assert grams(joules, CarbonIntensity("XXX", "Somewhere", 400.0, "a test")) == pytest.approx(expected)


def test_fields_as_json():
    intensity = CarbonIntensity("DEU", "Germany", 381.0, "a test")
    assert json.loads(json.dumps(asdict(intensity))) == {
        "country": "DEU",
        "name": "Germany",
        "g_per_kwh": 381.0,
        "source": "a test",
    }
