"""Who the server turns away, and how: real requests to a real uvicorn."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from lab_server import SmallLab, ended, make_app, running, submit
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from llm_workings.core.errors import BadInput, Refused
from llm_workings.core.store import Store
from llm_workings.server.guards import HEADERS, Limits
from llm_workings.server.names import AllowedModels
from llm_workings.server.serve import address_of, bind, is_loopback

TOKEN = "a-token-of-this-test"


@pytest.fixture
def lab() -> SmallLab:
    return SmallLab()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "runs") as store:
        yield store


@pytest.fixture
def allowed_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "config.json").write_text("{}")
    (folder / "one.gguf").write_bytes(b"GGUF")
    (folder / "notes").mkdir()
    return folder


@pytest.fixture
def address(lab: SmallLab, store: Store, tmp_path: Path, allowed_folder: Path) -> Iterator[str]:
    bundle = tmp_path / "bundle"
    (bundle / "assets").mkdir(parents=True)
    (bundle / "index.html").write_text("the page")
    (bundle / "assets" / "a.js").write_text("1")
    (tmp_path / "secret.txt").write_text("the secret")
    app = make_app(
        store,
        lab,
        bundle=bundle,
        hosts=("lab.example", "proxy.example:8443"),
        limits=Limits(body=5000),
        folders=(allowed_folder,),
    )
    with running(app) as address:
        yield address


@pytest.fixture
def guarded(lab: SmallLab, store: Store) -> Iterator[str]:
    with running(make_app(store, lab, token=TOKEN)) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address) as client:
        yield client


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


def raw(address: str, request: bytes) -> bytes:
    """What the server answers to these very bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", int(port_of(address))), timeout=10) as connection:
        connection.sendall(request)
        connection.settimeout(5)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


# ---- Host ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",  # without the port: not what a browser sends to this server
        "127.0.0.1:1",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1:{port}@evil.example",
        "proxy.example:{port}",  # allowed at one port only
        "10.0.0.7:{port}",  # an address is a name for nothing here without a token
        "[::ffff:127.0.0.1]:{port}",
        "",
    ],
)
def test_a_foreign_host_is_refused(client: httpx.Client, address: str, host: str) -> None:
    host = host.format(port=port_of(address))
    for method, path in (("GET", "/"), ("GET", "/api/views"), ("POST", "/api/jobs"), ("GET", "/assets/a.js")):
        answer = client.request(method, path, headers={"host": host})
        assert answer.status_code == 403
        assert answer.json()["kind"] == "Refused"
        assert repr(host) in answer.json()["message"]


def test_its_own_names_are_answered(client: httpx.Client, address: str) -> None:
    port = port_of(address)
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]", "lab.example"):
        assert client.get("/api/views", headers={"host": f"{host}:{port}"}).status_code == 200
    assert client.get("/api/views", headers={"host": "proxy.example:8443"}).status_code == 200


def test_a_request_without_a_host_is_refused(address: str) -> None:
    assert b" 403 " in raw(address, b"GET /api/views HTTP/1.0\r\n\r\n").split(b"\r\n")[0]


# ---- Origin --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://evil.example:1", "http://127.0.0.1:1", "file://", ""]
)
def test_a_page_of_another_origin_cannot_change_anything(
    client: httpx.Client, store: Store, origin: str
) -> None:
    body = {"kind": "view", "name": "letters", "request": {"prompt": "a"}}
    for method, path in (("POST", "/api/jobs"), ("DELETE", "/api/jobs/x"), ("PATCH", "/api/runs/1")):
        answer = client.request(method, path, json=body, headers={"origin": origin})
        assert (answer.status_code, answer.json()["kind"]) == (403, "Refused")
    assert list(store.newest()) == []


def test_a_cross_site_request_is_refused_even_without_an_origin(client: httpx.Client) -> None:
    for site in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        assert client.post("/api/jobs", json={}, headers=headers).status_code == 403
        assert client.get("/api/runs", headers=headers).status_code == 403
        assert client.get("/assets/a.js", headers=headers).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200  # a link from elsewhere may open the page
    assert client.get("/api/runs", headers=link).status_code == 403


def test_its_own_page_may_ask(client: httpx.Client, address: str) -> None:
    headers = {"origin": address, "sec-fetch-site": "same-origin"}
    body = {"kind": "view", "name": "letters", "request": {"prompt": "a"}}
    assert client.post("/api/jobs", json=body, headers=headers).status_code == 202
    behind_a_proxy = {"host": "proxy.example:8443", "origin": "https://proxy.example:8443"}
    assert client.post("/api/jobs", json=body, headers=behind_a_proxy).status_code == 202


