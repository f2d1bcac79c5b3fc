"""The repository's own files: locks that fit pyproject.toml, scripts that parse, texts that are true."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SCRIPTS = sorted([*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"])


@cache
def pins(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text and "index-url" not in text, "a lock says what, never where from"
    found = re.findall(
        r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)(.*?)(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found and all("--hash=sha256:" in rest for _, _, rest in found)
    return {canonicalize_name(name): version for name, version, _ in found}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_fit_what_is_asked_for(lock: str) -> None:
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    if lock == "requirements-dev.lock":
        wanted += PROJECT["dependency-groups"]["dev"]
    for requirement in map(Requirement, wanted):
        if requirement.name != project["name"]:  # an extra of extras
            assert requirement.specifier.contains(pins(lock)[canonicalize_name(requirement.name)]), (
                requirement
            )


def test_the_small_lock_is_part_of_the_large_one() -> None:
    """scripts/env takes an environment for tests as one that can run."""
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_can_be_started(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert script.read_text("utf-8").startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True, timeout=10)


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(text: str) -> None:
    named = re.findall(
        r"(?<![\w./])(?:agent|tests|scripts|\.ci)/[\w./-]*\w", (ROOT / text).read_text("utf-8")
    )
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
