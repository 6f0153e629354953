"""Text that looks like a credential: one table of rules, where each finds one, and how it is masked.

Precision comes first: a warning that is wrong twice is never read again. Tokens are told by the forms that their
issuers publish, passwords and keys by an assignment whose value no word, name, path or placeholder explains.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from mimir.model import Json

_PASSWORD: Final = "password"  # noqa: S105 - the name of a kind
_KEY: Final = "key or token"

_SHORTEST_PASSWORD: Final = 6
_SHORTEST_KEY: Final = 16
_LONGEST_VALUE: Final = 200
_DISTINCT: Final = 8
_KEY_BITS: Final = 3.0
_CLASSES: Final = 3

_PLACEHOLDER: Final = (
    r"x{4}|\*{3}|\.{3}|\u2026|\u2022{2}|#{3}|_{4}|<|\$\{|\{\{|%\(|(.)\1{5}|example|sample|dummy|placeholder|redacted"
    r"|masked|change.?me|replace|your|insert|fake|notreal|foobar|abcdefg|1234567|password|passwd|qwerty|letmein|default"
)
_WEAK: Final = r"(?:test|admin|root|guest|demo|user|postgres|mysql|secret|pass|pw|token|dev|local)[\W\d_]*"
_TERM: Final = (
    r"(?:argon2|bcrypt|scrypt|pbkdf2|sha-?\d|md5|aes-?\d|rsa-?\d|base(?:32|58|64)|utf-?\d|oauth|hs\d{3}|rs\d{3}|x509"
    r"|ed25519|pkcs)[\w-]*"
)
_REFERENCE: Final = r"[$%@&/~.]|\w+://|(?:https?|file|env|arn|vault|op|ref|secrets?|ssm|keyring|gcp|aws):"
_ATTRIBUTE: Final = r"[A-Za-z_]\w*(?:(?:\.|->|::)[A-Za-z_]\w*)+"
_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_HEX: Final = r"[0-9a-fA-F]+"
_PLAIN: Final = r"[a-z]+\d{0,2}"
_OWNER: Final = (
    r"(?:api|secret|access|auth|private|signing|encryption|master|client|app|service|storage|account|shared|license"
    r"|webhook|deploy|admin|bearer|refresh|session|bot)[_\- ]?$"
)
_LONGEST_OWNER: Final = 12
_LONG_RUN: Final = r"[!-~]{16,}"
_KEY_CHARACTERS: Final = r"[\w+/=.~:-]+"
_DIGIT_INSIDE: Final = r"\d[^\d]*[A-Za-z]"
_SEPARATED: Final = r"[-_./:]+"

_OPEN: Final = r"(?<![A-Za-z0-9])"
_SHUT: Final = r"(?![A-Za-z0-9])"
_EQUALS: Final = r"""\\?["'`\]]?\s{0,3}(?P<sign>:=|=>|={1,2}|:|\sis\s|\swas\s)\s{0,3}\\?(?P<quote>["'`]?)"""
_VALUE: Final = r"""(?P<secret>[^\s"'`,;<>(){}\[\]|\\]{6,200}+)(?![(\[{<])"""


class Secret(NamedTuple):
    """A stretch of a text that looks like a credential: what kind, from where to where."""

    kind: str
    start: int
    end: int


class Found(NamedTuple):
    """What kind of credential was found at which place of a value, such as ``body_json.content``."""

    kind: str
    place: str


class Rule(NamedTuple):
    """How one kind of credential looks.

    One of the `marks` stands, in any case, in every text that holds one, so that most texts need no pattern: within a
    run of sixteen characters without a space, beside one, or in a text that needs none, as `holder` says. What the
    pattern matches counts if `holds` agrees; its group ``secret`` is the part that was drawn or chosen.
    """

    kind: str
    marks: tuple[str, ...]
    pattern: str
    holds: Callable[[re.Match[str]], bool]
    holder: Literal["token", "text", "short text"] = "text"


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Compiled when first needed: most texts hold none of the marks.
    return re.compile(pattern)


@functools.cache
def _folded(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _is_placeholder(value: str) -> bool:
    return _folded(_PLACEHOLDER).search(value) is not None or _folded(_WEAK).fullmatch(value) is not None


def _is_random(match: re.Match[str]) -> bool:
    """Tell whether what follows a token's known prefix is more than crosses, dots or the alphabet."""
    value = _value(match)
    return len(set(value)) >= _DISTINCT and not _is_placeholder(value)


def _holds_key_lines(match: re.Match[str]) -> bool:
    """Tell whether what follows the head of a key holds a line of one: a text about keys holds words."""
    return not all(map(_is_placeholder, _compiled(_KEY_LINE).findall(match["secret"])))


def _is_web_token(match: re.Match[str]) -> bool:
    """Tell whether the first part of a token is the header of a JWT."""
    from base64 import urlsafe_b64decode
    from json import loads

    head = match.group().split(".", 1)[0]
    try:
        return "alg" in loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, TypeError):
        return False


def _is_login(match: re.Match[str]) -> bool:
    """Tell whether what a header of basic authentication holds is a user name with a password."""
    from base64 import b64decode

    try:
        user, colon, password = b64decode(_value(match), validate=True).decode().partition(":")
    except ValueError:
        return False
    return bool(colon) and password not in ("", user) and not _is_placeholder(password)


def _is_url_password(match: re.Match[str]) -> bool:
    value, user = match["secret"], match["user"]
    if value.lower() == user.lower() or _is_placeholder(value) or _compiled(_REFERENCE).match(value):
        return False
    return not value.isdigit() and not (value.startswith("{") or value.isupper())


def _is_password(match: re.Match[str]) -> bool:
    value = match["secret"].rstrip(".:")
    if len(value) < _SHORTEST_PASSWORD or _names_no_secret(value):
        return False
    classes = [
        any(map(str.islower, value)),
        any(map(str.isupper, value)),
        any(map(str.isdigit, value)),
        any(not letter.isalnum() and letter not in "-_.:/" for letter in value),
    ]
    if match["sign"].strip() in ("is", "was"):
        return sum(classes) >= _CLASSES
    if sum(classes) >= _CLASSES:
        return classes[2] or classes[3]
    return classes[2] and (classes[0] or classes[1]) and bool(match["quote"] or not _folded(_PLAIN).fullmatch(value))


def _is_key(match: re.Match[str]) -> bool:
    return _looks_like_key(match["secret"].rstrip(".:"), hexadecimal=False)


def _is_assigned_key(match: re.Match[str]) -> bool:
    word, before = match["word"].lower(), match.string[max(0, match.start() - _LONGEST_OWNER) : match.start()]
    owned = _folded(_OWNER).search(before) is not None
    if word == "key" and not owned:
        return False
    return _looks_like_key(match["secret"].rstrip(".:"), hexadecimal=owned or word == "secret")


def _looks_like_key(value: str, *, hexadecimal: bool) -> bool:
    if len(value) < _SHORTEST_KEY or not _compiled(_KEY_CHARACTERS).fullmatch(value) or _names_no_secret(value):
        return False
    if not hexadecimal and _compiled(_HEX).fullmatch(value):
        return False
    if not _compiled(_DIGIT_INSIDE).search(value) or _bits(value) < _KEY_BITS:
        return False
    return not all(part.isalpha() or part.isdigit() for part in _compiled(_SEPARATED).split(value))


def _names_no_secret(value: str) -> bool:
    """Tell whether a value is a placeholder, a name of something, or says where the secret is kept."""
    return (
        _is_placeholder(value)
        or _compiled(_REFERENCE).match(value) is not None
        or _compiled(_ATTRIBUTE).fullmatch(value) is not None
        or _folded(_TERM).fullmatch(value) is not None
        or _compiled(_UUID).fullmatch(value) is not None
    )


def _bits(value: str) -> float:
    """Return the entropy of a value's characters, in bits per character."""
    counts = [value.count(letter) for letter in set(value)]
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _value(match: re.Match[str]) -> str:
    return match["secret"] if "secret" in match.re.groupindex else match.group()


def _token(kind: str, *prefixes_and_tail: str) -> Rule:
    *prefixes, tail = prefixes_and_tail
    head = "|".join(map(re.escape, prefixes))
    marks = tuple(prefix.lower() for prefix in prefixes)
    # The prefix is masked as well, but what is looked at is the part that the issuer drew.
    return Rule(kind, marks, f"{_OPEN}(?:{head})(?P<secret>{tail}){_SHUT}", _is_random, "token")


def _form(kind: str, marks: tuple[str, ...], pattern: str) -> Rule:
    return Rule(kind, marks, f"{_OPEN}(?:{pattern}){_SHUT}", _is_random, "token")


_KEY_LINE: Final = r"(?=[A-Za-z+/]{0,31}\d)[A-Za-z0-9+/]{32}"
_PRIVATE_KEY: Final = (
    r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<secret>(?:[A-Za-z0-9+/=:,.\s>#*|\"'-]|\\[nr]){40,20000}?)"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)

RULES: Final = (
    Rule("private key", ("private key",), _PRIVATE_KEY, _holds_key_lines),
    Rule("PuTTY private key", ("putty-user-key",), r"PuTTY-User-Key-File-\d:[\s\S]{60,20000}", lambda _: True),
    _token("age private key", "AGE-SECRET-KEY-1", "[02-9AC-HJ-NP-Z]{58}"),
    _form("AWS access key id", ("akia", "asia", "abia", "acca"), "(?:AKIA|ASIA|ABIA|ACCA)(?P<secret>[A-Z2-7]{16})"),
    _token("Google API key", "AIza", r"[\w-]{35}"),
    _token("Google OAuth client secret", "GOCSPX-", r"[\w-]{28}"),
    _token("Google OAuth token", "ya29.", r"[\w-]{30,}"),
    Rule("Azure storage key", ("accountkey=",), r"(?i:AccountKey)=(?P<secret>[A-Za-z0-9+/]{86}==)", _is_random),
    _form("Azure client secret", ("q~",), r"[\w~.]{3}\dQ~(?P<secret>[\w~.-]{31,34})"),
    _token("DigitalOcean token", "dop_v1_", "doo_v1_", "dor_v1_", "[0-9a-f]{64}"),
    _token("Heroku API key", "HRKU-", r"[\w-]{36,66}"),
    _token("Alibaba Cloud access key id", "LTAI", "[A-Za-z0-9]{16,24}"),
    _token("Databricks token", "dapi", "[0-9a-f]{32}(?:-\\d)?"),
    _token("HashiCorp Vault token", "hvs.", "hvb.", "hvr.", r"[\w-]{24,}"),
    _form("Terraform Cloud token", (".atlasv1.",), r"[A-Za-z0-9]{14}\.atlasv1\.(?P<secret>[\w=-]{60,70})"),
    _token("Doppler token", "dp.pt.", "dp.st.", "dp.ct.", r"[\w.-]{40,}"),
    _token("Pulumi token", "pul-", "[0-9a-f]{40}"),
    _token("Supabase token", "sbp_", "sb_secret_", r"[\w-]{30,}"),
    _token("PlanetScale credential", "pscale_tkn_", "pscale_pw_", "pscale_oauth_", r"[\w=.-]{32,64}"),
    _form("Dynatrace token", ("dt0c01.",), r"dt0c01\.[A-Z2-7]{24}\.(?P<secret>[A-Z2-7]{64})"),
    _token("New Relic key", "NRAK-", "[A-Z0-9]{27}"),
    _token("Grafana token", "glsa_", "glc_", r"[\w+/=]{32,}"),
    _token("Sentry token", "sntrys_", "sntryu_", r"[\w+/=]{40,}"),
    _token("Fly.io token", "fo1_", "fm2_", r"[\w+/=-]{40,}"),
    _token("1Password service account token", "ops_eyJ", r"[\w+/=-]{200,}"),
    _token("GitHub token", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "[A-Za-z0-9]{36,251}"),
    _token("GitHub token", "github_pat_", r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _token("GitLab token", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", r"[\w.-]{20,300}"),
    _token("Atlassian token", "ATATT3", "ATCTT3", "ATBB", r"[\w=-]{32,300}"),
    _token("npm token", "npm_", "[A-Za-z0-9]{36}"),
    _token("PyPI token", "pypi-AgE", r"[\w-]{50,300}"),
    _token("RubyGems key", "rubygems_", "[0-9a-f]{48}"),
    _token("Docker Hub token", "dckr_pat_", "dckr_oat_", r"[\w-]{27,40}"),
    _form("Slack token", ("xox",), r"xox[abeoprs](?:\.xox[bp])?-(?P<secret>[\w-]{20,250})"),
    _token("Slack app token", "xapp-", r"\d-[A-Z0-9]{8,14}-\d{10,14}-[0-9a-f]{60,70}"),
    _form("Slack webhook", ("hooks.slack.com",), r"hooks\.slack\.com/services/(?P<secret>T\w+/B\w+/\w{20,30})"),
    _form("Discord webhook", ("/api/webhooks/",), r"discord(?:app)?\.com/api/webhooks/\d+/(?P<secret>[\w-]{60,80})"),
    Rule(
        "Discord bot token",
        ("discord",),
        rf"{_OPEN}(?P<secret>[MNO][\w-]{{23,27}}\.[\w-]{{6}}\.[\w-]{{27,40}}){_SHUT}",
        _is_random,
    ),
    _form("Telegram bot token", (":aa",), r"\d{8,10}:AA(?P<secret>[\w-]{32,34})"),
    _form("SendGrid key", ("sg.",), r"SG\.(?P<secret>[\w-]{22}\.[\w-]{43})"),
    _form("Mailgun key", ("key-",), "key-(?P<secret>[0-9a-f]{32})"),
    _form("Mailchimp key", ("-us",), r"(?P<secret>[0-9a-f]{32})-us\d{1,2}"),
    _token("Stripe key", "sk_live_", "rk_live_", "sk_test_", "rk_test_", "[A-Za-z0-9]{16,250}"),
    _token("webhook signing secret", "whsec_", r"[\w+/=]{24,80}"),
    _token("Square credential", "sq0csp-", "sq0atp-", r"[\w-]{22,43}"),
    _form("Braintree token", ("access_token$",), r"access_token\$[a-z]+\$[0-9a-z]{16}\$(?P<secret>[0-9a-f]{32})"),
    _token("Shopify token", "shpat_", "shpca_", "shppa_", "shpss_", "[0-9a-fA-F]{32}"),
    _token("Anthropic key", "sk-ant-", r"[a-z]{3,6}\d\d-[\w-]{60,200}"),
    _form("OpenAI key", ("t3blbkfj",), r"sk-(?:proj-|svcacct-|admin-)?[\w-]{20,120}T3BlbkFJ(?P<secret>[\w-]{20,120})"),
    _token("OpenRouter key", "sk-or-v1-", "[0-9a-f]{64}"),
    _form("key of a language model provider", ("sk-",), r"sk-(?P<secret>(?=[A-Za-z0-9]{0,50}\d)[A-Za-z0-9]{32,64})"),
    _token("Hugging Face token", "hf_", "api_org_", "[A-Za-z0-9]{34}"),
    _token("Groq key", "gsk_", "[A-Za-z0-9]{52}"),
    _token("xAI key", "xai-", "[A-Za-z0-9]{80}"),
    _token("Replicate token", "r8_", "[A-Za-z0-9]{37}"),
    _token("Perplexity key", "pplx-", "[A-Za-z0-9]{48}"),
    _token("NVIDIA key", "nvapi-", r"[\w-]{60,80}"),
    _token("Pinecone key", "pcsk_", r"\w{60,80}"),
    _token("LangSmith key", "lsv2_pt_", "lsv2_sk_", "[0-9a-f]{32}_[0-9a-f]{10}"),
    _token("Notion token", "ntn_", "[A-Za-z0-9]{40,50}"),
    _token("Linear key", "lin_api_", "[A-Za-z0-9]{40}"),
    _token("Figma token", "figd_", r"[\w-]{40}"),
    _token("Postman key", "PMAK-", "[0-9a-f]{24}-[0-9a-f]{34}"),
    _form("Airtable token", ("pat",), r"pat[A-Za-z0-9]{14}\.(?P<secret>[0-9a-f]{64})"),
    Rule(
        "JSON web token",
        ("eyj",),
        rf"{_OPEN}eyJ[\w-]{{10,2000}}\.eyJ[\w-]{{10,8000}}\.[\w-]{{20,2000}}",
        _is_web_token,
        "token",
    ),
    Rule(
        "password in a URL",
        ("://",),
        r"://(?P<user>[^\s/:@?#\"'`<>]{0,100}):(?P<secret>[^\s/@\"'`<>]{3,200})@[A-Za-z0-9\[]",
        _is_url_password,
        holder="short text",
    ),
    Rule(
        "password in a header",
        ("basic ",),
        r"(?i:authorization)\W{1,5}(?i:basic)\s+(?P<secret>[A-Za-z0-9+/]{8,400}={0,2})",
        _is_login,
        holder="short text",
    ),
    Rule(
        "bearer token",
        ("bearer ",),
        r"(?i:bearer)\s+(?P<secret>[\w+/=.~-]{20,2000})",
        _is_key,
    ),
    Rule(
        _PASSWORD,
        ("curl",),
        r"(?i:\bcurl)\b[^\n]{0,200}?\s(?:-u|--user)(?P<sign>)\s{1,3}(?P<quote>[\"']?)[^\s:\"']{1,64}:"
        r"(?P<secret>[^\s\"']{6,200})",
        _is_password,
        holder="short text",
    ),
    Rule(
        _PASSWORD,
        ("passw", "passphrase", "passcode", "pwd", "_pass"),
        rf"(?:[pP][aA][sS][sS](?:[wW](?:[oO][rR])?[dD]|[pP][hH][rR][aA][sS][eE]|[cC][oO][dD][eE]|(?<=_....))|[pP][wW][dD])"
        rf"{_EQUALS}{_VALUE}",
        _is_password,
        holder="short text",
    ),
    Rule(
        _PASSWORD,
        ("--passw",),
        r"--(?i:passw(?:or)?d)(?P<sign>)\s{1,3}(?P<quote>[\"']?)(?P<secret>[^\s\"'`<>(){}\[\]|-][^\s\"'`<>(){}\[\]|]{5,200})",
        _is_password,
        holder="short text",
    ),
    Rule(
        _KEY,
        ("key", "token", "secret", "credential"),
        r"(?P<word>[kK][eE][yY]|[tT][oO][kK][eE][nN]|[sS][eE][cC][rR][eE][tT]|[cC][rR][eE][dD][eE][nN][tT][iI][aA][lL])"
        rf"(?:_base|s)?{_EQUALS}{_VALUE}",
        _is_assigned_key,
    ),
)
"""Every rule, the most telling first: of two that find the same stretch the former names it."""


def _marks(holder: str) -> tuple[tuple[str, int], ...]:
    return tuple((mark, place) for place, rule in enumerate(RULES) if rule.holder == holder for mark in rule.marks)


_MASK: Final = "[masked: "
_LONGEST_MASK: Final = 80
_MOST_LOOKS: Final = 50
"""How often in a text a second look is taken; each costs as much as the first."""

_TOKEN_MARKS: Final = _marks("token")
_OTHER_MARKS: Final = _marks("text")
_SHORT_MARKS: Final = _marks("short text")
_NAMED: Final = r"(?i).*(?:passw(?:or)?d|passphrase|passcode|pwd|key|token|secret|credentials?|secret_key_base|_pass)"


def find_secrets(text: str, name: str = "") -> list[Secret]:
    """Return what looks like a credential in a text, in order and without overlaps.

    ``name`` is what the text is called where it stands, such as ``api_key``: a value alone says little.
    """
    found = [secret for place in _wanted(text) for secret in _matches(RULES[place], text)]
    if name and len(text) <= _LONGEST_VALUE and " " not in text and _compiled(_NAMED).fullmatch(name):
        found += _named(text, name)
    return _apart(found)


def may_hold_secrets(text: str) -> bool:
    """Tell whether a text, or what it is called if that is part of it, holds a mark of any rule.

    It is all that most texts are looked at for.
    """
    return bool(_wanted(text))


def masked(text: str, name: str = "") -> tuple[str, list[Secret]]:
    """Return a text with words in place of each of its secrets, and what they were; nothing in it looks like one then.

    What a first look took for the end of something longer can be a secret of its own once the rest is gone.
    """
    found: list[Secret] = []
    while secrets := find_secrets(text, name):
        found += secrets
        for secret in reversed(secrets):
            text = f"{text[: secret.start]}{_MASK}{secret.kind}]{text[secret.end :]}"
    return text, found


def screen(value: Json, place: str, name: str = "") -> tuple[Json, list[Found]]:
    """Return a JSON value with its secrets masked, names of members included, and where each of them stood.

    ``name`` is what the value is stored under.
    """
    found: list[Found] = []
    return _screened(value, place, name, found), found


def _screened(value: Json, place: str, name: str, found: list[Found]) -> Json:
    if isinstance(value, str):
        safe_text, secrets = masked(value, name)
        found += [Found(secret.kind, place) for secret in secrets]
        return safe_text
    if isinstance(value, (list, tuple)):
        return [_screened(part, place, name, found) for part in value]
    if isinstance(value, dict):
        safe: dict[str, Json] = {}
        for member, part in value.items():
            shown, secrets = masked(member)
            found += [Found(secret.kind, f"a name in {place}") for secret in secrets]
            telling = member if _compiled(_NAMED).fullmatch(member) else name
            safe[shown] = _screened(part, f"{place}.{shown}", telling, found)
        return safe
    return value


def _wanted(text: str) -> list[int]:
    lowered = text.lower()
    wanted = {place for mark, place in _SHORT_MARKS if mark in lowered}
    runs = _compiled(_LONG_RUN).findall(lowered)
    if runs:
        joined = "\n".join(runs)
        wanted.update([place for mark, place in _TOKEN_MARKS if mark in joined])
        wanted.update([place for mark, place in _OTHER_MARKS if mark in lowered])
    return sorted(wanted)


def _matches(rule: Rule, text: str) -> Iterator[Secret]:
    pattern = _compiled(rule.pattern)
    assigned = rule.kind in (_PASSWORD, _KEY)
    place = looks = 0
    while match := pattern.search(text, place):
        if rule.holds(match) and not _in_mask(text, match.start()):
            whole = not assigned and "user" not in pattern.groupindex
            start, end = match.span() if whole else match.span("secret")
            yield Secret(rule.kind, start, end)
            place = match.end()
        elif assigned and looks < _MOST_LOOKS:
            # In what is none there may be another: `token=a.b@c.token=...` begins with no token.
            place, looks = match.start("secret"), looks + 1
        else:
            place = match.end()


def _in_mask(text: str, place: int) -> bool:
    """Tell whether a place lies in the words that stand for a secret: what they name is no assignment."""
    opened = text.rfind(_MASK, max(0, place - _LONGEST_MASK), place)
    return opened >= 0 and "]" not in text[opened:place]


def _named(text: str, name: str) -> Iterator[Secret]:
    head = f'{name}="'
    for rule in RULES:
        if rule.kind in (_PASSWORD, _KEY):
            match = _compiled(rule.pattern).search(f'{head}{text}"')
            if match and match.span("secret") == (len(head), len(head) + len(text)) and rule.holds(match):
                yield Secret(rule.kind, 0, len(text))


def _apart(found: list[Secret]) -> list[Secret]:
    """Return secrets in order and without overlaps, the first found before the others.

    Of two where one holds the other the later is left out; two that overlap otherwise become one, so that no end of
    either is left.
    """
    kept: list[Secret] = []
    for secret in found:
        over = [other for other in kept if secret.start < other.end and other.start < secret.end]
        if not over:
            kept.append(secret)
        elif not any(_holds(secret, other) or _holds(other, secret) for other in over):
            start, end = min(one.start for one in (secret, *over)), max(one.end for one in (secret, *over))
            kept = [one for one in kept if one not in over] + [Secret(over[0].kind, start, end)]
    return sorted(kept, key=lambda secret: secret.start)


def _holds(outer: Secret, inner: Secret) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
