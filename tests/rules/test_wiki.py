"""What people write inside the text of a note: tags and links, and code that holds neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimir.rules.wiki import inline_links, inline_tags, link_name


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#a and #b/c, (#d) #e-f #\u65e5\u8a18", ("a", "b/c", "d", "e-f", "\u65e5\u8a18")),
        ("# Title\n## 2\n#123 #1a", ("1a",)),
        ("a#b https://x.y/#c &#39; \\#", ()),
        ("#twice #twice", ("twice",)),
        ("`#code` and\n```\n#more\n```\nbut #not", ("not",)),
        ("```\n#open", ()),
    ],
)
def test_tags_are_words_with_a_hash(text: str, tags: tuple[str, ...]) -> None:
    assert inline_tags(text) == tags


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[[A note]] [[folder/B|b]] [[C#Heading]] [[D^block]] ![[E]]", ("a note", "folder/b", "c", "d", "e")),
        ("[x](My%20note.md) [y](../F/G.md#h) [z](https://a.b/c.md) [q](page.html)", ("my note", "f/g")),
        ("[[#own heading]] [[]] [[a\nb]] [c] [[ ]]", ()),
        ("[[twice]] [[Twice.md]]", ("twice",)),
        ("`[[code]]` ~~~\n[[x]]\n~~~ [[y]]", ("x", "y")),
        ("~~~\n[[x]]\n~~~\n[[y]]", ("y",)),
    ],
)
def test_links_are_the_names_of_notes(text: str, names: tuple[str, ...]) -> None:
    assert inline_links(text) == names


@given(st.text())
def test_a_name_of_a_link_leads_nowhere_outside(name: str) -> None:
    assert not {"..", ".", ""} & set(link_name(name).split("/")) or link_name(name) == ""


@pytest.mark.parametrize("part", ["`", "``a", "[[", "[[a|", "](", "](a", "#", "#1", "```\n", "~~~\n", "]](", "[[a]"])
def test_odd_texts_are_read_in_no_time(part: str) -> None:
    text = part * 20_000
    assert len(inline_tags(text)) + len(inline_links(text)) <= 1
