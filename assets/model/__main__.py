"""Fine-tune one model: `python -m assets.model SPEC.json [--output FOLDER]`."""

from assets.store.program import main

raise SystemExit(main())
