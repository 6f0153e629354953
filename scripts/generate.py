#!/usr/bin/env python3
"""Write every file that follows from the declarations; with --check only tell which ones are out of date."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The reference must not depend on the width of the terminal it was made in.
os.environ["COLUMNS"] = "100"

from mimir.catalogue import CATALOGUE_PATH, build_catalogue  # noqa: E402 - the path above comes first
from mimir.errors import ALL  # noqa: E402
from mimir.rules.layers import ALIASES, STABILITY_DAYS  # noqa: E402
from scripts.bill import bill_of_materials, licences_page  # noqa: E402
from scripts.listings import first_sentence, listings  # noqa: E402

JSON_WIDTH = 100
NOTE = "<!-- Written by scripts/generate.py; change the declarations instead. -->\n\n"


def catalogue_text(catalogue: dict[str, Any]) -> str:
    """Return the catalogue as the JSON that the package ships."""
    return json.dumps(catalogue, ensure_ascii=False, indent=1) + "\n"


def tool_table(catalogue: dict[str, Any]) -> str:
    """Return the README's tables: the tools of each family with the first sentence of each."""
    lines = []
    for family in dict.fromkeys(entry["family"] for entry in catalogue.values()):
        lines += [f"**{family}**", "", "| Tool | What it does |", "|---|---|"]
        for entry in catalogue.values():
            if entry["family"] == family:
                lines.append(f"| `{entry['tool']['name']}` | {first_sentence(entry)} |")
        lines.append("")
    return "\n".join(lines)


def tools_page(catalogue: dict[str, Any]) -> str:
    """Return the reference of all tools: purpose, hints, parameters, results, and an example that was run."""
    from scripts.examples import run_examples

    results = dict(run_examples(catalogue))
    sections = ("\n".join(_tool_section(entry, results[name])) for name, entry in catalogue.items())
    return (
        NOTE
        + "# Tools\n\nEach example was run on a small store, where time stood still at the first of January 2026, with"
        + "\nnumbers rounded; over MCP the result is the `structuredContent`.\n\n"
        + "Over MCP no result is longer than 80,000 bytes, but for the value of `mimir_state_get`: texts are cut, then"
        + " lists\nend earlier, and `truncated` says what was left out and how to get it. `max_chars` of recall and"
        + " context asks for\nless.\n\n"
        + "\n".join(sections)
    )


def _tool_section(entry: dict[str, Any], result: object) -> Iterator[str]:
    tool = entry["tool"]
    hints = ", ".join(name.removesuffix("Hint") for name, is_set in tool["annotations"].items() if is_set)
    yield f"## {tool['name']}\n\n{tool['description']}\n"
    yield f"Family: {entry['family']}. Listed from profile: {entry['profile']}. Hints: {hints or 'none'}.\n"
    properties = tool["inputSchema"]["properties"]
    if properties:
        yield "| Parameter | Type | Default | Meaning |\n|---|---|---|---|"
        required = tool["inputSchema"].get("required", ())
        for name, schema in properties.items():
            default = "required" if name in required else json.dumps(schema["default"]) if "default" in schema else ""
            choices = " (" + ", ".join(schema["enum"]) + ")" if "enum" in schema else ""
            yield f"| `{name}` | {schema['type']}{choices} | {default} | {schema['description']} |"
        yield ""
    fields = [name for name in tool["outputSchema"]["properties"] if name != "truncated"]
    yield "Result: " + ", ".join(f"`{name}`" for name in fields) + ".\n"
    yield f"```json\n{_json(entry['example'])}\n```\n\ngives\n\n```json\n{_json(result)}\n```\n"


def _json(value: object) -> str:
    """Return JSON to read: what fits into a line stays in one."""

    def laid_out(part: object, margin: int) -> str:
        line = json.dumps(part, ensure_ascii=False)
        if len(line) + margin <= JSON_WIDTH or not isinstance(part, (dict, list)) or not part:
            return line
        inner = (
            [f"{json.dumps(name, ensure_ascii=False)}: {laid_out(below, margin + 2)}" for name, below in part.items()]
            if isinstance(part, dict)
            else [laid_out(below, margin + 2) for below in part]
        )
        space = " " * (margin + 2)
        opening, closing = "{}" if isinstance(part, dict) else "[]"
        return f"{opening}\n{space}" + f",\n{space}".join(inner) + f"\n{' ' * margin}{closing}"

    return laid_out(value, 0)


