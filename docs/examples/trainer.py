"""A text classifier with qGOFT and transformers' own Trainer: train, save, open again, merge.

python docs/examples/trainer.py [FOLDER [MODEL]]: results go to `out`, the model is a tiny
one by default.
"""

import sys

import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from goft_cli import GoftConfig, PenaltyMixin
from goft_cli.preflight import asset_dir

folder = sys.argv[1] if len(sys.argv) > 1 else "out"
name = sys.argv[2] if len(sys.argv) > 2 else str(asset_dir("tiny-deberta-v3"))
tokenizer = AutoTokenizer.from_pretrained(name)
rows = Dataset.from_dict(
    {"text": ["The dog sleeps .", "Sleeps dog the .", "A cat runs .", "Cat a runs ."] * 8}
)
rows = rows.add_column("labels", [1, 0, 1, 0] * 8)
rows = rows.map(lambda row: tokenizer(row["text"]), remove_columns="text")


class QuasiTrainer(PenaltyMixin, Trainer):
    """Logs qGOFT's penalty apart from the loss; a plain Trainer trains with it, too."""


base = AutoModelForSequenceClassification.from_pretrained(name, dtype=torch.float32)
base.save_pretrained(f"{folder}/base")  # pooler and head are new and random, and adapted below
config = GoftConfig(
    method="qgoft", penalty_weight=0.05, target_modules="all-linear", task_type="SEQ_CLS"
)
arguments = TrainingArguments(
    folder, num_train_epochs=2, learning_rate=5e-3, logging_steps=4, report_to=[]
)
trainer = QuasiTrainer(
    get_peft_model(base, config),
    arguments,
    train_dataset=rows,
    data_collator=DataCollatorWithPadding(tokenizer),
)
trainer.train()
trainer.model.save_pretrained(f"{folder}/adapter")

fresh = AutoModelForSequenceClassification.from_pretrained(f"{folder}/base")
opened = PeftModel.from_pretrained(fresh, f"{folder}/adapter")  # PEFT knows it from goft_cli
merged = opened.merge_and_unload()  # the rotations are now in the weights
merged.save_pretrained(f"{folder}/merged")
