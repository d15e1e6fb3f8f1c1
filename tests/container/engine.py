"""Runs the services of a compose file as a container engine would, without one: each in a chroot of its image's files,
in mount, PID and network namespaces of its own, as the image's user.

Names of services are in /etc/hosts; published ports are not opened on this machine: callers come from the router of
the network. Not here: the inside of a container (cell), networks (tests.network.hosts).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.container.cell import Spec
from tests.container.compose import Project, Service
from tests.container.images import Image
from tests.network.hosts import Host, Network
from tests.programs import ROOT, Program, until

_CELL = ROOT / "tests" / "container" / "cell.py"
_INSIDE_LIMIT_S = 30
_UP_LIMIT_S = 600


class Container:
    """One that was started."""

    def __init__(self, service: Service, image: Image, host: Host, program: Program) -> None:
        self.service = service
        self.image = image
        self.host = host
        self.program = program

    def __repr__(self) -> str:
        return f"<Container {self.service.name} {self.program.process.returncode}>"

    @property
    def ended(self) -> int | None:
        return self.program.process.returncode

    def first_pid(self) -> int | None:
        """The program itself, which is number 1 inside; None where it is not there yet, or has gone."""
        try:
            children = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text().split()
            return int(children[0])
        except (OSError, IndexError):
            return None

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as the image's user."""
        user, group = _ids(self.image.user)
        inside = ("nsenter", "--target", str(self.first_pid()), "--mount", "--pid", "--net", "--root", "--wd")
        ids = ("--setuid", str(user), "--setgid", str(group))
        nsenter = shutil.which("nsenter") or "nsenter"
        return subprocess.run(
            (nsenter, *inside, *ids, *words), capture_output=True, text=True, timeout=_INSIDE_LIMIT_S,
            env=dict(self.image.env),
        )  # fmt: skip

    def healthy(self) -> bool:
        assert self.ended is None, f"{self.service.name} ended with {self.ended}:\n{self.program.output()[-3000:]}"
        return self.first_pid() is not None and self.run(*self.image.healthcheck).returncode == 0

    async def stop(self) -> int:
        """As `docker stop`: the image's stop signal to the first process. Returns the exit status."""
        if self.ended is None and (pid := self.first_pid()) is not None:
            os.kill(pid, signal.Signals[self.image.stop_signal])
        return await asyncio.wait_for(self.program.process.wait(), _UP_LIMIT_S)


class Engine:
    """The containers of one project. Volumes last as long as `folder`; networks as long as `hosts` does."""

    def __init__(self, project: Project, images: dict[str, Image], trees: dict[str, Path], folder: Path) -> None:
        self.containers: dict[str, Container] = {}
        self._project = project
        self._images = images
        self._trees = trees
        self._folder = folder
        self._hosts: dict[str, Host] = {}

    @contextlib.contextmanager
    def hosts(self, network: Network) -> Iterator[None]:
        """A host for each service."""
        with contextlib.ExitStack() as stack:
            for service in self._project.services:
                self._hosts[service.name] = stack.enter_context(network.host(service.name))
            lines = [f"{host.address} {name}" for name, host in self._hosts.items()]
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
            yield

    def address(self, name: str) -> str:
        return self._hosts[name].address

    async def up(self) -> None:
        """As `docker compose up --detach`: each service when those that it waits for are as it wants them."""
        for service in self._project.services:
            for other, condition in service.after:
                await self._reached(self.containers[other], condition)
            if service.name not in self.containers or self.containers[service.name].ended is not None:
                self.containers[service.name] = await self._start(service)
        for container in self.containers.values():
            if container.image.healthcheck and container.ended is None and container.service.name != "setup":
                await self._reached(container, "service_healthy")

    async def down(self) -> dict[str, int]:
        """Stop all, the last to have started first, and keep the volumes. Returns how each ended."""
        return {name: await container.stop() for name, container in reversed(self.containers.items())}

    async def _reached(self, container: Container, condition: str) -> None:
        name = container.service.name
        if condition == "service_healthy":
            await until(
                container.healthy, lambda: f"{name} healthy:\n{container.program.output()[-3000:]}", limit_s=_UP_LIMIT_S
            )
            return
        await asyncio.wait_for(container.program.process.wait(), _UP_LIMIT_S)
        assert container.ended == 0, f"{name} ended with {container.ended}:\n{container.program.output()[-3000:]}"

    async def _start(self, service: Service) -> Container:
        image = self._images[service.target]
        host = self._hosts[service.name]
        spec = self._spec(service, image)
        file = self._folder / f"{service.name}.json"
        spec.write(file)
        log = self._folder / f"{service.name}.log"
        words = (
            "ip",
            "netns",
            "exec",
            host.namespace,
            "unshare",
            "--mount",
            "--pid",
            "--uts",
            "--fork",
            "--kill-child",
        )
        with log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *words, sys.executable, str(_CELL), str(file), stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            )  # fmt: skip
        return Container(service, image, host, Program(process, log))

    def _spec(self, service: Service, image: Image) -> Spec:
        mounts = {path: self._volume(volume, path, service) for volume, path in service.mounts}
        for path in image.volumes:  # what the image declares and nobody names is a volume of this container's own
            if path not in mounts:
                mounts[path] = self._volume(f"{service.name}-own", path, service)
        user, group = _ids(image.user)
        entrypoint = service.entrypoint or image.entrypoint
        command = service.command or (() if service.entrypoint else image.command)
        binds = [*((str(place), path) for path, place in mounts.items()), (str(self._folder / "hosts"), "/etc/hosts")]
        return Spec(
            root=str(self._trees[service.target]), binds=binds, tmpfs=list(service.tmpfs), folder=image.folder,
            user=user, group=group, env=dict(image.env), words=[*entrypoint, *command],
        )  # fmt: skip

    def _volume(self, name: str, path: str, service: Service) -> Path:
        """A new one begins as the image has that folder, its owner too."""
        place = self._folder / "volumes" / name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            source = self._trees[service.target] / path.lstrip("/")
            assert source.is_dir(), f"{service.name}: the image has no {path}, so its volume would be root's"
            subprocess.run(("cp", "-a", str(source), str(place)), check=True)
        return place


def _ids(user: str) -> tuple[int, int]:
    """`10001:10001`; a name would have to be looked up inside."""
    number, _, group = user.partition(":")
    return int(number), int(group)
