"""`clnf_torch.fitting.config`: OpenFace's numbers per scale as a table, and settings that are refused."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from clnf_torch.fitting.config import PRESETS, FitConfig, preset_named
from clnf_torch.models.patch_experts.ccnf import CCNFExperts
from clnf_torch.models.patch_experts.cen import CENExperts

SCALES = (0.25, 0.35, 0.5, 1.0)
LOG = math.log2(0.35 / 0.25)  # 0.4854


@pytest.mark.parametrize(
    ("preset", "index", "sigma", "regularisation", "weight"),
    [
        ("default", 0, 2.25, 22.5, 0.0),
        ("default", 1, 2.3714, 15.2186, 0.0),
        ("default", 2, 2.5, 7.5, 0.0),
        ("default", 3, 2.5, 7.5, 0.0),  # scales after the third count as the third
        ("tracking", 1, 2.3714, 15.2186, 0.0),
        ("wild", 0, 1.875, 31.5, 2.5),
        ("wild", 1, 1.9964, 24.2186, 2.5 * (1 + 2 * LOG)),
        ("wild", 2, 2.125, 16.5, 7.5),
        ("wild", 3, 2.125, 16.5, 7.5),
    ],
)
def test_openfaces_numbers_for_ce_clm(preset, index, sigma, regularisation, weight):
    found = preset_named(preset, CENExperts).at_scale(index, SCALES)
    assert found.sigma == pytest.approx(sigma, abs=5e-5)
    assert found.regularisation == pytest.approx(regularisation, abs=5e-5)
    assert found.weight_factor == pytest.approx(weight, abs=5e-5)


def test_other_families_keep_the_presets():
    assert preset_named("default", CCNFExperts) == PRESETS["default"] == FitConfig()


def test_presets():
    wild, tracking = PRESETS["wild"], PRESETS["tracking"]
    assert (wild.window_sizes, wild.iterations, wild.multi_view) == ((15, 13, 11, 11), 10, True)
    assert (tracking.window_sizes, tracking.iterations, tracking.multi_view) == ((0, 9, 7, 0), 5, False)


def test_a_regularisation_that_falls_to_zero_becomes_a_thousandth():
    assert FitConfig(regularisation=15.0).at_scale(2, SCALES).regularisation == 0.001
    assert FitConfig(regularisation=10.0).at_scale(3, SCALES).regularisation == 0.001


def test_settings_with_a_prior_per_face_are_compared_by_its_numbers():
    values = torch.tensor([22.5, 15.0])
    config, same = (FitConfig(regularisation=one) for one in (values, values.clone()))
    assert config == config and config == same and hash(config) == hash(same)
    others = values + 1, values[:1], values.double(), 22.5
    assert all(config != FitConfig(regularisation=other) != config for other in others)
    assert config != replace(same, iterations=7) and config != "config" and {config: 1}[same] == 1


@pytest.mark.parametrize("index", range(4))
def test_a_regularisation_per_face_goes_the_way_of_the_number(index):
    values = torch.tensor([22.5, 15.0, 10.0, 35.0], dtype=torch.float64)
    found = FitConfig(regularisation=values).at_scale(index, SCALES).regularisation
    expected = [FitConfig(regularisation=value).at_scale(index, SCALES).regularisation for value in values.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_without_adaptation_all_scales_are_alike():
    config = FitConfig(adapt=False, weight_factor=2.0)
    for index in range(4):
        found = config.at_scale(index, SCALES)
        assert (found.sigma, found.regularisation, found.weight_factor) == (1.5, 25.0, 2.0)


def test_iterations_and_tolerance_stay():
    found = FitConfig(iterations=7, tolerance=0.5).at_scale(2, SCALES)
    assert (found.iterations, found.tolerance) == (7, 0.5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"window_sizes": (11, 8)}, r"hold 8; give odd windows"),
        ({"window_sizes": (-3,)}, r"hold -3; give odd windows"),
        ({"window_sizes": (0, 0)}, "skip every scale"),
        ({"window_sizes": ()}, "skip every scale"),
        ({"iterations": 0}, "iterations >= 1"),
        ({"sigma": 0.0}, "sigma > 0"),
        ({"sigma": math.nan}, "a finite number"),
        ({"regularisation": -1.0}, "nothing negative"),
        ({"regularisation": torch.ones(2, 1)}, r"float32 of shape \(2, 1\); expected real numbers, one per face"),
        ({"regularisation": torch.ones(2, dtype=torch.complex64)}, "complex64 of shape"),
        ({"weight_factor": -1.0}, "nothing negative"),
        ({"tolerance": -0.1}, "nothing negative"),
        ({"tolerance": math.nan}, "a finite number"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**wrong)
    with pytest.raises(ValueError, match=message):
        replace(FitConfig(), **wrong)


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        FitConfig().sigma = 2.0


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="preset 'fast' is not known; choose one of 'default', 'tracking', 'wild'"):
        preset_named("fast", CENExperts)
