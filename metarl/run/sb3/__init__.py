"""The door to Stable-Baselines3: its environments, its agents as baselines, and policies going in and out.

Stable-Baselines3 takes a second to import. Modules of this package import it at their top, so everybody else
imports those where they are used; ``names`` and ``archive`` do without it.
"""
