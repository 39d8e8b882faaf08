"""Names that ``validate_clusters`` knows, as clusters come and go."""

from proxeny.upstream.known_clusters import KnownClusters


def test_it_is_asked_anew() -> None:
    active = {"a": 1}
    known = KnownClusters(active, frozenset(["w"]))
    assert ("a" in known, "w" in known, "b" in known) == (True, True, False)
    active["b"] = active.pop("a")
    assert ("a" in known, "b" in known) == (False, True)
