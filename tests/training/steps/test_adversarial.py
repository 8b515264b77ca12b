"""The step of a GAN: what each phase changes and is given, and what its losses are made of."""

import pytest
import torch
from torch import Tensor, nn

from tests.training.tiny import batches_of, build, code_gan, dots, gan, label_gan, take_step
from training.engine.precision import compiler_problem
from training.objectives import OBJECTIVES, Objective
from training.steps.adversarial import GanBatch, Losses
from training.steps.phase import Model, Phase
from training.terms.information import categorical_loss, continuous_loss

CONFIGS = {"without": gan(), "label": label_gan(), "codes": code_gan()}
OF_SCORES = [name for name, each in OBJECTIVES.items() if not each.needs & {"energy", "labelled images"}]
"""The objectives that these discriminators serve."""

PLAIN = {"discriminator__norm": "none"}  # a spectral norm would move with every pass


def losses_of(model: Model, step: int = 0):
    return [phase.loss(batch) for phase, batch in zip(model.phases, batches_of(model, step), strict=True)]


def learn(phase: Phase, batch: GanBatch, steps: int) -> list[dict[str, float]]:
    """Repeats a phase; gives what each time reports."""
    reports = []
    for _ in range(steps):
        loss = phase.loss(batch)
        phase.optimizer.zero_grad()
        loss.value.backward()
        phase.optimizer.step()
        reports.append({name: value.item() for name, value in {"loss": loss.value, **loss.statistics}.items()})
    return reports


def count_passes(net: nn.Module) -> list[int]:
    """A list that grows by the batch of each of the net's passes."""
    passes: list[int] = []
    net.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    return passes


def same(one: GanBatch, other: GanBatch) -> bool:
    pairs = [(one.images, other.images), (one.latents, other.latents)]
    pairs += [(one.draws[name], other.draws[name]) for name in one.draws]
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("kind", CONFIGS)
def test_both_phases_get_the_same_images_and_other_draws(kind: str) -> None:
    first, second = batches_of(build(CONFIGS[kind]))
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.latents, second.latents)
    for name in first.draws:
        assert torch.equal(first.draws[name], second.draws[name]) is (name == "labels")


def test_labels_are_those_of_the_images() -> None:
    data = dots(count=12)
    batch = batches_of(build(label_gan(batch=12), data))[0]
    order = batch.images[:, 0, 0, 0].argsort()
    torch.testing.assert_close(batch.images[order], data.images / 127.5 - 1)
    assert torch.equal(batch.draws["labels"][order], data.labels)


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_a_step_is_given_is_a_function_of_its_number(kind: str) -> None:
    model, again = build(CONFIGS[kind]), build(CONFIGS[kind])
    batches_of(again, 3)
    assert all(same(*pair) for pair in zip(batches_of(model, 5), batches_of(again, 5), strict=True))
    assert not any(same(*pair) for pair in zip(batches_of(model, 5), batches_of(again, 6), strict=True))


def test_the_discriminator_goes_first() -> None:
    model = build(gan())
    assert [(phase.name, phase.repeats) for phase in model.phases] == [("discriminator", 1), ("generator", 1)]
    assert model.phases[1].module is model.generator


def test_a_critic_learns_from_another_batch_each_time_and_the_generator_has_the_last() -> None:
    model = build(label_gan(critic_steps=3, batch=4), dots(count=12))
    assert [phase.repeats for phase in model.phases] == [3, 1]
    shown: list[float] = []
    for step in range(2):
        *critic, generator = batches_of(model, step)
        assert torch.equal(generator.images, critic[-1].images)
        assert torch.equal(generator.draws["labels"], critic[-1].draws["labels"])
        latents = torch.cat([batch.latents for batch in (*critic, generator)])
        assert len(latents.unique(dim=0)) == 16
        epoch = torch.cat([batch.images[:, 0, 0, 0] for batch in critic])
        assert len(epoch.unique()) == 12  # three batches of four are all there are
        shown += epoch.tolist()
    assert shown[:12] != shown[12:]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("learning", [0, 1])
def test_a_phase_changes_only_its_own_weights(kind: str, learning: int) -> None:
    model = build(CONFIGS[kind])
    before = [[value.clone() for value in phase.module.parameters()] for phase in model.phases]
    learn(model.phases[learning], batches_of(model)[learning], steps=1)
    for index, other in enumerate(model.phases):
        pairs = zip(before[index], other.module.parameters(), strict=True)
        assert any(not torch.equal(*pair) for pair in pairs) is (index == learning)


