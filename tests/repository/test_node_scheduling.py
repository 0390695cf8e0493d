"""Test of the run of all tests: tests/node has a process of its own beside the others."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from support.checkout import ROOT

CONFTEST = """
from support.node_scheduling import NodeScheduling

def pytest_xdist_make_scheduler(config, log):
    return NodeScheduling(config, log)
"""
FILES = ("tests/node/test_one.py", "tests/node/test_two.py", *(f"tests/e2e/test_{number}.py" for number in range(3)))


def test_the_last_process_runs_the_files_of_tests_node_in_their_order_and_no_others(tmp_path):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def test_it():\n    pass\n\n\ndef test_it_again():\n    pass\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    options = ["-v", "--numprocesses=2", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", "-c", str(tmp_path / "pytest.ini"), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.findall(r"^\[(gw\d)\].*PASSED (tests/\S+)::", done.stdout, re.MULTILINE)
    assert sorted({name for _, name in ran}) == sorted(FILES)
    assert [name for process, name in ran if process == "gw1"] == [FILES[0], FILES[0], FILES[1], FILES[1]]
