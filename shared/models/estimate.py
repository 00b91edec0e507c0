"""What the metamodel says of one sign: plain numbers, so that policies can take them without loading a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """The metamodel's view of one sign. Probabilities are calibrated, 0..1.

    Attributes:
        right: P(text and translation of the small pipeline are right).
        helped: P(they are wrong, and the answer after asking the cloud is right).
        harmed: P(they are right, and the answer after asking the cloud is wrong).
    """

    right: float
    helped: float
    harmed: float

    @property
    def gain(self) -> float:
        """Expected gain of asking, in signs right; negative where asking would do harm."""
        return self.helped - self.harmed
