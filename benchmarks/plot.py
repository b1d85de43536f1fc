"""A plot of ratios as SVG: one bar a row, with its figure, for light and dark pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from rows import Row

ROW, LEFT, WIDE, RIGHT = 34, 330, 420, 90
"""Pixels: the height of a row, and the widths of names, bars and figures."""

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.other { fill: #656d76; font-size: 11px }
.bar { fill: #1a7f64 }
.one { stroke: #656d76; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .other { fill: #8d96a0 } .bar { fill: #3fb68e } .one { stroke: #8d96a0 }
}
"""


def bars(rows: Sequence[Row]) -> str:
    """Bars from 0; a dashed line at 1 is the other program."""
    most = max([row.reached for row in rows], default=1.0)
    height = ROW * len(rows) + 30
    one = LEFT + WIDE / most
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDE + RIGHT} {height}">',
        f"<style>{STYLE}</style>",
        f'<line class="one" x1="{one:.1f}" y1="0" x2="{one:.1f}" y2="{ROW * len(rows)}"/>',
        f'<text class="other" x="{one:.1f}" y="{height - 12}">the other: 1</text>',
    ]
    for number, row in enumerate(rows):
        top = ROW * number
        parts += [
            f'<text x="0" y="{top + 14}">{escape(f"{row.what}: {row.figure}")}</text>',
            f'<text class="other" x="0" y="{top + 28}">{escape(f"beside {row.against}")}</text>',
            f'<rect class="bar" x="{LEFT}" y="{top + 5}" width="{WIDE * row.reached / most:.1f}" '
            f'height="{ROW - 12}" rx="3"/>',
            f'<text x="{LEFT + WIDE * row.reached / most + 6:.1f}" y="{top + 21}">'
            f"{row.reached:.1f} ×</text>",
        ]
    return "\n".join([*parts, "</svg>", ""])
