"""A labelled set of lines with and without credentials, and what the rules make of it.

Every credential is drawn here from a fixed seed and put together from parts, so that none was ever valid and no scanner
finds one in this file. ``python -m tests.attack.credentials`` prints precision and recall.
"""

from __future__ import annotations

import base64
import json
import random
import string
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from mimir.rules.secrets import find_secrets

_LETTERS: Final = string.ascii_letters
_WORDY: Final = _LETTERS + string.digits
_LOWER: Final = string.ascii_lowercase + string.digits
_UPPER: Final = string.ascii_uppercase + "234567"
_URLSAFE: Final = _WORDY + "-_"
_HEX: Final = "0123456789abcdef"
_SYMBOLS: Final = "!#^+?"


class Line(NamedTuple):
    """One line of the set: what it says, and the credential in it, or nothing."""

    text: str
    secret: str = ""


class Draw:
    """Draws characters from a fixed seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def of(self, letters: str, count: int) -> str:
        """Return characters, at least one of each kind that the letters have."""
        kinds = [[letter for letter in letters if letter in kind] for kind in (string.ascii_lowercase, string.digits)]
        drawn = [self._random.choice(letters) for _ in range(count)]
        for place, kind in enumerate(kinds):
            if kind:
                drawn[count // 2 + place] = self._random.choice(kind)
        return "".join(drawn)

    def password(self, count: int = 14) -> str:
        """Return a password with a letter of each kind."""
        fixed = ["R", "v", "7", self._random.choice(_SYMBOLS)]
        drawn = [self._random.choice(_WORDY) for _ in range(count - len(fixed))]
        self._random.shuffle(drawn)
        return "".join([*drawn[:4], *fixed, *drawn[4:]])

    def uuid(self) -> str:
        """Return an identifier in the form of RFC 9562."""
        return "-".join(self.of(_HEX, count) for count in (8, 4, 4, 4, 12))

    def base64(self, count: int) -> str:
        """Return bytes as base64."""
        return base64.b64encode(self._random.randbytes(count)).decode()


def tokens(draw: Draw) -> Iterator[str]:
    """Yield a look-alike of every form of token that the rules know."""
    yield from _of_forges_and_chats(draw)
    yield from _of_clouds(draw)
    yield from _of_payments_and_models(draw)


def _of_forges_and_chats(draw: Draw) -> Iterator[str]:
    wordy = {"ghp": 36, "gho": 36, "ghu": 36, "ghs": 36, "ghr": 76}
    yield from (f"{prefix}_{draw.of(_WORDY, count)}" for prefix, count in wordy.items())
    yield "github" + f"_pat_{draw.of(_WORDY, 22)}_{draw.of(_WORDY, 59)}"
    yield from (f"gl{kind}-{draw.of(_URLSAFE, 20)}" for kind in ("pat", "dt", "rt", "ptt", "soat"))
    yield "npm" + "_" + draw.of(_WORDY, 36)
    yield "pypi" + "-AgE" + draw.of(_URLSAFE, 140)
    yield "ruby" + "gems_" + draw.of(_HEX, 48)
    yield "dckr" + "_pat_" + draw.of(_URLSAFE, 27)
    yield "AT" + "ATT3" + draw.of(_URLSAFE, 180)
    yield "xo" + f"xb-{draw.of(string.digits, 12)}-{draw.of(string.digits, 12)}-{draw.of(_WORDY, 24)}"
    yield "xa" + f"pp-1-{draw.of(_UPPER, 11)}-{draw.of(string.digits, 13)}-{draw.of(_HEX, 64)}"
    yield draw.of(string.digits, 10) + ":A" + "A" + draw.of(_URLSAFE, 33)
    yield "nt" + "n_" + draw.of(_WORDY, 46)
    yield "lin" + "_api_" + draw.of(_WORDY, 40)
    yield "fi" + "gd_" + draw.of(_URLSAFE, 40)
    yield "PM" + f"AK-{draw.of(_HEX, 24)}-{draw.of(_HEX, 34)}"
    yield "pa" + f"t{draw.of(_WORDY, 14)}.{draw.of(_HEX, 64)}"


def _of_clouds(draw: Draw) -> Iterator[str]:
    yield from (f"{prefix}{draw.of(_UPPER, 16)}" for prefix in ("AK" + "IA", "AS" + "IA"))
    yield "AI" + "za" + draw.of(_URLSAFE, 35)
    yield "GOC" + "SPX-" + draw.of(_URLSAFE, 28)
    yield "ya" + "29." + draw.of(_URLSAFE, 60)
    yield "dop" + "_v1_" + draw.of(_HEX, 64)
    yield "HR" + "KU-" + draw.of(_URLSAFE, 60)
    yield "LT" + "AI" + draw.of(_WORDY, 20)
    yield "da" + "pi" + draw.of(_HEX, 32)
    yield "hv" + "s." + draw.of(_URLSAFE, 90)
    yield draw.of(_WORDY, 14) + ".atlas" + "v1." + draw.of(_URLSAFE, 67)
    yield "dp" + ".pt." + draw.of(_WORDY, 43)
    yield "pul" + "-" + draw.of(_HEX, 40)
    yield "sb" + "p_" + draw.of(_HEX, 40)
    yield "pscale" + "_tkn_" + draw.of(_URLSAFE, 43)
    yield "dt0" + f"c01.{draw.of(_UPPER, 24)}.{draw.of(_UPPER, 64)}"
    yield "NR" + "AK-" + draw.of(_UPPER, 27)
    yield "gl" + f"sa_{draw.of(_WORDY, 32)}_{draw.of(_HEX, 8)}"
    yield "sntry" + "u_" + draw.of(_HEX, 64)
    yield "AGE-SECRET" + "-KEY-1" + draw.of("023456789ACDEFGHJKLMNPQRSTUVWXYZ", 58)


def _of_payments_and_models(draw: Draw) -> Iterator[str]:
    yield "S" + f"G.{draw.of(_URLSAFE, 22)}.{draw.of(_URLSAFE, 43)}"
    yield "key" + "-" + draw.of(_HEX, 32)
    yield draw.of(_HEX, 32) + "-us" + "12"
    yield from (f"{kind}_{mode}_{draw.of(_WORDY, 24)}" for kind in ("sk", "rk") for mode in ("live", "test"))
    yield "wh" + "sec_" + draw.of(_WORDY, 32)
    yield "sq0" + "csp-" + draw.of(_URLSAFE, 43)
    yield "shp" + "at_" + draw.of(_HEX, 32)
    yield "access" + f"_token$production${draw.of(_LOWER, 16)}${draw.of(_HEX, 32)}"
    yield "sk-" + "ant-api03-" + draw.of(_URLSAFE, 93) + "AA"
    yield "sk-" + f"proj-{draw.of(_URLSAFE, 58)}T3Blbk" + f"FJ{draw.of(_URLSAFE, 58)}"
    yield "sk-" + draw.of(_WORDY, 48)
    yield "sk-" + "or-v1-" + draw.of(_HEX, 64)
    yield "h" + "f_" + draw.of(_LETTERS, 34)
    yield "gs" + "k_" + draw.of(_WORDY, 52)
    yield "xa" + "i-" + draw.of(_WORDY, 80)
    yield "r" + "8_" + draw.of(_WORDY, 37)
    yield "pp" + "lx-" + draw.of(_WORDY, 48)
    yield "nv" + "api-" + draw.of(_URLSAFE, 64)
    yield "ls" + f"v2_pt_{draw.of(_HEX, 32)}_{draw.of(_HEX, 10)}"


def web_token(draw: Draw) -> str:
    """Return a look-alike of a JSON web token."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": draw.of(string.digits, 10), "name": "Ada"}]
    heads = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*heads, draw.of(_URLSAFE, 43)])


