"""Filling without a prompt, on onnxruntime: works where no Stable Diffusion model is installed."""

import os

# From 1.29 on the published builds of onnxruntime number the machine and report to their makers, unless they are told
# before they are imported not to (C9).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
