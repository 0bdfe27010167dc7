"""Model folders that other programs open: a tokenizer beside the weights, and the merged model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer

from textmad.errors import RunError
from textmad.models.causal_lm.loading import OFFLINE, without_bars
from textmad.version import __version__

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from textmad.models.base_files import BaseReference

CARD = "README.md"


def save_tokenizer(base: Path, folder: Path) -> None:
    """Write the tokenizer of the base model into `folder`, where `AutoTokenizer` opens it.

    It is opened anew and written by transformers. A copy of the base model's files would not always
    do: without a `tokenizer_class` among them, `AutoTokenizer` asks a config.json that an adapter's
    folder does not have.
    """
    AutoTokenizer.from_pretrained(base, **OFFLINE).save_pretrained(folder)


def export(
    network: PreTrainedModel, base: Path, reference: BaseReference, folder: Path, notes: str
) -> None:
    """Write an ordinary transformers folder: weights, config, tokenizer and a README card.

    Args:
        network: whole, with what was learned in its weights.
        base: the folder of the base model, for the tokenizer.
        reference: how the base model is called, for the card.
        folder: absent or empty.
        notes: Markdown behind the card's own text.

    Raises:
        RunError: there is something in `folder` already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: expected an empty folder or none to export to; use another one")
    folder.mkdir(parents=True, exist_ok=True)
    with without_bars():
        network.save_pretrained(folder)
    save_tokenizer(base, folder)
    (folder / CARD).write_text(_card(network, reference, notes), encoding="utf-8")


def _card(network: PreTrainedModel, reference: BaseReference, notes: str) -> str:
    """The README of an exported model; a folder's path is not in it, only its name."""
    # A name may come from anyone: in code, nothing of it is Markdown or HTML.
    name = Path(reference.name).name if reference.is_folder else reference.name
    shown = "".join(letter for letter in name if letter.isprintable() and letter != "`")
    base_model = "" if reference.is_folder else f'base_model: "{shown}"\n'
    dtype = str(network.dtype).removeprefix("torch.")
    revision = f", revision `{reference.revision}`" if reference.revision else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
{base_model}---

# A model trained by textmad

- **Base model:** `{shown}`{revision}. Its licence and its terms of use apply to this model too.
- **Weights:** {network.num_parameters():,} parameters in {dtype}; a low-rank adapter, where there
  was one, is merged into them.
- **Made by:** textmad {__version__}, a laboratory for language models that learn from their own
  output. What the model learned from may be text that earlier models wrote. It is meant for study.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH OF THIS FOLDER")
tokenizer = AutoTokenizer.from_pretrained("PATH OF THIS FOLDER")
```
{f"{chr(10)}{notes.strip()}{chr(10)}" if notes.strip() else ""}"""