def key_block(draw: Draw, name: str = "RSA ") -> str:
    """Return a look-alike of a private key in PEM."""
    text = draw.base64(300)
    body = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    dashes = "-" * 5
    return f"{dashes}BEGIN {name}PRIVATE KEY{dashes}\n{body}\n{dashes}END {name}PRIVATE KEY{dashes}"


SENTENCES: Final = (
    "The deploy uses {} for now.",
    "export TOKEN={}",
    '{{"auth": "{}"}}',
    "curl -H 'X-Auth: {}' https://api.example.org/v1/items",
    "Ada said: {}, rotate it in May.",
)
PASSWORDS: Final = (
    "The database password is {}",
    "password: {}",
    'password = "{}"',
    "DB_PASSWORD={}",
    "PGPASSWORD='{}' psql -h db",
    "postgres://app:{}@db.internal:5432/orders",
    "mongodb+srv://svc:{}@cluster0.abcde.mongodb.net/prod",
    "redis://:{}@cache:6379/0",
    "amqp://worker:{}@rabbit:5672",
    "Server=db;Database=shop;User Id=sa;Password={};",
    "mysql --user=root --password={} shop",
    "login: ops, passwd: {}",
    "wifi passphrase = {}",
    "curl -u deploy:{} https://repo.example.org",
    "smtp_pass={}",
    '"dbPassword": "{}",',
)
KEYS: Final = (
    "api_key = {}",
    'API_KEY="{}"',
    "apiKey: '{}'",
    "x-api-key: {}",
    "client_secret={}",
    "aws_secret_access_key = {}",
    "SECRET_KEY = '{}'",
    "The access token is {}",
    "Authorization: Bearer {}",
    '"refreshToken": "{}"',
    "encryption_key: {}",
    "auth-token={}",
)
CLEAN: Final = (
    "We never store passwords in the repository.",
    "The password must be at least 12 characters long and hold a digit.",
    "Passwords are hashed with argon2id; the cost is 3.",
    "password: required",
    "password: string",
    "password: argon2id",
    "password_hash: bcrypt",
    "The password is stored in the vault, not in the config.",
    "The password is sha256-hashed before it is sent.",
    "Ada forgot her password: reset it on Monday.",
    "Reset the password: see https://wiki.example.org/reset-password-2024",
    "password = get_password()",
    "password = os.environ['DB_PASSWORD']",
    "password = settings.database.password",
    "password: ${DB_PASSWORD}",
    "password: {{ vault_db_password }}",
    "PASSWORD=$DB_PASSWORD",
    "password: <your password>",
    "password: ********",
    "password=changeme",
    "password: 'password123'",
    "login(password='test1234')",
    "password: /run/secrets/db_password_2",
    "--password-file /etc/app/password2.txt",
    "def login(user: str, password: str) -> Token2:",
    "token = secrets.token_urlsafe(32)",
    "token: string;",
    "max_tokens: 4096",
    "The token budget is 16384 tokens for each call.",
    "token_type: bearer",
    "const token = await getAccessTokenForUser2(id)",
    "api_key = os.getenv('OPENAI_API_KEY')",
    "api_key: your-api-key-goes-here-123",
    "api_key=YOUR_API_KEY_1234567890",
    "API_KEY=xxxxxxxxxxxxxxxxxxxxxxxx",
    "apiKey: process.env.STRIPE_API_KEY2",
    "Set OPENAI_API_KEY before you start the worker.",
    "secret: projects/shop/secrets/openai-key/versions/3",
    "secret: arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-Ab12Cd",
    "secretName: my-service-credentials-2024",
    "secretKeyRef: {name: db, key: password}",
    "The secret ingredient is patience.",
    "primary_key: customer_id_and_order_date_2024",
    "The primary key is (category, key, workspace_hash).",
    "sort_key=created_at_unix_ms_desc_2",
    "cache key: user:1234567:profile:v2:en-GB",
    "The idempotency key is order-2024-05-17-000123",
    "public_key: ssh-ed25519 in ~/.ssh/id_ed25519.pub",
    "key: decision/database-2024-migration-plan",
    "keyboard shortcuts: Ctrl+Shift+P opens the palette",
    "http://localhost:8080/@scope/package",
    "https://medium.com/@ada/how-we-moved-to-sqlite-3f2a1b",
    "git@github.com:acme/shop.git",
    "ssh://git@github.com:22/acme/shop.git",
    "postgres://postgres:postgres@localhost:5432/postgres",
    "postgres://user:password@host/db",
    "mysql://root:${MYSQL_PASSWORD}@db/shop",
    "amqp://guest:guest@localhost:5672",
    "redis://:<password>@cache:6379",
    "https://user:********@repo.example.org/simple",
    "jdbc:postgresql://db:5432/shop?user=app&ssl=true",
    "See RFC 6750 for bearer tokens and RFC 7519 for JWT.",
    "Authorization: Bearer <token>",
    "Authorization: Bearer $TOKEN",
    "Authorization: Basic <base64 of user and password>",
    "Look for '-----BEGIN PRIVATE KEY-----' in the logs.",
    "-----BEGIN CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----",
    "GitHub tokens begin with ghp_ and have 36 characters.",
    "AWS keys look like AKIA followed by 16 characters.",
    "AKIA" + "IOSFODNN7EXAMPLE is the key of the AWS manuals.",
    "sk-" + "x" * 48,
    "ghp_" + "x" * 36,
    "ghp_" + "1234567890abcdefghijklmnopqrstuvwxyz",
    "hf_hub_download(repo_id, filename)",
    "sk-folding-cube and sk-chasing-dots are spinners",
    "npm_config_registry and npm_lifecycle_event are set by npm",
    "xoxo, see you on Monday",
    "gsk_abc is no token, neither is sk_live_",
    "The key-value store holds key-00000000000000000000000000000000",
    "credentials: include",
    "credential: file:///etc/app/credentials2024.json",
    "session key rotation happens every 24h",
    "The access key id and its secret are kept in 1Password.",
    "What is the admin password of the staging server?",
    "She said the pass rate was: 98.5% in May2024.",
    "bypass: true",
    "compass: north-by-northwest-42",
    "pwd: /home/ada/projects/shop",
    "cwd=/srv/app2 pwd=/srv/app2/current",
    "The passphrase is asked for at start and never stored.",
    "passcode length: 6 digits",
    "curl -u $USER:$PASS https://repo.example.org",
    "curl https://example.org/a?token_count=12345678901234567890",
    "Basic facts: 42 pages, 7 chapters.",
    "basic dGhpcyBpcyBub3QgYSBsb2dpbg==",
    "arn:aws:iam::123456789012:role/deploy-2024",
    "container image sha256 digests are pinned",
    "eyJ is how every base64 of a JSON object begins",
    "The webhook is at https://example.org/api/webhooks/orders",
    "hooks.slack.com/services is where webhooks go",
    "AccountKey=<key from the portal>",
    "Use key: value pairs, e.g. timeout: 30s",
    "access_token expires_in=3600 scope=read:user",
)


