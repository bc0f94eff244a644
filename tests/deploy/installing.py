"""What an operator does first: clone, prepare, write the settings of this machine. And nothing is left at the end."""

import os
import random
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.deploy.stack import CommandFailed, Stack

REPOSITORY = Path(__file__).parent.parent.parent
IMAGES = "deploy-test"
# So that a silent worker is noticed within a test's patience; everything else is as an operator gets it.
QUICK = {"DERMATRIAGE_LEASE_SECONDS": "15", "DERMATRIAGE_SWEEP_SECONDS": "3"}
KINDS = {
    "container": (("ls", "--all", "--quiet"), ("rm", "--force", "--volumes")),
    "volume": (("ls", "--quiet"), ("rm", "--force")),
    "network": (("ls", "--quiet"), ("rm",)),
}


def new_stack(clone: Path, name: str) -> Stack:
    """A deployment whose project name no other run has and tells who made it."""
    return Stack(clone, f"deploy-{os.getpid()}-{name}", free_port())


def clean_clone(target: Path, revision: str = "HEAD") -> Path:
    subprocess.run(["git", "clone", "--quiet", REPOSITORY.as_uri(), str(target)], check=True)
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", revision], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["git", "-C", str(target), "checkout", "--quiet", "--detach", commit], check=True)
    return target


def configure(stack: Stack, data: Path) -> None:
    stack.run("docs/deployment/prepare.sh")
    stack.write_settings(
        WEB_PORT=str(stack.port),
        DATA_FOLDER=str(data.parent),
        IMAGE_PREFIX=IMAGES,
        IMAGE_TAG=stack.project,
        PROMETHEUS_IMAGE=f"{IMAGES}/prometheus:{stack.project}",
        **QUICK,
    )


@contextmanager
def deployed(stack: Stack) -> Iterator[Stack]:
    """Builds and starts it with a first key; whatever happens, nothing of it but the build cache is left at the end."""
    try:
        stack.build()
        stack.up()
        stack.make_key()
        yield stack
    finally:
        remove(stack)


def remove(stack: Stack) -> None:
    with suppress(CommandFailed, subprocess.TimeoutExpired):  # the usual way, which lets every process end first
        stack.down("--volumes")
    remove_project(stack.project)


def remove_abandoned() -> None:
    """What runs left behind whose process was killed before it could."""
    labels = '{{.Label "com.docker.compose.project"}}'
    seen = {project for kind in KINDS for project in docker(kind, "ls", "--format", labels)}
    seen |= {image.partition(":")[2] for image in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")}
    for project in seen:
        made_by = re.match(r"deploy-(\d+)-", project)
        if made_by and not Path("/proc", made_by[1]).exists():
            remove_project(project)


def remove_project(project: str) -> None:
    for kind, (ls, rm) in KINDS.items():
        left = docker(kind, *ls, "--filter", f"label=com.docker.compose.project={project}")
        if left:
            docker(kind, *rm, *left)
    # By label those that lost their name to a later build, by name those that plain `docker build` made.
    for which in (f"label=com.docker.compose.project={project}", f"reference={IMAGES}/*:{project}*"):
        images = docker("image", "ls", "--quiet", "--filter", which)
        if images:
            docker("image", "rm", "--force", *sorted(set(images)))


def docker(*words: str) -> list[str]:
    """The words that docker answers with."""
    ended = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=300)
    return ended.stdout.split()


def free_port() -> int:
    """Below those that the kernel gives to outgoing connections, because it is let go at every `down` of a test."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("none of a hundred ports between 20000 and 32000 is free")
