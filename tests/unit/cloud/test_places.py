"""How many answers that take their time there may be."""

import pytest

from cloud.api.http.errors import TooMany
from cloud.api.http.places import Places


def test_one_user_s_places_are_few_and_do_not_take_another_s() -> None:
    places = Places(of_one=2, of_all=9)
    places.take(1)
    places.take(1)
    with pytest.raises(TooMany) as refused:
        places.take(1)
    assert refused.value.retry_after_s is not None
    places.take(2)
    places.give(1)
    places.take(1)


def test_all_together_are_bounded_too() -> None:
    places = Places(of_one=2, of_all=3)
    for user_id in (1, 1, 2):
        places.take(user_id)
    with pytest.raises(TooMany):
        places.take(3)
    places.give(2)
    places.take(3)
