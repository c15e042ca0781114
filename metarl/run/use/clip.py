"""A clip of one task before and after adaptation, side by side, and the strip of it that reports show."""

import io
import secrets
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metarl.core.errors import RequestError
from metarl.run.agent.data_kinds import EXAMPLES
from metarl.run.config.admission import Trust
from metarl.run.evaluate.protocol import Protocol, held_out_tasks
from metarl.run.store.files import check_writable, write_atomic
from metarl.run.use.adaptation import read_task
from metarl.run.use.episode_pictures import Episode, Picture, show
from metarl.run.use.runs import load

STRIP, STRIP_FRAMES, STRIP_HEIGHT = "frames.png", 6, 160
CAPTION = 34  # pixels above the pictures
INK, PAPER = (30, 30, 30), (255, 255, 255)


def render_run(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    checkpoint: str | int = "best",
    split: str = "test",
    task: str | None = None,
    steps: int = 1,
    episodes: int = 20,
    inner_lr: float | Sequence[float] | None = None,
    deterministic: bool = False,
    seed: int = 1,
    trust: Trust = False,
) -> Path:
    """Adapt a run's agent to one task and write a clip of an episode before beside one after.

    ``RUN_DIR/frames.png`` takes a strip of the clip, which ``metarl report`` shows.

    Args:
        out: FILE.mp4 (needs the extra ``video``) or FILE.gif; ``RUN_DIR/clip.mp4`` if None.
        task: the task as JSON, such as '{"goal": [0.3, -0.2]}'; None takes the first of ``split``.
        trust: as in ``runs.load``.

    Raises:
        RequestError: no family of episodes, no such task, or a file that cannot be written; one line.
    """
    out = Path(run_dir) / "clip.mp4" if out is None else Path(out)
    writer = _writer(out)
    run = load(run_dir, checkpoint, trust)
    if run.agent.kind is EXAMPLES:
        message = f"render shows episodes, family {run.agent.family.name!r} gives labelled examples"
        raise RequestError(f"{message}; its pictures are in metarl report")
    if task is None:
        protocol = Protocol(split, tasks=1, steps=0, episodes=1, seed=seed, deterministic=False)
        chosen = {key: rows[0].tolist() for key, rows in held_out_tasks(run.agent, protocol).items()}
    else:
        chosen = read_task(task)
    adapted = run.adapt(task=chosen, steps=steps, episodes=episodes, inner_lr=inner_lr, seed=seed)
    policies = [run.policy.seed(0), adapted.seed(seed)]
    try:
        shown, speed = show(run.agent.episodic, policies, chosen, seed, deterministic)
    except (RuntimeError, ValueError) as error:  # physics that falls apart, a wild action
        raise RequestError(str(error)) from error
    names = ["before", f"after {steps} step{'s' * (steps != 1)} of {episodes} episodes"]
    png = io.BytesIO()
    Image.fromarray(strip(shown, names)).save(png, "PNG", optimize=True)
    write_atomic(Path(run_dir) / STRIP, png.getvalue())
    writer(out, side_by_side(shown, names), speed)
    return out


def side_by_side(shown: Sequence[Episode], names: Sequence[str]) -> list[Picture]:
    """Put the episodes beside each other, under their names and returns; one that has ended stands still."""
    frames = []
    for t in range(max(len(episode.pictures) for episode in shown)):
        columns = []
        for episode, name in zip(shown, names, strict=True):
            k = min(t, len(episode.pictures) - 1)
            columns.append(_under(episode.pictures[k], f"{name}: return {episode.returns[k]:.1f}, step {k}"))
        frames.append(np.concatenate(columns, axis=1))
    return frames


def strip(shown: Sequence[Episode], names: Sequence[str]) -> Picture:
    """Return a row of ``STRIP_FRAMES`` small pictures for each episode, evenly spread over its time."""
    rows = []
    for episode, name in zip(shown, names, strict=True):
        last = len(episode.pictures) - 1
        small = []
        for k in np.linspace(0, last, STRIP_FRAMES).round().astype(int):
            picture = Image.fromarray(episode.pictures[k])
            width = picture.width * STRIP_HEIGHT // picture.height
            small.append(np.asarray(picture.resize((width, STRIP_HEIGHT))))
        text = f"{name}: return {episode.returns[-1]:.1f} in {last} steps"
        rows.append(_under(np.concatenate(small, axis=1), text))
    return np.concatenate(rows)


def _under(picture: Picture, text: str) -> Picture:
    """Return a picture under a line of text, as high and wide as video codecs want it: even numbers."""
    height, width = picture.shape[:2]
    page = Image.new("RGB", (width + width % 2, height + CAPTION + height % 2), PAPER)
    page.paste(Image.fromarray(picture), (0, CAPTION))
    ImageDraw.Draw(page).text((10, 8), text, INK, ImageFont.load_default(16))
    return np.asarray(page)


def _writer(out: Path) -> Callable[[Path, Sequence[Picture], int], None]:
    """Return what writes a clip of this name; refuse the name before anything is played."""
    check_writable(out)
    if out.suffix == ".gif":
        return _write_gif
    if out.suffix != ".mp4":
        raise RequestError(f"out must end in .mp4 or .gif, got {str(out)!r}")
    if find_spec("imageio_ffmpeg") is None:
        needs = "pip install 'metarl-toolkit[video]', or give a name that ends in .gif"
        raise RequestError(f"{out.name} needs imageio-ffmpeg: {needs}")
    return _write_mp4


def _write_gif(out: Path, frames: Sequence[Picture], speed: int) -> None:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=rest, duration=1000 // speed, loop=0)
    write_atomic(out, buffer.getvalue())


def _write_mp4(out: Path, frames: Sequence[Picture], speed: int) -> None:
    import imageio_ffmpeg

    unfinished = out.with_name(f".{secrets.token_hex(4)}-{out.name}")
    height, width = frames[0].shape[:2]
    try:
        video = imageio_ffmpeg.write_frames(str(unfinished), (width, height), fps=speed, macro_block_size=2)
        video.send(None)
        for frame in frames:
            video.send(np.ascontiguousarray(frame))
        video.close()
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
