"""The bill of materials: what it says of Debian's packages and of Python's."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

from deploy.container.sbom import debian_components, document, python_components
from tests.programs import ROOT

SYSTEM = {"ID": "debian", "VERSION_ID": "12"}
STATUS = """\
Package: libgomp1
Status: install ok installed
Architecture: amd64
Source: gcc-12
Version: 12.2.0-14+deb12u1
Description: GCC OpenMP (GOMP) support library
 Package: not-a-package

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 1:2025b
"""


def test_what_dpkg_has_installed_is_named_with_its_source() -> None:
    first, second = debian_components(STATUS, SYSTEM)
    assert first["purl"] == "pkg:deb/debian/libgomp1@12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
    assert first["properties"] == [{"name": "debian:source", "value": "gcc-12"}]
    assert (second["name"], second["version"]) == ("tzdata", "1:2025b")


def test_python_packages_are_named_as_pypi_has_them_with_their_licence(tmp_path: Path) -> None:
    found = [
        _package(tmp_path, "Some.Thing", "License-Expression: MIT OR Apache-2.0"),
        _package(tmp_path, "Other_Thing", "License: BSD, see", "Classifier: License :: OSI Approved :: BSD License"),
        _package(tmp_path, "third", "License: ISC"),
        _package(tmp_path, "fourth"),
    ]  # fmt: skip
    some, other, third, fourth = python_components(found)
    assert some["purl"] == "pkg:pypi/some-thing@1.0"
    assert some["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert other["name"] == "other-thing" and other["licenses"] == [{"license": {"name": "BSD License"}}]
    assert third["licenses"] == [{"license": {"name": "ISC"}}]
    assert "licenses" not in fourth


def test_the_document_is_sorted_and_names_everything_once() -> None:
    made = document([*debian_components(STATUS, SYSTEM), *debian_components(STATUS, SYSTEM)])
    references = [each["bom-ref"] for each in made["components"]]
    assert references == sorted(set(references)) and len(references) == 2
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.5")


def test_this_environment_holds_what_waypost_asks_for() -> None:
    made = document(python_components(distributions()))
    assert made["metadata"]["component"]["name"] == "waypost"
    assert {"aiohttp", "cryptography", "pydantic"} <= {each["name"] for each in made["components"]}


def test_requirements_are_those_of_pyproject() -> None:
    words = (sys.executable, "deploy/container/requirements.py", "evm")
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    names = {json.dumps(line)[1:].partition(">")[0] for line in printed}
    assert {"aiohttp", "eth-abi"} <= names and "llama-cpp-python" not in "".join(printed)


def _package(folder: Path, name: str, *lines: str) -> Distribution:
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, "", ""])
    )
    return Distribution.at(place)
