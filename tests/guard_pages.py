"""Guard pages around the memory of arrays: a read or write outside of it ends the process.

As a plugin, ``pytest -p tests.guard_pages``, with the end to check in the variable ``GUARD_PAGES``: ``after`` puts the
end of each array just before memory that cannot be accessed (up to 15 bytes before, for sizes of no multiple of 16
bytes), ``before`` its start just behind such memory. Covered are the arrays of NumPy and those of compiled code.
"""

from __future__ import annotations

import ctypes
import faulthandler
import math
import mmap
import os
from typing import Any, Literal

import numpy as np
from llvmlite import binding
from numba import carray, cfunc, njit, types
from numba.core.runtime import _nrt_python
from numba.extending import intrinsic
from numpy.typing import NDArray

from pipeline.engine import workspace

PAGE = mmap.PAGESIZE
HEADER = 2 * PAGE  # a page for the array's size, and a guard page
_NEW = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_ACCESS, _NONE = mmap.PROT_READ | mmap.PROT_WRITE, 0
_SET_HANDLER = 304  # the index of PyDataMem_SetHandler in NumPy's C API

Word = ctypes.c_size_t
_libc = ctypes.CDLL(None)
_map = ctypes.CFUNCTYPE(Word, Word, Word, ctypes.c_int, ctypes.c_int, ctypes.c_int, Word)(("mmap", _libc))
_protect = ctypes.CFUNCTYPE(ctypes.c_int, Word, Word, ctypes.c_int)(("mprotect", _libc))
_unmap = ctypes.CFUNCTYPE(ctypes.c_int, Word, Word)(("munmap", _libc))
_copy = ctypes.CFUNCTYPE(Word, Word, Word, Word)(("memcpy", _libc))


class _Allocator(ctypes.Structure):
    """``PyDataMemAllocator`` of NumPy's C API (NEP 49)."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("context", "malloc", "calloc", "realloc", "free")]


class _Handler(ctypes.Structure):
    """``PyDataMem_Handler`` of NumPy's C API."""

    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", _Allocator)]


class _Runtime(ctypes.Structure):
    """``NRT_api_functions`` of Numba's C API."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("allocate", "allocate_external", "manage_memory")]


@intrinsic
def _words(typingctx, address):
    """The memory at an address as a pointer to words."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uintp)(types.uintp), codegen


def install(end: Literal["after", "before"]) -> None:
    """Put guard pages around all arrays that NumPy or compiled code makes from now on, in this process."""
    after = end == "after"

    @njit
    def whole_pages(size):
        return max(1, -(-size // PAGE)) * PAGE

    @njit
    def allocate(size):
        own = whole_pages(np.int64(size))
        start = np.int64(_map(0, HEADER + own + PAGE, _ACCESS, _NEW, -1, 0))
        if start == -1:  # no memory
            return 0
        _protect(start + PAGE, PAGE, _NONE)
        _protect(start + HEADER + own, PAGE, _NONE)
        carray(_words(start), 1)[0] = size
        return start + HEADER + (own - -(-np.int64(size) // 16) * 16 if after else 0)

    @njit
    def header(address):
        return np.int64(address) // PAGE * PAGE - HEADER

    @njit
    def size_of(address):
        return np.int64(carray(_words(header(address)), 1)[0])

    @njit
    def release(address):
        if address:
            _unmap(header(address), HEADER + whole_pages(size_of(address)) + PAGE)

    word = types.uintp

    @cfunc(word(word, word))
    def malloc(context, size):
        return allocate(size)

    @cfunc(word(word, word, word))
    def calloc(context, count, size):
        return allocate(count * size)  # fresh pages are zero

    @cfunc(word(word, word, word))
    def realloc(context, address, size):
        grown = allocate(size)
        if grown and address:
            _copy(grown, address, min(np.int64(size), size_of(address)))
            release(address)
        return grown

    @cfunc(types.void(word, word, word))
    def free(context, address, size):
        release(address)

    @cfunc(types.void(word))
    def free_managed(address):
        release(address)

    runtime = ctypes.cast(
        ctypes.CFUNCTYPE(ctypes.POINTER(_Runtime))(_nrt_python.c_helpers["get_api"])(), ctypes.POINTER(_Runtime)
    ).contents
    manage = ctypes.CFUNCTYPE(Word, Word, Word)(runtime.manage_memory)
    managed_release = free_managed.address

    @njit
    def managed(address):
        return manage(address, managed_release) if address else 0

    @cfunc(word(word))
    def allocate_managed(size):
        return managed(allocate(size))

    @cfunc(word(word, types.uint32))
    def allocate_aligned(size, alignment):
        return managed(allocate(size))

    for name in ("MemInfo_alloc", "MemInfo_alloc_safe"):
        binding.add_symbol(f"NRT_{name}", allocate_managed.address)
    for name in ("MemInfo_alloc_aligned", "MemInfo_alloc_safe_aligned"):
        binding.add_symbol(f"NRT_{name}", allocate_aligned.address)

    addresses = [function.address for function in (malloc, calloc, realloc, free)]
    handler = _Handler(b"guard_pages", 1, _Allocator(None, *addresses))
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.argtypes, new_capsule.restype = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p], ctypes.py_object
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.argtypes, pointer_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    table = ctypes.cast(pointer_of(np._core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[_SET_HANDLER])
    set_handler(new_capsule(ctypes.addressof(handler), b"mem_handler", None))
    _kept.extend([handler, malloc, calloc, realloc, free, free_managed, allocate_managed, allocate_aligned, manage])


_kept: list[Any] = []  # what memory is freed with, to the end of the process


def _at_the_end(shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
    """Allocate as a workspace does, but with the spare bytes for alignment before the array."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + workspace.ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % workspace.ALIGNMENT or workspace.ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


if (end := os.environ.get("GUARD_PAGES")) is not None:
    faulthandler.enable()
    install(end)  # type: ignore[arg-type]
    if end == "after":
        workspace._allocate = _at_the_end
