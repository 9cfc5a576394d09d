"""The documentation as a site: made without a warning, whole, without a dead link, and read offline."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import click
import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from docs import generated, pictures
from pipeline.cli import cli
from pipeline.graph.doit_setup import BURN_PARAMS
from pipeline.inventory.schema_files import Kind
from pipeline.machine import process
from tests.support.lab import BIN

from .test_floors import ROOT, modules

KINDS: tuple[Kind, ...] = ("class", "node", "cluster", "inventory", "modes")
VARIABLE = re.compile(r"(?:METIS|VAULT|ETCDCTL|DOCKER|KUBERNETES|SUDO|XDG)_[A-Z_]+[A-Z]|KUBECONFIG")
HANDED_ON = {"XDG_CURRENT_DESKTOP", "XDG_RUNTIME_DIR"}
"""What other programs are told, and nobody here looks at."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` makes it."""
    folder = tmp_path_factory.mktemp("site")
    words = "--fail-on-warning --keep-going --quiet --fresh-env"
    made = process.run([BIN / "python", "-m", "sphinx", *words.split(), ROOT / "docs", folder], check=False)
    assert made.code == 0, made.last_words
    assert made.err == b""
    return folder


@cache
def page(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_bytes(), "html.parser")


def pages(site: Path) -> Iterator[tuple[Path, BeautifulSoup]]:
    for file in sorted(site.rglob("*.html")):
        yield file, page(file)


@cache
def anchors(file: Path) -> frozenset[str]:
    return frozenset(str(tag["id"]) for tag in page(file).select("[id]"))


# ------------------------------------------------------------------------------------------------ links


def test_every_link_within_the_site_leads_to_a_page_and_a_place_in_it(site: Path) -> None:
    dead = []
    for file, soup in pages(site):
        for tag in soup.select("a[href], link[href], script[src], img[src], object[data]"):
            link = str(tag.get("href") or tag.get("src") or tag.get("data"))
            address, anchor = urldefrag(link)
            if urlsplit(address).scheme:
                continue
            target = (file.parent / unquote(urlsplit(address).path)).resolve() if address else file
            if not target.is_file() or (
                anchor and target.suffix == ".html" and anchor not in anchors(target)
            ):
                dead.append(f"{file.relative_to(site)}: {link}")
    assert dead == []


def test_every_link_out_of_the_site_has_the_form_of_one(site: Path) -> None:
    links = {str(tag["href"]) for _, soup in pages(site) for tag in soup.select("a[href]")}
    out = {link for link in links if urlsplit(link).scheme}
    assert len(out) >= 3
    assert [link for link in out if urlsplit(link).scheme != "https" or not urlsplit(link).hostname] == []


def test_a_browser_asks_nobody_else_for_a_part_of_the_site(site: Path) -> None:
    asked = [
        f"{file.relative_to(site)}: {tag}"
        for file, soup in pages(site)
        for tag in soup.select("script[src], link[href], img[src], object[data], iframe")
        if urlsplit(str(tag.get("src") or tag.get("href") or tag.get("data") or "//")).netloc
    ]
    asked += [
        str(file.relative_to(site))
        for file in site.rglob("*.css")
        if re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", file.read_text("utf-8"))
    ]
    assert asked == []


# ------------------------------------------------------------------------------------------------ whole


def test_every_key_of_the_schemas_says_what_it_is_and_what_it_must_be() -> None:
    found = [(kind, key) for kind in KINDS for key in generated.keys(kind)]
    assert len(found) > 250
    assert [f"{kind}: {key.path}" for kind, key in found if not (key.meaning and key.form)] == []


@pytest.mark.parametrize("kind", ["class", "node", "cluster", "modes"])
def test_every_key_of_the_schemas_is_in_the_reference(site: Path, kind: Kind) -> None:
    told = {tag.get_text() for tag in page(site / "reference/inventory.html").select("td code")}
    assert {key.path for key in generated.keys(kind)} <= told


def test_keys_are_found_wherever_a_schema_may_have_them() -> None:
    paths = {key.path for key in generated.keys("class")}
    assert {
        "image.signature.keyring",
        "network.vlans.NAME.id",
        "files[].sha256",
        "k3s.registries.configs.NAME.tls.ca_file",
    } <= paths
    assert "k3s.registries.configs.NAME.auth" not in paths


def commands(command: click.Command, name: str = "metis") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            yield from commands(each, f"{name} {inner}")


def test_every_command_is_in_the_reference_with_each_of_its_options(site: Path) -> None:
    places = anchors(site / "reference/commands.html")
    missing = []
    for name, command in commands(cli):
        slug = name.replace(" ", "-")
        options = [option for option in command.params if isinstance(option, click.Option)]
        missing += [slug] if slug not in places else []
        missing += [
            f"{slug} {word}"
            for option in options
            for word in option.opts
            if not option.hidden and f"cmdoption-{slug}-{word.lstrip('-')}" not in places
        ]
    assert missing == []


