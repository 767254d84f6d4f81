"""What a training imports on its way, imported at once, and nothing computed: see `tests.model.forked`."""
# ruff: noqa: F401, TID253

import matplotlib.backends.backend_agg
import matplotlib.figure
import peft
import safetensors.torch
import sklearn.metrics
import torch._dynamo
import torch.distributed.fsdp
import torch.distributed.tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.models.bert import BertForSequenceClassification, BertTokenizerFast

import assets.model.train
