"""A real table: scikit-learn's diabetes data, written as CSV and learnt by ``grokflow run``.

pip install "grokflow[examples]"
python examples/diabetes.py [--small]
"""

import subprocess
import sys

import grokflow as gf
from sklearn.datasets import load_diabetes

load_diabetes(as_frame=True, scaled=False).frame.to_csv("diabetes.csv", index=False)

width, t_end = ("10", "1e2") if "--small" in sys.argv else ("200", "1e5")
options = [
    "--model",
    "two-layer",
    "--width",
    width,
    "--activation",
    "tanh",
    "--weight-decay",
    "1e-4",
    "--t-end",
    t_end,
]
command = ["run", "--data", "diabetes.csv", "--target", "target", *options, "--out", "diabetes"]
print("grokflow", *command, flush=True)
subprocess.run([sys.executable, "-m", "grokflow", *command], check=True)

sol = gf.Solution.load("diabetes/trajectory.npz")
print("smallest test loss", sol["test_loss"].min(), "at t =", sol.t[sol["test_loss"].argmin()])