def test_a_websocket_of_another_origin_is_refused(client: httpx.Client, address: str) -> None:
    job = submit(client, prompt="a")
    path = f"{address.replace('http', 'ws')}/api/jobs/{job}/events"
    for origin in ("http://evil.example", "null", f"http://localhost:{port_of(address)}"):
        with pytest.raises(InvalidStatus) as refused, connect(path, origin=origin):  # type: ignore[arg-type]
            pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["kind"] == "Refused"
    with pytest.raises(InvalidStatus), connect(path, additional_headers={"sec-fetch-site": "cross-site"}):
        pass
    with connect(path, origin=address) as socket:  # type: ignore[arg-type]
        assert json.loads(socket.recv())["id"] == job


def test_a_websocket_to_a_foreign_host_is_refused(address: str) -> None:
    answer = raw(
        address,
        b"GET /api/jobs/x/events HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert b" 403 " in answer.split(b"\r\n")[0]


# ---- token ---------------------------------------------------------------------------------------


def test_without_its_token_nothing_is_answered(guarded: str) -> None:
    with httpx.Client(base_url=guarded) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {TOKEN}x"}):
            for path in ("/", "/api/views", "/assets/a.js", "/?token=wrong", "/?token="):
                answer = client.get(path, headers=headers)
                assert answer.status_code == 403
                assert TOKEN not in answer.text
        cookie = {"cookie": f"llm_workings_{port_of(guarded)}=wrong"}
        assert client.get("/api/views", headers=cookie).status_code == 403
    with pytest.raises(InvalidStatus), connect(f"{guarded.replace('http', 'ws')}/api/jobs/x/events"):
        pass


def test_the_token_is_taken_from_a_header_or_traded_once_for_a_cookie(guarded: str) -> None:
    with httpx.Client(base_url=guarded) as client:
        assert client.get("/api/views", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        answer = client.get(f"/letters?prompt=a+b&token={TOKEN}")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/letters?prompt=a+b"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/api/views").status_code == 200  # the client keeps the cookie
        job = submit(client, prompt="a")
        assert ended(client, job)["state"] == "done"
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    path = f"{guarded.replace('http', 'ws')}/api/jobs/{job}/events"
    with connect(path, additional_headers={"cookie": cookies}) as socket:
        assert json.loads(socket.recv())["state"] == "done"


def test_trading_the_token_leads_to_no_other_host(guarded: str) -> None:
    host = f"Host: 127.0.0.1:{port_of(guarded)}\r\nConnection: close\r\n\r\n"
    for path in ("//evil.example", "/%2f/evil.example", "/\\evil.example", "//evil.example/%0d%0aX-A: 1"):
        answer = raw(guarded, f"GET {path}?token={TOKEN} HTTP/1.1\r\n{host}".encode())
        location = answer.lower().partition(b"\nlocation: ")[2].partition(b"\r\n")[0]
        assert location[:1] == b"/" or b" 400 " in answer.split(b"\r\n")[0]
        assert not location.startswith((b"//", b"/\\"))
        assert b"\nx-a" not in answer.lower()


def test_with_a_token_the_machine_answers_to_its_addresses_but_to_no_name(guarded: str) -> None:
    port = port_of(guarded)
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=guarded, headers=headers) as client:
        assert client.get("/api/views", headers={"host": f"192.168.1.7:{port}"}).status_code == 200
        assert client.get("/api/views", headers={"host": f"[fe80::1]:{port}"}).status_code == 200
        assert client.get("/api/views", headers={"host": f"evil.example:{port}"}).status_code == 403


# ---- bodies --------------------------------------------------------------------------------------


def test_an_oversized_body_is_refused_before_it_is_read(client: httpx.Client, address: str) -> None:
    answer = client.post("/api/jobs", content=b"x" * 5001)
    assert (answer.status_code, answer.json()["kind"]) == (413, "TooLarge")
    assert "5001" in answer.json()["message"]
    # Announced but not sent: the answer comes without waiting for it.
    host = f"127.0.0.1:{port_of(address)}"
    head = f"POST /api/jobs HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999\r\n\r\n"
    answered = raw(address, head.encode())
    assert b" 413 " in answered.split(b"\r\n")[0]
    assert b"connection: close" in answered.lower()


def test_a_body_of_unannounced_length_is_cut_off_at_the_limit(address: str) -> None:
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{port_of(address)}\r\n"
        "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    )
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    answered = raw(address, head.encode() + chunk * 8)  # and never an end
    assert b" 413 " in answered.split(b"\r\n")[0]


def test_a_body_within_the_limit_comes_through_whole(client: httpx.Client) -> None:
    job = submit(client, prompt="é" * 1500)
    assert ended(client, job)["state"] == "done"


