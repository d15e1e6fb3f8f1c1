"""What is in this image, as a CycloneDX document: `python -m deploy.container.sbom FILE`, while the image is built.

Debian's packages, as dpkg lists them, and those of this Python environment, as their own metadata says. The same image
gives the same text: no time and no serial number. Not here: looking for vulnerabilities in them, and models' weights.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

DPKG_STATUS = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")
_SPEC = "1.5"


def main() -> int:
    """Write the file, and print how much is in it."""
    (file,) = sys.argv[1:]
    system = dict(_assignments(OS_RELEASE.read_text()))
    debian = list(debian_components(DPKG_STATUS.read_text(), system))
    python = list(python_components(distributions()))
    Path(file).write_text(json.dumps(document([*debian, *python]), indent=1) + "\n")
    print(f"{file}: {len(debian)} packages of {system.get('PRETTY_NAME', 'the system')}, {len(python)} of Python")
    return 0


def document(components: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A CycloneDX document, its components sorted by `bom-ref`, each once."""
    once = {component["bom-ref"]: component for component in components}
    mine = next((component for component in once.values() if component["name"] == "waypost"), None)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _SPEC,
        "version": 1,
        "metadata": {"component": mine} if mine else {},
        "components": [once[ref] for ref in sorted(once)],
    }


def debian_components(status: str, system: dict[str, str]) -> Iterator[dict[str, Any]]:
    """From the text of dpkg's status file: what is installed, with the source package that fixes are issued for."""
    distribution = system.get("ID", "debian")
    for paragraph in status.split("\n\n"):
        fields = dict(_fields(paragraph))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        release = f"{distribution}-{system['VERSION_ID']}" if "VERSION_ID" in system else distribution
        purl = f"pkg:deb/{distribution}/{_part(name)}@{_part(version)}?arch={architecture}&distro={release}"
        found = _component(name, version, purl)
        if "Source" in fields:
            found["properties"] = [{"name": "debian:source", "value": fields["Source"]}]
        yield found


def python_components(found: Iterable[Distribution]) -> Iterator[dict[str, Any]]:
    """From what packages say of themselves."""
    for package in found:
        name = package.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        component = _component(name, package.version, f"pkg:pypi/{_part(name)}@{_part(package.version)}")
        if licence := _licence(package):
            component["licenses"] = [licence]
        yield component


def _licence(package: Distribution) -> dict[str, Any] | None:
    """As an SPDX expression where there is one, else in the words that the package has for it."""
    fields = package.metadata
    for expression in fields.get_all("License-Expression", []):
        return {"expression": expression}
    classified = [line.rpartition(" :: ")[2] for line in fields.get_all("Classifier", []) if line[:9] == "License :"]
    free = [text.splitlines()[0] for text in fields.get_all("License", []) if text.strip()]
    words = classified or free[:1]
    return {"license": {"name": ", ".join(words)}} if words else None


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _part(text: str) -> str:
    return quote(text, safe="")


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    for line in paragraph.splitlines():
        key, colon, value = line.partition(": ")
        if colon and not line.startswith(" "):
            yield key, value


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key, value.strip("\"'")


if __name__ == "__main__":
    sys.exit(main())
