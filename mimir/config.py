"""Settings: a flag wins over an environment variable, which wins over the default.

This is the only module that reads the environment. The table `OPTIONS` declares each setting once; the command line
and the reference page are made from it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mimir.errors import InvalidInput

MAXIMUM_CATEGORY_BYTES: Final = 256
MAXIMUM_KEY_BYTES: Final = 1_024
MAXIMUM_TAGS_BYTES: Final = 65_536
MAXIMUM_BODY_BYTES: Final = 4 * 1024 * 1024
MAXIMUM_BODY_DEPTH: Final = 100
_LONGEST_SECS: Final = 31_536_000
"""A year; a system refuses to wait for times that are far longer."""


class Option(NamedTuple):
    """One setting: its field in `Settings`, its kind, default, help, environment variable and choices.

    An empty variable counts as unset, unless the setting `may_be_empty`. A number is above zero, or the default, and
    at most ``most``.
    """

    field: str
    kind: type
    default: Any
    help: str
    environment: str = ""
    choices: tuple[str, ...] = ()
    may_be_empty: bool = False
    most: int = 2**63 - 1

    @property
    def flag(self) -> str:
        """Return the command-line spelling, with leading dashes."""
        return "--" + self.field.replace("_", "-")


OPTIONS: Final = (
    Option("db", str, "", "The store: one SQLite file.", "MIMIR_DB_PATH"),
    Option(
        "durability",
        str,
        "full",
        "What an acknowledged write survives: full = power loss, normal = a crash of the program.",
        "MIMIR_DURABILITY",
        ("full", "normal"),
    ),
    Option(
        "encryption_key",
        str,
        "",
        "File with the key that seals the store, as mimir keygen makes it. Without one a new store is not sealed.",
        "MIMIR_ENCRYPTION_KEY_FILE",
    ),
    Option(
        "encryption_scope",
        str,
        "",
        "What a new store seals with the key: full = the whole file (default), body = memory bodies only, as the Rust"
        " Mimir did.",
        "MIMIR_ENCRYPTION_SCOPE",
        ("full", "body"),
    ),
    Option(
        "embedding",
        str,
        "bundled",
        "Where vectors come from: the bundled model unless another is set, or off for keyword recall only.",
        "MIMIR_EMBEDDING",
        ("bundled", "off"),
    ),
    Option(
        "embedding_endpoint",
        str,
        "",
        "URL of an embedding model to use in place of the bundled one: OpenAI-compatible with /v1 in it, else Ollama.",
        "MIMIR_EMBEDDING_ENDPOINT",
    ),
    Option(
        "embedding_model",
        str,
        "",
        "Name of the model at that endpoint (nomic-embed-text when empty); without an endpoint a folder, or the ONNX"
        " file in it, with a model and its tokenizer.json.",
        "MIMIR_EMBEDDING_MODEL",
    ),
    Option(
        "embedding_api_key",
        str,
        "",
        "Its key, if it asks for one; empty: the language model's, when both are at one address.",
        "MIMIR_EMBEDDING_API_KEY",
    ),
    Option(
        "embedding_timeout_secs",
        int,
        30,
        "How long one batch of texts may take there, in seconds.",
        "MIMIR_EMBEDDING_TIMEOUT_SECS",
        most=_LONGEST_SECS,
    ),
    Option("agent_id", str, "", "Who the caller is, for private memories.", "MIMIR_AGENT_ID"),
    Option(
        "workspace",
        str,
        "",
        "Workspace of calls that name none: a name, or auto = the project at hand (the client's root, the variable, the"
        " Git repository of the working directory). Empty: none.",
        "MIMIR_WORKSPACE",
    ),
    Option(
        "dedup",
        str,
        "off",
        "Default of remember's dedup argument: merge a new key into an equal or similar memory.",
        "MIMIR_DEDUP",
        ("off", "exact", "similar"),
    ),
    Option(
        "secrets",
        str,
        "warn",
        "What becomes of text that looks like a credential: off = stored, warn = stored and reported, mask = masked"
        " before it is stored, refuse = nothing is stored.",
        "MIMIR_SECRETS",
        ("off", "warn", "mask", "refuse"),
    ),
    Option(
        "exclude_categories",
        str,
        "conversation",
        "Comma list of categories that recall leaves out unless one is asked for; empty: none.",
        "MIMIR_EXCLUDE_CATEGORIES",
        may_be_empty=True,
    ),
    Option(
        "busy_timeout_ms",
        int,
        30_000,
        "How long a write waits for another process before it fails as busy, in milliseconds.",
        "MIMIR_BUSY_TIMEOUT_MS",
        most=1000 * _LONGEST_SECS,
    ),
    Option(
        "log_level",
        str,
        "warning",
        "Least severe message that is logged.",
        "MIMIR_LOG_LEVEL",
        ("debug", "info", "warning", "error"),
    ),
    Option("log_file", str, "", "Where log lines go; stderr when empty.", "MIMIR_LOG_FILE"),
    Option(
        "llm_endpoint",
        str,
        "",
        "URL of a language model for ask and synthesize: OpenAI-compatible with /v1 in it, else Ollama. Empty: none.",
        "MIMIR_LLM_ENDPOINT",
    ),
    Option("llm_model", str, "llama3", "Name of that language model.", "MIMIR_LLM_MODEL"),
    Option(
        "llm_api_key",
        str,
        "",
        "Its key, if it asks for one; better in the environment, since flags can be seen by other users.",
        "MIMIR_LLM_API_KEY",
    ),
    Option(
        "llm_timeout_secs",
        int,
        30,
        "How long its answer may take, in seconds.",
        "MIMIR_LLM_TIMEOUT_SECS",
        most=_LONGEST_SECS,
    ),
    Option("connectors_config", str, "", "YAML file that says what ingest reads.", "MIMIR_CONNECTORS_CONFIG"),
    Option(
        "max_ingest_bytes",
        int,
        52_428_800,
        "Largest file that ingest and vault import read, in bytes.",
        "MIMIR_MAX_INGEST_BYTES",
    ),
    Option(
        "sync_interval_secs",
        int,
        2,
        "How often obsidian-sync --watch looks for changes, in seconds.",
        "MIMIR_SYNC_INTERVAL_SECS",
        most=_LONGEST_SECS,
    ),
    Option("offline", bool, False, "Reach for no network, whatever else is set.", "MIMIR_OFFLINE"),
    Option(
        "transport",
        str,
        "stdio",
        "How clients reach the server: stdio, http, or sse (deprecated); the last two serve the same routes.",
        choices=("stdio", "http", "sse"),
    ),
    Option("web", bool, False, "Serve the dashboard too, over HTTP; with a transport over HTTP it is the same server."),
    Option("port", int, 8767, "Port of HTTP.", most=65_535),
    Option("web_bind", str, "127.0.0.1", "Address of HTTP; one that other machines can reach needs a token."),
    Option(
        "mcp_token",
        str,
        "",
        "Bearer token that HTTP asks for; better in the environment, since flags can be seen by other users.",
        "MIMIR_MCP_TOKEN",
    ),
    Option(
        "web_auth_token",
        str,
        "",
        "Token that the dashboard asks for; better in the environment, since flags can be seen by other users.",
        "MIMIR_WEB_AUTH_TOKEN",
    ),
    Option("tls_cert", str, "", "PEM file with the certificate for HTTPS.", "MIMIR_TLS_CERT"),
    Option("tls_key", str, "", "PEM file with its key, when that is a file of its own.", "MIMIR_TLS_KEY"),
    Option(
        "allowed_origins",
        str,
        "",
        "Comma list of origins (https://app.example) whose pages may use HTTP.",
        "MIMIR_ALLOWED_ORIGINS",
    ),
    Option(
        "allowed_hosts",
        str,
        "",
        "Comma list of names under which HTTP is reached, beyond localhost and addresses.",
        "MIMIR_ALLOWED_HOSTS",
    ),
    Option(
        "rate_limit",
        int,
        0,
        "Requests a minute that HTTP takes from one address; 0: no limit on a loopback address, else 1200.",
        "MIMIR_RATE_LIMIT",
    ),
    Option("tools", str, "all", "Tools that are listed: core, standard, all, or names.", "MIMIR_TOOLS"),
    Option("read_only", bool, False, "Refuse every tool that writes.", "MIMIR_READ_ONLY"),
)

_BY_FIELD: Final = {option.field: option for option in OPTIONS}
FILES: Final = ("encryption_key", "log_file", "connectors_config", "tls_cert", "tls_key")
"""The settings that name a file beside the store; ``~`` is the home folder in each."""

_TOKENS: Final = ("mcp_token", "web_auth_token")
_SECRETS: Final = ("llm_api_key", "embedding_api_key", *_TOKENS)
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


class Settings(NamedTuple):
    """Every setting of a process, resolved; the fields are those of `OPTIONS`."""

    db: str
    durability: str
    encryption_key: str
    encryption_scope: str
    embedding: str
    embedding_endpoint: str
    embedding_model: str
    embedding_api_key: str
    embedding_timeout_secs: int
    agent_id: str
    workspace: str
    dedup: str
    secrets: str
    exclude_categories: str
    busy_timeout_ms: int
    log_level: str
    log_file: str
    llm_endpoint: str
    llm_model: str
    llm_api_key: str
    llm_timeout_secs: int
    connectors_config: str
    max_ingest_bytes: int
    sync_interval_secs: int
    offline: bool
    transport: str
    web: bool
    port: int
    web_bind: str
    mcp_token: str
    web_auth_token: str
    tls_cert: str
    tls_key: str
    allowed_origins: str
    allowed_hosts: str
    rate_limit: int
    tools: str
    read_only: bool

    def __repr__(self) -> str:
        """Return the settings without the secrets, which must not come into any log."""
        secret = {name: "***" for name in _SECRETS if getattr(self, name)}
        shown = {**self._asdict(), **secret}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def excluded(self) -> tuple[str, ...]:
        """Return the categories that recall leaves out when none is asked for."""
        return comma_list(self.exclude_categories)


def load_settings(**flags: object) -> Settings:
    """Resolve the settings of this process from flags, the environment and the defaults.

    A flag that is None counts as not given. ``db`` has ``~`` expanded.

    Raises:
        InvalidInput: a value is not of its option's type or not one of its choices, or a token can be none.
    """
    values: dict[str, Any] = {}
    for option in OPTIONS:
        given = flags.get(option.field)
        source = option.flag
        if given is None and option.environment:
            given = os.environ.get(option.environment)
            if given == "" and not option.may_be_empty:
                given = None
            source = option.environment
        values[option.field] = option.default if given is None else parse_option(option, given, source)
    values["db"] = str(expand(values["db"])) if values["db"] else str(default_store().path)
    for field in FILES:
        values[field] = expand(values[field])
    for field in _TOKENS:
        # What comes out of a file often ends in a line end, which no request can send.
        values[field] = values[field].strip()
        if not values[field].isprintable():
            raise InvalidInput(
                f"{_BY_FIELD[field].flag} ({_BY_FIELD[field].environment}) holds characters that no request can send.",
                hint="Use letters, digits and signs.",
            )
    return Settings(**values)


def parse_option(option: Option, value: object, source: str) -> Any:  # noqa: ANN401 - the option's own kind
    """Convert one raw value to the option's type.

    Raises:
        InvalidInput: it is not of that type, out of its range or not one of the choices.
    """
    if option.kind is bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise InvalidInput(f"{source}: {value!r} is neither true nor false.")
    if option.kind is int:
        try:
            number = int(str(value))
        except ValueError:
            raise InvalidInput(f"{source}: {value!r} is not a whole number.") from None
        if number <= 0 and number != option.default:
            raise InvalidInput(f"{source}: {number} is not above zero.")
        if number > option.most:
            raise InvalidInput(f"{source}: {number} is above {option.most}.")
        return number
    text = str(value)
    if option.choices and text not in option.choices and text != option.default:
        raise InvalidInput(
            f"{source}: {text!r} is not known.",
            hint="Use one of: " + ", ".join(option.choices) + ".",
        )
    return text


def given_on_command_line(option: Option, value: str) -> str:
    """Return the value of a flag as it was given.

    Raises:
        InvalidInput: it is empty where a file or a token is meant. Most likely a variable is not set, and without its
            value a new store would not be sealed, or a port would ask for no token.
    """
    if not value and option.field in (*FILES, *_TOKENS):
        raise InvalidInput(
            f"{option.flag} is empty.", hint="Give it its value or leave it out; perhaps a variable is not set."
        )
    return value


def comma_list(text: str) -> tuple[str, ...]:
    """Return the names in a comma list."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what is bound to ``host``."""
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdecimal())


