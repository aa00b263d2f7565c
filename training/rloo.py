"""REINFORCE leave-one-out (Ahmadian et al. 2024): each answer is compared with the others to its prompt.

The loop is that of `training.grpo`, which says where the two differ.
"""

from training.grpo import train as train
