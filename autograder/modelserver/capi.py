"""TensorFlow's C library through ctypes: found inside the `tensorflow` package, which is never imported.

Opening the library takes some 0.4 s where `import tensorflow` takes 4 to 15 s. Every function here is a thin,
typed name for one function of `tensorflow/c/c_api.h`; ctypes releases Python's lock while it runs.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import re
import sys
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any, Final

from .errors import Code, StartError, StatusError

_CODE: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r-xp .*/libtensorflow_\w+\.so")
_DONT_NEED: Final = 4
"""MADV_DONTNEED of madvise(2)."""


class TFBuffer(Structure):
    """TF_Buffer: bytes that cross the border, with the function that frees them."""

    _fields_ = [("data", c_void_p), ("length", c_size_t), ("data_deallocator", c_void_p)]


class TFOutput(Structure):
    """TF_Output: one output of one operation of a graph."""

    _fields_ = [("oper", c_void_p), ("index", c_int)]


def library_folder() -> Path:
    """Where the `tensorflow` package lies.

    Raises:
        StartError: it is not installed.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise StartError(
            "The embedded model server needs TensorFlow's C library: the package 'tensorflow' is not installed."
        )
    return Path(spec.submodule_search_locations[0])


def library_version() -> str:
    """The version of the installed TensorFlow, read without opening its library."""
    for name in ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "(unknown version)"


def _open(folder: Path, name: str) -> ctypes.CDLL:
    if sys.platform == "darwin":
        file = folder / f"{name}.2.dylib"
    elif sys.platform == "win32":
        file = folder / f"{name}.dll"
    else:
        file = folder / f"{name}.so.2"
    if not file.exists():
        raise StartError(f"The embedded model server needs TensorFlow's C library: {file} is missing.")
    return ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL, handle=_open_lazily(file))


def _open_lazily(file: Path) -> int | None:
    """Opens a library whose functions are bound when first called, which is a third quicker than all at once.

    Returns:
        Its handle; None where ctypes has to open it in its own way, which binds everything.
    """
    if sys.platform == "win32":
        return None
    try:
        opening = ctypes.CDLL(None).dlopen
    except AttributeError:
        return None
    opening.restype = c_void_p
    opening.argtypes = (c_char_p, c_int)
    handle: int | None = opening(os.fsencode(file), os.RTLD_LAZY | os.RTLD_GLOBAL)
    return handle


class TensorFlow:
    """The functions of TensorFlow's C API that a model server calls, with their types."""

    def __init__(self) -> None:
        folder = library_folder()
        # As in the real server's build: oneDNN's fused kernels have other error texts and last digits.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        # The framework library first: the other one's symbols come from it.
        libraries = [_open(folder, "libtensorflow_framework"), _open(folder, "libtensorflow_cc")]

        def function(name: str, result: Any, *arguments: Any) -> Any:
            for library in libraries:
                try:
                    found = getattr(library, name)
                except AttributeError:
                    continue
                found.restype = result
                found.argtypes = arguments
                return found
            raise StartError(f"TensorFlow's C library has no function {name}; its version is not supported.")

        self.version = str(function("TF_Version", c_char_p)().decode())
        self.new_status: Final = function("TF_NewStatus", c_void_p)
        self.delete_status: Final = function("TF_DeleteStatus", None, c_void_p)
        self.get_code: Final = function("TF_GetCode", c_int, c_void_p)
        self.message: Final = function("TF_Message", c_char_p, c_void_p)
        self.new_session_options: Final = function("TF_NewSessionOptions", c_void_p)
        self.delete_session_options: Final = function("TF_DeleteSessionOptions", None, c_void_p)
        self.set_config: Final = function("TF_SetConfig", None, c_void_p, c_char_p, c_size_t, c_void_p)
        self.new_graph: Final = function("TF_NewGraph", c_void_p)
        self.delete_graph: Final = function("TF_DeleteGraph", None, c_void_p)
        self.new_buffer: Final = function("TF_NewBuffer", POINTER(TFBuffer))
        self.delete_buffer: Final = function("TF_DeleteBuffer", None, POINTER(TFBuffer))
        self.load_session: Final = function(
            "TF_LoadSessionFromSavedModel", c_void_p,
            c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(TFBuffer), c_void_p,
        )  # fmt: skip
        self.close_session: Final = function("TF_CloseSession", None, c_void_p, c_void_p)
        self.delete_session: Final = function("TF_DeleteSession", None, c_void_p, c_void_p)
        self.operation_by_name: Final = function("TF_GraphOperationByName", c_void_p, c_void_p, c_char_p)
        self.operation_num_outputs: Final = function("TF_OperationNumOutputs", c_int, c_void_p)
        self.session_run: Final = function(
            "TF_SessionRun", None,
            c_void_p, c_void_p, c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_int, c_void_p, c_int, c_void_p,
            c_void_p,
        )  # fmt: skip
        self.allocate_tensor: Final = function("TF_AllocateTensor", c_void_p, c_int, c_void_p, c_int, c_size_t)
        self.delete_tensor: Final = function("TF_DeleteTensor", None, c_void_p)
        self.tensor_from_proto: Final = function("TF_TensorFromProto", None, c_void_p, c_void_p, c_void_p)
        self.tensor_type: Final = function("TF_TensorType", c_int, c_void_p)
        self.num_dims: Final = function("TF_NumDims", c_int, c_void_p)
        self.dim: Final = function("TF_Dim", c_int64, c_void_p, c_int)
        self.tensor_byte_size: Final = function("TF_TensorByteSize", c_size_t, c_void_p)
        self.tensor_data: Final = function("TF_TensorData", c_void_p, c_void_p)
        self.string_data: Final = function("TF_StringGetDataPointer", c_void_p, c_void_p)
        self.string_size: Final = function("TF_StringGetSize", c_size_t, c_void_p)

    def check(self, status: int) -> None:
        """Raises the error that the TF_Status `status` holds, if it holds one."""
        code = self.get_code(status)
        if code:
            raise StatusError(Code(code), self.message(status).decode("utf-8", "surrogateescape"))


def bytes_buffer(content: bytes) -> TFBuffer:
    """A TF_Buffer that looks at `content`, which must outlive it."""
    return TFBuffer(ctypes.cast(c_char_p(content), c_void_p), len(content), None)


def release_memory() -> None:
    """Gives memory back to the system that is free or was needed once, as the real server does after an unload.

    Besides freed memory these are pages of TensorFlow's code that only its start-up or a load ran through, some
    130 MB. They stay in the system's cache of the file and come back by themselves when they are used again.
    """
    if not sys.platform.startswith("linux"):
        return
    system = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # a C library without malloc_trim keeps its own books
        system.malloc_trim(0)
    advise = system.madvise
    advise.argtypes = (c_void_p, c_size_t, c_int)
    for line in Path("/proc/self/maps").read_text("utf-8", "replace").splitlines():
        # Only what is executable and never written: code is the same in the file.
        found = _CODE.match(line)
        if found is not None:
            start, end = int(found[1], 16), int(found[2], 16)
            advise(start, end - start, _DONT_NEED)
