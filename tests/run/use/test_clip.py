"""Clips: an episode before beside one after adaptation."""

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image

from metarl.core.errors import RequestError
from metarl.run.report.page import write_report
from metarl.run.use.clip import CAPTION, STRIP_FRAMES, STRIP_HEIGHT, render_run, side_by_side
from metarl.run.use.episode_pictures import SIDE, Episode, play, show
from metarl.run.use.policy import Policy
from metarl.run.use.runs import Run, train
from tiny_families import Corridor
from tiny_runs import taught, tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(), tmp_path_factory.mktemp("clip") / "run")


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as clip:
        found = []
        for k in range(getattr(clip, "n_frames", 1)):
            clip.seek(k)
            found.append(np.asarray(clip.convert("RGB")))
        return found


def test_a_gif_has_a_frame_a_time_step_and_the_report_shows_its_strip(run: Run) -> None:
    out = run.path / "clip.gif"
    assert render_run(run.path, out, steps=2, episodes=3) == out
    found = frames(out)
    assert found[0].shape == (SIDE + CAPTION, 2 * SIDE, 3)
    assert 2 <= len(found) <= 11  # a horizon of 10; GIFs leave out frames that repeat the one before
    assert (found[0] != found[-1]).any()
    strip = frames(run.path / "frames.png")[0]
    assert strip.shape == (2 * (STRIP_HEIGHT + CAPTION), STRIP_FRAMES * STRIP_HEIGHT, 3)
    page = write_report([run.path]).read_text(encoding="utf-8")
    assert "Frames before and after" in page
    assert page.count('class="strip"') == 1


def test_an_mp4_plays(run: Run, tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    out = render_run(run.path, tmp_path / "clip.mp4", episodes=2, task='{"goal": [0.3, -0.2]}')
    count, seconds = ffmpeg.count_frames_and_secs(str(out))
    assert count == 11
    assert seconds == pytest.approx(11 / 20, abs=0.06)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


class Counter(gymnasium.Env[Any, Any]):
    """Draws its clock, a picture of brightness 10 t; pays t; ends after ``last`` steps."""

    render_mode = "rgb_array"
    metadata = {"render_fps": 7}

    def __init__(self, last: int) -> None:
        self.last = last

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.t, self.task = 0, options["task"]
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return np.full(2, self.t, np.float32), float(self.t), self.t == self.last, False, {}

    def render(self) -> np.ndarray:
        return np.full((5, 6, 3), 10 * self.t, np.uint8)

    def close(self) -> None:
        self.t = -1


class Drawn(Corridor):
    """A family whose environments draw themselves."""

    def make(self, render_mode: str | None = None) -> Any:
        assert render_mode == "rgb_array"
        return Counter(3)


class Blind(Counter):
    """Cannot draw, as a robot without OpenGL."""

    def render(self) -> Any:
        raise RuntimeError("no OpenGL")


class Unseen(Drawn):
    def make(self, render_mode: str | None = None) -> Any:
        return Blind(3)


class Idle(Policy):
    def __init__(self) -> None:
        """Needs no network."""

    def predict(self, *observation: Any, **how: Any) -> tuple[np.ndarray, Any]:
        return np.zeros(2), None


def test_an_environment_that_draws_itself_is_shown_as_it_draws() -> None:
    (shown,), speed = show(Drawn(), [Idle()], {"goal": [0.0]}, 1, False)
    assert speed == 7
    assert shown.returns.tolist() == [0.0, 1.0, 3.0, 6.0]
    assert [int(picture[0, 0, 0]) for picture in shown.pictures] == [0, 10, 20, 30]


def test_where_nothing_can_be_drawn_a_plot_takes_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    (shown,), _ = show(Unseen(), [Idle()], {"goal": [0.0]}, 1, False)
    assert [picture.shape for picture in shown.pictures] == [(SIDE, SIDE, 3)] * 4
    assert (shown.pictures[0] != shown.pictures[-1]).any()
    assert capsys.readouterr().err == "metarl: warning: no OpenGL; a plot takes the place of pictures\n"


def test_an_episode_stops_at_the_horizon() -> None:
    assert len(play(Counter(99), 4, Idle(), {}, 1, False).pictures) == 5


def test_an_episode_that_has_ended_stands_still_beside_a_longer_one() -> None:
    short, long = (
        Episode(
            np.zeros(len(shades)), np.zeros(len(shades)), [np.full((4, 4, 3), k, np.uint8) for k in shades]
        )
        for shades in ((50,), (60, 70))
    )
    found = side_by_side([short, long], ["a", "b"])
    assert [(int(f[-1, 0, 0]), int(f[-1, -1, 0])) for f in found] == [(50, 60), (50, 70)]


def test_without_a_plane_the_return_is_plotted(tmp_path: Path) -> None:
    config = tiny(family="bandit", family_arg={"horizon": 5}, iterations=1)
    made = train(config, tmp_path / "run")
    render_run(made.path, tmp_path / "clip.gif", episodes=2)
    first, *_, last = frames(tmp_path / "clip.gif")
    assert (first != last).any()


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("clip.avi", {}, r"out must end in .mp4 or .gif, got '.*clip.avi'"),
        ("nowhere/clip.gif", {}, r"cannot be written; allowed: a file in a folder that exists"),
        ("clip.gif", {"task": '{"gaol": [1, 2]}'}, r"gaol"),
        ("clip.gif", {"checkpoint": "7"}, r"7"),
        ("clip.gif", {"task": '{"goal": [[1], [1, 2]]}'}, r"goal of a task must be such as .*, got"),
        ("clip.gif", {"inner_lr": 1e38, "steps": 2}, r"not finite|finite numbers"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_is_written(
    run: Run, tmp_path: Path, name: str, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(RequestError, match=why):
        render_run(run.path, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_an_mp4_without_its_library_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(RequestError, match=r"clip.mp4 needs imageio-ffmpeg: pip install .*\[video\].*\.gif"):
        render_run(run.path, tmp_path / "clip.mp4")


def test_labelled_examples_have_no_episodes_to_show(tmp_path: Path) -> None:
    made = train(taught(iterations=1), tmp_path / "run")
    with pytest.raises(RequestError, match=r"family 'sinusoid' gives labelled examples"):
        render_run(made.path, tmp_path / "clip.gif")
