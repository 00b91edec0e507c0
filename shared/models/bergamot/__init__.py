"""Bergamot / Firefox Translations "tiny" and "base-memory" models on ONNX Runtime.

``convert`` turns a model's own int8 file into ONNX graphs once, when the pack is installed; ``translator`` runs them.
Only the converter needs the ``onnx`` package.
"""
