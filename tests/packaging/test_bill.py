"""The bill of materials: complete, true, and without licences that spread to what uses a package."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from scripts import audit
from scripts.bill import EXTRAS
from scripts.components import PROJECT, STATED, licence_of, needed_by, reached_from, read_pins, runtime_pins

ROOT = Path(__file__).resolve().parents[2]
PINNED = {pin.name for pin in read_pins("dev")}
SPREADING = re.compile(r"\b(A?GPL|LGPL|MPL|EPL|EUPL|CDDL|OSL|SSPL|CC-BY-SA)\b|GNU|Mozilla", re.IGNORECASE)
IDENTIFIERS = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT", "MIT-0", "PSF-2.0", "Zlib"}
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1], encoding="utf-8").read()))
"""


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "sbom.cdx.json").read_text(encoding="utf-8"))
    return document


def dependencies() -> set[str]:
    """Return the names of all that is needed, by a plain installation or an extra."""
    names = {pin.name for pin in runtime_pins()}
    for extra in EXTRAS:
        names |= set(reached_from(needed_by(PROJECT["optional-dependencies"][extra], PINNED), PINNED))
    return names


def test_no_dependency_is_under_a_licence_that_spreads() -> None:
    assert len(dependencies()) > 40
    assert {name for name in dependencies() if SPREADING.search(licence_of(name))} == {"tqdm"}
    assert licence_of("tqdm") == "MPL-2.0 AND MIT"


def test_every_licence_is_told_in_identifiers() -> None:
    for name in dependencies() - {"tqdm"}:
        assert set(re.split(r" (?:AND|OR) ", licence_of(name))) <= IDENTIFIERS, name


def test_a_licence_that_metadata_states_is_not_stated_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Those stated by hand are for other systems, but for the one whose metadata names no licence.
    installed = {str(one.metadata["Name"]).lower() for one in distributions()}
    for name, stated in list(STATED.items()):
        monkeypatch.delitem(STATED, name)
        if name in installed - {"apsw-sqlite3mc"}:
            assert licence_of(name) in (stated, "BSD")


@pytest.mark.slow
def test_what_is_under_the_mpl_is_never_loaded() -> None:
    program = """
import sys
from mimir import Memory
with Memory.open(sys.argv[1]) as memory:
    memory.remember("decision", "database", {"content": "We chose SQLite."})
    assert memory.recall("storage engine").arms["dense"] == 1
assert "tokenizers" in sys.modules
print({"tqdm", "huggingface_hub"} & set(sys.modules))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, ":memory:"], stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    assert ran.stdout == "set()\n"


def test_the_bill_names_each_pin_of_a_plain_installation_with_its_hashes(bill: dict[str, Any]) -> None:
    libraries = [one for one in bill["components"] if one["type"] == "library"]
    assert {one["purl"] for one in libraries} == {pin.reference for pin in runtime_pins()}
    assert all(one["externalReferences"][0]["hashes"] for one in libraries)
    names = {one["name"] for one in libraries}
    assert {"apsw-sqlite3mc", "onnxruntime", "tokenizers"} <= names
    assert "hatchling" not in names


def test_the_bill_tells_what_the_model_is_and_where_it_comes_from(bill: dict[str, Any]) -> None:
    (model,) = [one for one in bill["components"] if one["type"] == "machine-learning-model"]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["pedigree"]["ancestors"][0]["name"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert len(model["components"]) == 3
    for file in model["components"]:
        digest = hashlib.sha256((ROOT / file["name"]).read_bytes()).hexdigest()
        assert file["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_every_dependency_in_the_bill_is_a_component_of_it(bill: dict[str, Any]) -> None:
    references = {one["bom-ref"] for one in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    edges = bill["dependencies"]
    assert {edge["ref"] for edge in edges} | {one for edge in edges for one in edge["dependsOn"]} == references


@pytest.mark.slow
def test_the_bill_is_valid_for_the_makers_of_the_format() -> None:
    library = "cyclonedx-python-lib[json-validation]==11.12.0"
    uv = [sys.executable, "-m", "uv", "run", "--quiet", "--no-project", "--with", library]
    command = [*uv, "python", "-c", VALIDATE, str(ROOT / "sbom.cdx.json")]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "None"), ran.stderr


def test_an_audit_that_reached_nobody_does_not_pass_for_a_clean_one() -> None:
    fine: dict[str, object] = {"name": "a", "version": "1", "vulns": []}
    bad: dict[str, object] = {"name": "b", "version": "2", "vulns": [{"id": "CVE-0"}]}
    unasked: dict[str, object] = {"name": "c", "version": "3", "skip_reason": "not found"}
    assert audit.verdict([unasked]) == "audit: nothing was audited, the vulnerability service does not answer here"
    assert audit.verdict([fine]) == "audit: 1 of 1 packages audited, 0 with vulnerabilities"
    assert "1 of 3" not in audit.verdict([fine, bad, unasked])
    assert "b 2: [{'id': 'CVE-0'}]\nc: not audited" in audit.verdict([fine, bad, unasked])
