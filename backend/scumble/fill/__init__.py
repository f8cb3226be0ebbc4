"""Filling without a prompt, on onnxruntime: works where no Stable Diffusion model is installed."""
