#!/usr/bin/env python3
"""A stand-in for a node host that behaves as its arguments say: `--node BEHAVIOUR:NAME`."""

import os
import signal
import subprocess
import sys
import time


def main() -> int:
    behaviour = sys.argv[sys.argv.index("--node") + 1].split(":")[0]
    signals = []
    signal.signal(signal.SIGINT, lambda *_: signals.append("int"))
    signal.signal(signal.SIGTERM, lambda *_: signals.append("term"))
    print(f"parent {os.environ['LGTC_PARENT_PID']} up", flush=True)
    if behaviour == "fails":
        time.sleep(0.3)
        print("the last words", flush=True)
        return 3
    if behaviour == "stubborn":  # and with a child that is no better
        subprocess.run(
            [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
        )
    while behaviour == "stubborn" or not signals or (behaviour == "twice" and len(signals) < 2):
        time.sleep(0.01)
    return 0


sys.exit(main())
