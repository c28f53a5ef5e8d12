"""iLoRA: a language model with gated LoRA experts (adapter, gates, objectives, export); how it is found by name.

Rooms: `language_model/`, `prompts/`, `generation/`. Imports from all rooms before it but distill; only exp imports it.
"""