def test_the_discriminator_phase_gives_the_generator_no_gradient() -> None:
    model = build(gan(**PLAIN, terms__gradient_penalty__weight=10))
    model.phases[0].loss(batches_of(model)[0]).value.backward()
    assert all(parameter.grad is None for parameter in model.generator.parameters())


@pytest.mark.parametrize("index", [0, 1])
def test_the_loss_is_the_objective_and_the_weighted_terms(index: int) -> None:
    model = build(code_gan(**PLAIN, terms__invariance__weight=2, terms__equivariance__weight=4))
    discriminator, batch = model.phases[0].module, batches_of(model)[index]
    value, parts, _ = model.phases[index].loss(batch)
    vector = code_gan().condition.vector(batch.draws)
    scores = [discriminator(images)[0] for images in (batch.images, model.generator(batch.latents, vector))]
    objective = OBJECTIVES["non_saturating"]
    expected = (objective.discriminator if index == 0 else objective.generator)(*scores)
    weights = {"categorical_information": 1, "continuous_information": 0.5, "invariance": 2, "equivariance": 4}
    named = [name for name in weights if name in parts]
    assert named == list(weights)[: 4 if index == 0 else 2]
    torch.testing.assert_close(value, expected + sum(weights[name] * parts[name] for name in named))


@pytest.mark.parametrize("objective", OF_SCORES)
@pytest.mark.parametrize("index", [0, 1])
def test_repeating_each_phase_lowers_its_loss(objective: str, index: int) -> None:
    model = build(label_gan(objective=objective, discriminator__projection=OBJECTIVES[objective].outcomes == 1))
    reports = learn(model.phases[index], batches_of(model)[index], 60)
    assert reports[-1]["loss"] < reports[0]["loss"]


@pytest.mark.parametrize("objective", OF_SCORES)
@pytest.mark.parametrize("norm", ["spectral", "layer"])
def test_every_objective_takes_steps(objective: str, norm: str) -> None:
    has_slope = norm == "layer" and OBJECTIVES[objective].outcomes == 1
    penalty = {"terms__gradient_penalty__weight": 10} if has_slope else {}
    model = build(gan(objective=objective, discriminator__norm=norm, critic_steps=2, **penalty))
    for step in range(2):
        report = take_step(model, step)
        assert {"discriminator/loss", "generator/loss", "discriminator/real", "discriminator/fake"} <= report.keys()
        assert all(value.isfinite() for value in report.values())


def test_of_several_outcomes_the_expected_realness_is_reported() -> None:
    model = build(gan(**PLAIN, objective="realness"))
    batch, discriminator = batches_of(model)[0], model.phases[0].module
    statistics = model.phases[0].loss(batch).statistics
    for name, images in (("real", batch.images), ("fake", model.generator(batch.latents))):
        outputs = discriminator(images)[0]
        assert outputs.shape == (6, 10)
        torch.testing.assert_close(statistics[name], (outputs.softmax(1) @ torch.linspace(-1, 1, 10)).mean())


def test_an_objective_that_shows_real_images_gets_their_scores_in_the_generators_phase(monkeypatch) -> None:
    known, given = OBJECTIVES["hinge"], []

    def relativistic(real: Tensor | None, fake: Tensor) -> Tensor:
        given.append(real)
        assert real is not None
        return nn.functional.softplus(real - fake).mean()

    monkeypatch.setitem(
        OBJECTIVES, "shown", Objective(known.discriminator, relativistic, line="", paper="", shows_real=True)
    )
    model = build(gan(**PLAIN, objective="shown"))
    passes = count_passes(model.phases[0].module)
    batch = batches_of(model)[1]
    value, _, _ = model.phases[1].loss(batch)
    assert passes == [12]
    torch.testing.assert_close(given[0], model.phases[0].module(batch.images)[0])
    value.backward()
    assert any(parameter.grad.any() for parameter in model.generator.parameters())


@pytest.mark.parametrize(
    ("norm", "passes"),
    [("none", [[12], [6]]), ("spectral", [[12], [6]]), ("layer", [[12], [6]]), ("batch", [[6, 6], [6]])],
)
def test_real_images_and_samples_pass_apart_under_batch_norm_alone(norm: str, passes: list[list[int]]) -> None:
    model = build(label_gan(discriminator__norm=norm))
    seen = count_passes(model.phases[0].module)
    for phase, batch, expected in zip(model.phases, batches_of(model), passes, strict=True):
        seen.clear()
        phase.loss(batch)
        assert seen == expected


