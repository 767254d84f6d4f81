"""A model folder in MLflow's own format, so that MLflow loads and serves it without anything of freshtune."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

EXAMPLE = "An example of a text."
"""The input example: made up, since MLflow writes it where rows of the data have no business."""


def describe(model: Path, folder: Path, *, card: str, ids: Mapping[str, str]) -> None:
    """Write all of MLflow's model format but the weights, which are uploaded from where they are.

    MLflow's own `transformers.save_model` would load the model with torch, write the weights a second time and ask the
    hub for a licence; its way around that, for a model folder, does not work with transformers 5.23 (`check_task` gives
    the pipeline's class by name). The format, unlike that function, must stay readable for every later MLflow.

    Args:
        model: folder that `save_pretrained` made.
        folder: empty folder to write to.
        card: the model card, Markdown.
        ids: `run_id` and `model_id` that MLflow gave.
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    description = Model(
        **ids,
        signature=ModelSignature(
            inputs=Schema([ColSpec("string")]), outputs=Schema([ColSpec("string", "label"), ColSpec("double", "score")])
        ),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "json_object",
        },
    )
    description.add_flavor(
        "transformers",
        transformers_version=version("transformers"),
        task="text-classification",
        instance_type="TextClassificationPipeline",
        source_model_name=ids["model_id"],
        model_binary="model",
        pipeline_model_type=json.loads((model / "config.json").read_text(encoding="utf-8"))["architectures"][0],
        components=["tokenizer"],
        tokenizer_type="AutoTokenizer",
    )
    description.add_flavor(
        "python_function",
        loader_module="mlflow.transformers",
        python_version=platform.python_version(),
        env={"virtualenv": "python_env.yaml"},
    )
    description.save(str(folder / "MLmodel"))
    tokenizer = folder / "components" / "tokenizer"
    shutil.copytree(model, tokenizer, ignore=shutil.ignore_patterns("*.safetensors"))
    # Without a local part such as "+cpu", which package indexes do not have.
    pins = "\n".join(f"{name}=={version(name).split('+')[0]}" for name in ("mlflow", "torch", "transformers"))
    for name, text in {
        "requirements.txt": pins,
        "python_env.yaml": f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n",
        "input_example.json": json.dumps([EXAMPLE]),
        "serving_input_example.json": json.dumps({"inputs": [EXAMPLE]}),
        "model_card.md": card,
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
