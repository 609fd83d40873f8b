"""Versions for the environment report: rows D2-568 and MM-268."""

from okulo_ops import (
    _library,
    get_compiler_version,
    get_compiling_cuda_version,
    get_cuda_version,
    has_cuda,
)


def test_versions_are_those_of_the_build(monkeypatch):
    recorded = {"compiler": "g++ 14", "cuda": "release 13.0"}
    monkeypatch.setattr("okulo_ops._build.build_information", lambda: recorded)
    assert get_compiler_version() == "g++ 14"
    assert get_cuda_version() == get_compiling_cuda_version() == "release 13.0"


def test_without_kernels_the_versions_say_so(monkeypatch):
    monkeypatch.setattr("okulo_ops._build.build_information", dict)
    assert get_compiler_version() == "not compiled"
    assert get_cuda_version() == "not available"


def test_cuda_is_there_when_its_kernels_are_loaded(monkeypatch):
    monkeypatch.setitem(_library.missing, "cuda", "")
    assert has_cuda()
    monkeypatch.setitem(_library.missing, "cuda", "PyTorch finds no CUDA device")
    assert not has_cuda()