def test_every_task_of_the_graph_is_in_the_reference_and_what_burn_takes(site: Path) -> None:
    told = {tag.get_text() for tag in page(site / "reference/commands.html").select("td code")}
    assert {"overlay", "class", "golden", "base", "manifest", "image", "burn"} <= told
    assert {f"--{option['long']}" for option in BURN_PARAMS} <= told


def sentinel() -> Iterator[ast.Module]:
    """The syntax of what is beside the pipeline."""
    return (ast.parse(file.read_bytes()) for file in (ROOT / "metis_sentinel").glob("*.py"))


def test_every_variable_that_is_read_is_in_the_reference(site: Path) -> None:
    read = {
        name
        for tree in [*modules().values(), *sentinel()]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in VARIABLE.findall(node.value)
    }
    rows = page(site / "reference/environment.html").select("td:first-child")
    told = {name for row in rows for name in VARIABLE.findall(row.get_text())}
    assert {"METIS_INVENTORY", "VAULT_ADDR", "KUBECONFIG"} <= read
    assert read - told - HANDED_ON == set()


def test_nothing_but_variables_is_in_the_reference_of_variables(site: Path) -> None:
    named = [
        tag.get_text() for tag in page(site / "reference/environment.html").select("td:first-child code")
    ]
    assert [name for name in named if not re.fullmatch(r"[A-Z][A-Z_<>0-9]+(=1)?|--[a-z-]+", name)] == []


def test_what_is_copied_from_a_page_is_what_was_written(site: Path) -> None:
    """An option keeps its two hyphens, and a placeholder gets no backslash."""
    changed = re.compile("[\N{EN DASH}\N{EM DASH}][a-z]+" r"|\\[a-z]+://\S+")
    found = {file.relative_to(site): changed.findall(soup.get_text()) for file, soup in pages(site)}
    assert {file: texts for file, texts in found.items() if texts} == {}


@pytest.mark.parametrize("code", range(6))
def test_every_exit_code_is_in_the_reference(site: Path, code: int) -> None:
    cells = page(site / "reference/exit-codes.html").select("td:first-child")
    assert str(code) in [cell.get_text() for cell in cells]


# --------------------------------------------------------------------------------------------- pictures


def test_the_architecture_has_its_picture(site: Path) -> None:
    [picture] = page(site / "architecture.html").select("object[type='image/svg+xml'], img[src$='.svg']")
    drawn = (site / "architecture.html").parent / str(picture.get("data") or picture.get("src"))
    svg = drawn.resolve().read_text("utf-8")
    assert {"commands", "inventory", "words"} <= set(re.findall(r">(\w+)</text>", svg))


@pytest.mark.parametrize(
    ("line", "edge"),
    [("    a --> b", '{"a"} -> {"b"}'), ("    a & b --> c & d", '{"a" "b"} -> {"c" "d"}')],
)
def test_arrows_are_drawn(line: str, edge: str) -> None:
    assert edge in pictures.drawn(f"```mermaid\nflowchart TD\n{line}\n```")


@pytest.mark.parametrize("chart", ["sequenceDiagram\n    a->>b: hello", "flowchart TD\n    a -- no --> b"])
def test_what_has_no_such_arrows_stays_text(chart: str) -> None:
    text = f"before\n```mermaid\n{chart}\n```\nbehind"
    assert pictures.drawn(text) == text


# ---------------------------------------------------------------------------------------------- as Markdown


@pytest.mark.parametrize(
    ("page", "text", "linked"),
    [
        ("README.md", "[a](docs/burn.md)", "[a](/burn.md)"),
        ("README.md", "[a](docs/howto/hooks.md#top)", "[a](/howto/hooks.md#top)"),
        ("README.md", "[a](#secrets)", "[a](/repository/readme.md#secrets)"),
        ("README.md", "[a](CHANGELOG.md)", "[a](/repository/changelog.md)"),
        ("docs/burn.md", "[a](../README.md#secrets)", "[a](/repository/readme.md#secrets)"),
        ("docs/howto/hooks.md", "[a](../burn.md) [b](offline.md)", "[a](/burn.md) [b](/howto/offline.md)"),
        ("docs/burn.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("docs/burn.md", "[a](../deploy/metis.yaml)", "[a](../deploy/metis.yaml)"),
        ("docs/burn.md", "a (b) [c]", "a (b) [c]"),
    ],
)
def test_links_lead_to_the_same_page_from_wherever_a_text_is_put(page: str, text: str, linked: str) -> None:
    assert generated.linked(text, ROOT / page) == linked


@pytest.mark.parametrize("text", ["a|b", "<name>", "*", "a_b_c", "`x`", "[y](z)", "back\\slash", "plain"])
def test_a_cell_of_a_table_shows_just_its_text(text: str) -> None:
    tokens = MarkdownIt().enable("table").parse(generated.table(("head",), [(generated.plain(text),)]))
    shown = [child.content for token in tokens for child in token.children or ()]
    assert "".join(shown) == f"head{text}"


def test_a_part_that_nobody_makes_fails_the_site() -> None:
    with pytest.raises(KeyError):
        generated.filled("<!-- generated: nothing -->")
