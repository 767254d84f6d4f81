"""Fine-tune one model: `python -m assets.model SPEC.json [--output FOLDER]`.

It starts a process for each device where the spec asks for several, and may itself be started by `torchrun -m`.
"""

from assets.model.launch import together
from assets.store.program import main

raise SystemExit(main(together))
