"""The publications of HAM10000 and of MedMNIST, which contains its images as DermaMNIST."""

from models_store.datasets.official import OFFICIAL_NAMES

HAM10000 = (
    "P. Tschandl, C. Rosendahl, H. Kittler: The HAM10000 dataset, a large collection of multi-source dermatoscopic "
    "images of common pigmented skin lesions. Scientific Data 5, 180161 (2018). https://doi.org/10.1038/sdata.2018.161"
)
MEDMNIST = (
    "J. Yang, R. Shi, D. Wei, et al.: MedMNIST v2, a large-scale lightweight benchmark for 2D and 3D biomedical image "
    "classification. Scientific Data 10, 41 (2023). https://doi.org/10.1038/s41597-022-01721-8"
)
CITATIONS = (HAM10000, MEDMNIST)


def how_to_cite(dataset: str, *, synthetic: bool) -> tuple[str, tuple[str, ...]]:
    """A sentence about a data set, and the publications that it refers to."""
    if synthetic:
        return f"A program generated the images of {dataset}; there is no data set to cite.", ()
    if dataset in OFFICIAL_NAMES:
        return f"{dataset} is part of MedMNIST, and its images come from HAM10000. Cite both:", CITATIONS
    return (
        f"If the images of {dataset} come from HAM10000 or DermaMNIST, cite these; otherwise cite their source:",
        CITATIONS,
    )
