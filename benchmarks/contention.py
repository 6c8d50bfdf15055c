"""A GAN step alone and beside another one on the same cores, by how long OpenMP's threads spin.

    python -m benchmarks.contention --seconds 20

Each case starts fresh processes, because the setting is read when torch loads: one process, then
as many at once as asked for, each making steps of the preset on made-up inputs for the time given.
`default` is the library's own, without the limit that memdriven sets (GNU's OpenMP: Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch

CASES = ("default", "1000", "10000", "50000")


def main() -> None:
    """Read the command line, run every case, print a row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="aviary-64")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    of = parser.parse_args()
    if of.one:
        print(json.dumps(median_step(of.preset, of.seconds)))
        return
    for case in CASES:
        alone = together(case, 1, of.preset, of.seconds)
        beside = together(case, of.processes, of.preset, of.seconds)
        print(
            json.dumps(
                {
                    "spin": case,
                    "processes": of.processes,
                    "alone_s": round(alone, 2),
                    "beside_s": round(beside, 2),
                    "ratio": round(beside / alone, 2),
                }
            ),
            flush=True,
        )


def together(case: str, processes: int, preset: str, seconds: float) -> float:
    """Return the mean over the processes of their median seconds a step."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    # 300,000 is what libgomp counts to where threads are no more than cores and nothing is set.
    environment["GOMP_SPINCOUNT"] = "300000" if case == "default" else case
    command = [
        sys.executable,
        "-m",
        "benchmarks.contention",
        "--one",
        "--preset",
        preset,
        "--seconds",
        str(seconds),
    ]
    running = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for run in running:
        assert run.stdout is not None
        run.stdout.readline()  # warm; none begins before all are
    for run in running:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    return statistics.mean(float(run.communicate()[0]) for run in running)


def median_step(name: str, seconds: float) -> float:
    """Return the median seconds of a step, over steps for so long."""
    from benchmarks.train_step import prepared
    from memdriven.presets import preset

    step = prepared(preset(name), torch.device("cpu"))
    print("ready", flush=True)
    input()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        step(1)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
