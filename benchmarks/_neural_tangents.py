"""The other side of a comparison: neural-tangents (JAX) on the student of `benchmarks.ntk`.

Runs in a Python of its own, with jax 0.4.25, neural-tangents 0.6.5, numpy below 2 and scipy below 1.13 (with
jax 0.4.30 it imports, but its structured method reaches for a private name that is gone). Prints the names
of the ways it knows, then for each name on standard input the CPU seconds that one kernel of the batch took.
Weights, batch and the kernel that should come out are in the .npz file that is its argument.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import sys
import time

import jax
import jax.numpy as jnp
import neural_tangents as nt
import numpy as np


def student(parameters, x):
    """[n, 1, 28, 28] -> [n, 10]; the same layers and layouts as in torch."""
    maps = jax.lax.conv_general_dilated(x, parameters["0.weight"], (1, 1), [(3, 3), (3, 3)])
    n, k, y, z = maps.shape
    flat = maps.reshape(n, k, y // 4, 4, z // 4, 4).mean((3, 5)).reshape(n, -1)
    hidden = jax.nn.relu(flat @ parameters["3.weight"].T + parameters["3.bias"])
    return hidden @ parameters["5.weight"].T + parameters["5.bias"]


def main():
    stored = np.load(sys.argv[1])
    x = jnp.asarray(stored["x"])
    parameters = {name: jnp.asarray(stored[name]) for name in stored.files if name not in ("x", "kernel")}
    ways = {}
    for implementation in nt.NtkImplementation:
        if implementation.name != "AUTO":
            made = nt.empirical_ntk_fn(student, trace_axes=(-1,), vmap_axes=0, implementation=implementation)
            ways[implementation.name] = jax.jit(made)
    wanted = stored["kernel"]
    for name, way in ways.items():  # compiles, and checks that both sides compute the same thing
        found = np.asarray(way(x, None, parameters)) * 10  # it divides the trace by the number of outputs
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        if not error < 1e-3:
            sys.exit(f"{name}: relative difference {error:.2e}")
    print(*ways, flush=True)
    for line in sys.stdin:
        start = time.process_time()
        ways[line.strip()](x, None, parameters).block_until_ready()
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
