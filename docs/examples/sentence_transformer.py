"""Embeddings of sentences with GOFT and sentence-transformers: train on pairs, save, open again.

python docs/examples/sentence_transformer.py [FOLDER [MODEL]]: results go to `out`, the model is a
tiny one by default.
"""

import sys

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from goft_cli import GoftConfig
from goft_cli.preflight import asset_dir

folder = sys.argv[1] if len(sys.argv) > 1 else "out"
name = sys.argv[2] if len(sys.argv) > 2 else str(asset_dir("tiny-deberta-v3"))
model = SentenceTransformer(name)  # a plain encoder gets mean pooling
model.add_adapter(GoftConfig(target_modules="all-linear", task_type="FEATURE_EXTRACTION"))
pairs = Dataset.from_dict(
    {
        "anchor": ["The dog sleeps .", "A cat runs .", "The bird sings ."] * 8,
        "positive": ["A dog sleeps .", "The cat runs .", "A bird sings ."] * 8,
    }
)
trainer = SentenceTransformerTrainer(
    model=model,
    args=SentenceTransformerTrainingArguments(
        folder, num_train_epochs=2, learning_rate=5e-3, report_to=[]
    ),
    train_dataset=pairs,
    loss=MultipleNegativesRankingLoss(model),
)
trainer.train()
model.save_pretrained(f"{folder}/model")

opened = SentenceTransformer(f"{folder}/model")  # goft_cli is imported: the adapter is known
print(opened.similarity(*(opened.encode([text]) for text in ("The dog sleeps .", "A cat runs ."))))
