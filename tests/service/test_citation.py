"""CITATION.cff agrees with the pages."""

from importlib.metadata import version
from pathlib import Path

import yaml

from models_store.datasets.citations import CITATIONS
from service.presentation import citing

CITATION = yaml.safe_load((Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8"))


def test_it_names_this_version_its_authors_and_its_licence() -> None:
    assert CITATION["cff-version"] == "1.2.0"
    assert str(CITATION["version"]) == version("dermatriage")
    assert (CITATION["title"], CITATION["license"]) == (citing.TITLE, citing.LICENCE)
    assert [author["name"] for author in CITATION["authors"]] == [citing.AUTHORS]


def test_it_refers_to_the_publications_of_the_data_set() -> None:
    for reference, publication in zip(CITATION["references"], CITATIONS, strict=True):
        assert publication.endswith(f"https://doi.org/{reference['doi']}")
        assert str(reference["year"]) in publication
        assert reference["authors"][0]["family-names"] in publication
