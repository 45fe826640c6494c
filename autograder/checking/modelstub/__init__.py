"""A model server that behaves as it is told, over REST and gRPC, and remembers what it saw.

It stands behind a student's API where the question is what the API makes of a slow, failing, counting or stalling
model server. It really predicts, with a model of ours, so that every answer can be compared. Only the calls to
``:predict`` (``Predict``) misbehave; who asks for the model's status is told that a version is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from autograder.checking.modelstub.core import Behaviour, Call, Core
from autograder.checking.modelstub.rest import RestServer
from autograder.services.savedmodel import Dense

__all__ = ["Behaviour", "Call", "ModelStub"]


class ModelStub(Core):
    """A stub at two free ports of this pod, its REST API's and its gRPC API's, while the context lasts.

    Attributes:
        rest: the address of its REST API, with ``http://``.
        grpc: the address of its gRPC API, without.
    """

    def __init__(self, model: Dense, name: str, version: int, ports: Sequence[int]) -> None:
        super().__init__(model, name, version)
        self._rest_port, self._grpc_port = ports
        self.rest, self.grpc = f"http://127.0.0.1:{self._rest_port}", f"127.0.0.1:{self._grpc_port}"
        self._rest: RestServer | None = None
        self._grpc: object = None

    def up(self) -> None:
        """Listens; does nothing if it does already."""
        from autograder.checking.modelstub.grpc import start  # 0.1 s that not every lab needs

        if self._rest is None:
            self._rest = RestServer(self, self._rest_port)
            self._grpc = start(self, self.grpc)

    def down(self) -> None:
        """Refuses connections, and breaks those that are open."""
        if self._rest is not None:
            self.release()
            self._rest.close()
            self._grpc.stop(0).wait()  # type: ignore[attr-defined]
            self._rest = self._grpc = None

    def __enter__(self) -> ModelStub:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()
