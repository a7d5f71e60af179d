"""The training of a gaze network: what it learns from, that it learns, and what is left of it for use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import clnf_torch
from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.records import join_rows
from clnf_torch.measures.gaze import eye_middles
from clnf_torch.media.images import read_image
from clnf_torch.models.numerics import EXACT
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.eyes.gaze import (
    GazeConfig,
    GazeTask,
    fused_layers,
    train_gaze_network,
)
from clnf_torch.training.eyes.gaze_faces import GazeFaces, gaze_faces, gaze_portraits
from clnf_torch.training.free.self_training import cut_portraits
from tests.factories import seeded
from tests.training.rendered_eyes import looking

CONFIG = GazeConfig(steps=60, batch=16, learning_rate=2e-3)


@pytest.fixture(scope="module")
def faces() -> GazeFaces:
    return gaze_faces([looking()])


def test_gaze_is_relative_to_the_line_of_sight(faces):
    rendered = looking()
    ahead = -rendered.eye_points[:, :, 8:20].mean(2)
    into = gaze_faces([replace(rendered, gaze=torch.nn.functional.normalize(ahead, dim=-1))])
    torch.testing.assert_close(into.gaze, torch.tensor((0.0, 0.0, -1.0)).expand_as(into.gaze), atol=1e-5, rtol=0)
    assert (faces.gaze[..., 0] - into.gaze[..., 0]).abs().max() > 0.1


def test_faces_whose_eyes_are_hidden_are_left_out():
    rendered = looking(3)
    rendered.eyes_visible[0] = False
    rendered.eyes_visible[1, 1] = False
    found = gaze_faces([rendered])
    assert found.seen.tolist() == [[True, False], [True, True]]
    with pytest.raises(ValueError, match="no eye whose lids and iris are visible"):
        gaze_faces([replace(rendered, eyes_visible=torch.zeros(3, 2, 28, dtype=torch.bool))])


def test_samples_have_their_truth_in_the_axes_of_the_crops(faces):
    """Without augmentation the irises lie where the landmarks say, and what is mirrored is mirrored in both."""
    task = GazeTask(replace(CONFIG, landmark_noise=0.0, shift=0.0, rotation=0.3, scale=0.1, least_size=0.9), faces)
    looks = task._samples(Sampler(task.generators[0], torch.device("cpu")))
    iris = looks.landmarks[:, :, :8].mean(2)
    pixels = (iris * 24 + 23.5).round().long()
    batch = torch.arange(len(iris))
    left = looks.eyes[batch, 0, pixels[:, 0, 1], pixels[:, 0, 0]]
    right = looks.eyes[batch, 1].flip(-1)[batch, pixels[:, 1, 1], pixels[:, 1, 0]]
    around = looks.eyes.flatten(2).median(-1).values
    # The light is augmented; nearly always the iris is darker than skin
    assert (left < around[:, 0]).float().mean() > 0.8 and (right < around[:, 1]).float().mean() > 0.8
    # Eyes that look to the image's right: the left one away from its outer corner, the mirrored one towards it
    corners = looks.landmarks[:, :, [8, 14]].mean(2)
    along = ((iris - corners)[:, :, 0] * torch.tensor([1.0, -1.0])).sign()
    assert (along == looks.gaze[..., 0].sign()).float().mean() > 0.8
    # Of the mirrored eye the rotation is mirrored: it turns the other way round
    turn = looks.rotation[:, :, 1, 0]
    torch.testing.assert_close(turn[:, 0], -turn[:, 1])
    assert turn[:, 0].std() > 0.1


def test_it_learns_where_eyes_look(faces):
    reports: list[int] = []
    network = train_gaze_network(faces, CONFIG, report=lambda name, done, total, loss: reports.append(done))
    assert reports == list(range(1, 61))

    def error(net: nn.Module) -> float:
        images = ImageBatch(faces.gray, torch.arange(len(faces)))
        requests = net.crop_requests(faces.landmarks, eye_middles(faces.landmarks))
        eyes, face = (images.crop(request, EXACT)[0] for request in requests)
        with torch.no_grad():
            found: Tensor = net(eyes, face, requests[0].to_image)
        return float((found - faces.gaze).norm(dim=-1).mean())

    before = GazeTask(replace(CONFIG, steps=1), faces).network()
    assert error(network) < 0.6 * error(before)


def test_it_goes_on_from_its_checkpoint(faces, tmp_path):
    config = replace(CONFIG, steps=4)
    whole = train_gaze_network(faces, config, tmp_path / "one")
    again = train_gaze_network(faces, config, tmp_path / "one")
    other = train_gaze_network(faces, config, tmp_path / "other")
    for (name, first), second, third in zip(
        whole.state_dict().items(), again.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(first, second) and torch.equal(first, third), name


def test_layers_are_fused_for_use():
    layers = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    images = torch.randn(5, 1, 4, 4, generator=seeded(5))
    for _ in range(3):
        layers(images)
    fused = fused_layers(layers.eval())
    assert [type(layer) for layer in fused] == [nn.Conv2d, nn.ReLU, nn.Flatten, nn.Linear]
    torch.testing.assert_close(fused(images), layers(images))


@pytest.fixture(scope="module")
def people() -> GazeFaces:
    """An astronaut who looks into the camera, as the free model finds her, beside a picture without a face."""
    photo = read_image(Path(__file__).parents[3] / "docs" / "images" / "astronaut.jpg")
    portraits = cut_portraits([photo, torch.zeros_like(photo)], clnf_torch.load_face_detector(), 256)
    return gaze_portraits(clnf_torch.load("free").model, portraits)


def test_portraits_look_into_the_camera(people, faces):
    assert len(people) == 1 and people.gaze[0].tolist() == [[0, 0, -1]] * 2
    left, right = people.eyes[0, :, 8:20].mean(1)
    torch.testing.assert_close(left, people.landmarks[0, 36:42].mean(0), atol=4.0, rtol=0)
    torch.testing.assert_close(right, people.landmarks[0, 42:48].mean(0), atol=4.0, rtol=0)
    both = join_rows(faces, people)
    task = GazeTask(replace(CONFIG, steps=1), both)
    assert task.module.network.places.isfinite().all()
    (loss,) = task.losses()
    loss.backward()
    assert all(value.grad is None or value.grad.isfinite().all() for value in task.module.parameters())


def test_portraits_without_a_face_are_refused():
    none = cut_portraits([torch.zeros(3, 64, 64, dtype=torch.uint8)], clnf_torch.load_face_detector(), 256)
    with pytest.raises(ValueError, match="show no face"):
        gaze_portraits(clnf_torch.load("free").model, none)


def test_directions_of_portraits_count_where_they_are_far_off(people):
    """Of two networks' last layers only the one whose directions are off by more than is tolerated learns."""
    gradients = []
    for tolerance in (2.0, 0.0):
        task = GazeTask(CONFIG, replace(people, tolerance=torch.full((1,), tolerance), upright=torch.randn(1, 68, 2)))
        (loss,) = task.losses()
        loss.backward()
        gradients.append(task.module.network.look[-1].weight.grad.abs().max())
    assert gradients[0] == 0 < gradients[1]
