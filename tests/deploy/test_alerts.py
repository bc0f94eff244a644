"""Prometheus' own tool on the alert rules."""

import shutil
import subprocess
from pathlib import Path

import pytest


def test_each_alert_is_raised_by_its_cause_and_by_nothing_else() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine (it comes with Prometheus)")
    rules = Path(__file__).with_name("alerts.test.yml")
    checked = subprocess.run([promtool, "test", "rules", str(rules)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
