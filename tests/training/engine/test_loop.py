"""The loop end to end on a tiny run, and above all: a resumed run equals one that was never stopped."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from tests.training.engine.checkpoints import (
    assert_equal_checkpoints,
    assert_equal_runs,
    flat,
    last_checkpoint,
    state_of,
    statistics_of,
)
from training.config import ConfigError, OptimizerConfig, RunConfig
from training.config.gan import GanConfig
from training.config.translation import TranslationConfig
from training.engine import DivergedError, Interrupted, RunDir, checkpoint, load_run, loop, train
from training.engine.precision import compiler_problem
from training.steps.phase import Loss, Model, Phase


def send_at_step(patch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Has this process get a signal in the middle of a step."""
    update = loop.Ema.update

    def update_and_signal(self: loop.Ema, net: torch.nn.Module, images: int, batch: int) -> None:
        update(self, net, images, batch)
        if images == step * batch:
            os.kill(os.getpid(), number)

    patch.setattr(loop.Ema, "update", update_and_signal)


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(config: RunConfig, tmp_path: Path) -> None:
    """Nets, average, optimizers and progress; the stop falls in the middle of an epoch."""
    train(config, tmp_path / "unbroken")
    train(config.changed({"total_images": 48}), tmp_path / "resumed")
    train(config, tmp_path / "resumed")
    assert_equal_checkpoints(tmp_path / "unbroken", tmp_path / "resumed")


def test_the_same_run_gives_the_same_model(any_recipe: RunConfig, tmp_path: Path) -> None:
    train(any_recipe, tmp_path / "1")
    train(any_recipe, tmp_path / "2")
    assert_equal_checkpoints(tmp_path / "1", tmp_path / "2")


