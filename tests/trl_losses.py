"""The losses of trl on a few documents, to compare `models/causal_lm/preference.py` with.

`python -m tests.trl_losses` prints the numbers that stand in `tests/unit/test_preference.py`; it
needs `pip install trl==1.16.0`. Of trl are called: the collators, and the trainers' `_compute_loss`
with a reference model that is given. Their datasets are not: documents here begin with the start
token, and the text of a cut one has no end token.
"""

import copy
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from textmad.models.causal_lm.preference import Judged, plan_preference_steps
from textmad.models.causal_lm.scoring import Row
from textmad.recipe import PreferenceSettings, TrainSettings

VOCABULARY, START, END = 50, 48, 49
CONTEXT = 32
SEED = 3


def model() -> GPT2LMHeadModel:
    """A GPT-2 of 1 layer x 16, far from uniform."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_embd=16,
        n_layer=1,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=START,
        eos_token_id=END,
        **{f"{place}_pdrop": 0.1 for place in ("resid", "embd", "attn")},  # must not be used
    )
    return GPT2LMHeadModel(config).eval()


def judged(prompts: bool) -> list[Judged]:
    """Six documents, three of them accepted, of 2 to 12 tokens; every other one was cut."""
    rng = np.random.default_rng(0)
    documents = []
    for number in range(6):
        prompt = rng.integers(0, START, rng.integers(1, 5)) if prompts else []
        text = rng.integers(0, START, rng.integers(2, 12))
        end = [END] if number % 2 else []
        ids = np.concatenate([[START], prompt, text, end]).astype(np.int32)
        documents.append(Judged(Row(ids, 1 + len(prompt)), number < 3))
    return documents


def settings(loss: str) -> TrainSettings:
    """Four steps on all documents, with weights that differ and a beta at which losses bend."""
    weights = {} if loss == "dpo" else {"accepted_weight": 1.5, "rejected_weight": 0.5}
    preference = PreferenceSettings(
        loss=loss, beta=0.3, epochs=4, learning_rate=1e-3, batch_documents=6, **weights
    )
    return TrainSettings(preference=preference, warmup=0, decay="none", weight_decay=0.0)


def trl_losses(loss: str, prompts: bool) -> list[float]:
    """Return trl's loss before each of the steps."""
    documents, asked = judged(prompts), settings(loss)
    assert asked.preference is not None
    accepted = np.array([document.accepted for document in documents])
    policy = model()
    trainer = _trainer(policy, copy.deepcopy(policy), asked.preference)
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=asked.preference.learning_rate, weight_decay=asked.weight_decay
    )
    losses = []
    for step in plan_preference_steps(accepted, asked.preference, SEED):
        batch = _batch(trainer, [documents[index] for index in step], loss)
        value = trainer._compute_loss(policy, batch, False)
        losses.append(float(value.detach()))
        value.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), asked.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    return losses


def _trainer(policy: Any, reference: Any, asked: PreferenceSettings) -> Any:
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    vocabulary = {chr(97 + index): index for index in range(VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[])),
        eos_token=chr(97 + END),
        pad_token=chr(97 + END),
    )
    plain = {
        "output_dir": "/tmp/unused",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": [],
        "beta": asked.beta,
        "max_length": None,
        "per_device_train_batch_size": 6,
    }
    if asked.loss == "dpo":
        rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 6
        return DPOTrainer(
            policy,
            reference,
            args=DPOConfig(**plain),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
    rows = [{"prompt": "a", "completion": "b", "label": number % 2 == 0} for number in range(6)]
    weights = {
        "desirable_weight": asked.accepted_weight,
        "undesirable_weight": asked.rejected_weight,
    }
    return KTOTrainer(
        policy,
        reference,
        args=KTOConfig(loss_type=asked.loss, **weights, **plain),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


def _batch(trainer: Any, documents: Sequence[Judged], loss: str) -> Any:
    def parts(document: Judged) -> tuple[list[int], list[int]]:
        ids, first = document.row.ids.tolist(), document.row.first
        return ids[:first], ids[first:]

    if loss == "dpo":
        good = [document for document in documents if document.accepted]
        bad = [document for document in documents if not document.accepted]
        rows = [
            {
                "prompt_ids": parts(one)[0],
                "chosen_ids": parts(one)[1],
                "rejected_ids": parts(other)[1],
            }
            for one, other in zip(good, bad, strict=True)
        ]
        return trainer.data_collator(rows)
    texts = [parts(document)[1] for document in documents]
    rows = [
        {
            "prompt_ids": parts(document)[0],
            "completion_ids": text,
            "label": document.accepted,
            **({"KL_completion_ids": other} if loss == "kto" else {}),
        }
        for document, text, other in zip(documents, texts, [texts[-1], *texts[:-1]], strict=True)
    ]
    return trainer.data_collator(rows)


CASES = [("kto", False), ("kto", True), ("apo_zero_unpaired", True), ("dpo", False)]

if __name__ == "__main__":
    for case in CASES:
        print(case, json.dumps([round(value, 7) for value in trl_losses(*case)]))
