"""Fixtures that several kinds of tests share."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _tiny_models() -> ModuleType:
    path = Path(__file__).with_name("tiny_models.py")
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_models() -> ModuleType:
    """The builders: gpt2(), llama(), byte_tokenizer(), save(model, folder)."""
    return _tiny_models()


@pytest.fixture(scope="session")
def tiny_gpt2_folder(tmp_path_factory: pytest.TempPathFactory, tiny_models: ModuleType) -> Path:
    """A GPT-2 of 2 layers x 32 with 64 positions and a byte-level tokenizer."""
    return tiny_models.save(tiny_models.gpt2(), tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(scope="session")
def tiny_llama_folder(tmp_path_factory: pytest.TempPathFactory, tiny_models: ModuleType) -> Path:
    """A Llama of the same size, with grouped keys and rotary positions."""
    return tiny_models.save(tiny_models.llama(), tmp_path_factory.mktemp("tiny-llama"))
