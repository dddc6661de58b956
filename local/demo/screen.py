"""What the demo prints: acts, steps, notes and links. Readable in 80 columns, and as plain text in a pipe."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

WIDTH = 96
_INDENT = 3
_NOTE_INDENT = 5


@dataclass
class Screen:
    """Prints for a person. On a terminal a wait counts down; in a pipe it is one line."""

    console: Console
    acts: int = 0

    def title(self, text: str, subtitle: str) -> None:
        """The first lines."""
        self.console.print(f"\n[bold]{text}[/bold]")
        self._indented(subtitle, 0, "dim")

    def act(self, title: str, story: str) -> None:
        """A new story, and what to expect of it."""
        self.acts += 1
        self.console.print(f"\n[bold cyan]{self.acts}. {title}[/bold cyan]")
        self._indented(story, _INDENT, "dim")

    def step(self, text: str) -> None:
        """Something was done and seen to be done."""
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row("[green]✓[/green]", text)
        self.console.print(Padding(line, (0, 0, 0, _INDENT), expand=False))

    def note(self, text: str) -> None:
        """A remark on the step above."""
        self._indented(text, _NOTE_INDENT, "dim")

    def link(self, what: str, address: str) -> None:
        """An address in one piece, to be clicked or copied."""
        self.console.print(f"{' ' * _INDENT}→ {what}:", style="blue")
        self.console.print(f"{' ' * _NOTE_INDENT}{address}", style="blue", soft_wrap=True, markup=False)

    def end(self, text: str) -> None:
        """The last line."""
        self.console.print(f"\n[bold green]{text}[/bold green]\n")

    async def wait(self, seconds: float, text: str) -> None:
        """Let time pass, visibly."""
        if not self.console.is_terminal:
            self.note(f"({text}: {seconds:.0f} seconds)")
            await asyncio.sleep(seconds)
            return
        with self.console.status("") as status:
            left = seconds
            while left > 0:
                status.update(f"  {text}: {left:.0f} s")
                await asyncio.sleep(min(left, 1.0))
                left -= 1.0

    def _indented(self, text: str, columns: int, style: str) -> None:
        self.console.print(Padding(text, (0, 0, 0, columns), expand=False), style=style)


def make_screen() -> Screen:
    """A screen on standard output, no wider than reads well."""
    console = Console(highlight=False)
    if console.width > WIDTH or not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    return Screen(console)
