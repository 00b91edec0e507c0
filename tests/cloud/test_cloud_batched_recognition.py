"""The shared recogniser reads what one alone reads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cloud.reading.batched_recognition import BatchedRecogniser
from cloud.reading.batcher import BatchPlan
from cloud.reading.claims import Claim, on_behalf_of
from cloud.reading.loading import RECOGNITION_PACK, load_recogniser
from cloud.refusals import Refusal
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.geometry import ImageBgr
from shared.models.device import Device
from shared.models.packs import PackStore
from shared.models.recognition import Recognition, TextRecogniser
from simulations.rendered_lines import Part, Typesetter

TEXTS = ("SAÍDA", "Rua do Comércio 12", "PROIBIDO ESTACIONAR", "Empurre", "Piso molhado!", "ENTRADA LIVRE")


@pytest.fixture(scope="module")
def crops() -> list[ImageBgr]:
    rng = np.random.default_rng(5)
    return [Typesetter().line(text, rng, Part.REPORT, heights=(40, 28)).image for text in TEXTS]


@pytest.fixture(scope="module")
def alone(pack_store: PackStore) -> TextRecogniser:
    return TextRecogniser.load(pack_store.get(RECOGNITION_PACK))


@pytest.fixture(scope="module")
def expected(alone: TextRecogniser, crops: list[ImageBgr]) -> list[Recognition]:
    return alone.recognise(crops)


@pytest.fixture(scope="module")
def shared(pack_store: PackStore) -> Iterator[BatchedRecogniser]:
    settings = CloudSettings.load(None, device=Device.CPU, sessions=2)
    recogniser = load_recogniser(pack_store, settings, clock=SystemClock())
    yield recogniser
    recogniser.close()


def test_threads_that_share_a_recogniser_read_exactly_what_one_alone_reads(
    shared: BatchedRecogniser, crops: list[ImageBgr], expected: list[Recognition]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for read in threads.map(shared.recognise, [crops, crops[:3], crops[3:]]):
            assert read in (expected, expected[:3], expected[3:])
    assert shared.recognise(crops) == expected
    assert sum(len(answer.text) for answer in expected) > 40, "there was something to read"


def test_it_names_its_pack_and_alphabet(shared: BatchedRecogniser, alone: TextRecogniser) -> None:
    assert (shared.pack, shared.alphabet, shared.on_gpu) == (alone.pack, alone.alphabet, False)


def test_equal_widths_in_one_batch_read_the_same_text(
    alone: TextRecogniser, crops: list[ImageBgr], expected: list[Recognition]
) -> None:
    batched = BatchedRecogniser([alone], clock=SystemClock(), plan=BatchPlan(max_batch=4, linger_s=0.05))
    try:
        short = [0, 0, 3, 3]  # as narrow as the network's input is at least
        read = batched.recognise([crops[index] for index in short])
        assert max(batched.batcher.batches) > 1
        for answer, index in zip(read, short, strict=True):
            assert answer.text == expected[index].text
            assert answer.confidence == pytest.approx(expected[index].confidence, abs=1e-4)
    finally:
        batched.close()


def test_nothing_is_read_for_a_caller_who_left(shared: BatchedRecogniser, crops: list[ImageBgr]) -> None:
    before = len(shared.batcher.batches)
    with on_behalf_of(Claim(left=True)), pytest.raises(Refusal):
        shared.recognise(crops)
    assert len(shared.batcher.batches) == before