def test_a_batch_norm_takes_its_statistics_of_real_images_and_of_samples_each_alone() -> None:
    model = build(gan(discriminator__norm="batch"))
    net, batch = model.phases[0].module, batches_of(model)[0]
    statistics = model.phases[0].loss(batch).statistics
    fake = model.generator(batch.latents)
    torch.testing.assert_close(statistics["real"], net(batch.images)[0].mean())
    torch.testing.assert_close(statistics["fake"], net(fake)[0].mean())
    together = net(torch.cat([batch.images, fake]))[0]
    assert not torch.allclose(together[:6].mean(), statistics["real"], atol=1e-3)


def test_one_pass_for_all_gives_what_several_would() -> None:
    config, data = label_gan(**PLAIN), dots()
    model = build(config, data)
    batch, net = batches_of(model)[0], model.phases[0].module
    statistics = model.phases[0].loss(batch).statistics
    condition = torch.nn.functional.one_hot(batch.draws["labels"], 3).float()
    fake = model.generator(batch.latents, config.condition.vector(batch.draws, data.info))
    torch.testing.assert_close(statistics["real"], net(batch.images, condition)[0].mean())
    torch.testing.assert_close(statistics["fake"], net(fake, condition)[0].mean())


@pytest.mark.parametrize(
    ("terms", "passes"),
    [
        ({}, [1, 1]),  # Q reads the samples alone, once for both kinds of code
        ({"invariance": 2}, [3, 1]),  # and the real images and their deformations ...
        ({"invariance": 2, "equivariance": 4}, [3, 1]),  # ... which both terms look at
        ({"categorical_information": 0, "continuous_information": 1}, [1, 1]),
    ],
)
def test_q_reads_what_a_term_asks_about_and_each_once(terms: dict[str, float], passes: list[int]) -> None:
    model = build(code_gan(**{f"terms__{name}__weight": weight for name, weight in terms.items()}))
    posterior = model.phases[0].module.heads["codes"]
    norm = next(layer for layer in posterior.modules() if isinstance(layer, nn.BatchNorm1d))
    for phase, batch, expected in zip(model.phases, batches_of(model), passes, strict=True):
        before = norm.num_batches_tracked.item()
        phase.loss(batch)
        assert norm.num_batches_tracked.item() - before == expected


def test_the_first_phase_teaches_q_to_read_the_codes() -> None:
    model = build(code_gan(condition__posterior__learned_variance=True))
    reports = learn(model.phases[0], batches_of(model)[0], steps=80)
    for name in ("categorical_information", "continuous_information"):
        assert reports[-1][name] < reports[0][name] - 0.4


def test_the_second_phase_teaches_the_generator_to_write_them() -> None:
    weights = {"terms__categorical_information__weight": 5, "terms__continuous_information__weight": 5}
    model = build(code_gan(**weights))
    reports = learn(model.phases[1], batches_of(model)[1], steps=80)
    for name in ("categorical_information", "continuous_information"):
        assert reports[-1][name] < reports[0][name]


def test_the_reported_bounds_are_those_of_q_on_the_samples() -> None:
    config = code_gan(**PLAIN, condition__posterior__learned_variance=True)
    model = build(config)
    discriminator, batch = model.phases[0].module, batches_of(model)[1]
    statistics = model.phases[1].loss(batch).statistics
    samples = model.generator(batch.latents, config.condition.vector(batch.draws))
    reading = discriminator.heads["codes"](discriminator(samples)[1])
    categorical, continuous = batch.draws["categorical"], batch.draws["continuous"]
    torch.testing.assert_close(
        statistics["categorical_information"], categorical_loss(reading.categorical, categorical)
    )
    torch.testing.assert_close(
        statistics["continuous_information"], continuous_loss(reading.mean, reading.log_variance, continuous)
    )


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("categorical", "continuous"), [((), (2,)), ((3,), ()), ((2, 2, 2), (1, 1))])
def test_codes_may_be_of_any_number(categorical: tuple[int, ...], continuous: tuple[int, ...]) -> None:
    weights = {
        "terms__categorical_information__weight": bool(categorical),
        "terms__continuous_information__weight": bool(continuous),
    }
    model = build(code_gan(condition__categorical=categorical, condition__continuous=continuous, **weights))
    assert all(value.isfinite() for step in range(2) for value in take_step(model, step).values())
    picture = model.sample_grid(model.generator)
    rows, columns = (categorical or (1,))[0], 7 * max(1, sum(continuous))
    tile = (picture.height - 2) / rows
    assert picture.width - 2 == columns * tile


