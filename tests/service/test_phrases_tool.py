"""The list of the interface's sentences has those of pages, commands, errors and scripts."""

from tools.phrases import of_python, of_script, of_template, phrases


def test_text_between_elements_is_a_phrase_and_what_the_code_fills_in_is_a_gap() -> None:
    template = '<p>The <b>test set</b> has {{ count }} images.</p>{% if a %}<img alt="A heatmap of it">{% endif %}'
    assert list(filter(None, of_template(template))) == ["A heatmap of it", "The test set has … images."]


def test_strings_are_phrases_and_docstrings_only_those_of_commands_and_endpoints() -> None:
    source = '''
"""A module."""
@router.get("/x")
def endpoint():
    """Answers with one."""
def other():
    """Nobody reads this."""
    raise Problem("kind", f"there is no {name} here")
'''
    assert set(of_python(source)) == {"Answers with one.", "/x", "kind", "there is no … here"}


def test_strings_of_a_script_are_phrases_and_its_comments_are_not() -> None:
    assert list(of_script('// Not "this one"\nannounce(`It is ${status} now.`);')) == ["It is … now."]


def test_pages_commands_errors_and_scripts_are_all_read() -> None:
    found = {sentence for sentences in phrases().values() for sentence in sentences}
    for expected in (
        "All test images at the chosen threshold",
        "List experiments, newest first.",
        "This is the chosen threshold.",
        "Free text to find the experiment again.",
    ):
        assert expected in found