def check_exposure(settings: Settings, *, mcp: bool, web: bool) -> None:
    """See that what other machines can reach asks for a token: the protocol for one, the dashboard for another.

    Raises:
        InvalidInput: it listens beyond this machine and a token is missing, or a TLS key has no certificate.
    """
    tokens = [option("mcp_token")] * mcp + [option("web_auth_token")] * web
    missing = [f"{token.environment} (or {token.flag})" for token in tokens if not getattr(settings, token.field)]
    if missing and not is_loopback(settings.web_bind):
        raise InvalidInput(
            f"--web-bind {settings.web_bind}: other machines could read and change the memory without a token.",
            hint=f"Set {' and '.join(missing)}, or bind to 127.0.0.1.",
        )
    if settings.tls_key and not settings.tls_cert:
        raise InvalidInput("--tls-key is of no use without a certificate.", hint="Name it with --tls-cert.")


class DefaultStore(NamedTuple):
    """The store that is opened when none is named, and the others that could have been meant."""

    path: str
    others: tuple[str, ...]
    reason: str


def default_store() -> DefaultStore:
    """Choose the store to open when neither ``--db`` nor ``MIMIR_DB_PATH`` names one.

    The first of the known places that holds data wins; an empty file never hides a full one.
    """
    folder = os.path.join(home(), ".mimir", "data")
    places = [
        os.path.join(folder, "mimir.db"),
        os.path.join(folder, "perseus-vault.db"),
        os.path.join(folder, "mneme.db"),
        os.path.join(home(), "mimir.db"),
    ]
    filled = [place for place in places if _size(place) > 0]
    if not filled:
        return DefaultStore(places[0], (), "the default place; nothing is stored yet")
    reason = "the default place" if filled[0] == places[0] else "an existing store was found there"
    return DefaultStore(filled[0], tuple(filled[1:]), reason)


