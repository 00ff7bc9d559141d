"""A language model with GOFT and TRL's SFTTrainer, on prompts and completions; then it answers.

python docs/examples/trl_sft.py [FOLDER [MODEL]]: results go to `out`, the model is a tiny
one by default.
"""

import sys

import torch
from datasets import Dataset
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from goft_cli import GoftConfig
from goft_cli.preflight import asset_dir

folder = sys.argv[1] if len(sys.argv) > 1 else "out"
name = sys.argv[2] if len(sys.argv) > 2 else str(asset_dir("tiny-llama"))
rows = Dataset.from_list(
    [
        {"prompt": "What does the dog do?", "completion": " It sleeps."},
        {"prompt": "What does the cat do?", "completion": " It runs."},
    ]
    * 8
)
trainer = SFTTrainer(
    model=name,
    args=SFTConfig(
        folder,
        num_train_epochs=2,
        learning_rate=5e-3,
        max_length=64,
        bf16=torch.cuda.is_available(),  # TRL's default needs a GPU
        report_to=[],
    ),
    train_dataset=rows,
    peft_config=GoftConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
)
trainer.train()
trainer.save_model(f"{folder}/adapter")

model = AutoPeftModelForCausalLM.from_pretrained(f"{folder}/adapter")
tokenizer = AutoTokenizer.from_pretrained(f"{folder}/adapter")
asked = tokenizer("What does the dog do?", return_tensors="pt")
answer = model.generate(**asked, max_new_tokens=8, do_sample=False)
print(tokenizer.decode(answer[0], skip_special_tokens=True))
