"""Which models are offered, and which of them as warm: no loop, no socket, no clock."""

from __future__ import annotations

from node.engines.external import Elsewhere, ExternalEngine
from node.models import Profile, Served
from node.publishing.offers import Offered, Offers, without_warmth
from node.residents.tenant import Tenant
from node.sizes.memory import Memory
from registry.advert import Offer
from relay.limits import Limits


def model(name: str, slots: int = 2) -> Served:
    """A model at an engine that nobody has started."""
    engine = ExternalEngine(name, slots, Elsewhere("http://127.0.0.1:1"), Limits())
    profile = Profile("llama.cpp/1", weights_sha256="ab" * 32, context_length=4096, rerank_by="cosine similarity")
    tenant = Tenant(1, engine, Memory(0, 0), kept=False, idle_s=60, now=0)
    return Served(name, (), ("chat.completions",), profile, (("usd/1M prompt tokens", "0.05"),), (), tenant)


def said(offers: tuple[Offer, ...]) -> dict[str, bool]:
    """What is offered, and whether it is warm."""
    return {offer.model: offer.warm for offer in offers}


M, N = model("m"), model("n")


def test_a_model_that_can_be_loaded_is_offered_while_it_is_cold() -> None:
    offers = Offers()
    assert said(offers.take([Offered(M, True, True), Offered(N, False, True)], 0.0)) == {"m": True, "n": False}
    assert said(offers.take([Offered(M, False, True), Offered(N, True, True)], 1.0)) == {"m": False, "n": True}
    assert said(offers.take([Offered(M, False, True)], 3600.0)) == {"m": False}, "however long"


def test_an_engine_that_is_down_keeps_its_offer_for_a_moment_and_its_warmth_with_it() -> None:
    offers = Offers()
    assert said(offers.take([Offered(M, False, False)], 0.0)) == {}, "it was never there"
    offers.take([Offered(M, True, True), Offered(N, True, True)], 10.0)
    restarting = [Offered(M, False, False), Offered(N, True, True)]
    assert said(offers.take(restarting, 14.0)) == {"m": True, "n": True}
    assert said(offers.take(restarting, 15.1)) == {"n": True}
    assert said(offers.take([Offered(M, True, True), Offered(N, True, True)], 16.0)) == {"m": True, "n": True}


def test_what_is_removed_goes_at_once_and_does_not_come_back_by_its_name_alone() -> None:
    offers = Offers()
    offers.take([Offered(M, True, True), Offered(N, True, True)], 0.0)
    assert said(offers.take([Offered(N, True, True)], 0.1)) == {"n": True}
    assert said(offers.take([Offered(model("m", slots=9), False, False), Offered(N, True, True)], 0.2)) == {"n": True}


def test_a_clock_that_is_set_back_keeps_nothing_that_is_down() -> None:
    offers = Offers()
    offers.take([Offered(M, True, True)], 1_000_000.0)
    assert said(offers.take([Offered(M, False, False)], 0.0)) == {}


def test_an_offer_says_all_that_is_known_of_the_model() -> None:
    (offer,) = Offers().take([Offered(M, False, True)], 0.0)
    assert (offer.parallel, offer.context_length, offer.weights_sha256) == (2, 4096, "ab" * 32)
    assert [price.amount for price in offer.prices] == ["0.05"]
    assert (offer.model_extra or {})["rerank_by"] == "cosine similarity"
    (warm,) = Offers().take([Offered(M, True, True)], 0.0)
    assert warm != offer
    assert without_warmth([warm]) == without_warmth([offer]) == (offer,)
    (other,) = Offers().take([Offered(model("m", slots=9), False, True)], 0.0)
    assert without_warmth([other]) != (offer,)


def test_an_offer_says_how_many_may_wait_and_a_reader_takes_nothing_else_for_it() -> None:
    (offer,) = Offers().take([Offered(M, True, True, queue=32)], 0.0)
    assert offer.queue_size == 32
    assert Offer.model_validate_json(offer.model_dump_json()).queue_size == 32
    (silent,) = Offers().take([Offered(M, True, True)], 0.0)
    assert "queue" not in silent.model_dump()
    for odd in (None, -1, True, "32", [], 1.5):
        assert silent.model_copy(update={"queue": odd}).queue_size is None