def is_store_named(db: object) -> bool:
    """Tell whether ``db``, the flag's value or None, or the environment names the store."""
    return bool(db or os.environ.get(option("db").environment))


def warn_of_other_stores(db: object) -> str:
    """Return a warning when no store is named and several could be meant; ``db`` is the flag's value, or None."""
    if is_store_named(db):
        return ""
    chosen = default_store()
    if not chosen.others:
        return ""
    return (
        f"mimir: warning: several stores exist; using {chosen.path}, not {' or '.join(chosen.others)}."
        f" Name one with --db or {option('db').environment}.\n"
    )


def home() -> str:
    """Return the user's home folder.

    Raises:
        InvalidInput: neither HOME nor USERPROFILE is set.
    """
    folder = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    if not folder:
        raise InvalidInput(
            "There is no home folder: neither HOME nor USERPROFILE is set.",
            hint="Name the store with --db or MIMIR_DB_PATH.",
        )
    return folder


def expand(path: str) -> str:
    """Return ``path`` with a leading ``~`` replaced by the home folder."""
    if path == "~" or path.startswith(("~/", "~\\")):
        return os.path.join(home(), path[2:]) if len(path) > 1 else home()
    return path


def with_environment(text: str, source: str) -> str:
    """Return ``text`` with each ``${NAME}`` replaced by that variable of the environment.

    Raises:
        InvalidInput: one is not set; ``source`` is the file that names it.
    """
    parts = text.split("${")
    filled = [parts[0]]
    for part in parts[1:]:
        name, closed, rest = part.partition("}")
        if not closed or not name.isidentifier():
            raise InvalidInput(f"{source}: a ${{ is not followed by a name and a }}.", hint="Write ${NAME}.")
        value = os.environ.get(name)
        if not value:
            raise InvalidInput(f"{source}: the variable {name} is not set.", hint=f"Set {name} where Mimir is started.")
        filled += [value, rest]
    return "".join(filled)


