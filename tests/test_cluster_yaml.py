"""What cluster.yaml and jobs/rayjob.yaml ask for, by Ray's own check and by ours."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "cluster.yaml"
COMMANDS = (
    *("initialization_commands", "setup_commands", "head_setup_commands"),
    *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
)


def swapped() -> str:
    """The file for the provider "local", made by the command that it names."""
    [line] = re.findall(r"^#\s+(sed .*) > local\.yaml$", FILE.read_text(), re.MULTILINE)
    command = shlex.split(line)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", params=["aws", "local"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded = yaml.safe_load(FILE.read_text() if request.param == "aws" else swapped())
    assert loaded["provider"]["type"] == request.param
    return loaded


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """With Ray's defaults, and checked by it; neither asks the provider, so this runs offline."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    full: dict[str, Any] = prepare_config(config)
    validate_config(full)
    return full


def test_ray_finds_the_file_valid_for_both_providers(config: dict[str, Any]) -> None:
    full = prepared(config)
    assert full["head_node_type"] in full["available_node_types"]
    assert full["max_workers"] >= 1


def test_ray_would_have_noticed_a_wrong_key(config: dict[str, Any]) -> None:
    from jsonschema import ValidationError

    with pytest.raises(ValidationError, match="idle_minutes"):
        prepared({**config, "idle_minutes": 3})


def test_the_commands_are_whole_lines_of_shell(config: dict[str, Any]) -> None:
    commands = [line for name in COMMANDS for line in config.get(name, [])]
    assert len(commands) >= 7
    for line in commands:
        subprocess.run(["bash", "-n", "-c", line], check=True, capture_output=True)


def test_no_command_of_ray_for_another_system_is_left(config: dict[str, Any]) -> None:
    full = prepared(config)
    assert full["head_setup_commands"] == config["setup_commands"]
    assert full["worker_setup_commands"] == config["setup_commands"]


def test_gpu_workers_are_spot_and_come_from_zero() -> None:
    nodes = prepared(yaml.safe_load(FILE.read_text()))["available_node_types"]
    assert "GPU" not in nodes["head"]["resources"]
    assert "InstanceMarketOptions" not in nodes["head"]["node_config"]
    worker = nodes["worker"]
    assert worker["min_workers"] == 0 < worker["max_workers"]
    assert worker["resources"]["GPU"] >= 1
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_only_the_marked_block_differs_between_providers() -> None:
    aws, local = yaml.safe_load(FILE.read_text()), yaml.safe_load(swapped())
    block = {"provider", "auth", "max_workers", "head_node_type", "available_node_types"}
    assert aws.keys() - local.keys() == block - local.keys() | {"initialization_commands"}
    assert local.keys() <= aws.keys()
    assert all(local[name] == aws[name] for name in local.keys() - block)


def test_the_dashboard_is_on_loopback_and_every_start_asks_for_a_token(config) -> None:
    [head] = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    [worker] = [line for line in config["worker_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in head
    assert "0.0.0.0" not in FILE.read_text()
    for line in (head, worker):
        assert "RAY_AUTH_MODE=token ray start" in line
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}/{key}")
    elif isinstance(node, list):
        for value in node:
            yield from leaves(value, path)
    else:
        yield path, str(node)


@pytest.mark.parametrize("file", [FILE, ROOT / "jobs" / "rayjob.yaml"], ids=lambda p: p.name)
def test_no_secret_is_in_a_file(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"AKIA|ASIA|BEGIN [A-Z ]*PRIVATE KEY", text)
    assert not re.search(
        r"\b[0-9a-fA-F]{32,}\b|\b[A-Za-z0-9+/]{40,}\b(?!-)", text.replace("/", " ")
    )
    for path, value in leaves(yaml.safe_load(text)):
        if re.search(r"secret|password|credential|access_key", path, re.IGNORECASE):
            pytest.fail(f"{path}={value}")


def test_the_rayjob_trains_on_spot_gpus_with_a_token() -> None:
    job = yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert spec["entrypoint"].startswith("st-ray train ")
    assert spec["shutdownAfterJobFinishes"] is True
    assert cluster["authOptions"] == {"mode": "token"}
    [group] = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["maxReplicas"] == 4
    assert f"--workers {group['replicas']} " in spec["entrypoint"]
    pods = [part["template"]["spec"] for part in (cluster["headGroupSpec"], group)]
    images = {pod["containers"][0]["image"] for pod in pods}
    assert len(images) == 1
    assert pods[1]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_the_rayjob_names_options_that_there_are(st_ray) -> None:
    job = yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())
    words = job["spec"]["entrypoint"].split()[1:]
    code, _, err = st_ray(*words[:-2], "--set", "cluster.least_workers=9")
    assert code != 0
    assert "cluster.least_workers=9: expected 1 to cluster.workers=4" in err


@pytest.mark.parametrize(
    "words",
    [
        "ray get-auth-token --generate && chmod 600 ~/.ray/auth_token",
        "ray up cluster.yaml",
        "ray dashboard cluster.yaml",
        "RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265",
    ],
)
def test_the_readme_and_the_file_name_the_same_commands(words: str) -> None:
    assert words in (ROOT / "README.md").read_text()
    assert words in FILE.read_text()
