"""A training image among the samples is found, wherever it hides."""

import pytest
import torch

from training.evaluation.neighbours import exact_copies, nearest, novelty


def images(seed, count):
    return torch.randint(0, 256, (count, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_copies_are_found_at_distance_zero(monkeypatch):
    monkeypatch.setattr("training.evaluation.neighbours._ROWS", 4)
    training = images(0, 200)
    queries = torch.cat([images(1, 5), training[[17, 123, 0]]])

    found = nearest(queries, training)

    assert found.indices[5:].tolist() == [17, 123, 0]
    assert found.distances[5:].tolist() == [0, 0, 0]
    assert (found.distances[:5] > 0).all()
    assert exact_copies(queries, training) == 3


def test_one_changed_pixel_is_no_copy_but_at_distance_of_its_change():
    training = images(0, 50)
    changed = training[[30]].clone()
    changed[0, 0, 2, 2] = (changed[0, 0, 2, 2].int() + 9) % 256
    step = abs(int(changed[0, 0, 2, 2]) - int(training[30, 0, 2, 2]))

    assert exact_copies(changed, training) == 0
    assert nearest(changed, training).indices.tolist() == [30]
    assert nearest(changed, training).distances.tolist() == [step]


def test_nearest_agrees_with_the_whole_distance_matrix():
    points = torch.randn(90, 8, generator=torch.Generator().manual_seed(3))
    queries, references = points[:30], points[30:]
    expected = (queries[:, None] - references[None]).norm(dim=2).min(1)

    found = nearest(queries, references)

    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.distances, expected.values)


def test_novelty_of_equal_distances():
    distances = torch.arange(1.0, 1001.0)
    figures = novelty(distances, distances)
    assert figures.ratio == 1
    assert figures.share_below == pytest.approx(0.01)


def test_novelty_shows_memorised_samples():
    held_out = torch.linspace(5, 10, 500)
    samples = torch.cat([torch.zeros(60), torch.full((40,), 7.0)])

    figures = novelty(samples, held_out)

    assert (figures.median, figures.share_below) == (0, pytest.approx(0.6))
    assert figures.held_out_median == pytest.approx(7.5, abs=0.01)
