import base64
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html import escape, unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from metarl.core.errors import RequestError
from metarl.run.report.comparison_page import compare, render
from metarl.run.report.page import write_report
from synthetic_run import AGENTS, make_evaluation, make_lessons, make_measured, make_run

HOSTILE = "<script>alert('x')</script>\"&$\\"


class Page(HTMLParser):
    """The page's tags with their attributes, and whether each that opens also closes in order."""

    VOID = ("meta", "link", "path", "use", "rect", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def page_of(path, **how):
    return write_report([make_run(path, **how)]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("runs") / "run", evaluation=make_evaluation(tasks=9))


def headings(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


@pytest.fixture(scope="module", params=["return", "mse", "accuracy", "together", "compare"])
def any_page(request, tmp_path_factory):
    path, kind = tmp_path_factory.mktemp("runs"), request.param
    if kind in ("together", "compare"):
        how = [{"seed": 1}, {"seed": 2}, {"algorithm": "reptile"}]
        values = [np.add.outer(np.arange(4.0), [i, 2.0 * i]) for i in range(3)]
        runs = [make_measured(path / str(i), values[i], **how[i]) for i in range(3)]
        return render(compare(runs)) if kind == "compare" else write_report(runs).read_text(encoding="utf-8")
    run = make_run(path / "run") if kind == "return" else make_lessons(path / "run", kind)
    return write_report([run]).read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_and_runs_nothing(any_page):
    parsed = Page(page := any_page)
    assert parsed.open == []
    for tag, attrs in parsed.tags:
        assert tag not in ("script", "iframe", "object", "base", "form")
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert attrs.get(name, "#").startswith(("#", "data:,", "data:image/png;base64,"))
    assert not re.search(r"@import|url\((?!#)", page)
    (policy,) = [attrs for attrs in parsed.named("meta") if "http-equiv" in attrs]
    assert policy["content"].startswith("default-src 'none'")


def figures(page):
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


def test_each_figure_is_xml_and_no_id_occurs_twice(any_page):
    for svg in figures(any_page):
        ElementTree.fromstring(svg)
    ids = [attrs["id"] for _, attrs in Page(any_page).tags if "id" in attrs]
    assert len(ids) == len(set(ids)) > 5


def test_each_colour_of_a_figure_is_defined_for_light_and_for_dark(any_page):
    style, body = any_page.split("</style>", 1)
    dark = style[style.index("prefers-color-scheme: dark") :]
    for name in set(re.findall(r"var\((--[\w-]+)\)", body)):
        assert style.count(f"{name}:") == 2 and dark.count(f"{name}:") == 1


def test_every_agent_and_every_mean_with_its_interval_stands_in_the_table(page):
    rows = re.findall(r'<tr><th scope="row"><span class="mark".*?</tr>', page)
    assert len(rows) == len(AGENTS)
    for row, (name, means) in zip(rows, AGENTS.items(), strict=True):
        cells = re.findall(r"<td>(.*?)</td>", row)
        assert f"</span>{name}</th>" in row
        for cell, mean in zip(cells, means, strict=False):
            shown = [f"{value:.1f}".replace("-", "−") for value in (mean, mean - 2.05, mean + 1.95)]
            assert cell == f"{shown[0]}<small>{shown[1]} to {shown[2]}</small>"
        assert cells[len(means) :] == ["0.5, then 0.25", "8M"]


def test_sections_and_what_they_say(page):
    assert len(figures(page)) == 3 + 2 * 2 + 8  # three, the paths of two tasks, eight diagnostics
    sections = ["Adaptation", "Paths before and after", "Task by task", "Learning", "Diagnostics", "Protocol"]
    assert headings(page) == sections
    assert "<h1>maml on point-goal</h1>" in page and "on 9 unseen tasks" in page
    assert "best checkpoint: 20" in page and "<td>9 of 9</td>" in page
    assert "Validation: other tasks, after 1 step." in page
    assert "spec finn2017 · 30 iterations · 2.4M environment steps · 20 tasks × 20 episodes" in page
    for title in ("KL divergence", "gradient norm", "line search: accepted", "seconds an iteration"):
        assert f">{title}" in page
    assert "metarl evaluate" in page and "--baselines random pretrained oracle" in page
    assert "tasks in a meta-batch" in page  # what an option of the configuration means


def test_a_run_without_an_evaluation_names_the_command(tmp_path):
    page = page_of(tmp_path / "run", evaluation={})
    assert headings(page) == ["Adaptation", "Learning", "Diagnostics", "Protocol"]
    assert f"<pre>metarl evaluate {tmp_path / 'run'}</pre>" in page and "Not evaluated yet." in page


def test_a_run_that_has_just_begun(tmp_path):
    path = make_run(tmp_path / "run", iterations=0, evaluation={})
    page = write_report([path]).read_text()
    assert headings(page) == ["Adaptation", "Protocol"] and "No iteration has finished yet." in page


def test_a_family_without_a_plane_has_no_paths(tmp_path):
    page = page_of(tmp_path / "run", evaluation=make_evaluation(traces=False))
    assert "Paths before and after" not in headings(page) and "Task by task" in headings(page)


def test_an_evaluation_without_numbers_of_its_own_says_so(tmp_path):
    evaluation = make_evaluation(traces=False) | {"metric": "mse"}
    for agent in evaluation["agents"].values():
        del agent["per_task"], agent["inner_lr"], agent["env_steps"]
    page = page_of(tmp_path / "run", evaluation=evaluation)
    assert "Lower is better." in page and "Task by task" not in headings(page)
    assert "<td>–</td><td>–</td></tr>" in page  # neither step sizes nor environment steps


def test_a_run_of_regression(tmp_path):
    page = write_report([make_lessons(tmp_path / "run", "mse")]).read_text()
    sections = [
        "Adaptation",
        "Curves before and after",
        "Task by task",
        "Learning",
        "Diagnostics",
        "Protocol",
    ]
    assert headings(page) == sections
    assert "The table has the steps 0, 1, 2, 5 and 10." in page and "Lower is better." in page
    (meta, pretrained) = re.findall(r'<tr><th scope="row"><span class="mark".*?</tr>', page)
    cells = re.findall(r"<td>(.*?)</td>", meta)
    values = ["4.00", "2.80", "1.96", "0.672", "0.113", "0.01", "15k"]
    assert [cell.split("<small>")[0] for cell in cells] == values
    assert cells[0] == "4.00<small>3.60 to 4.20</small>" and ">pretrained</th>" in pretrained
    assert page.count("iteration, labelled examples") == 1
    assert "environment" not in page.split("Protocol</h2>")[0]
    assert len(figures(page)) == 3 + 2 + 3  # three, the curves of two tasks, three diagnostics
    legend = re.findall(r'<p class="legend">(.*?)</p>', page)[1]
    words = re.sub(r'<span aria-hidden="true">.*?</span>', "", legend)
    names = ["truth", "before", "after 1 step", "after 10 steps", "support examples"]
    assert re.findall("<span>(.*?)</span>", words) == names


def test_an_update_rule_that_learned_its_steps(tmp_path):
    path = make_lessons(tmp_path / "run", "accuracy")
    evaluation = json.loads((path / "evaluation.json").read_text())
    evaluation["agents"]["meta"]["inner_lr"] = []
    (path / "evaluation.json").write_text(json.dumps(evaluation))
    rows = re.findall(r'<tr><th scope="row"><span class="mark".*?</tr>', write_report([path]).read_text())
    ends = [re.findall(r"<td>([^<]*)</td>", row)[-2:] for row in rows]
    assert ends == [["learned", "15k"], ["0.01", "15k"], ["–", "–"]]  # the nearest neighbour learns nothing


def test_a_run_of_classification(tmp_path):
    page = write_report([make_lessons(tmp_path / "run", "accuracy")]).read_text()
    assert headings(page)[1] == "Images before and after"
    assert "97.7\u202f%<small>88.0 to 102.6</small>" in page and "Lower is better." not in page
    sheet = page[page.index('<div class="samples">') :]
    tiles = [re.sub(r"<.*?>", "", tile) for tile in re.findall(r"</div><span>(<b.*?)</span></div>", sheet)]
    assert tiles == ["0\u202f✓ → 0\u202f✓", "0\u202f✗ → 1\u202f✓", "0\u202f✗ → 0\u202f✗"]
    assert "Of these 3 query images 1 are right before and 2 after." in page
    images = Page(page).named("img")
    assert [image["alt"] for image in images] == [
        *["support of class 0"] * 2,
        "support of class 1",
        "query of class 0, taken for 0 before and 0 after",
        "query of class 1, taken for 0 before and 1 after",
        "query of class 1, taken for 0 before and 0 after",
    ]
    sizes = [(image["width"], image["height"]) for image in images]  # whole multiples of 4 by 2
    assert sizes == [("28", "14")] * 3 + [("56", "28")] * 3


def test_images_are_ink_of_more_or_less_opacity(tmp_path):
    page = write_report([make_lessons(tmp_path / "run", "accuracy")]).read_text()
    for n, image in enumerate(Page(page).named("img")):
        encoded = image["src"].removeprefix("data:image/png;base64,")
        decoded = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert decoded.mode == "LA" and decoded.size == (4, 2)
        assert np.asarray(decoded).tolist() == [[[0, n]] * 4] * 2


def test_hostile_names_are_text_everywhere(tmp_path):
    evaluation = make_evaluation()
    evaluation["agents"][HOSTILE] = evaluation["agents"]["oracle"]
    evaluation["protocol"] |= {HOSTILE: HOSTILE, "interval": HOSTILE, "checkpoint": HOSTILE}
    config = {"spec": HOSTILE, "family": HOSTILE, HOSTILE: [HOSTILE, {"a": HOSTILE}]}
    path = make_run(tmp_path / "<b>run", iterations=3, evaluation=evaluation, **config)
    (path / "machine.json").write_text(json.dumps({"processor": HOSTILE}))
    page = write_report([path, path]).read_text()
    parsed = Page(page)
    assert not parsed.named("script") and not parsed.named("b") and parsed.open == []
    assert page.count(escape(HOSTILE)) >= 10 and HOSTILE in "".join(parsed.text)
    for svg in figures(page):
        ElementTree.fromstring(svg)


def test_half_a_character_is_no_obstacle(tmp_path):
    path = make_run(tmp_path / "run", iterations=3)
    (path / "machine.json").write_text(json.dumps({"processor": "half \ud800"}))
    assert "half ?" in write_report([path]).read_text()


def test_numbers_that_no_figure_has_room_for_are_left_out(tmp_path):
    path = make_run(tmp_path / "run", iterations=3)
    row = {"iteration": 4, "env_steps": 10**400, "kl": -1e308, "grad_norm": 1e308, "return/step_0": 10**400}
    with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    assert "4 iterations" in write_report([path]).read_text()


def test_the_same_run_gives_the_same_bytes(tmp_path):
    path = make_run(tmp_path / "run")
    first = write_report([path]).read_bytes()
    assert write_report([path], tmp_path / "again.html").read_bytes() == first
    assert not list(path.glob(".report*"))


def test_the_page_lies_in_the_first_run_unless_told(tmp_path):
    paths = [make_run(tmp_path / name, iterations=0, evaluation={}) for name in "ab"]
    assert write_report(paths) == tmp_path / "a" / "report.html"
    assert write_report(paths, tmp_path / "c.html") == tmp_path / "c.html"


def test_several_runs_share_a_page(tmp_path):
    paths = [make_run(tmp_path / "a", iterations=3)]
    paths += [make_run(tmp_path / "b", iterations=3, evaluation={}, family="cheetah-vel")]
    page = write_report(paths).read_text()
    assert "<h1>2 runs</h1>" in page
    assert headings(page) == ["maml on point-goal", "maml on cheetah-vel"]
    targets = {attrs["href"][1:] for attrs in Page(page).named("a")}
    ids = [attrs["id"] for _, attrs in Page(page).tags if "id" in attrs]
    assert targets == {"run-1", "run-2"} <= set(ids) and len(ids) == len(set(ids))


def test_the_whole_configuration_is_there(tmp_path):
    config = {"family_arg": {"noise": 0.5}, "observe_task": False}
    path = make_run(tmp_path / "run", iterations=0, evaluation={}, **config)
    page = unescape(write_report([path]).read_text())
    names = [*yaml.safe_load((path / "config.yaml").read_text()), "family_arg.noise"]
    table = page[page.index("<summary>Configuration") :]
    for name in set(names) - {"family_arg"}:
        assert f'<th scope="row">{name}</th>' in table
    assert '<th scope="row">observe_task</th><td>no</td>' in table
    assert '<th scope="row">torch</th><td>2.13.0</td>' in page


def test_refusals_are_one_line_and_leave_no_page(tmp_path):
    good = make_run(tmp_path / "run", iterations=0, evaluation={})
    with pytest.raises(RequestError, match=r"is not a run directory: no config\.yaml"):
        write_report([good, tmp_path])
    assert not (good / "report.html").exists()
    with pytest.raises(RequestError, match="at least one run directory"):
        write_report([])
    with pytest.raises(RequestError, match=r"cannot write .*nowhere.*"):
        write_report([good], tmp_path / "nowhere" / "page.html")
