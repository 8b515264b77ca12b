"""The loop end to end on a tiny run, and above all: a resumed run equals one that was never stopped."""

import os
import signal
import threading
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.training.engine.checkpoints import assert_equal_checkpoints, flat
from training.config import ConfigError, CycleGanConfig, OptimizerConfig, TrainConfig
from training.engine import DivergedError, Interrupted, loop, train
from training.engine.checkpoint import read
from training.engine.precision import compiler_problem


def send_at_step(patch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Has this process get a signal in the middle of a step."""
    update = loop.Ema.update

    def update_and_signal(self: loop.Ema, net: torch.nn.Module, images: int, batch: int) -> None:
        update(self, net, images, batch)
        if images == step * batch:
            os.kill(os.getpid(), number)

    patch.setattr(loop.Ema, "update", update_and_signal)


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(config: TrainConfig, tmp_path: Path) -> None:
    """Nets, average, optimizers and progress; the stop falls in the middle of an epoch."""
    train(config, tmp_path / "unbroken")
    train(config.changed({"images": 48}), tmp_path / "resumed")
    train(config, tmp_path / "resumed")
    assert_equal_checkpoints(tmp_path / "unbroken", tmp_path / "resumed")


def test_the_same_run_gives_the_same_model(any_family: TrainConfig, tmp_path: Path) -> None:
    train(any_family, tmp_path / "1")
    train(any_family, tmp_path / "2")
    assert_equal_checkpoints(tmp_path / "1", tmp_path / "2")


def test_the_checkpoint_holds_all_that_learns(config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    state = read(tmp_path / "checkpoint.pt")
    assert set(state) == {
        "progress",
        "ema",
        "discriminator/net",
        "discriminator/optimizer",
        "generator/net",
        "generator/optimizer",
    }
    assert state["progress"]["images"] == 128
    assert not torch.equal(state["ema"]["project.weight"], state["generator/net"]["project.weight"])


def test_a_cyclegans_checkpoint_holds_its_pools(cyclegan: CycleGanConfig, tmp_path: Path) -> None:
    train(cyclegan, tmp_path / "run")
    state = read(tmp_path / "run" / "checkpoint.pt")
    for pool in ("pool_a", "pool_b"):
        assert [tuple(picture.shape) for picture in state[pool]["kept"]] == [(1, 3, 32, 32)] * 3
    assert {name for name in state if "/" in name} == {
        "generators/net",
        "generators/optimizer",
        "discriminators/net",
        "discriminators/optimizer",
    }


def test_another_seed_gives_another_model(config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path / "0")
    train(config.changed({"seed": 1}), tmp_path / "1")
    first, second = (read(tmp_path / seed / "checkpoint.pt")["ema"]["project.weight"] for seed in "01")
    assert not torch.equal(first, second)


def test_the_callers_random_state_is_neither_used_nor_changed(config: TrainConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(config, tmp_path / "1")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    train(config, tmp_path / "2")
    assert_equal_checkpoints(tmp_path / "1", tmp_path / "2")


def test_every_tick_leaves_a_grid_of_one_row_a_class(config: TrainConfig, tmp_path: Path) -> None:
    last = train(config, tmp_path)
    assert sorted(path.name for path in (tmp_path / "grids").iterdir()) == ["000000064.png", "000000128.png"]
    assert last == tmp_path / "grids" / "000000128.png"
    with Image.open(last) as picture:
        assert picture.mode == "L"
        assert picture.width == picture.height > 10 * 48


def test_every_tick_of_every_family_leaves_a_picture(any_family: TrainConfig, tmp_path: Path) -> None:
    last = train(any_family, tmp_path / "run")
    names = [f"{images:09d}.png" for images in (any_family.tick, 2 * any_family.tick)]
    assert sorted(path.name for path in (tmp_path / "run" / "grids").iterdir()) == names
    with Image.open(last) as picture:
        assert len(picture.convert("L").getcolors()) > 50


def test_tensorboard_gets_the_losses_and_the_speed(config: TrainConfig, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    wanted = {"discriminator/loss", "discriminator/real", "generator/loss", "speed/images_per_second"}
    assert wanted <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("generator/loss")] == [64, 128]


def test_a_finished_run_is_left_as_it_is(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config, tmp_path)
    before = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    assert train(config, tmp_path) == first
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == before


def test_fresh_starts_over_and_spares_what_training_did_not_write(config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    train(config.changed({"seed": 5, "images": 64}), tmp_path, fresh=True)
    assert read(tmp_path / "checkpoint.pt")["progress"]["images"] == 64
    assert not (tmp_path / "grids" / "000000128.png").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_settings_are_refused_by_name_and_change_nothing(config: TrainConfig, tmp_path: Path) -> None:
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


def test_another_family_in_the_same_place_is_refused(config: TrainConfig, infogan: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings: family was cgan and is infogan\. Give"):
        train(infogan, tmp_path)


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(config: TrainConfig, tmp_path: Path) -> None:
    sane = config.changed({"images": 64})
    train(sane, tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    state["generator/net"]["project.weight"].fill_(float("nan"))
    torch.save(state, tmp_path / "checkpoint.pt")
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(DivergedError, match=r"discriminator/loss is nan after 128 images"):
        train(config, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    any_family: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Nets, average, optimizers, pools, the falling learning rate and progress: all goes on bit for bit."""
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        send_at_step(patch, 5, number)
        with pytest.raises(Interrupted, match=f"stopped after {5 * any_family.batch} images"):
            train(any_family, tmp_path / "stopped")
    assert signal.getsignal(number) is handler
    assert read(tmp_path / "stopped" / "checkpoint.pt")["progress"]["step"] == 5
    train(any_family, tmp_path / "stopped")
    train(any_family, tmp_path / "unbroken")
    assert_equal_checkpoints(tmp_path / "stopped", tmp_path / "unbroken")


def test_runs_outside_the_main_thread_too(config: TrainConfig, tmp_path: Path) -> None:
    thread = threading.Thread(target=train, args=(config, tmp_path))
    thread.start()
    thread.join()
    assert (tmp_path / "grids" / "000000128.png").exists()


def test_bfloat16_trains_with_weights_and_losses_in_float32(any_family: TrainConfig, tmp_path: Path) -> None:
    train(any_family.changed({"precision": "bfloat16"}), tmp_path / "run")
    state = read(tmp_path / "run" / "checkpoint.pt")
    weights = [value for value in flat(state["ema"]).values() if value.is_floating_point()]
    assert {value.dtype for value in weights} == {torch.float32}
    assert all(value.isfinite().all() for value in weights)


def test_compile_without_a_compiler_trains_and_says_so(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no C++ compiler" in compiler_problem(torch.device("cpu"))
    with pytest.warns(UserWarning, match="training without torch.compile: there is no C"):
        train(config.changed({"compile": True}), tmp_path / "compiled")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(config, tmp_path / "plain")
    assert_equal_checkpoints(tmp_path / "compiled", tmp_path / "plain")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_asking_for_cuda_where_there_is_none_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--device cuda"):
        train(config, tmp_path, device="cuda")
    assert not (tmp_path / "config.json").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_trains_and_resumes_on_cuda(any_family: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        send_at_step(patch, 5, signal.SIGTERM)
        with pytest.raises(Interrupted):
            train(any_family, tmp_path / "run", device="cuda")
    assert train(any_family, tmp_path / "run", device="cuda").exists()


def test_learning_rates_reach_their_optimizers(config: TrainConfig, tmp_path: Path) -> None:
    rates = OptimizerConfig(generator_lr=1e-3, discriminator_lr=5e-4)
    train(config.model_copy(update={"optimizer": rates}), tmp_path)
    state = read(tmp_path / "checkpoint.pt")
    assert state["generator/optimizer"]["param_groups"][0]["lr"] == 1e-3
    assert state["discriminator/optimizer"]["param_groups"][0]["lr"] == 5e-4


def test_falling_learning_rates_are_those_of_the_last_step(infogan: TrainConfig, tmp_path: Path) -> None:
    """Of 128 images 32 keep the rate; the last step begins at 112, when 16 of 96 are left."""
    train(infogan, tmp_path)
    state = read(tmp_path / "checkpoint.pt")
    for net in ("generator", "discriminator"):
        assert state[f"{net}/optimizer"]["param_groups"][0]["lr"] == pytest.approx(6e-4 / 6)
