"""The model server that behaves as it is told: each behaviour over REST and gRPC, and what it remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from autograder.checking.modelstub import ModelStub
from autograder.ports import free_ports
from autograder.services import wire
from autograder.services.http import Answer, ask
from autograder.services.savedmodel import random_dense

ROWS = np.arange(128, dtype=np.float32).reshape(2, 64) / 8


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    with ModelStub(random_dense(np.random.default_rng(5)), "digits", 7, free_ports(2)) as running:
        yield running


def rest(stub: ModelStub, path: str = ":predict", body: object = None, seconds: float = 20.0) -> Answer:
    asked = {"instances": ROWS.tolist()} if body is None and path.endswith(":predict") else body
    return ask(f"{stub.rest}/v1/models/digits{path}", asked, seconds=seconds)


def over_grpc(stub: ModelStub, seconds: float = 20.0) -> tuple[np.ndarray, int]:
    """A Predict, as tensorflow-serving-api's client sends it: the numbers and the version. Raises grpc.RpcError."""
    shape = b"".join(wire.field(2, wire.number(1, size)) for size in ROWS.shape)
    tensor = wire.number(1, 1) + wire.field(2, shape) + wire.field(4, ROWS.tobytes())
    request = wire.field(1, wire.field(1, b"digits")) + wire.entry(2, "pixels", tensor)
    with grpc.insecure_channel(stub.grpc) as channel:
        answer: bytes = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(request, timeout=seconds)
    (pair,) = wire.messages(answer, 1)
    (told,) = wire.messages(pair, 2)
    numbers = np.frombuffer(b"".join(wire.messages(told, 5)), dtype="<f4").reshape(len(ROWS), 10)
    (spec,) = wire.messages(answer, 2)
    return numbers, spec[spec.index(b"\x08") + 1]


def test_it_predicts_in_row_and_in_column_format(stub: ModelStub) -> None:
    expected = stub.model(ROWS)
    bodies: dict[str, list[object]] = {
        "predictions": [{"instances": ROWS.tolist()}, {"instances": [{"pixels": row.tolist()} for row in ROWS]}],
        "outputs": [{"inputs": ROWS.tolist()}, {"inputs": {"pixels": ROWS.tolist()}}],
    }
    for key, asked in bodies.items():
        for body in asked:
            assert np.allclose(rest(stub, body=body).json[key], expected, atol=1e-6)
    assert [call.rows.shape for call in stub.calls] == [(2, 64)] * 4


def test_it_predicts_over_grpc_and_names_the_version(stub: ModelStub) -> None:
    numbers, version = over_grpc(stub)
    assert np.allclose(numbers, stub.model(ROWS), atol=1e-6)
    assert version == 7


@pytest.mark.parametrize("path", ["", "/versions/7", "/metadata", "/versions/7/metadata"])
def test_it_tells_about_its_model(stub: ModelStub, path: str) -> None:
    assert rest(stub, path).status == 200
    assert stub.calls == []


@pytest.mark.parametrize("path", ["/versions/8", "/versions/8:predict", "/labels/stable:predict", "x:predict"])
def test_what_it_does_not_have_is_404(stub: ModelStub, path: str) -> None:
    assert rest(stub, path).status == 404


