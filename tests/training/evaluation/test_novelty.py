"""A training image among the samples is found, wherever it hides."""

import torch

from training.evaluation.novelty import exact_copies, nearest


def images(seed, count):
    return torch.randint(0, 256, (count, 1, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_copies_are_found_at_distance_zero(monkeypatch):
    monkeypatch.setattr("training.evaluation.novelty._ROWS", 4)
    training = images(0, 200)
    queries = torch.cat([images(1, 5), training[[17, 123, 0]]])

    indices, distances = nearest(queries, training)

    assert indices[5:].tolist() == [17, 123, 0]
    assert distances[5:].tolist() == [0, 0, 0]
    assert (distances[:5] > 0).all()
    assert exact_copies(queries, training) == 3


def test_one_changed_pixel_is_no_copy_but_at_distance_of_its_change():
    training = images(0, 50)
    changed = training[[30]].clone()
    changed[0, 0, 2, 2] = (changed[0, 0, 2, 2].int() + 9) % 256
    step = abs(int(changed[0, 0, 2, 2]) - int(training[30, 0, 2, 2]))

    assert exact_copies(changed, training) == 0
    indices, distances = nearest(changed, training)
    assert indices.tolist() == [30]
    assert distances.tolist() == [step]


def test_nearest_agrees_with_the_whole_distance_matrix():
    points = torch.randn(90, 8, generator=torch.Generator().manual_seed(3))
    queries, references = points[:30], points[30:]
    expected = (queries[:, None] - references[None]).norm(dim=2).min(1)

    indices, distances = nearest(queries, references)

    assert torch.equal(indices, expected.indices)
    torch.testing.assert_close(distances, expected.values)
