"""Protocol buffer messages, built at start from the declarations in `protos/*.proto`.

The declarations stay readable `.proto` text; this module reads the small part of that language which they use
(proto3 messages, enums, maps, oneofs) into a descriptor pool of its own, so that nothing here can collide
with TensorFlow's own messages in the same process, and no generated code is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_TOKEN: Final = re.compile(r'//[^\n]*|"([^"]*)"|([\w.]+)|([{}=;<>,\[\]])')
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final[dict[str, Any]] = {
    name: getattr(_Field, f"TYPE_{name.upper()}")
    for name in ("double", "float", "int64", "uint64", "int32", "bool", "string", "bytes", "uint32")
}


class _Reader:
    """Reads one `.proto` file into a FileDescriptorProto."""

    def __init__(self, name: str, text: str) -> None:
        self._tokens: Iterator[str] = (
            match[1] if match[1] is not None else match[0]
            for match in _TOKEN.finditer(text)
            if not match[0].startswith("//")
        )
        self.file = descriptor_pb2.FileDescriptorProto(name=name)
        for token in self._tokens:
            self._top_level(token)

    def _next(self) -> str:
        return next(self._tokens)

    def _skip(self, count: int) -> None:
        for _ in range(count):
            self._next()

    def _top_level(self, token: str) -> None:
        if token == "syntax":
            self._skip(1)
            self.file.syntax = self._next()
            self._skip(1)
        elif token == "package":
            self.file.package = self._next()
            self._skip(1)
        elif token == "import":
            self.file.dependency.append(self._next())
            self._skip(1)
        elif token == "enum":
            self._enum(self.file.enum_type.add())
        elif token == "message":
            self._message(self.file.message_type.add())

    def _enum(self, enum: descriptor_pb2.EnumDescriptorProto) -> None:
        enum.name = self._next()
        self._skip(1)
        while (token := self._next()) != "}":
            self._skip(1)
            enum.value.add(name=token, number=int(self._next()))
            self._skip(1)

    def _message(self, message: descriptor_pb2.DescriptorProto) -> None:
        message.name = self._next()
        self._skip(1)
        oneof: int | None = None
        while (token := self._next()) != "}" or oneof is not None:
            if token == "}":
                oneof = None
            elif token == "message":
                self._message(message.nested_type.add())
            elif token == "enum":
                self._enum(message.enum_type.add())
            elif token == "oneof":
                oneof = len(message.oneof_decl)
                message.oneof_decl.add(name=self._next())
                self._skip(1)
            elif token == "map":
                self._map_field(message)
            else:
                self._field(message, token, oneof)

    def _field(self, message: descriptor_pb2.DescriptorProto, token: str, oneof: int | None) -> None:
        field = message.field.add(label=_Field.LABEL_OPTIONAL)
        if token == "repeated":
            field.label = _Field.LABEL_REPEATED
            token = self._next()
        _set_type(field, token)
        if oneof is not None:
            field.oneof_index = oneof
        self._name_and_number(field)

    def _map_field(self, message: descriptor_pb2.DescriptorProto) -> None:
        self._skip(1)
        key = self._next()
        self._skip(1)
        value = self._next()
        self._skip(1)
        field = message.field.add(label=_Field.LABEL_REPEATED)
        self._name_and_number(field)
        entry = message.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _set_type(entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL), key)
        _set_type(entry.field.add(name="value", number=2, label=_Field.LABEL_OPTIONAL), value)
        field.type = _Field.TYPE_MESSAGE
        # Relative, so the pool finds the nested type in the scope of the message.
        field.type_name = entry.name

    def _name_and_number(self, field: descriptor_pb2.FieldDescriptorProto) -> None:
        field.name = self._next()
        self._skip(1)
        field.number = int(self._next())
        if self._next() == "[":
            self._skip(4)  # deprecated = true ]
            field.options.deprecated = True
            self._skip(1)


def _set_type(field: descriptor_pb2.FieldDescriptorProto, name: str) -> None:
    if name in _SCALARS:
        field.type = _SCALARS[name]
    else:
        field.type_name = name  # message or enum: the pool decides


def _scoped(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Makes every reference absolute and says whether it is a message or an enum."""
    enums = {"tensorflow.DataType"}
    known: set[str] = set()

    def collect(prefix: str, message: descriptor_pb2.DescriptorProto) -> None:
        full = f"{prefix}.{message.name}"
        known.add(full)
        enums.update(f"{full}.{enum.name}" for enum in message.enum_type)
        for nested in message.nested_type:
            collect(full, nested)

    enums.update(f"{file.package}.{enum.name}" for enum in file.enum_type)
    for message in file.message_type:
        collect(file.package, message)

    def resolve(scope: str, message: descriptor_pb2.DescriptorProto) -> None:
        full = f"{scope}.{message.name}"
        for field in message.field:
            if not field.type_name:
                continue
            absolute = field.type_name
            parts = full.split(".")
            for depth in range(len(parts), 0, -1):
                candidate = ".".join([*parts[:depth], field.type_name])
                if candidate in known or candidate in enums:
                    absolute = candidate
                    break
            field.type = _Field.TYPE_ENUM if absolute in enums else _Field.TYPE_MESSAGE
            field.type_name = f".{absolute}"
        for nested in message.nested_type:
            resolve(full, nested)

    for message in file.message_type:
        resolve(file.package, message)


def _build_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    folder = resources.files(__package__) / "protos"
    for name in ("tensorflow.proto", "serving.proto"):
        file = _Reader(name, (folder / name).read_text("utf-8")).file
        _scoped(file)
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL: Final = _build_pool()


def message_class(name: str) -> Any:
    """The class of the message `name`, such as `tensorflow.serving.PredictRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def _tensorflow(name: str) -> Any:
    return message_class(f"tensorflow.{name}")


def _serving(name: str) -> Any:
    return message_class(f"tensorflow.serving.{name}")


TensorProto: Final = _tensorflow("TensorProto")
Example: Final = _tensorflow("Example")
MetaGraphDef: Final = _tensorflow("MetaGraphDef")
ConfigProto: Final = _tensorflow("ConfigProto")
RunOptions: Final = _tensorflow("RunOptions")
Input: Final = _serving("Input")
PredictRequest: Final = _serving("PredictRequest")
PredictResponse: Final = _serving("PredictResponse")
ClassificationRequest: Final = _serving("ClassificationRequest")
ClassificationResponse: Final = _serving("ClassificationResponse")
RegressionRequest: Final = _serving("RegressionRequest")
RegressionResponse: Final = _serving("RegressionResponse")
GetModelMetadataRequest: Final = _serving("GetModelMetadataRequest")
GetModelMetadataResponse: Final = _serving("GetModelMetadataResponse")
SignatureDefMap: Final = _serving("SignatureDefMap")
GetModelStatusRequest: Final = _serving("GetModelStatusRequest")
GetModelStatusResponse: Final = _serving("GetModelStatusResponse")
ReloadConfigRequest: Final = _serving("ReloadConfigRequest")
ReloadConfigResponse: Final = _serving("ReloadConfigResponse")
PredictionLog: Final = _serving("PredictionLog")
ModelServerConfig: Final = _serving("ModelServerConfig")
MonitoringConfig: Final = _serving("MonitoringConfig")
BatchingParameters: Final = _serving("BatchingParameters")