def resources_page() -> str:
    """Return the tables of resources and prompts."""
    from mimir.server.prompts import PROMPTS
    from mimir.server.resources import RESOURCES, TEMPLATES

    lines = ["| Resource | What it holds | For | Type |", "|---|---|---|---|"]
    lines += [
        f"| `{one.address}` | {one.description} | {', '.join(one.audience)} | {one.type} |"
        for one in (*RESOURCES, *TEMPLATES)
    ]
    lines += ["", "| Prompt | What it does | Arguments |", "|---|---|---|"]
    for prompt in PROMPTS.values():
        arguments = (f"`{one.name}`" + ("" if one.required else " (optional)") for one in prompt.arguments)
        lines.append(f"| `{prompt.name}` | {prompt.description} | {', '.join(arguments) or 'none'} |")
    return (
        NOTE
        + "# Resources and prompts\n\nHosts let people attach a resource to a conversation and start a prompt, often"
        + " among the slash commands. Both are\nserved on every transport, see what the caller may see (`--agent-id`),"
        + " and are completed: categories, and keys of a\ncategory. In an address each part is percent-encoded:"
        + " `mimir://entity/decision/a%2Fb`. A prompt brings what the memory\nholds on the matter, marked as data; with"
        + " `--read-only` those that end in stored memories are not offered.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def errors_page() -> str:
    """Return the table of errors: what each is called at each face."""
    lines = ["| Error | Code | HTTP | Exit | Meaning |", "|---|---|---|---|---|"]
    lines += [
        f"| `{error.__name__}` | `{error.code}` | {error.http_status} | {error.exit_status} | {error.__doc__} |"
        for error in ALL
    ]
    return (
        NOTE
        + "# Errors\n\nEvery failure has a message, a code and a hint. Over MCP it is a result with `isError` whose\n"
        + "`structuredContent` holds `error`, `code` and `hint`; the command line prints both and ends with the exit\n"
        + "status below.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def benchmarks_page() -> str:
    """Return the committed benchmark results as tables, each with its machine and its command."""
    parts = [
        NOTE + "# Benchmarks\n",
        (
            "Each table is one committed run in `benchmarks/results/`, as it was measured. The text above it says\n"
            "what was measured and what the columns mean; `budget` names the bound in `benchmarks/budgets.py` that\n"
            "the row is held to. The command repeats the run; `--compare FILE` prints ratios to an earlier result.\n"
            "Where the load average is above the number of cores, other programs disturbed the times. The trials of\n"
            "faults have a page of their own: [reliability.md](reliability.md).\n"
        ),
    ]
    described = set()
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        benchmark = report["benchmark"]
        if benchmark == "reliability":
            continue
        parts.append(f"## {path.stem}\n")
        if benchmark not in described:
            described.add(benchmark)
            source = (ROOT / "benchmarks" / f"{benchmark}.py").read_text(encoding="utf-8")
            parts.append(f"{ast.get_docstring(ast.parse(source))}\n")
        parts += [
            f"    {_command(report)}\n",
            f"{_measured(report)}\n",
            _table(report["rows"]),
        ]
    return "\n".join(parts)


def claims_page() -> str:
    """Return what the README promises, each promise with the tests and results that hold it."""
    from tests.contract.promises import PROMISES, located_tests

    files = located_tests()
    parts = [
        NOTE + "# Claims\n",
        (
            "What the README promises, sentence by sentence, and what holds it: tests that fail when it is no longer\n"
            "so, and measurements. A promise without either fails the checks of the project, and so does a test that\n"
            "does not exist. `scripts/frameworks` runs the tests of the adapters, whose frameworks need environments\n"
            "of their own; all others are among those of `scripts/check`.\n"
        ),
    ]
    for area, promises in PROMISES.items():
        parts += [f"## {area}\n", "| Promise | Status | Held by |\n|---|---|---|"]
        for one in promises:
            if missing := [name for name in one.tests if name not in files]:
                raise SystemExit(f"tests/contract/promises.py names tests that do not exist: {', '.join(missing)}")
            tests = [f"`{file}::{name}`" for name in one.tests for file in files[name]]
            results = [f"[{name}](../benchmarks/results/{name}.json)" for name in one.results]
            status = ", ".join(["tested"] * bool(tests) + ["measured"] * bool(results)) or "unproven"
            parts.append(f"| {one.text} | {status} | {'<br>'.join(tests + results)} |")
        parts.append("")
    return "\n".join(parts)


def reliability_tables(report: dict[str, Any]) -> str:
    """Return the result of the trials: a table of the faults and one of many servers on a file, if both ran."""
    faults = [row for row in report["rows"] if "calls" not in row]
    crowds = [row for row in report["rows"] if "calls" in row]
    tables = "\n".join(_table(rows) for rows in (faults, crowds) if rows)
    return f"    {_command(report)}\n\n{_measured(report)}\n\n{tables}"


def _command(report: dict[str, Any]) -> str:
    return report["settings"].get("command") or f"python -m benchmarks.{report['benchmark']}"


def _measured(report: dict[str, Any]) -> str:
    """Return when and on what a result was measured, and how busy the machine was when it began."""
    parts = [f"{name} {value}" for name, value in report["machine"].items()]
    if load := report["settings"].get("load_average"):
        parts.append(f"load average {load:.1f}")
    return f"Measured {report['measured_at'][:10]} on: {', '.join(parts)}."


def _result(name: str) -> dict[str, Any]:
    text = (ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    return report


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def layers_table() -> str:
    """Return the layers with their pace, and what a month without use leaves in each."""
    lines = ["| Layer | Stored as | S | Left after 30 idle days |", "|---|---|---|---|"]
    lines += [
        f"| {alias} | `{layer}` | {STABILITY_DAYS[layer]:.0f} days | {math.exp(-30 / STABILITY_DAYS[layer]):.0%} |"
        for alias, layer in sorted(ALIASES.items(), key=lambda pair: STABILITY_DAYS[pair[1]])
    ]
    return "\n".join(lines) + "\n"


def sizing_table(rows: Iterable[dict[str, Any]]) -> str:
    """Return what a store of each measured size takes, and how fast it answers: median and 99th percentile."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "file with vectors": lambda row: f"{row['MB']:.0f} MB",
        "memory of the server, model loaded": lambda row: f"{row['MB']:.0f} MB",
        "remember, the store filled": lambda row: f"{row['per s']:.0f} a second",
        "recall fts5, selective": lambda row: f"{row['p50 ms']:.0f} / {row['p99 ms']:.0f} ms",
        "recall hybrid, selective": lambda row: f"{row['p50 ms']:.0f} / {row['p99 ms']:.0f} ms",
        "recall hybrid, common": lambda row: f"{row['p50 ms']:.0f} / {row['p99 ms']:.0f} ms",
    }
    measured = {(row["size"], row["what"]): row for row in rows if row.get("door") in {None, "stdio"}}
    lines = ["| Memories | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for size in dict.fromkeys(size for size, _ in measured):
        cells = [shown(measured[size, what]) for what, shown in columns.items()]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def comparison_table(page: str) -> str:
    """Return the rows of the comparison with other memories that the README shows."""
    shown = (
        "",
        "---",
        "Where memories live",
        "Needs a language model to store",
        "Model of meaning",
        "Time",
        "Encrypted at rest by itself",
        "MCP server",
        "Sends telemetry",
    )
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    return "".join(f"{rows[name]}\n" for name in shown)


def with_block(text: str, name: str, content: str) -> str:
    """Return ``text`` with what stands between its markers for ``name`` replaced."""
    pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    replaced, count = pattern.subn(lambda match: match.group(1) + content + match.group(2), text)
    if count != 1:
        raise SystemExit(f"there are {count} blocks named {name}, not one")
    return replaced


def generated_files() -> dict[Path, str]:
    """Return the text of each generated file by its path."""
    from mimir.cli.reference import cli_reference
    from scripts.client_pages import client_pages
    from scripts.visibility import visibility_page

    catalogue = build_catalogue()
    readme = ROOT / "README.md"
    comparison = comparison_table((ROOT / "docs" / "comparison.md").read_text(encoding="utf-8"))
    readme_text = with_block(readme.read_text(encoding="utf-8"), "tools", tool_table(catalogue))
    blocks = {
        "concepts": ("layers", layers_table()),
        "operations": (
            "sizing",
            sizing_table(row for name in ("scale-synthetic", "scale-million") for row in _result(name)["rows"]),
        ),
        "reliability": ("reliability", reliability_tables(_result("reliability"))),
    }
    return {
        Path(CATALOGUE_PATH): catalogue_text(catalogue),
        readme: with_block(readme_text, "comparison", comparison),
        ROOT / "docs" / "tools.md": tools_page(catalogue),
        ROOT / "docs" / "resources.md": resources_page(),
        ROOT / "docs" / "errors.md": errors_page(),
        ROOT / "docs" / "cli.md": NOTE + "# Command line\n\n" + cli_reference(),
        ROOT / "docs" / "benchmarks.md": benchmarks_page(),
        ROOT / "docs" / "claims.md": claims_page(),
        **{
            path: with_block(path.read_text(encoding="utf-8"), *block)
            for page, block in blocks.items()
            for path in [ROOT / "docs" / f"{page}.md"]
        },
        ROOT / "docs" / "visibility.md": NOTE + visibility_page(),
        **listings(catalogue),
        ROOT / "sbom.cdx.json": bill_of_materials(),
        ROOT / "docs" / "licences.md": NOTE + licences_page(),
        **{ROOT / "docs" / "clients" / name: NOTE + text for name, text in client_pages().items()},
    }


def main() -> int:
    """Write or check the generated files and return the exit status."""
    only_check = "--check" in sys.argv[1:]
    if not only_check:
        # The pages that follow are made by commands and tools, which read it from its file.
        Path(CATALOGUE_PATH).write_text(catalogue_text(build_catalogue()), encoding="utf-8")
    files = generated_files()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if only_check:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date: run scripts/generate.py\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
