"""Services that answer late, wrongly, or not at all: each has a cause and a cure."""

# ruff: noqa: ARG001 - answers take what they do not all need
import json
import ssl
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if not find_spec("tritonclient"):
    pytest.skip("the extra `remote` is not installed", allow_module_level=True)

import trustme
from http_service import Handler, serving
from proxy import proxy
from servers import free_ports, mlserver

from edge_sharpzo.clip import ClipOnnx
from edge_sharpzo.clip.towers import Tower
from edge_sharpzo.engines import service, spread
from edge_sharpzo.engines.access import Access, access
from edge_sharpzo.engines.address import addresses
from edge_sharpzo.engines.credentials import CERTIFICATES, TOKEN
from edge_sharpzo.engines.served import Companion, Served
from edge_sharpzo.engines.service import Service
from edge_sharpzo.system.errors import UserError


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "PATIENCE", 0.3)
    monkeypatch.setattr(service, "AT_START", 0.3)
    monkeypatch.setattr(spread, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(spread, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(spread, "FIRST_DEADLINE", 0.5)
    monkeypatch.setattr(spread, "GRACE", 0.3)
    monkeypatch.setattr(spread, "SHORTEST_DEADLINE", 0.5)
    monkeypatch.setattr(spread, "LONGEST_DEADLINE", 0.5)


@pytest.fixture(scope="module")
def clip(tiny_onnx: Path) -> ClipOnnx:
    return ClipOnnx(tiny_onnx)


def whole(clip: ClipOnnx, nonce: bytes) -> dict[str, np.ndarray]:
    """A right answer to one text of one class."""
    text = np.zeros((1, 1, clip.card.feature_dim), np.float32)
    text[..., 0] = 1
    sha256 = np.frombuffer(bytes.fromhex(clip.sha256), np.uint8)
    echo = np.frombuffer(nonce, np.uint8)
    return {"text_features": text, "model_sha256": sha256, "nonce_echo": echo}


def asked(clip: ClipOnnx, port: int, told: list[str] | None = None) -> np.ndarray:
    """What comes of one call of the text tower."""
    there = Service(
        addresses(f"kserve+http://127.0.0.1:{port}/clip"),
        lambda text, warning: (told if told is not None else []).append(text),
    )
    session = there.session(
        Tower.TEXT, False, clip.sha256, lambda feeds: (1, 1, clip.card.feature_dim)
    )
    feeds = {"ctx": np.zeros((1, 2, clip.card.text.width), np.float32)}
    return session.run_all([feeds])[0]


def _nan(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.tensors(
        r,
        {
            **whole(clip, n),
            "text_features": np.full((1, 1, clip.card.feature_dim), np.nan, np.float32),
        },
    )


def _shape(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.tensors(
        r, {**whole(clip, n), "text_features": np.ones((2, 1, clip.card.feature_dim), np.float32)}
    )


def _kind(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.tensors(
        r, {**whole(clip, n), "text_features": np.ones((1, 1, clip.card.feature_dim), np.float64)}
    )


def _other_model(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.tensors(r, {**whole(clip, n), "model_sha256": np.zeros(32, np.uint8)})


def _other_request(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.tensors(r, whole(clip, bytes(16)))


def _other_id(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.tensors({"id": "another"}, whole(clip, n))


def _no_output(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    found = whole(clip, n)
    del found["text_features"]
    h.tensors(r, found)


def _late(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    time.sleep(2)
    h.tensors(r, whole(clip, n))


def _drip(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.send_response(200)
    h.send_header("Content-Length", "1000")
    h.end_headers()
    for _ in range(20):
        h.wfile.write(b" ")
        h.wfile.flush()
        time.sleep(0.1)


def _drip_head(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.close_connection = True
    for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 30:
        h.wfile.write(bytes([letter]))
        h.wfile.flush()
        time.sleep(0.1)


def _go_on(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.close_connection = True
    for _ in range(40):
        h.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        h.wfile.flush()
        time.sleep(0.1)


def _zeros(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    found = whole(clip, n)
    h.tensors(r, {**found, "text_features": 0 * found["text_features"]})


def _too_large(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    output = {"name": "text_features", "datatype": "INT64", "shape": [1], "data": [10**40]}
    h.reply(200, json.dumps({"id": r.get("id"), "outputs": [output]}).encode())


def _short(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.send_response(200)
    h.send_header("Content-Length", "1000")
    h.end_headers()
    h.wfile.write(b"{")
    h.close_connection = True


def _hang_up(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.close_connection = True
    h.connection.close()


def _page(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(200, b"<html>log in first</html>")


def _deep(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(200, b"[" * 100_000)


def _wrong_head(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(200, b"{}", Inference_Header_Content_Length="-5")


def _redirect(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(302, b"", Location="http://127.0.0.1:1/elsewhere")


def _no_token(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(401, b'{"error": "who are you"}')


def _forbidden(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(403, b"")


def _busy(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(503, b'{"error": "overloaded"}', Retry_After="0")


def _broken(h: Handler, r: dict[str, Any], n: bytes, clip: ClipOnnx) -> None:
    h.reply(500, b"Traceback ...")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (_nan, "no finite numbers"),
        (_shape, "does not do what the model's card says"),
        (_kind, "float64"),
        (_other_model, "serves another model now"),
        (_other_request, "another request's"),
        (_other_id, "an answer to another request"),
        (_no_output, "without text_features"),
        (_late, "no answer in time"),
        (_drip, "no answer in time"),
        (_drip_head, "no answer in time"),
        (_go_on, "no answer in time"),
        (_zeros, "L2-normalised"),
        (_too_large, "cannot be read"),
        (_short, "no connection"),
        (_hang_up, "no connection"),
        (_page, "cannot be read"),
        (_deep, "cannot be read"),
        (_wrong_head, "cannot be read"),
        (_redirect, "302"),
        (_no_token, TOKEN),
        (_forbidden, TOKEN),
        (_busy, "503 overloaded"),
        (_broken, "500"),
    ],
)
def test_a_wrong_answer_ends_with_its_cause(
    answer: Callable[..., None], why: str, clip: ClipOnnx
) -> None:
    def made(h: Handler, r: dict[str, Any], n: bytes) -> None:
        answer(h, r, n, clip)

    with serving(made) as server:
        began = time.monotonic()
        with pytest.raises(UserError, match=why):
            asked(clip, server.server_port)
        assert time.monotonic() - began < 6
        assert len(server.asked) >= 2, "one fault alone must not end a run"


@pytest.mark.parametrize("answer", [_nan, _other_request, _short, _hang_up, _busy, _shape, _broken])
def test_a_wrong_answer_is_asked_for_again(answer: Callable[..., None], clip: ClipOnnx) -> None:
    def made(h: Handler, r: dict[str, Any], n: bytes) -> None:
        if len(h.server.asked) < 3:  # type: ignore[attr-defined]
            answer(h, r, n, clip)
        else:
            h.tensors(r, whole(clip, n))

    with serving(made) as server:
        assert asked(clip, server.server_port)[0, 0, 0] == 1
        assert len(server.asked) == 3


@pytest.mark.parametrize("scheme", ["kserve", "kserve+http"])
def test_a_connection_that_is_refused_is_no_answer_that_is_late(scheme: str) -> None:
    (port,) = free_ports(1)
    found = Service(addresses(f"{scheme}://127.0.0.1:{port}/clip"), lambda text, warning: None)
    with pytest.raises(UserError, match=r"(?i)connection") as raised:
        found.companion()
    assert "in time" not in str(raised.value)


def test_retry_after_is_heeded(clip: ClipOnnx) -> None:
    def made(h: Handler, r: dict[str, Any], n: bytes) -> None:
        if len(h.server.asked) == 1:  # type: ignore[attr-defined]
            h.reply(503, b"", Retry_After="1")
        else:
            h.tensors(r, whole(clip, n))

    with serving(made) as server:
        asked(clip, server.server_port)
        first, second = (when for when, _ in server.asked)
        assert second - first >= 1


def test_the_token_goes_along_and_is_kept_nowhere(
    clip: ClipOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "s3cret-token")
    with serving(lambda h, r, n: h.tensors(r, whole(clip, n))) as server:
        asked(clip, server.server_port)
        assert {headers["authorization"] for _, headers in server.asked} == {"Bearer s3cret-token"}


@pytest.mark.parametrize(
    ("card", "why"),
    [
        (np.frombuffer(b"{}", np.uint8), "not the fields"),
        (np.frombuffer(b"no json", np.uint8), "damaged card"),
        (np.frombuffer(b"\xff\xfe", np.uint8), "damaged card"),
        (np.frombuffer(b'{"sha256": "1", "metadata": {}}', np.uint8), "checksum"),
        (np.frombuffer(b'{"sha256": 1, "metadata": {"a": 2}}', np.uint8), "no text"),
        (np.zeros((2, 2), np.float32), "no bytes of a card"),
    ],
)
def test_a_damaged_card_is_told(card: np.ndarray, why: str, clip: ClipOnnx) -> None:
    def made(h: Handler, r: dict[str, Any], n: bytes) -> None:
        found = whole(clip, n)
        h.tensors(r, {"card": card, **{k: found[k] for k in ("model_sha256", "nonce_echo")}})

    with serving(made) as server:
        there = Service(addresses(f"kserve+http://127.0.0.1:{server.server_port}/clip"), print)
        with pytest.raises(UserError, match=why):
            there.companion()


def test_a_card_reads_as_it_was_written(clip: ClipOnnx) -> None:
    companion = Companion.of(clip)
    assert Companion.of_array(companion.to_array()) == companion


@pytest.mark.parametrize(
    ("inputs", "outputs", "wanted"),
    [
        ({"ctx": "FP32", "eot": "INT64"}, {"text_features": "FP32"}, Access.TENSORS),
        ({"ctx": "FP32"}, {"losses": "FP32"}, Access.SCORES),
        ({"prompt_embeddings": "FP32"}, {"logits": "FP32"}, Access.SCORES),
        ({"text": "BYTES"}, {"embedding": "FP32"}, Access.STRINGS),
        ({"image": "UINT8"}, {"boxes": "FP32"}, Access.UNKNOWN),
        ({}, {}, Access.UNKNOWN),
    ],
)
def test_what_a_service_lets_one_do(
    inputs: dict[str, str], outputs: dict[str, str], wanted: Access
) -> None:
    assert access(inputs, outputs) is wanted


def contexts() -> tuple[trustme.CA, ssl.SSLContext]:
    """Who signs, and a server called `models.example` and 127.0.0.1 with a certificate of that."""
    signer = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2", "http/1.1"])
    signer.issue_cert("127.0.0.1", "models.example").configure_cert(context)
    return signer, context


CERTIFICATE = trustme.CA().cert_pem.bytes()
KEY = trustme.CA().private_key_pem.bytes()
BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("scheme", ["kserve+tls", "kserve+https"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BEGIN + b"\x00\xff garbage", "is damaged"),
        (BEGIN + b"bm8gY2VydGlmaWNhdGU=" + END, "is damaged"),  # base64, of no certificate
        (CERTIFICATE[: len(CERTIFICATE) // 2], "is damaged"),
        (CERTIFICATE + BEGIN + b"!" + END, "is damaged"),  # the first one is whole
        (b"", "holds no certificate"),
        (KEY, "holds no certificate"),
        (ssl.PEM_cert_to_DER_cert(CERTIFICATE.decode()), "holds no certificate"),
        (b"how to get a BEGIN CERTIFICATE line", "holds no certificate"),
        (None, "cannot be read"),  # a folder
    ],
    ids=["garbage", "base64", "cut", "second", "empty", "key", "der", "mention", "folder"],
)
def test_certificates_that_cannot_be_used_are_named(
    content: bytes | None, why: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ca.pem"
    file.mkdir() if content is None else file.write_bytes(content)
    monkeypatch.setenv(CERTIFICATES, str(file))
    with pytest.raises(UserError, match=f"{CERTIFICATES} names {file}, which {why}"):
        Service(addresses(f"{scheme}://127.0.0.1:1/clip"), print)


@pytest.mark.parametrize(
    "content",
    [CERTIFICATE, KEY + CERTIFICATE, b"# ours\n" + CERTIFICATE * 2],
    ids=["alone", "key", "comment"],
)
@pytest.mark.parametrize("scheme", ["kserve+tls", "kserve+https"])
def test_certificates_may_have_company(
    scheme: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    monkeypatch.setenv(CERTIFICATES, str(tmp_path / "ca.pem"))
    Service(addresses(f"{scheme}://127.0.0.1:1/clip"), print)


@pytest.mark.skipif(not find_spec("mlserver"), reason="MLServer is not for this Python")
def test_encrypted_connections(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, context = contexts()
    monkeypatch.setattr(spread, "FIRST_DEADLINE", 5.0)
    monkeypatch.setattr(spread, "LONGEST_DEADLINE", 5.0)
    monkeypatch.delenv(CERTIFICATES, raising=False)
    monkeypatch.setenv(TOKEN, "s3cret-token")
    with mlserver(tiny_onnx) as (grpc, http, _):
        for scheme, port in (("kserve+tls", grpc), ("kserve+https", http)):
            with proxy(port, tls=context) as between:
                named = f"{scheme}://127.0.0.1:{between.port}/clip"
                with pytest.raises(UserError, match=f"no encrypted connection.*{CERTIFICATES}"):
                    Service(addresses(named), print).companion()
                monkeypatch.setenv(CERTIFICATES, str(tmp_path / "ca.pem"))
                with pytest.raises(UserError, match="cannot be read"):
                    Service(addresses(named), print)
                signer.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
                assert Service(addresses(named), print).companion().sha256
                # Its certificate is for 127.0.0.1, not for the name that is asked for.
                with pytest.raises(UserError, match="no encrypted connection"):
                    Service(addresses(named.replace("127.0.0.1", "localhost")), print).companion()
                assert b"s3cret-token" in between.sent
                monkeypatch.delenv(CERTIFICATES)
                (tmp_path / "ca.pem").unlink()


def test_every_served_model_has_an_output() -> None:
    assert {each.output for each in Served} == {
        "text_features",
        "token_embeddings",
        "image_features",
        "card",
    }