def lines(seed: int = 7) -> list[Line]:
    """Return the whole set: lines with one credential, then lines with none."""
    draw = Draw(seed)
    found = [Line(SENTENCES[place % len(SENTENCES)].format(one), one) for place, one in enumerate(tokens(draw))]
    for text in PASSWORDS:
        password = draw.password()
        found.append(Line(text.format(password), password))
    for place, text in enumerate(KEYS):
        key = draw.of((_WORDY, _URLSAFE, _WORDY + "+/")[place % 3], (32, 40, 43)[place % 3])
        found.append(Line(text.format(key), key))
    for text in KEYS[:7]:
        key = draw.of(_HEX, 32)
        found.append(Line(text.format(key), key))
    for text in ("{}", "id_token={}", "Cookie: session={}; path=/"):
        token = web_token(draw)
        found.append(Line(text.format(token), token))
    for name in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "):
        block = key_block(draw, name)
        found.append(Line(f"deploy key:\n{block}", block))
    login = base64.b64encode(f"ops:{draw.password()}".encode()).decode()
    found.append(Line(f"Authorization: Basic {login}", login))
    found += map(Line, CLEAN)
    for name in ("id", "request_id", "trace", "commit", "user", "session", "order", "token", "etag", "build"):
        found.append(Line(f"{name}: {draw.uuid()}"))
        found.append(Line(f"The {name} was {draw.of(_HEX, 40)} yesterday."))
    found += [
        Line(f"git commit {draw.of(_HEX, 40)} fixed it"),
        Line(f"sha256:{draw.of(_HEX, 64)}"),
        Line(f"checksum md5 {draw.of(_HEX, 32)}"),
        Line(f"token: {draw.of(_HEX, 40)}"),
        Line(f"key: {draw.of(_HEX, 32)}"),
        Line(f"mem-{draw.of(_HEX, 12)} depends on mem-{draw.of(_HEX, 12)}"),
        Line(f"data:image/png;base64,iVBORw0KGgo{draw.base64(600)}"),
        Line(f"![logo](data:image/svg+xml;base64,PHN2Zw{draw.base64(400)})"),
        Line(f"integrity: sha512-{draw.base64(64)}"),
        Line(f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{draw.base64(32)} ada@laptop"),
        Line(f"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{draw.base64(256)} ada@laptop"),
        Line(f'etag: W/"{draw.of(_WORDY, 27)}"'),
        Line(f"https://example.org/s/{draw.of(_URLSAFE, 43)}?v=2"),
        Line(f"s3://bucket/{draw.uuid()}/{draw.of(_HEX, 32)}.parquet"),
        Line(f"trace {draw.of(_HEX, 32)}-{draw.of(_HEX, 16)}-01"),
        Line(f"primary_key={draw.uuid()}"),
        Line(f"cache_key={draw.of(_HEX, 64)}"),
        Line(f"sort key: {draw.of(_LOWER, 24)}"),
        Line(f"layer digest {draw.base64(48)}"),
        Line(f"api_key: {draw.uuid()} was the id of the row, not the key"),
    ]
    return found


class Score(NamedTuple):
    """How the rules did: lines rightly found, found in vain and missed, each by its text."""

    found: tuple[str, ...]
    in_vain: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def precision(self) -> float:
        """Return the share of alarms that were right."""
        return len(self.found) / (len(self.found) + len(self.in_vain))

    @property
    def recall(self) -> float:
        """Return the share of credentials that were found."""
        return len(self.found) / (len(self.found) + len(self.missed))


def score(labelled: list[Line]) -> Score:
    """Return what the rules find in a labelled set; a credential counts as found when all of it would be masked."""
    found, in_vain, missed = [], [], []
    for line in labelled:
        stretches = [line.text[secret.start : secret.end] for secret in find_secrets(line.text)]
        if not line.secret:
            in_vain += [line.text] if stretches else []
        elif any(line.secret in stretch for stretch in stretches):
            found.append(line.text)
        else:
            missed.append(line.text)
    return Score(tuple(found), tuple(in_vain), tuple(missed))


def main() -> int:
    """Print what the rules find, and what they get wrong, and return the exit status."""
    labelled = lines()
    result = score(labelled)
    sys.stdout.write(
        f"{len(labelled)} lines, {len(result.found) + len(result.missed)} with a credential:"
        f" precision {result.precision:.3f}, recall {result.recall:.3f}\n"
    )
    for text in result.in_vain:
        sys.stdout.write(f"in vain: {text[:100]}\n")
    for text in result.missed:
        sys.stdout.write(f"missed: {text[:100]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
