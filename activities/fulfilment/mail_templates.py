"""E-mails' texts: Jinja2 templates, a shop's own before ours, in a sandbox and escaped in HTML.

`<tenant>/<language>/<name>` in the folder of shops' templates, else `<language>/<name>` of this package, where a name
is `confirmation`, `tickets` or `refund` with `.subject.txt`, `.txt` or `.html`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment
from structlog import stdlib

from domain.ids import TenantId

_log = stdlib.get_logger("fulfilment")
OURS = Path(__file__).parent / "templates"
MAX_SUBJECT = 180
"""Characters."""
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Texts:
    """An e-mail's texts, rendered. The subject is one line."""

    subject: str
    text: str
    html: str


class Templates:
    """All templates, ours and the shops'."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: the shops' own, if there are any."""
        self._folder = folder
        self._ours = _environment(OURS)
        self._of_shops: dict[TenantId, ImmutableSandboxedEnvironment] = {}

    def texts(self, tenant: TenantId, language: str, name: str, values: Mapping[str, Any]) -> Texts:
        """The e-mail's texts. A shop's own template that does not work is told of in the log, and ours stands in."""
        subject = self._text(tenant, language, f"{name}.subject.txt", values)
        line = " ".join(subject.split())[:MAX_SUBJECT]
        given = {**values, "subject": line}
        text = self._text(tenant, language, f"{name}.txt", given)
        return Texts(line, text, self._text(tenant, language, f"{name}.html", given))

    def _text(self, tenant: TenantId, language: str, name: str, values: Mapping[str, Any]) -> str:
        given = {**values, "language": language}
        try:
            if own := self._of_shop(tenant):
                return _rendered(own, f"{language}/{name}", given)
        except TemplateNotFound:
            pass  # The shop has no template of this name.
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, OSError) as error:
            _log.error("template_broken", tenant=tenant, template=f"{language}/{name}", error=type(error).__name__)
        return _rendered(self._ours, f"{language}/{name}", given)

    def _of_shop(self, tenant: TenantId) -> ImmutableSandboxedEnvironment | None:
        if self._folder is None or not (self._folder / tenant).is_dir():
            return None
        if tenant not in self._of_shops:
            self._of_shops[tenant] = _environment(self._folder / tenant, OURS)
        return self._of_shops[tenant]


def _environment(*folders: Path) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(folders),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _rendered(environment: ImmutableSandboxedEnvironment, name: str, values: Mapping[str, Any]) -> str:
    rendered = environment.get_template(name).render(values)
    return rendered if name.endswith(".html") else _BLANK_LINES.sub("\n\n", rendered).strip() + "\n"
