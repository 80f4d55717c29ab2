"""Addresses of engines: what they mean, and what is refused."""

import pytest

from edge_sharpzo.engines.address import Address, Scheme, addresses
from edge_sharpzo.engines.credentials import TOKEN, headers
from edge_sharpzo.system.errors import UserError

MODEL = "clip"


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        ("kserve://pi.local:8001/clip-text", [Address(Scheme.GRPC, "pi.local", 8001, "", MODEL)]),
        ("kserve://10.0.0.7/clip", [Address(Scheme.GRPC, "10.0.0.7", 8001, "", MODEL)]),
        (
            "kserve+tls://models.example/clip-text",
            [Address(Scheme.GRPC_TLS, "models.example", 443, "", MODEL)],
        ),
        ("kserve+http://[::1]:9000/clip-text/", [Address(Scheme.HTTP, "::1", 9000, "", MODEL)]),
        (
            "kserve+https://h/a/b/vit_l-14.v2-text",
            [Address(Scheme.HTTPS, "h", 443, "a/b", "vit_l-14.v2")],
        ),
        (
            "kserve://a:1/clip-text, b:2/clip-text ,kserve+http://c:3/clip",
            [
                Address(Scheme.GRPC, "a", 1, "", MODEL),
                Address(Scheme.GRPC, "b", 2, "", MODEL),
                Address(Scheme.HTTP, "c", 3, "", MODEL),
            ],
        ),
        ("dask://127.0.0.1:8786", [Address(Scheme.DASK, "127.0.0.1", 8786)]),
        ("dask+tls://fleet", [Address(Scheme.DASK_TLS, "fleet", 8786)]),
    ],
)
def test_addresses(engine: str, wanted: list[Address]) -> None:
    assert addresses(engine) == wanted


@pytest.mark.parametrize(
    ("engine", "why"),
    [
        ("kserve://", "is no address"),
        ("kserve://host:8001", "end with the model's name"),
        ("kserve://host:70000/clip", "no port 70000"),
        ("kserve://host:0/clip", "no port 0"),
        ("kserve://host:8001/v2/models/clip-text", "the model's name alone"),
        ("http://host:8000/clip", "there is no http://"),
        ("triton://host/clip", "there is no triton://"),
        ("kserve://user:secret@host/clip", "EDGE_SHARPZO_TOKEN"),
        ("kserve://host/clip?token=1", "EDGE_SHARPZO_TOKEN"),
        ("kserve://host/clip,,", "'' is no address"),
        ("kserve://ho st/clip", "is no address"),
        ("kserve://host/cl\nip", "is no address"),
        ("kserve://host/../clip;rm", "is no address"),
        ("kserve://a/clip,a/clip-text", "names one place twice"),
        ("dask://host:8786/clip", "ends with its port"),
        ("dask://a,dask://b", "one scheduler"),
    ],
)
def test_what_is_no_address_is_refused(engine: str, why: str) -> None:
    with pytest.raises(UserError, match=why.replace("?", r"\?")) as caught:
        addresses(engine)
    assert caught.value.field == "engine"
    assert "kserve://host:8001/clip-text" in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "is_sent"),
    [
        ("kserve://127.0.0.1/clip", True),
        ("kserve+http://localhost/clip", True),
        ("kserve+http://[::1]/clip", True),
        ("kserve+tls://models.example/clip", True),
        ("kserve+https://models.example/clip", True),
        ("kserve://models.example/clip", False),
        ("kserve+http://10.0.0.7/clip", False),
        ("kserve+http://127.example/clip", False),
    ],
)
def test_a_token_leaves_this_machine_encrypted_alone(
    engine: str, is_sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (address,) = addresses(engine)
    assert headers(address) == {}
    monkeypatch.setenv(TOKEN, "s3cret")
    if is_sent:
        assert headers(address) == {"authorization": "Bearer s3cret"}
        return
    with pytest.raises(UserError, match="unencrypted") as caught:
        headers(address)
    assert "s3cret" not in str(caught.value)


def test_a_token_that_cannot_be_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("a\nb", "schlüssel", "a\tb"):
        monkeypatch.setenv(TOKEN, token)
        with pytest.raises(UserError, match="ASCII"):
            headers(addresses("kserve+tls://h/clip")[0])


@pytest.mark.parametrize(
    ("engine", "may"),
    [
        ("kserve://127.0.0.1/clip", False),
        ("kserve://10.0.0.7/clip", False),
        ("kserve+tls://localhost/clip", False),
        ("kserve+tls://models.example/clip", True),
    ],
)
def test_a_proxy_of_the_environment_sees_nothing_in_the_clear(engine: str, may: bool) -> None:
    (address,) = addresses(engine)
    assert address.goes_far is may
