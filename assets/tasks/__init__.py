"""What a task is: its pretrained class with a head, its targets, its loss and its metrics; one module for each task.

A task is a module of plain functions with the same names (`pretrained`, `finetuned`, `encode_targets`, `loss`,
`scores`, `metrics`), so that the training loop and evaluation are written once. `loading` and `inputs` hold what all
tasks share: reading model folders safely; tokens, padding, batches of like length.
"""
