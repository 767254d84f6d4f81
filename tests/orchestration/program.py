"""The program of the tiny chain's model: `python -m tests.orchestration.program SPEC.json`."""

import signal

from assets.store import program
from tests.chains import pieces

if __name__ == "__main__":
    # Stopped from the keyboard it ends without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    program.code_pieces = pieces  # type: ignore[assignment, attr-defined]
    raise SystemExit(program.main())