def test_the_checkpoint_holds_all_that_learns(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    state = state_of(tmp_path)
    assert set(state) == {
        "progress",
        "statistics",
        "ema",
        "discriminator/net",
        "discriminator/optimizer",
        "generator/net",
        "generator/optimizer",
    }
    assert state["progress"]["images"] == 128
    assert not torch.equal(state["ema"]["project.weight"], state["generator/net"]["project.weight"])


def test_a_cyclegans_checkpoint_holds_its_pools(cyclegan: TranslationConfig, tmp_path: Path) -> None:
    train(cyclegan, tmp_path / "run")
    state = state_of(tmp_path / "run")
    for pool in ("pool_a", "pool_b"):
        assert [tuple(picture.shape) for picture in state[pool]["kept"]] == [(1, 3, 32, 32)] * 3
    assert {name for name in state if "/" in name} == {
        "generators/net",
        "generators/optimizer",
        "discriminators/net",
        "discriminators/optimizer",
    }


def test_another_seed_gives_another_model(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "0")
    train(config.changed({"seed": 1}), tmp_path / "1")
    first, second = (state_of(tmp_path / seed)["ema"]["project.weight"] for seed in "01")
    assert not torch.equal(first, second)


def test_the_callers_random_state_is_neither_used_nor_changed(config: RunConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(config, tmp_path / "1")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    train(config, tmp_path / "2")
    assert_equal_checkpoints(tmp_path / "1", tmp_path / "2")


def test_every_tick_leaves_a_grid_of_one_row_a_class(config: RunConfig, tmp_path: Path) -> None:
    last = train(config, tmp_path)
    assert sorted(path.name for path in (tmp_path / "grids").iterdir()) == ["000000064.png", "000000128.png"]
    assert last == tmp_path / "grids" / "000000128.png"
    with Image.open(last) as picture:
        assert picture.mode == "L"
        assert picture.width == picture.height > 10 * 48


def test_every_tick_of_every_family_leaves_a_picture(any_recipe: RunConfig, tmp_path: Path) -> None:
    last = train(any_recipe, tmp_path / "run")
    names = [f"{images:09d}.png" for images in (any_recipe.tick, 2 * any_recipe.tick)]
    assert sorted(path.name for path in (tmp_path / "run" / "grids").iterdir()) == names
    with Image.open(last) as picture:
        assert len(picture.convert("L").getcolors()) > 50


def test_tensorboard_gets_the_losses_and_the_speed(config: RunConfig, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    wanted = {"discriminator/loss", "discriminator/real", "generator/loss", "speed/images_per_second"}
    assert wanted <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("generator/loss")] == [64, 128]


def test_a_finished_run_is_left_as_it_is(config: RunConfig, tmp_path: Path) -> None:
    first = train(config, tmp_path)
    before = last_checkpoint(tmp_path).path.stat().st_mtime_ns
    assert train(config, tmp_path) == first
    assert last_checkpoint(tmp_path).path.stat().st_mtime_ns == before


def test_fresh_starts_over_and_spares_what_training_did_not_write(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    train(config.changed({"seed": 5, "total_images": 64}), tmp_path, fresh=True)
    assert state_of(tmp_path)["progress"]["images"] == 64
    assert not (tmp_path / "grids" / "000000128.png").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_settings_are_refused_by_name_and_change_nothing(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    before = (tmp_path / "config.json").read_text()
    other = config.changed({"seed": 3, "generator.width": 8, "tick": 32})
    with pytest.raises(ConfigError) as caught:
        train(other, tmp_path)
    assert "seed was 0 and is 3" in str(caught.value)
    assert "generator.width was 4 and is 8" in str(caught.value)
    assert "tick" not in str(caught.value)
    assert "--fresh" in str(caught.value)
    assert (tmp_path / "config.json").read_text() == before


def test_another_family_in_the_same_place_is_refused(config: RunConfig, infogan: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings: recipe was cgan and is infogan\. Give"):
        train(infogan, tmp_path)


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(config: RunConfig, tmp_path: Path) -> None:
    sane = config.changed({"total_images": 64})
    train(sane, tmp_path)
    saved = last_checkpoint(tmp_path)
    saved.state["generator/net"]["project.weight"].fill_(float("nan"))
    checkpoint.save(saved.path, saved.state, saved.origin)
    before = saved.path.read_bytes()
    with pytest.raises(DivergedError, match=r"discriminator/loss is nan after 128 images"):
        train(config, tmp_path)
    assert last_checkpoint(tmp_path).path == saved.path
    assert saved.path.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    any_recipe: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Nets, average, optimizers, pools, the falling learning rate and progress: all goes on bit for bit."""
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        send_at_step(patch, 5, number)
        with pytest.raises(Interrupted, match=f"stopped after {5 * any_recipe.step_images} images"):
            train(any_recipe, tmp_path / "stopped")
    assert signal.getsignal(number) is handler
    assert state_of(tmp_path / "stopped")["progress"]["step"] == 5
    train(any_recipe, tmp_path / "stopped")
    train(any_recipe, tmp_path / "unbroken")
    assert_equal_runs(tmp_path / "stopped", tmp_path / "unbroken")


def test_runs_outside_the_main_thread_too(config: RunConfig, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=(config, tmp_path))
    thread.start()
    thread.join()
    assert (tmp_path / "grids" / "000000128.png").exists()


def test_bfloat16_trains_with_weights_and_losses_in_float32(any_recipe: RunConfig, tmp_path: Path) -> None:
    train(any_recipe.changed({"precision": "bfloat16"}), tmp_path / "run")
    state = state_of(tmp_path / "run")
    weights = [value for value in flat(state["ema"]).values() if value.is_floating_point()]
    assert {value.dtype for value in weights} == {torch.float32}
    assert all(value.isfinite().all() for value in weights)


def test_compile_without_a_compiler_trains_and_says_so(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no C++ compiler" in compiler_problem(torch.device("cpu"))
    train(config.changed({"compile": True}), tmp_path / "compiled")
    assert "training without torch.compile: there is no C++ compiler" in capsys.readouterr().err
    train(config, tmp_path / "plain")
    assert "compile" not in capsys.readouterr().err
    assert_equal_checkpoints(tmp_path / "compiled", tmp_path / "plain")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_asking_for_cuda_where_there_is_none_is_refused(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--device cuda"):
        train(config, tmp_path, device="cuda")
    assert not (tmp_path / "config.json").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_trains_and_resumes_on_cuda(any_recipe: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        send_at_step(patch, 5, signal.SIGTERM)
        with pytest.raises(Interrupted):
            train(any_recipe, tmp_path / "run", device="cuda")
    assert train(any_recipe, tmp_path / "run", device="cuda").exists()


def test_learning_rates_reach_their_optimizers(config: RunConfig, tmp_path: Path) -> None:
    rates = OptimizerConfig(generator_lr=1e-3, discriminator_lr=5e-4)
    train(config.model_copy(update={"optimizer": rates}), tmp_path)
    state = state_of(tmp_path)
    assert state["generator/optimizer"]["param_groups"][0]["lr"] == 1e-3
    assert state["discriminator/optimizer"]["param_groups"][0]["lr"] == 5e-4


def test_falling_learning_rates_are_those_of_the_last_step(infogan: RunConfig, tmp_path: Path) -> None:
    """Of 128 images 32 keep the rate; the last step begins at 112, when 16 of 96 are left."""
    train(infogan, tmp_path)
    state = state_of(tmp_path)
    for net in ("generator", "discriminator"):
        assert state[f"{net}/optimizer"]["param_groups"][0]["lr"] == pytest.approx(6e-4 / 6)


def changed_build(patch: pytest.MonkeyPatch, change: Callable[[Model], Model]) -> None:
    """Has the engine train another model where a conditional GAN is asked for."""
    build = GanConfig.build
    patch.setattr(GanConfig, "build", lambda *arguments: change(build(*arguments)))


def digest(module: nn.Module) -> float:
    return sum(parameter.abs().sum().item() for parameter in module.parameters())


def test_phases_repeat_and_rest_and_are_given_a_batch_each(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[tuple[str, float]] = []
    latents: list[list[float]] = []

    def critics(model: Model) -> Model:
        """A critic that learns thrice a step, and a generator that learns in every second one."""
        critic, generator = model.phases

        def watched(phase: Phase, **changes: Any) -> Phase:
            def loss(batch: Any) -> Loss:
                latents.append(batch.latents[0].tolist())
                return phase.loss(batch)

            def after(module: nn.Module) -> None:
                learnt.append((phase.name, digest(module)))

            return dataclasses.replace(phase, loss=loss, after=after, **changes)

        return dataclasses.replace(model, phases=[watched(critic, repeats=3), watched(generator, every=2)])

    changed_build(monkeypatch, critics)
    train(config.changed({"total_images": 64}), tmp_path)
    names = [name for name, _ in learnt]
    assert names == (["discriminator"] * 3 + ["generator"] + ["discriminator"] * 3) * 2
    assert len({value for _, value in learnt}) == len(learnt), "each time it has learnt"
    assert len({tuple(each) for each in latents}) == len(latents), "from another batch"


def test_two_phases_may_train_one_net(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights: list[float] = []

    def twice(model: Model) -> Model:
        critic, generator = (
            dataclasses.replace(phase, after=lambda module: weights.append(digest(module))) for phase in model.phases
        )
        return dataclasses.replace(model, phases=[critic, dataclasses.replace(critic, name="again"), generator])

    changed_build(monkeypatch, twice)
    train(config.changed({"total_images": 16, "tick": 16}), tmp_path)
    assert len(set(weights)) == 3


def test_what_a_phase_does_afterwards_holds(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def clip(module: nn.Module) -> None:
        for parameter in module.parameters():
            parameter.clamp_(-0.01, 0.01)

    def clipped(model: Model) -> Model:
        critic, generator = model.phases
        return dataclasses.replace(model, phases=[dataclasses.replace(critic, after=clip), generator])

    changed_build(monkeypatch, clipped)
    train(config, tmp_path)
    weights = state_of(tmp_path)["discriminator/net"]
    assert max(value.abs().max() for name, value in weights.items() if name.endswith((".bias", "original"))) <= 0.01


def with_dropout(model: Model) -> Model:
    def dropped(phase: Phase) -> Phase:
        def loss(batch: Any) -> Loss:
            return phase.loss(dataclasses.replace(batch, latents=nn.functional.dropout(batch.latents)))

        return dataclasses.replace(phase, loss=loss)

    return dataclasses.replace(model, phases=[dropped(phase) for phase in model.phases])


def test_dropout_follows_from_the_seed_and_the_step(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed_build(monkeypatch, with_dropout)
    train(config, tmp_path / "1")
    torch.rand(1)
    train(config, tmp_path / "2")
    with monkeypatch.context() as patch:
        send_at_step(patch, 5, signal.SIGTERM)
        with pytest.raises(Interrupted):
            train(config, tmp_path / "3")
    train(config, tmp_path / "3")
    for name in ("2", "3"):
        assert_equal_runs(tmp_path / "1", tmp_path / name)
    monkeypatch.undo()
    train(config, tmp_path / "plain")
    first, plain = (state_of(tmp_path / name)["generator/net"]["project.weight"] for name in ("1", "plain"))
    assert not torch.equal(first, plain)


def test_a_stop_between_two_ticks_logs_nothing(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_at_step(monkeypatch, 5, signal.SIGTERM)
    with pytest.raises(Interrupted):
        train(config, tmp_path)
    assert [line["images"] for line in statistics_of(tmp_path)] == [64]
    assert [path.name for path in (tmp_path / "grids").iterdir()] == ["000000064.png"]


def test_every_tick_is_a_line_of_statistics(config: RunConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [(line["images"], line["step"]) for line in lines] == [(64, 4), (128, 8)]
    wanted = {"time", "speed/images_per_second", "discriminator/loss", "discriminator/real", "generator/loss"}
    assert all(wanted <= line.keys() for line in lines)


def test_a_torn_checkpoint_costs_one_tick_and_nothing_else(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config, tmp_path / "unbroken")
    train(config, tmp_path / "torn")
    newest = last_checkpoint(tmp_path / "torn").path
    newest.write_bytes(newest.read_bytes()[:-1])
    train(config, tmp_path / "torn")
    assert "going back to the one before" in capsys.readouterr().err
    assert_equal_runs(tmp_path / "unbroken", tmp_path / "torn")


def test_other_data_are_refused_by_what_differs(cyclegan: TranslationConfig, tmp_path: Path) -> None:
    train(cyclegan.changed({"total_images": 6}), tmp_path / "run")
    folder = tmp_path / "data" / "noise" / "trainA"
    shutil.copy(folder / "0.png", folder / "9.png")
    with pytest.raises(ConfigError, match=r"holds a run with other data: images was 3 and is 4, fingerprint.*--fresh"):
        train(cyclegan, tmp_path / "run")


def test_another_number_of_threads_goes_on_with_a_warning(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(config.changed({"total_images": 64}), tmp_path, threads=2)
    capsys.readouterr()
    train(config.changed({"total_images": 96}), tmp_path)
    assert "warning" not in capsys.readouterr().err, "it goes on with as many as it had"
    assert last_checkpoint(tmp_path).origin["machine"]["threads"] == 2
    train(config, tmp_path, threads=1)
    assert "warning: threads was 2 and is 1: the run goes on, but not bit for bit" in capsys.readouterr().err


def test_a_folder_in_use_is_refused(config: RunConfig, tmp_path: Path) -> None:
    with RunDir(tmp_path).locked(), pytest.raises(ConfigError, match=f"{tmp_path}: process {os.getpid()} is training"):
        train(config, tmp_path)
    train(config, tmp_path)


def test_the_best_generator_by_the_first_figure_is_kept(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over a stop, after which it is known what was the best so far."""
    seen: list[dict[str, torch.Tensor]] = []
    figures = iter([3.0, 1.0, 2.0, 1.5])

    def quality(generator: nn.Module) -> dict[str, float]:
        seen.append({name: value.clone() for name, value in generator.state_dict().items()})
        return {"distance": next(figures), "other": 0.0}

    train(config.changed({"total_images": 192}), tmp_path, quality=lambda *_: quality)
    train(config.changed({"total_images": 256}), tmp_path, quality=lambda *_: quality)
    lines = statistics_of(tmp_path)
    assert [line["validation/distance"] for line in lines] == [3, 1, 2, 1.5]
    assert "validation/other" in lines[0]
    best = load_run(tmp_path, best=True)
    assert best.images_seen == 128
    assert all(torch.equal(value, seen[1][name]) for name, value in best.generator.state_dict().items())
    assert load_run(tmp_path).images_seen == 256


@pytest.mark.slow
@pytest.mark.skipif(compiler_problem(torch.device("cpu")) is not None, reason="there is no compiler here")
def test_a_signal_ends_a_run_that_compiles(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It falls into the compiler's work, which takes longer than anybody would wait."""
    train(config.changed({"total_images": 64}), tmp_path)
    code = f"""
        import os, signal, sys, torch, torch._inductor.graph as graph
        from pathlib import Path
        from training.recipes import parse_config
        from training.engine import Interrupted, train
        compile = graph.GraphLowering.codegen
        def signalled(*arguments, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            return compile(*arguments, **options)
        graph.GraphLowering.codegen = signalled
        config = parse_config(Path({str(tmp_path / "config.json")!r}).read_bytes())
        try:
            train(config.changed({{"total_images": 128, "compile": True}}), Path({str(tmp_path)!r}), device="cpu")
        except Interrupted as stop:
            sys.exit(str(stop))
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert "compiling… (up to a few minutes)" in ended.stderr
    assert ended.stderr.endswith("stopped while compiling; the same command goes on from the last checkpoint\n")
    assert state_of(tmp_path)["progress"]["images"] == 64