@pytest.mark.parametrize("body", [b"", b"[", {"instances": []}, {"instances": [[1.0] * 63]}, [1], b"[" * 5000])
def test_what_it_can_not_read_is_400_and_a_call_all_the_same(stub: ModelStub, body: object) -> None:
    assert rest(stub, body=body).status == 400
    assert [len(call.rows) for call in stub.calls] == [0]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("unavailable", 503, grpc.StatusCode.UNAVAILABLE),
        ("broken", 500, grpc.StatusCode.INTERNAL),
        ("invalid", 400, grpc.StatusCode.INVALID_ARGUMENT),
        ("hang up", 0, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_it_fails_as_often_as_it_is_told(stub: ModelStub, kind: str, status: int, code: grpc.StatusCode) -> None:
    with stub.behaving(kind, times=2):  # type: ignore[arg-type]
        assert [rest(stub).status for _ in range(3)] == [status, status, 200]
    with stub.behaving(kind):  # type: ignore[arg-type]
        with pytest.raises(grpc.RpcError) as raised:
            over_grpc(stub)
        assert raised.value.code() is code  # type: ignore[attr-defined]
        assert rest(stub).status == status
    assert rest(stub).status == 200


def test_nonsense_is_200_and_no_prediction(stub: ModelStub) -> None:
    with stub.behaving("nonsense"):
        answer = rest(stub)
    assert (answer.status, answer.json) == (200, None)


@pytest.mark.parametrize("ask_it", [rest, over_grpc])
def test_held_calls_overlap_until_they_are_released(stub: ModelStub, ask_it: Callable[[ModelStub], object]) -> None:
    with stub.behaving("hold"), ThreadPoolExecutor(5) as executor:
        waiting = [executor.submit(ask_it, stub) for _ in range(5)]
        assert stub.wait_in_flight(5) == 5
        assert not any(future.done() for future in waiting)
        stub.release()
        for future in waiting:
            future.result()
    assert len(stub.calls) == 5


def test_the_end_of_a_behaviour_releases_what_it_holds(stub: ModelStub) -> None:
    with ThreadPoolExecutor(1) as executor:
        with stub.behaving("hold"):
            waiting = executor.submit(rest, stub)
            stub.wait_in_flight(1)
        assert waiting.result().status == 200


def test_a_dripping_answer_is_late_as_a_whole_and_never_silent(stub: ModelStub) -> None:
    with stub.behaving("drip"):
        assert "did not end" in rest(stub, seconds=1.5).problem
        with pytest.raises(grpc.RpcError):
            over_grpc(stub, seconds=0.5)
    assert rest(stub).status == 200


def test_it_moves_on_just_before_it_answers(stub: ModelStub) -> None:
    following = random_dense(np.random.default_rng(6))
    stub.prepare(following, 9)
    with stub.behaving("move on"):
        assert rest(stub, "/versions/7:predict").status == 404
        assert np.allclose(rest(stub, "/versions/9:predict").json["predictions"], following(ROWS), atol=1e-6)
    assert over_grpc(stub)[1] == 9


def test_connections_are_counted_and_not_their_requests(stub: ModelStub) -> None:
    import requests

    with requests.Session() as session:
        for _ in range(5):
            session.post(f"{stub.rest}/v1/models/digits:predict", json={"instances": ROWS.tolist()}).raise_for_status()
    assert (len(stub.connections), len(stub.calls)) == (1, 5)
    rest(stub)
    assert len(stub.connections) == 2


def test_chunked_bodies_are_read(stub: ModelStub) -> None:
    import requests

    body = b'{"instances": [' + str([1.0] * 64).encode() + b"]}"
    answer = requests.post(f"{stub.rest}/v1/models/digits:predict", data=iter([body[:50], body[50:]]), timeout=20)
    assert answer.status_code == 200


def test_down_refuses_breaks_what_is_open_and_comes_back_at_the_same_place(stub: ModelStub) -> None:
    with stub.behaving("hold"), ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(rest, stub)
        stub.wait_in_flight(1)
        stub.down()
        waiting.result()  # it ended, however
    assert "no connection" in rest(stub).problem
    with pytest.raises(grpc.RpcError):
        over_grpc(stub, seconds=5)
    stub.up()
    stub.up()
    assert rest(stub).status == 200
    assert over_grpc(stub)[1] == 7


def test_nothing_of_it_is_left() -> None:
    before = threading.active_count()
    with ModelStub(random_dense(np.random.default_rng(5)), "digits", 7, free_ports(2)) as running:
        rest(running)
    for thread in threading.enumerate():
        if thread.name == "stub":
            thread.join(10)
    assert threading.active_count() <= before + 2  # gRPC's own end when they like
