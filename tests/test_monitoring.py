"""The dashboard, the alerts and the tables of docs/operations.md speak of what there is."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vbofs import control, metrics
from vbofs.daemon.ahead import Ahead
from vbofs.daemon.recording import Recording
from vbofs.daemon.tower import Tower

ROOT = Path(__file__).parent.parent
MONITORING = ROOT / "docs" / "monitoring"
OPERATIONS = ROOT / "docs" / "operations.md"
EXPOSED = {metric.exposed for metric in metrics.TABLE} | set(metrics.PROCESS)

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed: apt install prometheus"
)


def named(text):
    """The metrics that *text* names; a histogram has three names."""
    names = set(re.findall(r"\bvbofs_[a-z0-9_]+", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def promtool(*words, cwd):
    done = subprocess.run(
        ["promtool", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def section(title):
    """The rows of the table under that heading: their cells, without back quotes."""
    text = OPERATIONS.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert text, f"docs/operations.md has no section {title}"
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yml"])
def test_every_metric_that_is_used_exists(name):
    used = named((MONITORING / name).read_text())
    assert len(used) > 5
    assert used <= EXPOSED


def test_the_dashboard_shows_every_metric_of_the_mounts_health():
    board = json.loads((MONITORING / "grafana.json").read_text())
    expressions = " ".join(t["expr"] for panel in board["panels"] for t in panel["targets"])
    assert {"vbofs_up", "vbofs_remote_up", "vbofs_cache_up"} <= named(expressions)


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads((MONITORING / "grafana.json").read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} <= {"stat", "timeseries"}
    places = set()
    for panel in panels:
        assert panel["targets"]
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        covered = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not covered & places, panel["title"]
        places |= covered


@needs_promtool
def test_promtool_takes_the_alerts():
    promtool("check", "rules", "alerts.yml", cwd=MONITORING)


@needs_promtool
def test_alerts_go_off_when_they_should_and_not_before(tmp_path):
    shutil.copy(MONITORING / "alerts.yml", tmp_path)
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    promtool("test", "rules", "alerts_test.yml", cwd=tmp_path)


@needs_promtool
def test_promtool_understands_every_expression_of_the_dashboard(tmp_path):
    board = json.loads((MONITORING / "grafana.json").read_text())
    rules = [
        {"record": f"panel:{n}", "expr": target["expr"].replace("$__rate_interval", "5m")}
        for n, panel in enumerate(board["panels"])
        for target in panel["targets"]
    ]
    # JSON is YAML.
    groups = [{"name": f"g{n}", "rules": [rule]} for n, rule in enumerate(rules)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": groups}))
    promtool("check", "rules", "rules.yml", cwd=tmp_path)


# --- docs/operations.md


def test_every_metric_is_in_the_table_with_its_kind_and_its_meaning():
    rows = {row[0]: row[1:] for row in section("Metrics")}
    assert set(rows) == EXPOSED
    for metric in metrics.TABLE:
        kind, labels, meaning = rows[metric.exposed]
        assert (kind, labels, meaning) == (metric.kind, metric.label, metric.meaning)


def test_every_line_of_the_log_that_is_explained_is_one_that_is_logged():
    words = [
        node.value
        for path in (ROOT / "vbofs").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    everything = "\n".join(words)
    explained = [row[0] for row in section("The log")]
    assert len(explained) > 10
    for line in explained:
        for piece in filter(None, (piece.strip() for piece in line.split("…"))):
            assert piece in everything, piece


def warnings_of(path):
    """The texts that a file logs as a warning or an error."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("log.warning", "log.error", "log.critical")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.args[0].value


def test_every_warning_and_error_is_explained():
    pieces = [
        piece.strip()
        for row in section("The log")
        for piece in re.split("…|`", row[0])
        if len(piece.strip()) > 5
    ]
    logged = {text for path in (ROOT / "vbofs").rglob("*.py") for text in warnings_of(path)}
    # What is only an error's own text is in docs/exit-status.md.
    said = {text for text in logged if len(re.sub("%[a-z]", "", text)) > 8}
    assert len(said) > 15
    assert [text for text in said if not any(piece in text for piece in pieces)] == []


def test_the_protocol_of_the_control_socket_is_written_down():
    assert f'{{"vbofs": {control.PROTOCOL}, ' in OPERATIONS.read_text()
    tower, ahead, recording = (object.__new__(kind) for kind in (Tower, Ahead, Recording))
    tower.ahead, tower.recording = ahead, recording
    assert [row[0] for row in section("The control socket")] == list(tower.verbs())
