"""What the wearer got: for each sign that came into view, when which answer was shown and whether it was right."""

from __future__ import annotations

from dataclasses import dataclass

from glasses.exchange import ReadingRank


@dataclass(frozen=True, slots=True)
class Look:
    """One sign in view of the wearer.

    Attributes:
        at: when the gate opens on it, seconds on the clock.
        until: when it leaves the view.
        region_id: of this encounter, unique in a run.
        number: of its trace.
        opening: looks with the same number share one gate opening, hence one detection and one still.
        again: whether it is a closer look, which is sent only where the answer so far is poor.
    """

    at: float
    until: float
    region_id: int
    number: int
    opening: int
    again: bool = False

    @property
    def frame_id(self) -> int:
        """Frame that it was seen in."""
        return self.opening + 1


@dataclass(slots=True)
class Shown:
    """The answers to one encounter with a sign. Times are seconds since the first midnight.

    Attributes:
        until: when the sign left the view.
        replied_after: seconds until the first reply, even one that says nothing, from the look that it answers; None:
            never.
        first_at: when the first answer came that says something; None for never.
        first_after: the same in seconds from the look that it answers.
        first_right: whether that was right.
        final_at, final_after: of the answer that was never replaced.
        final_right: whether it was right.
        from_cloud: whether it was the cloud's.
    """

    until: float
    replied_after: float | None = None
    first_at: float | None = None
    first_after: float | None = None
    first_right: bool = False
    final_at: float | None = None
    final_after: float | None = None
    final_right: bool = False
    from_cloud: bool = False
    _order: tuple[int, int] | None = None

    def answer(
        self, at: float, look: Look, *, right: bool, rank: ReadingRank, from_cloud: bool, says: bool = True
    ) -> None:
        """An answer has come; what it replaces is as in `glasses.answers.replaces`.

        Args:
            at: when.
            look: what it answers.
            right: whether it is.
            rank: how final.
            from_cloud: whether it is the cloud's.
            says: whether it says anything; one that does not lets the glasses stop waiting, and is never right.
        """
        if self.replied_after is None:
            self.replied_after = at - look.at
        order = (look.frame_id, int(rank))
        if self._order is not None and order < self._order:
            return
        right = right and says
        if says and self.first_at is None:
            self.first_at, self.first_after, self.first_right = at, at - look.at, right
        if self._order is None or order > self._order:
            self.final_at, self.final_after = at, at - look.at
        self._order, self.final_right, self.from_cloud = order, right, from_cloud

    @property
    def in_time(self) -> bool:
        """Whether the first answer came while the sign was in view."""
        return self.first_at is not None and self.first_at <= self.until

    @property
    def right_in_view(self) -> bool:
        """Whether a right answer stood on the sign before it left the view."""
        if self.final_at is not None and self.final_at <= self.until:
            return self.final_right
        return self.in_time and self.first_right