def named_folder(variable: str, default: str) -> str:
    """Return the folder that a variable of the environment names, or a default when it is unset or empty."""
    return os.environ.get(variable) or default


def single_file() -> str:
    """Return the path of the one file that this program was unpacked from, empty where it is installed."""
    return os.environ.get("MIMIR_EXECUTABLE", "")


def named_workspace() -> str:
    """Return the workspace that the environment names, whatever a flag says; empty for none."""
    return os.environ.get(option("workspace").environment, "")


def is_offline() -> bool:
    """Tell whether the environment forbids to reach for a network, for what is set up without `Settings`."""
    offline = option("offline")
    return bool(parse_option(offline, os.environ.get(offline.environment, ""), offline.environment))


def forbid_telemetry() -> None:
    """Keep libraries that are imported from now on from collecting usage data; nothing leaves this machine."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def named_project() -> str:
    """Return the folder that a client names to the hooks it runs, which may run elsewhere; empty for none."""
    return os.environ.get("CLAUDE_PROJECT_DIR") or os.environ.get("CURSOR_PROJECT_DIR", "")


def secrets_among(fields: Iterable[str]) -> list[str]:
    """Return the flags of those settings that are secrets."""
    return [option(field).flag for field in fields if field in _SECRETS]


def without_secrets(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words of a command line with what follows a flag for a secret blotted out."""
    flags = secrets_among(_SECRETS)
    shown: list[str] = []
    for word in words:
        flag, is_joined, _ = word.partition("=")
        follows = bool(shown) and shown[-1] in flags
        shown.append("***" if follows else f"{flag}=***" if is_joined and flag in flags else word)
    return tuple(shown)


def environment_for_child(**changes: str) -> dict[str, str]:
    """Return a copy of the environment with ``changes``, for a process that is started."""
    return {**os.environ, **changes}


def option(field: str) -> Option:
    """Return the declaration of one setting by its field name."""
    return _BY_FIELD[field]


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


IS_WINDOWS: Final = sys.platform == "win32"