@pytest.mark.parametrize(("kind", "proportion"), [("without", 1), ("label", 10 / 3), ("codes", 21 / 4)])
def test_the_sample_grid_is_as_the_condition_shows_it_and_always_the_same(kind: str, proportion: float) -> None:
    model = build(CONFIGS[kind])
    picture = model.sample_grid(model.generator)
    assert (picture.width - 2) / (picture.height - 2) == pytest.approx(proportion)
    assert model.sample_grid(model.generator).tobytes() == picture.tobytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 32, 64, 80, 96, 128])
def test_every_size_takes_a_step_grey_and_in_colour(size: int, channels: int) -> None:
    model = build(label_gan(generator__width=2, discriminator__width=2, batch=2), dots(size=size, channels=channels))
    assert all(value.isfinite() for value in take_step(model).values())
    assert model.generator(torch.randn(2, 5), torch.eye(3)[:2]).shape == (2, channels, size, size)


@pytest.mark.parametrize("norm", ["spectral", "batch", "layer"])
def test_two_images_of_one_class_are_enough_for_a_step(norm: str) -> None:
    data = dots(classes=1, count=2)
    classifier = {"discriminator__concat": False, "terms__classifier__weight": 1}
    for config in (label_gan(**classifier), code_gan(terms__invariance__weight=1, terms__equivariance__weight=1)):
        model = build(config.changed({"batch": 2, "discriminator.norm": norm}), data)
        assert all(value.isfinite() for step in range(3) for value in take_step(model, step).values())


def test_under_bfloat16_losses_are_float32_and_near_those_of_float32() -> None:
    weights = {"terms__invariance__weight": 2, "terms__equivariance__weight": 4, "terms__gradient_penalty__weight": 1}
    config = code_gan(**PLAIN, **weights)
    exact = losses_of(build(config))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = losses_of(build(config))
    for one, other in zip(exact, mixed, strict=True):
        for name, value in {"loss": other.value, **other.statistics}.items():
            assert value.dtype == torch.float32
            expected = one.value if name == "loss" else one.statistics[name]
            torch.testing.assert_close(value, expected, rtol=0.03, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(label_gan(), id="cgan"),
        pytest.param(code_gan(terms__invariance__weight=2, terms__equivariance__weight=4), id="infogan"),
        pytest.param(gan(discriminator__norm="layer", terms__gradient_penalty__weight=10), id="gradient penalty"),
        pytest.param(gan(discriminator__norm="batch", discriminator__init="normal"), id="dcgan"),
        pytest.param(gan(objective="realness", terms__orthogonal__weight=1e-4), id="realness"),
        pytest.param(gan(terms__feature_matching__weight=1, terms__pulling_away__weight=0.1), id="features"),
    ],
)
@pytest.mark.parametrize("index", [0, 1])
def test_compiled_losses_are_one_graph_and_give_what_eager_ones_give(config, index: int) -> None:
    problem = compiler_problem(torch.device("cpu"))
    if problem:
        pytest.skip(problem)
    torch._dynamo.reset()
    results = []
    for compile in (lambda loss: loss, lambda loss: torch.compile(loss, fullgraph=True)):
        model = build(config)
        model.phases[1 - index].module.requires_grad_(False)
        value, statistics, _ = compile(model.phases[index].loss)(batches_of(model)[index])
        value.backward()
        gradients = [parameter.grad for parameter in model.phases[index].module.parameters()]
        results.append((value.detach(), {name: each.detach() for name, each in statistics.items()}, gradients))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


def test_losses_are_functions_of_a_batch() -> None:
    """The same batch gives the same losses, whatever came between; only buffers may move."""
    config, data = code_gan(**PLAIN), dots()
    model = build(config, data)
    losses = Losses(config, data.info, model.generator, model.phases[0].module)
    first, second = batches_of(model)
    before = [losses.of_discriminator(first).value, losses.of_generator(second).value]
    losses.of_generator(batches_of(model, 4)[1])
    assert [losses.of_discriminator(first).value, losses.of_generator(second).value] == before


def test_a_discriminators_weights_are_clipped_after_it_has_learnt() -> None:
    model = build(gan(objective="wasserstein", discriminator__norm="none", discriminator__clip=0.01, critic_steps=2))
    assert all(value.isfinite() for value in take_step(model).values())
    largest = max(weights.abs().max().item() for weights in model.phases[0].module.parameters())
    assert largest == pytest.approx(0.01)
