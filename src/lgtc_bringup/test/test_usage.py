"""Processor time and memory are what the process really took."""

import subprocess
import sys
import time

from bringup_stand_ins import wait_until

from lgtc_bringup.usage import UsageMeter

BUSY = "import time; block = bytearray(50_000_000)\nwhile time.process_time() < 0.6: pass\n"


def test_cpu_time_and_memory_are_those_of_the_process():
    command = [sys.executable, "-c", BUSY + "print(flush=True); time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            meter = UsageMeter(child.pid)
            assert child.stdout is not None
            child.stdout.readline()
            before = meter.measure()
            time.sleep(0.3)
            idle = meter.measure().since(before)
            assert 0.5 < before.cpu_s < 2.0
            assert 50.0 < before.memory_mb <= before.resident_mb < 500.0
            assert idle.cores < 0.2
            assert 0.25 < idle.wall_s < 5.0
        finally:
            child.kill()


def test_after_its_end_the_last_measurement_stays():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        meter = UsageMeter(child.pid)
        wait_until(lambda: meter.measure().cpu_s >= 0.0 and meter.usage.memory_mb > 1.0)
        last = meter.usage
        child.kill()
        child.wait()
        assert meter.measure() == last
