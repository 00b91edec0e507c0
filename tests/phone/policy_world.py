"""Signs and conditions that the tests of the policy start from, and hypothesis strategies for any others."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from phone.cascade.constants import Policy
from phone.cascade.decision import CascadeMemory
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Recogniser, Signals, Thermal, Trouble
from phone.cascade.policies import Certificates, for_every_recogniser
from phone.cascade.privacy import CloudUse, PrivateKind
from shared.models.estimate import Estimate
from shared.models.risk import RiskCertificate

POLICY: Final = Policy(base_price_small=0.03, base_price_tiny=0.03)
"""With base prices that do not change when they are chosen anew."""
FRESH: Final = CascadeMemory()
CERTIFICATE: Final = RiskCertificate(threshold=0.9, alpha=0.05, delta=0.05, kept=900, errors=25, total=1_500)

SURE: Final = Signals(
    recognition=0.99,
    script=1.0,
    language=1.0,
    translation=0.98,
    trouble=None,
    recogniser=Recogniser.SMALL,
    private=None,
    request_bytes=4_000,
)
GOOD: Final = Conditions(
    cloud=CloudState.READY,
    cloud_use=CloudUse.ALLOW,
    consent=False,
    ledger_writable=True,
    budget_left_bytes=20_000_000,
    battery_percent=80,
    charging=False,
    expected_seconds=0.5,
    life_left_seconds=10.0,
    late_seconds=1.0,
    delivery_seconds=0.1,
    network=NetworkKind.WIFI,
    thermal=Thermal.NORMAL,
)

probabilities = st.floats(0, 1)
estimates = st.builds(Estimate, right=probabilities, helped=probabilities, harmed=probabilities)
memories = st.builds(CascadeMemory, saving=st.booleans(), slow=st.booleans(), empty=st.booleans())
certificates = st.sampled_from([None, CERTIFICATE])


def certified(certificate: RiskCertificate | None) -> Certificates:
    """For every recogniser, or for none."""
    return {} if certificate is None else for_every_recogniser(certificate)


signals_any = st.builds(
    Signals,
    recognition=probabilities,
    script=probabilities,
    language=probabilities,
    translation=probabilities,
    trouble=st.sampled_from([None, *Trouble]),
    recogniser=st.sampled_from(Recogniser),
    private=st.sampled_from([None, None, None, *PrivateKind]),
    request_bytes=st.integers(0, 500_000),
    whole_frame=st.sampled_from([False, False, False, True]),
    foreign_script=st.sampled_from([None, "hangul"]),
    direction_refused=st.sampled_from([False, False, False, True]),
    estimate=st.none() | estimates,
    value=st.floats(0, 5),
    sign_key=st.integers(0, 2**32),
)
conditions_any = st.builds(
    Conditions,
    cloud=st.sampled_from([CloudState.READY, CloudState.READY, *CloudState]),
    cloud_use=st.sampled_from([CloudUse.ALLOW, CloudUse.ALLOW, *CloudUse]),
    consent=st.booleans(),
    ledger_writable=st.sampled_from([True, True, True, False]),
    budget_left_bytes=st.integers(0, 50_000_000),
    battery_percent=st.none() | st.integers(0, 100),
    charging=st.booleans(),
    expected_seconds=st.floats(0, 20),
    life_left_seconds=st.floats(-5, 60),
    late_seconds=st.none() | st.floats(0, 60),
    delivery_seconds=st.floats(0, 5),
    network=st.sampled_from([NetworkKind.WIFI, NetworkKind.CELLULAR, *NetworkKind]),
    metered=st.booleans(),
    radio_open_seconds=st.just(0.0) | st.floats(0, 12),
    thermal=st.sampled_from(Thermal),
)
