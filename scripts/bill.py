"""The bill of materials: sbom.cdx.json (CycloneDX) and docs/licences.md, from the pins and the model's description."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Final

from mimir import __version__
from scripts.components import PROJECT, ROOT, Pin, licence_of, needed_by, reached_from, read_pins, runtime_pins

MODEL: Final = json.loads((ROOT / "mimir" / "embedding" / "model" / "model.json").read_text(encoding="utf-8"))
EXTRAS: Final = ("server", "documents", "watch")
"""The extras whose packages are listed; those of frameworks bring what the framework brings."""

_ITSELF: Final = f"pkg:pypi/{PROJECT['name']}@{__version__}"
_MODEL_REFERENCE: Final = f"model:{MODEL['model_id']}"


def bill_of_materials() -> str:
    """Return the CycloneDX document of a plain installation: packages with hashes and licences, and the model."""
    pins = runtime_pins()
    pinned = {pin.name for pin in pins}
    direct = needed_by(PROJECT["dependencies"], pinned)
    graph = reached_from(sorted(pinned), pinned)
    references: dict[str, list[str]] = {}
    for pin in pins:
        references.setdefault(pin.name, []).append(pin.reference)

    def depending(reference: str, names: list[str], *others: str) -> dict[str, Any]:
        return {"ref": reference, "dependsOn": [*(one for name in names for one in references[name]), *others]}

    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": _ITSELF,
                "name": PROJECT["name"],
                "version": __version__,
                "description": PROJECT["description"],
                "licenses": [{"expression": PROJECT["license"]}],
                "purl": _ITSELF,
            }
        },
        "components": [*map(_package, pins), _model()],
        "dependencies": [
            depending(_ITSELF, direct, _MODEL_REFERENCE),
            *(depending(pin.reference, graph[pin.name]) for pin in pins),
        ],
    }
    # No moment and no chance: the same parts give the same document.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return json.dumps({**document, "serialNumber": f"urn:uuid:{serial}"}, indent=1) + "\n"


def licences_page() -> str:
    """Return the page that lists the licence of everything Mimir needs or carries."""
    pinned = {pin.name for pin in read_pins("dev")}
    core = {pin.name for pin in runtime_pins()}
    lines = [
        "# Licences\n",
        f"Mimir is MIT, the embedding model in it {MODEL['licence']} (`mimir/embedding/model/LICENSE`, `NOTICE`).",
        "Below is what a plain installation brings and what the extras add; those of agent frameworks bring their",
        "framework's own. What a plain installation brings is in `sbom.cdx.json` too, with hashes.\n",
        "No package is under the GPL, LGPL or AGPL (`test_no_dependency_is_under_a_licence_that_spreads`). One has",
        "files under the MPL-2.0, which covers changes of those files only: tqdm, which tokenizers brings by way of",
        "huggingface-hub. Neither is loaded when Mimir embeds a text (`test_what_is_under_the_mpl_is_never_loaded`).\n",
        *_table("Core", sorted(core)),
    ]
    for extra in EXTRAS:
        names = set(reached_from(needed_by(PROJECT["optional-dependencies"][extra], pinned), pinned)) - core
        lines += _table(f"Extra `{extra}`", sorted(names))
    return "\n".join(lines)


def _table(title: str, names: list[str]) -> list[str]:
    versions: dict[str, list[str]] = {}
    for pin in read_pins("dev"):
        versions.setdefault(pin.name, []).append(pin.version)
    rows = (f"| {name} | {', '.join(versions[name])} | {licence_of(name)} |" for name in names)
    return [f"## {title}\n", "| Package | Version | Licence |", "|---|---|---|", *rows, ""]


def _package(pin: Pin) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": digest} for digest in pin.hashes]
    component = {
        "type": "library",
        "bom-ref": pin.reference,
        "name": pin.name,
        "version": pin.version,
        "licenses": [{"expression": licence_of(pin.name)}],
        "purl": pin.reference,
        # One hash for each file of the release that may be installed.
        "externalReferences": [{"type": "distribution", "url": pin.reference, "hashes": hashes}],
    }
    if pin.marker:
        component["properties"] = [{"name": "mimir:needed-where", "value": pin.marker}]
    return component


def _model() -> dict[str, Any]:
    source = MODEL["source"]
    folder = Path("mimir", "embedding", "model")
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL_REFERENCE,
        "name": MODEL["model_id"],
        "description": MODEL["form"],
        "licenses": [{"license": {"id": MODEL["licence"]}}],
        "pedigree": {
            "ancestors": [
                {
                    "type": "machine-learning-model",
                    "name": source["model"],
                    "licenses": [{"license": {"id": MODEL["licence"]}}],
                    "hashes": [{"alg": "SHA-256", "content": source["weights_sha256"]}],
                }
            ],
            "notes": f"Made by scripts/build_model.py from {source['package']}, sha256 {source['package_sha256']}.",
        },
        "components": [
            {
                "type": "file",
                "name": (folder / name).as_posix(),
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for name, digest in MODEL["sha256"].items()
        ],
    }