# ---- models' names and paths ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../../etc/passwd", "Refused"),
        ("/etc", "Refused"),
        ("~/.ssh", "Refused"),
        (".", "Refused"),
        ("gpt2/../../secret", "Refused"),
        ("a//b", "Refused"),
        ("..\\..\\secret", "Refused"),
        ("C:\\models", "Refused"),
        ("\\\\server\\share", "Refused"),
        ("file:///etc/passwd", "Refused"),
        ("http://evil.example/model", "Refused"),
        ("weights.gguf", "Refused"),
        ("src", "Refused"),  # a folder of that name where the lab was started is no model to a page
        ("gpt2\0", "BadInput"),
        ("gpt2\n", "BadInput"),
        ("a/b/c", "BadInput"),
        ("gpt 2", "BadInput"),
        ("gpt2@", "BadInput"),
        ("  ", "BadInput"),
        ("x" * 4500, "BadInput"),
    ],
)
def test_a_model_s_name_cannot_leave_the_catalogue(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    for ask in (
        {"kind": "view", "name": "letters", "request": {"prompt": "a", "model": name}},
        {"kind": "load", "name": name},
    ):
        answer = client.post("/api/jobs", json=ask)
        assert answer.status_code in (400, 403)
        assert answer.json()["kind"] == kind
    assert client.get("/api/runs").json()["runs"] == []


def test_names_that_are_models(allowed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    allowed = AllowedModels(["smollm2-135m"], [allowed_folder])
    for name in (
        "smollm2-135m",
        "gpt2",
        "EleutherAI/pythia-70m",
        "EleutherAI/pythia-70m@step1000",
        "owner/name@refs/pr/3",
        str(allowed_folder / "mine"),
        str(allowed_folder / "one.gguf"),
    ):
        assert allowed.check(name) == name
    assert allowed.found() == [allowed_folder / "mine", allowed_folder / "one.gguf"]


def test_a_path_must_stay_in_an_allowed_folder(
    allowed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = AllowedModels([], [allowed_folder])
    (tmp_path / "outside").mkdir()
    (allowed_folder / "link").symlink_to(tmp_path / "outside")
    sibling = tmp_path / "models-of-others"
    sibling.mkdir()
    for path in (allowed_folder / ".." / "outside", allowed_folder / "link", sibling):
        with pytest.raises(Refused, match="--models"):
            allowed.check(str(path))
    monkeypatch.chdir(allowed_folder)
    with pytest.raises(Refused):
        allowed.check("mine")  # a full path only, lest it mean one thing here and another there


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../secret.txt",
        "/assets/%2e%2e/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2e%2e%5c%2e%2e%5csecret.txt",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets//etc/passwd",
        "//etc/passwd",
        "/assets/a.js/../../../secret.txt",
    ],
)
def test_no_file_outside_the_bundle_is_served(address: str, path: str) -> None:
    answer = raw(
        address,
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port_of(address)}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert b" 404 " in answer.split(b"\r\n")[0]
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2].replace(b"secret.txt", b"")
    assert b"root:" not in answer


# ---- headers -------------------------------------------------------------------------------------


def test_every_answer_carries_the_security_headers(client: httpx.Client) -> None:
    for answer in (
        client.get("/"),
        client.get("/assets/a.js"),
        client.get("/api/views"),
        client.get("/api/nothing"),
        client.get("/api/views", headers={"host": "evil.example"}),
        client.post("/api/jobs", content=b"x" * 9999),
        client.post("/api/jobs", content=b"{"),
    ):
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in answer.headers
    policy = HEADERS["content-security-policy"]
    assert "http" not in policy
    assert "*" not in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self';" in policy


# ---- the port ------------------------------------------------------------------------------------


def test_a_taken_port_is_named_with_the_next_free_one() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput) as error:
            bind("127.0.0.1", port)
        assert str(port) in error.value.message
        free = int(error.value.hint.split("--port ")[1].split(",")[0])
        assert free > port
        bind("127.0.0.1", free).close()


def test_a_host_that_is_not_here_is_named() -> None:
    with pytest.raises(BadInput, match=r"192\.0\.2\.1"):
        bind("192.0.2.1", 0)
    with pytest.raises(BadInput, match="no port 70000"):
        bind("127.0.0.1", 70000)


def test_the_address_to_open() -> None:
    with bind("127.0.0.1", 0) as local, bind("0.0.0.0", 0) as everywhere:
        assert is_loopback(local)
        assert not is_loopback(everywhere)
        port = everywhere.getsockname()[1]
        assert address_of(everywhere, "t0") == f"http://127.0.0.1:{port}/?token=t0"
