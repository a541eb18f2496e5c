"""Text and tables for LaTeX: everything escaped, so that they compile with pdfLaTeX, XeLaTeX and LuaLaTeX alike.

Tables need the package ``booktabs`` alone.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from segtrace.report.sheets import Sheet

#: Characters that LaTeX would take for commands, and signs that its fonts lack, as it writes them.
_ESCAPED: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    # at the beginning of a row brackets would be an option of the command before it
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "°": r"$^{\circ}$",
    "²": "$^{2}$",
    "³": "$^{3}$",
    "…": r"\ldots{}",
    "‘": "{`}",
    "’": "'",
    "“": "``",
    "”": "''",
    "µ": r"$\mu$",
    "∞": r"$\infty$",
    "∈": r"$\in$",
    "§": r"\S{}",
    "\u00a0": "~",
    "\u2009": r"\,",
    "\u202f": r"\,",
}
_GREEK = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}"): f"$\\{name}$"
    for name in [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "kappa",
        "lamda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
        "phi",
        "chi",
        "psi",
        "omega",
    ]
}
_GREEK["λ"] = r"$\lambda$"
_CAPITALS = {
    unicodedata.lookup(f"GREEK CAPITAL LETTER {name.upper()}"): f"$\\{name.capitalize()}$"
    for name in ["gamma", "delta", "theta", "xi", "pi", "sigma", "phi", "psi", "omega"]
}
_TABLE = {**_ESCAPED, **_GREEK, **_CAPITALS}


def escaped(text: str) -> str:
    """``text`` so that LaTeX prints it as it stands; line breaks and control characters become spaces.

    Letters of the Latin alphabets stay; a sign that no usual font has is named by its code: ``{[}U+2603{]}``.
    """
    spaced = re.sub(r"(?:[^\S\u00a0\u2009\u202f]|[\x00-\x1f\x7f])+", " ", text).strip()
    plain = unicodedata.normalize("NFC", spaced)
    # a hyphen before another one would make a dash of both
    return "".join(
        "-{}"
        if plain[place : place + 2] == "--"
        else _quote(plain[:place])
        if character == '"'
        else _character(character)
        for place, character in enumerate(plain)
    )


def _quote(before: str) -> str:
    """A straight quotation mark: it opens at the beginning of a word."""
    return "``" if not before or before[-1] in " \u00a0\u2009\u202f([{-–—/" else "''"


def _character(character: str) -> str:
    if character in _TABLE:
        return _TABLE[character]
    if character.isascii() or (character.isalpha() and ord(character) < 0x180):
        return character
    return f"{{[}}U+{ord(character):04X}{{]}}"


def table(sheet: Sheet) -> str:
    """A sheet as a ``table`` environment with ``booktabs`` rules, its caption above and a label."""
    kinds = "".join("l" if column in sheet.texts else "r" for column in range(len(sheet.headings)))
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escaped(sheet.caption)}}}",
        f"\\label{{tab:{sheet.label}}}",
        f"\\begin{{tabular}}{{{kinds}}}",
        "\\toprule",
        _row(sheet.headings),
        "\\midrule",
        *_body(sheet),
        "\\bottomrule",
        "\\end{tabular}",
        *([f"\\par\\smallskip {escaped(sheet.note)}"] if sheet.note else []),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + r" \\"


def _body(sheet: Sheet) -> list[str]:
    lines: list[str] = []
    for group, rows in sheet.groups:
        if group:
            lines += ["\\addlinespace"] if lines else []
            lines.append(f"\\multicolumn{{{len(sheet.headings)}}}{{l}}{{{escaped(group)}}} \\\\")
        for row in rows:
            cells = [f"\\textbf{{{escaped(cell.text)}}}" if cell.best else escaped(cell.text) for cell in row]
            lines.append(" & ".join(cells) + r" \\")
    return lines
