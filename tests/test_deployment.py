"""The image and compose.yaml ask for what there is, and give no more rights than are needed. No container runs here."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from flanrec.cli.main import app

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
DURATION = re.compile(r"(\d+)s")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each in one line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines.splitlines() if line.strip()]


def last(name: str) -> str:
    return [value for found, value in instructions() if found == name][-1]


def composed() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def service() -> dict[str, Any]:
    found: dict[str, Any] = composed()["services"]["flanrec"]
    return found


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path into the image; the last rule that fits decides."""
    allowed = True
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = rule.removeprefix("!")
        if rule and not rule.startswith("#"):
            parts = [path[: match.start()] for match in re.finditer("/", path)] + [path]
            if any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in parts) or (
                pattern.startswith("**/") and any(fnmatch.fnmatch(part, pattern[3:]) for part in path.split("/"))
            ):
                allowed = rule.startswith("!")
    return allowed


def options_of(*command: str) -> set[str]:
    found: Any = get_command(app)
    for name in command:
        found = found.commands[name]
    return {option for parameter in found.params for option in parameter.opts}


def test_what_is_copied_is_there_and_in_the_context() -> None:
    copied = [
        path
        for name, value in instructions()
        if name == "COPY" and not value.startswith("--from")
        for path in value.split()[:-1]
    ]
    assert {"constraints.txt", "pyproject.toml", "README.md", "LICENSE", "src"} == set(copied)
    assert all((ROOT / path).exists() and in_context(path) for path in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {project["readme"], *project["license-files"]} <= set(copied)


@pytest.mark.parametrize(
    "path",
    ["models/current/manifest.json", "deploy/secrets/pgpass", "model.store.db", ".git/config", "runs/demo", ".venv/x",
     "src/flanrec/__pycache__/x.pyc", "tests/conftest.py"],
)  # fmt: skip
def test_nothing_else_gets_into_the_image(path: str) -> None:
    assert not in_context(path)
    assert in_context("src/flanrec/serving/store/migrations/env.py")


def test_the_extras_of_the_image_are_there_and_are_what_the_service_needs() -> None:
    installed = next(value for name, value in instructions() if name == "RUN" and "'.[" in value)
    extras = re.search(r"'\.\[([\w,]+)\]'", installed)
    assert extras is not None
    named = set(extras[1].split(","))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"serve", "postgresql"} <= named <= set(project["optional-dependencies"])
    assert "--constraint constraints.txt" in installed


def test_the_image_runs_the_service_with_options_that_it_has() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["flanrec"]
    for command in (json.loads(last("CMD")), service()["command"]):
        assert command[0] == "serve"
        given = {option.split("=")[0] for option in command[1:]}
        assert given <= options_of("serve")
        assert {"--model", "--store", "--host"} <= given


def test_the_image_runs_as_somebody_without_rights() -> None:
    assert last("USER") == "10001:10001"
    after = [name for name, _ in instructions()]
    assert "RUN" not in after[len(after) - 1 - after[::-1].index("USER") :]
    assert service()["user"] == "${FLANREC_USER:-10001:10001}"


def test_health_is_what_readyz_says() -> None:
    check = last("HEALTHCHECK")
    program = json.loads(check[check.index("[") :])
    assert program[:2] == ["python", "-c"]
    compile(program[2], "healthcheck", "exec")
    assert "/readyz" in program[2]
    assert "'127.0.0.1', 8000" in program[2]


def test_only_what_must_be_written_can_be() -> None:
    one = service()
    assert one["read_only"] is True
    assert [mount.split(":")[0] for mount in one["tmpfs"]] == ["/tmp", "/data"]
    assert all(mount.endswith(":ro") for mount in one["volumes"])
    home = dict(pair.split("=", 1) for name, value in instructions() if name == "ENV" for pair in shlex.split(value))
    assert home["HOME"] == "/tmp"
    assert home["FLANREC_CACHE"].startswith("/tmp/")


@pytest.mark.parametrize("name", ["postgres", "flanrec", "prometheus"])
def test_every_container_has_few_rights_and_no_port_beyond_this_machine(name: str) -> None:
    one = composed()["services"][name]
    assert one["cap_drop"] == ["ALL"]
    assert not {"NET_ADMIN", "SYS_ADMIN", "NET_RAW", "ALL"} & set(one.get("cap_add", []))
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not one.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    assert set(one["networks"]) <= set(composed()["networks"])
    if name != "flanrec":
        assert re.fullmatch(r"[\w/-]+:v?\d[\w.-]+", one["image"])  # pinned


def test_the_database_is_reached_by_the_service_alone() -> None:
    everything = composed()
    assert everything["networks"]["store"] == {"internal": True}
    assert everything["services"]["postgres"]["networks"] == ["store"]
    assert "ports" not in everything["services"]["postgres"]
    there = [name for name, one in everything["services"].items() if "store" in one["networks"]]
    assert there == ["postgres", "flanrec"]


def test_it_is_given_the_time_to_end_in_order() -> None:
    from flanrec.serving.settings import ServeSettings

    notice = next(float(one.split("=")[1]) for one in service()["command"] if one.startswith("--notice="))
    grace = DURATION.fullmatch(service()["stop_grace_period"])
    assert grace is not None
    # Once for requests that are under way, once for what waits in the queue.
    assert int(grace[1]) > notice + 2 * ServeSettings().drain_seconds
    assert service()["init"] is True


def test_no_secret_is_in_the_image_or_in_an_environment() -> None:
    from sqlalchemy import make_url

    everything = composed()
    for one in everything["services"].values():
        for name, value in one.get("environment", {}).items():
            if re.search("PASS|SECRET|KEY|TOKEN", name):
                assert value.startswith("/run/secrets/"), name
                assert value.removeprefix("/run/secrets/") in one["secrets"]
    store = next(one for one in service()["command"] if one.startswith("--store="))
    assert make_url(store.removeprefix("--store=")).password is None
    assert not any(re.search("PASS|SECRET|TOKEN", value) for name, value in instructions() if name in ("ENV", "ARG"))
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/deploy/secrets/" in ignored
    files = [one["file"] for one in everything["secrets"].values()]
    assert all(file.startswith("./deploy/secrets/") for file in files)
    used = {name for one in everything["services"].values() for name in one["secrets"]}
    assert used == set(everything["secrets"])


def test_prometheus_asks_the_service_by_a_key_of_its_own() -> None:
    told = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = told["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["flanrec:8000"]}]
    secret = job["authorization"]["credentials_file"].removeprefix("/run/secrets/")
    prometheus = composed()["services"]["prometheus"]
    assert prometheus["secrets"] == [secret]
    mounted = dict(volume.split(":")[:2] for volume in prometheus["volumes"] if volume.startswith("./"))
    assert all((ROOT / path).is_file() for path in mounted)
    assert [f"/etc/prometheus/{name}" for name in told["rule_files"]] == [
        target for target in mounted.values() if target.endswith("alerts.yml")
    ]


def test_what_the_documentation_types_there_is() -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    section = page[page.index("## In a container") :]
    section = section[: section.index("\n## ", 3)]
    for file in composed()["secrets"].values():
        assert file["file"].removeprefix("./") in section
    runs = re.findall(r"docker compose run --rm (?:-T )?flanrec ((?:[^\n\\]|\\\n)+)", section)
    assert len(runs) == 2
    for typed in runs:
        words = shlex.split(typed.replace("\\\n", " ").split(" > ")[0])
        assert {word for word in words if word.startswith("--")} <= options_of(*words[:2])
